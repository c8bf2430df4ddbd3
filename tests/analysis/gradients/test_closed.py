"""Closed forms beside draws: the theory's own formulas, every outcome of the noise, wide networks, and their limits."""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Callable
from pathlib import Path

import downslope as ds
import pandas as pd
import pytest
import sympy as sp
import torch
import torch.nn.functional as F
from downslope.analysis.errors import Refused
from downslope.analysis.gradients.closed import jamming as jamming_module
from downslope.analysis.gradients.closed import meanfield as meanfield_module
from downslope.analysis.gradients.closed.gaussian import overlap
from downslope.analysis.gradients.closed.jamming import jamming
from downslope.analysis.gradients.closed.meanfield import meanfield
from downslope.analysis.gradients.table import read, write
from sympy.stats import Rademacher
from torch import nn

Batch = tuple[torch.Tensor, torch.Tensor]
A = {name: each.tied for name, each in ds.ACTIVATIONS.items()}
S = ds.SURROGATES

# ------------------------------------------------------------------------------------------------------ mean field


def wide(act: type[nn.Module], depth: int = 5, width: int = 1000, seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    layers: list[nn.Module] = []
    for _ in range(depth):
        linear = nn.Linear(width, width, bias=False)
        nn.init.normal_(linear.weight, std=math.sqrt(2 / width))
        layers += [linear, act()]
    return nn.Sequential(*layers, nn.Linear(width, 1))


def one_sample(width: int = 1000) -> Batch:
    generator = torch.Generator().manual_seed(7)
    return torch.randn(1, width, generator=generator), torch.zeros(1, 1)


CHOSEN = ["constant", "triangle", "gaussian", "full_jam"]
TOLERANCE = 2.5 / math.sqrt(1000)  # of a cosine; the floor at this width is 1/sqrt(width)


def apart(act: type[nn.Module], seed: int = 0) -> float:
    """The largest distance between predicted and measured cosine over layers and surrogates."""
    table = meanfield(wide(act, seed=seed), lambda o, _: o.sum(), one_sample(), CHOSEN)
    assert (table.state == "defined").all()
    assert (table.predicted_log10_magnitude_ratio - table.log10_magnitude_ratio).abs().max() < 0.1
    return float((table.predicted_cosine - table.cosine).abs().max())


@pytest.mark.parametrize("act", [nn.Tanh, nn.ReLU])
def test_wide_networks_have_the_predicted_cosine(act: type[nn.Module]) -> None:
    assert apart(act) < TOLERANCE


def test_a_wrong_prediction_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    right = overlap
    monkeypatch.setattr(meanfield_module, "overlap", lambda d, s, q: right(d, s, 1.0 if q != 1.0 else 2.0))
    with pytest.raises(AssertionError):
        assert apart(nn.Tanh) < TOLERANCE


def test_the_product_over_the_activations_above() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 20), nn.Tanh(), nn.Linear(20, 20), nn.Sigmoid(), nn.Linear(20, 2)).double()
    x = torch.randn(5, 3, dtype=torch.float64)
    table = meanfield(model, lambda o, _: o.square().sum(), (x, x), ["triangle", "tied"], network="n")
    row = table[table.surrogate == "triangle"].set_index("layer")
    z1 = model[0](x)
    z2 = model[2](torch.tanh(z1))
    q1, q2 = (z.detach().square().mean().item() for z in (z1, z2))
    one, two = overlap(A["tanh"], S["triangle"], q1), overlap(A["logistic"], S["triangle"], q2)
    assert row.predicted_cosine[["0", "2", "4"]].tolist() == pytest.approx([one.rho * two.rho, two.rho, 1.0])
    assert row.predicted_log10_magnitude_ratio["0"] == pytest.approx(math.log10(one.ratio * two.ratio))
    assert row.mean_squared_preactivation["0"] == pytest.approx(q1)
    assert row.crossed[["0", "2", "4"]].tolist() == [2, 1, 0]
    parts = torch.autograd.grad(model(x).square().sum(), list(model.parameters()))
    squares = [float(parts[i].square().sum() + parts[i + 1].square().sum()) for i in (0, 2, 4)]
    ratios, cosines = [one.ratio * two.ratio, two.ratio, 1.0], [one.rho * two.rho, two.rho, 1.0]
    inner = sum(r * c * s for r, c, s in zip(ratios, cosines, squares, strict=True))
    long = math.sqrt(sum(r * r * s for r, s in zip(ratios, squares, strict=True)))
    assert row.predicted_cosine["whole"] == pytest.approx(inner / long / math.sqrt(sum(squares)))
    tied = table[table.surrogate == "tied"]
    assert tied.predicted_cosine.tolist() == pytest.approx([1.0] * 4)
    measured = ds.measure(model, lambda o, _: o.square().sum(), (x, x), ["triangle", "tied"])
    assert table.cosine.tolist() == measured.cosine.tolist()
    only = meanfield(model, lambda o, _: o.square().sum(), (x, x), "triangle", activations=["tanh"]).set_index("layer")
    assert only.predicted_cosine[["0", "2"]].tolist() == pytest.approx([one.rho, 1.0])


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.first, self.inner, self.last = nn.Linear(3, 4), nn.Linear(4, 4), nn.Linear(4, 1)
        self.double()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.first(x)
        return self.last(h + torch.tanh(self.inner(h)))


