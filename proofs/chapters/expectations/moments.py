"""Chapter `jamming`, continued: second moments of a jammed gradient, and its cosine in wide networks."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from itertools import product
from typing import Any

import sympy as sp

from ...claim import Claim, Scope, Stated, Verdict
from ...roads import steps as by
from ...roads.game import Comparison, Draw, Game, dot, number
from ...roads.steps import Step
from .jamming import BLIND, INDEPENDENT

mu, s, length, spread, coupling = sp.symbols("mu s G R Q", positive=True)
_ROWS = ((0, 0), (0, 1), (1, 0), (1, 1))
"""The (sample, unit) pairs of the proof's family: two samples, two units."""


# ------------------------------------------------------------------------------------------------- jamming-moments
def expectation(expression: sp.Expr, factors: tuple[sp.Symbol, ...]) -> sp.Expr:
    """E of a polynomial of degree at most two in each of the independent factors of mean mu and variance s^2."""
    moments = (sp.S.One, mu, mu**2 + s**2)
    terms = sp.Poly(sp.expand(expression), *factors).terms()
    return sp.Add(*(coefficient * sp.Mul(*(moments[p] for p in powers)) for powers, coefficient in terms))


def _one_layer(psi: Any, r: Any, x: Any) -> list[list[Any]]:
    """g~_i = sum_k psi_ki r_ki x_k, for two samples, two units, two inputs."""
    return [[sum(psi[2 * k + i] * r[2 * k + i] * x[k][j] for k in range(2)) for j in range(2)] for i in range(2)]


def _parts(r: Any, x: Any) -> tuple[Any, Any, Any, Any]:
    plain = _one_layer([1] * 4, r, x)
    square = sum(dot(row, row) for row in plain)
    noise = sum(r[2 * k + i] ** 2 * dot(x[k], x[k]) for k, i in _ROWS)
    mixed = sum((r[2 * k + i] * dot(x[k], plain[i])) ** 2 for k, i in _ROWS)
    return plain, square, noise, mixed


def _moments(stated: Stated) -> Iterator[Step]:
    psi, r = sp.symbols("psi_:4", real=True), sp.symbols("r_:4", real=True)
    flat = sp.symbols("x_:4", real=True)
    x = [flat[:2], flat[2:]]
    moved = _one_layer(psi, r, x)
    plain, square, noise, mixed = _parts(r, x)
    yield by.given("blind")
    yield by.given("independent")
    second = expectation(sum(dot(row, row) for row in moved), psi)
    yield by.identity(
        "E|g~|^2 (2 samples, 2 units, 2 inputs)",
        second,
        stated["square"].subs({length: sp.sqrt(square), spread: noise}),
    )
    inner = sum(dot(a, b) for a, b in zip(moved, plain, strict=True))
    values = {length: sp.sqrt(square), coupling: mixed}
    yield by.identity("E<g~, g1>^2", expectation(inner**2, psi), stated["product"].subs(values))
    W = sp.Matrix(2, 2, sp.symbols("w_:4", real=True))
    delta = sp.Matrix(sp.symbols("delta_:2", real=True))
    below = sp.diag(*psi[:2]) * W.T * delta
    outer = (below * below.T).applyfunc(lambda entry: expectation(entry, psi))
    C = W.T * delta * delta.T * W
    yield by.identity("deep: C <- mu^2 W'CW + s^2 Diag(W'CW)", outer, mu**2 * C + s**2 * sp.diag(C[0, 0], C[1, 1]))


def _drawn(draw: Draw) -> dict[str, Any]:
    return {
        "r": draw.reals(4),
        "x": draw.matrix(2, 2),
        "mean": draw.real(),
        "deviation": draw.real(),
        "independent": draw.holds("independent"),
        "blind": draw.holds("blind"),
    }


