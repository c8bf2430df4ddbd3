"""The profile against quadrature, sampling and closed forms; a wrong profile is caught by the same comparisons."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from functools import cache

import downslope as ds
import mpmath
import numpy as np
import pytest
import sympy as sp
from downslope import u
from downslope.analysis.surrogates.formula.profile import Profile, breaks, of
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.integrate import quad

oo, R = sp.oo, sp.Rational
TRIANGLE = sp.Max(0, 1 - sp.Abs(u))

ENTRIES = {
    **{name: entry.mean for name, entry in ds.SURROGATES.items()},
    **{f"tied {name}": entry.tied.formula for name, entry in ds.ACTIVATIONS.items()},
}


@cache
def code(formula: sp.Expr):  # type: ignore[no-untyped-def]
    """The formula as plain NumPy code, by SymPy: nothing of ours."""
    special = {"erf": np.vectorize(math.erf, otypes=[float])}
    compiled = sp.lambdify(u, formula, [special, "numpy"])
    return lambda x: np.broadcast_to(np.asarray(compiled(x), dtype=float), np.shape(x))


def grid(profile: Profile, formula: sp.Expr) -> np.ndarray:
    """Points without the break points, dense near 0 and near where the extremes are said to be."""
    near = [float(w) for w in (profile.supremum_at, profile.infimum_at, profile.lipschitz_at) if w and w.is_finite]
    offsets = np.concatenate([-np.logspace(-7, 1.4, 400), np.logspace(-7, 1.4, 400)])
    points = np.unique(np.concatenate([[*np.linspace(-12, 12, 4001)], *(centre + offsets for centre in (0.0, *near))]))
    edges = np.array(breaks(formula, -50, 50))
    return points if not len(edges) else points[np.abs(points[:, None] - edges).min(axis=1) > 1e-9]


def disagreements(formula: sp.Expr, profile: Profile) -> list[str]:
    """The entries of a profile that values of the formula contradict."""
    x = grid(profile, formula)
    with np.errstate(all="ignore"):
        y = code(formula)(x)
    found = []
    room = 1e-9 * (1 + np.abs(y).max())
    for name, seen, sign in (("supremum", y.max(), 1), ("infimum", y.min(), -1)):
        value, where = getattr(profile, name), getattr(profile, f"{name}_at")
        gap = sign * (float(value) - seen) if value is not None and value.is_finite else 0.0
        attained = where is None or not where.is_finite or gap < 1e-5 * (1 + np.abs(y).max())
        if gap < -room or not attained:
            found.append(name)
    if profile.support is not None:
        inside = np.zeros(len(x), dtype=bool)
        for low, high in profile.support:
            inside |= (x >= float(low)) & (x <= float(high))
        reached = all(np.abs(y[(x >= float(a)) & (x <= float(b))]).max(initial=0) > 0 for a, b in profile.support)
        if (y[~inside] != 0).any() or not reached:
            found.append("support")
    if profile.even is not None:
        with np.errstate(all="ignore"):
            mirrored = code(formula)(-x)
        if profile.even != bool(np.allclose(y, mirrored, rtol=1e-9, atol=1e-12)):
            found.append("even")
    if profile.centre is not None:
        about = float(profile.centre)
        if not np.allclose(code(formula)(about + x), code(formula)(about - x), rtol=1e-7, atol=1e-9):
            found.append("centre")
    if profile.lipschitz is not None and profile.lipschitz.is_finite:
        steepest = np.abs(np.diff(y) / np.diff(x))[np.diff(x) > 1e-6].max()
        if not 0.99 * float(profile.lipschitz) - 1e-9 <= steepest <= float(profile.lipschitz) * (1 + 1e-6) + 1e-9:
            found.append("lipschitz")
    if profile.integral is not None and not integrates(formula, profile):
        found.append("integral")
    return found


def integrates(formula: sp.Expr, profile: Profile) -> bool:
    """Whether the integral is what quadrature finds; an infinite one has to grow with the range, towards its sign."""
    edges = sorted({*breaks(formula, -50, 50), *np.linspace(-50, 50, 41)})
    value = sp.lambdify(u, formula, "mpmath")  # whose exponentials do not overflow

    def part(low: float, high: float) -> float:
        return float(quad(lambda x: float(value(mpmath.mpf(x))), low, high, epsabs=1e-13, epsrel=1e-12, limit=200)[0])

    with np.errstate(all="ignore"):
        inner = sum(part(low, high) for low, high in itertools.pairwise(edges))
        decades = [part(10.0**k, 10.0 ** (k + 1)) + part(-(10.0 ** (k + 1)), -(10.0**k)) for k in (3, 4, 5)]
        if profile.integral.is_infinite:
            return all(part * (1 if profile.integral is oo else -1) > 1e-3 for part in decades)
        outer = part(50, np.inf) + part(-np.inf, -50)
    return abs(inner + outer - float(profile.integral)) <= 1e-8 * (1 + abs(inner))


# --- the catalogue ---


@pytest.mark.filterwarnings("ignore::scipy.integrate.IntegrationWarning")
@pytest.mark.parametrize("name", ENTRIES)
def test_the_profile_of_each_entry_holds(name: str) -> None:
    assert disagreements(ENTRIES[name], of(ENTRIES[name])) == []


@pytest.mark.parametrize("name", ENTRIES)
def test_nothing_in_the_catalogue_is_left_untold(name: str) -> None:
    profile = of(ENTRIES[name])
    told = ("supremum", "infimum", "support", "integral", "even", "symmetric", "lipschitz")
    assert [key for key in told if getattr(profile, key) is None] == []


EXACT = {
    "constant": (1, ((-oo, oo),), oo, True, 0),
    "clipped": (1, ((-1, 1),), 2, True, oo),
    "rectangle": (1, ((-R(1, 2), R(1, 2)),), 1, True, oo),
    "triangle": (1, ((-1, 1),), 1, True, 1),
    "relu_derivative": (1, ((0, oo),), oo, False, oo),
    "leaky_relu_derivative": (1, ((-oo, oo),), oo, False, oo),
    "logistic_derivative": (1, ((-oo, oo),), 1, True, 8 * sp.sqrt(3) / 9),
    "tanh_derivative": (1, ((-oo, oo),), 2, True, 4 * sp.sqrt(3) / 9),
    "arctangent_derivative": (1, ((-oo, oo),), 1, True, 3 * sp.sqrt(3) * sp.pi / 8),
    "fast_sigmoid": (1, ((-oo, oo),), R(2, 25), True, 50),
    "gaussian": (sp.sqrt(2 / sp.pi), ((-oo, oo),), 1, True, 2 * sp.sqrt(2 / sp.pi) * sp.exp(-R(1, 2))),
    "laplace": (1, ((-oo, oo),), 2, True, 1),
    "bireal": (2, ((-1, 1),), 2, True, 2),
    "full_jam": (R(1, 2), ((-oo, oo),), oo, True, 0),
    "positive_jam": (R(1, 2), ((0, oo),), oo, False, oo),
    "rectangular_jam": (R(1, 2), ((-5, 5),), 5, True, oo),
    "leaky_rectangle": (R(1, 2), ((-oo, oo),), oo, True, oo),
    "softsign": (1, ((-oo, oo),), 1, True, 4),
    "log_abs": (1, ((-oo, oo),), oo, True, 1),
    "q_pseudo_spike": (1, ((-oo, oo),), 1, True, 4),
    "s2nn": (1, ((-oo, oo),), oo, False, 8 * sp.sqrt(3) / 9),
    "cosine": (1, ((-1, 1),), 1, True, sp.pi / 2),
    "circle": (1, ((-oo, oo),), 1, True, 96 * sp.sqrt(5) / 125),
    "dspike": (R(3, 2) / sp.tanh(R(3, 2)), ((-R(1, 2), R(1, 2)),), 1, True, oo),
    "log_tailed_relu": (1, ((0, oo),), oo, False, oo),
    "softplus_derivative": (1, ((-oo, oo),), oo, False, R(1, 4)),
}


@pytest.mark.parametrize("name", EXACT)
def test_closed_forms_are_exact(name: str) -> None:
    profile = of(ENTRIES[name])
    supremum, support, integral, even, lipschitz = EXACT[name]
    assert all(profile.exact(key) for key in ("supremum", "infimum", "integral", "lipschitz"))
    assert profile.support == tuple((sp.sympify(low), sp.sympify(high)) for low, high in support)
    assert profile.even is even
    found = (profile.supremum, profile.integral, profile.lipschitz)
    for value, expected in zip(found, (supremum, integral, lipschitz), strict=True):
        assert value == expected or sp.simplify(value - expected) == 0


def test_what_is_computed_is_marked_as_such() -> None:
    profile = ds.SURROGATES["swish_sign"].profile
    assert profile.exact("supremum")
    assert not profile.exact("infimum")
    assert float(profile.infimum) == pytest.approx(-0.369143731998932, abs=1e-14)
    assert float(profile.infimum_at) == pytest.approx(0.687168198707022, abs=1e-14)


# --- any formula ---


@pytest.mark.parametrize(
    ("formula", "expected"),
    [
        (u**2, {"supremum": oo, "infimum": 0, "integral": oo, "lipschitz": oo, "even": True}),
        (u**3 - u, {"supremum": oo, "infimum": -oo, "integral": None, "even": False}),
        (TRIANGLE.subs(u, u - 3), {"support": ((2, 4),), "centre": 3, "symmetric": True, "even": False}),
        (sp.exp(-((u - 2) ** 2)), {"supremum_at": 2, "integral": sp.sqrt(sp.pi), "centre": 2}),
        (u * sp.exp(-(u**2)), {"integral": 0, "supremum_at": sp.sqrt(2) / 2, "symmetric": False}),
        (TRIANGLE.subs(u, u - 2) + TRIANGLE.subs(u, u + 2), {"support": ((-3, -1), (1, 3)), "integral": 2}),
        (sp.Piecewise((R(1, 2), (u >= -1) & (u < 1)), (0, True)), {"even": False, "integral": 1}),
        (sp.Piecewise((1, sp.Eq(u, 0)), (0, True)), {"support": ((0, 0),), "integral": 0, "lipschitz_at": 0}),
        (sp.sqrt(sp.Abs(u)), {"lipschitz": oo, "lipschitz_at": 0, "integral": oo}),
        (sp.Piecewise((1 / sp.sqrt(u), (u > 0) & (u < 1)), (0, True)), {"supremum": oo, "integral": 2}),
        (1 / (1 + sp.Abs(u)) ** R(1, 2), {"integral": oo, "supremum": 1}),
        (1 / (1 + u**2), {"integral": sp.pi, "lipschitz": 3 * sp.sqrt(3) / 8}),
        (sp.atan(u), {"supremum": sp.pi / 2, "supremum_at": oo, "integral": None}),
        (sp.sech(u), {"integral": sp.pi, "lipschitz": R(1, 2)}),
        (sp.sign(u), {"integral": None, "supremum": 1, "infimum": -1, "lipschitz_at": 0}),
        (sp.log(1 + u**2), {"supremum": oo, "integral": oo, "lipschitz": 1}),
        (sp.Integer(0) * u, {"support": (), "integral": 0, "supremum": 0, "even": True}),
        (-TRIANGLE, {"supremum": 0, "infimum": -1, "integral": -1, "lipschitz": 1}),
        (sp.Max(0, sp.exp(-(u**2)) - R(1, 2)), {"support": ((-sp.sqrt(sp.log(2)), sp.sqrt(sp.log(2))),)}),
    ],
    ids=str,
)
def test_a_formula_with_known_profile(formula: sp.Expr, expected: dict[str, object]) -> None:
    profile = of(formula)
    assert {name: getattr(profile, name) for name in expected} == expected


@pytest.mark.parametrize(
    "formula", [1 / u, 1 / (u - 1) ** 2, sp.sqrt(u), sp.floor(u), sp.Piecewise((1, u > 0)), sp.LambertW(sp.exp(u))]
)
def test_what_is_undefined_or_unknown_is_not_told(formula: sp.Expr) -> None:
    assert of(formula) == Profile()


def test_a_wave_has_no_limit_and_a_divergent_integral_is_no_number() -> None:
    assert of(sp.sin(u)).supremum is None
    assert of(sp.cos(u) / (1 + sp.Abs(u))).integral is None


def test_a_narrow_peak_is_not_missed() -> None:
    profile = of(sp.exp(-(((u - 3) * 10**6) ** 2)) + sp.exp(-(u**2)))
    assert float(profile.supremum) == pytest.approx(1 + math.exp(-9), rel=1e-12)


_positive = st.sampled_from([R(1, 10), R(1, 2), R(1), R(3), R(25)])


@settings(max_examples=15)
@given(
    name=st.sampled_from(["triangle", "rectangle", "gaussian", "laplace", "cosine"]), width=_positive, centre=_positive
)
def test_masses_follow_the_parameters(name: str, width: sp.Expr, centre: sp.Expr) -> None:
    profile = ds.SURROGATES[name].at(width=width, centre=centre).profile
    mass = {"triangle": width, "rectangle": 2 * width, "gaussian": 1, "laplace": 2 * width, "cosine": width}[name]
    assert profile.integral == mass
    assert (profile.centre, profile.symmetric, profile.even) == (centre, True, False)


@settings(max_examples=10)
@given(
    name=st.sampled_from(["logistic_derivative", "arctangent_derivative", "softsign", "dspike"]), steepness=_positive
)
def test_mass_one_at_every_steepness(name: str, steepness: sp.Expr) -> None:
    profile = ds.SURROGATES[name].at(steepness=steepness).profile
    assert float(profile.integral) == pytest.approx(1, rel=1e-14)


_bumps = st.builds(
    lambda form, scale, centre: form(scale * (u - centre)),
    st.sampled_from([lambda x: sp.exp(-(x**2)), lambda x: 1 / (1 + x**2), lambda x: 1 / sp.cosh(x) ** 2, sp.tanh])
    | st.just(lambda x: sp.Max(0, 1 - sp.Abs(x))),
    st.sampled_from([R(1, 2), R(1), R(3)]),
    st.sampled_from([R(-1), R(0), R(1, 3)]),
)
_sums = st.builds(lambda a, b, k: a + k * b, _bumps, _bumps, st.sampled_from([R(1), R(-1, 2), R(2)]))


@pytest.mark.filterwarnings("ignore::scipy.integrate.IntegrationWarning")
@settings(max_examples=25)
@given(formula=_sums)
def test_the_profile_of_any_sum_of_bumps_holds(formula: sp.Expr) -> None:
    assume(formula.has(u))
    assert disagreements(formula, of(formula)) == []


# --- the referee ---


@pytest.mark.filterwarnings("ignore::scipy.integrate.IntegrationWarning")
@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("supremum", {"supremum": R(99, 100)}),
        ("supremum", {"supremum": R(101, 100)}),
        ("infimum", {"infimum": R(1, 100)}),
        ("support", {"support": ((R(-1), R(9, 10)),)}),
        ("support", {"support": ((R(-1), R(1)), (R(2), R(3)))}),
        ("integral", {"integral": R(101, 100)}),
        ("integral", {"integral": oo}),
        ("even", {"even": False}),
        ("centre", {"centre": R(1, 100)}),
        ("lipschitz", {"lipschitz": R(9, 10)}),
        ("lipschitz", {"lipschitz": R(11, 10)}),
    ],
)
def test_a_wrong_profile_is_caught(name: str, change: dict[str, object]) -> None:
    right = of(TRIANGLE)
    assert disagreements(TRIANGLE, right) == []
    assert disagreements(TRIANGLE, replace(right, **change)) == [name]
