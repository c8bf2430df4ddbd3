"""The Monte Carlo error of a mean gradient, from the means of groups of draws."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..measuring.setting import Gradients
from .reference import added

GROUPS = 20
"""So many group means are kept, each of the size of the gradient; their spread is the error of the whole mean."""


@dataclass(frozen=True)
class Groups:
    """Means of groups of draws of a gradient.

    Attributes:
        sums: for each group, the sum of its draws by parameter, in float64.
        sizes: draws of each group; as equal as they can be.
    """

    sums: list[list[Tensor | None]]
    sizes: list[int]

    @classmethod
    def of(cls, draws: int, parameters: Sequence[Tensor]) -> Groups:
        """Empty groups for so many draws."""
        count = min(draws, GROUPS)
        sizes = [len(range(group, draws, count)) for group in range(count)]
        return cls([[None] * len(parameters) for _ in range(count)], sizes)

    @property
    def count(self) -> int:
        """How many groups there are."""
        return len(self.sizes)

    def take(self, draw: int, gradient: Gradients) -> None:
        """Adds draw number ``draw``."""
        added(self.sums[draw % self.count], gradient)

    @property
    def mean(self) -> list[Tensor | None]:
        """Over all draws."""
        total: list[Tensor | None] = [None] * len(self.sums[0])
        for each in self.sums:
            added(total, each, 1 / sum(self.sizes))
        return total

    def relative_error(self, where: Sequence[int]) -> float | None:
        r"""sqrt(trace of the mean's covariance) / \|mean\|; ``None`` where the mean is zero."""
        mean, rows = self.rows(where)
        norm = float(mean.norm())
        deviations = rows - mean
        weights = torch.tensor(self.sizes, dtype=torch.float64, device=rows.device)
        # Var(group mean) = V / size, so size * deviation^2 estimates V for each group
        variance = float((weights * deviations.square().sum(1)).sum()) / (self.count - 1) / sum(self.sizes)
        return math.sqrt(variance) / norm if norm else None

    def cosine_error(self, where: Sequence[int], gradient: Gradients) -> float:
        """The standard error of the cosine of ``gradient`` and the mean, by the jackknife over groups.

        A cosine near 1 or -1 is skewed towards 0, which a standard error does not tell: there its errors lie beyond two
        standard errors more often than one time in twenty.
        """
        mean, rows = self.rows(where)
        g = _flat([gradient[i] for i in where], [self._like(i) for i in where])
        g = g / g.norm()
        sizes = torch.tensor(self.sizes, dtype=torch.float64, device=rows.device)[:, None]
        total = float(sizes.sum())
        without = (total * mean - sizes * rows) / (total - sizes)
        cosines = (without @ g) / without.norm(dim=1)
        n = self.count
        return math.sqrt((n - 1) / n * float((cosines - cosines.mean()).square().sum()))

    def rows(self, where: Sequence[int]) -> tuple[Tensor, Tensor]:
        """The mean and the group means of these parameters, flat: (entries,), (groups, entries)."""
        like = [self._like(i) for i in where]
        rows = torch.stack([_flat([s[i] for i in where], like) / n for s, n in zip(self.sums, self.sizes, strict=True)])
        sizes = torch.tensor(self.sizes, dtype=torch.float64, device=rows.device)
        return (sizes[:, None] * rows).sum(0) / sizes.sum(), rows

    def _like(self, index: int) -> Tensor | None:
        return next((each[index] for each in self.sums if each[index] is not None), None)


def _flat(parts: Gradients, like: Gradients) -> Tensor:
    """The parts as one vector; a missing part is zero, and one that no draw has is left out."""
    pairs = zip(parts, like, strict=True)
    flat = [
        (torch.zeros_like(shape) if part is None else part.double()).flatten()
        for part, shape in pairs
        if shape is not None
    ]
    return torch.cat(flat) if flat else torch.zeros(0, dtype=torch.float64)
