"""A formula's values to within one unit in the last place, whatever the formula: wide numbers, repaired by exact ones.

This is the reference that plain floats are measured against, and what computes where they fail.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import lru_cache, partial
from itertools import pairwise
from math import copysign, frexp, inf, isinf, nan
from threading import Lock
from typing import Any

import sympy as sp
import torch
from torch import Tensor

from ....errors import Refused
from ..arithmetic.exact import operations as exact
from ..arithmetic.exact.number import Ball, Failure, Number, ball, mp, sign_of
from ..arithmetic.wide import operations as wide
from ..arithmetic.wide.number import Wide, power_of_two
from ..steps.forms import saturating
from ..steps.writer import program

_PRECISIONS = (128, 512, 2300, 8192)  # bits, one after the other until the value is settled
_APPROACHES = (100, 230, 380, 500)  # a limit is looked at so many binary digits near, or far out
_LOCK = Lock()  # the precision of the exact numbers is shared


def values(formula: sp.Expr, dtype: torch.dtype, inputs: Sequence[Tensor]) -> Tensor:
    """The formula at float64 inputs (``u``, then the noise by name), rounded to a dtype.

    Beyond the dtype's largest number it saturates; at an infinity it is the limit, NaN where that does not exist.

    Raises:
        Refused: the formula has no real value at one of the inputs.
    """
    preactivation, *noise = torch.broadcast_tensors(*inputs)  # type: ignore[no-untyped-call]
    finite = preactivation.isfinite()
    numbers = [Wide.exact(number) for number in (torch.where(finite, preactivation, 0.0), *noise)]
    value, sure = _rounded(_wide(formula, preactivation.device)(numbers), dtype)
    value = value.broadcast_to(preactivation.shape).clone()
    unsure = (~(sure & finite)).broadcast_to(preactivation.shape)
    if unsure.any():
        entries = zip(*(number[unsure].tolist() for number in (preactivation, *noise)), strict=True)
        value[unsure] = value.new_tensor([at(formula, *entry) for entry in entries])
    largest = torch.finfo(dtype).max
    return torch.where(finite, value.clamp(-largest, largest), value).to(dtype)


@lru_cache(maxsize=256)
def _wide(formula: sp.Expr, device: torch.device) -> Callable[[Sequence[Any]], Any]:
    return program(saturating(formula)).bind(partial(wide.arithmetic, device=device))


def _rounded(number: Wide, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """The float64 value, and where it is sure to be good for the dtype."""
    number = number.normal()
    kind = torch.finfo(dtype)
    smallest = power_of_two(frexp(kind.tiny)[1] - 4 - number.exponent)  # far below what counts
    sure = number.error <= torch.maximum(kind.eps * number.hi.abs(), smallest)
    half = (number.exponent.clamp(-2400, 2400) / 2).floor()
    value = number.hi * power_of_two(half) * power_of_two(number.exponent.clamp(-2400, 2400) - half)
    return value, sure


def at(formula: sp.Expr, *inputs: float) -> float:
    """The formula at one point, rounded to float64; at a singular point the limit from above (from below at -0).

    Raises:
        Refused: it has no real value there, or a pole.
    """
    return _at(formula, *(number.hex() for number in inputs))  # a cache would take -0 for 0


@lru_cache(maxsize=4096)
def _at(formula: sp.Expr, *digits: str) -> float:
    preactivation, *noise = (float.fromhex(number) for number in digits)
    if preactivation != preactivation:
        return nan
    others = [Fraction(number) for number in noise]
    if isinf(preactivation):
        ends = [int(copysign(1, preactivation)) * (2**digits + Fraction(1, digits)) for digits in _APPROACHES]
        return _limit([_precise(formula, [end, *others]) for end in ends])
    value = _precise(formula, [Fraction(preactivation), *others])
    if value is Failure.SINGULAR:
        side = copysign(1, preactivation) if preactivation == 0 else abs(Fraction(preactivation))
        near = [Fraction(preactivation) + Fraction(side) / 2**digits for digits in _APPROACHES]
        limit = _limit([_precise(formula, [point, *others]) for point in near])
        if isinf(limit):
            raise Refused(
                f"the formula {formula} grows beyond all bounds near u = {preactivation!r}, where it "
                f"{value.value}. A preactivation can be any real number: bound the formula there, e.g. with "
                f"sympy.Min, or give it a value with sympy.Piecewise."
            )
        if limit == limit:
            return limit
    if isinstance(value, Failure):
        raise Refused(
            f"the formula {formula} has no real value at u = {preactivation!r} (it {value.value} there). A "
            f"preactivation can be any real number: give the formula a value there with sympy.Piecewise."
        )
    return _float(value)


def _precise(formula: sp.Expr, inputs: Sequence[Number]) -> Number | Failure:
    """The formula at one point to 70 bits, or why not."""
    value: Number | Failure = Failure.UNDECIDED
    for bits in _PRECISIONS:
        with _LOCK:
            mp.prec = bits
            value = _exact(formula, bits)(inputs)
            if _settled(value):
                return value
    return Failure.UNDECIDED


@lru_cache(maxsize=256)
def _exact(formula: sp.Expr, bits: int) -> Callable[[Sequence[Any]], Any]:
    return program(formula).bind(exact.arithmetic)


def _settled(value: Number | Failure) -> bool:
    if isinstance(value, Ball):
        return bool(value.radius <= mp.ldexp(max(abs(value.middle), mp.ldexp(1, -1020)), -70))
    return value is not Failure.UNDECIDED


def _float(value: Number) -> float:
    try:
        return float(value.middle if isinstance(value, Ball) else value)
    except OverflowError:
        return inf if sign_of(value) == 1 else -inf


def _limit(values: Sequence[Number | Failure]) -> float:
    """What a sequence tends to: it has settled, or grows beyond all bounds, or vanishes; else NaN."""
    numbers = [ball(value).middle for value in values if not isinstance(value, Failure)]
    if len(numbers) < len(values):
        return nan
    if abs(numbers[-1] - numbers[-2]) <= mp.ldexp(abs(numbers[-1]), -60):
        return float(numbers[-1])
    if all(abs(later) <= abs(earlier) for earlier, later in pairwise(numbers)) and abs(numbers[-1]) < 1e-20:
        return 0.0
    growing = all(later / earlier > 1.2 for earlier, later in pairwise(numbers) if earlier)
    return float(mp.sign(numbers[-1])) * inf if growing and numbers[-2] else nan
