"""A stacked run has the plain loop's weights: after an epoch to 1e-12 in float64 and 1e-5 in float32."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from downslope import SURROGATES
from downslope.experiments.grids import plain
from downslope.experiments.grids.cell import Cell, Outcome
from downslope.experiments.networks import Network, hidden
from downslope.experiments.stacked import engine, losses
from downslope.experiments.stacked.backward import noise
from downslope.experiments.stacked.stack import Parameters, Stack
from torch import Tensor, nn

DEVICES = [
    "cpu",
    pytest.param("cuda", marks=[pytest.mark.cuda, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA")]),
]
PRECISIONS = pytest.mark.parametrize(
    ("dtype", "limit"), [(torch.float64, 1e-12), (torch.float32, 1e-5)], ids=["float64", "float32"]
)
PAPER = ("tied", "constant(height=1/2)", "rectangle", "triangle", "full_jam", "positive_jam", "rectangular_jam")
SMALL = "digits:200"  # three batches of 64 and one of 8
BASE = Cell("mlp-digits", "logistic", "tied", 0.1, batch=64, epochs=1, seed=0, data=SMALL)


def apart(stacked: Outcome, alone: Outcome) -> float:
    """The largest distance of a parameter tensor from the plain loop's, as a share of its norm."""
    assert stacked.weights.keys() == alone.weights.keys()
    pairs = [(stacked.weights[name], value) for name, value in alone.weights.items()]
    return max(float((one - other).norm() / other.norm()) for one, other in pairs)


def grid(base: Cell, rules: Sequence[str], rates: Sequence[float] = (0.05, 0.1), seeds: Sequence[int] = (0, 3)):
    return [
        replace(base, rule=rule, learning_rate=rate, seed=seed) for seed in seeds for rule in rules for rate in rates
    ]


def worst(cells: Sequence[Cell], dtype: torch.dtype, device: str = "cpu", checked: slice = slice(None)) -> float:
    """The largest distance of any run of one stack from its plain loop."""
    stacked = engine.train(cells, dtype=dtype, device=device)
    assert [outcome.cell for outcome in stacked] == list(cells)
    return max(apart(each, plain.train(each.cell, dtype=dtype, device=device)) for each in stacked[checked])


@pytest.mark.parametrize("device", DEVICES)
@PRECISIONS
def test_the_paper_s_rules_in_one_stack(dtype: torch.dtype, limit: float, device: str) -> None:
    assert worst(grid(BASE, PAPER), dtype, device) <= limit


@PRECISIONS
def test_a_whole_epoch(dtype: torch.dtype, limit: float) -> None:
    cells = grid(replace(BASE, data=""), ["tied", "triangle", "full_jam"])
    assert worst(cells, dtype, checked=slice(0, 7, 3)) <= limit


@pytest.mark.parametrize("forward", [name for name in hidden.HIDDEN if not hidden.flat(name)])
@PRECISIONS
def test_every_forward(forward: str, dtype: torch.dtype, limit: float) -> None:
    assert worst(grid(replace(BASE, forward=forward), ["tied", "triangle"], [0.1], [1]), dtype) <= limit


@pytest.mark.parametrize("forward", [name for name in hidden.HIDDEN if hidden.flat(name)])
@PRECISIONS
def test_every_step_forward(forward: str, dtype: torch.dtype, limit: float) -> None:
    cells = grid(replace(BASE, forward=forward, network="mlp-digits-depth-2"), ["clipped", "rectangular_jam"], [0.1])
    assert worst(cells, dtype) <= limit


def test_every_surrogate_of_the_catalogue_in_float32() -> None:
    assert worst(grid(BASE, tuple(SURROGATES), [0.1], [2]), torch.float32) <= 1e-5


def test_every_surrogate_of_the_catalogue_in_float64() -> None:
    cells = grid(replace(BASE, data="digits:40", batch=32), tuple(SURROGATES), [0.1], [2])
    assert worst(cells, torch.float64) <= 1e-12


@PRECISIONS
def test_momentum(dtype: torch.dtype, limit: float) -> None:
    assert worst(grid(replace(BASE, momentum=0.9, epochs=2), ["tied", "triangle"]), dtype) <= limit


@PRECISIONS
def test_deep_networks(dtype: torch.dtype, limit: float) -> None:
    cells = grid(replace(BASE, network="deep-tanh-digits", forward="tanh"), ["tied", "constant", "full_jam"])
    assert worst(cells, dtype) <= limit


@PRECISIONS
def test_single_units_with_a_squared_error(dtype: torch.dtype, limit: float) -> None:
    cells = grid(Cell("unit-ones", "logistic", "", 0.1, batch=32, epochs=2, seed=0), ["tied", "triangle", "full_jam"])
    assert worst(cells, dtype, checked=slice(0, None, 3)) <= limit


