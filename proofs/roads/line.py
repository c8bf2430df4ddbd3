"""Factors on the real line, sampled and integrated by plain NumPy.

With the closed forms that are compared to them they share only the points where a formula folds or jumps.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import pi, sqrt
from typing import Any

import sympy as sp

from ...analysis.errors import Refused
from ...analysis.surrogates.formula.calculus.cells import cells
from ...analysis.surrogates.formula.calculus.numbers import Undecided
from ...analysis.surrogates.formula.calculus.ranges import Undefined
from ...analysis.surrogates.symbols import u

Values = Callable[[Any], Any]

FAR = 1e12
"""The line is sampled up to here, with steps that grow with the distance from 0."""


def values_of(formula: sp.Expr) -> Values:
    """A formula in ``u`` as a NumPy function; where float64 overflows inside it, NaN."""
    import numpy as np

    code = sp.lambdify([u], formula, ["scipy", "numpy"])

    def values(at: Any) -> Any:
        with np.errstate(all="ignore"):
            return np.broadcast_to(np.asarray(code(at), dtype=float), np.shape(at)).copy()

    return values


def edges_of(formula: sp.Expr) -> list[float]:
    """Where the formula folds or jumps, and 0; 0 alone where that cannot be told."""
    try:
        ends = {end for cell in cells(formula) for end in (cell.low, cell.high)}
    except (Refused, Undecided, Undefined, RecursionError):
        ends = set()
    return sorted({0.0} | {float(end) for end in ends if end.is_finite})


def _panels(marks: Any, order: int, function: Callable[[Any], Any]) -> float:
    """Gauss and Legendre of that order between neighbouring marks."""
    import numpy as np

    nodes, weights = np.polynomial.legendre.leggauss(order)
    low, high = marks[:-1, None], marks[1:, None]
    at = (low + high) / 2 + (high - low) / 2 * nodes
    return float(((high - low) / 2 * weights * function(at)).sum())


def normal_mean(values: Values, edges: Sequence[float], order: int) -> float:
    """E of a function of z ~ N(0, 1)."""
    import numpy as np

    near = np.geomspace(1e-3, 0.5, 12)  # a steep factor is steep at 0
    marks = np.unique(np.concatenate([np.arange(-10, 10.25, 0.5), -near, near, edges]))
    return _panels(marks, order, lambda z: values(z) * np.exp(-(z**2) / 2) / sqrt(2 * pi))


def mass(values: Values, edges: Sequence[float], reach: float, order: int = 30) -> float:
    """The integral over |u| <= reach, in asinh(u), so that far tails take few panels."""
    import numpy as np

    end = float(np.arcsinh(reach))
    marks = np.unique(np.concatenate([np.linspace(-end, end, 801), np.arcsinh(edges)]))
    # Only far out does float64 overflow inside a factor, and a factor with an integral has died away there.
    return _panels(marks, order, lambda s: np.nan_to_num(values(np.sinh(s)), nan=0.0) * np.cosh(s))


def grid(reach: float = 60.0) -> Any:
    """Points of the line: even steps up to ``reach``, then (and close to 0) steps in proportion to the distance."""
    import numpy as np

    far = np.geomspace(1e-9, FAR, 2000)
    return np.unique(np.concatenate([np.linspace(-reach, reach, 24_001), far, -far]))


def extremes(values: Values) -> tuple[float, float]:
    """The least and the largest value on the grid, then on a finer one around where each was."""
    import numpy as np

    points = grid()
    found = []
    for sign in (1.0, -1.0):
        heights = sign * values(points)
        best = points[np.nanargmin(heights)]
        around = best + np.linspace(-0.01, 0.01, 20_001)
        found.append(sign * float(min(np.nanmin(heights), np.nanmin(sign * values(around)))))
    return found[0], found[1]
