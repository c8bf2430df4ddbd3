"""Elementary functions of a `Pair` to about 100 bits, each on its reduced range.

All follow one of two ways: a Taylor polynomial whose leading coefficients are pairs, after a table has brought the
argument near 0 (exp, sin, cos, erf, erfcx); or one Newton step from the float64 value through the inverse function
(log, atan). Each keeps its RELATIVE accuracy where the function goes to 0: `expm1` and `log1p` are the primitives, and
`exp` and `log` follow from them.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from math import ldexp
from typing import Any

import torch
from torch import Tensor

from .pairs import Pair, fast_two_sum, mp, polynomial, two_prod, two_sum

_STEPS = 64  # the table of exp has 64 entries a unit
_REACH = 24  # and reaches over |r| <= 24 / 64, a little more than log(2) / 2


def _pairs(values: list[Any]) -> list[Pair]:
    return [Pair.of(value) for value in values]


def _columns(values: list[Any]) -> Pair:
    high = [float(value) for value in values]
    low = [float(value - rounded) for value, rounded in zip(values, high, strict=True)]
    return Pair(torch.tensor(high, dtype=torch.float64), torch.tensor(low, dtype=torch.float64))


@cache
def _on(table: Callable[[], Pair], device: torch.device) -> Pair:
    made = table()
    return Pair(made.hi.to(device), made.lo.to(device))


def _look_up(table: Callable[[], Pair], index: Tensor) -> Pair:
    columns = _on(table, index.device)
    return Pair(columns.hi[index], columns.lo[index])


ONE = Pair.of(1)
LN2 = Pair.of(mp.ln2)
HALF_PI = Pair.of(mp.pi / 2)
_LN2_PARTS = (*LN2, Pair.of(mp.ln2 - float(LN2.hi) - float(LN2.lo)).hi)
_HALF_PI_PARTS = (*HALF_PI, Pair.of(mp.pi / 2 - float(HALF_PI.hi) - float(HALF_PI.lo)).hi)
_EXP = _pairs([1 / mp.factorial(n + 1) for n in range(13)])
_SIN = _pairs([(-1) ** n / mp.factorial(2 * n + 1) for n in range(15)])
_COS = _pairs([(-1) ** n / mp.factorial(2 * n) for n in range(16)])
_ERF = _pairs([2 / mp.sqrt(mp.pi) * (-1) ** n / (mp.factorial(n) * (2 * n + 1)) for n in range(31)])


def _remainder(x: Pair, count: Tensor, parts: tuple[Tensor, Tensor, Tensor]) -> Pair:
    """``x`` minus ``count`` times a constant of three doubles, where little is left: about 2^-157 of ``x``."""
    first, first_rest = two_prod(count, parts[0])
    second, second_rest = two_prod(count, parts[1])
    head = Pair(*two_sum(x.hi - first, -first_rest))
    return head.plus(Pair(*two_sum(x.lo, -second))).plus(
        Pair(-(second_rest + count * parts[2]), torch.zeros_like(count))
    )


def binary_split(x: Pair) -> tuple[Tensor, Pair]:
    """``k`` and ``r`` with ``x = k log 2 + r`` and ``|r|`` at most about ``log(2) / 2``; for ``|x| < 2^50``."""
    count = torch.round(x.hi * (1 / float(LN2.hi)))
    return count, _remainder(x, count, _LN2_PARTS)


def quarter_split(x: Pair) -> tuple[Tensor, Pair]:
    """``k`` and ``r`` with ``x = k pi / 2 + r`` and ``|r|`` at most about ``pi / 4``; for ``|x| < 2^30``."""
    count = torch.round(x.hi * (1 / float(HALF_PI.hi)))
    return count, _remainder(x, count, _HALF_PI_PARTS)


_FAR_BITS = 1400  # of 2 / pi: 200 more than the largest exponent


@cache
def _quarters() -> int:
    with mp.workprec(_FAR_BITS + 40):
        return int(mp.ldexp(2 / mp.pi, _FAR_BITS))


def far_quarter_split(mantissa: Pair, exponent: Tensor) -> tuple[Tensor, Pair]:
    """`quarter_split` of ``mantissa 2^exponent`` for exponents up to 1200, ``k`` modulo 4; one entry at a time.

    The argument, as a whole number, is multiplied by enough digits of ``2 / pi`` (Payne and Hanek 1983).
    """
    counts, highs, lows = [], [], []
    for high, low, power in zip(mantissa.hi.tolist(), mantissa.lo.tolist(), exponent.tolist(), strict=True):
        product = (int(ldexp(high, 200)) + int(ldexp(low, 200))) * _quarters()
        point = 200 + _FAR_BITS - int(power)
        count = (product + (1 << (point - 1))) >> point
        rest = mp.ldexp(product - (count << point), -point) * mp.pi / 2
        counts.append(float(count % 4))
        highs.append(float(rest))
        lows.append(float(rest - highs[-1]))
    return mantissa.hi.new_tensor(counts), Pair(mantissa.hi.new_tensor(highs), mantissa.hi.new_tensor(lows))


def _exp_table() -> Pair:
    return _columns([mp.exp(mp.mpf(j) / _STEPS) for j in range(-_REACH, _REACH + 1)])


def _expm1_table() -> Pair:
    return _columns([mp.expm1(mp.mpf(j) / _STEPS) for j in range(-_REACH, _REACH + 1)])


def _exp_parts(r: Pair) -> tuple[Tensor, Pair]:
    step = torch.round(r.hi * _STEPS).nan_to_num().clamp(-_REACH, _REACH)
    near = Pair(*fast_two_sum(r.hi - step / _STEPS, r.lo))
    index = step.long() + _REACH
    return index, _look_up(_exp_table, index).times(near.times(polynomial(near, _EXP, sharp=6)))


def expm1(r: Pair) -> Pair:
    """``exp(r) - 1`` for ``|r| <= 0.36``."""
    index, rest = _exp_parts(r)
    return _look_up(_expm1_table, index).plus(rest)


def exp(r: Pair) -> Pair:
    """``exp(r)`` for ``|r| <= 0.36``."""
    index, rest = _exp_parts(r)
    return _look_up(_exp_table, index).plus(rest)


def log1p(t: Pair) -> Pair:
    """``log(1 + t)`` for ``1 + t`` between sqrt(1/2) and sqrt(2)."""
    start = torch.log1p(t.hi)
    inverse = expm1(Pair(-start, torch.zeros_like(start)))
    step = t.plus(inverse).plus(t.times(inverse))
    return Pair(*two_sum(start, step.hi - step.hi * step.hi / 2)).plus(Pair(step.lo, torch.zeros_like(start)))


def sin_cos(r: Pair) -> tuple[Pair, Pair]:
    """Sine and cosine for ``|r| <= pi / 4``."""
    square = r.times(r)
    return r.times(polynomial(square, _SIN, sharp=9)), polynomial(square, _COS, sharp=10)


def atan(x: Pair) -> Pair:
    """The arctangent for ``|x| <= 1``."""
    start = torch.atan(x.hi)
    sine, cosine = sin_cos(Pair(start, torch.zeros_like(start)))
    step = x.times(cosine).plus(sine.minus()).over(cosine.plus(x.times(sine)))
    return Pair(*two_sum(start, step.hi)).plus(Pair(step.lo, torch.zeros_like(start)))


def erf(x: Pair) -> Pair:
    """The error function for ``|x| <= 1``."""
    return x.times(polynomial(x.times(x), _ERF, sharp=20))


ERFCX_OCTAVES, _PIECES, _DEGREE = 5, 16, 21


def _erfcx_table() -> Pair:
    """Taylor coefficients of ``exp(x^2) erfc(x)`` at the middle ``c`` of 16 pieces of each octave from 1 to 32.

    In units of half a piece, ``w``, they obey ``(n + 1) b[n+1] = 2 c w b[n] + 2 w^2 b[n-1]``, which is the differential
    equation ``y' = 2 x y - 2 / sqrt(pi)``. The recurrence loses up to 40 bits as it runs; 256 pay for that.
    """
    values = []
    for octave in range(ERFCX_OCTAVES):
        half = mp.ldexp(1, octave - 5)
        for odd in range(2 * _PIECES + 1, 4 * _PIECES, 2):
            first = mp.exp((odd * half) ** 2) * mp.erfc(odd * half)
            second = half * (2 * odd * half * first - 2 / mp.sqrt(mp.pi))
            row = [int(mp.ldexp(first, 256)), int(mp.ldexp(second, 256))]
            for n in range(1, _DEGREE):
                row.append((2 * odd * row[n] + 2 * row[n - 1]) // ((n + 1) << (10 - 2 * octave)))
            values += [mp.ldexp(number, -256) for number in row]
    return _columns(values)


def erfcx(x: Pair) -> Pair:
    """``exp(x^2) erfc(x)`` for ``1 <= x < 32``."""
    mantissa, octave = torch.frexp(x.hi)
    octave = octave.clamp(1, ERFCX_OCTAVES).long() - 1
    piece = torch.floor(mantissa * 2 * _PIECES).nan_to_num().clamp(_PIECES, 2 * _PIECES - 1).long() - _PIECES
    width = torch.ldexp(torch.ones_like(x.hi), octave - 5)
    near = Pair(*fast_two_sum(x.hi - (2 * piece + 2 * _PIECES + 1) * width, x.lo)).scaled(1 / width)
    first = (octave * _PIECES + piece) * (_DEGREE + 1)
    return polynomial(near, [_look_up(_erfcx_table, first + n) for n in range(_DEGREE + 1)], sharp=12)
