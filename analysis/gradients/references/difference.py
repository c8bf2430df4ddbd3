"""The loss along the step itself: no gradient is taken, so this works for any loss and any unit.

For the unit step d = -g~/|g~| of the parameters that a row is about, D(t) = (loss(theta + t d) - loss(theta - t d)) /
(2 t) is the mean slope over the segment; the table has D(t), and |D(t) - D(t/2)| as the size of its error.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from ..deviation import Deviation, deviation
from ..measuring.setting import Gradients
from ..measuring.taking import Native
from ..pairs import total
from .reference import Judge, Numbers, labelled, positive, undirected


@dataclass(frozen=True)
class FiniteDifference:
    """The loss's central difference along each step: a slope to compare, and no direction of its own.

    Attributes:
        distance: t, the length of the step in parameter space; ``None`` for the cube root of the dtype's epsilon times
            the norm of the row's parameters (or 1, where that is larger). Where step units make the loss piecewise
            constant the slope depends on it: choose the length of a step of the training.

    Raises:
        Refused: distance is no finite number above 0.
    """

    distance: float | None = None

    def __post_init__(self) -> None:
        if self.distance is not None:
            positive("FiniteDifference", "distance", self.distance)

    @property
    def label(self) -> str:
        """As in the tables."""
        return labelled("finite-difference", self)

    def prepare(self, native: Native) -> Judge:
        """Nothing to compute before there is a step."""
        return _Difference(native, self.distance)


COLUMNS = ("exact_directional_derivative", "directional_derivative_error", "distance")
REASON = "a finite difference of the loss has a slope along the step and no direction of its own"


@dataclass(frozen=True)
class _Difference:
    native: Native
    distance: float | None
    facts: Mapping[str, Any] = field(default_factory=lambda: {"method": "central difference of the loss"})
    reruns = True

    def __call__(self, where: Sequence[int], gradient: Gradients) -> tuple[Deviation, Numbers]:
        exact = self.native.exact
        parts = [part if i in where else None for i, part in enumerate(gradient)]
        compared = deviation([gradient[i] for i in where], [exact[i] for i in where])
        squares = [float(part.double().square().sum()) for part in parts if part is not None]
        norm = math.sqrt(total(squares))
        if not 0 < norm < math.inf:
            why = "the gradient is zero" if norm == 0 else "the gradient is not finite"
            return undirected(compared, f"{why}, so there is no step to take"), dict.fromkeys(COLUMNS)
        t = self._length(where)
        slope, finer = (self._slope(parts, norm, each) for each in (t, t / 2))
        predicted = None
        if self.native.flat.isdisjoint(where):  # -<g, g~>/|g~|, which a zero g does not make undefined
            inner = math.fsum(
                float((a * b).sum()) for a, b in zip(parts, exact, strict=True) if a is not None and b is not None
            )
            predicted = -inner / norm
        found = dict(zip(COLUMNS, (predicted, abs(slope - finer), t), strict=True))
        return replace(undirected(compared, REASON), directional_derivative=slope), found

    def _length(self, where: Sequence[int]) -> float:
        if self.distance is not None:
            return self.distance
        parameters = [self.native.setting.parameters[i].detach() for i in where]
        size = math.sqrt(total([float(each.double().square().sum()) for each in parameters]))
        coarsest = max(torch.finfo(each.dtype).eps for each in parameters)
        return float(coarsest ** (1 / 3) * max(1.0, size))

    def _slope(self, parts: Gradients, norm: float, t: float) -> float:
        ahead, behind = (self._loss(parts, sign * t / norm) for sign in (-1, 1))
        return (ahead - behind) / (2 * t)

    def _loss(self, parts: Gradients, distance: float) -> float:
        setting = self.native.setting
        self.native.again()
        with torch.no_grad():
            return float(setting.value(setting.moved(parts, distance)).double())