def _moments_excess(stated: Stated, r: Any, x: Any, mean: Any, deviation: Any, independent: bool, blind: bool) -> Any:
    """Both moments over all outcomes of factors mean +- deviation, against the formulas."""
    outcomes = list(product((-1, 1), repeat=4)) if independent else [(-1,) * 4, (1,) * 4]
    plain, square, noise, mixed = _parts(r, x)
    second = inner = 0
    for outcome in outcomes:
        upstream = r if blind else [a * (1 + (o > 0)) for a, o in zip(r, outcome, strict=True)]
        moved = _one_layer([mean + deviation * o for o in outcome], upstream, x)
        second += sum(dot(row, row) for row in moved)
        inner += sum(dot(a, b) for a, b in zip(moved, plain, strict=True)) ** 2
    share, known = Fraction(1, len(outcomes)), {"mu": mean, "s": deviation}
    first = number(stated["square"].subs(length, sp.sqrt(length)), G=square, R=noise, **known)
    other = number(stated["product"].subs(length, sp.sqrt(length)), G=square, Q=mixed, **known)
    return max(abs(second * share - first), abs(inner * share - other))


JAMMING_MOMENTS = Claim(
    id="jamming-moments",
    title="Second moments of a jammed gradient",
    statement="One layer, g1 the const-1 gradient: E|g~|^2 = mu^2 |g1|^2 + s^2 sum r^2 |x|^2 and E<g~, g1>^2 = "
    "mu^2 |g1|^4 + s^2 sum (r_ki <x_k, g1_i>)^2; deep, C <- mu^2 W'CW + s^2 Diag(W'CW) for C = E delta delta'.",
    latex=r"\mathbb{E}|\tilde g|^2 = \mu^2 |g_1|^2 + s^2 \textstyle\sum_{ki} r_{ki}^2 |x_k|^2",
    expected=Verdict.PROVED,
    source="ours",
    scope=Scope(
        network="one layer, then a recursion over layers",
        samples="any",
        factors="random, mean mu, variance s^2",
        sizes="2 samples, 2 units, 2 inputs",
    ),
    hypotheses=(BLIND, INDEPENDENT),
    stated={"square": mu**2 * length**2 + s**2 * spread, "product": mu**2 * length**4 + s**2 * coupling},
    proof=_moments,
    game=Game(_drawn, _moments_excess, cases=120),
)


# --------------------------------------------------------------------------------------------- jamming-wide-cosine
depth = sp.Symbol("k", positive=True, integer=True)


def _wide(stated: Stated, effort: float) -> Iterator[Comparison]:
    import numpy as np

    width, nets, layers = (1000, 8, 4) if effort >= 1 else (500, 6, 3)
    generator = np.random.default_rng(2026)
    cosines = np.empty((nets, layers))
    for n in range(nets):
        plain = jammed = generator.standard_normal(width)
        for layer in range(layers):
            jammed = generator.random(width) * jammed
            cosines[n, layer] = plain @ jammed / np.sqrt((plain @ plain) * (jammed @ jammed))
            W = generator.standard_normal((width, width)) / np.sqrt(width)
            plain, jammed = W.T @ plain, W.T @ jammed
    for layer in range(layers):
        error = cosines[:, layer].std(ddof=1) / np.sqrt(nets)
        predicted = float(number(stated["cosine"], k=layer + 1))
        what = f"cosine to const-1 below {layer + 1} jammed layers, width {width}, {nets} networks"
        yield Comparison(what, predicted, float(cosines[:, layer].mean()), 4 * float(error) + 2 / width, "draws")


JAMMING_WIDE = Claim(
    id="jamming-wide-cosine",
    title="Each jammed layer costs a factor sqrt(3)/2",
    statement="Wide network, one sample: the cosine of the jammed to the const-1 gradient falls by sqrt(3)/2 a jammed "
    "layer under U(0, 1).",
    latex=r"\cos(\tilde g, g_1) \to (\sqrt 3/2)^k",
    expected=Verdict.SUPPORTED,
    source="ours, split from jamming-moments",
    scope=Scope(network="wide, Gaussian weights", factors="U(0, 1)"),
    uses=("jamming-moments",),
    stated={"cosine": (sp.sqrt(3) / 2) ** depth},
    evaluate=_wide,
)
