"""Supremum and infimum of a formula on the line, with where they are.

On a cell between two neighbouring zeros of its slope a smooth expression is monotone, so that its extremes are values
or limits at ends. Where the zeros have a closed form and the slope's sign between them is proved, so have the extremes.
Else they are searched to thirty digits, and a candidate in closed form counts as exact only where it is proved that the
formula does not exceed it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import mpmath
import numpy as np
import sympy as sp

from ...symbols import u
from ..calculus.cells import Cell, inside
from ..calculus.numbers import Undecided, compare
from ..calculus.ranges import Undefined
from ..calculus.roots import roots
from ..proof import sampling
from ..proof.exact import as_fraction
from ..proof.judge import judge, work, zeros_in
from . import precise
from .growth import limit

_SIZE = 250
_LONG = 80


@dataclass(frozen=True)
class Extreme:
    """A value that a formula reaches or approaches.

    Attributes:
        value: an exact number, an infinity, or a float of fifteen digits.
        where: the u at which it is reached or that it is approached at; of an interval of such, its middle.
    """

    value: sp.Expr
    where: sp.Expr


@dataclass(frozen=True)
class _Candidates:
    """The candidates of one cell for both extremes, and whether the extremes are proved to be among them."""

    listed: tuple[Extreme, ...]
    complete: bool


def extremes(line: Sequence[Cell]) -> tuple[Extreme, Extreme] | None:
    """(infimum, supremum) of a formula in cells, or ``None`` where they cannot be told."""
    try:
        found = [_candidates(cell) for cell in line]
        listed = [extreme for each in found for extreme in each.listed]
        top, bottom = largest(listed), largest([_negated(extreme) for extreme in listed])
    except (Undecided, Undefined):
        return None
    if not all(each.complete for each in found):
        top = _bounding(top, line)
        bottom = _bounding(bottom, [Cell(cell.low, cell.high, -cell.value) for cell in line])
    return _negated(bottom), top


def _negated(extreme: Extreme) -> Extreme:
    return Extreme(-extreme.value, extreme.where)


def _bounding(top: Extreme, line: Sequence[Cell]) -> Extreme:
    """The largest candidate, exact only where it is proved that the formula does not exceed it."""
    if top.value.is_infinite or not _exact(top.value) or all(_below(cell, top.value) for cell in line):
        return top
    return Extreme(sp.Float(sp.N(top.value, 20), 15), top.where)


def _candidates(cell: Cell) -> _Candidates:
    """Limits at the ends of a cell, and values where its slope is 0.

    Raises:
        Undecided: a limit at an end is not found.
    """
    if cell.is_point or not cell.value.has(u):
        return _Candidates((Extreme(cell.value, _middle(cell)),), True)
    ends = [Extreme(limit(cell.value, cell.low, 1), cell.low), Extreme(limit(cell.value, cell.high, -1), cell.high)]
    slope = Cell(cell.low, cell.high, cell.value.diff(u))
    turns = _turns(slope)
    if turns is None:
        turns = zeros_in(slope)
        if not all(_monotone(Cell(low, high, slope.value)) for low, high in pairwise([cell.low, *turns, cell.high])):
            listed = (*ends, *_values(cell, turns), *_computed(cell, slope))
            _check(cell, listed)
            return _Candidates(listed, False)
    return _Candidates((*ends, *_values(cell, turns)), True)


def _values(cell: Cell, points: list[sp.Expr]) -> list[Extreme]:
    fraction = as_fraction(cell.value)
    found = []
    for point in points:
        # In the variable of a fraction a value is a quotient of two polynomials: short where u is a logarithm.
        forms = [cell.value.subs(u, point), *([] if fraction is None else [fraction.at(point)])]
        found.append(Extreme(min(map(tidy, forms), key=sp.count_ops), point))
    return found


def _computed(cell: Cell, slope: Cell) -> Iterator[Extreme]:
    """Values where the slope is seen to change its sign, to fifteen digits."""
    for point in precise.stationary(cell, slope.value):
        number = precise.value(cell.value, point)
        if number is not None:
            yield Extreme(precise.shown(number), precise.shown(precise.number(point)))


def _check(cell: Cell, listed: Iterable[Extreme]) -> None:
    """Holds candidates that are not proved against the values that are seen between them.

    Raises:
        Undecided: a value lies outside of all candidates.
    """
    seen = sampling.values(cell.value)(sampling.points(cell.value, cell.low, cell.high))
    seen = seen[np.isfinite(seen)]
    numbers = [float(precise.number(extreme.value)) for extreme in listed]
    room = 1e-9 * max((abs(number) for number in numbers if math.isfinite(number)), default=0.0) + 1e-300
    if not len(seen) or seen.max() > max(numbers) + room or seen.min() < min(numbers) - room:
        raise Undecided(f"the extremes of {cell.value}")


def _turns(slope: Cell) -> list[sp.Expr] | None:
    """All zeros of a slope on its cell in closed form, ascending, or ``None`` where there may be others."""
    try:
        if sp.count_ops(slope.value) <= _SIZE:
            return inside(slope, roots(sp.factor_terms(sp.together(slope.value))))
    except Undecided:
        pass
    try:
        fraction = as_fraction(slope.value)
        zeros = None if fraction is None else [zero.exact for zero in fraction.zeros(slope.low, slope.high)]
        if fraction is None or zeros is None or None in zeros:
            return None
        return sorted((fraction.u_of(zero) for zero in zeros if zero is not None), key=float)
    except Undecided:
        return None


def tidy(number: sp.Expr) -> sp.Expr:
    """An exact number in a short form."""
    if sp.count_ops(number) > _LONG:
        return number
    top, bottom = sp.fraction(sp.together(number))
    short = sp.radsimp(sp.expand(top) / sp.expand(bottom))
    return min((number, sp.expand(number), short, sp.cancel(number)), key=sp.count_ops)


def _monotone(slope: Cell) -> bool:
    """Whether a slope is proved not to change its sign on a cell."""
    found = judge(slope, {}).signs
    if not {-1, 1} <= found:
        return True
    seen = sampling.values(slope.value)(sampling.points(slope.value, slope.low, slope.high))
    if (seen > 0).any() and (seen < 0).any():
        return False
    upright = slope if (seen > 0).any() else Cell(slope.low, slope.high, -slope.value)
    return -1 not in work(judge(upright, {}), upright.value).signs


def _below(cell: Cell, bound: sp.Expr) -> bool:
    """Whether a formula is proved not to exceed a number on a cell."""
    gap = Cell(cell.low, cell.high, bound - cell.value)
    found = judge(gap, {})
    return -1 not in (found.signs if -1 not in found.signs else work(found, gap.value).signs)


def largest(candidates: Iterable[Extreme]) -> Extreme:
    """The largest candidate; of equal ones an exact one, and then the one nearest to 0."""
    listed = list(candidates)
    if any(extreme.value.has(sp.nan, sp.zoo) for extreme in listed):
        raise Undecided("a formula that is undefined somewhere")
    numbers = [precise.number(extreme.value) for extreme in listed]
    top = max(numbers)
    near = [
        extreme
        for extreme, number in zip(listed, numbers, strict=True)
        if number == top or (mpmath.isfinite(top) and abs(top - number) <= _tie(extreme) * max(1, abs(top)))
    ]
    exact = [extreme for extreme in near if _exact(extreme.value)] or near
    best = [extreme for extreme in exact if not any(_above(other, extreme) for other in exact)]
    return min(best, key=lambda extreme: abs(float(extreme.where)))


def _above(one: Extreme, other: Extreme) -> bool:
    """Whether an exact value is proved to be above another; those that cannot be told apart count as one."""
    if one.value == other.value or not (_exact(one.value) and _exact(other.value)):
        return False
    try:
        return compare(one.value, other.value) > 0
    except Undecided:
        return False


def _tie(extreme: Extreme) -> mpmath.mpf:
    """The relative difference that a candidate's own rounding may make."""
    return mpmath.mpf(10) ** (-22 if _exact(extreme.value) else -15)


def _exact(number: sp.Expr) -> bool:
    return not number.has(sp.Float)


def _middle(cell: Cell) -> sp.Expr:
    if cell.low.is_infinite or cell.high.is_infinite:
        return (
            sp.S.Zero
            if cell.low.is_infinite and cell.high.is_infinite
            else cell.low
            if cell.low.is_finite
            else cell.high
        )
    return (cell.low + cell.high) / 2
