"""Exact numbers: rationals while they stay short, then intervals ``middle +- radius`` of any precision.

The precision is that of the context `mp`. A value may also be a `Failure`, which travels through the operations like a
NaN, so that a branch that is not taken does no harm.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from fractions import Fraction
from functools import wraps
from typing import Any, NamedTuple, TypeAlias

from mpmath.ctx_mp import MPContext

mp = MPContext()
"""A context of its own: its precision moves while others compute."""
mpf: TypeAlias = Any

LONG = 20_000  # bits up to which a rational is kept exact


class Failure(Enum):
    """Why there is no value."""

    UNDECIDED = "needs more digits"
    SINGULAR = "divides by 0 or takes the logarithm of 0"
    NOT_REAL = "takes a root or the logarithm of a negative number"
    NO_CASE = "is covered by no case of the Piecewise"


class Ball(NamedTuple):
    """All numbers within ``radius`` of ``middle``."""

    middle: mpf
    radius: mpf


Number: TypeAlias = Fraction | Ball


def rounded(middle: mpf, radius: mpf | int = 0) -> Ball:
    """A ball around a middle that was itself rounded."""
    return Ball(middle, radius + mp.ldexp(abs(middle), 4 - mp.prec))


def ball(x: Number) -> Ball:
    """The number as an interval."""
    if isinstance(x, Ball):
        return x
    middle = mp.mpf(x.numerator) / x.denominator
    digits = x.numerator // (x.numerator & -x.numerator or 1)  # without the zeros at the end
    exact = x.denominator & (x.denominator - 1) == 0 and digits.bit_length() < mp.prec
    return Ball(middle, mp.mpf(0)) if exact else rounded(middle)


def strict(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, which passes on the first failure among its arguments."""

    @wraps(function)
    def guarded(*arguments: Any) -> Any:
        failure = next((x for x in arguments if isinstance(x, Failure)), None)
        return function(*arguments) if failure is None else failure

    return guarded


def _bits(x: Fraction) -> int:
    return x.numerator.bit_length() + x.denominator.bit_length()


@strict
def sign_of(x: Number) -> int | Failure:
    """-1, 0 or 1, if that can be told."""
    if isinstance(x, Fraction):
        return (x > 0) - (x < 0)
    if x.radius and abs(x.middle) <= x.radius:
        return Failure.UNDECIDED
    return int(x.middle > 0) - int(x.middle < 0)


@strict
def add(x: Number, y: Number) -> Number:
    """The sum."""
    if isinstance(x, Fraction) and isinstance(y, Fraction) and _bits(x) + _bits(y) < LONG:
        return x + y
    a, b = ball(x), ball(y)
    return rounded(a.middle + b.middle, a.radius + b.radius)


@strict
def multiply(x: Number, y: Number) -> Number:
    """The product."""
    if x == 0 or y == 0:
        return Fraction(0)
    if isinstance(x, Fraction) and isinstance(y, Fraction) and _bits(x) + _bits(y) < LONG:
        return x * y
    a, b = ball(x), ball(y)
    spread = abs(a.middle) * b.radius + abs(b.middle) * a.radius + a.radius * b.radius
    return rounded(a.middle * b.middle, spread)


@strict
def divide(x: Number, y: Number) -> Number | Failure:
    """The quotient."""
    sign = sign_of(y)
    if not sign or isinstance(sign, Failure):
        return sign or Failure.SINGULAR
    if isinstance(x, Fraction) and isinstance(y, Fraction) and _bits(x) + _bits(y) < LONG:
        return x / y
    a, b = ball(x), ball(y)
    quotient = a.middle / b.middle
    return rounded(quotient, (a.radius + abs(quotient) * b.radius) / (abs(b.middle) - b.radius))


@strict
def power(x: Number, count: int) -> Number:
    """A positive integer power."""
    if count == 1:
        return x
    half = power(x, count // 2)
    square: Number = multiply(half, half)
    result: Number = multiply(square, x) if count % 2 else square
    return result


@strict
def negative(x: Number) -> Number:
    """The negative."""
    return -x if isinstance(x, Fraction) else Ball(-x.middle, x.radius)


@strict
def absolute(x: Number) -> Number:
    """The absolute value."""
    return abs(x) if isinstance(x, Fraction) else Ball(abs(x.middle), x.radius)


@strict
def sign(x: Number) -> Number | Failure:
    """The sign as a number."""
    found = sign_of(x)
    return found if isinstance(found, Failure) else Fraction(found)


@strict
def floor(x: Number) -> Number | Failure:
    """The largest integer that is not above."""
    if isinstance(x, Fraction):
        return Fraction(x.numerator // x.denominator)
    if abs(x.middle) > mp.ldexp(1, LONG):
        return Failure.UNDECIDED
    low, high = mp.floor(x.middle - x.radius), mp.floor(x.middle + x.radius)
    return Fraction(int(low)) if low == high else Failure.UNDECIDED


@strict
def maximum(x: Number, y: Number) -> Number:
    """The larger; both, where nobody can tell which."""
    found = sign_of(add(x, negative(y)))
    if not isinstance(found, Failure):
        return x if found >= 0 else y
    a, b = ball(x), ball(y)
    return Ball(max(a.middle, b.middle), max(a.radius, b.radius))


@strict
def negated(condition: bool) -> bool:
    """Not."""
    return not condition


def both(first: bool | Failure, second: bool | Failure) -> bool | Failure:
    """And: False settles it."""
    if first is False or second is False:
        return False
    return second if first is True else first


def choose(condition: bool | Failure, first: Any, second: Any) -> Any:
    """The first where the condition holds, else the second: what is not taken may have failed."""
    if isinstance(condition, Failure):
        return condition
    return first if condition else second


def compare(x: Number | Failure, relation: Callable[[int, int], bool], bound: Number | Failure) -> bool | Failure:
    """``x relation bound``, the relation being one of `operator`."""
    found = sign_of(add(x, negative(bound)))
    return found if isinstance(found, Failure) else relation(found, 0)
