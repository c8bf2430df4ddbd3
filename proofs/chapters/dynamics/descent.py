"""Chapter `descent`: which steps along a surrogate gradient lower the loss."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import sympy as sp

from ...claim import Claim, Hypothesis, Scope, Stated, Verdict, Witness
from ...roads import steps as by
from ...roads.game import Draw, Game, dot, fails_strictly, number, positive
from ...roads.steps import Step
from ..angles.direction import DIAGONAL_SCALING

SMOOTH = Hypothesis("smooth", "f is L-smooth: f(x + d) <= f(x) + <g, d> + L |d|^2/2")
DESCENT = Hypothesis("descent", "<g, g~> >= c |g|^2 with c > 0")
SHORT = Hypothesis("short", "the step is below the bound")
POSITIVE = Hypothesis("positive", "D is a positive diagonal, at most M")

c, C, L, M, eta, square, product, norm = sp.symbols("c C L M eta g_2 p n_1", positive=True)
nonzero = sp.Symbol("n", positive=True)
_ANY = Scope(network="any L-smooth loss", samples="any", gradient="the whole gradient", factors="any")


def _quadratic(draw: Draw) -> dict[str, Any]:
    """f = sum h_i x_i^2/2 with curvatures in [0, L], L = 2; a share of the stated step."""
    h = [2 * draw.share() for _ in range(3)] if draw.holds("smooth") else [2 + x**2 for x in draw.reals(3)]
    share = draw.share() * Fraction(999, 1000) + Fraction(1, 2000)
    return {"h": h, "x": draw.reals(3), "share": share if draw.holds("short") else 1 + share}


def _change(h: Any, x: Any, move: Any, step: Any) -> Any:
    """f(x - step * move) - f(x)."""
    after = [a - step * b for a, b in zip(x, move, strict=True)]
    return sum(k * (b * b - a * a) for k, a, b in zip(h, x, after, strict=True)) / 2


# ------------------------------------------------------------------------------------------------------- step-size
def _step_size(stated: Stated) -> Iterator[Step]:
    over = sp.symbols("s_1 s_2", nonnegative=True)
    yield by.given("smooth", L, strict=True)
    yield by.given("descent", c, strict=True)
    # <g, g~> = c |g|^2 + s_1 and |g~|^2 = C^2 |g|^2 - s_2.
    drop = eta * (c * square + over[0]) - L * eta**2 / 2 * (C**2 * square - over[1])
    least = eta * c * square - L * eta**2 / 2 * C**2 * square
    yield by.nonnegative("f falls by at least eta c |g|^2 - L eta^2 C^2 |g|^2/2", sp.expand(drop - least))
    short = sp.Symbol("r", positive=True)
    slack = (stated["step"] - eta) * eta * L * C**2 / 2 * square
    yield by.identity("which factors over the bound on eta", least, slack)
    yield by.given("short", short, strict=True)
    yield by.positive("so it is positive for every shorter eta", short * eta * L * C**2 / 2 * square)
    best = c / (L * C**2)
    yield by.identity("the best step is half of it", sp.diff(least, eta).subs(eta, best), 0)
    yield by.identity("and lowers f by", least.subs(eta, best), stated["decrease"])
    # Sharp: f = L |x|^2/2, g~ = c g + a vector across g with |g~| = C |g|.
    exact = L / 2 * (square / L**2 - (square / L**2 - 2 * eta * c * square / L + eta**2 * C**2 * square))
    yield by.identity("sharp on f = L |x|^2/2: at the bound f stays the same", exact.subs(eta, stated["step"]), 0)


def _step_instance(draw: Draw) -> dict[str, Any]:
    return {**_quadratic(draw), "move": draw.reals(3), "descends": draw.holds("descent")}


def _step_excess(stated: Stated, h: Any, x: Any, share: Any, move: Any, descends: bool) -> Any:
    g = [a * b for a, b in zip(h, x, strict=True)]
    ratio, size = dot(g, move) / dot(g, g), dot(move, move) / dot(g, g)
    if ratio < 0 and descends:
        ratio, move = -ratio, [-a for a in move]
    if ratio == 0:
        return None
    bound = number(stated["step"].subs(C, sp.sqrt(C)), c=abs(ratio), L=2, C=size)
    best = number(stated["decrease"].subs(C, sp.sqrt(C)), c=abs(ratio), L=2, C=size, g_2=dot(g, g))
    promised = _change(h, x, move, abs(ratio) / (2 * size)) + best
    return max(fails_strictly(-_change(h, x, move, share * bound)), promised)


STEP_SIZE = Claim(
    id="step-size",
    title="Which steps descend",
    statement="<g, g~> >= c |g|^2, |g~| <= C |g|, f L-smooth: every step eta < 2c/(L C^2) decreases f, sharp; the best "
    "guaranteed decrease is c^2 |g|^2/(2 L C^2).",
    latex=r"\eta < \frac{2c}{LC^2} \implies f(x - \eta\tilde g) < f(x)",
    expected=Verdict.PROVED,
    source="folklore (descent lemma)",
    scope=_ANY,
    hypotheses=(SMOOTH, DESCENT, SHORT),
    stated={"step": 2 * c / (L * C**2), "decrease": c**2 * square / (2 * L * C**2)},
    proof=_step_size,
    game=Game(_step_instance, _step_excess),
)


# --------------------------------------------------------------------------------------------------- diagonal-step
def _diagonal_step(stated: Stated) -> Iterator[Step]:
    yield by.given("smooth", L, strict=True)
    yield by.given("positive", M, strict=True)
    text = "M <g, Dg> - |Dg|^2 >= 0 (diagonal-scaling), so |Dg|^2 = M p - s"
    yield by.by(DIAGONAL_SCALING, "cocoercive", text=text, inequality=True)
    yield by.given("short", eta, strict=True)
    # <g, Dg> = p and |Dg|^2 = M p - s.
    slack = sp.Symbol("s", nonnegative=True)
    drop = eta * product - L * eta**2 / 2 * (M * product - slack)
    yield by.identity(
        "f falls by at least", drop - L * eta**2 / 2 * slack, (stated["step"] - eta) * eta * L * M / 2 * product
    )
    short = sp.Symbol("r", positive=True)
    yield by.positive("positive for eta = the bound - r", short * eta * L * M / 2 * product)


def _diagonal_instance(draw: Draw) -> dict[str, Any]:
    return {**_quadratic(draw), "d": [positive(a) if draw.holds("positive") else a for a in draw.reals(3)]}


def _diagonal_excess(stated: Stated, h: Any, x: Any, share: Any, d: Any) -> Any:
    move = [a * b * e for a, b, e in zip(d, h, x, strict=True)]
    if not any(move):
        return None
    return fails_strictly(-_change(h, x, move, share * number(stated["step"], L=2, M=max(map(abs, d)))))


DIAGONAL_STEP = Claim(
    id="diagonal-step",
    title="Steps through a positive diagonal",
    statement="A positive diagonal D <= M: every step eta < 2/(L M) along -Dg decreases f.",
    latex=r"\eta < \frac{2}{LM} \implies f(x - \eta Dg) < f(x)",
    expected=Verdict.PROVED,
    source="folklore; by diagonal-scaling",
    scope=_ANY,
    hypotheses=(SMOOTH, POSITIVE, SHORT),
    uses=("diagonal-scaling",),
    stated={"step": 2 / (L * M)},
    proof=_diagonal_step,
    game=Game(_diagonal_instance, _diagonal_excess),
)


# ------------------------------------------------------------------------------------------------------- sign-step
def _sign_step(stated: Stated) -> Iterator[Step]:
    g = sp.Symbol("g", real=True, nonzero=True)
    yield by.given("smooth", L, strict=True)
    yield by.given("short", eta, strict=True)
    yield by.identity("g_i sign(g_i) = |g_i|: <g, sign g> = |g|_1", g * sp.sign(g), sp.Abs(g))
    yield by.identity("sign(g_i)^2 = 1 on the nonzero entries: |sign g|^2 = nnz", sp.sign(g) ** 2, 1)
    drop = eta * norm - L * eta**2 / 2 * nonzero
    yield by.identity("f falls by at least", drop, (stated["step"] - eta) * eta * L * nonzero / 2)
    yield by.positive("positive for eta = the bound - r", sp.Symbol("r", positive=True) * eta * L * nonzero / 2)


def _sign_excess(stated: Stated, h: Any, x: Any, share: Any) -> Any:
    g = [a * b for a, b in zip(h, x, strict=True)]
    move = [(a > 0) - (a < 0) for a in g]
    if not any(move):
        return None
    bound = number(stated["step"], n_1=sum(map(abs, g)), L=2, n=sum(map(abs, move)))
    return fails_strictly(-_change(h, x, move, share * bound))


SIGN_STEP = Claim(
    id="sign-step",
    title="Steps along the sign",
    statement="<g, sign g> = |g|_1; every step eta < 2 |g|_1/(L nnz) along -sign g decreases f.",
    latex=r"\eta < \frac{2|g|_1}{L\,\mathrm{nnz}(g)} \implies f(x - \eta\,\mathrm{sign}\,g) < f(x)",
    expected=Verdict.PROVED,
    source="after Bernstein et al. 2018 (signSGD)",
    scope=_ANY,
    hypotheses=(SMOOTH, SHORT),
    stated={"step": 2 * norm / (L * nonzero)},
    proof=_sign_step,
    game=Game(_quadratic, _sign_excess),
)


# ------------------------------------------------------------------------------------------------------ sign-alone
def _stalls(stated: Stated) -> Iterator[Step]:
    a, b = sp.symbols("a b", positive=True)
    k = sp.Symbol("k", integer=True, positive=True)
    rest = a * b
    yield by.identity("(1 - a)(1 - b) = 1 - a - b + ab", (1 - a) * (1 - b) - (1 - a - b), rest)
    yield by.positive("so a product of 1 - a_k is at least 1 - sum a_k (induction)", rest)
    tail = sp.summation(sp.Rational(1, 2) ** k, (k, 2, sp.oo))
    yield by.identity("the factors from the second on take away at most", tail, sp.Rational(1, 2))
    yield by.positive("x_t = prod (1 - 2^-k) stays above 1/4", sp.Rational(1, 2) * (1 - tail))


def _decaying(stated: Stated, ratio: Any) -> float:
    x = 1.0
    for t in range(400):
        x -= 0.5 * float(ratio) ** t * x
    return abs(x) - 1e-3


SIGN_ALONE = Claim(
    id="sign-alone",
    title="Signs alone make descent converge",
    statement="A step whose every entry keeps the gradient's sign converges to the minimum.",
    latex=r"\mathrm{sign}\,\tilde g_t = \mathrm{sign}\,g_t \implies x_t \to x^*",
    expected=Verdict.REFUTED,
    source="ours",
    scope=Scope(network="f = x^2/2", samples="any", gradient="the whole gradient", factors="positive factors 2^-t"),
    refutation=_stalls,
    game=Game(lambda draw: {"ratio": draw.share()}, _decaying, exact=False),
    witnesses=(
        Witness(
            "f = x^2/2, factors 2^-t, eta = 1/2, x0 = 1: after eight steps x = 0.2899..., and it never passes 0.2888",
            "descent",
            {"start": "1", "rate": "1/2", "steps": 8},
            {"end": "19923090075/68719476736"},
        ),
    ),
)
