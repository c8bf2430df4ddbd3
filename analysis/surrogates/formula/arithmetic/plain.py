"""Plain floats: torch's own operations in one dtype, constants as Python numbers.

A comparison with a constant is exact all the same: where the dtype does not hold the constant, the nearest float on the
right side of it takes its place.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from functools import cache
from typing import Any, TypeAlias

import sympy as sp
import torch
from torch import Tensor

Value: TypeAlias = Tensor | float


class Unfit(Exception):
    """A constant of the formula is beyond the dtype's largest number."""


def number(value: sp.Expr, dtype: torch.dtype) -> float:
    """The float of the dtype that is nearest to a constant."""
    nearest = torch.tensor(float(value.evalf(40)), dtype=torch.float64).to(dtype)
    if nearest.isinf():
        raise Unfit(f"{value} in {dtype}")
    return float(nearest)


def _below(value: sp.Expr, dtype: torch.dtype) -> float:
    """The largest float of the dtype that is not above a constant."""
    nearest = torch.tensor(float(value.evalf(40)), dtype=torch.float64).to(dtype)
    if nearest == torch.inf:
        return torch.finfo(dtype).max
    if nearest == -torch.inf or sp.Rational(float(nearest)) <= value:
        return float(nearest)
    return float(neighbour(nearest, -1))


def neighbour(value: Tensor, steps: int) -> Tensor:
    """The float so many units in the last place above (of any dtype; the zeros count as one)."""
    integers = {2: torch.int16, 4: torch.int32, 8: torch.int64}[value.element_size()]
    order = value.view(integers).to(torch.int64)
    lowest = torch.iinfo(integers).min
    order = torch.where(order < 0, lowest - order, order) + steps
    return torch.where(order < 0, lowest - order, order).to(integers).view(value.dtype)


def comparison(
    relation: Callable[[Any, Any], Any], bound: sp.Expr, dtype: torch.dtype
) -> tuple[Callable[[Any, Any], Any], float]:
    """The relation and the float of the dtype with which a comparison says of every float what ``bound`` says of it."""
    below = _below(bound, dtype)
    above = -_below(-bound, dtype)
    if below == above:
        return relation, below
    if relation in (operator.lt, operator.le):
        return operator.le, below
    if relation in (operator.gt, operator.ge):
        return operator.ge, above
    return relation, torch.nan


def _compare(relation: Callable[[Any, Any], Any], bound: sp.Expr, dtype: torch.dtype) -> Callable[[Tensor], Tensor]:
    relation, number = comparison(relation, bound, dtype)
    return lambda x: relation(x, number)


def _choose(dtype: torch.dtype) -> Callable[[Tensor, Value, Value], Tensor]:
    def choose(condition: Tensor, first: Value, second: Value) -> Tensor:
        if isinstance(first, Tensor) or isinstance(second, Tensor):
            return torch.where(condition, first, second)
        if (first, second) == (1.0, 0.0):
            return condition.to(dtype)
        # torch.where of two Python numbers would be of the default dtype.
        return torch.full_like(condition, second, dtype=dtype).masked_fill_(condition, first)

    return choose


def _maximum(x: Value, y: Value) -> Value:
    if isinstance(x, Tensor) and isinstance(y, Tensor):
        return torch.maximum(x, y)
    return x.clamp(min=y) if isinstance(x, Tensor) else y.clamp(min=x)  # type: ignore[union-attr]


def _minimum(x: Value, y: Value) -> Value:
    if isinstance(x, Tensor) and isinstance(y, Tensor):
        return torch.minimum(x, y)
    return x.clamp(max=y) if isinstance(x, Tensor) else y.clamp(max=x)  # type: ignore[union-attr]


_ROUNDED_ONCE: dict[str, Callable[..., Any]] = {
    "add": operator.add,
    "subtract": operator.sub,
    "multiply": operator.mul,
    "divide": operator.truediv,
    "negative": operator.neg,
    "absolute": torch.abs,
    "sign": torch.sign,
    "floor": torch.floor,
    "ceiling": torch.ceil,
    "maximum": _maximum,
    "minimum": _minimum,
    "sqrt": torch.sqrt,
    "both": torch.logical_and,
    "either": torch.logical_or,
    "negated": torch.logical_not,
}


def _from(x: float) -> Callable[[Tensor], Tensor]:
    """x - y, written over y."""

    @cache
    def number(dtype: torch.dtype) -> Tensor:
        return torch.tensor(x, dtype=dtype)

    return lambda y: torch.sub(number(y.dtype), y, out=y)


def _always(function: Callable[[Tensor], Tensor]) -> Callable[[None], Callable[[Tensor], Tensor]]:
    return lambda _: function


def _with(name: str) -> Callable[[float], Callable[[Tensor], Tensor]]:
    return lambda x: operator.methodcaller(name, x)


OVERWRITING: dict[Any, tuple[Callable[[Any], Callable[[Tensor], Tensor]], ...]] = {
    operator.add: (_with("add_"),) * 2,
    operator.sub: (_with("sub_"), _from),
    operator.mul: (_with("mul_"),) * 2,
    operator.neg: (_always(torch.neg_),),
    _maximum: (lambda x: Tensor.relu_ if x == 0 else operator.methodcaller("clamp_min_", x),) * 2,
    _minimum: (_with("clamp_max_"),) * 2,
    **{name: (_always(getattr(torch, f"{name.__name__}_")),) for name in (torch.abs, torch.sqrt, torch.exp)},
}
"""What writes the same value over an argument that is not used again, by its place, from the other one, a number."""

SAME_EVERYWHERE = {*_ROUNDED_ONCE, "number", "compare", "choose"}
"""Operations that every IEEE machine rounds in the same way."""


def _sinpi(x: Tensor) -> Tensor:
    whole = x.round()
    return torch.sin(torch.pi * (x - whole)) * (1 - 2 * torch.remainder(whole, 2))


_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "sinpi": _sinpi,
    **{
        name: getattr(torch, name)
        for name in ("exp", "expm1", "log", "log1p", "sin", "cos", "atan", "sinh", "cosh", "tanh", "erf", "erfc")
    },
}


def arithmetic(operation: str, setting: Any, dtype: torch.dtype) -> Any:
    """The operations of a program on tensors of one dtype.

    Raises:
        Unfit: a constant is beyond the dtype's largest number.
    """
    if operation == "number":
        return number(setting, dtype)
    if operation == "choose":
        return _choose(dtype)
    if operation == "compare":
        return _compare(setting[0], setting[1], dtype)
    if operation in ("power", "real_power"):
        exponent = float(setting)
        return lambda x: x**exponent
    return _ROUNDED_ONCE.get(operation) or _FUNCTIONS[operation]
