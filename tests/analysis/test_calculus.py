"""What the proofs stand on: ranges hold every value, roots are all found, cells are where the formula folds."""

from __future__ import annotations

import itertools
from fractions import Fraction

import mpmath
import pytest
import sympy as sp
from downslope import u
from downslope.analysis.surrogates.formula.calculus.cells import cells
from downslope.analysis.surrogates.formula.calculus.numbers import Undecided, compare, rational_between, sign_of
from downslope.analysis.surrogates.formula.calculus.ranges import Range, Undefined, between, bounds
from downslope.analysis.surrogates.formula.calculus.roots import roots
from downslope.analysis.surrogates.formula.calculus.sturm import real_roots
from downslope.analysis.surrogates.formula.line.growth import growth, limit
from downslope.analysis.surrogates.formula.proof.tails import eventual_sign
from hypothesis import given, settings
from hypothesis import strategies as st

R, oo = sp.Rational, sp.oo

FORMULAS = [
    sp.exp(u),
    sp.exp(-sp.exp(u)),
    sp.log(1 + sp.exp(u)),
    sp.tanh(u) ** 3 - u,
    sp.erf(u) * sp.erfc(-u),
    sp.atan(u) / (1 + sp.asinh(u) ** 2),
    sp.sinh(u) / (1 + sp.cosh(u)),
    sp.sin(3 * u) * sp.cos(u) + sp.tan(R(1, 5)),
    (1 + u**2) ** R(-1, 3),
    sp.sqrt(1 + u**2) - sp.Abs(u),
    sp.Max(u, u**2, R(1, 3)) - sp.Min(u, 1),
    sp.floor(u) + sp.frac(2 * u) - sp.ceiling(-u),
    sp.sign(u) * sp.Heaviside(u - 1, R(1, 2)),
    sp.Piecewise((u, u < 1), (-(u**2), sp.Abs(u) > 2), (7, True)),
    2 ** (u / 3),
    sp.pi * u / (1 + (sp.pi * u) ** 2),
    sp.atanh(sp.tanh(u) / 2),
]


def number(end: object) -> mpmath.mpf:
    return mpmath.mp.make_mpf(end)


@settings(max_examples=150)
@given(
    formula=st.sampled_from(FORMULAS),
    low=st.fractions(-8, 8, max_denominator=1000),
    width=st.sampled_from([Fraction(1, 10**9), Fraction(1, 1000), Fraction(1, 3), Fraction(3)]),
    share=st.fractions(0, 1, max_denominator=97),
)
def test_a_range_holds_every_value(formula: sp.Expr, low: Fraction, width: Fraction, share: Fraction) -> None:
    left, inside, right = (sp.Rational(x.numerator, x.denominator) for x in (low, low + share * width, low + width))
    try:
        found = bounds(formula, {u: between(left, right) if share not in (0, 1) else closed(left, right)})
    except Undefined:
        return
    with mpmath.workdps(60):
        value = mpmath.mpf(sp.N(formula.subs(u, inside), 60))
        assert number(found.low) <= value <= number(found.high)
        assert value > number(found.low) or not found.low_open
        assert value < number(found.high) or not found.high_open


def closed(low: sp.Expr, high: sp.Expr) -> Range:
    wide = between(low, high)
    return Range(wide.low, wide.high)


@pytest.mark.parametrize(
    ("formula", "positive"),
    [(1 + sp.tanh(u), True), (1 - sp.tanh(u) ** 2, True), (sp.erfc(u), True), (1 + sp.cos(u), False), (u**2, False)],
)
def test_an_open_end_tells_positive_from_nonnegative(formula: sp.Expr, positive: bool) -> None:
    found = bounds(formula, {u: between(-oo, oo)})
    assert found.nonnegative
    assert found.positive is positive


@pytest.mark.parametrize("formula", [1 / u, sp.log(u), sp.sqrt(u), u**u, sp.gamma(u), 1 / sp.sin(u)])
def test_what_may_be_undefined_has_no_range(formula: sp.Expr) -> None:
    with pytest.raises(Undefined):
        bounds(formula, {u: between(sp.Integer(-1), sp.Integer(1))})


