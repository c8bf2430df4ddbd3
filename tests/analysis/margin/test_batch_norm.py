"""Batch norm in evaluation mode is affine, and certificates take it: real backwards, a fold and fractions agree."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import downslope as ds
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from downslope.analysis.errors import Refused
from downslope.analysis.gradients.margin.certificate import trace as traces
from downslope.analysis.gradients.margin.certificate.attack import attack
from downslope.analysis.gradients.margin.certificate.chain import Slope
from downslope.analysis.gradients.margin.certificate.crown import crown, naive
from downslope.analysis.gradients.margin.certificate.semidefinite import bilinear, semidefinite
from downslope.analysis.gradients.margin.replay import replay
from torch import nn


def used(model, seed=0):
    """Statistics, weights and biases as after a training: nothing is 0 or 1, and some weights are negative."""
    generator = torch.Generator().manual_seed(seed)
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.running_mean.copy_(torch.randn(module.num_features, generator=generator))
            module.running_var.copy_(0.2 + torch.rand(module.num_features, generator=generator))
            if module.affine:
                module.weight.data.copy_(torch.randn(module.num_features, generator=generator))
                module.bias.data.copy_(torch.randn(module.num_features, generator=generator))
    return model.double().eval()


def dense(seed=0, affine=True):
    torch.manual_seed(seed)
    layers = [nn.Linear(4, 6), nn.BatchNorm1d(6, affine=affine), nn.Tanh(), nn.Linear(6, 5), nn.BatchNorm1d(5)]
    return used(nn.Sequential(*layers, nn.Tanh(), nn.Linear(5, 3)), seed)


def convolution(seed=0):
    torch.manual_seed(seed)
    layers = [nn.Conv2d(1, 3, 3, bias=False), nn.BatchNorm2d(3), nn.ReLU(), nn.AvgPool2d(2), nn.Flatten()]
    return used(nn.Sequential(*layers, nn.Linear(12, 5), nn.BatchNorm1d(5), nn.Softplus(), nn.Linear(5, 3)), seed)


def first(seed=0):
    torch.manual_seed(seed)
    return used(nn.Sequential(nn.BatchNorm1d(4), nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3)), seed)


def batch(model, samples=6):
    torch.manual_seed(5)
    shape = (1, 6, 6) if isinstance(model[0], nn.Conv2d) else (4,)
    return torch.randn(samples, *shape).double(), torch.randint(0, 3, (samples,))


NETWORKS = {"dense": dense, "convolution": convolution, "first": first, "plain": lambda: dense(affine=False)}


def disagreement(model, over=None):
    """How far the attack's value is from that of a real backward under its factors, relative to |g|^2."""
    found = ds.certify(model, F.cross_entropy, batch(model), kappa=4.0, over=over)
    real = replay(model, F.cross_entropy, batch(model), found.factors, over)
    return max(abs(found.upper - real.inner), abs(found.norm_squared - real.norm_squared)) / real.norm_squared


@pytest.mark.parametrize("name", NETWORKS)
def test_the_attack_is_what_a_real_backward_gives(name):
    model = NETWORKS[name]()
    for over in (None, [name for name, _ in model.named_parameters() if name.startswith("1.")] or None):
        assert disagreement(model, over) < 1e-10


@pytest.mark.parametrize("frozen", ["weight", "bias"])
def test_a_frozen_weight_or_bias_does_not_count(frozen):
    model = dense()
    getattr(model[1], frozen).requires_grad_(False)
    assert disagreement(model) < 1e-10


@pytest.mark.parametrize("name", NETWORKS)
def test_certified_below_attacked_and_both_hold_in_real_backwards(name):
    model = NETWORKS[name]()
    found = ds.certify(model, F.cross_entropy, batch(model), tolerance=0.02)
    assert 1 < found.certified < found.attacked
    assert found.replay().inner < 0
    _, after = found.replay().rise()
    assert after > found.replay().loss
    generator = torch.Generator().manual_seed(1)
    for _ in range(20):
        masks = {place: torch.rand(t.shape, generator=generator) < 0.5 for place, t in found.above.factors.items()}
        factors = {place: 1 + (found.certified - 1) * mask.double() for place, mask in masks.items()}
        again = replay(model, F.cross_entropy, batch(model), factors)
        assert again.inner >= found.below.lower > 0


def test_folded_into_the_next_layer_nothing_changes():
    """Over the lowest layer alone, which no norm follows, the network with the norms folded has the same gradient."""
    torch.manual_seed(0)
    layers = [nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 5), nn.BatchNorm1d(5), nn.Tanh(), nn.Linear(5, 3)]
    model = used(nn.Sequential(*layers))
    norm, linear = model[3], nn.Linear(6, 5).double()
    scale = norm.weight / (norm.running_var + norm.eps).sqrt()
    linear.weight.data = (scale[:, None] * model[2].weight).detach()
    linear.bias.data = ((model[2].bias - norm.running_mean) * scale + norm.bias).detach()
    folded = nn.Sequential(model[0], nn.Tanh(), linear, nn.Tanh(), model[5])
    for kappa in (1.0, 3.0, 20.0):
        one, other = (
            ds.certify(net, F.cross_entropy, batch(net), kappa=kappa, over=["0.weight", "0.bias"])
            for net in (model, folded)
        )
        assert one.lower == pytest.approx(other.lower, rel=1e-9, abs=1e-12 * kappa**2 * one.norm_squared)
        assert one.upper == pytest.approx(other.upper, rel=1e-9, abs=1e-12 * kappa**2 * one.norm_squared)


