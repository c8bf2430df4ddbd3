from __future__ import annotations

import math

import downslope as ds
import pytest
import torch
import torch.nn.functional as F
from downslope.analysis.gradients.margin.margin import Margin, margin_of, signed_sums
from downslope.analysis.gradients.margin.replay import replay
from torch import nn


def one(activation, seed=0, samples=10):
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(4, 6), activation, nn.Linear(6, 3)).double()
    batch = torch.randn(samples, 4).double(), torch.randint(0, 3, (samples,))
    return model, F.cross_entropy, batch


def spread_of(activation, surrogate, **at):
    (margin,) = ds.descent_margin(*one(activation))
    return margin, margin.spread(ds.SURROGATES[surrogate].at(**at))


def test_the_tied_derivative_has_no_spread():
    (margin,) = ds.descent_margin(*one(nn.Tanh()))
    found = margin.spread(ds.ACTIVATIONS["tanh"].tied)
    assert found.kappa == pytest.approx(1, abs=1e-12)
    assert found.inner == pytest.approx(margin.norm_squared, rel=1e-12)
    assert found.standing == "inside"


@pytest.mark.parametrize("activation", [nn.Tanh(), nn.Sigmoid(), nn.Softplus(beta=2.0), nn.LeakyReLU(0.3), nn.ELU(0.7)])
def test_the_factors_are_psi_over_the_calls_own_derivative(activation):
    margin, found = spread_of(activation, "constant")
    z = margin.preactivation.clone().requires_grad_()
    (slope,) = torch.autograd.grad(activation(z).sum(), z)
    factors = 1 / slope
    assert (found.least, found.most) == (pytest.approx(factors.min().item()), pytest.approx(factors.max().item()))
    model, loss, batch = one(activation)
    again = replay(model, loss, batch, {str(margin.place): factors}, margin.below)
    assert found.inner == pytest.approx(again.inner, rel=1e-9)
    assert found.inner >= found.worst
    assert found.standing == ("inside" if found.kappa < margin.kappa_star else "outside")


def test_a_constant_multiple_is_inside_whatever_its_size():
    for height in (1e-6, 1e6):
        _, found = spread_of(nn.LeakyReLU(1.0), "constant", height=height)
        assert found.kappa == pytest.approx(1)
        assert found.standing == "inside"


def test_gradient_where_the_forward_is_flat_leaves_it_undecided():
    """THEORY zero-sets: phi' = 0 and psi != 0 is no factor at all."""
    margin, found = spread_of(nn.ReLU(), "constant")
    flat = int((margin.preactivation <= 0).sum())
    assert found.appeared == flat > 0
    assert (found.most, found.kappa, found.worst) == (math.inf, math.inf, None)
    assert found.standing == "undecided"
    assert found.itself == "descends"


@pytest.mark.parametrize("surrogate", ["constant", "triangle", "swish_sign", "relu_derivative"])
@pytest.mark.parametrize("name", ["relu", "convolution", "in place", "residual"])
def test_the_surrogates_own_inner_product_is_that_of_a_real_untied_backward(case, name, surrogate):
    """At phi' = 0, too, where psi is no multiple of phi'."""
    model, loss, batch = case(name)
    for margin in ds.descent_margin(model, loss, batch):
        found = margin.spread(ds.SURROGATES[surrogate])
        parameters = [dict(model.named_parameters())[each] for each in margin.below]
        true = torch.autograd.grad(loss(model(batch[0]), batch[1]), parameters)
        with ds.untie(model, {margin.place.activation: surrogate}):
            turned = torch.autograd.grad(loss(model(batch[0]), batch[1]), parameters)
        if [m.place.activation for m in ds.descent_margin(model, loss, batch)].count(margin.place.activation) > 1:
            continue  # untie replaces every place of that activation
        expected = sum(float((a * b).sum()) for a, b in zip(true, turned, strict=True))
        assert found.inner == pytest.approx(expected, rel=1e-9)
        assert found.itself == ("descends" if expected > 0 else "ascends")


def test_a_surrogate_that_ascends_where_the_forward_is_flat_is_said_to():
    margin, _ = spread_of(nn.ReLU(), "constant")
    off = margin.preactivation <= 0
    one_sided = {sign: margin.error * margin.tangent * sign > 0 for sign in (1, -1)}
    assert (off & one_sided[-1]).any()

    def psi(sign):
        return lambda z, generator=None: torch.where(off & one_sided[sign], torch.ones_like(z), torch.zeros_like(z))

    assert margin.spread(psi(-1)).itself == "ascends"
    assert margin.spread(psi(1)).itself == "descends"
    assert margin.spread(lambda z, generator=None: torch.zeros_like(z)).itself == "undecided"


def test_a_surrogate_that_vanishes_with_the_forward_is_judged_on_the_rest():
    _, found = spread_of(nn.ReLU(), "relu_derivative")
    assert (found.least, found.most, found.kappa, found.appeared) == (1, 1, 1, 0)
    assert found.standing == "inside"


def test_a_surrogate_that_vanishes_where_the_forward_does_not_has_no_finite_spread():
    margin, found = spread_of(nn.Tanh(), "rectangle", width=0.3)
    assert (found.least, found.kappa) == (0, math.inf)
    assert found.worst == pytest.approx(-found.most * margin.negative)
    assert found.standing == "outside"


def test_a_negative_factor_is_outside():
    _, found = spread_of(nn.Tanh(), "swish_sign")
    assert found.least < 0
    assert found.kappa == math.inf
    assert found.standing == "outside"


def test_random_surrogates_are_one_draw_of_the_generator():
    (margin,) = ds.descent_margin(*one(nn.Tanh()))
    draws = [margin.spread(ds.SURROGATES["full_jam"], torch.Generator().manual_seed(s)).inner for s in (1, 1, 2)]
    assert draws[0] == draws[1] != draws[2]


def test_paths_around_make_the_scale_count(case):
    """With B != 0 a constant multiple of phi' is not harmless: the rest of the gradient keeps its own scale."""
    margin = ds.descent_margin(*case("residual"))[1]
    softplus = ds.ACTIVATIONS["softplus"].tied
    assert margin.spread(softplus).standing == "inside"
    assert margin.worst(3, 3) == pytest.approx(margin.around + 3 * (margin.positive - margin.negative))


def test_the_sums_are_taken_in_double_precision():
    contributions = torch.full((10**6,), 1e-3, dtype=torch.float32)
    contributions[0] = 1e5
    positive, negative = signed_sums(contributions)
    assert positive == pytest.approx(1e5 + (10**6 - 1) * float(torch.tensor(1e-3)), rel=1e-14)
    assert negative == 0
    assert margin_of(positive, negative) == math.inf


def test_factors_have_the_asked_ratio(case):
    margin: Margin = ds.descent_margin(*case("tanh"))[0]
    factors = margin.factors(7.25)
    assert factors.dtype == margin.contributions.dtype
    assert torch.equal(factors == 7.25, margin.contributions < 0)
    assert torch.equal(factors == 1, margin.contributions >= 0)
