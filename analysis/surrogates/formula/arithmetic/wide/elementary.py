"""Elementary functions of `Wide` numbers: reduce the range, call `functions`, carry the error bound.

A function that goes through 0 keeps its relative accuracy there at every exponent; one that saturates (tanh, erf) gives
``1 - tiny`` sharply, so that ``1 - tanh(u)^2`` and ``1 + erf(u)`` are accurate in their tails.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from . import functions
from .number import Wide, either, power_of_two
from .pairs import Pair, mp, two_sum

_ROUNDING = 2.0**-100  # relative; the functions were measured at 2^-104.6
_TINY = -200.0  # below this exponent a function through 0 is its tangent


def constant(value: Any, device: torch.device | None = None) -> Wide:
    """A real number, to 106 bits; exact where a float64 holds it."""
    pair = Pair(*(part.to(device) for part in Pair.of(value)))
    return Wide.of(pair, pair.lo.abs() * 2.0**-52)


ONE = constant(1)
TWO = constant(2)


def _times_power(x: Wide, exponent: int) -> Wide:
    return x._replace(exponent=x.exponent + exponent)


def _signed(x: Wide, sign: Tensor) -> Wide:
    return x._replace(hi=x.hi * sign, lo=x.lo * sign)


def _through_zero(core: Callable[[Pair], Pair], x: Wide) -> Wide:
    """A function with ``f(0) = 0`` and slope below 2, given its pair version; its tangent below 2^-200."""
    level = x.exponent.clamp(_TINY, 60.0)
    scale = power_of_two(level)
    value = core(x.pair.scaled(scale))
    return Wide.of(value, 2 * x.error * scale + value.hi.abs() * _ROUNDING, torch.clamp(x.exponent - level, max=0.0))


def exp(x: Wide) -> Wide:
    """exp(x); cannot tell above 2^50, and is 0 up to its error below -2^50."""
    scale = power_of_two(x.exponent.clamp(max=60.0))
    value = x.pair.scaled(scale)
    count, rest = functions.binary_split(value)
    power = functions.exp(rest)
    spread = x.error * scale + value.hi.abs() * 2.0**-150 + either(x.exponent < -900, 2.0**-890, 0.0)
    rounded = torch.clamp(rest.hi.abs() * 2.0**-51, max=_ROUNDING)  # 1 + tiny stays sharp
    error = torch.where(spread < 0.25, 2 * spread + rounded, torch.inf)
    error = torch.where((x.hi == 0) & (x.error == 0), 0.0, error)
    regular = Wide.of(power, error, count)
    beyond = torch.full_like(x.hi, 2.0**50)
    saturated = Wide.of(
        Pair(torch.full_like(x.hi, 0.5), torch.zeros_like(x.hi)), either(x.hi < 0, 1.0, torch.inf), -beyond
    )
    return regular.where(x.exponent <= 50, saturated)


def expm1(x: Wide) -> Wide:
    """exp(x) - 1."""
    small = x.exponent <= -2
    return _through_zero(functions.expm1, x.where(small, zero(x))).where(small, exp(x).plus(ONE.minus()))


def zero(x: Wide) -> Wide:
    """0, in the shape of ``x``."""
    return Wide.exact(torch.zeros_like(x.hi))


def log(x: Wide) -> Wide:
    """log(x); cannot tell where x may not be positive."""
    low = (x.hi < 0.5**0.5).to(torch.float64)
    mantissa = x.pair.scaled(1 + low)
    value = functions.log1p(Pair(*two_sum(mantissa.hi - 1, mantissa.lo)))
    error = 3 * (1 + low) * x.error + value.hi.abs() * _ROUNDING
    logarithm = Wide.of(value, error).plus(Wide.exact(x.exponent - low).times(LOG_2))
    return logarithm.doubted(~(x.hi > 4 * x.error))


def log1p(x: Wide) -> Wide:
    """log(1 + x)."""
    small = x.exponent <= -2
    return _through_zero(functions.log1p, x.where(small, zero(x))).where(small, log(ONE.plus(x)))


def sin(x: Wide) -> Wide:
    """sin(x); cannot tell above 2^30 where x is not exact."""
    return _circular(x, 0).where(x.exponent > _TINY, x._replace(error=x.error + 2.0**-200))


def cos(x: Wide) -> Wide:
    """cos(x); cannot tell above 2^30 where x is not exact."""
    return _circular(x, 1)


def _circular(x: Wide, quarters: int) -> Wide:
    """sin(x + quarters pi / 2)."""
    scale = power_of_two(x.exponent.clamp(max=40.0))
    value = x.pair.scaled(scale)
    count, rest = functions.quarter_split(value)
    far = (x.exponent > 30) & (x.exponent <= 1200) & (x.error == 0)
    if far.any():
        count, rest = count.clone(), Pair(rest.hi.clone(), rest.lo.clone())
        mantissa = Pair(x.hi[far], x.lo[far])
        count[far], (rest.hi[far], rest.lo[far]) = functions.far_quarter_split(mantissa, x.exponent[far])
    sine, cosine = functions.sin_cos(rest)
    quarter = torch.remainder(count + quarters, 4)
    odd = torch.remainder(quarter, 2) == 1
    result = cosine.where(odd, sine)
    near_one = torch.clamp(rest.hi * rest.hi * 2.0**-51, max=_ROUNDING)
    rounded = torch.where(odd, near_one, sine.hi.abs() * _ROUNDING)
    error = x.error * scale + value.hi.abs() * 2.0**-150 + rounded
    error = torch.where(x.exponent < -400, error + 2.0**-790, error)  # 1 - x^2 / 2 underflows below
    error = torch.where(far, 2.0**-150 + rounded, torch.where(x.exponent <= 30, error, torch.inf))
    error = torch.where((x.hi == 0) & (x.error == 0), 0.0, error)
    return _signed(Wide.of(result, error), either(quarter >= 2, -1.0, 1.0))


def sinpi(x: Wide) -> Wide:
    """sin(pi x), 0 at whole numbers."""
    whole = x.plus(_HALF).floor()
    even = _times_power(_times_power(whole, -1).floor(), 1)
    sine = sin(x.plus(whole.minus()).times(PI))
    return sine.times(ONE.plus(_times_power(whole.plus(even.minus()), 1).minus()))


def atan(x: Wide) -> Wide:
    """The arctangent."""
    outside = x.exponent > 0
    reduced = ONE.over(x).where(outside, x)
    angle = _through_zero(functions.atan, reduced)
    quarter = _signed(HALF_PI, torch.sign(x.hi))
    return quarter.plus(angle.minus()).where(outside, angle)


def tanh(x: Wide) -> Wide:
    """tanh(x), sharp near 1."""
    limit = constant(4096, x.hi.device)
    size = x.absolute().where(x.exponent <= 12, limit)
    grown = expm1(_times_power(size, 1))
    whole = grown.plus(TWO)
    small = size.exponent < 0
    value = grown.where(small, TWO).over(whole)
    return _signed(value.where(small, ONE.plus(value.minus())), torch.sign(x.hi))


def sinh(x: Wide) -> Wide:
    """sinh(x)."""
    grown = expm1(x.absolute())
    return _signed(_times_power(grown.plus(grown.over(grown.plus(ONE))), -1), torch.sign(x.hi))


def cosh(x: Wide) -> Wide:
    """cosh(x)."""
    grown = exp(x.absolute())
    return _times_power(grown.plus(ONE.over(grown)), -1)


def erf(x: Wide) -> Wide:
    """erf(x), sharp near 1."""
    size = x.absolute()
    inside = x.exponent <= 0
    value = _erf_inside(size).where(inside, ONE.plus(_erfc_outside(size).minus()))
    return _signed(value, torch.sign(x.hi))


def erfc(x: Wide) -> Wide:
    """erfc(x)."""
    size = x.absolute()
    inside = x.exponent <= 0
    near = ONE.plus(_signed(_erf_inside(size), -torch.sign(x.hi)))
    far = _erfc_outside(size)
    return near.where(inside, far.where(x.hi > 0, TWO.plus(far.minus())))


def _erf_inside(size: Wide) -> Wide:
    return _through_zero(functions.erf, size.where(size.exponent <= 0, zero(size)))


def _erfc_outside(size: Wide) -> Wide:
    """erfc for ``size >= 1``; a few digits of it from 32 on, where it is below 2^-1477."""
    value = size.pair.scaled(power_of_two(size.exponent.clamp(0, 40)))
    far = size.exponent > functions.ERFCX_OCTAVES
    table = functions.erfcx(value)
    z = 0.5 / (value.hi * value.hi)
    tail = (1 - z * (1 - 3 * z * (1 - 5 * z * (1 - 7 * z)))) / (value.hi * 3.141592653589793**0.5)
    scaled = Pair(tail, torch.zeros_like(tail)).where(far, table)
    # The slope of erfcx is below its value for x >= 1.
    error = scaled.hi * (size.error * size.scale + either(far, 2.0**-40, _ROUNDING))
    return exp(size.times(size).minus()).times(Wide.of(scaled, error))


LOG_2 = constant(mp.ln2)
HALF_PI = constant(mp.pi / 2)
PI = constant(mp.pi)
_HALF = constant(0.5)
