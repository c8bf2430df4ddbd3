"""The sign of a factor: right for the catalogue, never wrong for any formula; a wrong prover is caught."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import downslope as ds
import mpmath
import pytest
import sympy as sp
from downslope import u
from downslope.analysis.surrogates.formula.sign import Sign, SignProof, increasing, prove
from downslope.analysis.surrogates.strategies import formulas
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sympy import stats

HALF = sp.Rational(1, 2)

WEAK = {
    *("clipped", "rectangle", "triangle", "relu_derivative", "bireal", "positive_jam", "rectangular_jam"),
    *("cosine", "dspike", "log_tailed_relu"),
}
INDEFINITE = {"swish_sign", "multi_gaussian"}

TIED = {
    **dict.fromkeys(("identity", "leaky_relu", "elu", "softplus", "tanh", "logistic"), Sign.STRICT),
    **dict.fromkeys(("relu", "relu6", "hardtanh", "sign", "heaviside", "round"), Sign.WEAK),
    **dict.fromkeys(("silu", "gelu", "gelu_tanh"), Sign.INDEFINITE),
}

PROBES = [sp.Rational(k, 16) for k in range(-200, 201)] + [s * sp.Integer(10) ** k for s in (1, -1) for k in (2, 3)]


def at(formula: sp.Expr, values: dict[sp.Expr, sp.Expr]) -> sp.Expr:
    """The formula at exact numbers, to fifty digits."""
    return sp.N(formula.xreplace(values), 50)


def values(formula: sp.Expr) -> Iterator[tuple[sp.Expr, mpmath.mpf]]:
    """The formula at every probe, to fifty digits, by SymPy's own code for mpmath: nothing of ours."""
    code = sp.lambdify(u, formula, "mpmath")
    for point in PROBES:
        for digits in (50, 1500):
            with mpmath.workdps(digits):
                value = mpmath.mpf(code(mpmath.mpf(point.p) / point.q))
            if abs(value) > mpmath.mpf(10) ** -40:
                break
        yield point, value


def rounded_away(formula: sp.Expr, point: sp.Rational) -> bool:
    """Whether 1,500 digits may show 0 for a positive value: far out only, where what saturates is still a symbol.

    1 - erf(3 u) at 100 is 10^-39,000; at 12.5 it has 611 zeros. A piece that is 0 is 0 exactly, and never excused.
    """
    exact = formula.xreplace({u: point})
    return abs(point) >= 100 and exact != 0 and exact.has(sp.erf, sp.erfc, sp.tanh, sp.exp)


def contradiction(formula: sp.Expr, proof: SignProof) -> str | None:
    """What in a noise-free formula's values contradicts a proof, if anything does."""
    if proof.sign is Sign.INDEFINITE:
        assert proof.witness is not None
        return None if at(formula, dict(proof.witness)) < 0 else f"not negative at {proof.witness}"
    if proof.sign is Sign.WEAK and proof.witness and abs(at(formula, dict(proof.witness))) > 1e-40:
        return f"not 0 at {proof.witness}"
    if proof.sign is not Sign.CANNOT_TELL:
        for point, value in values(formula):
            vanished = proof.sign is Sign.STRICT and value <= 0 and not rounded_away(formula, point)
            if value < -(mpmath.mpf(10) ** -1400) or vanished:
                return f"{value} at {point}"
    return None


# --- the catalogue ---


@pytest.mark.parametrize("name", ds.SURROGATES)
def test_the_sign_of_each_surrogate(name: str) -> None:
    expected = Sign.WEAK if name in WEAK else Sign.INDEFINITE if name in INDEFINITE else Sign.STRICT
    assert ds.SURROGATES[name].sign.sign is expected


@pytest.mark.parametrize("name", ds.ACTIVATIONS)
def test_the_sign_of_each_tied_derivative(name: str) -> None:
    proof = ds.ACTIVATIONS[name].tied.sign
    assert proof.sign is TIED[name]
    assert any("identically zero" in step for step in proof.steps) == (name in {"sign", "heaviside", "round"})


@pytest.mark.parametrize("entry", [s for s in ds.SURROGATES.values() if not s.random], ids=lambda entry: entry.name)
def test_the_proof_of_each_surrogate_is_not_contradicted(entry: ds.Surrogate) -> None:
    assert contradiction(entry.formula, entry.sign) is None