class Shared(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.inner, self.last = nn.Linear(3, 3), nn.Linear(3, 1)
        self.double()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(torch.tanh(self.inner(torch.tanh(self.inner(x)))))


class Steps(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.first, self.second, self.last = nn.Linear(3, 4), nn.Linear(4, 4), nn.Linear(4, 1)
        self.double()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(torch.tanh(self.second(torch.sign(self.first(x)))))


def data(size: int = 6, inputs: int = 3) -> Batch:
    generator = torch.Generator().manual_seed(size)
    pair = (torch.randn(size, k, generator=generator, dtype=torch.float64) for k in (inputs, 1))
    return tuple(pair)


def test_where_the_product_does_not_hold_it_is_undefined() -> None:
    table = meanfield(Residual(), F.mse_loss, data(), "constant").set_index("layer")
    assert "a path from it to the loss goes around" in table.reason["first"]
    assert table.state.to_dict() == {"first": "undefined", "inner": "defined", "last": "defined", "whole": "undefined"}
    assert pd.isna(table.predicted_cosine["first"])
    assert not pd.isna(table.cosine["first"])
    assert (
        "used more than once" in meanfield(Shared(), F.mse_loss, data(), "constant").set_index("layer").reason["inner"]
    )
    steps = meanfield(Steps(), F.mse_loss, data(), "constant").set_index("layer")
    assert "the exact gradient is undefined here" in steps.reason["first"]
    assert steps.state["second"] == "defined"
    frozen = Residual()
    frozen.first.requires_grad_(False)
    assert meanfield(frozen, F.mse_loss, data(), "constant").set_index("layer").state["inner"] == "defined"
    far = S["rectangle"].at(width=1e-6, centre=90)
    assert (
        "the surrogate vanishes at" in meanfield(Steps(), F.mse_loss, data(), far).set_index("layer").reason["second"]
    )


def test_convolutions_and_pooling_are_remarked_on() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(
        *(nn.Conv2d(1, 2, 3), nn.Tanh(), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(8, 4), nn.Tanh(), nn.Linear(4, 1))
    )
    table = meanfield(model, F.mse_loss, (torch.randn(5, 1, 6, 6), torch.randn(5, 1)), "constant").set_index("layer")
    assert table.remark["0"] == table.remark["whole"]
    assert "0 (Conv2d), 2 (AvgPool2d) shares weights over places or pools them" in table.remark["0"]
    assert table.remark[["4", "6"]].tolist() == ["", ""]  # below them nothing counts
    assert meanfield(mlp(3, 4, 1), F.mse_loss, data(), "constant").remark.eq("").all()


# --------------------------------------------------------------------------------------------------------- jamming

COIN = ds.Surrogate("coin", factor=(5 + 3 * Rademacher("xi")) / 4 * sp.exp(-(ds.u**2)))
"""1/2 or 2, times a bell."""


def mlp(*sizes: int, act: Callable[[], nn.Module] = nn.Tanh, seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    layers: list[nn.Module] = []
    for a, b in itertools.pairwise(sizes):
        layers += [nn.Linear(a, b), act()]
    return nn.Sequential(*layers[:-1]).double()


def every_outcome(model: nn.Sequential, batch: Batch) -> tuple[list[torch.Tensor], list[float]]:
    """Mean gradient and mean squared length of each layer under COIN, over all outcomes of its noise, by hand."""
    x, y = batch
    maps = [layer for layer in model if isinstance(layer, nn.Linear)]
    inputs, slopes = [x], []
    for layer in maps[:-1]:
        z = layer(inputs[-1]).detach()
        inputs.append(torch.tanh(z))
        slopes.append(torch.exp(-(z**2)))
    output = maps[-1](inputs[-1]).detach().requires_grad_()
    (error,) = torch.autograd.grad(F.mse_loss(output, y), output)
    sizes = [slope.numel() for slope in slopes]
    means = [torch.zeros(layer.out_features, layer.in_features + 1, dtype=torch.float64) for layer in maps]
    squares = [0.0] * len(maps)
    outcomes = list(itertools.product((0.5, 2.0), repeat=sum(sizes)))
    for outcome in outcomes:
        drawn = torch.tensor(outcome, dtype=torch.float64).split(sizes)
        signal = error
        for index in reversed(range(len(maps))):
            if index < len(maps) - 1:
                signal = (
                    (signal @ maps[index + 1].weight.detach()) * slopes[index] * drawn[index].view(slopes[index].shape)
                )
            gradient = signal.T @ torch.cat([inputs[index], torch.ones(len(x), 1, dtype=torch.float64)], 1)
            means[index] += gradient / len(outcomes)
            squares[index] += float(gradient.square().sum()) / len(outcomes)
    return means, squares


def test_second_moment_and_snr_are_those_of_every_outcome() -> None:
    """Three layers, 2 samples, 2 + 2 units: 256 outcomes."""
    model, batch = mlp(3, 2, 2, 1), data(2)
    means, squares = every_outcome(model, batch)
    table = jamming(model, F.mse_loss, batch, COIN, draws=2).set_index("layer")
    exact = torch.autograd.grad(F.mse_loss(model(batch[0]), batch[1]), list(model.parameters()))
    for index, layer in enumerate(("0", "2", "4")):
        assert table.second_moment[layer] == pytest.approx(squares[index], rel=1e-12)
        g = torch.cat([exact[2 * index], exact[2 * index + 1][:, None]], 1)
        assert table.mean_cosine[layer] == pytest.approx(ds.deviation(means[index], g).cosine, rel=1e-9)
        square = float(means[index].square().sum())
        if index < 2:
            assert table.snr[layer] == pytest.approx(square / (squares[index] - square), rel=1e-9)
    assert table.second_moment["whole"] == pytest.approx(sum(squares), rel=1e-12)
    assert (table.state == "defined").all()  # the second moment is; without noise there is no ratio
    assert table.snr_reason.drop("4").eq("").all()
    assert "no random factor acts on this layer" in table.snr_reason["4"]


def test_one_layer_by_the_theory_s_formula() -> None:
    """THEORY `jamming-moments`: E|g~|^2 = mu^2 |g1|^2 + s^2 sum r^2 |x|^2, psi ~ U(0, 1)."""
    model, (x, y) = mlp(3, 5, 1), data(6)
    first, last = model[0], model[2]
    hidden = torch.tanh(first(x))
    (error,) = torch.autograd.grad(F.mse_loss(last(hidden), y), hidden)
    r, ones = error.detach(), torch.cat([x, torch.ones(6, 1, dtype=torch.float64)], 1)
    constant = r.T @ ones
    expected = constant.square().sum() / 4 + (r.square().sum(1) * ones.square().sum(1)).sum() / 12
    table = jamming(model, F.mse_loss, (x, y), "full_jam", draws=2).set_index("layer")
    assert table.second_moment["0"] == pytest.approx(expected.item(), rel=1e-12)


def test_equal_paths_and_residual_networks() -> None:
    """THEORY `jamming-equal-paths`: mu^k; `jamming-residual`: not on residual networks."""
    chain = jamming(mlp(3, 4, 4, 1), F.mse_loss, data(), "full_jam", draws=2).set_index("layer")
    assert chain.constant_cosine.drop("whole").tolist() == pytest.approx([1.0] * 3)
    assert chain.constant_log10_ratio[["0", "2", "4"]].tolist() == pytest.approx(
        [2 * math.log10(0.5), math.log10(0.5), 0]
    )
    residual = jamming(Residual(), F.mse_loss, data(), "full_jam", draws=2).set_index("layer")
    assert residual.constant_cosine["first"] < 0.9999
    assert "a closed form on chains alone" in residual.reason["inner"]
    assert not pd.isna(residual.mean_cosine["first"])


NETWORKS = {
    "chain": lambda: mlp(3, 6, 5, 1),
    "residual": Residual,
    "shared weights": Shared,
}


def standardised(build: Callable[[], nn.Module], name: object = "full_jam") -> pd.DataFrame:
    """(drawn - closed) / standard error of each number of each layer."""
    table = jamming(build(), F.mse_loss, data(), name, draws=600, seed=2).set_index("layer")
    found = {}
    for column in ("mean_cosine", "second_moment", "snr"):
        error = table[f"{column}_drawn_standard_error"]
        found[column] = ((table[f"{column}_drawn"] - table[column]) / error).where(error > 1e-12)
    return pd.DataFrame(found)


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("name", ["full_jam", "positive_jam"])
def test_draws_agree_with_the_closed_form_within_their_error(network: str, name: str) -> None:
    found = standardised(NETWORKS[network], name)
    assert found.mean_cosine.count() >= 2
    # The mean's cosine is biased towards 0 by 1/(2 draws snr) of itself, which its error must cover here.
    assert found.mean_cosine.abs().max() < 4.5
    if network == "chain":
        assert found[["second_moment", "snr"]].count().min() >= 2
        assert found[["second_moment", "snr"]].abs().max(axis=None) < 4.5
    else:
        assert found.second_moment.isna().all()


def test_a_wrong_second_moment_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    right = jamming_module.moments

    def wrong(*args: object) -> object:
        found = right(*args)
        return type(found)(found.mean, [(own, 1.3 * value) for own, value in found.spread])

    monkeypatch.setattr(jamming_module, "moments", wrong)
    found = standardised(NETWORKS["chain"])
    assert found[["second_moment", "snr"]].abs().max(axis=None) > 4.5


def test_a_mean_of_the_wrong_factor_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    right = jamming_module._mean
    monkeypatch.setattr(jamming_module, "_mean", lambda known, _, keys, seed: right(known, S["full_jam"], keys, seed))
    table = jamming(mlp(3, 6, 5, 1), F.mse_loss, data(), "positive_jam", draws=600).set_index("layer")
    off = (table.mean_cosine_drawn - table.mean_cosine) / table.mean_cosine_drawn_standard_error
    assert off["0"] > 4.5 or off["0"] < -4.5
    assert "E g~ by the chain of its calls is not autograd's" in table.reason["0"]


def test_the_distribution_of_the_draws() -> None:
    model, batch = mlp(3, 6, 5, 1), data()
    table = jamming(model, F.mse_loss, batch, "full_jam", draws=40, seed=3).set_index("layer")
    each = ds.measure(model, F.mse_loss, batch, "full_jam", draws=40, seed=3)
    cosines = each[each.layer == "0"].cosine
    assert table.cosine_drawn["0"] == pytest.approx(cosines.mean(), rel=1e-12)
    assert table.cosine_drawn_deviation["0"] == pytest.approx(cosines.std(), rel=1e-9)
    assert table.cosine_drawn_low["0"] == pytest.approx(cosines.quantile(0.05))
    assert table.attrs["schema"] == "downslope.jamming/1"


def test_only_some_activations_jammed() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 4), nn.Sigmoid(), nn.Linear(4, 1)).double()
    table = jamming(model, F.mse_loss, data(), "full_jam", draws=400, activations=["tanh"]).set_index("layer")
    off = (table.second_moment_drawn - table.second_moment) / table.second_moment_drawn_standard_error
    assert abs(off["0"]) < 4.5
    assert (table.state["2"], table.snr_reason["2"] != "") == ("defined", True)
    assert table.second_moment["2"] == pytest.approx(table.second_moment_drawn["2"], rel=1e-12)


def test_above_a_convolution_the_moments_are_those_of_the_chain_that_is_left() -> None:
    torch.manual_seed(0)
    top = mlp(8, 5, 4, 1)
    bottom = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Tanh(), nn.AvgPool2d(2), nn.Flatten()).double()
    images, targets = torch.randn(3, 1, 6, 6).double(), torch.randn(3, 1).double()
    found = jamming(nn.Sequential(*bottom, *top), F.mse_loss, (images, targets), "full_jam", draws=2).set_index("layer")
    alone = jamming(top, F.mse_loss, (bottom(images).detach(), targets), "full_jam", draws=2).set_index("layer")
    for below, above in (("0", "4"), ("2", "6"), ("4", "8")):
        assert found.second_moment[above] == pytest.approx(alone.second_moment[below], rel=1e-12)
    assert found.snr["4"] == pytest.approx(alone.snr["0"], rel=1e-12)
    assert found.state.to_dict() == {"0": "undefined", "4": "defined", "6": "defined", "8": "defined"} | {
        "whole": "undefined"
    }
    assert "no chain of linear maps" in found.reason["0"]


