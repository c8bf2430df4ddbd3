"""Realised descent: losses along lines by hand, the bound where L is known, and a model that keeps its bits."""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Callable
from pathlib import Path

import downslope as ds
import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from downslope.analysis.errors import Refused
from downslope.analysis.gradients.descent import along as module
from downslope.analysis.gradients.descent.along import along
from downslope.analysis.gradients.descent.plane import slice_of
from downslope.analysis.gradients.table import read, write
from torch import nn

Batch = tuple[torch.Tensor, torch.Tensor]


def network(*sizes: int, act: Callable[[], nn.Module] = nn.Tanh, seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    layers: list[nn.Module] = []
    for a, b in itertools.pairwise(sizes):
        layers += [nn.Linear(a, b), act()]
    return nn.Sequential(*layers[:-1]).double()


def batch(size: int = 10, inputs: int = 3, outputs: int = 2, seed: int = 1) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    pair = (torch.randn(size, k, generator=generator, dtype=torch.float64) for k in (inputs, outputs))
    return tuple(pair)


def gradient(model: nn.Module, data: Batch, surrogate: str | None, key: str = "tanh") -> list[torch.Tensor]:
    def taken() -> list[torch.Tensor]:
        return list(torch.autograd.grad(F.mse_loss(model(data[0]), data[1]), list(model.parameters())))

    if surrogate is None:
        return taken()
    with ds.untie(model, {key: surrogate}):
        return taken()


def loss_at(model: nn.Module, data: Batch, step: list[torch.Tensor], eta: float) -> float:
    moved = copy.deepcopy(model)
    with torch.no_grad():
        for parameter, part in zip(moved.parameters(), step, strict=True):
            parameter -= eta * part
        return F.mse_loss(moved(data[0]), data[1]).item()


def test_each_row_is_the_loss_there() -> None:
    model, data = network(3, 5, 4, 2), batch()
    table = along(model, F.mse_loss, data, ["constant", "triangle"], [0.5, 0.01])
    assert table.step_size[table.scale == "raw"].tolist() == [0.01, 0.5] * 3
    norm = math.sqrt(sum(float(g.square().sum()) for g in gradient(model, data, None)))
    for row in table.itertuples():
        g = gradient(model, data, None if row.surrogate == "exact" else row.surrogate)
        length = math.sqrt(sum(float(each.square().sum()) for each in g))
        assert row.loss == pytest.approx(loss_at(model, data, g, row.step_size), rel=1e-12)
        assert row.change == pytest.approx(row.loss - table.attrs["loss"], abs=1e-15)
        assert row.descends == (row.loss < table.attrs["loss"])
        assert row.distance == pytest.approx(row.step_size * length, rel=1e-12)
    scaled = table[table.scale == "normalised"]
    for _, part in scaled.groupby("surrogate"):
        assert part.distance.tolist() == pytest.approx([0.01 * norm, 0.5 * norm], rel=1e-12)


def one_weight() -> tuple[nn.Module, Batch]:
    """Quadratic in its one weight while w x > 0: L = 2 mean(x^2) for the mean of squares."""
    model = nn.Sequential(nn.Linear(1, 1, bias=False), nn.ReLU()).double()
    model[0].weight.data.fill_(2.0)
    x = torch.tensor([[1.0], [2.0], [3.0]], dtype=torch.float64)
    return model, (x, 1.9 * x)


def test_on_a_quadratic_the_bound_is_where_descent_ends() -> None:
    """THEORY `step-size`, sharp: eta = 2/L for the gradient, and 2/(L h) for a constant factor h."""
    model, data = one_weight()
    curvature = 2 * (1 + 4 + 9) / 3
    table = along(model, F.mse_loss, data, ["constant", "constant(height=4)", "constant(height=1/2)"])
    table = table.groupby("surrogate").first()
    for name, height in [("exact", 1), ("constant", 1), ("constant(height=4)", 4), ("constant(height=1/2)", 0.5)]:
        row = table.loc[name]
        assert row.smoothness == pytest.approx(curvature, rel=1e-8)
        assert row.bound == pytest.approx(2 / (curvature * height), rel=1e-8)
        assert row.largest_descending == pytest.approx(2 / (curvature * height), rel=1e-7)
        assert (row.c, row.C) == (pytest.approx(height), pytest.approx(height))


def test_the_estimate_of_l_is_the_largest_eigenvalue() -> None:
    model, data = network(3, 4, 2), batch()
    names = [name for name, _ in model.named_parameters()]
    sizes = [parameter.numel() for parameter in model.parameters()]

    def value(flat: torch.Tensor) -> torch.Tensor:
        parts = [each.view(p.shape) for each, p in zip(flat.split(sizes), model.parameters(), strict=True)]
        output = torch.func.functional_call(model, dict(zip(names, parts, strict=True)), (data[0],))
        return F.mse_loss(output, data[1])

    theta = torch.cat([parameter.detach().flatten() for parameter in model.parameters()])
    largest = torch.linalg.eigvalsh(torch.autograd.functional.hessian(value, theta)).abs().max().item()
    # A tiny segment: the Hessian is that of theta.
    table = along(model, F.mse_loss, data, "constant", [1e-9, 1e-8], iterations=60)
    assert table.smoothness.unique().tolist() == pytest.approx([largest] * 2, rel=2e-3)
    assert (table.smoothness < largest * (1 + 1e-5)).all()


SMOOTH = [(seed, name) for seed in range(4) for name in ("constant", "triangle", "gaussian")]


def worst_ratio() -> float:
    """The largest bound over largest descending step; at most 1 where L is right."""
    found = []
    for seed in range(4):
        model, data = network(3, 6, 5, 2, seed=seed), batch(seed=seed + 1)
        table = along(model, F.mse_loss, data, ["constant", "triangle", "gaussian"]).groupby("surrogate").first()
        found += (table.bound / table.largest_descending).dropna().tolist()
    assert len(found) >= 8
    return max(found)


def test_no_step_within_the_bound_climbs() -> None:
    assert worst_ratio() <= 1 + 1e-6


def test_an_l_that_is_too_small_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    right = module.smoothness
    monkeypatch.setattr(module, "smoothness", lambda *args: right(*args) / 20)
    assert worst_ratio() > 1 + 1e-6


def test_a_step_that_climbs_has_no_bound_and_no_descending_step() -> None:
    """THEORY `batch-mixing`: leaky 1/2, w = 1, x = (1, -1), y = (-1, -7/2): g = 1/2, g~ = -1; L(1.1) = 1049/160."""
    model = nn.Sequential(nn.Linear(1, 1, bias=False), nn.LeakyReLU(0.5)).double()
    model[0].weight.data.fill_(1.0)
    data = tuple(torch.tensor([[a], [b]], dtype=torch.float64) for a, b in ((1.0, -1.0), (-1.0, -3.5)))
    table = along(model, lambda o, y: ((o - y) ** 2).sum() / 2, data, "constant", [0.1])
    climbing = table[(table.surrogate == "constant") & (table.scale == "raw")].squeeze()
    assert climbing.loss == 1049 / 160
    assert climbing.inner_product == -0.5
    assert climbing.largest_descending == 0
    assert pd.isna(climbing.bound)
    assert "not positive" in climbing.bound_reason
    assert table.attrs["loss"] == 6.5


class Step(nn.Module):
    def forward(self, z: torch.Tensor) -> torch.Tensor:
        return torch.heaviside(z, z.new_zeros(()))


def test_a_step_network_has_lines_and_no_bound() -> None:
    model, data = network(3, 6, 2, act=Step), batch()
    table = along(model, F.mse_loss, data, ["constant"])
    exact = table[table.surrogate == "exact"].squeeze()
    assert exact.state == "undefined"
    assert "use reference=" in exact.reason
    lines = table[table.surrogate == "constant"]
    assert lines.bound.isna().all()
    assert lines.loss.notna().all()
    assert lines.bound_reason.str.contains("the exact gradient is undefined").all()
    g = gradient(model, data, "constant", "heaviside")
    for row in lines.iloc[::9].itertuples():
        assert row.loss == pytest.approx(loss_at(model, data, g, row.step_size), rel=1e-9)


def test_a_gradient_that_vanished_has_no_line() -> None:
    model, data = network(3, 4, 2), batch()
    zero = ds.SURROGATES["rectangle"].at(width=1e-12)
    model[2].weight.data.zero_()
    model[2].requires_grad_(False)
    table = along(model, F.mse_loss, data, [zero, "constant"])
    assert (table.state == "undefined").all()
    assert table.reason.unique().tolist() == ["the gradient is zero, so there is no step to take"]
    assert table[["loss", "bound", "largest_descending"]].isna().all(axis=None)


def test_a_loss_that_overflows_does_not_stop_the_line() -> None:
    model, (x, _) = one_weight()
    table = along(model, F.mse_loss, (x, 2.5 * x), "constant", [1e-3, 1e200])
    assert table.loss.tolist()[1] == math.inf
    assert table.descends.tolist()[:2] == [True, False]


class Normed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(5)
        self.first, self.norm, self.drop, self.last = (
            nn.Linear(3, 4),
            nn.BatchNorm1d(4),
            nn.Dropout(0.5),
            nn.Linear(4, 2),
        )
        self.frozen = nn.Linear(2, 2).requires_grad_(False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.frozen(self.last(self.drop(torch.tanh(self.norm(self.first(x))))))


@pytest.mark.filterwarnings("ignore:.*batch norm in training mode")
@pytest.mark.parametrize("function", [along, slice_of])
def test_the_model_is_left_as_it_was(function: Callable[..., pd.DataFrame]) -> None:
    model, data = Normed(), tuple(each.float() for each in batch())
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    state, random = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    versions = [parameter._version for parameter in model.parameters()]
    first = function(model, F.mse_loss, data, "full_jam")
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert [parameter._version for parameter in model.parameters()] == versions
    assert all((parameter.grad == 1).all() for parameter in model.parameters())
    assert torch.equal(torch.get_rng_state(), random)
    assert model.training
    assert model.norm.training
    pd.testing.assert_frame_equal(function(model, F.mse_loss, data, "full_jam"), first)


@pytest.mark.filterwarnings("ignore:.*batch norm in training mode")
def test_dropout_draws_the_same_at_every_step() -> None:
    model, data = Normed(), tuple(each.float() for each in batch())
    table = along(model, F.mse_loss, data, "constant", [1e-12])
    assert table.loss.tolist() == pytest.approx([table.attrs["loss"]] * 4, rel=1e-6)


def test_the_slice_is_the_plane_of_both_gradients() -> None:
    model, data = network(3, 5, 2), batch()
    table = slice_of(model, F.mse_loss, data, "constant", points=5, extent=0.2)
    assert len(table) == 25
    g, other = gradient(model, data, None), gradient(model, data, "constant")
    apart = ds.deviation(other, g)
    cos, sin = table.attrs["surrogate_direction"]
    assert (cos, sin) == (pytest.approx(apart.cosine), pytest.approx(math.sqrt(1 - apart.cosine**2)))
    length = math.sqrt(sum(float(each.square().sum()) for each in other))
    norm = math.sqrt(sum(float(each.square().sum()) for each in g))
    assert table.attrs["gradient_norm"] == pytest.approx(norm)
    for row in table.itertuples():
        a, b = row.along_gradient, row.along_surrogate
        step = [(a * x / norm + b * (y / length - cos * x / norm) / sin) for x, y in zip(g, other, strict=True)]
        assert row.loss == pytest.approx(loss_at(model, data, step, 1.0), rel=1e-12)
    # Along the surrogate's own direction the plane has the losses of its line.
    line = along(model, F.mse_loss, data, "constant", [0.1 / length])
    on_plane = slice_of(model, F.mse_loss, data, "constant", points=2, extent=0.1)
    assert on_plane.loss.notna().all()
    expected = line[(line.surrogate == "constant") & (line.scale == "raw")].loss.item()
    step = [0.1 * cos * x / norm + 0.1 * (y / length - cos * x / norm) for x, y in zip(g, other, strict=True)]
    assert loss_at(model, data, step, 1.0) == pytest.approx(expected, rel=1e-12)


def test_two_parallel_gradients_span_no_plane() -> None:
    model, data = network(3, 5, 2), batch()
    table = slice_of(model, F.mse_loss, data, "tied")
    assert len(table) == 1
    assert "parallel" in table.reason[0]
    steps = slice_of(network(3, 5, 2, act=Step), F.mse_loss, data, "constant")
    assert steps.state.tolist() == ["undefined"]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m, d: along(m, F.mse_loss, d, "constant", [0.0]), "0.0 is no step size"),
        (lambda m, d: along(m, F.mse_loss, d, "constant", []), r"steps=\[\]"),
        (lambda m, d: along(m, F.mse_loss, d, "constant", "0.1"), "'0.1' is no step size"),
        (lambda m, d: along(m, F.mse_loss, d, 7), r"along\(surrogates=7\)"),
        (lambda m, d: along(m, F.mse_loss, d, "constant", iterations=0), "iterations=0"),
        (lambda m, d: along(nn.Linear(3, 2).double(), F.mse_loss, d, "constant"), "no activation of the catalogue"),
        (lambda m, d: slice_of(m, F.mse_loss, d, "constant", points=1), "at least 2 points"),
        (lambda m, d: slice_of(m, F.mse_loss, d, "constant", extent=-1), "extent=-1"),
    ],
)
def test_bad_input(call: Callable[[nn.Module, Batch], object], message: str) -> None:
    with pytest.raises(Refused, match=message):
        call(network(3, 4, 2), batch())


