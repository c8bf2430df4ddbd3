"""A formula's values against a 50-digit evaluation of it, where evaluations go wrong.

`assert_agrees` takes any evaluator, so that the tests at the end can plant wrong ones: each has to be caught.

Worst distances measured, over 280,000 random points for each catalogue entry and user's formula, in units in the last
place of the result: float64 3.0, float32 1.5; bfloat16 and float16 are rightly rounded (0.5).
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from functools import cache

import downslope as ds
import mpmath
import pytest
import sympy as sp
import torch
from downslope import u
from downslope.analysis.errors import Refused
from downslope.analysis.surrogates.formula.evaluation import evaluate
from torch import Tensor

Evaluator = Callable[[sp.Expr, Tensor], Tensor]

ULPS = {torch.float64: 3.0, torch.float32: 3.0, torch.bfloat16: 0.501, torch.float16: 0.501}
PRECISION = {torch.float64: 53, torch.float32: 24, torch.bfloat16: 8, torch.float16: 11}
DTYPES = [pytest.param(dtype, id=str(dtype).removeprefix("torch.")) for dtype in ULPS]
HALF = sp.Rational(1, 2)

CATALOGUE: dict[str, sp.Expr] = {
    **{f"surrogate {name}": each.formula for name, each in ds.SURROGATES.items() if not each.random},
    **{f"activation {name}": each.formula.subs(dict(each.parameters)) for name, each in ds.ACTIVATIONS.items()},
    **{f"tied {name}": each.tied.formula for name, each in ds.ACTIVATIONS.items()},
}

USERS: list[sp.Expr] = [
    1 / (1 + 25 * sp.Abs(u)) ** 2,
    u**2 / (1 + u**2),
    sp.exp(u) / (1 + sp.exp(u)) ** 2,
    1 - sp.tanh(u) ** 2,
    u * sp.exp(-(u**2)),
    sp.sech(u) ** 2 / 2,
    sp.sqrt(1 + u**2) - sp.Abs(u),
    HALF + sp.atan(u) / sp.pi,
    HALF - sp.atan(3 * u) / sp.pi,
    sp.Max(0, 1 - sp.Abs(u) / 2),
    sp.Min(1, sp.exp(u / 10)),
    sp.sign(u) * sp.log(1 + sp.Abs(u)),
    sp.Abs(u) ** sp.Rational(1, 3),
    2 ** (-sp.Abs(u)),
    sp.Piecewise((1, u**2 < 2), (0, True)),
    sp.Piecewise((1, sp.Abs(u - sp.Rational(1, 10)) <= sp.Rational(3, 10)), (0, True)),
    sp.Piecewise((sp.exp(u), u < 0), (1 + u + u**2 / 2, True)),
    sp.Piecewise((u, (u > -sp.pi) & (u <= sp.pi)), (sp.pi, True)),
    sp.exp(-(u**2) / 2) * (1 - u**2),
    sp.Heaviside(u) * sp.exp(-u),
    (u - 1) ** 3,
    u**3 - 3 * u + 1,
    sp.erf(u) ** 2,
    1 - sp.exp(-(u**2)),
    sp.cosh(u) / (1 + sp.cosh(u)) ** 2,
    sp.sin(u) ** 2 / (1 + u**2),
    1 + sp.sin(3 * sp.pi * u / 2),
    sp.cos(sp.pi * u / 5) * sp.exp(-sp.Abs(u)),
    sp.floor(u) - sp.ceiling(u / 2),
    sp.Mod(u, 1),
]


@cache
def true_value(formula: sp.Expr) -> Callable[[float], mpmath.mpf]:
    """The formula at a float, to 50 digits: computed with some digits and with twice as many, which must agree."""
    function = sp.lambdify(u, formula, "mpmath")

    def value(point: float) -> mpmath.mpf:
        for digits in (85, 700):  # the second where the first all cancel
            with mpmath.workdps(digits):
                coarse = mpmath.mpf(function(mpmath.mpf(point)))
            with mpmath.workdps(2 * digits):
                fine = mpmath.mpf(function(mpmath.mpf(point)))
                if fine and abs(fine - coarse) <= abs(fine) * mpmath.mpf(10) ** -50:
                    return fine
        assert abs(fine - coarse) <= mpmath.mpf(10) ** -400, (formula, point)
        return fine

    return value


def awkward(formula: sp.Expr, dtype: torch.dtype, count: int = 40) -> Tensor:
    """Break points and roots with their neighbours, zeros of both signs, subnormals, the largest, all magnitudes."""
    kind = torch.finfo(dtype)
    generator = torch.Generator().manual_seed(zlib.crc32(str(formula).encode()))
    low, high = round(mpmath.log(kind.smallest_normal * kind.eps, 2)), round(mpmath.log(kind.max, 2))
    near, far = ((-48, 48), (low, high)) if dtype != torch.float16 else ((low, high), (low, high))
    exponents = torch.cat([torch.randint(*ends, (count // 2,), generator=generator) for ends in (near, far)])
    magnitudes = torch.ldexp(torch.randn(len(exponents), generator=generator, dtype=torch.float64), exponents)
    common = 3 * torch.randn(count, generator=generator, dtype=torch.float64)
    special = [0.0, kind.max, kind.max / 2, kind.smallest_normal, kind.smallest_normal * kind.eps, 1.0, 0.5]
    numbers = {float(number) for number in formula.atoms(sp.Number) if number.is_finite}
    marked = torch.tensor([*special, *numbers, *_roots(formula)], dtype=torch.float64).to(dtype)
    up, down = (torch.full_like(marked, end) for end in (torch.inf, -torch.inf))
    beside = [torch.nextafter(marked, end) for end in (up, down)] if dtype.itemsize > 2 else [marked * (1 + kind.eps)]
    points = torch.cat([magnitudes.to(dtype), common.to(dtype), marked, *beside])
    points = torch.cat([points, -points])
    return points[points.isfinite()]


@cache
def _roots(formula: sp.Expr) -> list[float]:
    """Where the formula changes sign on a coarse grid, by bisection in mpmath: no code shared with what is tested."""
    function = sp.lambdify(u, formula, "mpmath")
    with mpmath.workdps(50):
        grid = [mpmath.mpf(index) / 8 + mpmath.mpf(1) / 64 for index in range(-48, 48)]
        values = [function(point) for point in grid]
        found = []
        for left, right, first, last in zip(grid, grid[1:], values, values[1:], strict=False):
            if first * last < 0:
                for _ in range(80):
                    middle = (left + right) / 2
                    left, right = (middle, right) if function(middle) * first > 0 else (left, middle)
                found.append(float(left))
    return found


def assert_agrees(evaluator: Evaluator, formula: sp.Expr, dtype: torch.dtype, points: Tensor) -> float:
    """The worst distance in units in the last place; fails where it is too far, naming the point."""
    kind = torch.finfo(dtype)
    given = evaluator(formula, points)
    assert given.dtype == dtype
    worst = 0.0
    for point, value in zip(points.double().tolist(), given.double().tolist(), strict=True):
        with mpmath.workdps(60):
            right = true_value(formula)(point)
            right = min(max(right, -kind.max), kind.max)  # results beyond the largest number saturate
            error = abs(mpmath.mpf(value) - right)
            if error <= kind.smallest_normal:
                continue
            exponent = mpmath.frexp(right)[1] if right else -(10**6)
            unit = mpmath.ldexp(1, max(exponent, mpmath.frexp(kind.smallest_normal)[1]) - PRECISION[dtype])
            distance = float(error / unit)
        assert distance <= ULPS[dtype], (
            f"{formula} at u = {point!r} ({dtype}): {value!r} is {distance:.3g} units off {mpmath.nstr(right, 20)}"
        )
        worst = max(worst, distance)
    return worst


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", CATALOGUE)
def test_every_catalogue_entry_agrees_with_fifty_digits(name, dtype):
    assert_agrees(evaluate, CATALOGUE[name], dtype, awkward(CATALOGUE[name], dtype, count=24))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("formula", USERS, ids=str)
def test_a_users_own_formula_agrees_with_fifty_digits(formula, dtype):
    assert_agrees(evaluate, formula, dtype, awkward(formula, dtype, count=12))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", [*CATALOGUE, *map(str, USERS)])
def test_finite_in_finite_out_and_nan_stays_nan(name, dtype):
    formula = CATALOGUE[name] if name in CATALOGUE else dict(zip(map(str, USERS), USERS, strict=True))[name]
    assert evaluate(formula, awkward(formula, dtype, count=200)).isfinite().all()
    assert evaluate(formula, torch.tensor([torch.nan], dtype=dtype)).isnan().all()


LIMITS = [
    (CATALOGUE["surrogate logistic_derivative"], 0.0, 0.0),
    (CATALOGUE["activation silu"], 0.0, torch.inf),
    (CATALOGUE["activation gelu"], 0.0, torch.inf),
    (CATALOGUE["tied gelu_tanh"], 0.0, 1.0),
    (CATALOGUE["activation softplus"], 0.0, torch.inf),
    (CATALOGUE["activation elu"], -1.0, torch.inf),
    (CATALOGUE["surrogate swish_sign"], 0.0, 0.0),
    (u**2 / (1 + u**2), 1.0, 1.0),
    (HALF + sp.atan(u) / sp.pi, 0.0, 1.0),
    (sp.log(1 + sp.Abs(u)), torch.inf, torch.inf),
    (sp.sin(u), torch.nan, torch.nan),
    (sp.Mod(u, 1), torch.nan, torch.nan),
    (-sp.exp(-u), -torch.inf, 0.0),
]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("formula", "left", "right"), LIMITS, ids=lambda each: str(each))
def test_an_infinity_gives_the_limit_and_nan_where_there_is_none(formula, left, right, dtype):
    given = evaluate(formula, torch.tensor([-torch.inf, torch.inf], dtype=dtype))
    torch.testing.assert_close(given, torch.tensor([left, right], dtype=dtype), equal_nan=True, rtol=0, atol=0)


@pytest.mark.parametrize("dtype", DTYPES)
def test_beyond_the_largest_number_values_saturate(dtype):
    largest = torch.finfo(dtype).max
    points = torch.tensor([1e30, -1e30, 1000.0, -1000.0], dtype=torch.float64).to(dtype).clamp(-largest, largest)
    assert evaluate(sp.exp(u), points).tolist()[:2] == [largest, 0.0]
    assert evaluate(u**11, points).tolist()[:2] == [largest, -largest]
    assert evaluate(10**6 * sp.Max(u, 0) ** 2, torch.tensor([largest], dtype=dtype)).item() == largest


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_hole_is_filled_by_the_limit(dtype):
    zero = torch.tensor([0.0, -0.0], dtype=dtype)
    assert evaluate(sp.sin(u) / u, zero).tolist() == [1.0, 1.0]
    assert evaluate((1 - sp.cos(u)) / u**2, zero).tolist() == [0.5, 0.5]
    with pytest.raises(Refused, match=r"grows beyond all bounds near u = 0\.0"):
        evaluate(1 / u, zero)


@pytest.mark.parametrize(
    ("formula", "said"),
    [
        (sp.gamma(1 + u**2), "the function gamma"),
        (sp.LambertW(1 + u**2), "the function LambertW"),
        (sp.DiracDelta(u), "the function DiracDelta"),
        (sp.Function("mine")(u), "the function mine"),
        (u * sp.Symbol("k"), "the symbol k"),
        (sp.sqrt(u), "no real value at u = -"),
        (sp.log(u), "grows beyond all bounds near u = "),
        (sp.log(u - 1), "no real value at u = "),
        (sp.Piecewise((1, u > 0)), "no real value at u = "),
        (u + sp.I, "the constant I is not a finite real number"),
    ],
)
def test_what_cannot_be_evaluated_is_refused_by_name(formula, said):
    with pytest.raises(Refused, match=said):
        evaluate(formula, torch.zeros(3, dtype=torch.float64))


def in_torch(formula, points, dtype=None):
    """As one would write it at first: torch's functions in one dtype."""
    given = points.to(dtype or points.dtype)
    return (
        torch.as_tensor(sp.lambdify(u, sp.N(formula, 17), "torch")(given)).broadcast_to(points.shape).to(points.dtype)
    )


