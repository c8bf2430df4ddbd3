"""Chapter `batch`, continued: where in the box of factors the worst cosine lies."""

from __future__ import annotations

from collections.abc import Iterator
from math import cos, sqrt
from typing import Any

import sympy as sp

from ...claim import Claim, Hypothesis, Scope, Stated, Verdict, Witness
from ...roads import steps as by
from ...roads.game import Draw, Game, angle, dot, number, positive, vertices
from ...roads.steps import Step

NO_ASCENT = Hypothesis("no ascent", "<g, g~> >= 0 on the whole box")
SOME_ASCENT = Hypothesis("some ascent", "<g, g~> < 0 somewhere in the box")
_ONE_ACTIVATION = Scope(network="one replaced activation", samples="any", gradient="that layer", factors="t in [m, M]")


def _total(weights: Any, g: list[Any]) -> list[float]:
    return [float(sum(w * row[j] for w, row in zip(weights, g, strict=True))) for j in range(len(g[0]))]


def _contributions(draw: Draw) -> dict[str, Any]:
    """Three contributions, any or so chosen that g~ at t points straight along -g."""
    high = 1 + positive(draw.real())
    g, t, aimed = draw.matrix(3, 2), draw.box(3, 1, high), draw.option(False, True)
    if aimed:
        reach = positive(draw.real())
        a, b, c = (x + reach for x in t)
        g[2] = [-(a * p + b * q) / c for p, q in zip(g[0], g[1], strict=True)]
    return {"g": g, "t": t, "high": high}


# ---------------------------------------------------------------------------------------------------- worst-cosine
def _quasi_concave(stated: Stated) -> Iterator[Step]:
    share, rest = sp.symbols("lambda_1 lambda_2", positive=True)
    level, one, two = sp.symbols("a b_1 b_2", nonnegative=True)  # the level and the lengths of two g~
    first, second, mixed = sp.symbols("s_1 s_2 b", nonnegative=True)
    yield by.given("no ascent", level)
    at_one = by.nonnegative("at one point <g, g~> = a |g~| + s_1 with s_1 >= 0", first)
    at_two = by.nonnegative("and at another", second)
    yield at_one
    yield at_two
    inner = (mixed**2 - share**2 * one**2 - rest**2 * two**2) / (2 * share * rest)
    near = by.schwarz("the inner product of the two, from the mixture's length b", one**2, two**2, inner)
    below = by.roots("is at most the product of their lengths", one * two, inner, near)
    line = share * one + rest * two
    longer = by.follows("so the squares keep the triangle inequality", line**2 - mixed**2, (2 * share * rest, below))
    triangle = by.roots("and the lengths: b <= lambda_1 b_1 + lambda_2 b_2", line, mixed, longer)
    yield from (near, below, longer, triangle)
    goal = share * (level * one + first) + rest * (level * two + second) - level * mixed
    yield by.follows(
        "so {cosine >= a} is convex for a >= 0: the cosine is quasi-concave, its minimum is at a vertex",
        goal,
        (share, at_one),
        (rest, at_two),
        (level, triangle),
    )


def _vertex_excess(scoped: bool) -> Any:
    def excess(stated: Stated, g: list[Any], t: list[Any], high: Any, ascent: bool = False) -> float | None:
        whole = _total([1, 1, 1], g)
        corners = [_total(corner, g) for corner in vertices(3, 1, high)]
        inside = _total(t, g)
        if not any(whole) or not any(inside) or not all(any(corner) for corner in corners):
            return None
        if scoped and not ascent and min(dot(whole, corner) for corner in corners) < 0:
            return None
        return min(cos(angle(whole, corner)) for corner in corners) - cos(angle(whole, inside))

    return excess


def _maybe_ascent(draw: Draw) -> dict[str, Any]:
    return {**_contributions(draw), "ascent": not draw.holds("no ascent")}


WORST_COSINE = Claim(
    id="worst-cosine",
    title="The worst cosine without ascent",
    statement="While <g, g~> >= 0 on the box, the worst cosine over the box is attained at a vertex.",
    latex=r"\langle g, \tilde g\rangle \ge 0 \text{ on } [m, M]^n \implies "
    r"\min_{t} \cos(g, \tilde g) = \min_{t \in \{m, M\}^n} \cos(g, \tilde g)",
    expected=Verdict.PROVED,
    source="ours",
    scope=_ONE_ACTIVATION,
    hypotheses=(NO_ASCENT,),
    proof=_quasi_concave,
    game=Game(_maybe_ascent, _vertex_excess(scoped=True), exact=False),
)


