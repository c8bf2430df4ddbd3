"""Paired floats: sums, products and roots keep what float64 rounds off; a function adds its slope times that.

So the argument of ``exp(-u^2 / 2)`` is right to 106 bits and the value to about one unit in the last place. The range
is float64's, and nothing here helps where values cancel that are only good to 53 bits.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import sympy as sp
import torch
from torch import Tensor

from .wide.pairs import Pair, fast_two_sum, mp, two_prod


def _sloped(function: Callable[[Tensor], Tensor], slope: Callable[[Tensor, Tensor], Tensor]) -> Callable[[Pair], Pair]:
    """A function from its float64 version and its slope, given the argument and the value."""

    def value(x: Pair) -> Pair:
        high = function(x.hi)
        return Pair(high, (slope(x.hi, high) * x.lo).nan_to_num(0.0, 0.0, 0.0))

    return value


def _guarded(paired: Callable[[Pair, Pair], Pair], plain: Callable[[Tensor, Tensor], Tensor]) -> Callable[..., Pair]:
    """An operation on pairs, and on plain floats where the pair's intermediate values overflow."""

    def value(x: Pair, y: Pair) -> Pair:
        result = paired(x, y)
        return result.where(result.lo.isfinite(), Pair(plain(x.hi, y.hi), torch.zeros_like(result.lo)))

    return value


_add = _guarded(Pair.plus, torch.add)
_multiply = _guarded(Pair.times, torch.mul)


def _power(x: Pair, count: int) -> Pair:
    if count == 1:
        return x
    half = _power(x, count // 2)
    square = _multiply(half, half)
    return _multiply(square, x) if count % 2 else square


def _sqrt(x: Pair) -> Pair:
    root = x.hi.sqrt()
    square, rest = two_prod(root, root)
    correction = ((x.hi - square - rest) + x.lo) / (2 * root)
    return Pair(*fast_two_sum(root, torch.where(root.isfinite(), correction, 0.0).nan_to_num(0.0)))


def _absolute(x: Pair) -> Pair:
    sign = torch.sign(x.hi)
    return Pair(x.hi * sign, x.lo * sign)


def _sign(x: Pair) -> Pair:
    return Pair(torch.sign(x.hi), torch.zeros_like(x.hi))


def _floor(x: Pair) -> Pair:
    whole = x.hi.floor()
    return Pair(*fast_two_sum(whole, torch.where(whole == x.hi, x.lo.floor(), 0.0)))


def _maximum(x: Pair, y: Pair) -> Pair:
    return x.where(_add(x, y.minus()).hi >= 0, y)


def _sinpi(x: Pair) -> Pair:
    whole = x.hi.round()
    rest = _add(x, Pair(-whole, torch.zeros_like(whole)))
    angle = rest.times(Pair(PI.hi.to(whole.device), PI.lo.to(whole.device)))
    sine = Pair(angle.hi.sin(), angle.hi.cos() * angle.lo)
    return sine.scaled(1 - 2 * torch.remainder(whole, 2))


PI = Pair.of(mp.pi)
_TWO_OVER_ROOT_PI = 2 / 3.141592653589793**0.5
_OPERATIONS: dict[str, Callable[..., Any]] = {
    "add": _add,
    "subtract": lambda x, y: _add(x, y.minus()),
    "multiply": _multiply,
    "divide": _guarded(Pair.over, torch.div),
    "negative": Pair.minus,
    "absolute": _absolute,
    "sign": _sign,
    "floor": _floor,
    "ceiling": lambda x: _floor(x.minus()).minus(),
    "maximum": _maximum,
    "minimum": lambda x, y: _maximum(x.minus(), y.minus()).minus(),
    "sqrt": _sqrt,
    "exp": _sloped(torch.exp, lambda x, y: y),
    "expm1": _sloped(torch.expm1, lambda x, y: y + 1),
    "log": _sloped(torch.log, lambda x, y: 1 / x),
    "log1p": _sloped(torch.log1p, lambda x, y: 1 / (1 + x)),
    "sinpi": _sinpi,
    "sin": _sloped(torch.sin, lambda x, y: x.cos()),
    "cos": _sloped(torch.cos, lambda x, y: -x.sin()),
    "atan": _sloped(torch.atan, lambda x, y: 1 / (1 + x * x)),
    "sinh": _sloped(torch.sinh, lambda x, y: x.cosh()),
    "cosh": _sloped(torch.cosh, lambda x, y: x.sinh()),
    "tanh": _sloped(torch.tanh, lambda x, y: 1 - y * y),
    "erf": _sloped(torch.erf, lambda x, y: _TWO_OVER_ROOT_PI * (-x * x).exp()),
    "erfc": _sloped(torch.erfc, lambda x, y: -_TWO_OVER_ROOT_PI * (-x * x).exp()),
    "both": torch.logical_and,
    "either": torch.logical_or,
    "negated": torch.logical_not,
    "choose": lambda condition, x, y: x.where(condition, y),
}


def number(value: sp.Expr, device: torch.device) -> Pair:
    """A constant of a formula, to 106 bits."""
    pair = Pair.of(float("nan") if value is sp.nan else value.evalf(40)._to_mpmath(140))
    return Pair(pair.hi.to(device), pair.lo.to(device))


def arithmetic(operation: str, setting: Any, device: torch.device) -> Any:
    """The operations of a program on pairs of float64 tensors."""
    if operation == "number":
        return number(setting, device)
    if operation == "power":
        return lambda x: _power(x, setting)
    if operation == "real_power":
        exponent = float(setting)
        return _sloped(lambda x: x**exponent, lambda x, y: exponent * y / x)
    if operation == "compare":
        relation, bound = setting[0], number(setting[1], device)
        return lambda x: relation(_add(x, bound.minus()).hi, 0.0)
    return _OPERATIONS[operation]
