"""Each entry of the catalogue against its formula by hand in NumPy, and what every entry has to say of itself."""

from __future__ import annotations

import math
from collections.abc import Callable

import downslope as ds
import numpy as np
import pytest
import sympy as sp
import torch
from downslope import u
from downslope.analysis.surrogates.table import markdown

Array = np.ndarray
ERF = np.vectorize(math.erf, otypes=[float])

REQUIRED_ACTIVATIONS = (
    *("identity", "relu", "relu6", "leaky_relu", "elu", "silu", "gelu", "gelu_tanh", "softplus", "tanh", "logistic"),
    *("hardtanh", "sign", "heaviside", "round"),
)
REQUIRED_SURROGATES = (
    *("constant", "clipped", "rectangle", "triangle", "relu_derivative", "leaky_relu_derivative"),
    *("logistic_derivative", "tanh_derivative", "arctangent_derivative", "fast_sigmoid", "gaussian", "laplace"),
    *("bireal", "swish_sign", "multi_gaussian", "full_jam", "positive_jam", "rectangular_jam"),
)


def sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))


def normal(x: Array, mean: float, deviation: float) -> Array:
    return np.exp(-0.5 * ((x - mean) / deviation) ** 2) / (deviation * np.sqrt(2 * np.pi))


def sign_swish_slope(x: Array, b: float) -> Array:
    """The derivative of 2 s(b x) (1 + b x (1 - s(b x))) - 1, by the product rule."""
    s, rest = sigmoid(b * x), sigmoid(-b * x)
    slope = b * s * rest
    return 2 * slope * (1 + b * x * rest) + 2 * s * (b * rest - b * x * slope)


# Written from the papers and the libraries' documents, in their parameters' defaults; the mean where random.
FACTORS: dict[str, Callable[[Array], Array]] = {
    "constant": lambda x: np.ones_like(x),
    "clipped": lambda x: 1.0 * (np.abs(x) <= 1),
    "rectangle": lambda x: 1.0 * (np.abs(x) <= 0.5),
    "triangle": lambda x: np.maximum(0, 1 - np.abs(x)),
    "relu_derivative": lambda x: 1.0 * (x > 0),
    "leaky_relu_derivative": lambda x: np.where(x > 0, 1, 0.1),
    "logistic_derivative": lambda x: 4 * sigmoid(4 * x) * (1 - sigmoid(4 * x)),
    "tanh_derivative": lambda x: 1 - np.tanh(x) ** 2,
    "arctangent_derivative": lambda x: 1 / (1 + (np.pi * x) ** 2),
    "fast_sigmoid": lambda x: 1 / (1 + 25 * np.abs(x)) ** 2,
    "gaussian": lambda x: normal(x, 0, 0.5),
    "laplace": lambda x: np.exp(-np.abs(x)),
    "bireal": lambda x: np.where((x >= -1) & (x < 0), 2 + 2 * x, np.where((x >= 0) & (x < 1), 2 - 2 * x, 0)),
    "swish_sign": lambda x: sign_swish_slope(x, 5.0),
    "multi_gaussian": lambda x: 1.15 * normal(x, 0, 0.5) - 0.15 * (normal(x, 0.5, 3) + normal(x, -0.5, 3)),
    "full_jam": lambda x: np.full_like(x, 0.5),
    "positive_jam": lambda x: 0.5 * (x >= 0),
    "rectangular_jam": lambda x: 0.5 * (np.abs(x) <= 5),
    "leaky_rectangle": lambda x: np.where(np.abs(x) < 1, 0.5, 0.01),
    "softsign": lambda x: 1 / (2 * 2 * (1 / 2 + np.abs(x)) ** 2),
    "log_abs": lambda x: 1 / (1 + np.abs(x)),
    "q_pseudo_spike": lambda x: (1 + 2 / (2 - 1) * np.abs(x)) ** -2.0,
    "s2nn": lambda x: np.where(x < 0, 4 * sigmoid(4 * x) * (1 - sigmoid(4 * x)), 1 / (np.abs(x) + 1)),
    "cosine": lambda x: np.where(np.abs(x) <= 1, (1 + np.cos(np.pi * x)) / 2, 0),
    "circle": lambda x: (0.25 / (0.25 + x**2)) ** 1.5,
    "dspike": lambda x: np.where(np.abs(x) <= 0.5, 1.5 * (1 - np.tanh(3 * x) ** 2) / np.tanh(1.5), 0),
    "log_tailed_relu": lambda x: np.where(x <= 0, 0, np.where(x <= 1, 1, 1 / np.maximum(x, 1))),
    "softplus_derivative": sigmoid,
}

