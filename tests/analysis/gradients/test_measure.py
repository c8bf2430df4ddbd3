"""The tidy table: values against a gradient taken by hand, coordinates, states, and a model left as it was."""

from __future__ import annotations

import copy

import downslope as ds
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from downslope.analysis.errors import Refused
from torch import nn

COORDINATES = [
    *("network", "activation", "surrogate", "reference", "layer", "depth", "stage", "step", "seed", "sample", "draw"),
]


@pytest.fixture
def model() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 6), nn.Sigmoid(), nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 3))


@pytest.fixture
def batch() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(16, 4, generator=generator), torch.randint(3, (16,), generator=generator)


Batch = tuple[torch.Tensor, torch.Tensor]


def gradients(model: nn.Module, batch: Batch) -> list[torch.Tensor]:
    return list(torch.autograd.grad(F.cross_entropy(model(batch[0]), batch[1]), list(model.parameters())))


class NoChain(nn.Sequential):
    """The same model, whose type says nothing of its forward."""


@pytest.mark.parametrize("way", ["chain", "replay"])
def test_each_row_is_the_deviation_of_that_layer(model: nn.Sequential, batch: Batch, way: str) -> None:
    model = model if way == "chain" else NoChain(*model)
    table = ds.measure(model, F.cross_entropy, batch, ["constant", "triangle"])
    assert table.attrs["way"] == way
    exact = gradients(model, batch)
    for name in ("constant", "triangle"):
        with ds.untie(model, {"logistic": name, "tanh": name}):
            found = gradients(model, batch)
        for rank, (layer, depth) in enumerate([("0", 1), ("2", 2), ("4", 3), ("whole", 0)]):
            parts = slice(None) if layer == "whole" else slice(2 * rank, 2 * rank + 2)
            expected = ds.deviation(found[parts], exact[parts])
            row = table[(table.surrogate == name) & (table.layer == layer)].squeeze()
            assert row.depth == depth
            for column in ("cosine", "angle_degrees", "log10_magnitude_ratio", "directional_derivative"):
                right = getattr(expected, column)
                assert row[column] == (right if way == "replay" else pytest.approx(right, rel=1e-6, abs=1e-9))
            for column in ("kept", "flipped", "sign_agreement", "nonzero_fraction"):
                assert row[column] == getattr(expected, column)
            assert (row.state, row.reason) == ("defined", "")


def test_the_layer_nearest_the_loss_is_exact(model: nn.Sequential, batch: Batch) -> None:
    table = ds.measure(model, F.cross_entropy, batch, ["constant", "gaussian", "full_jam"])
    assert (table[table.layer == "4"].angle_degrees == 0).all()
    assert (table[table.layer == "0"].angle_degrees > 0).all()


def test_coordinates_and_columns(model: nn.Sequential, batch: Batch) -> None:
    table = ds.measure(
        model,
        F.cross_entropy,
        batch,
        ["tied", "triangle(width=2)", ds.SURROGATES["full_jam"]],
        draws=3,
        seed=5,
        network="mlp",
        stage="end",
        step=100,
    )
    assert list(table.columns[: len(COORDINATES)]) == COORDINATES
    assert not table.duplicated(COORDINATES).any()
    assert table.groupby("surrogate", sort=False).size().to_dict() == {
        "tied": 4,
        "triangle(width=2)": 4,
        "full_jam": 12,
    }
    assert set(table[table.surrogate == "full_jam"].draw) == {0, 1, 2}
    for column, value in {
        "network": "mlp",
        "activation": "logistic+tanh",
        "reference": "exact",
        "stage": "end",
        "step": 100,
        "seed": 5,
        "sample": "batch",
    }.items():
        assert table[column].unique().tolist() == [value]
    assert table.attrs["seed"] == 5
    assert table.attrs["training"] is True
    assert table.attrs["loss"] == F.cross_entropy(model(batch[0]), batch[1]).item()
    assert table[table.surrogate == "tied"].angle_degrees.max() < 1e-3


def test_the_same_seed_gives_the_same_table(model: nn.Sequential, batch: Batch) -> None:
    def run(seed: int) -> pd.DataFrame:
        return ds.measure(model, F.cross_entropy, batch, "full_jam", draws=2, seed=seed).drop(columns="seed")

    pd.testing.assert_frame_equal(run(0), run(0))
    assert not run(0).equals(run(1))


def test_only_the_activations_asked_for(model: nn.Sequential, batch: Batch) -> None:
    table = ds.measure(model, F.cross_entropy, batch, "constant", activations=["tanh"])
    assert table.activation.unique().tolist() == ["tanh"]
    with ds.untie(model, {"tanh": "constant"}):
        found = gradients(model, batch)
    right = ds.deviation(found, gradients(model, batch)).angle_degrees
    assert table.iloc[-1].angle_degrees == pytest.approx(right, rel=1e-6)


