"""The table of the operations on wide numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import sympy as sp
import torch

from .elementary import (
    ONE,
    atan,
    constant,
    cos,
    cosh,
    erf,
    erfc,
    exp,
    expm1,
    log,
    log1p,
    sin,
    sinh,
    sinpi,
    tanh,
    zero,
)
from .number import Truth, Wide, choose, compare


def number(value: sp.Expr, device: torch.device | None = None) -> Wide:
    """A constant of a formula."""
    if value is sp.nan:
        return ONE._replace(error=torch.full_like(ONE.error, torch.inf))
    return constant(value.evalf(60)._to_mpmath(200), device)


def real_power(x: Wide, exponent: Wide) -> Wide:
    """A positive power that is no integer; cannot tell where x may be negative."""
    nothing = (x.hi == 0) & (x.error == 0)
    return zero(x).where(nothing, exp(log(x).times(exponent)))


def _minimum(x: Wide, y: Wide) -> Wide:
    return x.minus().maximum(y.minus()).minus()


_OPERATIONS: dict[str, Callable[..., Any]] = {
    "add": Wide.plus,
    "subtract": lambda x, y: x.plus(y.minus()),
    "multiply": Wide.times,
    "divide": Wide.over,
    "negative": Wide.minus,
    "absolute": Wide.absolute,
    "sign": Wide.sign,
    "floor": Wide.floor,
    "ceiling": lambda x: x.minus().floor().minus(),
    "maximum": Wide.maximum,
    "minimum": _minimum,
    "sqrt": Wide.sqrt,
    "exp": exp,
    "expm1": expm1,
    "log": log,
    "log1p": log1p,
    "sin": sin,
    "sinpi": sinpi,
    "cos": cos,
    "atan": atan,
    "sinh": sinh,
    "cosh": cosh,
    "tanh": tanh,
    "erf": erf,
    "erfc": erfc,
    "both": Truth.both,
    "either": lambda a, b: a.negated().both(b.negated()).negated(),
    "negated": Truth.negated,
    "choose": choose,
}


def arithmetic(operation: str, setting: Any, device: torch.device | None = None) -> Any:
    """The operations of a program on `Wide` numbers."""
    if operation == "number":
        return number(setting, device)
    if operation == "power":
        return lambda x: x.power(setting)
    if operation == "real_power":
        exponent = number(setting, device)
        return lambda x: real_power(x, exponent)
    if operation == "compare":
        relation, bound = setting[0], number(setting[1], device)
        return lambda x: compare(x, relation, bound)
    return _OPERATIONS[operation]
