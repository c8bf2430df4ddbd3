"""The untied gradient against a backward pass written by hand in NumPy, which shares no code with it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import downslope as ds
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from downslope.analysis.gradients.untie import function, matching
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import erf, expit
from torch import nn

Array = np.ndarray

# The forwards and their derivatives, and the backward factors, in float64, from the definitions.
FORWARD: dict[str, Callable[[Array], Array]] = {
    "relu": lambda z: np.maximum(z, 0),
    "relu6": lambda z: np.minimum(np.maximum(z, 0), 6),
    "leaky_relu": lambda z: np.where(z > 0, z, 0.3 * z),
    "elu": lambda z: np.where(z > 0, z, 0.7 * np.expm1(np.minimum(z, 0))),
    "silu": lambda z: z * expit(z),
    "gelu": lambda z: z * 0.5 * (1 + erf(z / np.sqrt(2))),
    "gelu_tanh": lambda z: 0.5 * z * (1 + np.tanh(np.sqrt(2 / np.pi) * (z + 0.044715 * z**3))),
    "softplus": lambda z: np.logaddexp(0, 2 * z) / 2,
    "tanh": np.tanh,
    "logistic": expit,
    "hardtanh": lambda z: np.clip(z, -0.5, 2),
    "sign": np.sign,
    "heaviside": lambda z: np.where(z > 0, 1.0, 0.0),
    "round": np.round,
}
_INNER = np.sqrt(2 / np.pi)
DERIVATIVE: dict[str, Callable[[Array], Array]] = {
    "relu": lambda z: (z > 0) * 1.0,
    "relu6": lambda z: ((z > 0) & (z < 6)) * 1.0,
    "leaky_relu": lambda z: np.where(z > 0, 1, 0.3),
    "elu": lambda z: np.where(z > 0, 1, 0.7 * np.exp(np.minimum(z, 0))),
    "silu": lambda z: expit(z) * (1 + z * expit(-z)),
    "gelu": lambda z: 0.5 * (1 + erf(z / np.sqrt(2))) + z * np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi),
    "gelu_tanh": lambda z: (
        expit(2 * _INNER * (z + 0.044715 * z**3))
        + 0.5 * z * _INNER * (1 + 3 * 0.044715 * z**2) / np.cosh(_INNER * (z + 0.044715 * z**3)) ** 2
    ),
    "softplus": lambda z: expit(2 * z),
    "tanh": lambda z: 1 / np.cosh(z) ** 2,
    "logistic": lambda z: expit(z) * expit(-z),
    "hardtanh": lambda z: ((z > -0.5) & (z < 2)) * 1.0,
    "sign": np.zeros_like,
    "heaviside": np.zeros_like,
    "round": np.zeros_like,
}
FACTOR: dict[str, Callable[[Array], Array]] = {
    "constant": np.ones_like,
    "clipped": lambda z: (np.abs(z) <= 1) * 1.0,
    "triangle": lambda z: np.maximum(0, 1 - np.abs(z)),
    "triangle(width=2, height=0.3)": lambda z: 0.3 * np.maximum(0, 1 - np.abs(z) / 2),
    "relu_derivative": lambda z: (z > 0) * 1.0,
    "logistic_derivative": lambda z: 4 * expit(4 * z) * expit(-4 * z),
    "arctangent_derivative": lambda z: 1 / (1 + (np.pi * z) ** 2),
    "fast_sigmoid": lambda z: 1 / (1 + 25 * np.abs(z)) ** 2,
    "gaussian": lambda z: np.exp(-2 * z**2) * 2 / np.sqrt(2 * np.pi),
}

# The same activations as people write them.
FORMS: dict[str, list[Callable[[torch.Tensor], torch.Tensor]]] = {
    "relu": [
        nn.ReLU(),
        nn.ReLU(inplace=True),
        F.relu,
        lambda z: F.relu(z, True),
        F.relu_,
        torch.relu,
        torch.relu_,
        lambda z: z.relu(),
        lambda z: z.relu_(),
        lambda z: z.clamp(min=0),
        lambda z: torch.clamp_min(z, 0),
        lambda z: F.threshold(z, 0, 0),
        lambda z: torch.relu(input=z),
        torch.ops.aten.relu,
        torch.ops.aten.relu.default,
    ],
    "relu6": [nn.ReLU6(), F.relu6, lambda z: F.hardtanh(z, 0.0, 6.0), lambda z: z.clamp(0, 6)],
    "leaky_relu": [nn.LeakyReLU(0.3), lambda z: F.leaky_relu(z, 0.3), lambda z: F.leaky_relu_(z, 0.3)],
    "elu": [nn.ELU(0.7), lambda z: F.elu(z, 0.7, True), lambda z: F.elu_(z, 0.7)],
    "silu": [nn.SiLU(), F.silu, nn.SiLU(inplace=True)],
    "gelu": [nn.GELU(), F.gelu],
    "gelu_tanh": [nn.GELU("tanh"), lambda z: F.gelu(z, approximate="tanh")],
    "softplus": [nn.Softplus(beta=2), lambda z: F.softplus(z, 2)],
    "tanh": [nn.Tanh(), torch.tanh, lambda z: z.tanh(), lambda z: z.tanh_(), F.tanh],
    "logistic": [nn.Sigmoid(), torch.sigmoid, lambda z: z.sigmoid_(), F.sigmoid, torch.special.expit],
    "hardtanh": [nn.Hardtanh(-0.5, 2), lambda z: F.hardtanh(z, -0.5, 2.0, inplace=True)],
    "sign": [torch.sign, lambda z: z.sign(), lambda z: z.sign_(), torch.sgn, lambda z: z.sgn_()],
    "heaviside": [lambda z: torch.heaviside(z, z.new_zeros(())), lambda z: z.heaviside(torch.zeros_like(z))],
    "round": [torch.round, lambda z: z.round_(), torch.special.round],
}


@dataclass(frozen=True)
class Case:
    """A network and a batch: widths from input to output, an activation, its form and surrogate for each layer."""

    seed: int
    batch: int
    widths: tuple[int, ...]
    layers: tuple[tuple[str, int], ...]
    surrogates: dict[str, str]


class Network(nn.Module):
    """Preactivations in [-4, 7]: on both sides of every kink, not so far out that torch's own values lose digits."""

    def __init__(self, case: Case) -> None:
        super().__init__()
        torch.manual_seed(case.seed)
        sizes = zip(case.widths[:-1], case.widths[1:], strict=True)
        self.linear = nn.ModuleList(nn.Linear(a, b, dtype=torch.float64) for a, b in sizes)
        self.forms = [FORMS[name][form % len(FORMS[name])] for name, form in case.layers]
        self.x, self.y = (torch.randn(case.batch, width, dtype=torch.float64) for width in (case.widths[0], 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for linear, form in zip(self.linear, self.forms, strict=True):
            x = form(1.5 + 5.5 * torch.sin(linear(x)))
        return x


@st.composite
def cases(draw: st.DrawFn) -> Case:
    depth = draw(st.integers(1, 4))
    layers = [
        (draw(st.sampled_from(sorted(FORMS))), draw(st.integers(0, 20))) for _ in range(depth)
    ]  # the last layer is activated too: it is the case of one unit
    surrogates = {name: draw(st.sampled_from(["tied", *FACTOR])) for name in {name for name, _ in layers}}
    widths = draw(st.lists(st.integers(1, 5), min_size=depth, max_size=depth))
    return Case(draw(st.integers(0, 10**6)), draw(st.integers(1, 4)), (*widths, 1), tuple(layers), surrogates)


def by_hand(case: Case, network: Network) -> list[Array]:
    """The gradients of half the squared error, weight and bias layer by layer."""
    x, y = network.x.numpy(), network.y.numpy()
    weights = [(layer.weight.detach().numpy(), layer.bias.detach().numpy()) for layer in network.linear]
    inputs, angles = [x], []
    for (weight, bias), (name, _) in zip(weights, case.layers, strict=True):
        angles.append(inputs[-1] @ weight.T + bias)
        inputs.append(FORWARD[name](1.5 + 5.5 * np.sin(angles[-1])))
    error = inputs.pop() - y
    gradients: list[Array] = []
    for (weight, _), (name, _), angle, h in reversed(list(zip(weights, case.layers, angles, inputs, strict=True))):
        z, surrogate = 1.5 + 5.5 * np.sin(angle), case.surrogates[name]
        psi = DERIVATIVE[name](z) if surrogate == "tied" else FACTOR[surrogate](z)
        delta = error * psi * 5.5 * np.cos(angle)
        gradients = [delta.T @ h, delta.sum(0), *gradients]
        error = delta @ weight
    return gradients


def assert_as_by_hand(case: Case) -> None:
    """Entry by entry, to 1e-10 of the largest entry of the same parameter's gradient."""
    network = Network(case)
    with ds.untie(network, case.surrogates) as untied:
        output = network(network.x)
        loss = (output - network.y).square().sum() / 2
        gradients = torch.autograd.grad(loss, list(network.parameters()))
    assert sum(place.forward for place in untied.places) == len(case.layers)
    assert torch.equal(output, network(network.x))
    for found, expected in zip(gradients, by_hand(case, network), strict=True):
        assert torch.isfinite(found).all()
        np.testing.assert_allclose(found.numpy(), expected, rtol=1e-10, atol=1e-10 * np.abs(expected).max(initial=0))


@given(cases())
@settings(max_examples=150)
def test_the_gradient_is_the_one_by_hand(case: Case) -> None:
    assert_as_by_hand(case)


EVERY_FORM = [(name, form) for name, forms in FORMS.items() for form in range(len(forms))]


@pytest.mark.parametrize(("name", "form"), EVERY_FORM, ids=[f"{name}-{form}" for name, form in EVERY_FORM])
def test_every_form_of_every_activation(name: str, form: int) -> None:
    for surrogate in ("tied", "triangle(width=2, height=0.3)", "constant"):
        assert_as_by_hand(Case(0, 3, (2, 3, 1), ((name, form), ("tanh", 0)), {name: surrogate, "tanh": surrogate}))


# Mutants: each is caught by the check above.

FUNCTIONAL = Case(1, 4, (3, 4, 1), (("relu", FORMS["relu"].index(F.relu)), ("logistic", 0)), {})
SMOOTH = Case(2, 4, (3, 4, 1), (("tanh", 0), ("silu", 0)), {"tanh": "triangle", "silu": "gaussian"})


def test_an_untie_that_misses_a_function_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    case = Case(**{**vars(FUNCTIONAL), "surrogates": {"relu": "constant", "logistic": "constant"}})
    assert_as_by_hand(case)
    blind = {key: value for key, value in matching.known(()).items() if key is not F.relu}
    monkeypatch.setattr(matching, "_catalogue", lambda: blind)
    # relu is called as F.relu and not seen: as its key then matches nothing, untie itself refuses; beside another relu
    # that it does see, the native node on the graph gives it away.
    with pytest.raises(ds_refused(), match="'relu' matched nothing"), pytest.warns(UserWarning, match="ReluBackward0"):
        assert_as_by_hand(case)
    mixed = Case(1, 4, (3, 4, 4, 1), (*case.layers, ("relu", FORMS["relu"].index(torch.relu))), case.surrogates)
    with pytest.raises(AssertionError), pytest.warns(UserWarning, match="1 native ReluBackward0"):
        assert_as_by_hand(mixed)


@pytest.mark.parametrize("wrong", [1.01, -1.0, 1 + 1e-6])
def test_a_scaled_backward_is_caught(monkeypatch: pytest.MonkeyPatch, wrong: float) -> None:
    assert_as_by_hand(SMOOTH)
    right = function.Backward.__call__
    monkeypatch.setattr(function.Backward, "__call__", lambda self, g, u: wrong * right(self, g, u))
    with pytest.raises(AssertionError):
        assert_as_by_hand(SMOOTH)


def test_a_backward_at_the_output_instead_of_the_preactivation_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    right = function.Backward.__call__
    monkeypatch.setattr(
        function.Backward, "__call__", lambda self, g, u: right(self, g, None if u is None else u.tanh())
    )
    with pytest.raises(AssertionError):
        assert_as_by_hand(SMOOTH)


def test_a_tied_backward_that_ignores_the_call_s_parameters_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    case = Case(3, 4, (3, 4, 1), (("leaky_relu", 0), ("softplus", 0)), {"leaky_relu": "tied", "softplus": "tied"})
    assert_as_by_hand(case)
    monkeypatch.setattr(matching, "_derivative", lambda name, parameters: ds.ACTIVATIONS[name].tied)
    with pytest.raises(AssertionError):
        assert_as_by_hand(case)


def ds_refused() -> type[Exception]:
    from downslope.analysis.errors import Refused

    return Refused
