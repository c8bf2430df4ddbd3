"""Chapter `certificate`: every replacement in its box, on a concrete network and batch.

F(T) = <g, g~> is affine in the factors of each layer, separable over samples; t lies in [m, M] at each unit.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from typing import Any

import sympy as sp

from ...claim import Claim, Hypothesis, Scope, Stated, Verdict
from ...roads import steps as by
from ...roads.game import Comparison, Draw, Game, dot, number, positive, times, vertices
from ...roads.steps import Step
from ..angles.batch import DESCENT_MARGIN, POSITIVE_BOX

BOX = Hypothesis("in the box", "every t lies in [m, M]")
_CONCRETE = Scope(network="a concrete network", samples="a concrete batch", gradient="chosen", factors="t in [m, M]")

m, M, kappa = sp.symbols("m M kappa", positive=True)
up, down = sp.symbols("C_plus C_minus", nonnegative=True)


# -------------------------------------------------------------------------------------------- certificate-one-layer
def _one_layer(stated: Stated) -> Iterator[Step]:
    yield by.given("positive", m, strict=True)
    quoted = DESCENT_MARGIN.stated["minimum"]
    yield by.by(DESCENT_MARGIN, "minimum", text="the worst case of one replaced layer (descent-margin)")
    scaled = quoted.subs(M, kappa * m) / m
    yield by.identity("so the certificate at kappa, over m", stated["certificate"], scaled)
    less = sp.Symbol("s", nonnegative=True)
    falls = stated["certificate"] - stated["certificate"].subs(kappa, kappa + less)
    yield by.nonnegative("falls as the box grows: one kappa* separates", sp.expand(falls))


def _contributions(draw: Draw) -> dict[str, Any]:
    low = draw.positives(1, "positive")[0]
    return {"c": draw.reals(4), "low": low, "ratio": 1 + draw.real() ** 2}


def _one_layer_excess(stated: Stated, c: Any, low: Any, ratio: Any) -> Any:
    plus, minus = sum(max(x, 0) for x in c), sum(max(-x, 0) for x in c)
    value = low * number(stated["certificate"], C_plus=plus, C_minus=minus, kappa=ratio)
    return abs(min(dot(t, c) for t in vertices(4, low, ratio * low)) - value)


CERTIFICATE_ONE = Claim(
    id="certificate-one-layer",
    title="One replaced layer is decided exactly",
    statement="With one replaced layer the certificate m (C+ - kappa C-) is the exact minimum of <g, g~> over the box.",
    latex=r"\min_T F(T) = m(C_+ - \kappa C_-)",
    expected=Verdict.PROVED,
    source="ours; descent-margin",
    scope=_CONCRETE,
    hypotheses=(POSITIVE_BOX,),
    uses=("descent-margin",),
    stated={"certificate": up - kappa * down},
    proof=_one_layer,
    game=Game(_contributions, _one_layer_excess, cases=200),
)


# ------------------------------------------------------------------------------------------- certificate-two-layers
size, least, shift = sp.symbols("N lambda_min u_sum", real=True)


def _two_layers(stated: Stated) -> Iterator[Step]:
    centre, radius = sp.symbols("c r", positive=True)
    A = sp.Matrix(2, 2, sp.symbols("a_:4", real=True))
    linear = [sp.Matrix(sp.symbols(f"{name}_:2", real=True)) for name in "bd"]
    signs = sp.symbols("s_:5", real=True)  # s_0 makes the form homogeneous
    one, two = (sp.Matrix([centre * signs[0] + radius * x for x in signs[i : i + 2]]) for i in (1, 3))
    form = one.dot(A * two) + signs[0] * (linear[0].dot(one) + linear[1].dot(two))
    t, x = (sp.Matrix([centre + radius * sign for sign in signs[i : i + 2]]) for i in (1, 3))
    there = t.dot(A * x) + linear[0].dot(t) + linear[1].dot(x)
    yield by.given("in the box", radius, strict=True)
    yield by.identity("t = c + r s: F is a form s'Qs in 2n + 1 signs, s_0 = 1 (n = 2)", form.subs(signs[0], 1), there)
    mirrored = form.subs({x: -x for x in signs}, simultaneous=True)
    yield by.identity("s and -s give the same, so s_0 may be fixed", form, mirrored)
    yield by.all_of(
        "F is affine in each factor: its minimum over the box is at signs -1, 1",
        *(by.identity("second derivative", sp.diff(there, x, 2), 0) for x in signs[1:]),
    )
    Q = sp.hessian(form, signs) / 2
    yield by.identity("Q", (sp.Matrix([signs]) * Q * sp.Matrix(signs))[0], form)
    u = sp.symbols("u_:5", real=True)
    s = sp.Matrix(signs)
    split = s.dot((Q - sp.diag(*u)) * s) + sum(a * x**2 for a, x in zip(u, signs, strict=True))
    yield by.identity("for any u: s'Qs = s'(Q - diag u)s + sum u s^2, and s^2 = 1", split, form)
    count, i = sp.Symbol("N", integer=True, positive=True), sp.Symbol("i", integer=True)
    beyond, turned = sp.IndexedBase("h", nonnegative=True, real=True), sp.IndexedBase("y", real=True)
    # In the orthonormal eigenvectors' coordinates y of s, with eigenvalues lambda_min + h_i.
    gap = sp.Sum(beyond[i] * turned[i] ** 2, (i, 1, count))
    whole = sp.Sum((least + beyond[i]) * turned[i] ** 2, (i, 1, count))
    length = sp.Sum(least * turned[i] ** 2, (i, 1, count))
    yield by.identity("s'(Q - diag u)s = lambda_min |y|^2 + sum h_i y_i^2, |y|^2 = s's = N", whole, length + gap)
    rayleigh = by.nonnegative("with h_i >= 0 (Rayleigh)", gap)
    yield rayleigh
    value = (least * size + gap) + shift
    yield by.follows("so the minimum is at least the stated bound", value - stated["bound"], (1, rayleigh))


def _form(draw: Draw) -> dict[str, Any]:
    inside = draw.holds("in the box")
    return {"A": draw.matrix(2, 2), "b": draw.reals(2), "d": draw.reals(2), "u": draw.reals(5), "inside": inside}


def _form_excess(stated: Stated, A: Any, b: Any, d: Any, u: Any, inside: bool) -> float:
    """The eigenvalue bound over [1/2, 3/2]^4 against the least value at its vertices (beyond it where dropped)."""
    import numpy as np

    B, centre, radius = np.array(A, dtype=float), 1.0, 0.5
    Q = np.zeros((5, 5))
    Q[1:3, 3:5] = radius**2 / 2 * B
    Q[0, 1:3] = radius / 2 * (centre * B @ np.ones(2) + np.array(b, dtype=float))
    Q[0, 3:5] = radius / 2 * (centre * np.ones(2) @ B + np.array(d, dtype=float))
    Q = Q + Q.T
    Q[0, 0] = centre**2 * B.sum() + centre * float(sum(b) + sum(d))
    shift_by = np.array(u, dtype=float)
    lowest = float(np.linalg.eigvalsh(Q - np.diag(shift_by))[0])
    bound = float(number(stated["bound"], N=5, lambda_min=lowest, u_sum=float(shift_by.sum())))
    reach = radius if inside else 4 * radius
    corners = [np.array(t) for t in vertices(4, centre - reach, centre + reach)]
    worst = min(float(t[:2] @ B @ t[2:] + np.dot(b, t[:2]) + np.dot(d, t[2:])) for t in corners)
    return (bound - worst) / (1 + float(np.abs(Q).sum()) + float(np.abs(shift_by).sum()))


CERTIFICATE_TWO = Claim(
    id="certificate-two-layers",
    title="Two replaced layers: an eigenvalue bound",
    statement="Two replaced layers: min F = min s'Qs over s in {-1, 1}^N, N = 2n + 1, and for ANY u it is at least "
    "sum(u) + N lambda_min(Q - diag u).",
    latex=r"\min_{s \in \{-1,1\}^N} s'Qs \ge \textstyle\sum_i u_i + N\lambda_{\min}(Q - \mathrm{diag}\,u)",
    expected=Verdict.PROVED,
    source="ours; a good u by the mixing method of Wang, Chang and Kolter 2017",
    scope=replace(_CONCRETE, sizes="the form Q for n = 2; the eigenvalue bound for any"),
    hypotheses=(BOX,),
    stated={"bound": shift + size * least},
    proof=_two_layers,
    game=Game(_form, _form_excess, exact=False, cases=250),
)


# ------------------------------------------------------------------------------------------------ certificate-crown
low, high, slope = sp.symbols("y_lo y_hi lambda", real=True)
y = sp.Symbol("y", real=True)


def _crown(stated: Stated) -> Iterator[Step]:
    share = sp.Symbol("alpha", nonnegative=True)
    rest = sp.Symbol("beta", nonnegative=True)
    t = sp.Symbol("t", nonnegative=True)
    yield by.given("in the box", t)
    yield by.identity("lambda t y is affine in t: its minimum is at m or M", sp.diff(slope * t * y, t, 2), 0)
    # The minimum of two linear functions lies below each: at a mixture of y_lo and y_hi with weights alpha + beta = 1
    # min(lambda m y, lambda M y) >= alpha min at y_lo + beta min at y_hi.
    at_low, at_high = sp.symbols("f_lo f_hi", real=True)  # the minima at the ends
    over = sp.symbols("o_1 o_2", nonnegative=True)  # by how much one of the two lines lies above them there
    line = share * (at_low + over[0]) + rest * (at_high + over[1])
    above = sp.expand(line - (share * at_low + rest * at_high))
    yield by.nonnegative("a minimum of lines is concave: on a mixture it is at least the mixture of the ends", above)
    weight = (high - y) / (high - low)
    yield by.identity("y is such a mixture", weight * low + (1 - weight) * high, y)
    yield by.identity("whose value is the stated chord", weight * at_low + (1 - weight) * at_high, stated["chord"])
    W, D = sp.Matrix(2, 2, sp.symbols("W_:4", real=True)), sp.diag(*sp.symbols("d_:2", real=True))
    alpha, above_ = (sp.Matrix(sp.symbols(f"{name}_:2", real=True)) for name in ("a", "e"))
    yield by.identity(
        "slopes pass down: <alpha, D W'e> = <W D alpha, e>", alpha.dot(D * W.T * above_), (W * D * alpha).dot(above_)
    )


_at_low, _at_high = sp.symbols("f_lo f_hi", real=True)


def _interval(draw: Draw) -> dict[str, Any]:
    start = draw.real()
    end = start + positive(draw.real())
    high_t = 1 + positive(draw.real())
    inside = draw.holds("in the box")
    t = draw.box(1, 1, high_t)[0] if inside else draw.real()
    return {"slope": draw.real(), "ends": [start, end], "share": draw.share(), "t": t, "high": high_t}


def _crown_excess(stated: Stated, slope: Any, ends: Any, share: Any, t: Any, high: Any) -> Any:
    worst = [min(slope * end, slope * high * end) for end in ends]
    at = ends[0] + share * (ends[1] - ends[0])
    chord = number(stated["chord"], y=at, y_lo=ends[0], y_hi=ends[1], f_lo=worst[0], f_hi=worst[1])
    return chord - slope * t * at


CERTIFICATE_CROWN = Claim(
    id="certificate-crown",
    title="Any depth: the chord",
    statement="Any depth, sound: with delta~ = t y, the minimum over t of lambda t y is concave in y, so on "
    "[y_lo, y_hi] it lies above its chord; slopes are pushed down the layers, and bounds on y come by the same pass.",
    latex=r"\min_{t \in [m, M]} \lambda t y \ge \text{chord through } y_{\mathrm{lo}}, y_{\mathrm{hi}}",
    expected=Verdict.PROVED,
    source="ours, after Zhang et al. 2018 (CROWN)",
    scope=replace(_CONCRETE, sizes="the chord for any; slopes pushed down through layers of 2 units"),
    hypotheses=(BOX,),
    stated={"chord": ((high - y) * _at_low + (y - low) * _at_high) / (high - low)},
    proof=_crown,
    game=Game(_interval, _crown_excess),
)


# ----------------------------------------------------------------------------------------------------------- attack
def _bilinear(width: int, seed: int) -> Any:
    """c, A of F(t_1, t_2) = c't_1 + t_1'A t_2 + e't_2 on a random tanh net of two replaced layers, one sample."""
    import numpy as np

    generator = np.random.default_rng(seed)
    W = [generator.standard_normal((width, width)) / np.sqrt(width) for _ in range(2)]
    x, r = generator.standard_normal(width), generator.standard_normal(width)
    z1 = W[0] @ x
    h1 = np.tanh(z1)
    z2 = W[1] @ h1
    d1, d2 = 1 - h1**2, 1 - np.tanh(z2) ** 2
    # <g, g~> of both layers: t_2 on the upper, t_1 t_2 on the lower.
    upper = (d2 * r) ** 2 * (h1 @ h1)
    true = d1 * (W[1].T @ (d2 * r))
    A = (x @ x) * (true * d1)[:, None] * W[1].T * (d2 * r)[None, :]
    return A, upper