def in_float32(formula, points):
    return in_torch(formula, points, torch.float32)


def one_unit_late(formula, points):
    return evaluate(formula, torch.nextafter(points, torch.full_like(points, torch.inf)))


def off_by_four_units(formula, points):
    return evaluate(formula, points) * (1 + 4 * torch.finfo(points.dtype).eps)


@pytest.mark.parametrize(
    ("mutant", "name", "dtype"),
    [
        (in_torch, "surrogate logistic_derivative", torch.float32),
        (in_torch, "surrogate logistic_derivative", torch.float64),
        (in_torch, "activation softplus", torch.float32),
        (in_torch, "tied tanh", torch.float64),
        (in_torch, "surrogate gaussian", torch.float64),
        (in_torch, "surrogate gaussian", torch.float32),
        (in_torch, "surrogate multi_gaussian", torch.float32),
        (in_torch, "surrogate cosine", torch.float64),
        (in_torch, "tied silu", torch.float64),
        (in_torch, "surrogate fast_sigmoid", torch.bfloat16),
        (in_float32, "surrogate laplace", torch.float64),
        (in_float32, "surrogate swish_sign", torch.float32),
        (one_unit_late, "surrogate rectangle", torch.float32),
        (one_unit_late, "surrogate relu_derivative", torch.float64),
        (off_by_four_units, "surrogate constant", torch.float32),
        (off_by_four_units, "surrogate laplace", torch.float64),
    ],
)
def test_a_wrong_evaluator_is_caught(mutant, name, dtype):
    with pytest.raises(AssertionError, match="units off"):
        assert_agrees(mutant, CATALOGUE[name], dtype, awkward(CATALOGUE[name], dtype))


def test_the_reference_notices_when_its_own_digits_cancel():
    assert float(true_value((1 - sp.cos(u)) / u**2)(1e-150)) == 0.5
