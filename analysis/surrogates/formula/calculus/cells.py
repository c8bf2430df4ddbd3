"""The real line cut where a formula folds or jumps: open cells on which it is smooth, and the points between them.

|.|, sign, Heaviside, Max, Min and Piecewise are *switches*: each is decided by the signs of a few expressions. The line
is cut at the roots of these, and in every cell the switch is replaced by what it is there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import combinations, pairwise, zip_longest

import sympy as sp
from sympy.core.relational import Relational

from ...symbols import u
from .numbers import Undecided, compare, rational_between, sign_of
from .ranges import Range, Undefined, between, bounds
from .roots import ascending, roots

SWITCHES = (sp.Abs, sp.sign, sp.Heaviside, sp.Max, sp.Min, sp.Piecewise)
_CELLS = 400


@dataclass(frozen=True)
class Cell:
    """An open interval, or one point where ``low == high``, and the formula there.

    Attributes:
        low: left end, an exact number or -oo.
        high: right end, an exact number or oo.
        value: the formula on the cell; on a point cell a number. Noise symbols stay in it.
    """

    low: sp.Expr
    high: sp.Expr
    value: sp.Expr

    @property
    def is_point(self) -> bool:
        """Whether it is one point."""
        return bool(self.low == self.high)

    @property
    def smooth(self) -> bool:
        """Whether no switch is left in the value."""
        return not self.value.has(*SWITCHES, sp.floor, sp.ceiling, sp.frac)

    @property
    def sample(self) -> sp.Expr:
        """A number inside."""
        return self.low if self.is_point else rational_between(self.low, self.high)

    def __str__(self) -> str:
        return f"u = {self.low}" if self.is_point else f"{self.low} < u < {self.high}"


def cells(formula: sp.Expr, noise: Mapping[sp.Basic, Range] | None = None) -> tuple[Cell, ...]:
    """The cells of a formula from left to right; the whole line where it has no switch.

    A switch on noise is replaced where the noise's ranges decide it, and stays where they do not.

    Raises:
        Undecided: the break points have no closed form that is sure to be found, or there are too many.
    """
    found = list(_cut(Cell(-sp.oo, sp.oo, formula), noise or {}, frozenset()))
    if len(found) > _CELLS:
        raise Undecided("a formula with so many pieces")
    merged: list[Cell] = []
    for cell in found:
        merged.append(cell)
        while len(merged) > 2 and merged[-1].value == merged[-3].value and _continues(*merged[-3:-1]):
            left, right = merged[-3], merged[-1]
            merged[-3:] = [Cell(left.low, right.high, left.value)]
    return tuple(merged)


def split(cell: Cell, points: list[sp.Expr]) -> tuple[Cell, ...]:
    """An open cell cut at ascending points inside it; a point cell keeps the formula in ``u`` as its value."""
    edges = [cell.low, *points, cell.high]
    parts = [Cell(low, high, cell.value) for low, high in pairwise(edges)]
    return tuple(part for pair in zip_longest(parts, [Cell(p, p, cell.value) for p in points]) for part in pair if part)


def inside(cell: Cell, points: Iterable[sp.Expr]) -> list[sp.Expr]:
    """Those of some points that lie in an open cell."""
    return [point for point in points if compare(cell.low, point) < 0 < compare(cell.high, point)]


def sign_at(expression: sp.Expr, point: sp.Expr) -> int:
    """The sign of a smooth expression at one point.

    Raises:
        Undecided: as for `sign_of`.
    """
    value = expression.subs(u, point)
    try:
        return sign_of(value)
    except Undecided:
        if value.has(sp.zoo, sp.nan) or point not in roots(expression):
            raise
        return 0


def _continues(left: Cell, point: Cell) -> bool:
    return point.is_point and not left.is_point and left.value.subs(u, point.low) == point.value


def _cut(cell: Cell, noise: Mapping[sp.Basic, Range], kept: frozenset[sp.Basic]) -> Iterator[Cell]:
    node = _next_switch(cell.value, kept)
    if node is None:
        yield Cell(cell.low, cell.low, cell.value.subs(u, cell.low)) if cell.is_point else cell
        return
    deciders = _deciders(node)
    if any(not expression.free_symbols <= {u} for expression in deciders):
        by_range = [_sign_on(expression, cell, noise) for expression in deciders]
        signs = {e: sign for e, sign in zip(deciders, by_range, strict=True) if sign is not None}
        complete = len(signs) == len(deciders)
        following = replace(cell, value=_resolved(cell.value, node, signs)) if complete else cell
        yield from _cut(following, noise, kept if complete else kept | {node})
        return
    points = [] if cell.is_point else ascending({point for e in deciders for point in inside(cell, roots(e))})
    if len(points) > _CELLS:
        raise Undecided("a formula with so many pieces")
    for part in (cell,) if cell.is_point else split(cell, points):
        signs = {expression: sign_at(expression, part.sample) for expression in deciders}
        yield from _cut(replace(part, value=_resolved(part.value, node, signs)), noise, kept)


def _next_switch(expression: sp.Basic, kept: frozenset[sp.Basic]) -> sp.Expr | None:
    """A switch whose deciding expressions hold no further one; the condition before the branches."""
    if expression in kept or not expression.has(*SWITCHES):
        return None
    deciding: tuple[sp.Basic, ...] = ()
    if isinstance(expression, sp.Piecewise):
        deciding = tuple(condition for _, condition in expression.args)
    elif isinstance(expression, SWITCHES):
        deciding = expression.args
    inner = next((found for arg in deciding if (found := _next_switch(arg, kept)) is not None), None)
    if inner is not None:
        return inner
    if isinstance(expression, SWITCHES) and not any(arg.has(*SWITCHES) for arg in deciding):
        return expression
    others = (arg for arg in expression.args if arg not in deciding)
    return next((found for arg in others if (found := _next_switch(arg, kept)) is not None), None)


def _deciders(node: sp.Expr) -> list[sp.Expr]:
    """The expressions whose signs decide a switch."""
    if isinstance(node, sp.Piecewise):
        atoms = {atom for _, condition in node.args for atom in condition.atoms(Relational)}
        return [atom.lhs - atom.rhs for atom in sorted(atoms, key=str)]
    if isinstance(node, sp.Max | sp.Min):
        return [a - b for a, b in combinations(node.args, 2)]
    return [node.args[0]]


def _resolved(value: sp.Expr, node: sp.Expr, signs: Mapping[sp.Expr, int]) -> sp.Expr:
    """The value with a switch replaced by what it is under these signs of its deciders."""
    return value.xreplace({node: _chosen(node, signs)})


def _chosen(node: sp.Expr, signs: Mapping[sp.Expr, int]) -> sp.Expr:
    if isinstance(node, sp.Piecewise):
        truths = {
            atom: sp.true if _HOLDS[atom.rel_op](signs[atom.lhs - atom.rhs]) else sp.false
            for _, condition in node.args
            for atom in condition.atoms(Relational)
        }
        for branch, condition in node.args:
            holds = condition.xreplace(truths)
            if holds == sp.true:
                return branch
            if holds != sp.false:
                raise Undecided(f"the condition {condition}")
        return sp.nan
    if isinstance(node, sp.Max | sp.Min):
        wanted = 1 if isinstance(node, sp.Max) else -1
        best = node.args[0]
        for other in node.args[1:]:
            sign = signs[best - other] if best - other in signs else -signs[other - best]
            best = other if sign == -wanted else best
        return best
    sign = signs[node.args[0]]
    if isinstance(node, sp.Abs):
        return sign * node.args[0]
    if isinstance(node, sp.sign):
        return sp.Integer(sign)
    at_zero = node.args[1] if len(node.args) > 1 else sp.S.Half
    return {-1: sp.Integer(0), 0: at_zero, 1: sp.Integer(1)}[sign]


def _sign_on(expression: sp.Expr, cell: Cell, noise: Mapping[sp.Basic, Range]) -> int | None:
    try:
        found = bounds(expression, {u: between(cell.low, cell.high), **noise})
    except Undefined:
        return None
    return 1 if found.positive else -1 if found.negative else 0 if found.zero else None


_HOLDS: dict[str, Callable[[int], bool]] = {
    ">": lambda sign: sign > 0,
    ">=": lambda sign: sign >= 0,
    "<": lambda sign: sign < 0,
    "<=": lambda sign: sign <= 0,
    "==": lambda sign: sign == 0,
    "!=": lambda sign: sign != 0,
}
