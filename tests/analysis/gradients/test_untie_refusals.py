"""What cannot be done is refused with a reason; what cannot be reached is named."""

from __future__ import annotations

import re

import downslope as ds
import pytest
import torch
import torch.nn.functional as F
from downslope.analysis.errors import Refused
from downslope.analysis.gradients.untie.reach import UnreachedWarning, nodes
from torch import nn


def model_with(*modules: nn.Module) -> nn.Sequential:
    return nn.Sequential(nn.Linear(3, 4), *modules, nn.Linear(4, 1))


X = torch.randn(5, 3)


@pytest.mark.parametrize(
    ("mapping", "message"),
    [
        ({"rellu": "constant"}, "activation 'rellu' is not in the catalogue; did you mean 'relu'"),
        ({"relu": "constnat"}, "surrogate 'constnat' is not in the catalogue; did you mean 'constant'"),
        ({"relu": "triangle(height=2, widht=1)"}, "widht"),
        ({"relu": 1.0}, "surrogate=1.0 is a float"),
        ({3: "constant"}, "activation=3 is a int"),
        ({}, "non-empty mapping"),
        (["relu"], "non-empty mapping"),
        ({"relu": []}, "the list of surrogates for 'relu' is empty"),
        ({"relu": ["constant", "triangle"], "tanh": ["constant"] * 3}, "different lengths (relu: 2, tanh: 3)"),
        ({"relu": "constant", ds.ACTIVATIONS["relu"]: "triangle"}, "two keys of the mapping are the activation 'relu'"),
        ({"identity": "constant"}, "no torch operation computes 'identity'"),
        ({"leaky_relu(slope=0.5)": "constant"}, "Write 'leaky_relu'"),
        ({nn.ReLU: "tied"}, "ReLU has no formula"),
    ],
)
def test_the_mapping(mapping: object, message: str) -> None:
    with pytest.raises(Refused, match=re.escape(message)):
        ds.untie(model_with(nn.ReLU()), mapping)


@pytest.mark.parametrize(("model", "generator"), [(3, None), (nn.ReLU(), 0)])
def test_the_other_arguments(model: object, generator: object) -> None:
    with pytest.raises(Refused, match=r"untie\((model|generator)=[30]"):
        ds.untie(model, {"relu": "constant"}, generator)


def test_nothing_replaced_says_what_ran() -> None:
    model = model_with(nn.GELU(), nn.Tanh(), nn.Tanh())
    with pytest.raises(Refused) as refused, ds.untie(model, {"relu": "constant"}):
        model(X)
    assert "called none of 'relu'. It called 'tanh' (2 times), 'gelu' (1 times): use these as keys." in str(
        refused.value
    )
    with pytest.raises(Refused, match="called none of 'relu'"):
        ds.untie(model, {"relu": "constant"})(X)


def test_nothing_replaced_names_custom_functions() -> None:
    class Spike(torch.autograd.Function):
        @staticmethod
        def forward(ctx, u):
            return (u > 0).to(u.dtype)

        @staticmethod
        def backward(ctx, g):
            return g

    class Neuron(nn.Module):
        def forward(self, u: torch.Tensor) -> torch.Tensor:
            return Spike.apply(u)

    model = model_with(Neuron())
    with (
        pytest.raises(Refused, match=r"\(Spike\): key the module class that calls one"),
        ds.untie(model, {"sign": "tied"}),
    ):
        model(X)
    with ds.untie(model, {Neuron: "triangle"}):
        model(X).sum().backward()


def test_a_key_that_matches_nothing_is_refused_at_the_end() -> None:
    model = model_with(nn.ReLU())
    with pytest.raises(Refused, match="'tanh' and 'gelu' matched nothing"):  # noqa: SIM117
        with ds.untie(model, {"relu": "constant", "tanh": "constant", "gelu": "constant"}):
            model(X)
    with pytest.raises(Refused, match="'tanh' matched nothing"):
        ds.untie(model, {"relu": "constant", "tanh": "constant"})(X)


def test_a_model_that_never_runs_is_refused() -> None:
    model, copy = model_with(nn.ReLU()), model_with(nn.ReLU())
    with pytest.raises(Refused, match="never ran"), ds.untie(model, {"relu": "constant"}):
        copy(X)


def test_an_exception_of_the_users_is_not_replaced_by_ours() -> None:
    with pytest.raises(ZeroDivisionError), ds.untie(model_with(nn.ReLU()), {"tanh": "constant"}):
        raise ZeroDivisionError


def test_a_block_opens_once() -> None:
    untied = ds.untie(model_with(nn.ReLU()), {"relu": "constant"})
    with pytest.raises(Refused, match="open already"), untied, untied:
        pass


def test_a_function_that_is_not_python_runs_as_a_call_alone() -> None:
    untied = ds.untie(torch.relu, {"relu": "constant"})
    with pytest.raises(Refused, match="Call the untied object"), untied:
        pass
    z = torch.tensor([-1.0, 1.0], requires_grad=True)
    untied(z).sum().backward()
    assert z.grad.tolist() == [1, 1]


class After(nn.Module):
    """A part that may hide an activation, and then a tanh, a sigmoid and a relu in the open."""

    def __init__(self, part: nn.Module) -> None:
        super().__init__()
        self.part = part

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.part(x)
        h = h[0] if isinstance(h, tuple) else h
        return F.relu(torch.sigmoid(torch.tanh(h)))


