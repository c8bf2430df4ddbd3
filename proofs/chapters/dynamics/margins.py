"""Chapter `perceptron`, continued: the margin of the data set Ones, and the loss that const-1 minimises."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any

import sympy as sp

from ...claim import Claim, Scope, Stated, Verdict
from ...roads import steps as by
from ...roads.game import Comparison, number
from ...roads.steps import Step

d = sp.Symbol("d", positive=True, integer=True)
half = sp.Symbol("f", nonnegative=True, integer=True)
"""floor(d/2)."""


# ----------------------------------------------------------------------------------------------------- ones-margin
def _ones(stated: Stated) -> Iterator[Step]:
    radius, inverse = stated["radius"], stated["inverse"]
    yield by.identity("R^2: the sample of all ones with its bias 1", d * 1**2 + 1, radius)
    g = 1 / sp.sqrt(inverse)
    a, b = 2 * g, -g * (1 + 2 * half)
    yield by.identity("u = (a, ..., a, b) has length 1", d * a**2 + b**2, 1)
    yield by.identity("margin of a sample with floor(d/2) + 1 ones", a * (half + 1) + b, g)
    yield by.identity("and of one with floor(d/2)", -(a * half + b), g)
    yield by.positive("further from the threshold it only grows", a)
    # No unit vector does better: a point of the hull of the signed samples has length gamma.
    mix = sp.Symbol("mu", real=True)
    share = (1 + mix) / 2
    each = (share * (half + 1) - (1 - share) * half) / d  # averages over the samples nearest the threshold
    length = d * each**2 + mix**2
    best = -(2 * half + 1) / inverse
    yield by.identity(
        "the averages of both classes mix to a point of squared length gamma^2", length.subs(mix, best), g**2
    )
    yield by.identity("64 inputs", stated["inverse"].subs({d: 64, half: 32}), 4481)
    yield by.identity("so (R/gamma)^2 at d = 64", (radius * inverse).subs({d: 64, half: 32}), 291265)


def _hull(stated: Stated, effort: float) -> Iterator[Comparison]:
    import numpy as np
    from scipy.optimize import nnls

    for size in range(1, 8 if effort >= 1 else 5):
        points = np.array([[*x, 1] for x in product((0, 1), repeat=size)], dtype=float)
        signed = points * np.where(points[:, :-1].mean(axis=1) > 0.5, 1.0, -1.0)[:, None]
        # The least-squares weights of [points; 1] against (0; 1) are proportional to the nearest point of the hull's.
        weights = nnls(np.vstack([signed.T, np.ones(len(signed))]), np.array([0.0] * (size + 1) + [1.0]))[0]
        nearest = signed.T @ weights / weights.sum()
        value = float(number(stated["inverse"], d=size, f=size // 2))
        what = f"1/gamma^2 at d = {size}, distance of the hull of {len(points)} samples"
        yield Comparison(what, value, 1 / float(nearest @ nearest), 1e-8 * value, "enumeration")
        largest = float((points**2).sum(axis=1).max())
        yield Comparison(f"R^2 at d = {size}", float(number(stated["radius"], d=size)), largest, 0.0, "enumeration")


ONES_MARGIN = Claim(
    id="ones-margin",
    title="The margin of Ones",
    statement="The data set Ones with threshold 1/2 and a bias feature 1: R^2 = d + 1 and 1/gamma^2 = 4d + "
    "(2 floor(d/2) + 1)^2; at d = 64 the mistake bound is 65 * 4481 = 291265.",
    latex=r"R^2 = d + 1,\quad \gamma^{-2} = 4d + (2\lfloor d/2\rfloor + 1)^2",
    expected=Verdict.PROVED,
    source="ours, for the data of Troiano et al. 2025",
    scope=Scope(network="one unit with bias", samples="all of {0, 1}^d", gradient="none", factors="none"),
    stated={"radius": d + 1, "inverse": 4 * d + (2 * half + 1) ** 2},
    proof=_ones,
    evaluate=_hull,
)


# --------------------------------------------------------------------------------------------------- matching-loss
z, y, w, x = sp.symbols("z y w x", real=True)


def _matching(stated: Stated) -> Iterator[Step]:
    phi, integral, t = sp.Function("phi"), sp.Function("Phi"), sp.Symbol("t", real=True)
    loss = integral(w * x) - y * (w * x)
    slope = sp.diff(loss, w).doit().subs(sp.diff(integral(t), t).subs(t, w * x), phi(w * x))
    const = (phi(w * x) - y) * 1 * x
    slope = slope.replace(sp.Subs, lambda *_: phi(w * x)) if slope.has(sp.Subs) else slope
    yield by.identity("const-1 on squared error = the gradient of the integral of phi - y, Phi' = phi", slope, const)
    logistic = 1 / (1 + sp.exp(-z))
    cross = stated["cross entropy"]
    yield by.identity("logistic: its derivative is logistic - y", sp.diff(cross, z), logistic - y)
    usual = -y * sp.log(logistic) - (1 - y) * sp.log(1 - logistic)
    yield by.identity("and it is the cross-entropy, up to its value at 0", sp.diff(usual - cross, z), 0)
    yield by.identity("whose value at 0 is log 2", (usual - cross).subs(z, 0), 0)
    up, down = sp.Symbol("z", positive=True), sp.Symbol("z", negative=True)
    for side, output in ((up, 1), (down, 0)):
        text = f"Heaviside: the perceptron criterion has slope {output} - y where the output is {output}"
        yield by.identity(text, sp.diff(sp.Max(0, side) - y * side, side), output - y)


def _quadrature(stated: Stated, effort: float) -> Iterator[Comparison]:
    from math import exp, log

    from scipy.integrate import quad

    for point, label in ((2.0, 1.0), (-3.0, 0.0), (0.5, 1.0)):
        work = quad(lambda s, label=label: 1 / (1 + exp(-s)) - label, 0, point)[0] + log(2)
        value: Any = number(stated["cross entropy"], z=point, y=label)
        yield Comparison(f"cross-entropy at z = {point:g}, y = {label:g}", float(value), work, 1e-10, "quadrature")


MATCHING_LOSS = Claim(
    id="matching-loss",
    title="Const-1 at the output is another loss's exact gradient",
    statement="Const-1 through an output unit with squared error is the exact gradient of the matching loss, the "
    "integral of phi - y: cross-entropy for logistic, the perceptron criterion for Heaviside.",
    latex=r"(\phi(z) - y)\,x = \nabla_w \int^{w^T x} (\phi(s) - y)\,ds",
    expected=Verdict.PROVED,
    source="Auer, Herbster and Warmuth 1996 (matching loss); so single-layer experiments say little about depth",
    scope=Scope(network="one output unit", samples="any", gradient="the unit", factors="const-1"),
    stated={"cross entropy": sp.log(1 + sp.exp(z)) - y * z},
    proof=_matching,
    evaluate=_quadrature,
)
