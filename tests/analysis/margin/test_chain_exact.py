"""Convolutions, pooling, biases and shared weights against exact fractions: each map as its table of coefficients."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from downslope.analysis.gradients.margin.certificate.attack import attack, inner
from downslope.analysis.gradients.margin.certificate.chain import Link
from downslope.analysis.gradients.margin.certificate.crown import crown, naive
from downslope.analysis.gradients.margin.certificate.trace import trace
from torch import nn


def fractions(x):
    return np.vectorize(Fraction, otypes=[object])(x.reshape(x.shape[0], -1).numpy())


def table(link):
    """How output o depends on (input i, weight w), and on bias b: by unit vectors, so each entry is one product."""
    shape = link.input.shape[1:]
    one = torch.eye(shape.numel(), dtype=torch.float64).reshape(-1, *shape)
    if link.weight is None:
        plain = link.call(one, None, None).reshape(len(one), -1).numpy()
        return np.vectorize(lambda v: Fraction(v).limit_denominator(10**6), otypes=[object])(plain), None
    units = torch.eye(link.weight.numel(), dtype=torch.float64)
    slices = [link.call(one, u.reshape(link.weight.shape), None).reshape(len(one), -1) for u in units]
    zeros = torch.zeros_like(link.weight)
    biases = [
        link.call(one[:1], zeros, u).reshape(-1).numpy()
        for u in torch.eye(0 if link.bias is None else len(link.bias)).double()
    ]
    return np.vectorize(int, otypes=[object])(torch.stack(slices).numpy()), biases


class Exact:
    """<g, g~(t)> of a traced chain, sample by sample, in fractions."""

    def __init__(self, chain):
        self.chain, self.tables = chain, [table(s) if isinstance(s, Link) else None for s in chain.steps]
        self.error = fractions(chain.error)
        self.gradients = {}
        for sample, e in enumerate(self.error):
            self.walk(sample, e, None, self.collect)

    def matrix(self, position):
        """The coefficients (input, output) of a map at its own weight."""
        coefficients, _ = self.tables[position]
        weight = self.chain.steps[position].weight
        if weight is None:
            return coefficients
        w = fractions(weight.reshape(1, -1))[0]
        return sum(w[k] * coefficients[k] for k in range(len(w)))

    def walk(self, sample, e, factors, visit):
        for position in reversed(range(len(self.chain.steps))):
            step = self.chain.steps[position]
            if isinstance(step, Link):
                visit(position, sample, e)
                e = self.matrix(position) @ e
            else:
                e = e * fractions(step.derivative)[sample]
                if factors is not None:
                    e = e * fractions(factors[position])[sample]

    def collect(self, position, sample, e):
        step = self.chain.steps[position]
        coefficients, biases = self.tables[position]
        x = fractions(step.input)[sample]
        if step.trained[0]:
            found = np.array([x @ (c @ e) for c in coefficients], dtype=object)
            self.gradients[step.trained[0]] = self.gradients.get(step.trained[0], 0) + found
        if step.trained[1]:
            found = np.array([sum(int(v) * d for v, d in zip(b, e, strict=True)) for b in biases], dtype=object)
            self.gradients[step.trained[1]] = self.gradients.get(step.trained[1], 0) + found

    def part(self, sample, factors):
        total = Fraction(0)

        def add(position, sample, e):
            nonlocal total
            step = self.chain.steps[position]
            coefficients, biases = self.tables[position]
            x = fractions(step.input)[sample]
            if step.trained[0]:
                g = self.gradients[step.trained[0]]
                total += x @ sum(g[k] * coefficients[k] for k in range(len(g))) @ e
            if step.trained[1]:
                g = self.gradients[step.trained[1]]
                total += sum(g[k] * int(v) * d for k, b in enumerate(biases) for v, d in zip(b, e, strict=True))

        self.walk(sample, self.error[sample], factors, add)
        return total


class Twice(nn.Module):
    """One linear map used below and above the activation."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(3, 3), nn.Linear(3, 2)

    def forward(self, x):
        return self.b(torch.tanh(self.a(torch.tanh(self.a(x)))))


MODELS = {
    "convolution": (
        lambda: nn.Sequential(
            nn.Conv2d(1, 2, 2), nn.Tanh(), nn.AvgPool2d(3, stride=1), nn.Softplus(), nn.Flatten(), nn.Linear(2, 2)
        ),
        (1, 4, 4),
    ),
    "strided, padded, grouped": (
        lambda: nn.Sequential(
            nn.Conv1d(2, 2, 3, stride=2, padding=1, groups=2), nn.GELU(), nn.Flatten(), nn.Linear(4, 2), nn.Sigmoid()
        ),
        (2, 4),
    ),
    "shared": (Twice, (3,)),
    "a linear map over positions": (
        lambda: nn.Sequential(nn.Linear(2, 2), nn.Tanh(), nn.Flatten(), nn.Linear(4, 2)),
        (2, 2),
    ),
}


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("scale", [1.0, 1e-12, 1e9])
def test_values_and_bounds_enclose_the_exact_ones(name, scale):
    build, shape = MODELS[name]
    torch.manual_seed(0)
    model = build().double()
    x, y = torch.randn(2, *shape).double(), torch.randn(2, 2).double()
    chain = trace(model, lambda a, b: scale * F.mse_loss(a, b), (x, y))
    exact, generator = Exact(chain), torch.Generator().manual_seed(1)
    kappa = 2.5
    least = [bound.tolist() for bound in (crown(chain, kappa), naive(chain, kappa))]
    upper, vertex = attack(chain, kappa)
    ones = {p: torch.ones_like(t) for p, t in vertex.items()}
    random = {p: 1 + 1.5 * torch.rand(t.shape, generator=generator).double() for p, t in vertex.items()}
    for factors in (ones, random, vertex):
        found = inner(chain, factors)
        for sample in range(2):
            true = exact.part(sample, factors)
            assert abs(Fraction(found.value[sample].item()) - true) <= Fraction(found.radius[sample].item())
            assert all(Fraction(bound[sample]) <= true for bound in least)
            if factors is vertex:
                assert true <= Fraction(upper[sample].item())
    norm = sum(float(sum(v * v for v in g)) for g in exact.gradients.values())
    assert chain.norm_squared == pytest.approx(norm, rel=1e-12)
    assert float(inner(chain, ones).radius.sum()) < 1e-11 * norm
