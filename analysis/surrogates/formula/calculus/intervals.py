"""The arithmetic of ranges: every value that an operation can take on values of its operands lies in the result.

Ends are mpmath's big floats, rounded outwards. Beside its two ends a range knows whether an end is *open*, that is,
never attained: 1 + tanh(u) lies in (0, 2) and is therefore positive, not only nonnegative.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import reduce
from typing import Any

import sympy as sp
from mpmath import libmp

Float = tuple[Any, ...]
"""A raw big float of mpmath, a dyadic rational or an infinity."""

PRECISION = 64
"""Bits of a range's ends unless more are asked for."""

ZERO: Float = libmp.fzero
ONE: Float = libmp.fone
INF: Float = libmp.finf
NINF: Float = libmp.fninf


class Undefined(ArithmeticError):
    """The expression may be undefined somewhere in the range, or holds what we have no range for; says which."""


@dataclass(frozen=True, slots=True)
class Range:
    """All numbers between two ends; an infinite end is open."""

    low: Float
    high: Float
    low_open: bool = False
    high_open: bool = False

    @property
    def positive(self) -> bool:
        """Whether every value is above 0."""
        return bool(libmp.mpf_gt(self.low, ZERO)) or (self.low == ZERO and self.low_open)

    @property
    def nonnegative(self) -> bool:
        """Whether no value is below 0."""
        return bool(libmp.mpf_ge(self.low, ZERO))

    @property
    def negative(self) -> bool:
        """Whether every value is below 0."""
        return bool(libmp.mpf_lt(self.high, ZERO)) or (self.high == ZERO and self.high_open)

    @property
    def nonpositive(self) -> bool:
        """Whether no value is above 0."""
        return bool(libmp.mpf_le(self.high, ZERO))

    @property
    def zero(self) -> bool:
        """Whether 0 is the only value."""
        return bool(self.low == ZERO == self.high)


REALS = Range(NINF, INF, True, True)


def add(a: Range, b: Range, precision: int) -> Range:
    """a + b."""
    low = libmp.mpf_add(a.low, b.low, precision, "f")
    high = libmp.mpf_add(a.high, b.high, precision, "c")
    return Range(low, high, a.low_open or b.low_open, a.high_open or b.high_open)


def multiply(a: Range, b: Range, precision: int) -> Range:
    """a times b."""
    corners = []
    for x, x_open in ((a.low, a.low_open), (a.high, a.high_open)):
        for y, y_open in ((b.low, b.low_open), (b.high, b.high_open)):
            if ZERO in (x, y):  # 0 times an infinite end is 0: every value of the other range is finite
                attained = (x == ZERO and not x_open) or (y == ZERO and not y_open)
                corners.append((ZERO, ZERO, not attained))
            else:
                exact = libmp.mpf_mul(x, y)
                down, up = (libmp.mpf_pos(exact, precision, way) for way in ("f", "c"))
                corners.append((down, up, x_open or y_open))
    low = least(corner[0] for corner in corners)
    high = greatest(corner[1] for corner in corners)
    return Range(
        low,
        high,
        all(is_open for down, _, is_open in corners if down == low),
        all(is_open for _, up, is_open in corners if up == high),
    )


def integer_power(a: Range, power: int, precision: int) -> Range:
    """a to a whole power of at least 0."""
    if power == 0:
        return Range(ONE, ONE)
    if power % 2 == 0:
        a = absolute(a)
    low = _signed_power(a.low, power, precision, "f")
    high = _signed_power(a.high, power, precision, "c")
    return Range(low, high, a.low_open, a.high_open)


def _signed_power(x: Float, power: int, precision: int, way: str) -> Float:
    if x in (INF, NINF):
        return NINF if x == NINF and power % 2 else INF
    found: Float = libmp.mpf_pow_int(x, power, precision, way)
    return found


def reciprocal(a: Range, precision: int, what: sp.Basic) -> Range:
    """1 / a; ``what`` is a, for the message."""
    if not (a.positive or a.negative):
        raise Undefined(f"the denominator {what} may be 0")
    ends = []
    for end, sign, way in ((a.high, a.negative, "f"), (a.low, a.negative, "c")):
        if end in (INF, NINF):
            ends.append(ZERO)
        elif end == ZERO:
            ends.append(NINF if sign else INF)
        else:
            ends.append(libmp.mpf_div(ONE, end, precision, way))
    return Range(ends[0], ends[1], a.high_open, a.low_open)


def absolute(a: Range) -> Range:
    """The absolute value."""
    if a.nonnegative:
        return a
    if a.nonpositive:
        return negated(a)
    left = Range(ZERO, libmp.mpf_neg(a.low), False, a.low_open)
    right = Range(ZERO, a.high, False, a.high_open)
    return extreme([left, right], largest=True)


def extreme(ranges: list[Range], *, largest: bool) -> Range:
    """The range of Max (or Min) over independent values."""
    pick = greatest if largest else least
    low, high = pick(each.low for each in ranges), pick(each.high for each in ranges)
    # The largest value attains the greatest of the lower ends only if each range that has it attains it.
    at_low = [each.low_open for each in ranges if each.low == low]
    at_high = [each.high_open for each in ranges if each.high == high]
    return Range(low, high, any(at_low) if largest else all(at_low), all(at_high) if largest else any(at_high))


def hull(ranges: list[Range]) -> Range:
    """The narrowest range that holds some ranges."""
    low, high = least(each.low for each in ranges), greatest(each.high for each in ranges)
    return Range(
        low,
        high,
        all(each.low_open for each in ranges if each.low == low),
        all(each.high_open for each in ranges if each.high == high),
    )


def widened(low: Float, high: Float, precision: int) -> Range:
    """The ends moved outwards by more than the error of mpmath's last digit."""
    slack = libmp.mpf_shift(ONE, -precision - 4)
    down = libmp.mpf_sub(low, libmp.mpf_mul(libmp.mpf_abs(low), slack), precision, "f")
    up = libmp.mpf_add(high, libmp.mpf_mul(libmp.mpf_abs(high), slack), precision, "c")
    return Range(down, up)


def least(ends: Iterable[Float]) -> Float:
    """The smallest end."""
    return reduce(lambda x, y: y if libmp.mpf_lt(y, x) else x, ends)


def greatest(ends: Iterable[Float]) -> Float:
    """The largest end."""
    return reduce(lambda x, y: y if libmp.mpf_gt(y, x) else x, ends)


def negated(a: Range) -> Range:
    """Minus a."""
    return Range(libmp.mpf_neg(a.high), libmp.mpf_neg(a.low), a.high_open, a.low_open)
