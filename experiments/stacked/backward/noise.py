"""The noise of a random rule, as the plain loop draws it: the very bits that `untie` takes from a run's generator.

For each run of the model `untie` takes a number from the generator's state, moves the generator on, and seeds a
generator of its own for each place; the draws are float64, for each entry of [samples, units]. Runs of one seed have
the same streams, so that one draw serves all of them, and no other run's draws matter.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ....analysis.gradients.untie.function import mix
from ....analysis.gradients.untie.mode import Seeds
from ....analysis.surrogates.formula.numerics.draws import draw
from ... import training

_STREAM = 2


class Noise:
    """The draws of some seeds, step by step.

    Args:
        seeds: of the runs.
        symbols: of the rule, by name; rules with the same symbols have the same draws.
        widths: units of each place where the rule stands, in the order of the forward.
        device: where they are drawn.
        dtype: in which they are wanted.
    """

    def __init__(
        self,
        seeds: Sequence[int],
        symbols: Sequence[Any],
        widths: Sequence[int],
        device: torch.device,
        dtype: torch.dtype,
    ) -> None:
        self._generators = [training._generator(seed, stream=_STREAM) for seed in seeds]
        self._symbols, self._widths, self._device, self._dtype = symbols, widths, device, dtype
        self._own = torch.Generator(device=device)
        self._drawn: dict[int, list[list[Tensor]]] = {}
        self.places: list[list[Tensor]] = []

    def draw(self, samples: int) -> None:
        """Puts into ``places``, for each place and symbol, the draws of one step: [seeds, 1, units, samples]."""
        if samples not in self._drawn:
            self._drawn[samples] = [[self._room(units, samples) for _ in self._symbols] for units in self._widths]
        self.places = self._drawn[samples]
        for number, generator in enumerate(self._generators):
            seeds = Seeds(generator)
            for units, place in zip(self._widths, self.places, strict=True):
                self._own.manual_seed(mix(seeds.next(), 0, 0))
                for symbol, kept in zip(self._symbols, place, strict=True):
                    values = draw(symbol, (samples, units), self._device, self._own)
                    kept[number, 0].copy_(values.to(self._dtype).T)
            seeds.close()

    def _room(self, units: int, samples: int) -> Tensor:
        return torch.empty((len(self._generators), 1, units, samples), dtype=self._dtype, device=self._device)