# --- numbers and roots ---


def test_the_sign_of_a_number_is_certain_or_not_told() -> None:
    assert sign_of(sp.exp(1) - R(271828182845904523536, 10**20)) == 1
    assert sign_of(sp.sqrt(2) * sp.sqrt(3) - sp.sqrt(6)) == 0
    assert compare(sp.pi, R(22, 7)) == -1
    with pytest.raises(Undecided):
        sign_of(sp.sin(1) ** 2 + sp.cos(1) ** 2 - 1)


@given(st.lists(st.fractions(-5, 5, max_denominator=30), min_size=1, max_size=5, unique=True), st.data())
def test_every_root_of_a_polynomial_is_isolated(found: list[Fraction], data: st.DataObject) -> None:
    powers = [data.draw(st.integers(1, 3)) for _ in found]
    t = sp.Symbol("t")
    factors = [(t - sp.Rational(x.numerator, x.denominator)) ** k for x, k in zip(found, powers, strict=True)]
    polynomial = sp.Poly(sp.expand(sp.prod(factors) * (t**2 + 1)), t)
    roots_found = real_roots(polynomial)
    assert [
        (root.low <= x <= root.high, root.multiplicity)
        for root, (x, k) in zip(roots_found, sorted(zip(found, powers, strict=True)), strict=True)
    ] == [(True, k) for _, k in sorted(zip(found, powers, strict=True))]
    assert all(a.high < b.low for a, b in itertools.pairwise(roots_found))
    assert [root.exact for root in roots_found] == [sp.Rational(x.numerator, x.denominator) for x in sorted(found)]


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        (u**2 - 2, (-sp.sqrt(2), sp.sqrt(2))),
        (sp.exp(u) - 2, (sp.log(2),)),
        (sp.tanh(2 * u) - R(1, 2), (sp.atanh(R(1, 2)) / 2,)),
        (sp.tanh(u) - 2, ()),
        (1 / (u - 1) - 1, (1, 2)),
        (sp.exp(u) - sp.exp(-9 * u**2), (-R(1, 9), 0)),
        (sp.sqrt(1 + u**2) - 2, (-sp.sqrt(3), sp.sqrt(3))),
        ((u - 1) * sp.exp(u), (1,)),
        (sp.pi * u**2 - 1, (-1 / sp.sqrt(sp.pi), 1 / sp.sqrt(sp.pi))),
    ],
    ids=str,
)
def test_roots_and_poles_in_closed_form(expression: sp.Expr, expected: tuple[sp.Expr, ...]) -> None:
    found = roots(expression)
    assert len(found) == len(expected)
    assert all(sp.simplify(a - b) == 0 for a, b in zip(found, expected, strict=True))


@pytest.mark.parametrize("expression", [sp.sin(u), u - sp.exp(-u), u**3 - u - 1, sp.floor(u)], ids=str)
def test_roots_that_may_be_missed_are_not_given(expression: sp.Expr) -> None:
    with pytest.raises(Undecided):
        roots(expression)


@given(st.fractions(-9, 9), st.fractions(-9, 9))
def test_a_rational_lies_between(a: Fraction, b: Fraction) -> None:
    low, high = (sp.Rational(x.numerator, x.denominator) * sp.sqrt(2) for x in sorted((a, b)))
    if low != high:
        assert compare(low, rational_between(low, high)) < 0 < compare(high, rational_between(low, high))


# --- cells ---