# --------------------------------------------------------------------------------------------- worst-cosine-vertex
WORST_COSINE_VERTEX = Claim(
    id="worst-cosine-vertex",
    title="The worst cosine is always at a vertex",
    statement="The worst cosine over the box is attained at a vertex, ascent or not.",
    latex=r"\min_{t \in [m, M]^n} \cos(g, \tilde g) = \min_{t \in \{m, M\}^n} \cos(g, \tilde g)",
    expected=Verdict.REFUTED,
    source="ours; split from worst-cosine",
    scope=_ONE_ACTIVATION,
    game=Game(_contributions, _vertex_excess(scoped=False), exact=False),
    witnesses=(
        Witness(
            "g_k = (5, -1), (-2, 2), (-2, -1): t = (1, 5/2, 4) gives g~ = -8 g, cosine -1, inside the box [1, 4]^3; "
            "no vertex reaches -1",
            "network",
            {
                "network": [{"linear": [["1", "1"]]}, {"leaky_relu": {"slope": "1"}}],
                "inputs": [["5", "-1"], ["-2", "2"], ["-2", "-1"]],
                "loss": {"linear": [["1"], ["1"], ["1"]]},
                "backward": {"steps": {"values": [["-1", "4"], ["1", "5/2"], [None, "1"]]}},
            },
            {"gradient": [[["1", "0"]]], "surrogate_gradient": [[["-8", "0"]]], "inner_product": "-8"},
        ),
    ),
)


# ----------------------------------------------------------------------------------------------- worst-cosine-cone
def _cone_proof(stated: Stated) -> Iterator[Step]:
    gap, size, long = sp.symbols("h p c", nonnegative=True)
    inner, ahead, vv, vp = sp.symbols("i a v_2 v_P", real=True)
    one, two, share = sp.symbols("lambda_1 lambda_2 e", positive=True)
    low, first, second = sp.symbols("m x_1 x_2", nonnegative=True)
    # u_k = lambda (m + x_k) with x_k in [0, M - m].
    mixed = one * (low + first) + two * (low + second)
    yield by.nonnegative(
        "C is a convex cone: the sum of two of its points stays above (lambda_1 + lambda_2) m",
        (sp.expand(mixed - (one + two) * low)),
    )
    # v = -g, P = Proj_C(v), the nearest point of C (closed: its generators, the corners of the box, are finite).
    moved = vv - 2 * (vp + share * inner) + size**2 + 2 * share * ahead + share**2 * long**2  # |v - P - e c|^2
    slope = sp.diff(moved, share).subs(share, 0)
    yield by.identity(
        "|v - P - e c|^2 has slope -2 <v - P, c> at e = 0, and cannot fall: P + e c is in C",
        slope,
        (-2 * (inner - ahead)),
    )
    own = sp.diff(vv - 2 * (1 + share) * vp + (1 + share) ** 2 * size**2, share).subs(share, 0)
    yield by.identity("along P itself either way, so <v, P> = |P|^2", own, -2 * (vp - size**2))
    moreau = by.nonnegative("h = <P - v, c> >= 0 for every c in C (Moreau 1962)", gap)
    near = by.schwarz("<P, c> = <v, c> + h", size**2, long**2, inner + gap)
    schwarz = by.roots("is at most |P| |c|", size * long, inner + gap, near)
    yield from (moreau, near, schwarz)
    yield by.follows("so <v, c> <= |P| |c| for c in C", size * long - inner, (1, schwarz), (1, moreau))
    some = sp.Symbol("a_1", positive=True)
    yield by.given("some ascent", some, strict=True)
    yield by.positive("some c has <v, c> = a_1 > 0; P = 0 would need <v, c> <= 0, so |P| > 0", some - 0)
    yield by.identity("with equality at c = P: <v, P> = |P|^2", size * size, size**2)
    projection, length = sp.symbols("P G", positive=True)
    yield by.identity("so the least cosine to g = -v", -(projection * projection) / (projection * length), _CONE)


def _cone_excess(stated: Stated, g: list[Any], t: list[Any], high: Any, ascent: bool) -> float | None:
    import numpy as np
    from scipy.optimize import nnls

    whole: Any = np.array(_total([1, 1, 1], g))
    inside: Any = np.array(_total(t, g))
    corners: Any = np.array([_total(corner, g) for corner in vertices(3, 1, high)]).T
    if not whole.any() or not inside.any() or (ascent and (whole @ corners).min() >= -1e-6):
        return None
    point = corners @ nnls(corners, -whole)[0]
    length, size = sqrt(whole @ whole), sqrt(point @ point)
    bound = number(stated["cosine"], P=size, G=length)
    reached = min(cos(angle(whole, corner)) for corner in corners.T if corner.any())
    if size:
        reached = min(reached, float(whole @ point) / (length * size))
    return float(max(bound - cos(angle(whole, inside)), reached - bound))


_CONE = -sp.Symbol("P", positive=True) / sp.Symbol("G", positive=True)

WORST_COSINE_CONE = Claim(
    id="worst-cosine-cone",
    title="The worst cosine with ascent",
    statement="Where <g, g~> can be negative, the worst cosine is -|Proj_C(-g)|/|g|, C the cone that the box spans.",
    latex=r"\min_t \cos(g, \tilde g) = -\frac{|\mathrm{Proj}_C(-g)|}{|g|},\quad "
    r"C = \{\textstyle\sum_k u_k g_k : \lambda m \le u_k \le \lambda M, \lambda \ge 0\}",
    expected=Verdict.PROVED,
    source="ours, by Moreau 1962; split from worst-cosine",
    scope=_ONE_ACTIVATION,
    hypotheses=(SOME_ASCENT,),
    stated={"cosine": _CONE},
    proof=_cone_proof,
    game=Game(
        lambda draw: {**_contributions(draw), "ascent": draw.holds("some ascent")},
        _cone_excess,
        exact=False,
        tolerance=1e-7,
        cases=150,
    ),
)
