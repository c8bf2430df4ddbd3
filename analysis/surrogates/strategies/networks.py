"""Strategies for small networks and the batches that go through them."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy


def networks(*, inputs: int = 3, outputs: int = 1, max_depth: int = 3, max_width: int = 5) -> SearchStrategy[Any]:
    """Small float64 multilayer perceptrons (``nn.Sequential``), weights seeded, one activation throughout."""
    from hypothesis import strategies as st

    kinds = st.sampled_from([torch.nn.Tanh, torch.nn.Sigmoid, torch.nn.ReLU, torch.nn.SiLU])
    widths = st.lists(st.integers(1, max_width), min_size=1, max_size=max_depth)

    def build(kind: type[torch.nn.Module], hidden: list[int], seed: int) -> torch.nn.Sequential:
        sides = [inputs, *hidden]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            pairs = [(torch.nn.Linear(a, b), kind()) for a, b in pairwise(sides)]
            layers = [layer for pair in pairs for layer in pair]
            return torch.nn.Sequential(*layers, torch.nn.Linear(sides[-1], outputs)).double()

    return st.builds(build, kinds, widths, st.integers(0, 2**16))


def batches(
    *, inputs: int = 3, outputs: int = 1, max_samples: int = 5
) -> SearchStrategy[tuple[torch.Tensor, torch.Tensor]]:
    """Pairs (x of shape ``(samples, inputs)``, y of shape ``(samples, outputs)``), float64, ordinary values."""
    from hypothesis import strategies as st

    ordinary = st.floats(-4, 4, width=16, allow_subnormal=False)

    def rows(samples: int, side: int) -> SearchStrategy[torch.Tensor]:
        values = st.lists(ordinary, min_size=samples * side, max_size=samples * side)
        return values.map(lambda drawn: torch.tensor(drawn, dtype=torch.float64).reshape(samples, side))

    return st.integers(1, max_samples).flatmap(lambda n: st.tuples(rows(n, inputs), rows(n, outputs)))
