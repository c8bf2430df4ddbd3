"""Averages of draws: against numbers known beforehand, against the closed form, and refusals."""

from __future__ import annotations

import math

import pytest
import torch
from downslope.analysis.errors import Refused
from downslope.experiments.networks.perceptrons import multilayer
from downslope.experiments.studies.averaging import averages, signal_to_noise
from torch import nn
from torch.nn import functional as F


@pytest.fixture(scope="module")
def case() -> tuple[nn.Module, tuple[torch.Tensor, torch.Tensor]]:
    torch.manual_seed(0)
    return multilayer((6, 20, 20, 3), nn.Tanh), (torch.randn(16, 6), torch.randint(3, (16,)))


def test_signal_to_noise_of_vectors_with_known_moments() -> None:
    generator = torch.Generator().manual_seed(0)
    mean = torch.tensor([3.0, 4.0])
    drawn = mean + torch.randn(20_000, 2, generator=generator) * torch.tensor([1.0, 2.0])
    assert signal_to_noise(drawn.double()) == pytest.approx(25 / 5, rel=0.03)
    # 0.1 away from pure noise: a small mean is not taken for a large one
    assert abs(signal_to_noise((drawn - mean).double())) < 1e-2


def test_undefined_and_infinite_ratios() -> None:
    assert math.isnan(signal_to_noise(torch.ones(1, 3)))
    assert math.isinf(signal_to_noise(torch.ones(2, 3)))


def test_averages_follow_the_closed_form(case) -> None:
    model, batch = case
    table = averages(model, F.cross_entropy, batch, "full_jam", "tanh", averaged=(1, 4, 16), draws=512)
    assert sorted(table["layer"].unique()) == ["0", "2"]  # no jammed activation lies above the last layer
    means = table.groupby(["layer", "averaged"])[["snr", "predicted_snr", "cosine", "predicted_cosine"]].mean()
    assert means["snr"].to_numpy() == pytest.approx(means["predicted_snr"].to_numpy(), rel=0.2)
    assert means["cosine"].to_numpy() == pytest.approx(means["predicted_cosine"].to_numpy(), abs=0.02)


def test_each_draw_counts_once(case) -> None:
    model, batch = case
    table = averages(model, F.cross_entropy, batch, "full_jam", "tanh", averaged=(1, 2, 4), draws=8)
    assert table.groupby(["layer", "averaged"]).size().to_dict() == {
        (layer, n): 8 // n for layer in ("0", "2") for n in (1, 2, 4)
    }


def test_an_average_that_does_not_divide_the_draws_is_refused(case) -> None:
    model, batch = case
    with pytest.raises(Refused, match="has to divide"):
        averages(model, F.cross_entropy, batch, "full_jam", "tanh", averaged=(3,), draws=8)
