"""Names, aliases and parameters become objects; whatever else is refused with what to write instead."""

from __future__ import annotations

import re
from collections import Counter

import downslope as ds
import pytest
import sympy as sp
from downslope.analysis.errors import Refused
from downslope.analysis.surrogates import lookup


def spelling(word: str) -> str:
    return re.sub(r"[-_]", "", word).lower()


@pytest.mark.parametrize("entries", [ds.SURROGATES, ds.ACTIVATIONS], ids=["surrogates", "activations"])
def test_no_two_entries_share_a_name_or_alias(entries: dict[str, ds.Surrogate | ds.Activation]) -> None:
    words = [spelling(word) for name, entry in entries.items() for word in (name, *entry.aliases)]
    assert [word for word, count in Counter(words).items() if count > 1] == []


@pytest.mark.parametrize("name", ds.SURROGATES)
def test_a_surrogate_is_found_by_every_name_of_it(name: str) -> None:
    entry = ds.SURROGATES[name]
    for word in (name, *entry.aliases):
        for written in (word, word.upper(), word.replace("_", "-"), word.replace("_", ""), f" {word} "):
            assert lookup.surrogate(written) is entry


@pytest.mark.parametrize("name", ds.ACTIVATIONS)
def test_an_activation_is_found_by_every_name_of_it(name: str) -> None:
    entry = ds.ACTIVATIONS[name]
    assert all(lookup.activation(word) is entry for word in (name, name.title(), *entry.aliases))


def test_an_object_is_itself() -> None:
    mine = ds.Surrogate("mine", factor=1 + ds.u**2)
    assert lookup.surrogate(mine) is mine
    assert lookup.activation(ds.ACTIVATIONS["relu"]) is ds.ACTIVATIONS["relu"]


@pytest.mark.parametrize(
    ("text", "parameters"),
    [
        ("triangle(width=2)", {"height": 1, "width": 2, "centre": 0}),
        (
            "Triangular( width = 0.1 , centre=-1/3 )",
            {"height": 1, "width": sp.Rational(1, 10), "centre": -sp.Rational(1, 3)},
        ),
        ("piecewise-quadratic(height=1e-3)", {"height": sp.Rational(1, 1000), "width": 1, "centre": 0}),
        ("triangle()", {"height": 1, "width": 1, "centre": 0}),
    ],
)
def test_parameters_are_read_exactly(text: str, parameters: dict[str, sp.Expr]) -> None:
    found = lookup.surrogate(text)
    assert {str(symbol): value for symbol, value in found.parameters.items()} == parameters


def test_tied_is_the_derivative_of_the_activation() -> None:
    assert lookup.surrogate("tied", "relu") == ds.ACTIVATIONS["relu"].tied
    assert lookup.surrogate("TIED", ds.ACTIVATIONS["tanh"]) == ds.ACTIVATIONS["tanh"].tied
    assert lookup.surrogate("tied", "leaky_relu(slope=0.2)") == ds.ACTIVATIONS["leaky_relu"].at(slope=0.2).tied


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ("tied", r"no activation here to be tied to: say which, e\.g\. surrogate\('tied', activation='relu'\)"),
        ("trangle", "did you mean 'triangle'"),
        ("superspyke", "did you mean 'fast_sigmoid'"),
        ("relu", "did you mean 'relu_derivative'"),
        ("triangle(widht=2)", "no parameter 'widht'; did you mean 'width'"),
        ("relu_derivative(width=2)", "no parameter 'width'; it has none"),
        ("triangle(width=0)", "width is declared positive, which 0 is not"),
        ("triangle(2)", "'2' is not parameter=number"),
        ("triangle(width=)", "is not parameter=number"),
        ("triangle(width=1/0)", "is not parameter=number"),
        ("triangle(width=1e9999)", "is not parameter=number"),
        ("triangle(width=inf)", "is not parameter=number"),
        ("triangle(width=1, width=2)", "gives width twice"),
        ("triangle(width=__import__('os').getpid())", "is not parameter=number"),
        ("triangle(width=2", "is no name"),
        ("", "is no name"),
        (3, "is a int"),
        (None, "is a NoneType"),
        (ds.u**2, "is a Pow"),
        (ds.ACTIVATIONS["relu"], "is a Activation"),
    ],
)
def test_a_surrogate_that_is_none_is_refused(given: object, reason: str) -> None:
    with pytest.raises(Refused, match=reason):
        lookup.surrogate(given)


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ("reul", "did you mean 'relu'"),
        ("sigmod", "did you mean 'logistic'"),
        (0.5, "is a float"),
        ("relu(a=1)", "it has none"),
    ],
)
def test_an_activation_that_is_none_is_refused(given: object, reason: str) -> None:
    with pytest.raises(Refused, match=reason):
        lookup.activation(given)