class Everything(nn.Module):
    """Layers out of order, one never run, one frozen, one shared, batch norm, dropout, several inputs."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.late, self.early, self.unused = nn.Linear(4, 2), nn.Linear(3, 4), nn.Linear(2, 2)
        self.frozen = nn.Linear(4, 4).requires_grad_(False)
        self.norm, self.dropout = nn.BatchNorm1d(4), nn.Dropout(0.5)
        self.shared = nn.Linear(4, 4, bias=False)
        self.shared.weight = self.frozen.weight
        self.embedding = nn.Embedding(5, 4)

    def forward(self, x: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
        h = torch.relu(self.norm(self.early(x)) + self.embedding(index))
        return self.late(self.dropout(F.silu(self.shared(self.frozen(h)))))


@pytest.fixture
def inputs() -> tuple[tuple[torch.Tensor, torch.Tensor], torch.Tensor]:
    return (torch.randn(8, 3), torch.randint(5, (8,))), torch.randn(8, 2)


@pytest.mark.filterwarnings("ignore:.*batch norm in training mode")
def test_layers_in_the_order_of_the_forward(inputs: object) -> None:
    table = ds.measure(Everything(), F.mse_loss, inputs, "constant").set_index("layer")
    assert table.depth.to_dict() == {
        "early": 1,
        "norm": 2,
        "embedding": 3,
        "frozen": 4,
        "late": 5,
        "unused": 6,
        "whole": 0,
    }
    assert table.reason[table.state == "undefined"].to_dict() == {
        "frozen": "the layer is frozen: no parameter of it requires a gradient",
        "unused": "the layer is unused: the loss does not depend on its parameters",
    }
    assert table.activation.unique().tolist() == ["relu+silu"]
    assert table.loc[["frozen", "unused"], ["cosine", "kept"]].isna().all(axis=None)
    (x, index), y = inputs
    named = ds.measure(Everything(), F.mse_loss, ({"x": x, "index": index}, y), "constant").set_index("layer")
    pd.testing.assert_frame_equal(named, table)


@pytest.mark.filterwarnings("ignore:.*batch norm in training mode")
def test_the_model_is_left_as_it_was(inputs: object) -> None:
    model = Everything()
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    state, random = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    versions = [parameter._version for parameter in model.parameters()]
    ds.measure(model, F.mse_loss, inputs, ["constant", "full_jam"], draws=2)
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert [parameter._version for parameter in model.parameters()] == versions
    assert all((parameter.grad == 1).all() for parameter in model.parameters())
    assert torch.equal(torch.get_rng_state(), random)
    assert model.training
    assert torch.is_grad_enabled()
    with torch.no_grad():
        assert len(ds.measure(model.eval(), F.mse_loss, inputs, "constant")) == 7
    assert not model.training


def test_the_model_is_left_as_it_was_after_a_failure(inputs: object) -> None:
    model = Everything()
    before = model.norm.running_mean.clone()
    with pytest.raises(Refused):
        ds.measure(model, lambda output, y: output, inputs, "constant")
    assert torch.equal(model.norm.running_mean, before)


@pytest.mark.filterwarnings("ignore:.*batch norm in training mode")
def test_dropout_is_the_same_for_the_reference_and_the_surrogates(inputs: object) -> None:
    table = ds.measure(Everything(), F.mse_loss, inputs, "tied")
    assert table.angle_degrees.max() < 1e-3


@pytest.mark.parametrize("step", [torch.sign, lambda z: torch.heaviside(z, z.new_zeros(())), torch.round])
def test_a_reference_that_is_zero_is_undefined(step: object) -> None:
    class Binary(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.last = nn.Linear(3, 8), nn.Linear(8, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.last(step(5 * self.first(x)))

    torch.manual_seed(0)
    table = ds.measure(Binary(), F.mse_loss, (torch.randn(6, 3), torch.randn(6, 1)), ["constant", "tied"])
    table = table.set_index(["surrogate", "layer"])
    name, instead = ("round", "'finite-difference'") if step is torch.round else ("", "'smoothed', 'expected' or")
    for layer in ("first", "whole"):
        reason = table.loc[("constant", layer), "reason"]
        assert "the exact gradient is undefined here: the loss is flat through the model's" in reason
        assert name in reason
        assert f"use reference={instead}" in reason
    assert table.loc[("constant", "first"), "appeared"] > 0
    assert table.loc[("tied", "first"), "both_zero"] == 32
    assert table.loc[("constant", "last"), "angle_degrees"] == 0
    assert pd.isna(table.loc[("constant", "first"), "angle_degrees"])


@pytest.mark.filterwarnings("ignore:.*these keep")
def test_what_is_out_of_reach_stands_in_the_provenance() -> None:
    class Mixed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.recurrent, self.last = nn.GRU(3, 4), nn.Linear(4, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.last(torch.tanh(self.recurrent(x)[0]))

    table = ds.measure(Mixed(), F.mse_loss, (torch.randn(5, 3), torch.randn(5, 1)), "constant")
    assert "tanh in recurrent: inside the fused kernel of nn.GRU" in table.attrs["unreached"]


def nan(tensor: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        tensor.view(-1)[0] = float("nan")
    return tensor


X, Y = torch.randn(8, 4), torch.randint(3, (8,))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"loss": lambda output, y: output}, r"returned a tensor of shape \(8, 3\)"),
        ({"loss": lambda output, y: 0.0}, "returned float"),
        ({"loss": lambda output, y: output.sum() * float("inf")}, "the loss is -?inf"),
        ({"loss": lambda output, y: output.detach().sum()}, "does not depend on any trained parameter"),
        ({"batch": (nan(X.clone()), Y)}, "batch=...\\): x has 1 entries of 32 that are NaN"),
        ({"batch": (X[:0], Y[:0])}, "there is no sample in it"),
        ({"batch": X}, "is no pair"),
        ({"surrogates": []}, "name at least one surrogate"),
        ({"surrogates": ["constant", "ste"]}, "constant is given twice"),
        ({"surrogates": ["cnstant"]}, "did you mean 'constant'"),
        ({"draws": 0}, "at least one draw"),
        ({"draws": 2.0}, r"draws=2\.0"),
        ({"seed": "0"}, "a seed is a whole number"),
        ({"surrogates": 3}, r"measure\(surrogates=3\): a int is neither a surrogate nor a list of them"),
        ({"surrogates": [3]}, "surrogate=3 is a int"),
        ({"surrogates": None}, r"surrogates=None"),
        ({"reference": "smothed"}, "did you mean 'smoothed'"),
        ({"reference": "smoothed"}, "no Heaviside or sign unit.*reference='exact'"),
        ({"model": None}, "a NoneType is no torch.nn.Module"),
        ({"loss": "mse"}, "a str cannot be called"),
        ({"activations": ["gelu"]}, "called none of 'gelu'"),
        ({"model": nn.Sequential(nn.Linear(4, 3))}, "no activation of the catalogue"),
        ({"model": nn.Sequential(nn.Flatten(), nn.ReLU())}, "no parameter of the model requires a gradient"),
    ],
)
def test_bad_input(model: nn.Sequential, change: dict[str, object], message: str) -> None:
    given = {"model": model, "loss": F.cross_entropy, "batch": (X, Y), "surrogates": "constant"} | change
    with pytest.raises(Refused, match=message):
        ds.measure(**given)


def test_a_weight_or_buffer_that_is_not_finite_is_named(model: nn.Sequential) -> None:
    nan(model[2].weight)
    with pytest.raises(Refused, match=r"the parameter 2\.weight has 1 entries of 30"):
        ds.measure(model, F.cross_entropy, (X, Y), "constant")
    normed = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.ReLU())
    nan(normed[1].running_var)
    with pytest.raises(Refused, match=r"the buffer 1\.running_var"):
        ds.measure(normed, F.cross_entropy, (X, Y), "constant")


def test_a_forward_with_a_state_of_its_own_is_refused() -> None:
    class Counts(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear, self.calls = nn.Linear(4, 3), 0

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.calls += 1
            return torch.relu(self.linear(x)) * self.calls

    with pytest.raises(Refused, match="two runs of one forward gave the losses"):
        ds.measure(Counts(), F.cross_entropy, (X, Y), "constant")


def test_inside_an_open_block_the_exact_gradient_is_not_to_be_had(model: nn.Sequential, batch: Batch) -> None:
    with ds.untie(model, {"tanh": "constant"}):
        with pytest.raises(Refused, match="inside an open `with untie"):
            ds.measure(model, F.cross_entropy, batch, "triangle")
        model(batch[0])
        assert len(ds.measure(copy.deepcopy(model), F.cross_entropy, batch, "triangle")) == 4
    assert len(ds.measure(model, F.cross_entropy, batch, "triangle")) == 4


def test_rows_for_each_sample_follow_those_of_the_batch(model: nn.Sequential, batch: Batch) -> None:
    chosen = ["constant", "full_jam"]
    alone = ds.measure(model, F.cross_entropy, batch, chosen, draws=2, seed=3)
    table = ds.measure(model, F.cross_entropy, batch, chosen, draws=2, seed=3, samples=True)
    assert list(table.columns) == list(alone.columns)
    assert not table.duplicated(COORDINATES).any()
    pd.testing.assert_frame_equal(table[: len(alone)], alone)
    each = table[len(alone) :]
    assert set(each["sample"]) == {str(index) for index in range(16)}
    row = each[(each["sample"] == "5") & (each.layer == "0") & (each.surrogate == "constant")].squeeze()
    one = batch[0][5:6], batch[1][5:6]
    single = ds.measure(model, F.cross_entropy, one, "constant").set_index("layer")
    assert row.cosine == pytest.approx(single.cosine["0"], abs=1e-5)
    with pytest.raises(Refused, match="single samples are compared with the exact gradient alone"):
        ds.measure(model, F.cross_entropy, batch, chosen, samples=True, reference="finite-difference")


def test_inference_mode_is_named() -> None:
    batch = torch.randn(5, 3), torch.randn(5, 1)
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1))
    with pytest.raises(Refused, match=r"inside of torch\.inference_mode\(\)"), torch.inference_mode():
        ds.measure(model, F.mse_loss, batch, "constant")
    with torch.inference_mode():
        held = copy.deepcopy(model)
    with pytest.raises(Refused, match=r"the parameter 0\.weight was made inside of torch\.inference_mode"):
        ds.measure(held, F.mse_loss, batch, "constant")