def test_below_a_step_the_cosine_is_undefined_and_the_moment_is_not() -> None:
    table = jamming(Steps(), F.mse_loss, data(), "full_jam", draws=20).set_index("layer")
    assert "the exact gradient is undefined here" in table.cosine_reason["first"]
    assert pd.isna(table.mean_cosine["first"])
    assert pd.isna(table.cosine_drawn["first"])
    assert table.state["first"] == "defined"
    assert not pd.isna(table.mean_cosine["last"])


def test_what_is_too_costly_or_has_no_mean_is_undefined(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jamming_module, "LIMIT", 10.0)
    table = jamming(mlp(3, 6, 5, 1), F.mse_loss, data(), "full_jam", draws=2).set_index("layer")
    assert "multiplications here" in table.reason["0"]
    assert not pd.isna(table.mean_cosine["0"])
    monkeypatch.undo()
    odd = ds.Surrogate("odd", factor=sp.exp(sp.stats.Uniform("xi", 0, 1) * sp.sin(ds.u)))
    table = jamming(mlp(3, 6, 1), F.mse_loss, data(), odd, draws=3).set_index("layer")
    assert "no closed form is known" in table.reason["0"]
    assert "no closed form is known" in table.cosine_reason["0"]
    assert not pd.isna(table.second_moment_drawn["0"])


