"""Chapter `smoothing`: units that fire at random, and what the straight-through estimator makes of them."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any

import sympy as sp

from ...claim import Claim, Hypothesis, Scope, Stated, Verdict, Witness
from ...roads import steps as by
from ...roads.game import Comparison, Draw, Game, number
from ...roads.steps import Step

SMALL_DEGREE = Hypothesis("degree at most 3", "the loss is a polynomial of degree at most 3 in the noisy unit")

fire, density, y, v, x = sp.symbols("F p y v x", real=True)
"""Phi(z/sigma) and p_sigma(z), its derivative by z."""
on, off, slope_on, slope_off = sp.symbols("l_1 l_0 d_1 d_0", real=True)
"""The loss and its derivative at output 1 and output 0."""
_F = sp.Function("F")
_NOISY = Scope(network="binary units, Gaussian noise", factors="the Gaussian density p_sigma")


# ----------------------------------------------------------------------------------------------- expected-gradient
def _expected(W: Any, first: Any, losses: Any) -> sp.Expr:
    """J for two binary units into two binary units, by enumeration; F(z) is the probability of firing."""
    total = sp.S.Zero
    for h in product((0, 1), repeat=2):
        weight = sp.Mul(*(a if s else 1 - a for a, s in zip(first, h, strict=True)))
        z = [W[i][0] * h[0] + W[i][1] * h[1] for i in range(2)]
        for k in product((0, 1), repeat=2):
            fires = sp.Mul(*(_F(a) if s else 1 - _F(a) for a, s in zip(z, k, strict=True)))
            total += weight * fires * losses[k]
    return total


def _enumerated(stated: Stated) -> Iterator[Step]:
    W = [sp.symbols(f"w_{i}_:2", real=True) for i in range(2)]
    first = sp.symbols("q_:2", real=True)
    losses = {k: sp.Symbol(f"l_{k[0]}{k[1]}", real=True) for k in product((0, 1), repeat=2)}
    J = _expected(W, first, losses)
    t = sp.Symbol("t", real=True)
    for i, j in ((0, 0), (0, 1), (1, 0)):
        formula = sp.S.Zero
        for h in product((0, 1), repeat=2):
            weight = sp.Mul(*(a if s else 1 - a for a, s in zip(first, h, strict=True)))
            z = [W[k][0] * h[0] + W[k][1] * h[1] for k in range(2)]
            slope = sp.diff(_F(t), t).subs(t, z[i]) * h[j]
            other = _F(z[1 - i])
            pair = losses if i == 0 else {(b, a): loss for (a, b), loss in losses.items()}
            means = {
                side: sum(p * pair[fired, b] for b, p in ((1, other), (0, 1 - other)))
                for fired, side in ((1, on), (0, off))
            }
            jump = stated["jump"].subs(means, simultaneous=True)
            formula += weight * slope * jump
        text = f"dJ/dW_{i}{j} = E[p(z_{i}) h_{j} (E[loss | h_i = 1] - E[loss | h_i = 0])], any law F, any loss"
        yield by.identity(text, sp.diff(J, W[i][j]).doit(), formula.doit())


def _by_differences(stated: Stated, effort: float) -> Iterator[Comparison]:
    import numpy as np
    from scipy.stats import norm

    generator = np.random.default_rng(7)
    for net in range(4 if effort >= 1 else 2):
        W, first, table = generator.normal(size=(2, 2)), generator.random(2), generator.normal(size=(2, 2))

        def outcomes(W: Any, first: Any = first) -> Iterator[tuple[float, Any, Any]]:
            for h in product((0, 1), repeat=2):
                yield float(np.prod(np.where(h, first, 1 - first))), np.array(h), W @ np.array(h)

        def J(W: Any, table: Any = table, outcomes: Any = outcomes) -> float:
            total = 0.0
            for weight, _, z in outcomes(W):
                a, b = norm.cdf(z)
                total += weight * float(np.array([1 - a, a]) @ table @ np.array([1 - b, b]))
            return total

        stated_value = 0.0
        for weight, h, z in outcomes(W):
            b = norm.cdf(z[1])
            means = table @ np.array([1 - b, b])
            stated_value += weight * norm.pdf(z[0]) * h[1] * float(number(stated["jump"], l_1=means[1], l_0=means[0]))
        step = np.array([[0.0, 1e-4], [0.0, 0.0]])
        slope = (8 * (J(W + step) - J(W - step)) - J(W + 2 * step) + J(W - 2 * step)) / 12e-4
        yield Comparison(f"dJ/dW_01 of random net {net + 1}", stated_value, slope, 1e-10, "enumeration")


EXPECTED_GRADIENT = Claim(
    id="expected-gradient",
    title="The gradient of the expected loss",
    statement="Units h_i ~ Bernoulli(Phi(z_i/sigma)): dJ/dW_ij = E[p_sigma(z_i) h_j (E[loss | h_i = 1] - "
    "E[loss | h_i = 0])].",
    latex=r"\frac{\partial J}{\partial W_{ij}} = \mathbb{E}\big[p_\sigma(z_i) h_j (\mathbb{E}[\ell \mid h_i = 1] - "
    r"\mathbb{E}[\ell \mid h_i = 0])\big]",
    expected=Verdict.PROVED,
    source="the exact counterpart of Gygax and Zenke 2025",
    scope=Scope(
        network="binary units, any law of firing",
        gradient="the layer",
        factors="none",
        sizes="two units into two, any loss of them",
    ),
    stated={"jump": on - off},
    proof=_enumerated,
    evaluate=_by_differences,
)


# -------------------------------------------------------------------------------------------------------- one-unit
def _one_unit(stated: Stated) -> Iterator[Step]:
    z, t = sp.symbols("z t", real=True)
    J = _F(z) * on + (1 - _F(z)) * off
    yield by.identity("one unit: dJ/dz", sp.diff(J, z), stated["exact"].subs(density, sp.diff(_F(z), z)))
    squared = stated["exact"].subs({on: (1 - y) ** 2 / 2, off: y**2 / 2})
    yield by.identity("squared error: (1/2 - y) p, not (Phi - y) p", squared, (sp.Rational(1, 2) - y) * density)
    through = density * (fire * slope_on + (1 - fire) * slope_off)
    a = sp.symbols("a_:5", real=True)
    loss = sum(a[i] * t**i for i in range(4))
    at = {on: loss.subs(t, 1), off: a[0], slope_on: sp.diff(loss, t).subs(t, 1), slope_off: a[1]}
    gap = sp.expand((through - stated["exact"]).subs(at) / density)
    yield by.given("degree at most 3")
    solved = sp.solve([sp.Poly(gap, fire).coeff_monomial(1), sp.Poly(gap, fire).coeff_monomial(fire)], [a[2], a[3]])
    yield by.all_of(
        "exact for every z only if the quadratic and the cubic coefficients are 0: the loss is affine",
        *(by.identity("coefficient", solved.get(symbol, symbol), 0) for symbol in (a[2], a[3])),
    )
    yield by.identity("and if it is affine, it is exact", gap.subs({a[2]: 0, a[3]: 0}), 0)
    quartic = t**2 * (1 - t) ** 2
    quiet = {on: quartic.subs(t, 1), off: 0, slope_on: sp.diff(quartic, t).subs(t, 1), slope_off: 0}
    yield by.identity(
        "degree 4 breaks it: t^2 (1 - t)^2 is not affine and both are 0", (through - stated["exact"]).subs(quiet), 0
    )
    rest = sp.Symbol("R", real=True)
    # One layer: R the mean of the other units' sum less y; the loss at h_i is (v h_i + rest)^2/2.
    exact = stated["exact"].subs({on: (v + rest) ** 2 / 2, off: rest**2 / 2})
    straight = density * v * (v * fire + rest)
    yield by.identity("one layer with squared error: off by", (straight - exact) * x, stated["layer"])


def _polynomial(draw: Draw) -> dict[str, Any]:
    a = draw.reals(4)
    if not draw.holds("degree at most 3"):  # a multiple of t^2 (1 - t)^2
        c = draw.real()
        a = [a[0], a[1], c, -2 * c, c]
    return {"a": a, "at": draw.share()}


def _affine_excess(stated: Stated, a: Any, at: Any) -> Any:
    """Exact at three firing probabilities yet not affine, or affine yet not exact."""
    values = {"l_1": sum(a), "l_0": a[0], "p": 1}
    slopes = sum(i * b for i, b in enumerate(a)), a[1]
    exact = number(stated["exact"], **values)
    gaps = [abs(f * slopes[0] + (1 - f) * slopes[1] - exact) for f in (0, at, 1)]
    affine = not any(a[2:])
    return 1 if affine is not (max(gaps) == 0) else 0


ONE_UNIT = Claim(
    id="one-unit",
    title="When straight-through is exact",
    statement="One noisy unit: the exact gradient is (l(1) - l(0)) p_sigma(z); for squared error (1/2 - y) p_sigma. "
    "Straight-through with the Gaussian psi is exact for every z iff the loss (of degree at most 3) is affine in the "
    "noisy unit; one layer with squared error is off by p_sigma v_i^2 (Phi - 1/2) x_j.",
    latex=r"\partial_z J = (\ell(1) - \ell(0))\,p_\sigma(z),\qquad "
    r"\tilde g - g = p_\sigma(z_i) v_i^2 (\Phi(z_i/\sigma) - \tfrac12) x_j",
    expected=Verdict.PROVED,
    source="ours; the theory page says 'iff affine' for any loss: t^2 (1 - t)^2 is exact and not affine, so the "
    "degree is bounded here",
    scope=_NOISY,
    hypotheses=(SMALL_DEGREE,),
    uses=("expected-gradient",),
    stated={"exact": density * (on - off), "layer": density * v**2 * (fire - sp.Rational(1, 2)) * x},
    proof=_one_unit,
    game=Game(_polynomial, _affine_excess),
)


# -------------------------------------------------------------------------------------------- smoothing-depth-flip
def _depth_flip(stated: Stated) -> Iterator[Step]:
    def normal(z: int) -> sp.Expr:
        return (1 + sp.erf(z / sp.sqrt(2))) / 2

    def p(z: int) -> sp.Expr:
        return sp.exp(-(sp.Integer(z) ** 2) / 2) / sp.sqrt(2 * sp.pi)

    true = 2 * (normal(1) - normal(0)) - (normal(4) - normal(0))
    through = (2 * p(0) - 4 * p(0) + 2 * p(1) - 4 * p(4)) / 2
    yield by.positive("the true derivative, over p(0), at u = (1, 4), v = (2, -1)", true)
    yield by.positive("minus the straight-through one", -through)
    yield by.positive("the printed value +0.18272", sp.Rational(1, 10**5) - sp.Abs(true - sp.Rational(18272, 10**5)))
    yield by.positive("and -0.15724", sp.Rational(1, 10**5) - sp.Abs(through + sp.Rational(15724, 10**5)))


def _flip_excess(stated: Stated, u: Any, v: Any) -> float | None:
    from math import erf, exp, pi, sqrt

    true = sum(b * erf(a / sqrt(2)) / 2 for a, b in zip(u, v, strict=True))
    through = sum(a * b * (1 + exp(-a * a / 2)) / 2 for a, b in zip(u, v, strict=True)) / sqrt(2 * pi)
    return -true * through if true and through else None


SMOOTHING_FLIP = Claim(
    id="smoothing-depth-flip",
    title="The exact per-unit factor keeps signs in depth",
    statement="The factor that is exact for each unit, p_sigma, keeps the sign of the gradient through depth.",
    latex=r"\mathrm{sign}\,\mathbb{E}\,\tilde g = \mathrm{sign}\,\nabla J",
    expected=Verdict.REFUTED,
    source="ours; at u = (1, 4), v = (2, -1), w1 = 0, x = 1, sigma = 1: +0.18272 p(0) against -0.15724 p(0)",
    scope=Scope(network="net 1-1-2, sigma = 1, loss v.h2, w1 = 0", gradient="the first weight", factors="p_sigma"),
    uses=("expected-gradient", "one-unit"),
    refutation=_depth_flip,
    game=Game(lambda draw: {"u": draw.reals(2), "v": draw.reals(2)}, _flip_excess, exact=False),
    witnesses=(
        Witness(
            "u = (1, 4), v = (2, -1), sigma = 1, w1 = 0, x = 1, loss v.h2: the true derivative over p(0) is positive, "
            "the straight-through one negative (rounded to 15 decimals)",
            "spikes",
            {"u": ["1", "4"], "v": ["2", "-1"], "digits": 15},
            {"true_over_p0": "0.182721163378919", "straight_through_over_p0": "-0.157239216333819"},
        ),
    ),
)
