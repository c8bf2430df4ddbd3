"""The benchmark of grids compares like with like: their loop and ours do the same work on the same samples."""

from __future__ import annotations

import inspect

import pytest
import torch
from downslope.experiments import training
from downslope.experiments.benchmarks import grids
from downslope.experiments.grids import plain
from downslope.experiments.grids.cell import Cell
from downslope.experiments.networks import network


@pytest.mark.parametrize("rule", ["tied", "constant", "rectangle", "triangle"])
@pytest.mark.parametrize("forward", grids.FORWARDS)
def test_an_epoch_of_theirs_and_of_ours_give_the_same_weights(
    forward: str, rule: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("freegrad")
    # Their loop orders the samples by torch's own seeding; here ours does, too.
    monkeypatch.setattr(training, "_generator", lambda seed, stream: torch.Generator().manual_seed(seed))
    cell = Cell("mlp-digits", forward, rule, 0.1, batch=64, epochs=1, seed=3)
    theirs = grids._theirs(cell, plain.samples("digits").train)
    theirs()
    model = inspect.getclosurevars(theirs).nonlocals["model"]
    ours = grids._Ours([cell])
    ours.epoch()
    for name, value in ours._stack.weights(0).items():
        torch.testing.assert_close(value, model.state_dict()[name], rtol=1e-4, atol=1e-6)


def test_the_operations_of_a_sample_are_counted() -> None:
    """Forward and weights of both layers, and the inputs of the second, two operations for each weight."""
    cell = Cell("mlp-digits", "logistic", "tied", 0.1, batch=64, epochs=1, seed=0)
    assert grids._operations(cell) == 2 * (2 * 64 * 64 + 3 * 64 * 10)
    entry = network("mlp-digits")
    model, (x, y) = plain.initialised(cell, entry), (torch.rand(64, 64), torch.zeros(64, dtype=torch.long))
    counted = grids.operations(lambda: torch.autograd.backward(entry.criterion(model(x), y)))
    assert counted == 64 * grids._operations(cell)
