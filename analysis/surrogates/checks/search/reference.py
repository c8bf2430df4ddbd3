"""A formula's values by slow, obvious code that shares nothing with the tensor code: NumPy, then 50 digits."""

from __future__ import annotations

from collections.abc import Iterable

import mpmath
import numpy as np
import sympy as sp
from sympy.stats.rv import random_symbols

from ...symbols import u

DIGITS = 50


def is_random(formula: sp.Expr) -> bool:
    """Whether it holds random symbols."""
    return bool(random_symbols(formula))


def values(formula: sp.Expr, points: np.ndarray) -> np.ndarray:
    """psi at each point in float64; where plain NumPy overflows, from 50 digits.

    >>> import sympy as sp
    >>> logistic = sp.exp(-u) / (1 + sp.exp(-u)) ** 2
    >>> values(logistic, np.array([0.0, -1000.0]))
    array([0.25, 0.  ])
    """
    code = sp.lambdify(u, formula, ["scipy", "numpy"])
    with np.errstate(all="ignore"):
        found = np.array(np.broadcast_to(code(points), points.shape), dtype=np.float64)
    lost = np.flatnonzero(~np.isfinite(found))
    found[lost] = precise(formula, points[lost].tolist())
    return found


def precise(formula: sp.Expr, points: Iterable[float]) -> list[float]:
    """psi at each point, evaluated with 50 digits and rounded; nan where the formula is undefined."""
    code = sp.lambdify(u, formula, "mpmath")
    return [_one(code, point) for point in points]


def _one(code: object, point: float) -> float:
    assert callable(code)
    with mpmath.workdps(DIGITS):
        try:
            return float(code(mpmath.mpf(point)))
        except (ZeroDivisionError, ValueError, TypeError, OverflowError):
            return float("nan")
