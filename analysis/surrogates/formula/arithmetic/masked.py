"""Plain floats without branches: a condition is 1 or 0 in the dtype, and a choice is a sum of products with it.

torch writes and reads booleans slowly, and ``torch.where`` takes a branch at each entry; on scattered conditions this
is several times faster, and as exact: one of the two products is 0. It fails, and is then not chosen, where the value
that is not taken is infinite or NaN.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import sympy as sp
import torch
from torch import Tensor

from . import plain

_COMPARED: dict[Any, Callable[..., Tensor]] = {
    operator.lt: torch.lt,
    operator.le: torch.le,
    operator.gt: torch.gt,
    operator.ge: torch.ge,
    operator.eq: torch.eq,
    operator.ne: torch.ne,
}


def _compare(relation: Callable[[Any, Any], Any], bound: sp.Expr, dtype: torch.dtype) -> Callable[[Tensor], Tensor]:
    relation, number = plain.comparison(relation, bound, dtype)
    compared = _COMPARED[relation]
    return lambda x: compared(x, number, out=torch.empty_like(x))


def _choose(condition: Tensor, first: plain.Value, second: plain.Value) -> Tensor:
    if isinstance(first, Tensor) and isinstance(second, Tensor):
        return torch.lerp(second, first, condition)  # one of the two, exactly, at the weights 0 and 1
    if not isinstance(second, Tensor) and second == 0:
        return condition if not isinstance(first, Tensor) and first == 1 else condition * first
    if not isinstance(first, Tensor) and first == 1 and not isinstance(second, Tensor):
        return torch.threshold(condition, 0.5, second)
    return condition * first + (1 - condition) * second


_OPERATIONS: dict[str, Callable[..., Any]] = {
    "both": torch.mul,
    "either": torch.maximum,
    "negated": lambda condition: 1 - condition,
    "choose": _choose,
}


def arithmetic(operation: str, setting: Any, dtype: torch.dtype) -> Any:
    """The operations of a program on tensors of one dtype.

    Raises:
        Unfit: a constant is beyond the dtype's largest number.
    """
    if operation == "compare":
        return _compare(setting[0], setting[1], dtype)
    return _OPERATIONS.get(operation) or plain.arithmetic(operation, setting, dtype)
