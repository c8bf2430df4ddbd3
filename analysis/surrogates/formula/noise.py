"""Mean and variance of a random formula over its noise."""

from __future__ import annotations

import sympy as sp
from sympy.stats import E


def mean(formula: sp.Expr) -> sp.Expr:
    """E psi(u, xi), an expression in ``u``."""
    return sp.piecewise_fold(E(formula))


def variance(formula: sp.Expr) -> sp.Expr:
    """Var psi(u, xi), an expression in ``u``."""
    return sp.simplify(mean(formula**2) - mean(formula) ** 2)
