"""Values, extrema and integrals to some thirty digits where no closed form is at hand: numbers, not proofs."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import mpmath
import numpy as np
import sympy as sp

from ...symbols import u
from ..calculus.cells import Cell
from ..proof import sampling

DIGITS = 30
_SHOWN = 15

Number = Any
"""A real number of mpmath."""


def number(exact: sp.Expr) -> Number:
    """An exact number, or an infinity, as mpmath's."""
    if exact.is_infinite:
        return mpmath.inf if exact is sp.oo else -mpmath.inf
    return mpmath.mpmathify(sp.N(exact, DIGITS + 20))


def shown(found: Number) -> sp.Float:
    """A number as SymPy's float with the digits that we vouch for."""
    return sp.Float(mpmath.nstr(found, _SHOWN + 2), _SHOWN)


@lru_cache(maxsize=512)
def code(expression: sp.Expr) -> Callable[[Number], Number]:
    """The expression as mpmath code."""
    compiled: Callable[[Number], Number] = sp.lambdify(u, expression, "mpmath")
    return compiled


def value(expression: sp.Expr, point: sp.Expr) -> Number | None:
    """The expression at one point, or ``None`` where it has no real value there."""
    with mpmath.workdps(DIGITS + 10):
        try:
            found = code(expression)(number(point))
        except (ArithmeticError, ValueError, TypeError, NameError):
            return None
        return found if isinstance(found, mpmath.mpf) and mpmath.isfinite(found) else None


def stationary(cell: Cell, slope: sp.Expr) -> list[sp.Float]:
    """Numbers inside a cell at which a slope changes its sign, as far as they are seen; ascending, to thirty digits."""
    points = sampling.points(cell.value, cell.low, cell.high)
    signs = np.sign(sampling.values(slope)(points))
    seen = np.flatnonzero(np.isfinite(signs) & (signs != 0))
    turns = [(points[a], points[b]) for a, b in itertools.pairwise(seen) if signs[a] * signs[b] < 0]
    found = [_bisected(slope, float(low), float(high)) for low, high in turns[:40]]
    return [point for point in found if point is not None]


def integral(cell: Cell) -> Number | None:
    """The integral over a cell on which the expression is integrable, or ``None`` where its error is not small."""
    edges = _edges(cell)
    with mpmath.workdps(DIGITS + 10):
        ends = [number(edge) for edge in edges]
        try:
            found, error = mpmath.quad(code(cell.value), ends, error=True, maxdegree=9)
        except (ArithmeticError, ValueError, TypeError, NameError):
            return None
        return found if mpmath.isfinite(found) and error <= mpmath.mpf(10) ** -20 * max(1, abs(found)) else None


def _edges(cell: Cell) -> list[sp.Expr]:
    """The ends of a cell with the centres of the expression between them, and a scale to either side of each."""
    inner = {
        sp.Float(point, DIGITS)
        for centre, scale in sorted(sampling.places(cell.value))[:6]
        for point in (centre, centre - 4 * scale, centre + 4 * scale)
        if float(cell.low) < point < float(cell.high)
    }
    return [cell.low, *sorted(inner), cell.high]


def _bisected(slope: sp.Expr, low: float, high: float) -> sp.Float | None:
    with mpmath.workdps(DIGITS + 10):
        try:
            found = mpmath.findroot(code(slope), (low, high), solver="anderson", tol=mpmath.mpf(10) ** -(2 * DIGITS))
        except (ArithmeticError, ValueError, TypeError, NameError):
            return None
        return sp.Float(found, DIGITS) if low <= found <= high else None
