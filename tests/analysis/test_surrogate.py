"""Surrogates and activations as objects: exact parameters, copies, equality, and refusals that say what to do."""

from __future__ import annotations

import copy
import math
import pickle
from decimal import Decimal
from fractions import Fraction

import downslope as ds
import numpy as np
import pytest
import sympy as sp
import torch
from downslope import u
from downslope.analysis.errors import Refused
from downslope.analysis.surrogates.formula.calculus.rewriting import derivative
from hypothesis import given
from hypothesis import strategies as st
from sympy import stats

ENTRIES = {
    **{f"surrogate {n}": s for n, s in ds.SURROGATES.items()},
    **{f"activation {n}": a for n, a in ds.ACTIVATIONS.items()},
}

k = sp.Symbol("steepness", positive=True)
mine = ds.Surrogate("mine", factor=1 / (1 + k * sp.Abs(u)) ** 2, parameters={k: 25}, source="this paper, eq. 3")


@pytest.mark.parametrize("name", ENTRIES)
def test_copies_are_equal_and_work(name: str) -> None:
    entry = ENTRIES[name]
    x = torch.linspace(-2, 2, 9, dtype=torch.float64)
    for twin in (pickle.loads(pickle.dumps(entry)), copy.deepcopy(entry), copy.copy(entry)):
        assert twin == entry
        assert hash(twin) == hash(entry)
        generators = [torch.Generator().manual_seed(0) for _ in range(2)]
        if isinstance(entry, ds.Surrogate):
            assert torch.equal(twin(x, generator=generators[0]), entry(x, generator=generators[1]))
        else:
            assert torch.equal(twin(x), entry(x))
            assert twin.operations == entry.operations


def test_what_is_derived_is_not_pickled() -> None:
    fresh = mine.at(steepness=3)
    before = len(pickle.dumps(fresh))
    assert fresh.sign
    assert fresh.profile
    assert len(pickle.dumps(fresh)) == before


def test_a_users_own_activation_pickles_with_its_operations() -> None:
    own = ds.Activation("own", sp.Max(0, u) ** 2, operations=ds.ACTIVATIONS["tanh"].operations[:0])
    assert pickle.loads(pickle.dumps(own)) == own


def test_the_representation_is_short() -> None:
    assert repr(ds.SURROGATES["triangle"]) == "Surrogate('triangle', height=1, width=1, centre=0)"
    assert repr(ds.ACTIVATIONS["leaky_relu"]) == "Activation('leaky_relu', slope=1/100)"
    assert max(len(repr(entry)) for entry in ENTRIES.values()) < 80


def test_equality_is_of_all_that_is_said() -> None:
    assert mine == mine.at(steepness=25)
    assert mine != mine.at(steepness=24)
    assert ds.ACTIVATIONS["relu"] != ds.ACTIVATIONS["relu6"]
    assert len({mine, mine.at(steepness=25), mine.at(steepness=1)}) == 2


@pytest.mark.parametrize(
    ("value", "exact"),
    [
        (0.1, sp.Rational(1, 10)),
        (1e-300, sp.Rational(1, 10**300)),
        (3, sp.Integer(3)),
        (Fraction(1, 3), sp.Rational(1, 3)),
        (Decimal("0.25"), sp.Rational(1, 4)),
        (np.float64(0.1), sp.Rational(1, 10)),
        (np.float32(0.1), sp.Rational(1, 10)),
        (np.int64(7), sp.Integer(7)),
        (sp.pi, sp.pi),
        (sp.Float(0.1), sp.Rational(1, 10)),
    ],
)
def test_a_parameter_means_the_decimal_that_it_prints_as(value: object, exact: sp.Expr) -> None:
    assert mine.at(steepness=value).parameters[k] == exact


@given(st.floats(min_value=1e-300, max_value=1e300))
def test_any_float_parameter_is_kept_to_the_last_bit(value: float) -> None:
    assert float(mine.at(steepness=value).parameters[k]) == value


def test_a_float_in_the_formula_means_its_decimal() -> None:
    assert ds.Surrogate("half", factor=0.1 * u**2).factor == u**2 / 10
    assert ds.Activation("half", 0.5 * u).formula == u / 2


def test_parameters_may_stand_in_the_noise() -> None:
    top = sp.Symbol("top", positive=True)
    jam = ds.Surrogate("jam", factor=stats.Uniform("xi", 0, top), parameters={top: 2})
    assert jam.mean == 1
    assert jam.at(top=3).mean == sp.Rational(3, 2)
    drawn = jam(torch.zeros(4000, dtype=torch.float64), generator=torch.Generator().manual_seed(1))
    assert 1.8 < drawn.max() <= 2