@pytest.mark.parametrize(
    ("part", "activation", "reason"),
    [
        (nn.LSTM(3, 4), "tanh", "inside the fused kernel of nn.LSTM"),
        (nn.LSTM(3, 4), "logistic", "inside the fused kernel of nn.LSTM"),
        (nn.GRU(3, 4), "logistic", "inside the fused kernel of nn.GRU"),
        (nn.RNN(3, 4, nonlinearity="relu"), "relu", "inside the fused kernel of nn.RNN"),
        (nn.LSTMCell(3, 4), "tanh", "inside the fused kernel of nn.LSTMCell"),
        (nn.Tanhshrink(), "tanh", "1 native TanhBackward0 on its graph"),
    ],
)
def test_what_is_out_of_reach_is_named(part: nn.Module, activation: str, reason: str) -> None:
    model = After(part)
    x = X.clone().requires_grad_()
    with pytest.warns(UnreachedWarning, match=reason), ds.untie(model, {activation: "constant"}) as untied:
        model(x)
    assert any(each.activation == activation and reason in each.reason for each in untied.unreached)
    assert f"unreached: {activation} in" in str(untied)


@pytest.mark.parametrize(
    ("part", "activation"),
    [
        (nn.RNN(3, 4), "relu"),
        (nn.RNN(3, 4, nonlinearity="relu"), "tanh"),
        (nn.LSTM(3, 4), "relu"),
        (nn.GRU(3, 4), "relu"),
    ],
)
def test_what_was_not_asked_for_is_not_named(part: nn.Module, activation: str) -> None:
    model = After(part)
    with ds.untie(model, {activation: "constant"}) as untied:
        model(X)
    assert untied.unreached == ()


def test_an_unreachable_activation_alone_is_a_refusal() -> None:
    model = nn.LSTM(3, 4)
    with pytest.raises(Refused, match=r"Not reached: tanh in the model: inside the fused kernel of nn\.LSTM"):
        ds.untie(model, {"tanh": "constant"})(X)


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_torch_script_is_named() -> None:
    scripted = torch.jit.script(nn.Sequential(nn.Linear(3, 4), nn.ReLU()))
    model = After(scripted)
    with pytest.warns(UnreachedWarning, match="relu in part: TorchScript"), ds.untie(model, {"relu": "constant"}):
        model(X)
    with pytest.raises(Refused, match="TorchScript"):
        ds.untie(scripted, {"relu": "constant"})(X)
    traced = torch.jit.trace(nn.Sequential(nn.Linear(3, 4), nn.ReLU()), X)
    with pytest.raises(Refused, match="TorchScript"):
        ds.untie(traced, {"relu": "constant"})(X)

    @torch.jit.script
    def function(z):
        return torch.relu(z) * 2

    class Calls(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.relu(function(x))

    called, z = Calls(), X.clone().requires_grad_()
    for _ in range(3):  # the first runs are profiled, the later ones optimised
        with pytest.warns(UnreachedWarning, match="relu in the model"), ds.untie(called, {"relu": "constant"}):
            called(z)


def test_a_call_that_is_another_function_is_named() -> None:
    class Mixed(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.round(torch.round(x, decimals=1)) + F.softplus(F.softplus(x), threshold=3)

    model, x = Mixed(), X.clone().requires_grad_()
    with pytest.warns(UnreachedWarning), ds.untie(model, {"round": "constant", "softplus": "constant"}) as untied:
        model(x)
    assert [(each.activation, "make it another function" in each.reason) for each in untied.unreached] == [
        ("round", True),
        ("softplus", True),
    ]


def test_complex_numbers_are_named() -> None:
    class Complex(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.tanh(torch.complex(x, x)).abs() + torch.tanh(x)

    model = Complex()
    with pytest.warns(UnreachedWarning, match="complex64"), ds.untie(model, {"tanh": "constant"}):
        model(X)


def test_a_call_that_torch_refuses_is_left_to_torch() -> None:
    class Wrong(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.relu()

    model = Wrong()
    with pytest.raises(TypeError, match="relu"), ds.untie(model, {"relu": "constant"}):
        model(X)


def test_an_older_part_of_the_graph_is_not_the_models() -> None:
    model = nn.Sequential(nn.Tanh())
    x = torch.tanh(X.clone().requires_grad_())
    with ds.untie(model, {"tanh": "constant"}) as untied:
        model(x)
    assert untied.unreached == ()


def test_the_other_gelu_is_not_taken_for_the_one_asked_for() -> None:
    model = nn.Sequential(nn.GELU(), nn.GELU("tanh"))
    with ds.untie(model, {"gelu": "constant"}) as untied:
        model(X.clone().requires_grad_())
    assert [place.module for place in untied.places] == ["0"]
    assert untied.unreached == ()


def test_the_nodes_of_each_activation_are_found_by_running_it() -> None:
    found = {name: set(nodes(activation)) for name, activation in ds.ACTIVATIONS.items()}
    assert found["relu"] == {"ReluBackward0"}
    assert found["leaky_relu"] == {"LeakyReluBackward0", "LeakyReluBackward1"}
    assert found["logistic"] == {"SigmoidBackward0"}
    assert found["sign"] == {"SignBackward0", "SgnBackward0"}
    # torch has no derivative of heaviside, and no operation is gelu_tanh without an argument that says so.
    assert {name for name, names in found.items() if not names} == {"identity", "heaviside", "gelu_tanh"}
