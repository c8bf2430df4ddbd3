"""A formula that is affine in each noise symbol: its sign over all noise is that of a few noise-free expressions.

Over xi in (a, b) the value is a positive mixture of those at a and b; over (a, oo) that at a plus a positive multiple
of the slope; over the whole line the slope must be 0. Each such corner is an expression in u alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice, product

import sympy as sp

from ...symbols import u
from ..calculus.ranges import Range, between, constant, hull
from ..noise import Support
from .sampling import certified_negative

Supports = Mapping[sp.Expr, Support]


@dataclass(frozen=True)
class Corner:
    """One of the noise-free expressions, and where it lies: for each noise symbol an end, or a direction (+1 or -1)."""

    value: sp.Expr
    places: tuple[tuple[sp.Expr, sp.Expr | None, int], ...] = ()


def box(supports: Supports) -> dict[sp.Basic, Range]:
    """The range of each noise symbol; a continuous one almost never attains an end."""
    return {
        symbol: between(each.low, each.high)
        if each.continuous
        else Range(between(each.low, each.high).low, between(each.low, each.high).high, False, True)
        for symbol, each in supports.items()
    }


def corners(value: sp.Expr, supports: Supports) -> list[Corner] | None:
    """The corners of an expression, or ``None`` where it is not affine in each noise symbol."""
    found = [Corner(value)]
    for symbol, support in supports.items():
        further: list[Corner] = []
        for corner in found:
            slope = corner.value.diff(symbol) if corner.value.has(symbol) else sp.S.Zero
            if slope.has(symbol) or corner.value.atoms(sp.Piecewise, sp.Abs, sp.Max, sp.Min, sp.sign, sp.Heaviside):
                return None
            if not corner.value.has(symbol):
                further.append(corner)
                continue
            ends = [end for end in (support.low, support.high) if end.is_finite]
            for end in ends or [sp.S.Zero]:
                further.append(Corner(corner.value.subs(symbol, end), (*corner.places, (symbol, end, 0))))
            for infinite, way in ((support.low, -1), (support.high, 1)):
                if infinite.is_infinite:
                    further.append(Corner(way * slope, (*corner.places, (symbol, None, way))))
        found = further
    return found


def witness(
    formula: sp.Expr, point: sp.Expr, corner: Corner | None, supports: Supports
) -> dict[sp.Expr, sp.Expr] | None:
    """Values of u and the noise at which the formula is certified to be negative, for noise of positive probability."""
    # At a rational every condition on u is decided exactly, an equality too; no range could do that.
    there = formula.subs(u, point) if point.is_Rational else formula
    for drawn in _near(corner, supports) if corner is not None else grid(supports):
        for slack in (sp.Rational(1, 2**20), sp.Rational(1, 2**60)):
            around = {u: constant(point, 256)} | {
                symbol: _around(value, supports[symbol], slack) for symbol, value in drawn.items()
            }
            if certified_negative(there, around):
                return {u: point, **drawn}
    return None


def _around(value: sp.Expr, support: Support, slack: sp.Expr) -> Range:
    """A small range of positive probability about a value."""
    if not support.continuous:
        return constant(value, 256)
    room = slack * (1 + sp.Abs(value))
    return hull([constant(value - room, 256), constant(value + room, 256)])


def _near(corner: Corner, supports: Supports) -> Iterator[dict[sp.Expr, sp.Expr]]:
    """Noise values that approach a corner."""
    places = {symbol: (end, way) for symbol, end, way in corner.places}
    for step in range(2, 41):
        drawn = {}
        for symbol, support in supports.items():
            end, way = places.get(symbol, (_middle(support), 0))
            if end is None:
                drawn[symbol] = _middle(support) + way * sp.Integer(2) ** step
            elif support.continuous and end in (support.low, support.high):
                drawn[symbol] = end + (_middle(support) - end) / sp.Integer(2) ** step
            else:
                drawn[symbol] = end
        yield drawn


def grid(supports: Supports) -> Iterator[dict[sp.Expr, sp.Expr]]:
    """A few noise values each, over all combinations, a bounded number of them."""
    fractions = [sp.Rational(k, 16) for k in (1, 4, 8, 12, 15)]
    tables = []
    for support in supports.values():
        low, high = support.low, support.high
        if not support.continuous:
            tables.append([low + k for k in range(4)])
        elif low.is_finite and high.is_finite:
            tables.append([low + (high - low) * part for part in fractions])
        else:
            base, way = (low, 1) if low.is_finite else (high, -1) if high.is_finite else (sp.S.Zero, 0)
            steps = [sp.Rational(1, 8), 1, 8] if way else [-8, -1, sp.Rational(1, 8), 1, 8]
            tables.append([base + (way or 1) * step for step in steps])
    for values in islice(product(*tables), 64):
        yield dict(zip(supports, values, strict=True))


def _middle(support: Support) -> sp.Expr:
    if support.low.is_finite and support.high.is_finite:
        return (support.low + support.high) / 2 if support.continuous else support.low
    return support.low + 1 if support.low.is_finite else support.high - 1 if support.high.is_finite else sp.S.One
