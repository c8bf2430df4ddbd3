"""The margins' study: its bounds against the exact margin where both exist, and the standing of spreads."""

from __future__ import annotations

import pytest
import torch
from downslope.analysis.gradients.margin.certificate.certificate import certify
from downslope.experiments.networks.perceptrons import multilayer
from downslope.experiments.studies.margins import margins, standing
from torch import nn
from torch.nn import functional as F


@pytest.fixture(scope="module")
def case() -> tuple[nn.Module, tuple[torch.Tensor, torch.Tensor]]:
    torch.manual_seed(0)
    return multilayer((6, 8, 8, 3), nn.Tanh).eval(), (torch.randn(8, 6), torch.randint(3, (8,)))


def test_each_place_is_bounded_on_both_sides_and_carries_every_surrogate(case) -> None:
    model, batch = case
    table = margins(model, F.cross_entropy, batch, ["constant", "triangle"], network="n")
    assert table[["depth", "layer", "surrogate"]].values.tolist() == [
        [1, "0", "constant"],
        [1, "0", "triangle"],
        [2, "2", "constant"],
        [2, "2", "triangle"],
    ]
    assert (table["certified"] <= table["attacked"]).all()
    lowest = certify(model, F.cross_entropy, batch, over=["0.weight", "0.bias"], restarts=4)
    assert table["certified"].iloc[0] == lowest.certified


def test_with_one_activation_the_bounds_close_on_the_exact_margin() -> None:
    torch.manual_seed(1)
    model, batch = multilayer((5, 7, 1), nn.Tanh).eval(), (torch.randn(12, 5), torch.randn(12, 1))
    row = margins(model, F.mse_loss, batch, ["constant"]).iloc[0]
    assert row["certified"] <= row["kappa_star"] <= row["attacked"]
    assert row["attacked"] == pytest.approx(row["kappa_star"], rel=2e-3)


def test_a_tied_factor_is_inside_and_one_that_vanishes_is_never_inside(case) -> None:
    model, batch = case
    table = margins(model, F.cross_entropy, batch, ["tanh_derivative", "rectangle(width=0.1)"])
    of = table.groupby("surrogate")["standing"].agg(set)
    assert of["tanh_derivative"] == {"inside"}
    assert "inside" not in of["rectangle(width=0.1)"]


@pytest.mark.parametrize(
    ("kappas", "expected"),
    [([1.0], "inside"), ([1.5], "inside"), ([1.6, 3.0], "undecided"), ([2.0, 3.0], "outside"), ([1.7], "undecided")],
)
def test_standing(kappas: list[float], expected: str) -> None:
    assert standing(kappas, 1.5, 2.0) == expected
