"""Exact numbers compared with certainty: the sign of a closed expression, a rational between two of them."""

from __future__ import annotations

from functools import cache

import sympy as sp
from mpmath import libmp

from .ranges import Undefined, constant


class Undecided(ArithmeticError):
    """A question that we do not answer with certainty within bounded work; says which."""


@cache
def sign_of(number: sp.Expr) -> int:
    """-1, 0 or 1, with certainty; 0 only where the number is 0 exactly.

    Raises:
        Undecided: it is undefined, not real, or too near 0 to tell from 0.
    """
    if number.is_Rational:
        return int(sp.sign(number))
    if number in (sp.oo, -sp.oo):
        return 1 if number is sp.oo else -1
    if not number.is_number or number.has(sp.nan, sp.zoo, sp.oo, sp.I):
        raise Undecided(f"{number} is no real number")
    try:
        for precision in (64, 256, 1024):
            found = constant(number, precision)
            if found.positive or found.negative:
                return 1 if found.positive else -1
    except Undefined as reason:
        raise Undecided(f"the sign of {number}: {reason}") from None
    if sp.expand(number) == 0 or sp.radsimp(sp.expand(number)) == 0:
        return 0
    raise Undecided(f"whether {number} is 0")


def compare(a: sp.Expr, b: sp.Expr) -> int:
    """The sign of a - b, infinities included.

    Raises:
        Undecided: as for `sign_of`.
    """
    if a == b:
        return 0
    if a.is_infinite or b.is_infinite:
        return 1 if a is sp.oo or b is -sp.oo else -1
    return sign_of(a - b)


def rational_between(low: sp.Expr, high: sp.Expr) -> sp.Rational:
    """A rational number strictly between two exact numbers, a short one."""
    if low is -sp.oo and high is sp.oo:
        return sp.Integer(0)
    if low is -sp.oo:
        return sp.Integer(sp.floor(high) - 1)
    if high is sp.oo:
        return sp.Integer(sp.floor(low) + 1)
    if low.is_Rational and high.is_Rational:
        return (low + high) / 2
    for precision in (64, 256, 1024):
        left, right = constant(low, precision).high, constant(high, precision).low
        if libmp.mpf_lt(left, right):
            middle = libmp.mpf_shift(libmp.mpf_add(left, right, precision, "n"), -1)
            return sp.Rational(*libmp.to_rational(middle))
    raise Undecided(f"a number between {low} and {high}")