# --- refusals ---


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"factor": sp.Symbol("u") ** 2}, "its u is not downslope.u"),
        ({"factor": k * u}, "steepness is neither downslope.u nor in parameters"),
        ({"factor": k * u, "parameters": {sp.Symbol("steepness"): 1}}, "declared differently"),
        ({"factor": k * u, "parameters": {"steepness": 1}}, "a key is the sympy.Symbol"),
        ({"factor": k * u, "parameters": {k: 0}}, "steepness is declared positive, which 0 is not"),
        ({"factor": k * u, "parameters": {k: -1.5}}, "steepness is declared positive, which -1.5 is not"),
        ({"factor": k * u, "parameters": {k: math.nan}}, "nan is not a finite number"),
        ({"factor": k * u, "parameters": {k: math.inf}}, "inf is not a finite number"),
        ({"factor": k * u, "parameters": {k: "1"}}, "'1' is not a finite number"),
        ({"factor": k * u, "parameters": {k: True}}, "True is not a finite number"),
        ({"factor": k * u, "parameters": {k: u}}, "u is not a finite number"),
        ({"factor": u, "parameters": {sp.Symbol("u", real=True): 1}}, "none the name u"),
        ({"factor": sp.I * u}, "a formula is real and finite"),
        ({"factor": u + sp.oo}, "a formula is real and finite"),
    ],
    ids=str,
)
def test_a_surrogate_that_cannot_be_is_refused(arguments: dict[str, object], reason: str) -> None:
    with pytest.raises(Refused, match=reason):
        ds.Surrogate("bad", **arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize("factor", ["u**2", 1.0, None, lambda x: x])
def test_a_factor_that_is_no_expression_is_a_type_error(factor: object) -> None:
    with pytest.raises(TypeError, match="not a SymPy expression: write the backward factor with SymPy"):
        ds.Surrogate("bad", factor=factor)
    with pytest.raises(TypeError, match="not a SymPy expression"):
        ds.Activation("bad", factor)


def test_text_is_never_evaluated(tmp_path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.chdir(tmp_path)
    text = "__import__('pathlib').Path('evaluated').touch()"
    for attempt in (
        lambda: ds.Surrogate("bad", factor=text),
        lambda: ds.Surrogate("bad", factor=k * u, parameters={k: text}),
        lambda: mine.at(steepness=text),
    ):
        with pytest.raises((TypeError, Refused)):
            attempt()
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_parameter_is_named_with_its_neighbours() -> None:
    with pytest.raises(Refused, match="mine has no parameter 'steepnes'; did you mean 'steepness'"):
        mine.at(steepnes=2)
    with pytest.raises(Refused, match="relu has no parameter 'slope'; it has none"):
        ds.ACTIVATIONS["relu"].at(slope=2)


def test_a_forward_is_not_random() -> None:
    with pytest.raises(Refused, match="a forward is not random"):
        ds.Activation("bad", stats.Uniform("xi", 0, 1) * u)


# --- derivatives ---


@pytest.mark.parametrize("name", ds.ACTIVATIONS)
def test_tied_is_the_slope_of_the_activation(name: str) -> None:
    entry = ds.ACTIVATIONS[name]
    x = 14 * torch.rand(301, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) - 7
    step = 1e-5
    slope = (entry(x + step) - entry(x - step)) / (2 * step)
    assert torch.allclose(entry.tied(x), slope, atol=1e-8, rtol=1e-6)


@pytest.mark.parametrize(
    ("formula", "expected"),
    [
        (sp.sign(u), 0),
        (sp.Heaviside(u) * u, sp.Heaviside(u)),
        (sp.floor(u + sp.Rational(1, 2)), 0),
        (sp.Mod(u, 2), 1),
        (sp.frac(u) ** 2, 2 * (u - sp.floor(u))),
        (sp.Abs(u), sp.sign(u)),
        (sp.floor(u * sp.sign(u)) + u, 1),
    ],
    ids=str,
)
def test_the_derivative_holds_no_dirac_delta(formula: sp.Expr, expected: sp.Expr) -> None:
    found = derivative(formula)
    assert not found.has(sp.DiracDelta, sp.Derivative, sp.Subs)
    assert sp.expand(found - expected) == 0


def test_a_kink_takes_the_value_that_torch_takes() -> None:
    at = {"relu": (0.0, 0.0), "relu6": (6.0, 0.0), "leaky_relu": (0.0, 0.01), "hardtanh": (1.0, 0.0)}
    for name, (point, value) in at.items():
        assert float(ds.ACTIVATIONS[name].tied(torch.tensor([point]))) == pytest.approx(value)


@pytest.mark.parametrize("factor", [1 / u, 1 / u**2, sp.log(sp.Abs(u))])
def test_a_factor_with_a_pole_is_refused(factor: sp.Expr) -> None:
    with pytest.raises(Refused, match=r"grows beyond all bounds near u = 0\.0.*sympy\.Min"):
        ds.Surrogate("pole", factor=factor)(torch.zeros(1))


def test_a_piecewise_that_leaves_some_preactivations_out_is_refused_for_that_reason() -> None:
    half = ds.Surrogate("half", factor=sp.Piecewise((1, u > 0)))
    with pytest.raises(Refused, match="covered by no case of the Piecewise"):
        half(torch.zeros(1))


@pytest.mark.parametrize("name", ["", " ", 3, None])
def test_a_surrogate_needs_a_name(name: object) -> None:
    with pytest.raises(Refused, match="need a name"):
        ds.Surrogate(name, factor=sp.S.One)  # type: ignore[arg-type]