@pytest.mark.parametrize("name", sorted(INDEFINITE))
def test_a_witness_is_rational(name: str) -> None:
    witness = ds.SURROGATES[name].sign.witness
    assert witness is not None
    assert witness[u].is_Rational


@pytest.mark.parametrize(
    ("name", "parameters", "sign"),
    [
        ("leaky_relu", {"slope": 0}, Sign.WEAK),
        ("leaky_relu", {"slope": -0.1}, Sign.INDEFINITE),
        ("hardtanh", {"low": -2, "high": 3}, Sign.WEAK),
        ("elu", {"scale": 1e-9}, Sign.STRICT),
    ],
)
def test_the_sign_follows_the_parameters(name: str, parameters: dict[str, float], sign: Sign) -> None:
    assert ds.ACTIVATIONS[name].at(**parameters).tied.sign.sign is sign


# --- planted: what a sampling prover would miss ---

TRIANGLE = sp.Max(0, 1 - sp.Abs(u))
TINY = sp.Rational(1, 10**6)
NARROW = sp.And(u > sp.Rational(3, 10), u < sp.Rational(301, 1000))


@pytest.mark.parametrize(
    "formula",
    [
        sp.Piecewise((-TINY, NARROW), (TRIANGLE, True)),
        sp.Piecewise((-TINY, sp.Eq(u, sp.Rational(1, 3))), (TRIANGLE, True)),
        TRIANGLE - TINY * sp.Max(0, 1 - 2000 * sp.Abs(u - 2)),
        1 / sp.cosh(u) ** 2 - sp.Rational(11, 10) / sp.cosh(3) ** 2 * sp.exp(-(((u - 3) * 1000) ** 2)),
        (u - 1) ** 2 * (u + 2) ** 2 - TINY**3,
        sp.exp(u) - 1 - u - TINY**2,
        sp.Rational(42888, 10**5) + u * sp.exp(-(u**2)),
        sp.exp(-(u**2)) * (1 + sp.Rational(101, 100) * sp.sin(1000 * u)),
    ],
    ids=str,
)
def test_a_planted_dip_is_found(formula: sp.Expr) -> None:
    proof = prove(formula)
    assert proof.sign is Sign.INDEFINITE
    assert contradiction(formula, proof) is None


@pytest.mark.parametrize(
    ("formula", "sign"),
    [
        (1 / sp.cosh(u) ** 2 - sp.Rational(9, 10) / sp.cosh(3) ** 2 * sp.exp(-(((u - 3) * 1000) ** 2)), Sign.STRICT),
        ((u - 1) ** 2 * (u + 2) ** 2, Sign.WEAK),
        ((u - 1) ** 2 * (u + 2) ** 2 + TINY**3, Sign.STRICT),
        (sp.exp(u) - 1 - u, Sign.WEAK),
        (sp.exp(u) - 1 - u + TINY**2, Sign.STRICT),
        (sp.cosh(u) - 1 - u**2 / 2, Sign.WEAK),
        (sp.exp(-(u**2) / 2) - sp.exp(-(u**2)), Sign.WEAK),
        (sp.exp(-(u**2) / 2) - sp.exp(-(u**2)) / 2, Sign.STRICT),
        (1 + sp.erf(u) + sp.exp(-(u**2)) / 10, Sign.STRICT),
        (1 + sp.cos(u), Sign.WEAK),
        (u * sp.tanh(u), Sign.WEAK),
        (sp.log(1 + sp.exp(u)), Sign.STRICT),
        (1 + u * sp.exp(-(u**2)), Sign.STRICT),
        (sp.Abs(u) ** sp.Rational(3, 2) / (1 + u**2), Sign.WEAK),
        (sp.exp(-(u**2)) * (1 + sp.sin(1000 * u) / 2), Sign.STRICT),
        (2**u - sp.Rational(1, 8), Sign.INDEFINITE),
        (sp.Mod(u, 2) + HALF, Sign.STRICT),
        (sp.sech(u), Sign.STRICT),
        (sp.Max(sp.Min(u, 1), sp.Abs(u - 3) / 5), Sign.STRICT),
    ],
    ids=str,
)
def test_a_formula_that_touches_zero_or_stays_above_it(formula: sp.Expr, sign: Sign) -> None:
    assert prove(formula).sign is sign
    assert contradiction(formula, prove(formula)) is None


# --- what is not told, with the reason ---


