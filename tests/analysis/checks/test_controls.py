"""Clean controls: what is right raises no alarm, and what is known to be wrong always does."""

from __future__ import annotations

import downslope as ds
import numpy as np
import pytest
import sympy as sp
import torch
from downslope.analysis.surrogates.checks.record import Outcome
from downslope.analysis.surrogates.checks.run import one
from downslope.analysis.surrogates.checks.subject import Subject
from hypothesis import HealthCheck, Phase, given, settings

ON_FORMULAS = (
    *("forward-runs", "backward-runs", "finite", "finite-low-precision", "sign-preserving", "strictly-positive"),
    *("bounded", "support", "symmetric", "mass", "matches-formula", "descent-one-unit", "stuck"),
)
"""What a formula decides; the rest is torch's doing and the same for all formulas."""

drawn = settings(
    derandomize=True,
    phases=(Phase.generate,),
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


@pytest.mark.parametrize("name", ds.SURROGATES)
def test_the_catalogue_passes_its_own_checks(name: str) -> None:
    found = ds.check_surrogate(name)
    assert [record for record in found if record.outcome is Outcome.VIOLATION] == []
    expected = {record.name for record in found if record.outcome is Outcome.EXPECTED}
    assert expected == set(ds.SURROGATES[name].expected_failed_checks)


def subject_of(formula: sp.Expr) -> Subject:
    """The formula over a step, by NumPy's code and not by ours; the grids alone, as Hypothesis draws the formulas."""
    code = sp.lambdify(ds.u, formula.rewrite(sp.Piecewise), "numpy")

    def factor(u: torch.Tensor) -> torch.Tensor:
        with np.errstate(all="ignore"):
            psi = code(u.double().numpy()) + np.zeros(u.shape)
        # What overflows beyond 1e300 is this plain code's own doing.
        return torch.from_numpy(np.nan_to_num(psi, posinf=0.0, neginf=0.0)).to(u.dtype)

    return Subject(ds.adapt_factor(factor, forward="heaviside", formula=formula), examples=0)


def outcomes(formula: sp.Expr) -> dict[str, Outcome]:
    subject = subject_of(formula)
    return {name: one(name, subject, {}).outcome for name in ON_FORMULAS}


@settings(drawn, max_examples=90)
@given(ds.strategies.formulas("strict"))
def test_no_false_alarm_on_formulas_that_are_positive(formula: sp.Expr) -> None:
    assert Outcome.VIOLATION not in outcomes(formula).values()


@settings(drawn, max_examples=60)
@given(ds.strategies.formulas("weak"))
def test_no_false_alarm_on_formulas_that_are_nowhere_negative(formula: sp.Expr) -> None:
    found = outcomes(formula)
    assert Outcome.VIOLATION not in found.values()
    assert found["strictly-positive"] is found["support"] is found["stuck"] is Outcome.NOTE


@settings(drawn, max_examples=50)
@given(ds.strategies.formulas("indefinite"))
def test_every_formula_that_takes_both_signs_is_caught_and_nothing_else_said(formula: sp.Expr) -> None:
    violated = {name for name, outcome in outcomes(formula).items() if outcome is Outcome.VIOLATION}
    assert "sign-preserving" in violated
    assert violated <= {"sign-preserving", "descent-one-unit"}


@pytest.mark.parametrize("name", [name for name in ds.ACTIVATIONS if name not in {"sign", "heaviside", "round"}])
def test_no_false_alarm_on_torchs_own_derivatives(name: str) -> None:
    # torch's kernels, a code base that shares nothing with ours, against the formulas of the catalogue
    plain = {
        "identity": torch.nn.Identity(),
        "relu": torch.relu,
        "relu6": torch.nn.ReLU6(),
        "leaky_relu": torch.nn.LeakyReLU(),
        "elu": torch.nn.ELU(),
        "silu": torch.nn.SiLU(),
        "gelu": torch.nn.GELU(),
        "gelu_tanh": torch.nn.GELU("tanh"),
        "softplus": torch.nn.Softplus(),
        "tanh": torch.tanh,
        "logistic": torch.sigmoid,
        "hardtanh": torch.nn.Hardtanh(),
    }
    if name not in plain:
        pytest.skip(f"no plain torch call stands for {name} here")
    tied = ds.adapt(plain[name], forward=name, formula=ds.ACTIVATIONS[name].tied)
    violated = {record.name for record in ds.check_surrogate(tied) if record.outcome is Outcome.VIOLATION}
    # torch 2.13's kernel multiplies sech^2 = 0 by u^2 = inf: NaN from 1.9e19 on
    assert violated <= ({"finite", "finite-low-precision"} if name == "gelu_tanh" else set())
