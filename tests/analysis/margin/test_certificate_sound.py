"""Certificates against the exact minimum, in rational arithmetic that shares no code with them."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from downslope.analysis.gradients.margin.certificate import chain as chains
from downslope.analysis.gradients.margin.certificate import crown as crowns
from downslope.analysis.gradients.margin.certificate import rounded as roundings
from downslope.analysis.gradients.margin.certificate import semidefinite as duals
from downslope.analysis.gradients.margin.certificate.attack import attack, inner
from downslope.analysis.gradients.margin.certificate.crown import crown, naive
from downslope.analysis.gradients.margin.certificate.rounded import Rounded
from hypothesis import given, settings
from hypothesis import strategies as st


class Net:
    """A small fully connected network as plain arrays, and its <g, g~(t)> in exact fractions."""

    def __init__(self, widths, samples, seed, scale=0, activation="tanh"):
        g = torch.Generator().manual_seed(seed)

        def normal(*shape):
            return torch.randn(*shape, generator=g, dtype=torch.float64)

        self.weights = [normal(b, a) * 10.0**scale for a, b in itertools.pairwise(widths)]
        self.inputs, self.slopes = [normal(samples, widths[0])], []
        for weight in self.weights[:-1]:
            z = self.inputs[-1] @ weight.T
            a, slope = (z.tanh(), 1 - z.tanh() ** 2) if activation == "tanh" else (z.relu(), (z > 0).double())
            self.inputs.append(a)
            self.slopes.append(slope)
        self.error = normal(samples, widths[-1]) / samples
        self.chain = chains.dense(self.weights, self.slopes, self.inputs, self.error)

    def exact(self):
        """A function from one sample and its factors to its exact part of <g, g~>."""

        def fractions(x):
            return np.vectorize(Fraction, otypes=[object])(x.numpy())

        weights, slopes, inputs = ([fractions(x) for x in part] for part in (self.weights, self.slopes, self.inputs))
        delta = fractions(self.error)
        gradients = [None] * len(weights)
        for i in reversed(range(len(weights))):
            gradients[i] = delta.T @ inputs[i]
            if i:
                delta = (delta @ weights[i]) * slopes[i - 1]
        error = fractions(self.error)

        def part(sample, factors):
            e, total = error[sample], Fraction(0)
            for i in reversed(range(len(weights))):
                total += e @ (gradients[i] @ inputs[i][sample])
                if i:
                    e = (e @ weights[i]) * slopes[i - 1][sample] * factors[i - 1]
            return total

        return part

    def least(self, kappa):
        """The exact minimum of each sample's part over the vertices of its box: there a multilinear form has it."""
        part = self.exact()
        widths = [slope.shape[1] for slope in self.slopes]
        corners = [list(itertools.product((Fraction(1), Fraction(kappa)), repeat=n)) for n in widths]
        vertices = [[np.array(t, dtype=object) for t in choice] for choice in itertools.product(*corners)]
        return [min(part(sample, factors) for factors in vertices) for sample in range(len(self.error))]


SHAPES = [(2, 3, 1), (3, 2, 2, 1), (2, 3, 3, 2), (2, 2, 2, 2, 1)]
nets = st.builds(
    Net,
    st.sampled_from(SHAPES),
    st.integers(1, 2),
    st.integers(0, 10**6),
    st.sampled_from([0, 0, 0, -3, 1, 4, -60, 60, 90, -90]),
    st.sampled_from(["tanh", "relu"]),
)
kappas = st.one_of(st.just(1.0), st.floats(1.0, 8.0), st.floats(8.0, 1e5))


def lower_bounds(net, kappa):
    yield "crown", crown(net.chain, kappa)
    yield "naive", naive(net.chain, kappa)
    if len(net.slopes) == 2:
        yield "semidefinite", duals.semidefinite(duals.bilinear(net.chain), kappa)