@pytest.mark.parametrize(
    ("formula", "reason"),
    [
        (1 / u**2, "denominator"),
        (sp.Abs(1 / (u - 1)), "undefined"),
        (1 - sp.Heaviside(1 / (u - 1)), "Heaviside"),
        (sp.sqrt(u), "may be negative"),
        (sp.log(u**2) ** 2, "logarithm"),
        (sp.Piecewise((1, u > 0)), "undefined"),
        (sp.LambertW(sp.exp(u)), "LambertW"),
        (stats.Uniform("xi", 0, 1 + sp.Abs(u)), "depends on u"),
        (sp.Add(*(sp.sin(k * u) for k in range(1, 2000))), "operations"),
    ],
    ids=lambda value: value if isinstance(value, str) else str(value)[:30],
)
def test_what_cannot_be_told_says_why(formula: sp.Expr, reason: str) -> None:
    proof = prove(formula)
    assert proof.sign is Sign.CANNOT_TELL
    assert reason in " ".join(proof.steps)


def test_close_roots_do_not_hang_the_prover() -> None:
    product = sp.expand(sp.prod([(u - k) ** 2 for k in range(1, 11)]))
    assert prove(product).sign is Sign.WEAK
    assert prove(product - sp.Rational(1, 10**9)).sign is Sign.INDEFINITE
    assert prove(product + sp.Rational(1, 10**9)).sign is Sign.STRICT


@pytest.mark.parametrize("formula", [(1 + u**2) ** 500, sp.exp(sp.exp(sp.exp(u))), (1 + u**2) ** u, u**1000 + 1])
def test_large_numbers_do_not_stop_the_prover(formula: sp.Expr) -> None:
    assert prove(formula).sign is Sign.STRICT


# --- noise ---

XI = stats.Uniform("xi", 0, 1)
WIDE = stats.Uniform("eta", -1, 2)
NORMAL = stats.Normal("zeta", 0, 1)
WAITING = stats.Exponential("tau", 1)
COIN = stats.Bernoulli("coin", HALF)
COUNT = stats.Poisson("count", 2)


@pytest.mark.parametrize(
    ("formula", "sign"),
    [
        (XI, Sign.STRICT),
        (XI - HALF, Sign.INDEFINITE),
        (XI * TRIANGLE, Sign.WEAK),
        ((1 - XI) * sp.exp(u) + XI * u**2, Sign.STRICT),
        (WIDE + 1, Sign.STRICT),
        (WIDE + 1 - TINY, Sign.INDEFINITE),
        (XI * WIDE + 1, Sign.STRICT),
        (XI * WIDE + 1 - TINY, Sign.INDEFINITE),
        (NORMAL, Sign.INDEFINITE),
        (sp.exp(NORMAL * u), Sign.STRICT),
        (sp.Abs(NORMAL) + 1, Sign.STRICT),
        (WAITING * sp.exp(-(u**2)), Sign.STRICT),
        (WAITING * u, Sign.INDEFINITE),
        (COIN, Sign.WEAK),
        (COIN + 1, Sign.STRICT),
        (COIN * u, Sign.INDEFINITE),
        (COUNT + sp.exp(u), Sign.STRICT),
        (sp.Piecewise((1, sp.Abs(u) < XI), (-TINY, True)), Sign.INDEFINITE),
    ],
    ids=str,
)
def test_the_sign_of_a_random_factor(formula: sp.Expr, sign: Sign) -> None:
    proof = prove(formula)
    assert proof.sign is sign
    if sign is Sign.INDEFINITE:
        assert at(formula, {COIN: sp.Integer(1), **dict(proof.witness or {})}) < 0


def test_a_value_of_probability_zero_is_no_zero_and_an_attained_one_is() -> None:
    assert prove(XI).sign is Sign.STRICT
    assert prove(COUNT + u**2).sign is not Sign.STRICT


# --- any formula: never wrong ---

