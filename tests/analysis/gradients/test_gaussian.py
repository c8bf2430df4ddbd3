"""Gaussian integrals of products of factors: closed forms, plain sums, and bells too narrow to be seen by chance."""

from __future__ import annotations

import itertools
import math

import downslope as ds
import numpy as np
import pytest
import sympy as sp
from downslope.analysis.gradients.closed.gaussian import Overlap, overlap

A = {name: each.tied for name, each in ds.ACTIVATIONS.items()}
S = ds.SURROGATES
NARROW = 1e-9


def bell(rate: float) -> ds.Surrogate:
    """exp(-rate z^2)."""
    return ds.Surrogate(f"bell{rate}", sp.exp(-sp.Rational(rate) * ds.u**2))


QS = [0.25, 1.0, 3.0]


@pytest.mark.parametrize("q", QS)
@pytest.mark.parametrize("c", [0.25, 1.0, 4.0])
def test_rectangle_and_triangle(q: float, c: float) -> None:
    k = c / math.sqrt(2 * q)
    rectangle, triangle, constant = S["rectangle"].at(width=c), S["triangle"].at(width=c), S["constant"]
    wider = S["rectangle"].at(width=2 * c)
    assert overlap(constant, rectangle, q).rho == pytest.approx(math.sqrt(math.erf(k)), abs=NARROW)
    assert overlap(rectangle, wider, q).rho == pytest.approx(math.sqrt(math.erf(k) / math.erf(2 * k)), abs=NARROW)
    e = math.erf(k) - math.sqrt(2 * q / math.pi) * (1 - math.exp(-k * k)) / c
    e2 = (1 + q / c**2) * math.erf(k) - math.sqrt(2 * q / math.pi) * (2 - math.exp(-k * k)) / c
    assert overlap(constant, triangle, q).rho == pytest.approx(e / math.sqrt(e2), abs=NARROW)
    assert overlap(rectangle, triangle, q).rho == pytest.approx(e / math.sqrt(e2 * math.erf(k)), abs=NARROW)
    assert overlap(constant, triangle, q).ratio == pytest.approx(math.sqrt(e2), abs=NARROW)


@pytest.mark.parametrize("q", QS)
def test_bells(q: float) -> None:
    for a, b in itertools.product((0.5, 2.0, 8.0), (0.0, 0.5, 3.0)):
        expected = ((1 + 4 * a * q) * (1 + 4 * b * q)) ** 0.25 / math.sqrt(1 + 2 * (a + b) * q)
        assert overlap(bell(a), bell(b), q).rho == pytest.approx(expected, abs=NARROW)
    a, c = 2.0, 0.7
    inside = math.erf(c * math.sqrt((1 + 2 * a * q) / (2 * q)))
    expected = (1 + 4 * a * q) ** 0.25 * (1 + 2 * a * q) ** -0.5 * inside / math.sqrt(math.erf(c / math.sqrt(2 * q)))
    assert overlap(S["rectangle"].at(width=c), bell(a), q).rho == pytest.approx(expected, abs=NARROW)


@pytest.mark.parametrize("q", QS)
def test_relu_and_leaky_relu(q: float) -> None:
    assert overlap(A["relu"], S["constant"], q).rho == pytest.approx(1 / math.sqrt(2), abs=NARROW)
    for name in ("triangle", "gaussian", "fast_sigmoid", "tanh_derivative"):  # any even psi: E psi/sqrt(2 E psi^2)
        alone = overlap(S["constant"], S[name], q)
        expected = alone.product / math.sqrt(2 * alone.factor)
        assert overlap(A["relu"], S[name], q).rho == pytest.approx(expected, abs=NARROW)
    for a, b in ((0.1, 0.4), (0.0, 0.3)):
        one, other = (ds.ACTIVATIONS["leaky_relu"].at(slope=each).tied for each in (a, b))
        expected = (1 + a * b) / math.sqrt((1 + a * a) * (1 + b * b))
        assert overlap(one, other, q).rho == pytest.approx(expected, abs=NARROW)
        expected = (1 + a) / math.sqrt(2 * (1 + a * a))
        assert overlap(one, S["constant"], q).rho == pytest.approx(expected, abs=NARROW)


@pytest.mark.parametrize(("centre", "width"), [(3, 0.001), (-1.7, 0.01), (0, 1e-4), (0.3, 1e-6)])
def test_a_narrow_bell_anywhere_is_not_missed(centre: float, width: float) -> None:
    def normal(x: float, variance: float) -> float:
        return math.exp(-(x**2) / (2 * variance)) / math.sqrt(2 * math.pi * variance)

    found = overlap(S["constant"], S["gaussian"].at(centre=centre, width=width), 1.0)
    assert found.product == pytest.approx(normal(centre, 1 + width**2), rel=1e-9)
    # psi^2 is a bell of variance width^2/2 and mass 1/(2 sqrt(pi) width).
    expected = normal(centre, 1 + width**2 / 2) / (2 * math.sqrt(math.pi) * width)
    assert found.factor == pytest.approx(expected, rel=1e-9)


def test_erf_against_constant_and_random_factors() -> None:
    erf = ds.Activation("erf", sp.erf(ds.u / sp.sqrt(2))).tied
    assert overlap(erf, S["constant"], 1.0).rho == pytest.approx(3**0.25 / math.sqrt(2), abs=NARROW)
    assert overlap(A["relu"], S["full_jam"], 1.0).rho == pytest.approx(math.sqrt(3 / 8), abs=NARROW)
    assert overlap(S["constant"], S["full_jam"], 2.0).rho == pytest.approx(math.sqrt(3) / 2, abs=NARROW)
    assert overlap(S["constant"], S["full_jam"], 2.0).ratio == pytest.approx(math.sqrt(1 / 3), abs=NARROW)


@pytest.mark.parametrize("name", S)
def test_every_surrogate_against_a_plain_sum(name: str) -> None:
    """Against relu and tanh, by the midpoint rule on a million points, which knows of no kink."""
    q = 0.8
    z = np.linspace(-11, 11, 1_000_000) * math.sqrt(q)
    density = np.exp(-(z**2) / (2 * q)) / math.sqrt(2 * math.pi * q) * (z[1] - z[0])
    psi = S[name].at()
    mean, square = psi, psi
    if psi.random:
        mean = ds.Surrogate("mean", psi.mean)
        square = ds.Surrogate("square", psi.variance + psi.mean**2)
        values, squares = mean(z), square(z)
    else:
        values = psi(z)
        squares = values**2
    for forward in ("relu", "tanh"):
        slope = A[forward](z)
        found = overlap(A[forward], psi, q)
        expected = Overlap((slope * values * density).sum(), (slope**2 * density).sum(), (squares * density).sum())
        assert (found.product, found.derivative, found.factor) == pytest.approx(
            (expected.product, expected.derivative, expected.factor), rel=1e-4
        )


@pytest.mark.parametrize("name", ["identity", "relu6", "elu", "gelu", "softplus", "hardtanh", "logistic", "silu"])
def test_every_activation_has_overlap_one_with_itself(name: str) -> None:
    found = overlap(A[name], A[name], 1.3)
    assert found.rho == pytest.approx(1, abs=1e-12)
    assert found.ratio == pytest.approx(1, abs=1e-12)
    assert overlap(A["heaviside"], S["constant"], 1.0).rho is None
