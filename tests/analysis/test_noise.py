"""Moments of the noise against quadrature and sums; what has none in closed form is refused by name."""

from __future__ import annotations

import math
from collections.abc import Callable

import downslope as ds
import mpmath
import pytest
import sympy as sp
from downslope import u
from downslope.analysis.errors import Refused
from downslope.analysis.surrogates.formula.noise import mean, moment, outcomes, support, variance
from sympy import stats

HALF = sp.Rational(1, 2)

CONTINUOUS: dict[str, Callable[[], sp.Expr]] = {
    "uniform": lambda: stats.Uniform("x", -1, 2),
    "normal": lambda: stats.Normal("x", HALF, 2),
    "exponential": lambda: stats.Exponential("x", 3),
    "gamma": lambda: stats.Gamma("x", 2, 3),
    "beta": lambda: stats.Beta("x", 2, 3),
    "lognormal": lambda: stats.LogNormal("x", 0, HALF),
    "laplace": lambda: stats.Laplace("x", 1, 2),
    "logistic": lambda: stats.Logistic("x", 0, 1),
    "triangular": lambda: stats.Triangular("x", 0, 2, 1),
    "rayleigh": lambda: stats.Rayleigh("x", 2),
}


def integrated(symbol: sp.Expr, power: int) -> float:
    """E xi^power by quadrature over sympy's density."""
    x = sp.Symbol("x", real=True)
    density = sp.lambdify(x, stats.density(symbol)(x) * x**power, "mpmath")
    known = support(symbol)
    low, high = (
        (-mpmath.inf if known.low is -sp.oo else float(known.low)),
        (mpmath.inf if known.high is sp.oo else float(known.high)),
    )
    return float(mpmath.quad(density, [low, *(p for p in (-5, 0, 1, 5, 30) if low < p < high), high]))


@pytest.mark.parametrize("power", [1, 2, 3, 4])
@pytest.mark.parametrize("name", CONTINUOUS)
def test_a_moment_is_what_quadrature_finds(name: str, power: int) -> None:
    symbol = CONTINUOUS[name]()
    assert float(moment(symbol, power)) == pytest.approx(integrated(symbol, power), rel=1e-8, abs=1e-9)


def test_a_wrong_moment_would_be_seen() -> None:
    symbol = CONTINUOUS["normal"]()
    assert float(moment(symbol, 4)) * 1.001 != pytest.approx(integrated(symbol, 4), rel=1e-8)


@pytest.mark.parametrize(
    ("symbol", "low", "high", "continuous"),
    [
        (stats.Uniform("x", 0, 1), 0, 1, True),
        (stats.Normal("x", 0, 1), -sp.oo, sp.oo, True),
        (stats.Exponential("x", 1), 0, sp.oo, True),
        (stats.Poisson("x", 1), 0, sp.oo, False),
        (stats.Die("x", 6), 1, 6, False),
    ],
)
def test_the_support_of_a_distribution(symbol: sp.Expr, low: sp.Expr, high: sp.Expr, continuous: bool) -> None:
    known = support(symbol)
    assert (known.low, known.high, known.continuous) == (low, high, continuous)


# --- mean and variance ---

XI = stats.Uniform("xi", 0, 1)
ETA = stats.Uniform("eta", 0, 1)
COIN = stats.Bernoulli("coin", sp.Rational(1, 4))


@pytest.mark.parametrize(
    ("formula", "expected_mean", "expected_variance"),
    [
        (XI, HALF, sp.Rational(1, 12)),
        (XI * sp.exp(u), sp.exp(u) / 2, sp.exp(2 * u) / 12),
        (XI + u, u + HALF, sp.Rational(1, 12)),
        ((XI + u) ** 2, u**2 + u + sp.Rational(1, 3), None),
        (XI * ETA, sp.Rational(1, 4), sp.Rational(7, 144)),
        (XI**2 - XI, -sp.Rational(1, 6), sp.Rational(1, 180)),
        (COIN * u, u / 4, 3 * u**2 / 16),
        (sp.exp(COIN * u), (3 + sp.exp(u)) / 4, None),
        (u**2, u**2, 0),
    ],
    ids=str,
)
def test_mean_and_variance(formula: sp.Expr, expected_mean: sp.Expr, expected_variance: sp.Expr | None) -> None:
    assert sp.expand(mean(formula) - expected_mean) == 0
    if expected_variance is not None:
        assert sp.expand(variance(formula) - expected_variance) == 0


@pytest.mark.parametrize("name", ["full_jam", "positive_jam", "rectangular_jam"])
def test_jamming_has_mean_one_half_and_variance_a_twelfth_where_it_jams(name: str) -> None:
    entry = ds.SURROGATES[name]
    for point, jammed in ((1, True), (-1, name != "positive_jam"), (-6, name == "full_jam"), (0, True)):
        assert entry.mean.subs(u, point) == (HALF if jammed else 0)
        assert entry.variance.subs(u, point) == (sp.Rational(1, 12) if jammed else 0)


def test_a_factor_that_is_not_random_is_its_own_mean() -> None:
    entry = ds.SURROGATES["triangle"]
    assert entry.mean == entry.formula
    assert entry.variance == 0


def test_a_coin_is_enumerated() -> None:
    found = list(outcomes(COIN * u + 1))
    assert sorted(found, key=str) == [(sp.Integer(1), sp.Rational(3, 4)), (u + 1, sp.Rational(1, 4))]
    assert math.isclose(sum(chance for _, chance in found), 1)


# --- refused by name ---


@pytest.mark.parametrize(
    ("formula", "named"),
    [
        (1 / (1 + XI), "polynomial in the noise xi"),
        (sp.exp(XI * u), "polynomial in the noise xi"),
        (sp.Piecewise((1, sp.Abs(u) < XI), (0, True)), "condition"),
        (stats.Cauchy("heavy", 0, 1) * u, "Cauchy"),
        (stats.Normal("moving", u, 1), "depends on u"),
        (sp.Add(*(stats.Bernoulli(f"c{i}", HALF) for i in range(12))), "4096 combinations"),
    ],
    ids=str,
)
def test_what_has_no_closed_form_is_refused_by_name(formula: sp.Expr, named: str) -> None:
    with pytest.raises(Refused, match=named):
        mean(formula)