def _attack(stated: Stated, effort: float) -> Iterator[Comparison]:
    import numpy as np

    width, nets, kappa_ = (14, 10, 3.0) if effort >= 1 else (10, 4, 3.0)
    signs = np.array(list(product((1.0, kappa_), repeat=width)))
    for net in range(nets):
        A, upper = _bilinear(width, net)
        exact = float(np.where((rows := signs @ A + upper) > 0, rows, kappa_ * rows).sum(axis=1).min())
        generator, best = np.random.default_rng(net), np.inf
        for _ in range(20):
            t = generator.choice([1.0, kappa_], size=width)
            for _ in range(30):
                u = np.where(t @ A + upper > 0, 1.0, kappa_)
                t = np.where(A @ u > 0, 1.0, kappa_)
            best = min(best, float(t @ A @ u + upper @ u))
        allowed = float(stated["share"]) * abs(exact)
        what = f"net {net + 1} of width {width}: least F by block descent against every vertex"
        yield Comparison(what, best, exact, allowed, "enumeration")


def _vertex_game(draw: Draw) -> dict[str, Any]:
    ratio = 1 + positive(draw.real())
    points = [draw.box(2, 1, ratio) for _ in range(2)]
    if not draw.holds("in the box"):
        points[0][0] = draw.real()
    return {"A": draw.matrix(2, 2), "b": draw.reals(2), "points": points, "ratio": ratio}


def _vertex_excess(stated: Stated, A: Any, b: Any, points: Any, ratio: Any) -> Any:
    def value(t: Any, x: Any) -> Any:
        return dot(t, times(A, x)) + dot(b, x)

    corners = [value(c[:2], c[2:]) for c in vertices(4, 1, ratio)]
    return min(corners) - value(*points)


ATTACK = Claim(
    id="attack",
    title="The attack finds the worst case",
    statement="The minimum of F is at a vertex, and exact block-coordinate minimisation per layer with restarts comes "
    "within 2% of it.",
    latex=r"\min_T F(T) = \min_{T \in \{m, M\}} F(T)",
    expected=Verdict.SUPPORTED,
    source="ours; exact by enumeration of one layer, ten tanh nets of width 14",
    scope=_CONCRETE,
    hypotheses=(BOX,),
    stated={"share": sp.Rational(2, 100)},
    game=Game(_vertex_game, _vertex_excess),
    evaluate=_attack,
)
