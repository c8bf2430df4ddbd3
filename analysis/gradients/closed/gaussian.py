"""Gaussian integrals of backward factors, accurate across kinks and jumps.

E f(z), z ~ N(0, q), by Gauss-Legendre rules on panels that end at every fold and jump of f, ever shorter towards each
of these, 0 and a factor's centre; a panel is halved until that changes it no more. The factors are those of the
catalogue's formulas, evaluated as in a backward.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from ...errors import Refused
from ...surrogates.formula.evaluation import evaluate
from ...surrogates.formula.profile import breaks
from ...surrogates.surrogate import Surrogate

_REACH = 12.0  # standard deviations; the density beyond is below 1e-31
_PANELS = 48
_RUNGS = 30  # down to 1e-9 of the whole
_HALVINGS = 60
_ENOUGH = 1e-13
_NODES, _WEIGHTS = (torch.from_numpy(each) for each in np.polynomial.legendre.leggauss(16))


@dataclass(frozen=True)
class Overlap:
    """Of a derivative phi' and a factor psi under z ~ N(0, q), psi's noise included.

    Attributes:
        product: E[phi' psi].
        derivative: E[phi'^2].
        factor: E[psi^2].
    """

    product: float
    derivative: float
    factor: float

    @property
    def rho(self) -> float | None:
        """E[phi' psi]/sqrt(E phi'^2 E psi^2); ``None`` where one of the two vanishes."""
        scale = math.sqrt(self.derivative) * math.sqrt(self.factor)
        return min(1.0, max(-1.0, self.product / scale)) if scale > 0 else None

    @property
    def ratio(self) -> float | None:
        """sqrt(E psi^2/E phi'^2); ``None`` where phi' vanishes."""
        return math.sqrt(self.factor / self.derivative) if self.derivative > 0 else None


@lru_cache(maxsize=4096)
def overlap(derivative: Surrogate, surrogate: Surrogate, variance: float) -> Overlap:
    """The Gaussian integrals of a derivative against a factor.

    Args:
        derivative: phi', e.g. ``ACTIVATIONS["tanh"].tied``.
        surrogate: psi; where it is random, its mean enters the product, its mean and variance the square.
        variance: q of the preactivation, above 0.

    Raises:
        Refused: variance is no finite number above 0, or the mean or variance of psi over its noise has no known form.

    >>> from downslope import ACTIVATIONS, SURROGATES
    >>> round(overlap(ACTIVATIONS["relu"].tied, SURROGATES["constant"], 1.0).rho, 12)
    0.707106781187
    """
    if not 0 < variance < math.inf:
        raise Refused(f"overlap(variance={variance!r}): a preactivation's mean square is a finite number above 0.")
    mean, spread = surrogate.mean, surrogate.variance
    deviation = math.sqrt(variance)
    reach = _REACH * deviation
    folds = [point for formula in (derivative.formula, mean, spread) for point in breaks(formula, -reach, reach)]
    folds += [0.0, *map(_centre, (derivative, surrogate))]

    def integrand(z: Tensor) -> Tensor:
        slope, psi, noise = (evaluate(formula, z) for formula in (derivative.formula, mean, spread))
        density = torch.exp(-((z / deviation) ** 2) / 2) / (deviation * math.sqrt(2 * math.pi))
        return torch.stack([slope * psi, slope**2, psi**2 + noise]) * density

    return Overlap(*_integral(integrand, -reach, reach, folds))


def _centre(surrogate: Surrogate) -> float:
    """Where a factor is high and may be narrow: its parameter of that name, else 0."""
    return next((float(value) for key, value in surrogate.parameters.items() if str(key) == "centre"), 0.0)


def _integral(function: Callable[[Tensor], Tensor], low: float, high: float, folds: Sequence[float]) -> list[float]:
    """The integrals of several functions at once, (panels * nodes,) -> (functions, panels * nodes)."""
    # A ladder of panels to either side of each fold, so that no peak there is too narrow to be met by a node.
    ladder = [side * (high - low) * 2.0**-rung for rung in range(1, _RUNGS) for side in (-1, 1)]
    points = {*np.linspace(low, high, _PANELS + 1).tolist(), *folds, *(f + step for f in folds for step in ladder)}
    edges = torch.tensor(sorted(each for each in points if low <= each <= high), dtype=torch.float64)
    left, right = edges[:-1], edges[1:]
    whole = _panels(function, left, right)
    total = whole.sum(1)
    done = torch.zeros_like(total)
    for _ in range(_HALVINGS):
        middle = (left + right) / 2
        halves = torch.stack([_panels(function, left, middle), _panels(function, middle, right)])
        finer = halves.sum(0)
        rough = ((finer - whole).abs() > _ENOUGH * total.abs()[:, None] * (right - left) / (high - low)).any(0)
        # What is below the rounding of the sum cannot be improved by halving.
        rough &= ((finer - whole).abs() > 1e-17 * total.abs().clamp_min(1e-290)[:, None]).any(0)
        done = done + finer[:, ~rough].sum(1)
        if not rough.any():
            break
        whole = torch.cat([halves[0][:, rough], halves[1][:, rough]], 1)
        left, right = torch.cat([left[rough], middle[rough]]), torch.cat([middle[rough], right[rough]])
        total = done + whole.sum(1)
    else:
        done = done + whole.sum(1)
    return [float(each) for each in done]


def _panels(function: Callable[[Tensor], Tensor], left: Tensor, right: Tensor) -> Tensor:
    """The rule on each panel: (functions, panels)."""
    half = (right - left) / 2
    points = ((left + right) / 2)[:, None] + half[:, None] * _NODES
    values = function(points.reshape(-1)).reshape(-1, *points.shape)
    return (values * _WEIGHTS).sum(2) * half