def violations(net, kappa):
    """The bounds that are on the wrong side of the exact minimum of a sample's part."""
    least = net.least(kappa)
    upper, factors = attack(net.chain, kappa)
    wrong = [name for name, bound in lower_bounds(net, kappa) if any(map(exceeds, bound.tolist(), least))]
    wrong += ["attack"] * any(exceeds(-high, -low) for high, low in zip(upper.tolist(), least, strict=True))
    wrong += ["box"] * any(bool(((t != 1) & (t != kappa)).any()) for t in factors.values())
    return wrong


def exceeds(bound, least):
    """Whether a lower bound claims too much; one that overflowed to NaN or -inf claims nothing."""
    return bound == math.inf or (math.isfinite(bound) and Fraction(bound) > least)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(nets, kappas)
def test_no_bound_is_on_the_wrong_side_of_the_exact_minimum(net, kappa):
    assert violations(net, kappa) == []


@settings(max_examples=30, deadline=None, derandomize=True)
@given(nets, kappas, st.integers(0, 10**6))
def test_the_value_of_a_vertex_is_within_its_radius(net, kappa, seed):
    part, g = net.exact(), torch.Generator().manual_seed(seed)
    factors = {
        p: 1 + (kappa - 1) * torch.rand(net.slopes[i].shape, generator=g).double()
        for i, p in enumerate(net.chain.slopes)
    }
    found = inner(net.chain, factors)
    for sample in range(len(net.error)):
        if not math.isfinite(found.radius[sample]):
            continue
        rows = [np.vectorize(Fraction, otypes=[object])(t[sample].numpy()) for t in factors.values()]
        exact = part(sample, rows)
        assert abs(Fraction(found.value[sample].item()) - exact) <= Fraction(found.radius[sample].item())


def hunted(kappa=3.0, count=40):
    """What a search over plain networks finds, kappa = 1 included: there the bound must not exceed |g|^2 itself."""
    found = []
    for seed in range(count):
        net = Net(SHAPES[seed % len(SHAPES)], 2, seed)
        found += violations(net, 1.0 if seed % 2 else kappa)
    return set(found)


def test_the_search_finds_nothing_in_the_real_certificates():
    assert hunted() == set()


def wrong_side(low, high, kappa):
    """The upper envelope in place of the lower one."""
    right = REAL_RELAX(low, high, kappa)
    return crowns.Relaxed(right.falling, right.rising, torch.zeros_like(right.gap), right.reach)


def no_gap(low, high, kappa):
    right = REAL_RELAX(low, high, kappa)
    return crowns.Relaxed(right.rising, right.falling, torch.zeros_like(right.gap), right.reach)


def tight_interval(low, high, kappa):
    return REAL_RELAX(0.7 * low, 0.7 * high, kappa)


REAL_RELAX = crowns.relax


@pytest.mark.parametrize("mutant", [wrong_side, no_gap, tight_interval])
def test_an_unsound_relaxation_is_caught(monkeypatch, mutant):
    monkeypatch.setattr(crowns, "relax", mutant)
    assert hunted() == {"crown"}


def test_the_rounding_margin_is_needed(monkeypatch):
    """Without radii the bounds are right to 1e-15 and still wrong: fractions see it."""
    for module in (roundings, chains, crowns):
        monkeypatch.setattr(module, "upward", lambda radius, terms=1: torch.zeros_like(radius), raising=False)
        monkeypatch.setattr(module, "gamma", lambda terms: 0.0, raising=False)
    monkeypatch.setattr(Rounded, "low", property(lambda self: self.value))
    monkeypatch.setattr(Rounded, "high", property(lambda self: self.value))
    monkeypatch.setattr(torch, "nextafter", lambda value, toward: value)
    assert {"crown", "attack"} <= hunted()