_constants = st.sampled_from([sp.Rational(p, q) for p in (-3, -1, 1, 2) for q in (1, 3, 10)])
_lines = st.builds(lambda a, b: a * u + b, _constants, st.just(sp.Integer(0)) | _constants)
_FORMS: tuple[Callable[[sp.Expr], sp.Expr], ...] = (
    lambda x: x,
    lambda x: x**2,
    lambda x: sp.exp(-(x**2)),
    lambda x: sp.exp(-sp.Abs(x)),
    lambda x: sp.exp(x),
    sp.tanh,
    sp.erf,
    sp.sin,
    sp.atan,
    sp.sign,
    sp.Heaviside,
    lambda x: 1 / (1 + x**2),
    lambda x: 1 / (1 + sp.Abs(x)),
    lambda x: 1 / sp.cosh(x) ** 2,
    lambda x: sp.log(1 + x**2),
    lambda x: sp.sqrt(1 + x**2),
    lambda x: sp.Max(0, 1 - sp.Abs(x)),
    lambda x: sp.Piecewise((sp.Rational(1, 7), sp.Abs(x) <= 1), (sp.Rational(-1, 3), True)),
)
_atoms = st.builds(lambda form, x: form(x), st.sampled_from(_FORMS), _lines) | _constants
_anything = st.recursive(
    _atoms,
    lambda inner: st.one_of(
        st.builds(sp.Add, inner, inner),
        st.builds(sp.Mul, inner, inner),
        st.builds(sp.Max, inner, inner),
        st.builds(sp.Min, inner, inner),
        st.builds(lambda a: a**2, inner),
        st.builds(lambda a, b, c: sp.Piecewise((a, u > c), (b, True)), inner, inner, _constants),
    ),
    max_leaves=4,
)


@settings(max_examples=150)
@given(formula=_anything)
def test_no_verdict_on_any_formula_is_contradicted(formula: sp.Expr) -> None:
    assume(not formula.has(sp.nan, sp.zoo))
    assert contradiction(formula, prove(formula)) is None


@settings(max_examples=60)
@given(formula=formulas("strict"))
def test_positive_by_construction_is_proved_strict(formula: sp.Expr) -> None:
    assert prove(formula).sign is Sign.STRICT


@settings(max_examples=60)
@given(formula=formulas("weak"))
def test_nonnegative_by_construction_is_proved_weak(formula: sp.Expr) -> None:
    assert prove(formula).sign is Sign.WEAK


@settings(max_examples=60)
@given(formula=formulas("indefinite"))
def test_of_both_signs_by_construction_is_proved_indefinite(formula: sp.Expr) -> None:
    assert prove(formula).sign is Sign.INDEFINITE


@settings(max_examples=60)
@given(formula=formulas("strict"), centre=_constants, width=st.sampled_from([1, 10, 1000, 10**6]))
def test_a_hole_in_a_positive_formula_is_never_missed(formula: sp.Expr, centre: sp.Expr, width: int) -> None:
    hole = 2 * formula.subs(u, centre) * sp.Max(0, 1 - width * sp.Abs(u - centre))
    assert prove(formula - hole).sign is Sign.INDEFINITE


# --- the referee ---


@pytest.mark.parametrize(
    ("formula", "claimed"),
    [
        (u**2, SignProof(Sign.STRICT, ())),
        (u**2 - 1, SignProof(Sign.STRICT, ())),
        (u, SignProof(Sign.WEAK, ())),
        (1 + u**2, SignProof(Sign.WEAK, (), {u: sp.Integer(0)})),
        (1 + u**2, SignProof(Sign.INDEFINITE, (), {u: sp.Integer(0)})),
        (ds.SURROGATES["swish_sign"].formula, SignProof(Sign.STRICT, ())),
    ],
)
def test_a_wrong_verdict_is_caught(formula: sp.Expr, claimed: SignProof) -> None:
    assert contradiction(formula, claimed) is not None


# --- monotone forwards ---


@pytest.mark.parametrize("name", ds.ACTIVATIONS)
def test_which_activations_never_fall(name: str) -> None:
    assert ds.ACTIVATIONS[name].increasing == (name not in {"silu", "gelu", "gelu_tanh"})


@pytest.mark.parametrize(
    ("formula", "expected"),
    [
        (u**3, True),
        (-u, False),
        (sp.Abs(u), False),
        (sp.sign(-u), False),
        (sp.floor(u) - u, False),
        (sp.ceiling(u / 2), True),
        (sp.Piecewise((u, u < 0), (u - TINY, True)), False),
        (sp.Piecewise((u, u < 0), (u + TINY, True)), True),
        (u + sp.sin(u), True),
        (sp.LambertW(sp.exp(u)), None),
        (sp.floor(u**2), None),
    ],
    ids=str,
)
def test_increasing_looks_at_jumps_too(formula: sp.Expr, expected: bool | None) -> None:
    assert increasing(formula) is expected
