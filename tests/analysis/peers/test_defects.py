"""Defects of released packages, each found by the check that is meant for it, and no false alarm beside them.

Who upgrades a peer and sees one of these fail has most likely met a release in which the defect is mended.
"""

from __future__ import annotations

from functools import partial

import downslope as ds
import pytest
import sympy as sp
from downslope.analysis.surrogates.checks.record import Outcome, Record

NOT_OF_FLOAT64 = {"dtype-preserved"}
"""snntorch and sinabs give float32 for every input."""


def violations(surrogate: object) -> dict[str, Record]:
    return {record.name: record for record in ds.check_surrogate(surrogate) if record.outcome is Outcome.VIOLATION}


def test_snntorch_sigmoid_is_nan_from_minus_3_42_on(peer) -> None:
    found = violations(ds.adapt(peer("snntorch.surrogate").sigmoid, forward="heaviside"))
    assert found.keys() == {"finite", "finite-low-precision"} | NOT_OF_FLOAT64
    example = found["finite"].counterexample
    assert example["dtype"] == "float32"
    assert -3.6 <= example["u"] <= -3.42
    assert example["gradient"] != example["gradient"]


def test_norse_super_ignores_alpha(peer) -> None:
    threshold = peer("norse.torch.functional.threshold").threshold
    found = violations(ds.adapt(partial(threshold, method="super"), forward="heaviside", parameters={"alpha": 100.0}))
    assert found.keys() == {"parameters-matter"}
    assert found["parameters-matter"].counterexample["parameter"] == "alpha"


def test_spikingjelly_squarewave_is_negative_at_3(peer) -> None:
    library = peer("spikingjelly.activation_based.surrogate")
    surrogate = ds.adapt(library.SquarewaveFourierSeries(), forward="heaviside")
    found = violations(surrogate)
    assert found.keys() == {"sign-preserving", "descent-one-unit"}
    assert 2 <= abs(found["sign-preserving"].counterexample["u"]) <= 3


def test_snntorch_triangular_points_uphill_above_the_threshold(peer) -> None:
    found = violations(ds.adapt(peer("snntorch.surrogate").triangular, forward="heaviside"))
    assert found.keys() == {"sign-preserving", "descent-one-unit"} | NOT_OF_FLOAT64


def test_snntorch_atan_is_pi_times_its_documentation(peer) -> None:
    alpha = sp.Symbol("alpha")
    documented = 1 / sp.pi / (1 + (sp.pi * ds.u * alpha / 2) ** 2)
    atan = ds.adapt(peer("snntorch.surrogate").atan, formula=documented, parameters={"alpha": 2.0})
    found = violations(atan)
    assert found.keys() == {"matches-formula", "mass", "bounded"} | NOT_OF_FLOAT64
    assert "3.14159" in found["matches-formula"].message


def test_snntorch_lso_calls_another_function_and_raises(peer) -> None:
    found = violations(ds.adapt(peer("snntorch.surrogate").LSO, forward="heaviside"))
    assert found.keys() == {"forward-runs"}
    assert "missing 1 required positional argument: 'variance'" in found["forward-runs"].message


def test_snntorch_stochastic_operator_moves_units_uphill_at_random(peer) -> None:
    found = violations(ds.adapt(peer("snntorch.surrogate").SSO, forward="heaviside", random=True))
    assert {"sign-preserving"} <= found.keys()


def test_norse_circ_overflows(peer) -> None:
    threshold = peer("norse.torch.functional.threshold").threshold
    circ = ds.adapt(partial(threshold, method="circ"), forward="heaviside", parameters={"alpha": 0.3})
    assert violations(circ).keys() == {"finite", "finite-low-precision"}


def test_norse_heaviside_passes_no_gradient(peer) -> None:
    threshold = peer("norse.torch.functional.threshold").threshold
    found = violations(ds.adapt(partial(threshold, method="heaviside"), parameters={"alpha": 1.0}))
    assert found.keys() == {"backward-runs"}


def test_spikingjelly_numerical_gradient_is_infinite_at_minus_zero(peer) -> None:
    library = peer("spikingjelly.activation_based.surrogate")
    found = violations(ds.adapt(library.FakeNumericalGradient(), forward="heaviside"))
    assert str(found["finite"].counterexample["u"]) == "-0.0"
    assert found.keys() == {"finite", "finite-low-precision", "sign-preserving", "bounded"}


def test_sinabs_second_derivative_is_silently_zero(peer) -> None:
    library = peer("sinabs.activation")
    shape = library.SingleExponential()
    spike = ds.adapt(lambda v: library.SingleSpike.apply(v, 1.0, shape), forward="heaviside", centre=1.0)
    assert violations(spike).keys() == {"double-backward"} | NOT_OF_FLOAT64


def test_freegrad_noise_centralize_and_clip_norm_are_no_factors(peer) -> None:
    library = peer("freegrad.transforms")
    assert {"sign-preserving", "linear-in-upstream"} <= violations(ds.adapt_rule(library.noise, forward="relu")).keys()
    assert {"sign-preserving", "elementwise"} <= violations(ds.adapt_rule(library.centralize, forward="relu")).keys()
    assert {"linear-in-upstream", "elementwise"} <= violations(ds.adapt_rule(library.clip_norm, forward="relu")).keys()


RIGHT = (
    *("PiecewiseQuadratic", "PiecewiseExp", "Sigmoid", "SoftSign", "ATan", "NonzeroSignLogAbs", "Erf"),
    *("PiecewiseLeakyReLU", "S2NN", "QPseudoSpike", "LeakyKReLU", "LogTailedReLU", "DeterministicPass", "Rect"),
)
"""spikingjelly's surrogates whose backward is their primitive's derivative."""


@pytest.mark.parametrize("name", RIGHT)
def test_no_false_alarm_on_what_is_right(peer, name: str) -> None:
    kind = getattr(peer("spikingjelly.activation_based.surrogate"), name)
    assert violations(ds.adapt(kind(), forward="heaviside", primitive=kind(spiking=False), random=False)) == {}