@pytest.mark.parametrize(
    ("formula", "expected"),
    [
        (sp.Abs(u), ["-oo < u < 0", "u = 0", "0 < u < oo"]),
        (
            sp.Max(0, 1 - sp.Abs(u)),
            ["-oo < u < -1", "u = -1", "-1 < u < 0", "u = 0", "0 < u < 1", "u = 1", "1 < u < oo"],
        ),
        (sp.Piecewise((u, u < 1), (u, True)), ["-oo < u < oo"]),
        (sp.Heaviside(u**2 + 1), ["-oo < u < oo"]),
        (sp.Piecewise((1, sp.Eq(u, 2)), (0, True)), ["-oo < u < 2", "u = 2", "2 < u < oo"]),
        (sp.Abs(1 / (u - 1)), ["-oo < u < 1", "u = 1", "1 < u < oo"]),
    ],
    ids=str,
)
def test_the_line_is_cut_where_a_formula_folds(formula: sp.Expr, expected: list[str]) -> None:
    assert [str(cell) for cell in cells(formula)] == expected


@settings(max_examples=60)
@given(formula=st.sampled_from(FORMULAS), point=st.fractions(-8, 8, max_denominator=50))
def test_a_cell_holds_the_formula(formula: sp.Expr, point: Fraction) -> None:
    at = sp.Rational(point.numerator, point.denominator)
    for cell in cells(formula):
        if (cell.is_point and cell.low == at) or (
            not cell.is_point and compare(cell.low, at) < 0 < compare(cell.high, at)
        ):
            assert abs(sp.N(cell.value.subs(u, at) - formula.subs(u, at), 30)) < 1e-25
            return
    raise AssertionError(f"{point} is in no cell")


# --- far out ---


@pytest.mark.parametrize(
    ("expression", "towards", "expected"),
    [
        (sp.exp(-u) + u - 1, 1, 1),
        (sp.exp(-u) + u - 1, -1, 1),
        (1 - u**3 * sp.exp(-u), 1, 1),
        (sp.exp(-(u**2)) - sp.exp(-(u**2) / 2) * 10**6, 1, -1),
        (R(9, 10) - sp.erf(u), 1, -1),
        (u * (1 - sp.tanh(u)) - sp.exp(-u), 1, -1),
        (sp.sin(u), 1, None),
        (1 + sp.erf(u), -1, None),
    ],
    ids=str,
)
def test_the_sign_far_out_holds_from_where_it_says(expression: sp.Expr, towards: int, expected: int | None) -> None:
    found = eventual_sign(expression, towards=towards)
    if expected is None:
        assert found is None
        return
    assert found is not None
    sign, start = found
    assert sign == expected
    for step in range(60):
        point = towards * start * R(11, 10) ** step
        assert sign * sp.N(expression.subs(u, point), 40, maxn=2000) > 0


@pytest.mark.parametrize(
    ("expression", "c", "a", "q"),
    [
        (1 / (1 + 2 * u) ** 2, R(1, 4), -2, 0),
        (1 / sp.cosh(3 * u) ** 2, 4, 0, -6 * u),
        (1 - sp.tanh(u), 2, 0, -2 * u),
        (1 - sp.erf(u), 1 / sp.sqrt(sp.pi), -1, -(u**2)),
        (u * sp.exp(-(u**2) + u + 1), sp.E, 1, -(u**2) + u),
    ],
    ids=str,
)
def test_the_leading_term(expression: sp.Expr, c: sp.Expr, a: int, q: sp.Expr) -> None:
    found = growth(expression)
    assert sp.simplify(found.c - c) == 0
    assert (found.a, sp.expand(found.q - q)) == (a, 0)


@pytest.mark.parametrize(
    ("expression", "end", "side", "expected"),
    [
        (sp.atan(u), oo, -1, sp.pi / 2),
        (1 / sp.sqrt(u), sp.Integer(0), 1, oo),
        (sp.log(u), sp.Integer(0), 1, -oo),
        (sp.exp(-u) * sp.cos(u), oo, -1, 0),
        ((u**2 + 1) / (2 * u**2 - 3), -oo, 1, R(1, 2)),
    ],
    ids=str,
)
def test_a_limit(expression: sp.Expr, end: sp.Expr, side: int, expected: sp.Expr) -> None:
    assert limit(expression, end, side) == expected


def test_a_wave_has_no_limit() -> None:
    with pytest.raises(Undecided):
        limit(sp.cos(u), oo, -1)