def fractions(x):
    return np.vectorize(Fraction, otypes=[object])(x.detach().numpy())


def exact(chain):
    """A function from one sample and its factors to its exact part of <g, g~(t)>, for vectors in every layer.

    A map is a matrix, trained as such, or a diagonal: fixed, or trained entry by entry; biases have the error itself.
    """
    maps = []
    for step in chain.steps:
        if isinstance(step, Slope):
            maps.append(("slope", fractions(step.derivative), None))
        elif step.weight is None:
            maps.append(("fixed", fractions(step.image(torch.ones_like(step.input[:1]))[0]), None))
        else:
            maps.append(
                ("matrix" if step.weight.dim() == 2 else "diagonal", fractions(step.weight), fractions(step.input))
            )
    delta, gradients = fractions(chain.error), [None] * len(maps)
    for i, (kind, numbers, entered) in reversed(list(enumerate(maps))):
        if kind == "matrix":
            gradients[i], delta = (delta.T @ entered, delta.sum(0)), delta @ numbers
            continue
        if kind == "diagonal":
            gradients[i] = (delta * entered).sum(0), delta.sum(0)
        delta = delta * numbers
    error = fractions(chain.error)

    def part(sample, factors):
        tangent, left = 0, list(factors)
        for (kind, numbers, entered), gradient in zip(maps, gradients, strict=True):
            if kind == "slope":
                tangent = tangent * numbers[sample] * left.pop(0)
            elif kind == "fixed":
                tangent = tangent * numbers
            elif kind == "diagonal":
                tangent = tangent * numbers + gradient[0] * entered[sample] + gradient[1]
            else:
                tangent = (numbers @ tangent if np.ndim(tangent) else 0) + gradient[0] @ entered[sample] + gradient[1]
        return error[sample] @ tangent

    return part


def violations(seed, kappa, scale=1.0):
    torch.manual_seed(seed)
    layers = [nn.Linear(2, 3), nn.BatchNorm1d(3), nn.Tanh(), nn.Linear(3, 2), nn.BatchNorm1d(2), nn.Tanh()]
    model = used(nn.Sequential(*layers, nn.Linear(2, 2)), seed)
    for module in (model[1], model[4]):
        module.running_var.mul_(scale)
    pair = torch.randn(2, 2).double(), torch.randn(2, 2).double()
    chain = traces.trace(model, F.mse_loss, pair)
    part, wrong = exact(chain), []
    corners = [itertools.product((Fraction(1), Fraction(kappa)), repeat=n) for n in (3, 2)]
    vertices = [[np.array(t, dtype=object) for t in choice] for choice in itertools.product(*corners)]
    least = [min(part(sample, factors) for factors in vertices) for sample in range(2)]
    bounds = {"crown": crown(chain, kappa), "naive": naive(chain, kappa)}
    bounds["semidefinite"] = semidefinite(bilinear(chain), kappa)
    for name, bound in bounds.items():
        wrong += [
            name for low, true in zip(bound.tolist(), least, strict=True) if low > -math.inf and Fraction(low) > true
        ]
    upper, _ = attack(chain, kappa)
    wrong += ["attack" for high, true in zip(upper.tolist(), least, strict=True) if Fraction(high) < true]
    close = [
        float(true) - low <= 1e-9 * float(chain.norm_squared) for low, true in zip(bounds["crown"], least, strict=True)
    ]
    return wrong + ["loose"] * (kappa == 1 and not all(close))


@pytest.mark.parametrize("kappa", [1.0, 3.0, 50.0])
@pytest.mark.parametrize("scale", [1.0, 1e8, 1e-8])
def test_no_bound_is_on_the_wrong_side_of_the_exact_minimum(kappa, scale):
    assert [violations(seed, kappa, scale) for seed in range(4)] == [[]] * 4


@pytest.mark.parametrize("planted", ["not centred", "without its scale", "weight untrained"])
def test_a_wrong_fold_is_caught_by_the_real_backward(monkeypatch, planted):
    real = traces._Tape._link

    def wrong(self, call, value, result, weight=None, bias=None, trained=(None, None)):
        if planted == "without its scale" and weight is None:
            return real(self, lambda x, w, b: x, value, result)
        if weight is not None and weight.dim() == 1:
            value = value + 1 if planted == "not centred" else value
            trained = (None, trained[1]) if planted == "weight untrained" else trained
        return real(self, call, value, result, weight, bias, trained)

    monkeypatch.setattr(traces._Tape, "_link", wrong)
    assert disagreement(dense()) > 1e-3


def test_norms_by_the_batchs_own_statistics_are_refused():
    model = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6, track_running_stats=False), nn.Tanh(), nn.Linear(6, 3))
    with pytest.raises(Refused, match=r"1 \(BatchNorm1d\) calls .*batch_norm: it norms by the batch's own statistics"):
        ds.certify(model.eval(), F.cross_entropy, batch(model))