def test_the_rounding_margin_is_small():
    for seed in range(20):
        net = Net(SHAPES[seed % len(SHAPES)], 2, seed)
        for (name, bound), exact in zip(lower_bounds(net, 1.0), itertools.repeat(net.least(1.0))):
            for low, true in zip(bound.tolist(), exact, strict=True):
                assert float(true) - low < 1e-11 * net.chain.norm_squared, name


def quadratic(n, seed, scale=1.0):
    g = torch.Generator().manual_seed(seed)
    q = torch.randn(1, n, n, generator=g, dtype=torch.float64) * scale
    q = q + q.mT
    return q - torch.diag_embed(q.diagonal(dim1=1, dim2=2)), torch.randn(1, n, generator=g, dtype=torch.float64)


def exact_least(q):
    matrix = np.vectorize(Fraction, otypes=[object])(q[0].numpy())
    return min(
        (s := np.array(signs, dtype=object)) @ matrix @ s for signs in itertools.product((1, -1), repeat=len(matrix))
    )


@pytest.mark.parametrize("seed", range(12))
def test_weak_duality_for_any_multipliers(seed):
    q, u = quadratic(2 + seed % 6, seed, 10.0 ** (seed % 5 - 2))
    for multipliers in (u, 100 * u, 0 * u, duals.mixing(q, [slice(i, i + 1) for i in range(q.shape[1])])):
        assert Fraction(float(duals.dual_bound(q, multipliers))) <= exact_least(q)


def test_the_mixing_method_gives_good_multipliers():
    for seed in range(6):
        q, _ = quadratic(6, seed)
        bound = float(duals.dual_bound(q, duals.mixing(q, [slice(i, i + 1) for i in range(6)])))
        assert 1.3 * float(exact_least(q)) <= bound


@pytest.mark.parametrize("planted", ["one eigenvalue", "no shift"])
def test_an_unsound_dual_bound_is_caught(monkeypatch, planted):
    real = duals.least_eigenvalue
    wrong = {"one eigenvalue": lambda a: real(a) / a.shape[-1], "no shift": lambda a: 0 * real(a)}[planted]
    monkeypatch.setattr(duals, "least_eigenvalue", wrong)
    assert any(
        Fraction(float(duals.dual_bound(q, u))) > exact_least(q) for q, u in (quadratic(5, seed) for seed in range(20))
    )


def positive_semidefinite(matrix):
    """Exact, by elimination in fractions: every pivot is positive, or zero with a zero row."""
    a = [list(row) for row in matrix]
    while a:
        pivot, row = a[0][0], a[0][1:]
        if pivot < 0 or (pivot == 0 and any(row)):
            return False
        a = [
            [x - (y * z / pivot if pivot else 0) for x, z in zip(r[1:], row, strict=True)]
            for r, y in zip(a[1:], row, strict=True)
        ]
    return True


def gram(seed, n=5):
    """Rank deficient, of entries far apart: the true least eigenvalue is near 0, on either side."""
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(1, n, 2, generator=g, dtype=torch.float64) * 10.0 ** torch.randint(-3, 4, (1, n, 1), generator=g)
    return x @ x.mT


def is_bound(value, a):
    shifted = [
        [Fraction(x) - (Fraction(value) if i == j else 0) for j, x in enumerate(row)]
        for i, row in enumerate(a.tolist())
    ]
    return positive_semidefinite(shifted)


def test_the_least_eigenvalue_is_proved_not_believed():
    cases = [gram(seed) for seed in range(20)] + [quadratic(5, seed)[0] for seed in range(20)]
    assert all(is_bound(duals.least_eigenvalue(a).item(), a[0]) for a in cases)
    believed = [torch.linalg.eigvalsh(a)[0, 0].item() for a in cases]
    assert not all(is_bound(value, a[0]) for value, a in zip(believed, cases, strict=True))
    for a in cases:
        assert torch.linalg.eigvalsh(a)[0, 0] - duals.least_eigenvalue(a) < 1e-12 * torch.linalg.matrix_norm(a)
