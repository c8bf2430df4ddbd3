"""Exact numbers: rationals while they stay short, then intervals ``middle +- radius`` of any precision.

One entry at a time and slow; they decide what `wide` cannot tell. The precision is that of the context `mp`. A value may
also be a `Failure`, which travels through the operations like a NaN, so that a branch that is not taken does no harm.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from fractions import Fraction
from functools import wraps
from math import isqrt
from typing import Any, NamedTuple, TypeAlias

import sympy as sp
from mpmath.ctx_mp import MPContext

mp = MPContext()
"""A context of its own: its precision moves while others compute."""
mpf: TypeAlias = Any

_LONG = 20_000  # bits up to which a rational is kept exact
_LARGE = 1100  # exp of more than 2^1100 counts as exp of 2^1100, which is far beyond what any quotient brings back


class Failure(Enum):
    """Why there is no value."""

    UNDECIDED = "needs more digits"
    SINGULAR = "divides by 0 or takes the logarithm of 0"
    NOT_REAL = "takes a root or the logarithm of a negative number"


class Ball(NamedTuple):
    """All numbers within ``radius`` of ``middle``."""

    middle: mpf
    radius: mpf


Number: TypeAlias = Fraction | Ball


def _rounded(middle: mpf, radius: mpf | int = 0) -> Ball:
    return Ball(middle, radius + mp.ldexp(abs(middle), 4 - mp.prec))


def ball(x: Number) -> Ball:
    """The number as an interval."""
    if isinstance(x, Ball):
        return x
    middle = mp.mpf(x.numerator) / x.denominator
    digits = x.numerator // (x.numerator & -x.numerator or 1)  # without the zeros at the end
    exact = x.denominator & (x.denominator - 1) == 0 and digits.bit_length() < mp.prec
    return Ball(middle, mp.mpf(0)) if exact else _rounded(middle)


def _strict(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, which passes on the first failure among its arguments."""

    @wraps(function)
    def guarded(*arguments: Any) -> Any:
        failure = next((x for x in arguments if isinstance(x, Failure)), None)
        return function(*arguments) if failure is None else failure

    return guarded


def _short(*numbers: Number) -> bool:
    return all(isinstance(x, Fraction) for x in numbers) and (
        sum(x.numerator.bit_length() + x.denominator.bit_length() for x in numbers if isinstance(x, Fraction)) < _LONG
    )


@_strict
def sign_of(x: Number) -> int | Failure:
    """-1, 0 or 1, if that can be told."""
    if isinstance(x, Fraction):
        return (x > 0) - (x < 0)
    if x.radius and abs(x.middle) <= x.radius:
        return Failure.UNDECIDED
    return int(x.middle > 0) - int(x.middle < 0)


@_strict
def add(x: Number, y: Number) -> Number:
    """The sum."""
    if _short(x, y):
        return x + y
    a, b = ball(x), ball(y)
    return _rounded(a.middle + b.middle, a.radius + b.radius)


@_strict
def multiply(x: Number, y: Number) -> Number:
    """The product."""
    if _short(x, y):
        return x * y
    a, b = ball(x), ball(y)
    spread = abs(a.middle) * b.radius + abs(b.middle) * a.radius + a.radius * b.radius
    return _rounded(a.middle * b.middle, spread)


@_strict
def divide(x: Number, y: Number) -> Number | Failure:
    """The quotient."""
    sign = sign_of(y)
    if not sign or isinstance(sign, Failure):
        return sign or Failure.SINGULAR
    if _short(x, y):
        return x / y
    a, b = ball(x), ball(y)
    quotient = a.middle / b.middle
    return _rounded(quotient, (a.radius + abs(quotient) * b.radius) / (abs(b.middle) - b.radius))