@PRECISIONS
def test_single_binary_units(dtype: torch.dtype, limit: float) -> None:
    cells = grid(Cell("binary-ones", "heaviside", "", 0.1, batch=64, epochs=1, seed=0), ["constant", "rectangle"])
    assert worst(cells, dtype, checked=slice(0, None, 3)) <= limit


def test_where_training_is_chaotic_the_plain_loop_is_as_far_from_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    cell = Cell("binary-ones", "heaviside", "triangle", 0.1, batch=32, epochs=1, seed=0)
    (stacked,) = engine.train([cell], dtype=torch.float64)
    alone = plain.train(cell, dtype=torch.float64)
    right = plain.initialised

    def one_bit_off(cell: Cell, entry: Network) -> nn.Module:
        model = right(cell, entry).double()
        for parameter in model.parameters():
            parameter.data.mul_(1 + torch.finfo(torch.float64).eps)
        return model

    monkeypatch.setattr(plain, "initialised", one_bit_off)
    moved = plain.train(cell, dtype=torch.float64)
    assert apart(moved, alone) > 1e-6  # the premise: this recipe amplifies a rounding error a millionfold in an epoch
    assert apart(stacked, alone) <= 100 * apart(moved, alone)


@PRECISIONS
def test_a_loss_without_a_fast_form(dtype: torch.dtype, limit: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(losses, "_DIRECT", {})
    assert worst(grid(BASE, ["tied", "triangle"]), dtype) <= limit
    assert worst(grid(replace(BASE, network="unit-ones", data="ones:100"), ["constant"]), dtype) <= limit


def test_scores_are_the_plain_loop_s() -> None:
    cells = grid(replace(BASE, epochs=2, learning_rate=0.5), ["tied", "constant"])
    for stacked in engine.train(cells):
        alone = plain.train(stacked.cell)
        assert [(score.epoch, score.step) for score in stacked.scores] == [(0, 0), (1, 4), (2, 8)]
        for one, other in zip(stacked.scores, alone.scores, strict=True):
            assert (one.train_accuracy, one.test_accuracy) == (other.train_accuracy, other.test_accuracy)
            assert (one.train_loss, one.test_loss) == pytest.approx((other.train_loss, other.test_loss), rel=1e-5)


def test_scores_at_chosen_epochs_only() -> None:
    cells = grid(replace(BASE, epochs=3), ["tied"])
    every, some = engine.train(cells), engine.train(cells, scored=[1])
    for all_scores, few in zip(every, some, strict=True):
        assert few.scores == (all_scores.scores[1], all_scores.scores[3])
        assert all(torch.equal(few.weights[name], value) for name, value in all_scores.weights.items())


# Planted mistakes: each is caught by the comparison above.


def test_a_bias_that_is_not_updated_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = Stack._descend

    def forgetful(self: Stack, held: Parameters, delta: Tensor, below: Tensor) -> None:
        before = None if held.bias is None else held.bias.clone()
        whole(self, held, delta, below)
        if before is not None and held.bias is not None:
            held.bias.copy_(before)

    monkeypatch.setattr(Stack, "_descend", forgetful)
    assert worst(grid(BASE, ["tied"]), torch.float32) > 1e-5


def test_noise_shared_between_seeds_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    own = noise.training._generator
    monkeypatch.setattr(
        noise.training, "_generator", lambda seed, stream: own(0 if stream == 2 else seed, stream=stream)
    )
    stacked = engine.train(grid(BASE, ["full_jam"]))
    monkeypatch.undo()
    assert max(apart(each, plain.train(each.cell)) for each in stacked) > 1e-5


def test_a_last_batch_weighed_like_a_full_one_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    right = Stack.step

    def wrong(self: Stack, inputs: Tensor, targets: Tensor) -> None:
        rates = self._rates
        self._rates = rates * inputs.shape[1] / self.cells[0].batch
        right(self, inputs, targets)
        self._rates = rates

    monkeypatch.setattr(Stack, "step", wrong)
    assert worst(grid(BASE, ["tied"]), torch.float32) > 1e-5


def test_a_rule_on_its_neighbour_s_runs_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    from downslope.experiments.stacked.backward.rules import Rule

    right = Rule.__call__
    monkeypatch.setattr(
        Rule,
        "__call__",
        lambda self, upstream, u, value: right(replace(self, runs=slice(0, self.runs.stop)), upstream, u, value),
    )
    assert worst(grid(BASE, ["constant(height=1/2)", "triangle"]), torch.float32) > 1e-5
