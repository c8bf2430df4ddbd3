"""The margins' study: its bounds against the exact margin where both exist, and the spreads of surrogates."""

from __future__ import annotations

import copy

import downslope as ds
import pytest
import torch
from downslope.analysis.gradients.margin.certificate.certificate import certify
from downslope.analysis.gradients.margin.descent import descent_margin
from downslope.experiments.networks.perceptrons import multilayer
from downslope.experiments.studies.margins import margins
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


def test_every_number_is_for_the_parameters_of_one_layer(case) -> None:
    """So that the bounds and the exact margin can be compared: nowhere is kappa* below what is certified for more."""
    model, batch = case
    table = margins(model, F.cross_entropy, batch, ["constant"])
    assert (table["certified"] <= table["kappa_star"]).all()
    highest = table.iloc[-1]
    assert highest["layer"] == "2"
    # No activation follows: one alone replaced is all replaced.
    assert highest["certified"] <= highest["kappa_star"] <= highest["attacked"]
    assert highest["attacked"] == pytest.approx(highest["kappa_star"], rel=2e-3)
    # Of the gradient of all parameters at and below the place it is another number.
    whole = list(descent_margin(model, F.cross_entropy, batch))[1].kappa_star
    assert not highest["certified"] * 0.98 <= whole <= highest["attacked"] * 1.02


def test_the_exact_margin_is_where_the_layers_own_gradient_turns(case) -> None:
    """A real backward with the witness's factors on the lowest activation: <g, g~> over its own layer is zero."""
    model, (x, y) = case
    precise, x = copy.deepcopy(model).double(), x.double()
    star = margins(model, F.cross_entropy, (x, y), ["constant"])["kappa_star"].iloc[0]
    z1 = precise[0](x).detach().requires_grad_()
    loss = F.cross_entropy(precise[1:](z1), y)
    (error,) = torch.autograd.grad(loss, z1)  # upstream gradient times tanh'
    inputs = torch.cat([x, torch.ones(len(x), 1).double()], dim=1)
    gradient = error.T @ inputs
    contributions = error * (inputs @ gradient.T)
    factors = torch.ones_like(contributions).masked_fill_(contributions < 0, star)
    assert float(((factors * error).T @ inputs * gradient).sum() / gradient.square().sum()) == pytest.approx(
        0, abs=1e-9
    )


def test_with_one_activation_the_bounds_close_on_the_exact_margin() -> None:
    torch.manual_seed(1)
    model, batch = multilayer((5, 7, 1), nn.Tanh).eval(), (torch.randn(12, 5), torch.randn(12, 1))
    row = margins(model, F.mse_loss, batch, ["constant"]).iloc[0]
    assert row["certified"] <= row["kappa_star"] <= row["attacked"]
    assert row["attacked"] == pytest.approx(row["kappa_star"], rel=2e-3)


def test_a_spread_is_of_its_place_and_its_range_of_that_and_all_later_ones(case) -> None:
    model, batch = case
    table = margins(model, F.cross_entropy, batch, ["triangle", "full_jam"], seed=3)
    places = list(descent_margin(copy.deepcopy(model).double(), F.cross_entropy, (batch[0].double(), batch[1])))
    for name in ("triangle", "full_jam"):
        rows = table[table["surrogate"] == name]
        own = [place.spread(ds.SURROGATES[name], torch.Generator().manual_seed(3)).kappa for place in places]
        assert own[0] != own[1]
        assert rows["kappa"].tolist() == own
        assert rows["least_kappa"].tolist() == [min(own), own[1]]
        assert rows["most_kappa"].tolist() == [max(own), own[1]]


def test_the_model_keeps_its_dtype_its_parameters_and_what_they_require(case) -> None:
    model, batch = case
    model[2].bias.requires_grad_(False)
    before = {name: (p.clone(), p.dtype, p.requires_grad) for name, p in model.named_parameters()}
    try:
        margins(model, F.cross_entropy, batch, ["constant"])
        for name, parameter in model.named_parameters():
            value, dtype, required = before[name]
            assert torch.equal(parameter, value)
            assert (parameter.dtype, parameter.requires_grad, parameter.grad) == (dtype, required, None)
    finally:
        model[2].bias.requires_grad_(True)


def test_a_tied_factor_spreads_by_one_and_one_that_vanishes_without_end(case) -> None:
    model, batch = case
    table = margins(model, F.cross_entropy, batch, ["tanh_derivative", "rectangle(width=0.1)"])
    of = table.groupby("surrogate")
    assert of["most_kappa"].max()["tanh_derivative"] == pytest.approx(1, abs=1e-9)
    assert of["kappa"].min()["rectangle(width=0.1)"] == float("inf")


def test_a_row_says_its_run_and_how_many_samples(case) -> None:
    model, batch = case
    table = margins(model, F.cross_entropy, batch, ["constant"], seed=5)
    assert (set(table["seed"]), set(table["samples"])) == ({5}, {8})
