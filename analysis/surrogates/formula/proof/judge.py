"""One cell judged: which signs the formula can have there, where it is certainly 0, where it is certainly negative."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import sympy as sp

from ...symbols import u
from ..calculus.cells import Cell
from ..calculus.numbers import Undecided, compare, rational_between, sign_of
from ..calculus.ranges import Undefined, between, bounds
from . import draws, sampling
from .compact import search
from .exact import as_fraction
from .signs import ANY, Signs, of_range, signs, total

Witness = dict[sp.Expr, sp.Expr]


@dataclass(frozen=True)
class Finding:
    """What is known of a formula on a cell.

    Attributes:
        cell: the cell.
        signs: every sign that it can have there; each of -1, 0, 1 where nothing is known.
        because: the reason, in words.
        zero: a number in the cell at which it is 0 for certain (and, where it is random, with positive probability).
        witness: values of u and the noise at which it is certainly negative.
    """

    cell: Cell
    signs: Signs
    because: str
    zero: sp.Expr | None = None
    witness: Witness | None = None

    @property
    def settled(self) -> bool:
        """Whether its sign is known: positive, 0, or negative somewhere."""
        return len(self.signs - {-1}) == len(self.signs) == 1 or self.witness is not None or self.zero is not None


def judge(cell: Cell, supports: draws.Supports) -> Finding:
    """What ranges, root counting and the rules for products and sums say: quick, and enough for most formulas."""
    try:
        found, because = _signs(cell, supports)
    except (Undefined, Undecided) as reason:
        return Finding(cell, ANY, str(reason))
    zero = cell.sample if found == {0} else None
    return Finding(cell, found, because, zero)


def _signs(cell: Cell, supports: draws.Supports) -> tuple[Signs, str]:
    value = cell.value
    if value.has(sp.nan, sp.zoo, sp.oo, -sp.oo):
        raise Undefined("the formula is undefined there")
    noisy = {symbol: support for symbol, support in supports.items() if value.has(symbol)}
    if not noisy:
        if value.is_number:
            return frozenset({sign_of(value)}), ""
        return signs(value, cell.low, cell.high) if cell.smooth else _by_range(cell, noisy)
    listed = draws.corners(value, noisy) if cell.smooth else None
    if listed is None:
        return _by_range(cell, noisy)
    at_corners = [_noise_free(corner.value, cell) for corner in listed]
    found = total(at_corners)
    if found == {0, 1} and _noise_free(sp.Add(*(corner.value for corner in listed)), cell) == {1}:
        found = frozenset({1})
    if not all(support.continuous for support in noisy.values()):
        # An end is attained there: a corner that may be 0 is a value that may be 0.
        found = found.union(*at_corners)
    return found, f"as a mixture of its {len(listed)} values at the ends of the noise"


def _noise_free(value: sp.Expr, cell: Cell) -> Signs:
    if not value.has(u):
        return frozenset({sign_of(value)})
    if cell.is_point:
        return frozenset({sign_of(value.subs(u, cell.low))})
    return signs(value, cell.low, cell.high)[0]


def _by_range(cell: Cell, noisy: draws.Supports) -> tuple[Signs, str]:
    found = bounds(cell.value, {u: between(cell.low, cell.high), **draws.box(noisy)})
    return of_range(found), "by the range of its parts"


def refute(finding: Finding, formula: sp.Expr, supports: draws.Supports) -> Finding:
    """The finding with a witness, where a negative value is seen and certified on the whole formula."""
    cell = finding.cell
    if -1 not in finding.signs:
        return finding
    noisy = {symbol: support for symbol, support in supports.items() if formula.has(symbol)}
    for point, corner in _suspects(cell, noisy):
        found = draws.witness(formula, point, corner, noisy)
        if found is not None:
            return replace(finding, witness=found)
    return finding


def _suspects(cell: Cell, noisy: draws.Supports) -> Iterator[tuple[sp.Expr, draws.Corner | None]]:
    """Numbers in the cell at which the formula looks negative, and the corner of the noise that it looks so near."""
    listed = draws.corners(cell.value, noisy) if cell.smooth and noisy else None
    if listed is not None:
        yield from ((point, corner) for corner in listed for point in _negative_points(corner.value, cell))
        return
    for values in draws.grid(noisy) if noisy else [{}]:
        yield from ((point, None) for point in _negative_points(cell.value.xreplace(values), cell))


def _negative_points(value: sp.Expr, cell: Cell) -> Iterable[sp.Expr]:
    """Numbers in the cell at which a noise-free expression looks negative."""
    if cell.is_point or not value.has(u):
        yield cell.sample
        return
    try:
        fraction = as_fraction(value) if cell.smooth else None
        if fraction is not None:
            yield from (
                rational_between(low, high) for sign, low, high in fraction.gaps(cell.low, cell.high) if sign < 0
            )
            return
    except Undecided:
        pass
    seen = sampling.negative_witness(value, cell.low, cell.high)
    if seen is not None and compare(cell.low, seen) < 0 < compare(cell.high, seen):
        yield seen


def work(finding: Finding, formula: sp.Expr) -> Finding:
    """The finding after the cell has been cut up: a proof of positivity between the zeros found, or a witness.

    Only for cells without noise, on which the formula is smooth.
    """
    cell = finding.cell
    if cell.is_point or not cell.smooth or not cell.value.free_symbols <= {u}:
        return finding
    zeros = zeros_in(cell)
    edges = [cell.low, *zeros, cell.high]
    searched = []
    for low, high in itertools.pairwise(edges):
        if zeros and -1 not in finding.signs:
            break  # it is nonnegative and 0 somewhere: nothing more can be said
        searched.append(search(cell.value, low, high))
        point = searched[-1].witness
        if point is not None and (found := draws.witness(formula, point, None, {})):
            return replace(finding, witness=found)
        if not searched[-1].positive:
            return replace(finding, zero=zeros[0] if zeros else None)
    because = "by certified ranges on a partition, with Taylor's theorem at its ends"
    if zeros:
        return replace(finding, signs=frozenset({0, 1}), because=because, zero=zeros[0])
    return replace(finding, signs=frozenset({1}), because=because)


def zeros_in(cell: Cell) -> list[sp.Expr]:
    """Exact zeros of a smooth expression inside a cell, as far as they are found; ascending."""
    value = cell.value
    try:
        fraction = as_fraction(value)
        if fraction is not None:
            exact = [zero.exact for zero in fraction.zeros(cell.low, cell.high)]
            return [fraction.u_of(zero) for zero in exact if zero is not None]
    except Undecided:
        pass
    points = sampling.points(value, cell.low, cell.high)
    seen = np.abs(sampling.values(value)(points))
    if not len(points) or not np.isfinite(seen).any():
        return []
    scale = float(np.median(seen[np.isfinite(seen)]))
    found: list[sp.Expr] = []
    for low, high in _hollows(seen, 1e-3 * scale, 1e-9 * scale)[:12]:
        zero = _exact_zero(cell, float(points[low]), float(points[high]))
        if zero is not None and zero not in found:
            found.append(zero)
    return sorted(found, key=float)


def _hollows(seen: sampling.Array, shallow: float, deep: float) -> list[tuple[int, int]]:
    """The places before and after each stretch that is nearly 0 and each low point between two higher ones."""
    low = seen <= deep
    low[1:-1] |= (seen[1:-1] < shallow) & (seen[1:-1] < seen[:-2]) & (seen[1:-1] <= seen[2:])
    edges = np.flatnonzero(np.diff(np.concatenate([[0], low.astype(int), [0]])))
    runs = [(int(start) - 1, int(end)) for start, end in zip(edges[::2], edges[1::2], strict=True)]
    # A stretch that reaches the end of the sample is a tail.
    return [(start, end) for start, end in runs if start >= 0 and end < len(seen)]


def _exact_zero(cell: Cell, low: float, high: float) -> sp.Expr | None:
    """A rational, or a rational multiple of pi, between two numbers at which the cell's value is 0."""
    for unit in (sp.S.One, sp.pi):
        for bottom in (1, 2, 3, 4, 5, 6, 8, 10, 12, 16, 20, 100):
            top = round((low + high) / 2 / float(unit) * bottom)
            point = unit * sp.Rational(top, bottom)
            try:
                inside = low < float(point) < high and compare(cell.low, point) < 0 < compare(cell.high, point)
                if inside and sign_of(cell.value.subs(u, point)) == 0:
                    return point
            except (Undecided, Undefined):
                continue
    return None
