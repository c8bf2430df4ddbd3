"""Functions of exact numbers, and the table of their operations."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from math import isqrt
from typing import Any

import sympy as sp

from .number import (
    LONG,
    Ball,
    Failure,
    Number,
    absolute,
    add,
    ball,
    both,
    choose,
    compare,
    divide,
    floor,
    maximum,
    mp,
    mpf,
    multiply,
    negated,
    negative,
    power,
    rounded,
    sign,
    sign_of,
    strict,
)

_LARGE = 1100  # exp of more than 2^1100 counts as exp of 2^1100, which is far beyond what any quotient brings back


@strict
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
    return rounded(root, radius / root)


@strict
def log(x: Number) -> Number | Failure:
    """The logarithm."""
    sign = sign_of(x)
    if isinstance(sign, Failure):
        return sign
    if sign <= 0:
        return Failure.NOT_REAL if sign else Failure.SINGULAR
    middle, radius = ball(x)
    return Fraction(0) if x == 1 else rounded(mp.log(middle), radius / (middle - radius))


def _smooth(
    function: Callable[[mpf], mpf], slope: Callable[[mpf, mpf], mpf], limit: int = _LARGE
) -> Callable[..., Any]:
    """A function on balls, given a bound of its slope around a ball; it is constant beyond ``2^limit``."""

    @strict
    def value(x: Number) -> Number | Failure:
        middle, radius = ball(x)
        largest = mp.ldexp(1, limit)
        if abs(middle) - radius > largest:
            middle, radius = mp.sign(middle) * largest, mp.mpf(0)
        if radius > 1:
            return Failure.UNDECIDED
        result = function(middle)
        exact = x == 0 and result == int(result)
        return Fraction(int(result)) if exact else rounded(result, radius * slope(middle, radius))

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
    smooth = _smooth(function, _one, LONG)

    @strict
    def value(x: Number) -> Number | Failure:
        too_large = abs(ball(x).middle) > mp.ldexp(1, LONG)
        result: Number | Failure = Failure.UNDECIDED if too_large else smooth(x)
        return result

    return value


def _exp(x: mpf) -> mpf:
    # At many digits mpmath raises e to a whole number by repeated squaring, which is slow where that is large.
    return mp.exp(x + 0.5) / mp.exp(0.5) if mp.prec > 600 and abs(x) > 1000 else mp.exp(x)


_exp_where_known = _smooth(_exp, _grown)


@strict
def exp(x: Number) -> Number | Failure:
    """The exponential; between 0 and that of the ball's upper end where the ball is wide but far below 0."""
    middle, radius = ball(x)
    if radius > 1 and middle + radius < 0:
        half = _exp(max(middle + radius, -mp.ldexp(1, _LARGE))) / 2
        return Ball(half, half * 1.01)
    value: Number | Failure = _exp_where_known(x)
    return value


def number(value: sp.Expr) -> Number | Failure:
    """A constant of a formula."""
    if value is sp.nan:
        return Failure.NO_CASE
    if value.is_Rational:
        return Fraction(int(value.p), int(value.q))
    return rounded(mp.mpf(value.evalf(mp.dps + 5)._to_mpmath(mp.prec)))


@strict
def _sinpi(x: Number) -> Number | Failure:
    whole = floor(add(x, Fraction(1, 2)))
    if isinstance(whole, Failure):
        return whole
    sine: Number | Failure = _sin(multiply(add(x, negative(whole)), rounded(mp.mpf(mp.pi))))
    parity = add(whole, multiply(Fraction(-2), floor(multiply(whole, Fraction(1, 2)))))
    result: Number | Failure = multiply(sine, add(Fraction(1), multiply(Fraction(-2), parity)))
    return result


@strict
def _erfc(x: Number) -> Number | Failure:
    middle, radius = ball(x)
    if middle < mp.ldexp(1, 40):
        value: Number | Failure = _erfc_below(x)
        return value
    if radius > 1:
        return Failure.UNDECIDED
    middle = min(middle, mp.ldexp(1, _LARGE // 2))
    # Two terms of the asymptotic series are good to 2^-160 here.
    factor = (1 - 1 / (2 * middle**2)) / (middle * mp.sqrt(mp.pi))
    power = exp(negative(multiply(Ball(middle, radius), Ball(middle, radius))))
    if isinstance(power, Failure):
        return power
    power = ball(power)
    return rounded(power.middle * factor, (power.radius + mp.ldexp(power.middle, -160)) * factor)


_erfc_below = _smooth(mp.erfc, _bell, 45)
_sin = _circular(mp.sin)


@strict
def real_power(x: Number, exponent: Number) -> Number | Failure:
    """A positive power that is no integer."""
    result: Number | Failure = x if x == 0 else exp(multiply(log(x), exponent))
    return result


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
    "erfc": _erfc,
    "sin": _sin,
    "sinpi": _sinpi,
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
