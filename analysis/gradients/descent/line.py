"""The loss on the line from a model's parameters along minus a gradient."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from ..measuring.setting import Gradients
from ..measuring.taking import Native, inner

_HALVINGS = 30


@dataclass(frozen=True)
class Line:
    """theta - eta g~ for eta >= 0.

    Attributes:
        native: the model as it is.
        gradient: g~, by trained parameter.
        norm: its Euclidean length.
    """

    native: Native
    gradient: Gradients
    norm: float

    @classmethod
    def of(cls, native: Native, gradient: Gradients) -> Line:
        """The line of a gradient."""
        return cls(native, gradient, math.sqrt(inner(gradient, gradient)))

    @property
    def nowhere(self) -> str:
        """Why there is no line; empty where there is one."""
        if self.norm == 0:
            return "the gradient is zero, so there is no step to take"
        return "" if math.isfinite(self.norm) else "the gradient is not finite, so there is no step to take"

    def loss(self, step: float) -> float:
        """The loss at theta - step g~, in the model's mode, from the same buffers and random state; may be infinite."""
        setting = self.native.setting
        self.native.again()
        with torch.no_grad():
            at = setting.moved(self.gradient, -step)
            return float(setting.loss(setting.output(at), setting.y).double())

    def largest(self, steps: list[float], losses: list[float]) -> float | None:
        """The end of the steps that descend: up to where the loss first comes back to its value at theta.

        Between the last descending step and the first that does not, it is found by halving. 0 where the smallest
        step does not descend; ``None`` where every step does.

        Args:
            steps: ascending.
            losses: at these steps.
        """
        start = self.native.loss
        first = next((i for i, each in enumerate(losses) if not each < start), None)
        if first is None:
            return None
        if first == 0:
            return 0.0
        low, high = steps[first - 1], steps[first]
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            low, high = (middle, high) if self.loss(middle) < start else (low, middle)
        return low
