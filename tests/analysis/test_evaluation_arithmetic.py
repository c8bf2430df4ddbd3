"""The arithmetics one by one: pairs to 100 bits, wide numbers within their own bound, exact decisions, the ladder."""

import operator

import downslope as ds
import mpmath
import pytest
import sympy as sp
import torch
from downslope import u
from downslope.analysis.surrogates.formula.arithmetic import plain
from downslope.analysis.surrogates.formula.arithmetic.wide import elementary, functions
from downslope.analysis.surrogates.formula.arithmetic.wide.number import Wide
from downslope.analysis.surrogates.formula.arithmetic.wide.pairs import Pair
from downslope.analysis.surrogates.formula.numerics import accurate, plans
from downslope.analysis.surrogates.formula.steps.forms import bounded, canonical, saturating
from torch.utils._python_dispatch import TorchDispatchMode

ONE = elementary.ONE
HALF = sp.Rational(1, 2)


def spread(low, high, count=150):
    """Pairs between two ends: evenly, and of every size down to 2^-60."""
    generator = torch.Generator().manual_seed(0)
    even = low + (high - low) * torch.rand(count, generator=generator, dtype=torch.float64)
    small = high * torch.exp2(-60 * torch.rand(count, generator=generator, dtype=torch.float64))
    high_part = torch.cat([even, small, -small]).clamp(low, high)
    rest = high_part * 2.0**-54 * (2 * torch.rand(len(high_part), generator=generator, dtype=torch.float64) - 1)
    return Pair(high_part, rest)


def exact_value(*parts):
    return sum((mpmath.mpf(float(part)) for part in parts), mpmath.mpf(0))


@pytest.mark.parametrize(
    ("function", "reference", "low", "high"),
    [
        (functions.exp, mpmath.exp, -0.36, 0.36),
        (functions.expm1, mpmath.expm1, -0.36, 0.36),
        (functions.log1p, mpmath.log1p, -0.29, 0.41),
        (lambda r: functions.sin_cos(r)[0], mpmath.sin, -0.785, 0.785),
        (lambda r: functions.sin_cos(r)[1], mpmath.cos, -0.785, 0.785),
        (functions.atan, mpmath.atan, -1.0, 1.0),
        (functions.erf, mpmath.erf, -1.0, 1.0),
        (functions.erfcx, lambda x: mpmath.exp(x * x) * mpmath.erfc(x), 1.0, 31.9),
    ],
    ids=["exp", "expm1", "log1p", "sin", "cos", "atan", "erf", "erfcx"],
)
def test_functions_of_pairs_are_right_to_2_to_the_minus_103(function, reference, low, high):
    given = spread(low, high)
    with mpmath.workdps(80):
        for hi, lo, *value in zip(*given, *function(given), strict=True):
            right = reference(exact_value(hi, lo))
            assert abs(exact_value(*value) - right) <= abs(right) * mpmath.mpf(2) ** -103


def every_size():
    """Each magnitude of float64 with both signs, a linear grid, both sides of 1, and the ends of the reduced ranges."""
    generator = torch.Generator().manual_seed(1)
    exponents = torch.arange(-1074, 1024, 89, dtype=torch.float64)
    sizes = torch.ldexp(torch.rand(len(exponents), generator=generator, dtype=torch.float64) + 0.5, exponents)
    near_one = torch.ldexp(torch.ones(27, dtype=torch.float64), -2 * torch.arange(1, 28))
    special = torch.tensor([0.0, 0.35, 0.36, 0.5, 0.5**0.5, 1.0, 2**0.5, 32.0, 31.99, 709.8], dtype=torch.float64)
    positive = torch.cat([sizes, torch.linspace(0.1, 45, 61).double(), 1 + near_one, 1 - near_one, special])
    return torch.cat([positive, -positive])


def minus_one(x):
    return x.plus(ONE.minus())


WIDE = {
    "exp": (elementary.exp, mpmath.exp, 1e9),
    "expm1": (elementary.expm1, mpmath.expm1, 1e9),
    "log |x|": (lambda x: elementary.log(x.absolute()), lambda x: mpmath.log(abs(x)), 1e400),
    "log1p |x|": (lambda x: elementary.log1p(x.absolute()), lambda x: mpmath.log(1 + abs(x)), 1e400),
    "sin": (elementary.sin, mpmath.sin, 1e400),
    "cos": (elementary.cos, mpmath.cos, 1e400),
    "sinpi": (elementary.sinpi, mpmath.sinpi, 1e400),
    "atan": (elementary.atan, mpmath.atan, 1e400),
    "tanh": (elementary.tanh, mpmath.tanh, 1e4),
    "sinh": (elementary.sinh, mpmath.sinh, 1e9),
    "cosh": (elementary.cosh, mpmath.cosh, 1e9),
    "erf": (elementary.erf, mpmath.erf, 40),
    "erfc": (elementary.erfc, mpmath.erfc, 40),
    "sqrt |x|": (lambda x: x.absolute().sqrt(), lambda x: mpmath.sqrt(abs(x)), 1e400),
    "1 - tanh^2": (lambda x: ONE.plus(elementary.tanh(x).power(2).minus()), lambda x: 1 - mpmath.tanh(x) ** 2, 90),
    "1 + erf": (lambda x: ONE.plus(elementary.erf(x)), lambda x: 1 + mpmath.erf(x), 25),
    "exp - 1": (lambda x: minus_one(elementary.exp(x)), lambda x: mpmath.exp(x) - 1, 1e9),
    "x^2 / (1 + x^2)": (lambda x: x.power(2).over(ONE.plus(x.power(2))), lambda x: x * x / (1 + x * x), 1e400),
    "x - x^3": (lambda x: x.plus(x.power(3).minus()), lambda x: x - x**3, 1e100),
    "floor(x + 1/2)": (lambda x: x.plus(elementary.constant(0.5)).floor(), lambda x: mpmath.floor(x + 0.5), 1e400),
    "max(x, x^2)": (lambda x: x.maximum(x.power(2)), lambda x: max(x, x * x), 1e400),
}


