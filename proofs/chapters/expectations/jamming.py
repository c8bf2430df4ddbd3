"""Chapter `jamming`: random positive factors, and what the surrogate gradient is on average."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from itertools import product
from typing import Any

import sympy as sp

from ...claim import Claim, Hypothesis, Scope, Stated, Verdict, Witness
from ...roads import steps as by
from ...roads.game import Draw, Game, dot, number
from ...roads.steps import Step

BLIND = Hypothesis("blind", "the factors are independent of the forward pass and of the loss")
INDEPENDENT = Hypothesis("independent", "the factors along each path are independent of one another")
EQUAL_PATHS = Hypothesis("equal paths", "every path from the parameter to the loss crosses k jammed activations")

mu, s = sp.symbols("mu s", positive=True)
k = sp.Symbol("k", positive=True, integer=True)
_RANDOM = Scope(samples="any", factors="random, of mean mu")
_PSI = sp.symbols("psi_:4", real=True)


def _backward(w: Any, V: Any, e: Any, psi: Any, skip: Any = 0) -> Any:
    """dL/dz below two jammed layers of two units, plus a skip that crosses the first jammed layer only."""
    above = [psi[2 + i] * e[i] for i in range(2)]
    hidden = [psi[i] * (V[0][i] * above[0] + V[1][i] * above[1]) for i in range(2)]
    return dot(w, hidden) + skip * psi[0]


def _symbols() -> tuple[Any, Any, Any]:
    V = sp.symbols("v_:4", real=True)
    return sp.symbols("w_:2", real=True), [V[:2], V[2:]], sp.symbols("e_:2", real=True)


# ---------------------------------------------------------------------------------------------------- jamming-mean
def _mean(stated: Stated) -> Iterator[Step]:
    F = _backward(*_symbols(), _PSI, sp.Symbol("r", real=True))
    yield by.given("blind")
    yield by.given("independent")
    flat = [by.identity(f"in psi_{i}", sp.diff(F, psi, 2), 0) for i, psi in enumerate(_PSI)]
    yield by.all_of("a gradient entry is affine in each factor (two jammed layers of two, and a skip)", *flat)
    low, high, weight = (sp.symbols(f"{name}_:4", real=True) for name in "abp")
    mean = F
    for psi, a, b, p in zip(_PSI, low, high, weight, strict=True):
        mean = p * mean.subs(psi, a) + (1 - p) * mean.subs(psi, b)
    means = {psi: p * a + (1 - p) * b for psi, a, b, p in zip(_PSI, low, high, weight, strict=True)}
    yield by.identity("so over independent two-valued factors E F(psi) = F(E psi)", mean, F.subs(means))
    uniform = F
    for psi in _PSI:
        uniform = sp.integrate(sp.expand(uniform), (psi, 0, 1))
    yield by.identity("and over U(0, 1)", uniform, F.subs(dict.fromkeys(_PSI, sp.Rational(1, 2))))
    # A path of any length: the mean of its product so far, times the next factor's, as that one is independent of it.
    so_far, value, chance = sp.symbols("E_k a p", real=True)
    other = sp.Symbol("b", real=True)
    step = chance * (so_far * value) + (1 - chance) * (so_far * other)
    yield by.identity(
        "one factor more on a path, one mean more", step, so_far * (chance * value + (1 - chance) * other)
    )


def _jammed(draw: Draw) -> dict[str, Any]:
    return {
        "w": draw.reals(2),
        "V": draw.matrix(2, 2),
        "e": draw.reals(2),
        "skip": draw.real(),
        "values": draw.matrix(4, 2),
        "independent": draw.holds("independent"),
        "blind": draw.holds("blind"),
    }


def _mean_excess(stated: Stated, w: Any, V: Any, e: Any, skip: Any, values: Any, independent: bool, blind: bool) -> Any:
    """|E F(psi) - F(E psi)| over all outcomes of factors that take two values with probability 1/2 each."""
    outcomes = list(product((0, 1), repeat=4)) if independent else [(0,) * 4, (1,) * 4]
    seen = 0
    for outcome in outcomes:
        # A factor that looks at the loss: the upstream gradient doubles with one of its outcomes.
        upstream = e if blind else [x * (1 + outcome[0]) for x in e]
        seen += _backward(w, V, upstream, [v[o] for v, o in zip(values, outcome, strict=True)], skip)
    mean = [Fraction(1, 2) * (v[0] + v[1]) for v in values]
    upstream = e if blind else [x * Fraction(3, 2) for x in e]
    return abs(seen * Fraction(1, len(outcomes)) - _backward(w, V, upstream, mean, skip))


JAMMING_MEAN = Claim(
    id="jamming-mean",
    title="The mean of a jammed gradient",
    statement="Factors that are independent of forward and loss and, along each path, of one another: the mean of the "
    "surrogate gradient is the gradient under a backward of constant mu, on any network.",
    latex=r"\mathbb{E}\,\tilde g(\psi) = \tilde g(\mu)",
    expected=Verdict.PROVED,
    source="ours, for the jamming of Troiano et al. 2025",
    scope=replace(_RANDOM, sizes="two jammed layers of two units and a skip; one path of any length, by induction"),
    hypotheses=(BLIND, INDEPENDENT),
    proof=_mean,
    game=Game(_jammed, _mean_excess, cases=150),
)


# --------------------------------------------------------------------------------------------- jamming-equal-paths
def _equal_paths(stated: Stated) -> Iterator[Step]:
    w, V, e = _symbols()
    F = _backward(w, V, e, _PSI)
    yield by.given("equal paths")
    yield by.by(JAMMING_MEAN, text="the mean is the gradient at the means")
    ones, means = dict.fromkeys(_PSI, 1), dict.fromkeys(_PSI, mu)
    factor = stated["factor"].subs(k, 2)
    yield by.identity("two crossings on every path: mu^2 times const-1", F.subs(means), factor * F.subs(ones))
    scale = sp.Symbol("lambda", positive=True)
    degree = F.subs({psi: scale * psi for psi in _PSI}, simultaneous=True)
    yield by.identity("as F is homogeneous in the factors", degree, scale**2 * F)
    layer = sp.Symbol("F_k", real=True)
    step = mu * (stated["factor"].subs(k, k) * layer)
    yield by.identity("one more jammed layer on every path, one more mu", step, stated["factor"].subs(k, k + 1) * layer)
    slopes = sp.symbols("d_:4", positive=True)
    tied = dict(zip(_PSI, (mu * d for d in slopes), strict=True))
    own = F.subs(dict(zip(_PSI, slopes, strict=True)))
    yield by.identity("with psi = xi phi' it is mu^2 g", F.subs(tied), factor * own)


def _crossings(draw: Draw) -> dict[str, Any]:
    skip = 0 if draw.holds("equal paths") else draw.real()
    return {"w": draw.reals(2), "V": draw.matrix(2, 2), "e": draw.reals(2), "mean": draw.real() ** 2, "skip": skip}


def _crossings_excess(stated: Stated, w: Any, V: Any, e: Any, mean: Any, skip: Any) -> Any:
    factor = number(stated["factor"], mu=mean, k=2)
    return abs(_backward(w, V, e, [mean] * 4, skip) - factor * _backward(w, V, e, [1] * 4, skip))


EQUAL = Claim(
    id="jamming-equal-paths",
    title="Equal paths only rescale the mean",
    statement="Where every path from the parameter to the loss crosses the same number k of jammed activations, the "
    "mean is mu^k times the const-1 gradient; with psi = xi phi' it is mu^k g.",
    latex=r"\mathbb{E}\,\tilde g = \mu^k\, \tilde g(1)",
    expected=Verdict.PROVED,
    source="ours",
    scope=replace(_RANDOM, sizes="two jammed layers of two units; any number of them, by induction"),
    hypotheses=(EQUAL_PATHS,),
    uses=("jamming-mean",),
    stated={"factor": mu**k},
    proof=_equal_paths,
    game=Game(_crossings, _crossings_excess),
)


# ----------------------------------------------------------------------------------------- where the mean is not kept
def _chain(*nodes: Any) -> dict[str, Any]:
    return {"network": [{"linear": [["1"]]}, *nodes], "inputs": [["1"]], "loss": {"linear": [["1"]]}}


_TIED_1 = {"leaky_relu": {"slope": "1"}}


def _residual_excess(stated: Stated, w: Any) -> Any:
    # One block 1 + psi w under U(0, 1): its mean against the sign of const-1's 1 + w.
    mean, plain = 1 + Fraction(1, 2) * w, 1 + w
    return -(mean * plain) if mean and plain else None


JAMMING_RESIDUAL = Claim(
    id="jamming-residual",
    title="Residual networks keep the mean's direction",
    statement="On residual networks too the mean of the jammed gradient is a positive multiple of the const-1 one.",
    latex=r"\mathbb{E}(1 + \psi w) = c\,(1 + w),\ c > 0",
    expected=Verdict.REFUTED,
    source="ours",
    scope=Scope(network="one residual block", factors="U(0, 1)"),
    uses=("jamming-mean",),
    game=Game(lambda draw: {"w": draw.real()}, _residual_excess),
    witnesses=(
        Witness(
            "block 1 + psi w with w = -3/2: the mean under U(0, 1) is 1/4 (midpoint rule, exact for an affine "
            "integrand), under const-1 it is -1/2",
            "draws",
            _chain({"residual": [_TIED_1, {"linear": [["-3/2"]]}]})
            | {"draws": [{"backward": {"constant": {"height": "1/2"}}, "weight": "1"}]},
            {"mean_surrogate_gradient": "1/4", "gradient": [["-1/2"]]},
        ),
    ),
)

JAMMING_REUSE = Claim(
    id="jamming-reuse",
    title="One draw reused along a path keeps the mean",
    statement="One draw that is reused along a path (recurrent steps) keeps the mean mu^k.",
    latex=r"\mathbb{E}\,\xi^2 = (\mathbb{E}\,\xi)^2",
    expected=Verdict.REFUTED,
    source="ours",
    scope=Scope(network="two recurrent steps", factors="U(0, 1)"),
    uses=("jamming-mean",),
    game=Game(
        lambda draw: {"values": draw.reals(2)},
        lambda stated, values: abs(dot(values, values) / 2 - (sum(values) * Fraction(1, 2)) ** 2),
    ),
    witnesses=(
        Witness(
            "two steps, weight 1, one draw xi: E xi^2 = 1/3, not 1/4 (a rule on 1/4, 1/2, 3/4, exact for cubics)",
            "draws",
            _chain(_TIED_1, {"linear": [["1"]]}, _TIED_1)
            | {
                "draws": [
                    {"backward": {"constant": {"height": height}}, "weight": weight}
                    for height, weight in (("1/4", "2/3"), ("1/2", "-1/3"), ("3/4", "2/3"))
                ]
            },
            {"mean_surrogate_gradient": "1/3", "gradient": [["1"]]},
        ),
    ),
)


# -------------------------------------------------------------------------------------------- jamming-shared-draw
total = sp.Symbol("S", real=True)


def _shared_excess(stated: Stated, values: Any, c: Any) -> Any:
    mean = sum(v * sum(c) for v in values) * Fraction(1, 2)
    return abs(mean - number(stated["mean"], mu=sum(values) * Fraction(1, 2), S=sum(c)))


def _shared_draw(stated: Stated) -> Iterator[Step]:
    xi = sp.Symbol("xi", real=True)
    c = sp.symbols("c_:3", real=True)
    F = sum(xi * x for x in c)
    yield by.identity("one draw for all samples of a layer: still affine in it", sp.diff(F, xi, 2), 0)
    uniform = stated["mean"].subs({mu: sp.Rational(1, 2), total: sum(c)})
    yield by.identity("so its mean is that of one draw a sample", sp.integrate(F, (xi, 0, 1)), uniform)
    yield by.identity("for every law", F.subs(xi, mu), stated["mean"].subs(total, sum(c)))


JAMMING_SHARED_DRAW = Claim(
    id="jamming-shared-draw",
    title="One draw for all samples is harmless to the mean",
    statement="Sharing one draw across the samples or positions of one layer leaves the mean as it is.",
    latex=r"\mathbb{E} \textstyle\sum_k \xi c_k = \mu \sum_k c_k",
    expected=Verdict.PROVED,
    source="ours, split from jamming-reuse",
    scope=replace(_RANDOM, sizes="three samples or positions"),
    uses=("jamming-mean",),
    stated={"mean": mu * total},
    proof=_shared_draw,
    game=Game(lambda draw: {"values": draw.reals(2), "c": draw.reals(3)}, _shared_excess),
)