@_strict
def power(x: Number, count: int) -> Number:
    """A positive integer power."""
    if isinstance(x, Fraction) and count * (x.numerator.bit_length() + x.denominator.bit_length()) < _LONG:
        return x**count
    half = power(x, count // 2) if count > 1 else Fraction(1)
    square = multiply(half, half)
    return multiply(square, x) if count % 2 else square


@_strict
def negative(x: Number) -> Number:
    """The negative."""
    return -x if isinstance(x, Fraction) else Ball(-x.middle, x.radius)


@_strict
def absolute(x: Number) -> Number:
    """The absolute value."""
    return abs(x) if isinstance(x, Fraction) else Ball(abs(x.middle), x.radius)


@_strict
def sign(x: Number) -> Number | Failure:
    """The sign as a number."""
    found = sign_of(x)
    return found if isinstance(found, Failure) else Fraction(found)


@_strict
def floor(x: Number) -> Number | Failure:
    """The largest integer that is not above."""
    if isinstance(x, Fraction):
        return Fraction(x.numerator // x.denominator)
    if abs(x.middle) > mp.ldexp(1, _LONG):
        return Failure.UNDECIDED
    low, high = mp.floor(x.middle - x.radius), mp.floor(x.middle + x.radius)
    return Fraction(int(low)) if low == high else Failure.UNDECIDED


@_strict
def maximum(x: Number, y: Number) -> Number:
    """The larger; both, where nobody can tell which."""
    found = sign_of(add(x, negative(y)))
    if not isinstance(found, Failure):
        return x if found >= 0 else y
    a, b = ball(x), ball(y)
    return Ball(max(a.middle, b.middle), max(a.radius, b.radius))


@_strict
def sqrt(x: Number) -> Number | Failure:
    """The square root."""
    sign = sign_of(x)
    if isinstance(sign, Failure):
        return sign
    if sign < 0:
        return Failure.NOT_REAL
    if isinstance(x, Fraction):
        above, below = isqrt(x.numerator), isqrt(x.denominator)
        if above**2 == x.numerator and below**2 == x.denominator:
            return Fraction(above, below)
    middle, radius = ball(x)
    root = mp.sqrt(middle)
    return _rounded(root, radius / root)


@_strict
def log(x: Number) -> Number | Failure:
    """The logarithm."""
    sign = sign_of(x)
    if isinstance(sign, Failure):
        return sign
    if sign <= 0:
        return Failure.NOT_REAL if sign else Failure.SINGULAR
    middle, radius = ball(x)
    return Fraction(0) if x == 1 else _rounded(mp.log(middle), radius / (middle - radius))


def _smooth(
    function: Callable[[mpf], mpf], slope: Callable[[mpf, mpf], mpf], limit: int = _LARGE
) -> Callable[..., Any]:
    """A function on balls, given a bound of its slope around a ball; it is constant beyond ``2^limit``."""

    @_strict
    def value(x: Number) -> Number | Failure:
        middle, radius = ball(x)
        largest = mp.ldexp(1, limit)
        if abs(middle) - radius > largest:
            middle, radius = mp.sign(middle) * largest, mp.mpf(0)
        if radius > 1:
            return Failure.UNDECIDED
        result = function(middle)
        exact = x == 0 and result == int(result)
        return Fraction(int(result)) if exact else _rounded(result, radius * slope(middle, radius))

    return value


def _one(middle: mpf, radius: mpf) -> int:
    return 1


def _grown(middle: mpf, radius: mpf) -> mpf:
    return mp.exp(middle + radius)


def _steep(middle: mpf, radius: mpf) -> mpf:
    return mp.cosh(abs(middle) + radius)


def _bell(middle: mpf, radius: mpf) -> mpf:
    nearest = max(abs(middle) - radius, 0)
    return 2 * mp.exp(-nearest * nearest)


def _circular(function: Callable[[mpf], mpf]) -> Callable[..., Any]:
    smooth = _smooth(function, _one, _LONG)

    @_strict
    def value(x: Number) -> Number | Failure:
        too_large = abs(ball(x).middle) > mp.ldexp(1, _LONG)
        result: Number | Failure = Failure.UNDECIDED if too_large else smooth(x)
        return result

    return value


exp = _smooth(mp.exp, _grown)


def number(value: sp.Expr) -> Number | Failure:
    """A constant of a formula."""
    if value is sp.nan:
        return Failure.NOT_REAL
    if value.is_Rational:
        return Fraction(int(value.p), int(value.q))
    return _rounded(mp.mpf(value.evalf(mp.dps + 5)._to_mpmath(mp.prec)))


@_strict
def real_power(x: Number, exponent: Number) -> Number | Failure:
    """A positive power that is no integer."""
    result: Number | Failure = x if x == 0 else exp(multiply(log(x), exponent))
    return result


@_strict
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


def compare(x: Number | Failure, relation: Callable[[int, int], bool], bound: Number) -> bool | Failure:
    """``x relation bound``, the relation being one of `operator`."""
    found = sign_of(add(x, negative(bound)))
    return found if isinstance(found, Failure) else relation(found, 0)


_OPERATIONS: dict[str, Callable[..., Any]] = {
    "add": add,
    "subtract": lambda x, y: add(x, negative(y)),
    "multiply": multiply,
    "divide": divide,
    "negative": negative,
    "absolute": absolute,
    "sign": sign,
    "floor": floor,
    "ceiling": lambda x: negative(floor(negative(x))),
    "maximum": maximum,
    "minimum": lambda x, y: negative(maximum(negative(x), negative(y))),
    "sqrt": sqrt,
    "log": log,
    "log1p": lambda x: log(add(Fraction(1), x)),
    "exp": exp,
    "expm1": _smooth(mp.expm1, _grown),
    "sinh": _smooth(mp.sinh, _steep),
    "cosh": _smooth(mp.cosh, _steep),
    "tanh": _smooth(mp.tanh, _one),
    "atan": _smooth(mp.atan, _one),
    "erf": _smooth(mp.erf, _bell, _LARGE // 2),
    "erfc": _smooth(mp.erfc, _bell, _LARGE // 2),
    "sin": _circular(mp.sin),
    "cos": _circular(mp.cos),
    "both": both,
    "either": lambda a, b: negated(both(negated(a), negated(b))),
    "negated": negated,
    "choose": choose,
}


def arithmetic(operation: str, setting: Any) -> Any:
    """The operations of a program on exact numbers, at the precision of `mp`."""
    if operation == "number":
        return number(setting)
    if operation == "power":
        return lambda x: power(x, setting)
    if operation == "real_power":
        exponent = number(setting)
        return lambda x: real_power(x, exponent)
    if operation == "compare":
        relation, bound = setting[0], number(setting[1])
        return lambda x: compare(x, relation, bound)
    return _OPERATIONS[operation]