def broken_bounds(function, reference, reach):
    """The points where a wide number is farther from the truth than its own bound."""
    points = every_size()
    points = points[points.abs() <= reach]
    found = []
    with mpmath.workdps(700):
        for point, hi, lo, exponent, error in zip(
            points.tolist(), *(part.tolist() for part in function(Wide.exact(points))), strict=True
        ):
            if error < float("inf"):
                scale = mpmath.mpf(2) ** exponent
                distance = abs(exact_value(hi, lo) * scale - reference(mpmath.mpf(point)))
                found += [point] if distance > error * scale else []
    return found


@pytest.mark.parametrize("name", WIDE)
def test_a_wide_number_is_within_its_own_bound(name):
    assert broken_bounds(*WIDE[name]) == []


def test_a_bound_that_forgets_a_rounding_is_caught():
    def forgetful(x):
        value = x.power(3)
        return value._replace(error=torch.zeros_like(value.error))

    assert broken_bounds(forgetful, lambda x: x**3, 1e100) != []


@pytest.mark.parametrize(
    ("formula", "point", "right"),
    [
        ((1 - sp.cos(u)) / u**2, 1e-160, 0.5),
        (sp.sin(u), 1e300, -0.8178819121159085),
        (sp.sin(u) ** 2 + sp.cos(u) ** 2 - 1, 3.0, 0.0),
        (sp.floor(u + HALF), 0.49999999999999994, 0.0),
        (sp.floor(sp.log(sp.exp(u))), 3.0, 3.0),
        (sp.Piecewise((1, sp.Eq(sp.Mod(u, 2), HALF)), (0, True)), 2.0**51 + 0.5, 1.0),
        (sp.Piecewise((1, u**2 < 2), (0, True)), 1.4142135623730951, 0.0),
        (sp.exp(-u) / (1 + sp.exp(-u)) ** 2, -1e300, 0.0),
        (sp.exp(3 * u) / (1 + sp.exp(u)) ** 3, 1e300, 1.0),
    ],
    ids=str,
)
def test_exact_numbers_decide_what_others_cannot(formula, point, right):
    assert accurate.at(canonical(formula), point) == right


def test_a_comparison_with_a_number_that_no_float_holds_is_exact():
    for dtype in (torch.float64, torch.float32, torch.bfloat16, torch.float16):
        tenth = torch.tensor(0.1, dtype=torch.float64).to(dtype)
        points = torch.stack([plain.neighbour(tenth, steps) for steps in range(-3, 4)])
        for relation in (operator.lt, operator.le, operator.gt, operator.ge, operator.eq, operator.ne):
            compare = plain.arithmetic("compare", (relation, sp.Rational(1, 10)), dtype)
            right = [bool(relation(sp.Rational(float(point)), sp.Rational(1, 10))) for point in points]
            assert compare(points).tolist() == right


FORMS = [
    1 - sp.tanh(u) ** 2,
    ds.ACTIVATIONS["gelu"].tied.formula,
    ds.ACTIVATIONS["gelu_tanh"].tied.formula,
    ds.ACTIVATIONS["silu"].tied.formula,
    sp.log(1 + sp.exp(3 * u)),
    sp.exp(u) / (1 + sp.exp(u)) - sp.exp(2 * u) / (1 + sp.exp(u)) ** 2,
    (sp.exp(u) - sp.exp(-u)) / (sp.exp(u) + sp.exp(-u)),
    sp.sinh(u) / sp.cosh(u) ** 3,
    HALF + sp.atan(u) / sp.pi,
    sp.Heaviside(u) * sp.exp(-u),
    sp.erfc(-u) + sp.tan(u) * sp.Mod(u, 2),
]


@pytest.mark.parametrize("formula", FORMS, ids=str)
@pytest.mark.parametrize("form", [canonical, lambda x: bounded(canonical(x)), lambda x: saturating(canonical(x))])
def test_another_form_means_the_same(formula, form):
    other = form(formula)
    for point in (-7.3, -0.4, 0.0, 0.4, 7.3):
        assert accurate.at(other, point) == pytest.approx(accurate.at(canonical(formula), point), rel=1e-14, abs=1e-300)
        assert float(formula.subs(u, sp.Rational(point)).evalf(30)) == pytest.approx(
            accurate.at(other, point), rel=1e-14
        )


class Counted(TorchDispatchMode):
    """How many operations torch carries out."""

    count = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.count += 1
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize(
    ("name", "most"), [("constant", 1), ("relu_derivative", 3), ("rectangle", 4), ("clipped", 4), ("triangle", 6)]
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_cheap_surrogates_are_a_few_operations_in_the_dtype(name, most, dtype):
    formula = ds.SURROGATES[name].formula
    assert plans.choose(formula, dtype).rung == "plain"
    plan, points = plans.choose(formula, dtype).plan, torch.randn(5).to(dtype)
    with Counted() as counted:
        plan(points)
    assert counted.count <= most


@pytest.mark.parametrize("name", [name for name, each in ds.SURROGATES.items() if not each.random])
def test_training_never_needs_the_slow_rung(name):
    assert plans.choose(ds.SURROGATES[name].formula, torch.float32).rung in ("plain", "float64")
    assert plans.choose(ds.SURROGATES[name].formula, torch.bfloat16).rung in ("plain", "table")
