"""Wide numbers: ``(hi + lo) * 2^exponent``, with a bound on the error that was made.

The pair carries about 106 bits, the exponent is a float64 of its own, so nothing over- or underflows before the last
rounding; `error` bounds, in units of ``2^exponent``, how far the number may be from the true one: 0 is exact, infinity
is "cannot tell". Errors are summed from what was actually rounded off, not from worst cases, so that 1 + tiny - 1 stays
known to be accurate. The caller recomputes by `exact` the few entries whose bound is not good enough.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from .pairs import Pair, fast_two_sum, two_prod, two_sum

_HALF_UNIT = 2.0**-53
_FAR = -900.0  # exponents this far apart: the smaller summand counts as error
_ABSENT = -(2.0**40)  # the exponent of an exact zero: never the larger one in a sum


def power_of_two(exponent: Tensor) -> Tensor:
    """``2^exponent``, exactly, for integers between -1022 and 1023 (others are clamped to these)."""
    return (exponent.clamp(-1022, 1023).to(torch.int64) + 1023).bitwise_left_shift(52).view(torch.float64)


def either(condition: Tensor, yes: float, no: float) -> Tensor:
    """Float64 by condition: `torch.where` of two Python numbers would be float32, where 2^-890 is 0."""
    return torch.full_like(condition, no, dtype=torch.float64).masked_fill_(condition, yes)


class Wide(NamedTuple):
    """``(hi + lo) * 2^exponent``, true to ``error * 2^exponent``."""

    hi: Tensor
    lo: Tensor
    exponent: Tensor
    error: Tensor

    @classmethod
    def exact(cls, value: Tensor) -> Wide:
        """Float64 values as they are stored."""
        zero = torch.zeros_like(value)
        return cls(value, zero, zero, zero).normal()

    @classmethod
    def of(cls, pair: Pair, error: Tensor, exponent: Tensor | None = None) -> Wide:
        """A pair with its error bound, both times ``2^exponent``."""
        return cls(*pair, torch.zeros_like(pair.hi) if exponent is None else exponent, error).normal()

    @property
    def pair(self) -> Pair:
        """The mantissa."""
        return Pair(self.hi, self.lo)

    @property
    def scale(self) -> Tensor:
        """``2^exponent`` where a float64 can hold it."""
        return power_of_two(self.exponent)

    def normal(self) -> Wide:
        """The same number with ``hi`` between 1/2 and 1."""
        hi, shift = torch.frexp(self.hi)
        scale = power_of_two(-shift)
        nothing = (self.hi == 0) & (self.error == 0)
        exponent = torch.where(nothing, _ABSENT, self.exponent + shift)
        return Wide(hi, self.lo * scale, exponent, self.error * scale)

    def plus(self, other: Wide) -> Wide:
        """The sum."""
        exponent = torch.maximum(self.exponent, other.exponent)
        (a, a_error), (b, b_error) = self._aligned(exponent), other._aligned(exponent)
        high, rest = two_sum(a.hi, b.hi)
        low, lowest = two_sum(a.lo, b.lo)
        rest, rest_low = two_sum(rest, low)
        high, rest = two_sum(high, rest)
        tail = rest_low + lowest
        rest, lost = two_sum(rest, tail)
        error = a_error + b_error + lost.abs() + torch.minimum(tail.abs() * _HALF_UNIT, lowest.abs())
        return Wide(*fast_two_sum(high, rest), exponent, error).normal()

    def _aligned(self, exponent: Tensor) -> tuple[Pair, Tensor]:
        gap = self.exponent - exponent
        scale = power_of_two(gap)
        return self.pair.scaled(scale), self.error * scale + torch.where(gap < _FAR, self.hi.abs() * 2.0**-890, 0.0)

    def minus(self) -> Wide:
        """The negative."""
        return Wide(-self.hi, -self.lo, self.exponent, self.error)

    def times(self, other: Wide) -> Wide:
        """The product."""
        product, rest = two_prod(self.hi, other.hi)
        first, second = self.hi * other.lo, self.lo * other.hi
        low = rest + (first + second)
        small = first.abs() + second.abs()
        rounded = torch.minimum(low.abs() * _HALF_UNIT, small) + small * (4 * _HALF_UNIT) + (self.lo * other.lo).abs()
        spread = self.hi.abs() * other.error + other.hi.abs() * self.error
        error = 1.01 * (spread + self.error * other.error) + rounded
        return Wide(*fast_two_sum(product, low), self.exponent + other.exponent, error).normal()

    def over(self, other: Wide) -> Wide:
        """The quotient; cannot tell where the divisor may be 0."""
        first = self.hi / other.hi
        product, rest = two_prod(first, other.hi)
        cross = first * other.lo
        exact = (self.hi - product) - rest
        second = (exact + (self.lo - cross)) / other.hi
        parts = exact.abs() + self.lo.abs() + cross.abs()
        rounded = 4 * _HALF_UNIT * parts + (second * other.lo).abs()
        margin = other.hi.abs() - 2 * other.error
        error = torch.where(margin > 0, (self.error + first.abs() * other.error * 1.01 + rounded) / margin, torch.inf)
        return Wide(*fast_two_sum(first, second), self.exponent - other.exponent, error * 1.01).normal()

    def power(self, count: int) -> Wide:
        """An integer power, ``count >= 1``, by squaring."""
        if count == 1:
            return self
        half = self.power(count // 2)
        square = half.times(half)
        return square.times(self) if count % 2 else square

    def sqrt(self) -> Wide:
        """The square root; cannot tell where the radicand may be negative."""
        odd = torch.remainder(self.exponent, 2)
        radicand = self.pair.scaled(1 + odd)
        first = radicand.hi.sqrt()
        square, rest = two_prod(first, first)
        second = torch.where(first == 0, 0.0, (((radicand.hi - square) - rest) + radicand.lo) / (2 * first))
        error = torch.where(self.hi > 4 * self.error, 2 * self.error + second.abs() * 2.0**-50, torch.inf)
        error = torch.where((self.hi == 0) & (self.error == 0), 0.0, error)
        return Wide(*fast_two_sum(first, second), (self.exponent - odd) / 2, error).normal()

    def absolute(self) -> Wide:
        """The absolute value."""
        sign = torch.sign(self.hi)
        return Wide(self.hi * sign, self.lo * sign, self.exponent, self.error)

    @property
    def surely_nonzero(self) -> Tensor:
        """Where the sign of ``hi`` is the sign of the true number."""
        return (self.hi.abs() > self.error) | (self.error == 0)

    def sign(self) -> Wide:
        """-1, 0 or 1."""
        sign = torch.sign(self.hi)
        return Wide.of(Pair(sign, torch.zeros_like(sign)), either(self.surely_nonzero, 0.0, torch.inf))

    def where(self, condition: Tensor, other: Wide) -> Wide:
        """This where the condition holds, else the other."""
        return Wide(*(torch.where(condition, a, b) for a, b in zip(self, other, strict=True)))

    def doubted(self, doubt: Tensor) -> Wide:
        """The same, but cannot tell where there is doubt."""
        return self._replace(error=torch.where(doubt, torch.inf, self.error))

    def maximum(self, other: Wide) -> Wide:
        """The larger; where nobody can tell which, their distance counts as error."""
        gap = self.plus(other.minus())
        larger = self.where(gap.hi >= 0, other)
        unsure = gap.error * power_of_two(gap.exponent - larger.exponent)
        return larger._replace(error=larger.error + torch.where(gap.surely_nonzero, 0.0, unsure))

    def floor(self) -> Wide:
        """The largest integer that is not above; cannot tell where the error reaches across one."""
        scale = self.scale
        high, low = self.hi * scale, self.lo * scale
        whole = torch.floor(high)
        below = torch.where(whole == high, torch.floor(low), 0.0)
        floor = Wide.of(Pair(*two_sum(whole, below)), torch.zeros_like(high))
        huge = self.exponent > 1000  # an integer anyway, if it is exact
        floor = self.where(huge, floor)
        rest = self.plus(floor.minus())
        above, error = rest.hi * rest.scale, rest.error * rest.scale
        return floor.doubted((self.error > 0) & (huge | (error >= above) | (error >= 1 - above)))


class Truth(NamedTuple):
    """A condition at each entry, and where it is in doubt."""

    holds: Tensor
    doubt: Tensor

    def both(self, other: Truth) -> Truth:
        """And: a sure False settles it."""
        sure_false = (~self.holds & ~self.doubt) | (~other.holds & ~other.doubt)
        return Truth(self.holds & other.holds, (self.doubt | other.doubt) & ~sure_false)

    def negated(self) -> Truth:
        """Not."""
        return Truth(~self.holds, self.doubt)


def compare(number: Wide, relation: Callable[[Tensor, float], Tensor], bound: Wide) -> Truth:
    """``number relation bound``, the relation being one of `operator`."""
    gap = number.plus(bound.minus())
    return Truth(relation(gap.hi, 0.0), ~gap.surely_nonzero)


def choose(condition: Truth, first: Wide, second: Wide) -> Wide:
    """The first where the condition holds, else the second."""
    return first.where(condition.holds, second).doubted(condition.doubt)
