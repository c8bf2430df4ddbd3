"""What a table says of the model beside its numbers: its mode, and the activations inside of fused modules."""

from __future__ import annotations

import linecache
import warnings
from collections.abc import Callable
from typing import Any

import downslope as ds
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from downslope.analysis.gradients.measuring.remarks import ModeWarning, OwnBackwardWarning
from downslope.analysis.gradients.untie.reach import UnreachedWarning
from torch import nn

X, Y = torch.randn(6, 3, generator=torch.Generator().manual_seed(0)), torch.arange(6) % 2
CALLS: dict[str, Callable[[nn.Module], pd.DataFrame]] = {
    "measure": lambda model: ds.measure(model, F.cross_entropy, (X, Y), "constant"),
    "along": lambda model: ds.along(model, F.cross_entropy, (X, Y), "constant", [0.1], iterations=1),
    "jamming": lambda model: ds.jamming(model, F.cross_entropy, (X, Y), "full_jam", draws=2),
    "meanfield": lambda model: ds.meanfield(model, F.cross_entropy, (X, Y), "constant"),
}


def normed() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Tanh(), nn.Linear(4, 2)).eval()


class Recurrent(nn.Module):
    """An LSTM, whose gates no call shows, below a ReLU that one does."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.gates, self.last = nn.LSTM(3, 4), nn.Linear(4, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(torch.relu(self.gates(x)[0]))


@pytest.mark.parametrize("name", CALLS)
def test_batch_norm_in_training_mode_is_said_and_warned_of(name: str) -> None:
    model = normed()
    model[1].train()  # the model itself is in evaluation mode: its own flag would hide this
    with pytest.warns(ModeWarning, match=r"batch norm in training mode \(1\).*Call model.eval"):
        attrs = CALLS[name](model).attrs
    assert attrs["training"] is True
    assert [remark.split(":")[0] for remark in attrs["remarks"]] == ["batch norm in training mode (1)"]


def during(model: nn.Module) -> pd.DataFrame:
    with ds.Measuring(model, F.cross_entropy, (X, Y), "constant", at=[0]) as observed:
        pass
    return observed.table


@pytest.mark.parametrize("name", [*CALLS, "Measuring"])
@pytest.mark.parametrize(("model", "category"), [(normed().train(), ModeWarning), (Recurrent(), UnreachedWarning)])
def test_a_warning_names_the_function_called_and_points_at_the_call(
    name: str, model: nn.Module, category: type[Warning]
) -> None:
    with pytest.warns(category) as caught:
        (CALLS | {"Measuring": during})[name](model)
    (each,) = (warning for warning in caught if warning.category is category)
    assert each.filename == __file__
    called = linecache.getline(__file__, each.lineno)
    assert f"ds.{name}(" in called
    assert str(each.message).startswith("measure: " if name == "Measuring" else f"{name}: ")


@pytest.mark.parametrize("name", CALLS)
def test_nothing_is_said_where_nothing_changes(name: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        quiet = CALLS[name](normed()).attrs
        fresh = CALLS[name](nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))).attrs
    assert (quiet["training"], quiet["remarks"]) == (False, [])
    assert (fresh["training"], fresh["remarks"]) == (True, [])


def test_dropout_is_a_remark() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Dropout(0.5), nn.Linear(4, 2))
    (remark,) = CALLS["measure"](model).attrs["remarks"]
    assert remark.startswith("dropout in training mode (2)")


def test_the_steps_of_a_training_say_it_too() -> None:
    with (
        pytest.warns(ModeWarning),
        ds.Measuring(normed().train(), F.cross_entropy, (X, Y), "constant", at=[0]) as observed,
    ):
        pass
    assert observed.table.attrs["remarks"][0].startswith("batch norm in training mode (1)")


@pytest.mark.parametrize("name", ["measure", "along", "jamming", "meanfield"])
def test_gates_that_no_call_shows_are_named_although_nobody_asked_for_them(name: str) -> None:
    with pytest.warns(UnreachedWarning, match=r"logistic in gates: .*nn\.LSTM; tanh in gates"):
        attrs = CALLS[name](Recurrent()).attrs
    assert [each.split(":")[0] for each in attrs["unreached"]] == ["logistic in gates", "tanh in gates"]


def test_only_the_activations_that_are_meant_are_missed() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        table = ds.measure(Recurrent(), F.cross_entropy, (X, Y), "constant", activations=["relu"])
    assert table.attrs["unreached"] == []


class Sharp(torch.autograd.Function):
    """A step with the backward of a fast sigmoid, as spiking libraries write it."""

    @staticmethod
    def forward(ctx: Any, u: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(u)
        return (u > 0).to(u.dtype)

    @staticmethod
    def backward(ctx: Any, upstream: torch.Tensor) -> torch.Tensor:
        return upstream / (1 + ctx.saved_tensors[0].abs()) ** 2


class Spike(nn.Module):
    def forward(self, u: torch.Tensor) -> torch.Tensor:
        return Sharp.apply(u)


@pytest.mark.parametrize("name", ["measure", "along", "jamming"])
def test_a_backward_of_the_users_own_is_not_called_exact_in_silence(name: str) -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 4), Spike(), nn.Linear(4, 2))
    with pytest.warns(OwnBackwardWarning, match=f"{name}: Sharp: an autograd.Function"):
        table = CALLS[name](model)
    assert any(remark.startswith("Sharp: an autograd.Function") for remark in table.attrs["remarks"])


def test_backwards_of_torch_and_of_ours_are_no_ones_own() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))
        assert ds.measure(model, F.cross_entropy, (X, Y), "constant").attrs["remarks"] == []