FORWARDS: dict[str, Callable[[Array], Array]] = {
    "identity": lambda x: x,
    "relu": lambda x: np.maximum(x, 0),
    "relu6": lambda x: np.clip(x, 0, 6),
    "leaky_relu": lambda x: np.where(x > 0, x, 0.01 * x),
    "elu": lambda x: np.where(x > 0, x, np.expm1(x)),
    "silu": lambda x: x * sigmoid(x),
    "gelu": lambda x: x * (1 + ERF(x / np.sqrt(2))) / 2,
    "gelu_tanh": lambda x: 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))),
    "softplus": lambda x: np.log1p(np.exp(x)),
    "tanh": np.tanh,
    "logistic": sigmoid,
    "hardtanh": lambda x: np.clip(x, -1, 1),
    "sign": np.sign,
    "heaviside": lambda x: np.heaviside(x, 0.0),
    "round": np.round,
}

POINTS = np.unique(np.concatenate([np.arange(-64, 65) / 8, np.linspace(-7.7, 7.7, 223), [-1e-3, 1e-3, -0.0]]))


@pytest.mark.parametrize("name", ds.SURROGATES)
def test_a_factor_is_the_one_of_its_source(name: str) -> None:
    entry = ds.SURROGATES[name]
    found = ds.Surrogate("mean", factor=entry.mean)(POINTS)
    np.testing.assert_allclose(found, FACTORS[name](POINTS), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("name", ds.ACTIVATIONS)
def test_a_forward_is_the_one_of_its_name(name: str) -> None:
    np.testing.assert_allclose(ds.ACTIVATIONS[name](POINTS), FORWARDS[name](POINTS), rtol=1e-12, atol=1e-14)


def test_a_slightly_wrong_factor_would_be_seen() -> None:
    wrong = ds.Surrogate("wrong", factor=sp.pi / (1 + (sp.pi * u) ** 2))  # as another library documents its arctangent
    with pytest.raises(AssertionError):
        np.testing.assert_allclose(wrong(POINTS), FACTORS["arctangent_derivative"](POINTS), rtol=1e-12)


def test_what_the_field_names_is_there() -> None:
    assert set(REQUIRED_ACTIVATIONS) == set(ds.ACTIVATIONS)
    assert set(REQUIRED_SURROGATES) <= set(ds.SURROGATES)
    assert len(ds.SURROGATES) >= 20
    assert all(name == entry.name for entries in (ds.SURROGATES, ds.ACTIVATIONS) for name, entry in entries.items())


@pytest.mark.parametrize("entry", ds.SURROGATES.values(), ids=lambda entry: entry.name)
def test_an_entry_says_where_it_comes_from(entry: ds.Surrogate) -> None:
    assert entry.source
    assert entry.forward in ds.ACTIVATIONS
    assert not entry.note or entry.note.endswith(".")
    assert all(str(symbol).isidentifier() and len(str(symbol)) > 2 for symbol in entry.parameters)
    assert {str(symbol) for symbol in entry.factor.free_symbols} >= {str(symbol) for symbol in entry.parameters}


@pytest.mark.parametrize("entry", ds.SURROGATES.values(), ids=lambda entry: entry.name)
def test_every_parameter_changes_the_factor(entry: ds.Surrogate) -> None:
    x = torch.linspace(-6.05, 6.05, 500, dtype=torch.float64)
    for symbol, value in entry.parameters.items():
        changed = entry.at(**{str(symbol): value + sp.Rational(1, 2)})
        draws = [each(x, generator=torch.Generator().manual_seed(0)) for each in (entry, changed)]
        assert not torch.equal(*draws), symbol


# --- the README's table ---


def test_the_table_has_a_row_for_each_surrogate() -> None:
    lines = markdown().splitlines()
    assert lines[0] == "| name | formula | sign | supremum | integral | source |"
    assert [line.split("`")[1] for line in lines[2:]] == list(ds.SURROGATES)
    assert all(line.replace(r"\|", "").count("|") == 7 for line in lines)


def test_a_row_is_computed_from_its_entry() -> None:
    odd = ds.Surrogate("odd", factor=u * sp.exp(-sp.Abs(u)), source="a | b")
    (row,) = markdown([odd]).splitlines()[2:]
    assert row == r"| `odd` | `u*exp(-abs(u))` | indefinite | 0.3679 | 0 | a \| b |"