@pytest.mark.parametrize("function", [jamming, meanfield])
def test_what_is_written_is_read(function: Callable[..., pd.DataFrame], tmp_path: Path) -> None:
    table = function(Steps(), F.mse_loss, data(), "full_jam", draws=3)
    schema = table.attrs["schema"]
    again = read(write(table, tmp_path / "t.parquet", schema=schema), schema=schema)
    pd.testing.assert_frame_equal(again, table)
    assert again.attrs == table.attrs


@pytest.mark.filterwarnings("ignore:.*batch norm in training mode")
@pytest.mark.parametrize("function", [jamming, meanfield])
def test_the_model_is_left_as_it_was(function: Callable[..., pd.DataFrame]) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Dropout(0.5), nn.Linear(4, 1)).double()
    state, random = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    function(model, F.mse_loss, data(), "full_jam", draws=3)
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), random)
    assert not model[0]._forward_hooks


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m: jamming(m, F.mse_loss, data(), "constant"), "it is not random"),
        (lambda m: jamming(m, F.mse_loss, data(), "full_jam", draws=1), "at least 2 draws"),
        (lambda m: jamming(m, F.mse_loss, data(), 3), r"surrogate=3"),
        (lambda _: meanfield(nn.Linear(3, 1).double(), F.mse_loss, data(), "constant"), r"^meanfield\(model=...\)"),
        (lambda m: meanfield(m, F.mse_loss, data(), "constant", draws=0), r"^meanfield\(draws=0\)"),
        (lambda m: meanfield(m, F.mse_loss, data(), 3), r"meanfield\(surrogates=3\)"),
        (lambda m: meanfield(m, F.mse_loss, data(), "constant", activations=[nn.Tanh]), "names of the catalogue's"),
        (lambda m: meanfield(m, F.mse_loss, data(), "constant", activations=["tahn"]), "did you mean 'tanh'"),
        (lambda m: overlap(A["relu"], S["constant"], 0.0), "finite number above 0"),
    ],
)
def test_bad_input(call: Callable[[nn.Module], object], message: str) -> None:
    with pytest.raises(Refused, match=message):
        call(mlp(3, 4, 1))


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_on_cuda_the_same() -> None:
    model, batch = mlp(3, 6, 5, 1), data()
    closed = ["mean_cosine", "second_moment", "snr", "constant_cosine"]
    here = jamming(model, F.mse_loss, batch, "full_jam", draws=4)[closed]
    field = meanfield(model, F.mse_loss, batch, ["triangle", "constant"])
    model, batch = model.cuda(), tuple(each.cuda() for each in batch)
    pd.testing.assert_frame_equal(jamming(model, F.mse_loss, batch, "full_jam", draws=4)[closed], here, rtol=1e-9)
    pd.testing.assert_frame_equal(meanfield(model, F.mse_loss, batch, ["triangle", "constant"]), field, rtol=1e-9)
