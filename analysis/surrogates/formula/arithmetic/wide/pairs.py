"""Double-double numbers: an unevaluated sum ``hi + lo`` of two float64 tensors, about 106 bits.

The error-free transformations are those of Dekker (1971) and Knuth: the rounding error of one sum or product is itself
a float64 number. Everything here stays within one exponent range; `wide.Wide` adds the exponent and the error bound.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Self

import torch
from mpmath.ctx_mp import MPContext
from torch import Tensor

mp = MPContext()
"""Where constants are computed before they are cut into doubles: a context of its own, whose precision never moves."""
mp.prec = 256

_SPLITTER = 134217729.0  # 2^27 + 1


def two_sum(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """The rounded sum and its rounding error."""
    total = a + b
    part = total - a
    return total, (a - (total - part)) + (b - part)


def fast_two_sum(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """`two_sum` where ``|a| >= |b|`` or ``a`` is 0."""
    total = a + b
    return total, b - (total - a)


def split(a: Tensor) -> tuple[Tensor, Tensor]:
    """Two halves of 26 bits each: products of halves are exact."""
    scaled = _SPLITTER * a
    high = scaled - (scaled - a)
    return high, a - high


def two_prod(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """The rounded product and its rounding error."""
    product = a * b
    a1, a2 = split(a)
    b1, b2 = split(b)
    return product, ((a1 * b1 - product) + a1 * b2 + a2 * b1) + a2 * b2


class Pair(NamedTuple):
    """``hi + lo``; ``lo`` may be far smaller than half a unit of ``hi``, which keeps 1 + tiny sharp."""

    hi: Tensor
    lo: Tensor

    def plus(self, other: Pair) -> Pair:
        """The sum, to about 2^-105 of the larger summand."""
        high, rest = two_sum(self.hi, other.hi)
        low, lowest = two_sum(self.lo, other.lo)
        high, rest = fast_two_sum(high, rest + low)
        return Pair(*fast_two_sum(high, rest + lowest))

    def times(self, other: Pair) -> Pair:
        """The product, to about 2^-104."""
        high, rest = two_prod(self.hi, other.hi)
        return Pair(*fast_two_sum(high, rest + (self.hi * other.lo + self.lo * other.hi)))

    def over(self, other: Pair) -> Pair:
        """The quotient, to about 2^-103."""
        first = self.hi / other.hi
        product, rest = two_prod(first, other.hi)
        remainder = ((self.hi - product) - rest) + (self.lo - first * other.lo)
        return Pair(*fast_two_sum(first, remainder / other.hi))

    def scaled(self, power_of_two: Tensor | float) -> Pair:
        """The product with a power of two: exact."""
        return Pair(self.hi * power_of_two, self.lo * power_of_two)

    def minus(self) -> Pair:
        """The negative: exact."""
        return Pair(-self.hi, -self.lo)

    def where(self, condition: Tensor, other: Pair) -> Pair:
        """This where the condition holds, else the other."""
        return Pair(torch.where(condition, self.hi, other.hi), torch.where(condition, self.lo, other.lo))

    @classmethod
    def of(cls, value: object) -> Self:
        """A real number (an integer, a float, a number of mpmath's) to 106 bits."""
        number = mp.mpf(value)
        high = float(number)
        return cls(_scalar(high), _scalar(float(number - high)))


def _scalar(value: float) -> Tensor:
    return torch.tensor(value, dtype=torch.float64)


def polynomial(x: Pair, coefficients: Sequence[Pair], sharp: int) -> Pair:
    """Horner's rule; only the first ``sharp`` coefficients (from the constant one up) need a pair's precision."""
    value = coefficients[-1].hi
    for coefficient in reversed(coefficients[sharp:-1]):
        value = coefficient.hi + x.hi * value
    result = Pair(value, torch.zeros_like(value))
    for coefficient in reversed(coefficients[:sharp]):
        result = coefficient.plus(x.times(result))
    return result
