"""Strict positivity on an interval by cutting it up: certified ranges on boxes, Taylor's theorem at an end where the
expression is 0, and the leading term beyond the last box where the interval is infinite.
"""

from __future__ import annotations

from dataclasses import dataclass

import sympy as sp
from mpmath import libmp

from ...symbols import u
from ..calculus.numbers import Undecided, compare, rational_between, sign_of
from ..calculus.ranges import Undefined, bounds, constant, hull
from .tails import eventual_sign

_BOXES = 1200
_ORDERS = 5


@dataclass(frozen=True)
class Search:
    """What cutting up found: positive on the whole interval, negative at a point, or neither (both are unset).

    Attributes:
        positive: whether the expression is proved positive on the open interval.
        witness: a rational number inside at which it is certified to be negative.
    """

    positive: bool
    witness: sp.Rational | None = None


def search(expression: sp.Expr, low: sp.Expr, high: sp.Expr) -> Search:
    """Looks for a proof that a smooth expression is positive on the open interval, or for a negative value."""
    try:
        left, right = _near_end(expression, low, high, 1), _near_end(expression, high, low, -1)
        if left is None or right is None:
            return Search(False)
        if isinstance(left, Search) or isinstance(right, Search):
            return left if isinstance(left, Search) else right
        return _boxes(expression, _outer(left, "low"), _outer(right, "high"), (low, high))
    except (Undecided, Undefined, RecursionError):
        return Search(False)


def _near_end(expression: sp.Expr, end: sp.Expr, other: sp.Expr, inward: int) -> sp.Expr | Search | None:
    """A number such that the expression is positive between it and the end; the end itself if it is positive there."""
    if end.is_infinite:
        found = eventual_sign(expression, towards=-inward)
        if found is None:
            return None
        sign, start = found
        far = -inward * start
        # The other end may lie further out than the start of the tail.
        if not other.is_infinite and sign_of(inward * (other - far)) < 0:
            far = other
        return far if sign > 0 else _negative_at(expression, far - inward)
    derivative = expression
    for order in range(_ORDERS):
        sign = sign_of(derivative.subs(u, end)) * inward**order
        if sign != 0:
            if sign > 0 and order == 0:
                return end
            step = _reach(derivative, end, other, inward)
            return None if step is None else step if sign > 0 else _negative_at(expression, step)
        derivative = derivative.diff(u)
    return None


def _reach(derivative: sp.Expr, end: sp.Expr, other: sp.Expr, inward: int) -> sp.Expr | None:
    """A number between the ends such that the derivative keeps its sign between it and the end."""
    length = sp.Integer(1) if other.is_infinite else inward * (other - end)
    for _ in range(40):
        length = length / 2
        near = end + inward * length
        found = bounds(derivative, {u: hull([constant(end), constant(near)])})
        if found.positive or found.negative:
            return near
    return None


def _negative_at(expression: sp.Expr, point: sp.Expr) -> Search | None:
    number = point if point.is_Rational else rational_between(point - sp.Rational(1, 10**9), point)
    return Search(False, number) if _negative(expression, number) else None


def _outer(number: sp.Expr, side: str) -> sp.Rational:
    """A dyadic number on the outer side of an exact one, as near as ranges are."""
    return sp.Rational(*libmp.to_rational(getattr(constant(number), side)))


def _boxes(expression: sp.Expr, left: sp.Rational, right: sp.Rational, cell: tuple[sp.Expr, sp.Expr]) -> Search:
    """Bisects the closed interval until the expression is certified on every part, within a bounded number of parts."""
    slope = expression.diff(u)
    waiting = [(left, right)] if left <= right else []
    for _ in range(_BOXES):
        if not waiting:
            return Search(True)
        low, high = waiting.pop()
        middle = (low + high) / 2
        if _positive_on(expression, slope, low, high):
            continue
        if compare(cell[0], middle) < 0 < compare(cell[1], middle) and _negative(expression, middle):
            return Search(False, middle)
        waiting += [(low, middle), (middle, high)]
    return Search(False)


def _positive_on(expression: sp.Expr, slope: sp.Expr, low: sp.Rational, high: sp.Rational) -> bool:
    box = hull([constant(low), constant(high)])
    try:
        if bounds(expression, {u: box}).positive:
            return True
    except Undefined:
        return False
    # Where the slope has one sign, the lower end decides: a far narrower range than that of the box.
    try:
        rise = bounds(slope, {u: box})
    except Undefined:
        return False
    if rise.nonnegative or rise.nonpositive:
        return bounds(expression, {u: constant(low if rise.nonnegative else high)}).positive
    return False


def _negative(expression: sp.Expr, point: sp.Rational) -> bool:
    try:
        return bounds(expression, {u: constant(point)}).negative
    except Undefined:
        return False
