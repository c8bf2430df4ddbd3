"""Which backward each run of a group has: a rule for each of its activations, and the noise where that is random."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ....analysis.surrogates.formula.numerics.window import split
from ....analysis.surrogates.lookup import TIED, surrogate
from ...grids.cell import Cell
from ..layers import Layer
from .factor import Times, native, ruled
from .noise import Noise


@dataclass(frozen=True)
class Rule:
    """The backward of one activation for the runs of one rule.

    Attributes:
        runs: which of each seed's.
        times: upstream gradient times derivative.
        noise: its draws; ``None`` where it is not random.
        place: which of the places of the noise.
    """

    runs: slice
    times: Times
    noise: Noise | None = None
    place: int = 0

    def __call__(self, upstream: Tensor, u: Tensor, value: Tensor) -> None:
        """Writes over the upstream gradient [seeds, runs, units, samples] of its runs."""
        own = upstream[:, self.runs]
        drawn = [] if self.noise is None else self.noise.places[self.place]
        found = self.times(own, u[:, self.runs], value[:, self.runs], drawn)
        if found.data_ptr() != own.data_ptr():
            own.copy_(found)


def backwards(
    cells: Sequence[Cell], layers: Sequence[Layer], device: torch.device, dtype: torch.dtype
) -> tuple[list[list[Rule]], list[Noise]]:
    """For each layer the rules of its activation, which together hold for every run; and the noise that they take.

    Args:
        cells: a group, arranged.
        layers: of their network.
        device: where the noise is drawn.
        dtype: of the gradients.
    """
    seeds = tuple(dict.fromkeys(cell.seed for cell in cells))
    of_one_seed = [cell for cell in cells if cell.seed == seeds[0]]
    places = [layer for layer in layers if layer.ruled]
    noises: dict[Any, Noise] = {}
    found: list[list[Rule]] = [[] for _ in layers]
    for rule in dict.fromkeys(cell.rule for cell in of_one_seed):
        numbers = [number for number, cell in enumerate(of_one_seed) if cell.rule == rule]
        runs = slice(numbers[0], numbers[-1] + 1)
        factor = None if rule == TIED else split(surrogate(rule, cells[0].forward).formula)
        noise = None
        if factor is not None and factor.symbols and places:
            wanted = dtype if factor.bare else torch.float64
            key = factor.symbols, wanted
            if key not in noises:
                noises[key] = Noise(seeds, factor.symbols, [layer.outputs for layer in places], device, wanted)
            noise = noises[key]
        for layer, rules in zip(layers, found, strict=True):
            if factor is not None and layer.ruled:
                rules.append(Rule(runs, ruled(factor), noise, places.index(layer)))
            elif layer.activation is not None:
                rules.append(Rule(runs, native(layer.activation)))
    return found, list(noises.values())
