"""A stacked run has the plain loop's weights: after an epoch to 1e-12 in float64 and 1e-5 in float32."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from downslope.experiments.grids import plain
from downslope.experiments.grids.cell import Cell, Outcome
from downslope.experiments.stacked import engine

DEVICES = [
    "cpu",
    pytest.param("cuda", marks=[pytest.mark.cuda, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA")]),
]
FORWARDS = ("identity", "relu", "leaky_relu", "elu", "silu", "gelu", "softplus", "tanh", "logistic", "hardtanh")
RULES = ("tied", "constant(height=1/2)", "rectangle", "triangle", "full_jam", "positive_jam", "rectangular_jam")
BASE = Cell("mlp-digits", "logistic", "tied", 0.1, batch=64, epochs=1, seed=0)


def apart(stacked: Outcome, alone: Outcome) -> float:
    """The largest distance of a parameter tensor from the plain loop's, as a share of its norm."""
    assert stacked.weights.keys() == alone.weights.keys()
    pairs = [(stacked.weights[name], value) for name, value in alone.weights.items()]
    return max(float((one - other).norm() / other.norm()) for one, other in pairs)


def grid(base: Cell, rates: tuple[float, ...] = (0.05, 0.1), seeds: tuple[int, ...] = (0, 3)) -> list[Cell]:
    return [replace(base, learning_rate=rate, seed=seed) for seed in seeds for rate in rates]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(("dtype", "limit"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
@pytest.mark.parametrize("rule", RULES)
def test_every_rule(rule: str, dtype: torch.dtype, limit: float, device: str) -> None:
    cells = grid(replace(BASE, rule=rule))
    stacked = engine.train(cells, dtype=dtype, device=device)
    assert [outcome.cell for outcome in stacked] == cells
    for outcome in (stacked[1], stacked[2]):
        assert apart(outcome, plain.train(outcome.cell, dtype=dtype, device=device)) <= limit
