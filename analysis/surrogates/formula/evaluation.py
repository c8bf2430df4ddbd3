"""Values of a formula (provisional: plain float64)."""

from __future__ import annotations

from typing import Any

import numpy as np
import sympy as sp
import torch
from sympy.stats.rv import random_symbols

from ..symbols import u


def evaluate(formula: sp.Expr, preactivation: Any, *, generator: torch.Generator | None = None) -> Any:
    """psi at each entry."""
    if isinstance(preactivation, np.ndarray):
        return evaluate(formula, torch.from_numpy(preactivation), generator=generator).numpy()
    noise = random_symbols(formula)
    draws = [torch.rand(preactivation.shape, generator=generator, dtype=torch.float64) for _ in noise]
    plain = [sp.Symbol(f"noise{i}") for i in range(len(noise))]
    code = sp.lambdify([u, *plain], formula.subs(dict(zip(noise, plain, strict=True))), "torch")
    value = torch.as_tensor(code(preactivation.double(), *draws), dtype=torch.float64)
    return value.broadcast_to(preactivation.shape).to(preactivation.dtype)
