"""The lean loop for convolutional runs has the plain loop's weights."""

from __future__ import annotations

import pytest
import torch
from downslope.analysis.errors import Refused
from downslope.experiments.data import Data
from downslope.experiments.grids import plain
from downslope.experiments.grids.cell import Cell, Outcome
from downslope.experiments.stacked import single
from torch import Tensor

RULES = ("tied", "constant", "rectangle", "gaussian", "full_jam", "positive_jam", "rectangular_jam")


@pytest.fixture
def pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """44 images of MNIST's size: a batch of 32 and one of 12."""
    generator = torch.Generator().manual_seed(0)
    x, y = torch.rand(44, 1, 28, 28, generator=generator), torch.randint(0, 10, (44,), generator=generator)

    def samples(name: str, device: str = "cpu", dtype: torch.dtype = torch.float32) -> Data:
        return Data(name, x.to(dtype), y, x[:10].to(dtype), y[:10], "made here")

    monkeypatch.setattr(plain, "samples", samples)


def both(rule: str, forward: str, dtype: torch.dtype) -> tuple[Outcome, Outcome]:
    cell = Cell("lenet-mnist", forward, rule, 0.05, batch=32, epochs=1, seed=2, momentum=0.9)
    return single.train(cell, dtype=dtype), plain.train(cell, dtype=dtype)


def apart(one: Outcome, other: Outcome) -> float:
    pairs = [(one.weights[name], value) for name, value in other.weights.items()]
    return max(float((ours - theirs).norm() / theirs.norm()) for ours, theirs in pairs)


@pytest.mark.parametrize("forward", ["logistic", "relu", "identity"])
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.usefixtures("pictures")
def test_weights_and_scores(rule: str, forward: str) -> None:
    found, right = both(rule, forward, torch.float64)
    assert apart(found, right) <= 1e-12
    assert found.scores[-1].test_loss == pytest.approx(right.scores[-1].test_loss, rel=1e-9)
    assert [(score.epoch, score.step) for score in found.scores] == [(0, 0), (1, 2)]


@pytest.mark.parametrize("rule", ["tied", "rectangle", "full_jam"])
@pytest.mark.usefixtures("pictures")
def test_weights_in_float32(rule: str) -> None:
    assert apart(*both(rule, "logistic", torch.float32)) <= 1e-5


@pytest.mark.usefixtures("pictures")
def test_a_wrong_average_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    right = single._Halved.backward
    monkeypatch.setattr(single._Halved, "backward", staticmethod(lambda ctx, *up: right(ctx, up[0].mT.contiguous())))
    assert apart(*both("tied", "logistic", torch.float64)) > 1e-12


@pytest.mark.usefixtures("pictures")
def test_noise_of_another_place_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    right = single.Lean._forward

    def swapped(self: single.Lean, inputs: Tensor) -> Tensor:
        self._places.reverse()
        return right(self, inputs)

    monkeypatch.setattr(single.Lean, "_forward", swapped)
    assert apart(*both("full_jam", "logistic", torch.float64)) > 1e-12


@pytest.mark.usefixtures("pictures")
def test_divergence_is_the_plain_loop_s() -> None:
    cell = Cell("lenet-mnist", "relu", "constant", 1e30, batch=32, epochs=3, seed=2)
    found, right = single.train(cell), plain.train(cell)
    assert found.diverged == right.diverged == 1
    assert len(found.scores) == len(right.scores) == 1


def test_what_fits_and_what_is_refused() -> None:
    assert single.fits(Cell("lenet-fashion", "relu", "tied", 0.1, 64, 1, 0))
    residual = Cell("residual-digits", "relu", "tied", 0.1, 64, 1, 0)
    assert not single.fits(residual)
    with pytest.raises(Refused, match="no chain of convolutions"):
        single.train(residual)
