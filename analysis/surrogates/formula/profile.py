"""The profile of a factor: what a figure would show of it, as numbers.

A number is exact (an integer, a rational, pi / 2, oo, ...) where it is proved in closed form, a SymPy float of fifteen
digits where it was computed to thirty, and ``None`` where it cannot be told.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import sympy as sp

from ...errors import Refused
from ..symbols import u
from . import noise
from .calculus.cells import Cell, cells
from .calculus.numbers import Undecided, compare, rational_between, sign_of
from .calculus.ranges import Undefined
from .calculus.rewriting import jumps, plain
from .line.extrema import Extreme, extremes, largest
from .line.growth import limit
from .line.integral import over_line
from .line.symmetry import differ, even_about, is_zero
from .parameters import exact_decimals
from .proof.signs import signs

_OPERATIONS = 600

Interval = tuple[sp.Expr, sp.Expr]


@dataclass(frozen=True)
class Profile:
    """Facts of psi over the real line; of its mean over the noise where psi is random.

    Attributes:
        supremum: least upper bound of psi; oo where psi is unbounded.
        supremum_at: u at which it is reached, or that it is approached at (which may be an infinity).
        infimum: greatest lower bound of psi.
        infimum_at: where.
        support: the closed intervals outside of which psi is 0, ascending; ``(-oo, oo)`` for the whole line, empty for
            psi = 0.
        integral: over the whole line; oo or -oo where it diverges.
        even: whether psi(-u) = psi(u) for every u.
        symmetric: whether psi is symmetric about some centre.
        centre: that centre (0 for a constant), ``None`` where there is none.
        lipschitz: least L with |psi(u) - psi(v)| <= L |u - v|; oo at a jump.
        lipschitz_at: where psi is steepest, or jumps.

    >>> triangle = of(sp.Max(0, 1 - sp.Abs(u) / 2))
    >>> triangle.supremum, triangle.support, triangle.integral, triangle.lipschitz
    (1, ((-2, 2),), 2, 1/2)
    """

    supremum: sp.Expr | None = None
    supremum_at: sp.Expr | None = None
    infimum: sp.Expr | None = None
    infimum_at: sp.Expr | None = None
    support: tuple[Interval, ...] | None = None
    integral: sp.Expr | None = None
    even: bool | None = None
    symmetric: bool | None = None
    centre: sp.Expr | None = None
    lipschitz: sp.Expr | None = None
    lipschitz_at: sp.Expr | None = None

    def exact(self, name: str) -> bool:
        """Whether a number of the profile is proved in closed form, rather than computed or not told."""
        value = getattr(self, name)
        return isinstance(value, sp.Expr) and not value.has(sp.Float)


@lru_cache(maxsize=512)
def of(formula: sp.Expr) -> Profile:
    """The profile of a formula in ``u``, of its mean where it holds noise; what cannot be told is ``None``."""
    try:
        formula = plain(noise.mean(exact_decimals(formula)))
        if sp.count_ops(formula) > _OPERATIONS:
            return Profile()
        line = cells(formula)
    except (Refused, Undecided, Undefined, RecursionError):
        return Profile()
    if not all(_defined(cell) for cell in line):
        return Profile()
    even = even_about(formula, line, sp.S.Zero) if formula.has(u) else True
    # What an even formula does on the left is what it does on the right.
    half = _right_half(line) if even else line
    bounds, steepest = extremes(half), _steepest(half)
    area = over_line(half)
    if area is not None and area.is_finite and sp.expand(formula + formula.subs(u, -u)) == 0:
        area = sp.S.Zero
    profile = Profile(
        supremum=bounds[1].value if bounds else None,
        supremum_at=bounds[1].where if bounds else None,
        infimum=bounds[0].value if bounds else None,
        infimum_at=bounds[0].where if bounds else None,
        support=_support(line),
        integral=area if area is None or not even else 2 * area,
        even=even,
        lipschitz=steepest.value if steepest else None,
        lipschitz_at=steepest.where if steepest else None,
    )
    return _with_symmetry(profile, formula, line)


def _defined(cell: Cell) -> bool:
    """Whether the formula is smooth and proved to have a finite value everywhere on a cell."""
    if cell.value.has(sp.nan, sp.zoo, sp.oo, -sp.oo, sp.I) or not cell.smooth:
        return False
    try:
        return cell.is_point or bool(signs(cell.value, cell.low, cell.high))
    except (Undefined, Undecided):
        return False


def _right_half(line: Sequence[Cell]) -> list[Cell]:
    """The cells from 0 on; one that 0 lies in is cut there."""
    half: list[Cell] = []
    for cell in line:
        if compare(cell.low, sp.S.Zero) >= 0:
            half.append(cell)
        elif compare(cell.high, sp.S.Zero) > 0:
            half += [Cell(sp.S.Zero, sp.S.Zero, cell.value.subs(u, 0)), Cell(sp.S.Zero, cell.high, cell.value)]
    return half


def breaks(formula: sp.Expr, low: float, high: float) -> tuple[float, ...]:
    """The points between two numbers at which a formula folds or jumps, ascending; none where they cannot be told."""
    try:
        ends = sp.Rational(low), sp.Rational(high)
        line = cells(jumps(plain(exact_decimals(formula)), *ends))
    except (Undecided, Undefined, RecursionError):
        return ()
    points = (float(cell.low) for cell in line if cell.is_point)
    return tuple(point for point in points if low < point < high)


def _support(line: Sequence[Cell]) -> tuple[Interval, ...] | None:
    """The closures of the cells on which the formula is not 0, joined where they touch."""
    joined: list[Interval] = []
    for cell in line:
        if is_zero(cell.value):
            continue
        if not _certainly_not_zero(cell):
            return None
        if joined and joined[-1][1] == cell.low:
            joined[-1] = (joined[-1][0], cell.high)
        else:
            joined.append((cell.low, cell.high))
    return tuple(joined)


def _certainly_not_zero(cell: Cell) -> bool:
    """Whether some value on a cell is certified not to be 0."""
    points = [cell.sample]
    if not cell.is_point:
        points += [rational_between(cell.low, points[0]), rational_between(points[0], cell.high)]
    for point in points:
        try:
            if sign_of(cell.value.subs(u, point)) != 0:
                return True
        except Undecided:
            continue
    return False


def _steepest(line: Sequence[Cell]) -> Extreme | None:
    """The largest |slope|, or a jump."""
    try:
        for left, right in itertools.pairwise(line):
            edge = left.high
            one = left.value if left.is_point else limit(left.value, edge, -1)
            other = right.value if right.is_point else limit(right.value, edge, 1)
            if differ(one, other):
                return Extreme(sp.oo, edge)
        slopes = [replace(cell, value=cell.value.diff(u)) for cell in line if not cell.is_point]
        found = extremes(slopes)
        if found is None:
            return None
        down, up = found
        return largest([up, Extreme(-down.value, down.where)])
    except (Undecided, Undefined):
        return None


def _with_symmetry(profile: Profile, formula: sp.Expr, line: Sequence[Cell]) -> Profile:
    if profile.even:
        return replace(profile, symmetric=True, centre=sp.S.Zero)
    only = _only_centre(profile, line)
    if only is sp.nan:
        return replace(profile, symmetric=False)
    symmetric = None if only is None else even_about(formula, line, only)
    return replace(profile, symmetric=symmetric, centre=only if symmetric else None)


def _only_centre(profile: Profile, line: Sequence[Cell]) -> sp.Expr | None:
    """The one centre that a formula could have; nan where it can have none, ``None`` where that is not known."""
    if profile.support:
        low, high = profile.support[0][0], profile.support[-1][1]
        if low.is_finite and high.is_finite:
            return (low + high) / 2
        if low.is_finite or high.is_finite:
            return sp.nan
    try:
        if differ(limit(line[0].value, -sp.oo, 1), limit(line[-1].value, sp.oo, -1)):
            return sp.nan
    except (Undecided, Undefined):
        return None
    points = [cell.low for cell in line if cell.is_point]
    if points:
        return (points[0] + points[-1]) / 2
    peak = profile.supremum_at
    return peak if peak is not None and peak.is_finite and not peak.has(sp.Float) else None
