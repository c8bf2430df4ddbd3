"""Where to look: points at every magnitude of a dtype, dense near the origin, and on both sides of each break point.

The dense part has no gap wider than 1/2000 on [-10, 10] and none wider than 8 parts in 10,000 of the magnitude from
there down to float32's smallest normal number, so that a flaw of relative width 1e-3 cannot fall between two points.
Half-precision dtypes are searched whole: each of their values is a point.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

import numpy as np
import sympy as sp
import torch

from ...symbols import u

RATIO = 8e-4
STEP = 1 / 2048
REACH = 10.0

WHOLE = (torch.float16, torch.bfloat16)
DENSE = (torch.float32, torch.float64)


@cache
def dense(dtype: torch.dtype) -> torch.Tensor:
    """The grid of a float32 or float64, ascending, without repeats, finite; -0.0 stands beside 0.0.

    The float32 points come first in kind: those of float64 hold them all.
    """
    tiny = float(np.finfo(np.float32).tiny)
    logarithmic = np.exp(np.arange(np.log(tiny), np.log(REACH), RATIO))
    linear = np.arange(STEP, REACH + STEP, STEP)
    decimals = np.concatenate([np.arange(1, 10_001) / 1000, np.arange(1, 2001) / 20])
    positive = np.concatenate([logarithmic, linear, decimals, magnitudes(torch.float32)]).astype(np.float32)
    if dtype is torch.float64:
        positive = np.concatenate([positive.astype(np.float64), decimals, magnitudes(torch.float64)])
    return _both_signs(positive, dtype)


@cache
def whole(dtype: torch.dtype) -> torch.Tensor:
    """Every finite value of a half-precision dtype, ascending."""
    patterns = torch.arange(-(2**15), 2**15, dtype=torch.int32).to(torch.int16).view(dtype)
    return torch.sort(patterns[patterns.isfinite()], stable=True).values


def coarse(dtype: torch.dtype) -> torch.Tensor:
    """Some 120 points: each few powers of two, and eighths on [-4, 4]; for checks that need few."""
    near = torch.arange(-32, 33, dtype=torch.float64) / 8 + 1 / 64
    powers = 2.0 ** torch.arange(-14, 15, dtype=torch.float64)
    return torch.cat([near, powers, -powers, torch.zeros(1, dtype=torch.float64)]).to(dtype)


def magnitudes(dtype: torch.dtype) -> np.ndarray:
    """Eight points between each two powers of two, the subnormals and the largest number; positive."""
    facts = np.finfo(np.float32 if dtype is torch.float32 else np.float64)
    low, high = int(np.log2(float(facts.tiny))) - facts.nmant, int(facts.maxexp)
    powers = np.ldexp(np.ones(high - low, dtype=np.float64), np.arange(low, high))
    eighths = np.outer(powers, 1 + np.arange(8) / 8).ravel()
    steps = float(facts.smallest_subnormal) * np.arange(1, 5)
    return np.concatenate([eighths[np.isfinite(eighths)], steps, [float(facts.tiny), float(facts.max)]])


def around(points: Iterable[float], dtype: torch.dtype, ulps: int = 2) -> torch.Tensor:
    """Each point with its neighbours in the dtype, up to ``ulps`` on both sides."""
    centre = torch.tensor(sorted(set(points)), dtype=torch.float64).to(dtype)
    found = [centre]
    for direction in (-torch.inf, torch.inf):
        neighbour = centre
        for _ in range(ulps):
            neighbour = torch.nextafter(neighbour, torch.tensor(direction, dtype=dtype))
            found.append(neighbour)
    return torch.cat(found)


def breaks(formula: sp.Expr | None) -> list[float]:
    """The break points of a formula: where a condition of a ``Piecewise`` turns, or an |.|, Max, Min or sign folds."""
    if formula is None:
        return []
    edges: set[sp.Expr] = {edge.lhs - edge.rhs for edge in formula.atoms(sp.core.relational.Relational)}
    edges |= {fold.args[0] for fold in formula.atoms(sp.Abs, sp.sign, sp.Heaviside)}
    edges |= {a - b for fold in formula.atoms(sp.Max, sp.Min) for a in fold.args for b in fold.args if a != b}
    found: set[float] = set()
    for edge in edges:
        for branch in _without_absolute(edge):
            found |= _roots(branch)
    return sorted(found)


def _without_absolute(edge: sp.Expr) -> Iterable[sp.Expr]:
    """The edge with each |x| read as x and as -x: a superset of its roots, which costs only points."""
    folds = edge.atoms(sp.Abs)
    yield edge.xreplace({fold: fold.args[0] for fold in folds})
    if folds:
        yield edge.xreplace({fold: -fold.args[0] for fold in folds})


def _roots(edge: sp.Expr) -> set[float]:
    if u not in edge.free_symbols or not edge.is_polynomial(u):
        return set()
    return {float(root) for root in sp.Poly(edge, u).nroots(n=20) if abs(sp.im(root)) < 1e-15}


def _both_signs(positive: np.ndarray, dtype: torch.dtype) -> torch.Tensor:
    ascending = np.unique(positive[np.isfinite(positive) & (positive > 0)])
    return torch.from_numpy(np.concatenate([-ascending[::-1], [-0.0, 0.0], ascending])).to(dtype)


def share(points: torch.Tensor, where: torch.Tensor) -> float:
    """The share of the length of [-10, 10] that lies between neighbouring points which are both in ``where``."""
    inside = points.abs() <= REACH
    u, held = points[inside].double(), where[inside]
    return float((u.diff() * (held[1:] & held[:-1])).sum()) / (2 * REACH)
