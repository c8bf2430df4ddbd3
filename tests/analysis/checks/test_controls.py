"""Clean controls: what is right raises no alarm, and what is known to be wrong always does."""

from __future__ import annotations

import downslope as ds
import pytest
import torch
from downslope.analysis.surrogates.checks import CHECKS
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
    max_examples=100,
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


def outcomes(surrogate: ds.Surrogate) -> dict[str, Outcome]:
    subject = Subject(ds.adapt(surrogate), examples=0)  # the grids alone: Hypothesis draws the formulas here
    return {name: one(name, subject, {}).outcome for name in ON_FORMULAS}


@drawn
@given(ds.strategies.surrogates("strict"))
def test_no_false_alarm_on_formulas_that_are_positive(surrogate: ds.Surrogate) -> None:
    assert Outcome.VIOLATION not in outcomes(surrogate).values()


@drawn
@given(ds.strategies.surrogates("weak"))
def test_no_false_alarm_on_formulas_that_are_nowhere_negative(surrogate: ds.Surrogate) -> None:
    found = outcomes(surrogate)
    assert Outcome.VIOLATION not in found.values()
    assert found["strictly-positive"] is found["support"] is found["stuck"] is Outcome.NOTE


@settings(drawn, max_examples=30)
@given(ds.strategies.surrogates("indefinite"))
def test_every_formula_that_takes_both_signs_is_caught(surrogate: ds.Surrogate) -> None:
    assert CHECKS["sign-preserving"](Subject(ds.adapt(surrogate), examples=0)).outcome is Outcome.VIOLATION


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
    assert [record for record in ds.check_surrogate(tied) if record.outcome is Outcome.VIOLATION] == []