def test_the_table_says_where_it_comes_from(tmp_path: Path) -> None:
    table = along(network(3, 4, 2), F.mse_loss, batch(), ["constant", "full_jam"], network="mlp", stage="end", seed=4)
    assert table.attrs["schema"] == "downslope.along/1"
    assert table.attrs["seed"] == 4
    assert not table.duplicated(["surrogate", "scale", "step_size"]).any()
    assert table.network.unique().tolist() == ["mlp"]
    assert np.isfinite(table.loss).all()
    plane = slice_of(network(3, 4, 2), F.mse_loss, batch(), "constant", points=2)
    for each in (table, plane):
        schema = each.attrs["schema"]
        again = read(write(each, tmp_path / "t.parquet", schema=schema), schema=schema)
        pd.testing.assert_frame_equal(again, each)
        assert again.attrs == each.attrs
        with pytest.raises(Refused, match="another kind of table by its name"):
            read(tmp_path / "t.parquet")


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_on_cuda_the_same() -> None:
    model, data = network(3, 5, 2), batch()
    here = along(model, F.mse_loss, data, ["constant", "triangle"], [0.01, 0.1])
    plane = slice_of(model, F.mse_loss, data, "constant", points=3, extent=0.1)
    model, data = model.cuda(), tuple(each.cuda() for each in data)
    there = along(model, F.mse_loss, data, ["constant", "triangle"], [0.01, 0.1])
    pd.testing.assert_frame_equal(there, here, rtol=1e-5)
    pd.testing.assert_frame_equal(slice_of(model, F.mse_loss, data, "constant", points=3, extent=0.1), plane, rtol=1e-9)
