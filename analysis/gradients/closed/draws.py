"""What draws of a random gradient say of its mean and second moment, with standard errors."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ..measuring.setting import Gradients
from ..measuring.taking import inner
from ..references.errors import Groups

Estimate = tuple[float | None, float | None]
"""A value and its standard error."""


@dataclass
class Draws:
    """Draws of a gradient, taken one by one.

    Attributes:
        groups: their means by group.
        places: the parameters of each row of the table.
        reference: what cosines are taken with.
        squares: |g~|^2 of each draw, for each row.
        cosines: of each draw with the reference, for each row; NaN where undefined.
    """

    groups: Groups
    places: Sequence[Sequence[int]]
    reference: Gradients
    squares: list[list[float]] = field(default_factory=list)
    cosines: list[list[float]] = field(default_factory=list)

    def take(self, draw: int, gradient: Gradients) -> None:
        """Adds a draw."""
        self.groups.take(draw, gradient)
        squares, cosines = [], []
        for where in self.places:
            part = [gradient[i] for i in where]
            squares.append(inner(part, part))
            other = [self.reference[i] for i in where]
            scale = math.sqrt(squares[-1] * inner(other, other))
            cosines.append(inner(part, other) / scale if scale else math.nan)
        self.squares.append(squares)
        self.cosines.append(cosines)

    def second_moment(self, row: int) -> Estimate:
        """E|g~|^2 and its standard error."""
        each = torch.tensor([squares[row] for squares in self.squares], dtype=torch.float64)
        return float(each.mean()), float(each.std()) / math.sqrt(len(each))

    def snr(self, row: int) -> Estimate:
        """|E g~|^2 over the trace of the covariance, both unbiased; the standard error by the jackknife over groups."""
        sizes = torch.tensor(self.groups.sizes, dtype=torch.float64)
        squares = torch.zeros_like(sizes)
        for draw, each in enumerate(self.squares):
            squares[draw % len(sizes)] += each[row]
        _, rows = self.groups.rows(self.places[row])
        rows = rows.to(sizes.device) * sizes[:, None]
        value = _ratio(rows.sum(0), squares.sum(), float(sizes.sum()))
        left = [
            _ratio(rows.sum(0) - rows[i], squares.sum() - squares[i], float(sizes.sum() - sizes[i]))
            for i in range(len(sizes))
        ]
        known = [each for each in left if each is not None]
        if value is None or len(known) < len(left):
            return value, None
        middle = sum(known) / len(known)
        spread = (len(known) - 1) / len(known) * sum((each - middle) ** 2 for each in known)
        return value, math.sqrt(spread)


def _ratio(total: Tensor, squares: Tensor, count: float) -> float | None:
    """The SNR from the sum of gradients and the sum of their squared lengths."""
    mean = float((total / count).square().sum())
    variance = (float(squares) / count - mean) * count / (count - 1) if count > 1 else 0.0
    return (mean - variance / count) / variance if variance > 0 else None
