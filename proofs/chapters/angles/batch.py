"""Chapter `batch`: what happens once the gradients of several samples are summed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import sympy as sp

from ...claim import Claim, Hypothesis, Scope, Stated, Verdict
from ...roads import network as net
from ...roads import steps as by
from ...roads.game import Draw, Game, dot, fails_strictly, number, positive, vertices
from ...roads.steps import Step
from .witnesses import LEAKY_MIXING, LOGISTIC_MIXING, RELU_MIXING

POSITIVE_BOX = Hypothesis("positive", "t = psi/phi' lies in [m, M] with m > 0")

m, M, kappa = sp.symbols("m M kappa", positive=True)
up, down, square = sp.symbols("C_plus C_minus g_2", nonnegative=True)


# ---------------------------------------------------------------------------------------------------- batch-mixing
def _one_weight(draw: Draw) -> dict[str, Any]:
    return {"w": draw.real(), "slope": 1 / (1 + draw.real() ** 2), "x": draw.reals(2), "y": draw.reals(2)}


def mixing_excess(stated: Any, w: Any, slope: Any, x: list[Any], y: list[Any]) -> Any:
    """One unit, leaky slope over const-1: the excess of <g, g~> > 0, by the plain backward pass."""
    network = (net.Linear([[w]]), net.Activate("leaky_relu", {"slope": slope}))
    loss, inputs = net.Loss("squared", [[t] for t in y]), [[a] for a in x]
    true = net.gradient(network, inputs, loss)
    surrogate = net.gradient(network, inputs, loss, net.backward_factor("constant", {}))
    return fails_strictly(net.inner(true, surrogate)) if true[0][0][0] else None


BATCH_MIXING = Claim(
    id="batch-mixing",
    title="A batch keeps descent",
    statement="One unit, one layer, positive factors: the gradient of a batch stays a descent direction.",
    latex=r"\Big\langle \sum_k \phi'(z_k) r_k x_k, \sum_k \psi(z_k) r_k x_k\Big\rangle > 0",
    expected=Verdict.REFUTED,
    source="ours, against Troiano et al. 2025, proposition 1; the targets (0, -2) are smaller than "
    "the theory page's (-1, -7/2)",
    scope=Scope(network="one unit", samples="two or more", gradient="the unit's weight"),
    game=Game(_one_weight, mixing_excess),
    witnesses=(LEAKY_MIXING, RELU_MIXING, LOGISTIC_MIXING),
)


# -------------------------------------------------------------------------------------------------- descent-margin
def _descent_margin(stated: Stated) -> Iterator[Step]:
    samples, units, width = range(2), range(2), range(2)
    e = sp.Matrix(2, 2, lambda k, i: sp.Symbol(f"delta_{k}{i}", real=True))
    x = sp.Matrix(2, 2, lambda k, j: sp.Symbol(f"x_{k}{j}", real=True))
    t = sp.Matrix(2, 2, lambda k, i: sp.Symbol(f"t_{k}{i}", positive=True))
    g = e.T * x
    c = sp.Matrix(2, 2, lambda k, i: e[k, i] * sum(g[i, j] * x[k, j] for j in width))
    whole = [(k, i) for k in samples for i in units]
    yield by.identity("sum c = |g|^2 (2 samples, 2 units, 2 inputs)", sum(c[at] for at in whole), sum(a**2 for a in g))
    surrogate = t.multiply_elementwise(e).T * x
    inner = sum(a * b for a, b in zip(g, surrogate, strict=True))
    yield by.identity("<g, g~> = sum t c", inner, sum(t[at] * c[at] for at in whole))
    # The rows of J are the preactivations of all units and samples: two of each.
    J, r = sp.Matrix(4, 3, sp.symbols("J_:12", real=True)), sp.Matrix(sp.symbols("r_:4", real=True))
    s = sp.Matrix(sp.symbols("t_:4", positive=True))
    below, below_s = J.T * r, J.T * r.multiply_elementwise(s)
    yield by.identity(
        "for all 3 parameters at and below, J the Jacobian of the 4 preactivations: c = r phi' times the tangent J g",
        below.dot(below_s),
        s.dot(r.multiply_elementwise(J * below)),
    )
    # c = p - q with p, q >= 0, and m = t - a, M = t + b with a, b >= 0.
    p, q, a, b = sp.symbols("p q a b", nonnegative=True)
    tk = sp.Symbol("t", positive=True)
    yield by.given("positive", m, strict=True)
    term = tk * (p - q) - stated["minimum"].subs({m: tk - a, M: tk + b, up: p, down: q}, simultaneous=True)
    yield by.squares("term by term t c >= m p - M q", term, (a, sp.sqrt(p)), (b, sp.sqrt(q)))
    attained = stated["minimum"].subs({up: p, down: 0}) + stated["minimum"].subs({up: 0, down: q})
    yield by.identity("attained: t = m where c >= 0, M where c < 0", attained, m * p - M * q)
    minimum = stated["minimum"].subs({M: kappa * m, up: square + down})
    yield by.identity("C+ = |g|^2 + C-; with M = kappa m", minimum, m * (square + down - kappa * down))
    some = sp.Symbol("C_minus", positive=True)
    zero = minimum.subs(down, some).subs(kappa, stated["critical"].subs(down, some))
    yield by.identity("which is 0 at the critical kappa", zero, 0)
    slack = sp.Symbol("s", positive=True)
    for sign, text in ((1, "above 0 below the critical kappa"), (-1, "and below 0 above it")):
        at = sign * minimum.subs(down, some).subs(kappa, stated["critical"].subs(down, some) - sign * slack)
        yield by.positive(text, at)
    yield by.identity("never 0 where C- = 0", minimum.subs(down, 0), m * square)


def _layer(draw: Draw) -> dict[str, Any]:
    low = draw.positives(1, "positive")[0]
    return {
        "delta": draw.matrix(2, 2),
        "x": [[draw.real(), 1], [draw.real(), 1]],
        "low": low,
        "high": low + draw.real() ** 2,
    }


def _margin_excess(stated: Stated, delta: list[Any], x: list[Any], low: Any, high: Any) -> Any:
    g = [[sum(delta[k][i] * x[k][j] for k in range(2)) for j in range(2)] for i in range(2)]
    c = [delta[k][i] * dot(g[i], x[k]) for k in range(2) for i in range(2)]
    plus, minus = sum(max(a, 0) for a in c), sum(max(-a, 0) for a in c)

    def inner(t: Any) -> Any:
        moved = [[sum(t[2 * k + i] * delta[k][i] * x[k][j] for k in range(2)) for j in range(2)] for i in range(2)]
        return sum(dot(a, b) for a, b in zip(g, moved, strict=True))

    worst = min(inner(t) for t in vertices(4, low, high))
    gap = abs(worst - number(stated["minimum"], m=low, M=high, C_plus=plus, C_minus=minus))
    if minus and low:
        critical = number(stated["critical"], g_2=sum(dot(a, a) for a in g), C_minus=minus)
        if (worst > 0) is not (high / low < critical):
            return max(gap, 1)
    return gap


DESCENT_MARGIN = Claim(
    id="descent-margin",
    title="The descent margin of one layer",
    statement="With c_ki = delta_ki <g_i, x_k> and C+, C- the sums of its positive and negative parts, the minimum of "
    "<g, g~> over t in [m, M] is m C+ - M C-, attained; descent for every such t iff kappa < 1 + |g|^2/C-, for "
    "every positive factor iff C- = 0. For all parameters at and below, c = (upstream) phi' (tangent along g).",
    latex=r"\min_{t \in [m, M]} \langle g, \tilde g\rangle = m C_+ - M C_-,\quad \kappa^* = 1 + |g|^2/C_-",
    expected=Verdict.PROVED,
    source="ours",
    scope=Scope(
        network="one replaced activation",
        samples="any",
        gradient="that layer, or all at and below",
        sizes="2 samples, 2 units, 2 inputs; the minimum over t for any number of them",
    ),
    hypotheses=(POSITIVE_BOX,),
    stated={"minimum": m * up - M * down, "critical": 1 + square / down},
    proof=_descent_margin,
    game=Game(_layer, _margin_excess, cases=200),
)


# ---------------------------------------------------------------------------------------------- batch-cosine-bound
length, spread = sp.symbols("G S", positive=True)


def _batch_cosine(stated: Stated) -> Iterator[Step]:
    a, e = (sp.Matrix(sp.symbols(f"{name}_:3", real=True)) for name in "ae")
    yield by.given("positive", m, strict=True)
    bound = stated["bound"].subs({spread: length})
    centre = (m + kappa * m) / 2
    yield by.identity(
        "every t is c (1 + rho s) with |s| <= 1: c = (m + M)/2, rho as stated; s = -1 at m", centre * (1 - bound), m
    )
    yield by.identity("and s = 1 at M", centre * (1 + bound), kappa * m)
    s = sp.Symbol("s", real=True)
    bend = sp.diff((a + s * e).dot(a + s * e), s, 2)
    yield by.nonnegative(
        "g~/c = g + rho e, e = sum s_k g_k: |e|^2 is convex in each s_k, so |e| <= S, at a vertex", bend
    )
    b = a + e
    lagrange = a.dot(a) * b.dot(b) - a.dot(b) ** 2
    yield by.identity("|a|^2 |a+e|^2 - <a, a+e>^2", lagrange, e.dot(e) * b.dot(b) - e.dot(b) ** 2)
    yield by.squares("so sin^2 |a|^2 <= |e|^2, from", e.dot(b) ** 2, (1, e.dot(b)))
    x, y = sp.symbols("r d", positive=True)
    inner = sp.Symbol("i", real=True)
    near = by.schwarz("<a, e>^2 <= |a|^2 |e|^2, with |e| = r and |a| = r + d > r", (x + y) ** 2, x**2, inner)
    least = by.roots("so -<a, e> <= |a| |e|", (x + y) * x, -inner, near)
    yield near
    yield least
    rest = by.positive("as |a| (|a| - |e|) > 0", (x + y) * ((x + y) - x))
    yield rest
    ahead = (x + y) ** 2 + inner
    yield by.follows("<a, a + e> > 0: the angle is acute", ahead, (1, least), (1, rest), strict=True)
    p, q, h = (sp.Matrix(v) for v in ([x, 0, 0], [0, y, 0], [0, 0, inner]))
    yield by.all_of(
        "orthogonal g_k: S = |g|, for every choice of signs (three of them)",
        *(
            by.identity("length", (p + i * q + j * h).dot(p + i * q + j * h), (p + q + h).dot(p + q + h))
            for i, j in ((1, 1), (1, -1), (-1, 1), (-1, -1))
        ),
    )
    yield by.identity("and the bound is Kantorovich's", bound, (kappa - 1) / (kappa + 1))


def _contributions(draw: Draw) -> dict[str, Any]:
    g = draw.matrix(3, 2)
    low = draw.positives(1, "positive")[0]
    high = low + positive(draw.real())
    return {"g": g, "t": draw.box(3, low, high), "low": low, "high": high}


def _total(weights: Any, g: list[Any]) -> list[Any]:
    return [sum(w * row[j] for w, row in zip(weights, g, strict=True)) for j in range(len(g[0]))]


def _batch_cosine_excess(stated: Stated, g: list[Any], t: list[Any], low: Any, high: Any) -> Any:
    from math import pi, sin, sqrt

    from ...roads.game import angle

    whole, moved = _total([1, 1, 1], g), _total(t, g)
    if not any(whole) or low == 0:
        return None
    most = max(sqrt(dot(v, v)) for v in (_total(signs, g) for signs in vertices(3, -1, 1)))
    bound = number(stated["bound"], kappa=abs(high / low), S=most, G=sqrt(dot(whole, whole)))
    if not bound < 1 or not any(moved):
        return None
    theta = angle(whole, moved)
    return max(sin(theta) - bound, theta - pi / 2)


BATCH_COSINE_BOUND = Claim(
    id="batch-cosine-bound",
    title="A cosine bound for a batch",
    statement="sin angle(g, g~) <= (kappa - 1)/(kappa + 1) S/|g| where that is below 1, with S the largest length of "
    "sum +-g_k over all signs, g_k the contributions of samples and units; orthogonal g_k give Kantorovich's bound.",
    latex=r"\sin\angle(g, \tilde g) \le \frac{\kappa-1}{\kappa+1}\cdot\frac{S}{|g|},\quad "
    r"S = \max_\sigma \Big|\sum_k \sigma_k g_k\Big|",
    expected=Verdict.PROVED,
    source="ours",
    scope=Scope(
        network="one replaced activation",
        samples="any",
        gradient="that layer",
        sizes="vectors of 3 entries; any number of contributions",
    ),
    hypotheses=(POSITIVE_BOX,),
    stated={"bound": (kappa - 1) / (kappa + 1) * spread / length},
    proof=_batch_cosine,
    game=Game(_contributions, _batch_cosine_excess, exact=False),
)
