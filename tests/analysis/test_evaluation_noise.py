"""Random formulas: the distribution that was declared, the seed's draws, the same draw in the derivative."""

import downslope as ds
import numpy as np
import pytest
import sympy as sp
import torch
from downslope import u
from downslope.analysis.errors import Refused
from downslope.analysis.surrogates.formula.evaluation import evaluate
from scipy import stats as laws
from sympy import stats
from torch.func import grad, jvp, vmap

# Torch's own forward mode loads scripted functions, which announce their end.
pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.script:DeprecationWarning")

THIRD = sp.Rational(1, 3)
xi, eta = stats.Uniform("xi", 0, 1), stats.Normal("eta", 0, 1)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


CONTINUOUS = [
    (stats.Uniform("a", -1, 2), laws.uniform(-1, 3)),
    (stats.Normal("a", 1, 2), laws.norm(1, 2)),
    (stats.Exponential("a", 3), laws.expon(scale=1 / 3)),
    (stats.LogNormal("a", 0, THIRD), laws.lognorm(1 / 3)),
    (stats.Beta("a", 2, 3), laws.beta(2, 3)),
    (stats.Gamma("a", 2, 3), laws.gamma(2, scale=3)),
    (stats.Laplace("a", 1, 2), laws.laplace(1, 2)),
    (stats.Logistic("a", 0, 2), laws.logistic(0, 2)),
    (stats.Triangular("a", 0, 3, 1), laws.triang(1 / 3, 0, 3)),
]


@pytest.mark.parametrize(("symbol", "law"), CONTINUOUS, ids=lambda each: str(getattr(each, "pspace", "")))
def test_draws_have_the_declared_distribution(symbol, law):
    drawn = evaluate(symbol, torch.zeros(20_000, dtype=torch.float64), generator=seeded())
    assert laws.kstest(drawn.numpy(), law.cdf).pvalue > 0.01


def test_the_test_of_the_distribution_catches_another_one():
    drawn = evaluate(xi ** sp.Rational(11, 10), torch.zeros(20_000, dtype=torch.float64), generator=seeded())
    assert laws.kstest(drawn.numpy(), laws.uniform.cdf).pvalue < 0.01


@pytest.mark.parametrize(
    ("symbol", "values", "chance"),
    [(stats.Bernoulli("b", THIRD), (0.0, 1.0), 1 / 3), (stats.Rademacher("b"), (-1.0, 1.0), 1 / 2)],
)
def test_discrete_draws_have_the_declared_chances(symbol, values, chance):
    drawn = evaluate(symbol, torch.zeros(30_000, dtype=torch.float64), generator=seeded()).numpy()
    assert set(np.unique(drawn)) == set(values)
    assert laws.binomtest(int((drawn == values[1]).sum()), len(drawn), chance).pvalue > 0.01


def test_entries_and_symbols_are_independent():
    both = evaluate(xi, torch.zeros(2, 10_000, dtype=torch.float64), generator=seeded()).numpy()
    assert abs(np.corrcoef(both)[0, 1]) < 0.03
    product = evaluate((xi - sp.Rational(1, 2)) * eta, torch.zeros(20_000).double(), generator=seeded())
    assert abs(product.mean()) < 0.01


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_a_positive_factor_is_never_zero(dtype):
    assert (ds.SURROGATES["full_jam"](torch.zeros(300_000, dtype=dtype), generator=seeded()) > 0).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_a_seed_gives_the_same_draws_in_every_dtype(dtype):
    surrogate = ds.SURROGATES["rectangular_jam"]
    x = torch.linspace(-6, 6, 49)
    wanted = surrogate(x.double(), generator=seeded(3))
    given = surrogate(x.to(dtype), generator=seeded(3))
    assert torch.equal(given, wanted.to(dtype))
    assert not torch.equal(given, surrogate(x.to(dtype), generator=seeded(4)))
    assert (given[x.abs() > 5] == 0).all()


def test_without_a_generator_torchs_own_seed_decides():
    torch.manual_seed(5)
    first = evaluate(xi, torch.zeros(4))
    torch.manual_seed(5)
    assert torch.equal(first, evaluate(xi, torch.zeros(4)))


def test_the_derivative_uses_the_same_draw():
    x = torch.randn(50, dtype=torch.float64, generator=seeded(1)).requires_grad_()
    value = evaluate(xi * u**3 + eta, x, generator=seeded(2))
    (first,) = torch.autograd.grad(value.sum(), x, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), x)
    draws = evaluate(xi * u, torch.ones_like(x), generator=_after_eta(50))
    torch.testing.assert_close(first.detach(), 3 * draws * x.detach() ** 2)
    torch.testing.assert_close(second, 6 * draws * x.detach())


def _after_eta(count):
    """The state of the generator when xi is drawn: symbols draw by name, eta first."""
    generator = seeded(2)
    evaluate(eta, torch.zeros(count, dtype=torch.float64), generator=generator)
    return generator


def test_a_derivative_without_noise_is_exact():
    x = torch.randn(9, requires_grad=True)
    (found,) = torch.autograd.grad(evaluate(xi + eta + 2 * u, x).sum(), x)
    assert found.tolist() == [2.0] * 9


def test_transforms_draw_for_each_entry():
    x = torch.randn(4, 3, generator=seeded(1))
    formula = xi * u**2
    wanted = evaluate(formula, x, generator=seeded(2))
    generator = seeded(2)
    assert torch.equal(vmap(lambda row: evaluate(formula, row, generator=generator))(x), wanted)
    assert len((wanted / x**2).unique()) == 12
    value, tangent = jvp(lambda row: evaluate(formula, row, generator=seeded(2)), (x,), (torch.ones_like(x),))
    torch.testing.assert_close(value, wanted)
    torch.testing.assert_close(tangent, 2 * wanted / x)
    generator = seeded(2)
    slope = vmap(grad(lambda row: evaluate(formula, row, generator=generator).sum()))(x)
    torch.testing.assert_close(slope, 2 * wanted / x)


def test_noise_that_cannot_be_drawn_is_refused_by_name():
    with pytest.raises(Refused, match="StudentT"):
        evaluate(stats.StudentT("t", 3), torch.zeros(2))
    with pytest.raises(Refused, match="Die"):
        evaluate(stats.Die("d", 6) * u, torch.zeros(2))
    with pytest.raises(Refused, match="have to be numbers"):
        evaluate(stats.Normal("n", u, 1), torch.zeros(2))
