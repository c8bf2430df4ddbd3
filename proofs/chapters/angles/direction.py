"""Chapter `direction`: what positive factors do to the gradient of one layer and one sample."""

from __future__ import annotations

from collections.abc import Iterator
from math import cos, sin, tan
from typing import Any

import sympy as sp

from ...claim import Claim, Hypothesis, Scope, Stated, Verdict, Witness
from ...roads import steps as by
from ...roads.game import Draw, Game, angle, dot, fails_strictly, number
from ...roads.steps import Step
from .witnesses import SOFTMAX, SOFTMAX_SIGN

POSITIVE = Hypothesis("positive", "every factor is positive")
NONZERO = Hypothesis("nonzero", "the gradient is not zero")

m, M, kappa = sp.symbols("m M kappa", positive=True)
product, gradient, scaled = sp.symbols("p g_2 q", positive=True)
"""<g, Dg>, |g|^2 and |Dg|^2."""


# ------------------------------------------------------------------------------------------------ diagonal-scaling
def _diagonal_scaling(stated: Stated) -> Iterator[Step]:
    n = sp.Symbol("n", integer=True, positive=True)
    i = sp.Symbol("i", integer=True)
    d, a, b, g = (sp.IndexedBase(name, positive=name == "d", nonnegative=name != "g", real=True) for name in "dabg")

    def total(summand: sp.Expr) -> sp.Expr:
        return sp.Sum(summand, (i, 1, n))

    some = sp.Symbol("g_k", real=True, nonzero=True)
    yield by.given("positive", d[i], strict=True)
    yield by.nonnegative("<g, Dg> is a sum of terms that are never negative", total(d[i] * g[i] ** 2))
    yield by.given("nonzero", some**2, strict=True)
    yield by.positive("and one of its terms is positive", sp.Symbol("d_k", positive=True) * some**2)
    # m = d_i - a_i and M = d_i + b_i with a_i, b_i >= 0, in each term of the sums.
    low, high = d[i] - a[i], d[i] + b[i]
    for name, text in (("cocoercive", "so M <g, Dg> - |Dg|^2"), ("chord", "and (m + M) <g, Dg> - m M |g|^2 - |Dg|^2")):
        terms = {product: d[i] * g[i] ** 2, gradient: g[i] ** 2, scaled: d[i] ** 2 * g[i] ** 2, m: low, M: high}
        yield by.nonnegative(f"{text} is a sum of terms >= 0", total(stated[name].subs(terms, simultaneous=True)))


def _scaled_vector(draw: Draw) -> dict[str, Any]:
    return {"d": draw.positives(3, "positive"), "g": draw.nonzero(3, "nonzero")}


def _diagonal_excess(stated: Stated, d: list[Any], g: list[Any]) -> Any:
    inner = sum(a * b * b for a, b in zip(d, g, strict=True))
    low, high = min(d), max(d)
    values = {"p": inner, "g_2": dot(g, g), "q": sum((a * b) ** 2 for a, b in zip(d, g, strict=True))}
    sides = [-number(formula, m=low, M=high, **values) for formula in stated.values()]
    return max(fails_strictly(inner), *sides)


DIAGONAL_SCALING = Claim(
    id="diagonal-scaling",
    title="A positive diagonal keeps descent",
    statement="For D positive diagonal with entries in [m, M] and g != 0: <g, Dg> > 0, <g, Dg> >= |Dg|^2/M and "
    "(m + M) <g, Dg> >= m M |g|^2 + |Dg|^2.",
    latex=r"\langle g, Dg\rangle = \textstyle\sum_i d_i g_i^2 > 0,\quad "
    r"(m+M)\langle g, Dg\rangle \ge mM|g|^2 + |Dg|^2",
    expected=Verdict.PROVED,
    source="folklore; the second inequality is the step of Kantorovich 1948 before the arithmetic mean",
    scope=Scope(gradient="any vector, any length", factors="a positive diagonal"),
    hypotheses=(POSITIVE, NONZERO),
    stated={"cocoercive": M * product - scaled, "chord": (m + M) * product - m * M * gradient - scaled},
    proof=_diagonal_scaling,
    game=Game(_scaled_vector, _diagonal_excess),
)


# ------------------------------------------------------------------------------------------------------- zero-sets
def _with_zeros(draw: Draw) -> dict[str, Any]:
    return {"true": [x**2 for x in draw.reals(2)], "psi": [x**2 for x in draw.reals(2)], "e": draw.reals(2)}


def _zero_excess(stated: Stated, true: list[Any], psi: list[Any], e: list[Any]) -> Any:
    if not any(a * b for a, b in zip(true, e, strict=True)):
        return None
    return fails_strictly(sum(a * b * c * c for a, b, c in zip(true, psi, e, strict=True)))


ZERO_SETS = Claim(
    id="zero-sets",
    title="Nonnegative factors keep strict descent",
    statement="Strict descent also holds where the factor is only nonnegative.",
    latex=r"\phi' \ge 0,\ \psi \ge 0,\ \phi' e \ne 0 \implies \langle \phi' e, \psi e\rangle > 0",
    expected=Verdict.REFUTED,
    source="ours; strictness needs phi' = 0 exactly where psi = 0",
    scope=Scope(gradient="the preactivations of one layer", factors="every factor >= 0"),
    game=Game(_with_zeros, _zero_excess),
    witnesses=(
        Witness(
            "two units, ReLU forward, psi = 1 on z < 0 only: the inner product of the two gradients is 0",
            "network",
            {
                "network": [{"linear": [["1"], ["-1"]]}, {"relu": {}}],
                "inputs": [["1"]],
                "loss": {"linear": [["1", "1"]]},
                "backward": {"steps": {"values": [["0", "1"], [None, "0"]]}},
            },
            {"gradient": [[["1"], ["0"]]], "surrogate_gradient": [[["0"], ["1"]]], "inner_product": "0"},
        ),
    ),
)


# ------------------------------------------------------------------------------------------------------ kantorovich
def _kantorovich(stated: Stated) -> Iterator[Step]:
    root = sp.sqrt(kappa)
    yield by.given("positive", m, M, strict=True)
    chord = by.by(DIAGONAL_SCALING, "chord", inequality=True)
    yield chord
    gap = m * M * gradient + scaled - 2 * sp.sqrt(m * M * gradient * scaled)
    mean = by.squares("arithmetic over geometric mean", gap, (1, sp.sqrt(m * M * gradient) - sp.sqrt(scaled)))
    yield mean
    goal = (m + M) * product - 2 * sp.sqrt(m * M * gradient * scaled)
    yield by.follows("so the cosine is at least 2 sqrt(mM)/(m + M)", goal, (1, chord), (1, mean))
    cosine = stated["cosine"]
    yield by.identity("with M = kappa m", 2 * sp.sqrt(m * kappa * m) / (m + kappa * m), cosine)
    yield by.identity("the sine", 1 - cosine**2, stated["sine"] ** 2)
    yield by.identity("the tangent of half the angle", (1 - cosine) / (1 + cosine), stated["tangent"] ** 2)
    attained = (root * root + kappa) / sp.sqrt((kappa + 1) * (kappa + kappa**2))
    yield by.identity("attained: g = (sqrt kappa, 1), Dg = (sqrt kappa, kappa)", attained, cosine)


def _kantorovich_excess(stated: Stated, d: list[Any], g: list[Any]) -> float | None:
    if not any(g) or min(d) == 0:
        return None
    theta = angle(g, [a * b for a, b in zip(d, g, strict=True)])
    ratio = max(map(abs, d)) / min(map(abs, d))
    bound = {name: number(formula, kappa=ratio) for name, formula in stated.items()}
    return float(max(bound["cosine"] - cos(theta), sin(theta) - bound["sine"], tan(theta / 2) - bound["tangent"]))


KANTOROVICH = Claim(
    id="kantorovich",
    title="The Kantorovich angle",
    statement="For D positive diagonal with kappa = M/m: cos(g, Dg) >= 2 sqrt(kappa)/(1 + kappa), "
    "sin <= (kappa - 1)/(kappa + 1), tan(theta/2) <= (sqrt kappa - 1)/(sqrt kappa + 1); attained.",
    latex=r"\cos(g, Dg) \ge \frac{2\sqrt\kappa}{1+\kappa},\quad \sin \le \frac{\kappa-1}{\kappa+1},\quad "
    r"\tan\tfrac{\theta}{2} \le \frac{\sqrt\kappa-1}{\sqrt\kappa+1}",
    expected=Verdict.PROVED,
    source="Kantorovich 1948; Bauer and Householder 1960",
    scope=Scope(gradient="any vector, any length", factors="a positive diagonal in [m, kappa m]"),
    hypotheses=(POSITIVE,),
    uses=("diagonal-scaling",),
    stated={
        "cosine": 2 * sp.sqrt(kappa) / (1 + kappa),
        "sine": (kappa - 1) / (kappa + 1),
        "tangent": (sp.sqrt(kappa) - 1) / (sp.sqrt(kappa) + 1),
    },
    proof=_kantorovich,
    game=Game(lambda draw: {"d": draw.positives(3, "positive"), "g": draw.reals(3)}, _kantorovich_excess),
    witnesses=(
        Witness(
            "kappa = 4: g = (2, 1) and Dg = (2, 4) meet at cos 4/5, the bound (|g|^2 = 5, |Dg|^2 = 20)",
            "network",
            {
                "network": [{"linear": [["1"], ["-1"]]}, {"leaky_relu": {"slope": "1/4"}}],
                "inputs": [["1"]],
                "loss": {"linear": [["2", "4"]]},
                "backward": {"constant": {"height": "1"}},
            },
            {"gradient": [[["2"], ["1"]]], "surrogate_gradient": [[["2"], ["4"]]], "inner_product": "8"},
            refutes=False,
        ),
    ),
)


# ------------------------------------------------------------------------------------------------- softmax
def _softmax_layer(draw: Draw) -> dict[str, Any]:
    weights = [1 + x**2 for x in draw.reals(2)]
    return {
        "p": [w / sum(weights) for w in weights],
        "r": draw.reals(2),
        "diagonal": [1 + x**2 for x in draw.reals(2)],
    }


def _softmax_excess(stated: Stated, p: list[Any], r: list[Any], diagonal: list[Any]) -> Any:
    true = [a * (b - dot(p, r)) for a, b in zip(p, r, strict=True)]
    replaced = [a * b for a, b in zip(diagonal, r, strict=True)]
    return fails_strictly(dot(true, replaced)) if any(true) else None


SOFTMAX_DIAGONAL = Claim(
    id="softmax",
    title="A diagonal in place of softmax's Jacobian",
    statement="Replacing the Jacobian of softmax by a positive diagonal keeps the sign of each entry, or descent.",
    latex=r"\langle (\mathrm{diag}\,p - pp^T) r, Dr\rangle > 0",
    expected=Verdict.REFUTED,
    source="ours, against Troiano et al. 2025, proposition 2",
    scope=Scope(network="softmax nearest the loss", gradient="its preactivations", factors="a positive diagonal"),
    game=Game(_softmax_layer, _softmax_excess),
    witnesses=(SOFTMAX, SOFTMAX_SIGN),
)


# ------------------------------------------------------------------------------------------------------ last-layer
ONE_SAMPLE = Hypothesis("one sample", "the gradient is that of a single sample")
NO_SHARING = Hypothesis("no weight sharing", "each weight meets one input entry only")
ELEMENTWISE = Hypothesis("elementwise", "each output depends on its own preactivation alone")
POSITIVE_DERIVATIVE = Hypothesis("positive derivative", "phi' > 0 at every preactivation")


def _last_layer(stated: Stated) -> Iterator[Step]:
    phi, loss = sp.Function("phi"), sp.Function("ell")
    psi, slope = sp.symbols("psi t_phi", positive=True)
    rows, columns = 2, 3
    W = sp.Matrix(rows, columns, lambda i, j: sp.Symbol(f"w_{i}{j}", real=True))
    x = sp.Matrix(columns, 1, lambda j, _: sp.Symbol(f"x_{j}", real=True))
    z = W * x
    outputs = [sp.Symbol(f"a_{i}", real=True) for i in range(rows)]
    at = {a: phi(z[i]) for i, a in enumerate(outputs)}
    value = loss(*outputs).subs(at)
    r = [sp.diff(loss(*outputs), a).subs(at).doit() for a in outputs]
    free = sp.Symbol("s", real=True)
    slopes = [sp.diff(phi(free), free).subs(free, z[i]).doit() for i in range(rows)]
    yield by.given("positive derivative", slope, strict=True)
    yield by.given("positive", psi, strict=True)
    entries = {
        (i, j): sp.diff(value, W[i, j]).doit() - (slopes[i] * r[i] * x[j]) for i in range(rows) for j in range(columns)
    }
    yield by.all_of(
        "dL/dW_ij = phi'(z_i) r_i x_j: one sample, no sharing, elementwise (2 units, 3 inputs, any loss)",
        *(by.identity(f"entry {i}, {j}", sp.Matrix([entry]), sp.zeros(1, 1)) for (i, j), entry in entries.items()),
    )
    yield from (by.given(name) for name in ("one sample", "no weight sharing", "elementwise"))
    rx = sp.Symbol("r_i x_j", real=True, nonzero=True)
    yield by.positive("so the two entries have one sign where r_i x_j is not 0", stated["agreement"].subs(_rx, rx))
    v = sp.symbols("v_0 v_1", real=True)
    above = sp.diff(loss(sum(v[i] * phi(z[i]) for i in range(rows))), v[0]).doit()
    yield by.independent("gradients of layers above hold phi but no factor of this layer", above, slopes[0], psi)


_rx = sp.Symbol("e", real=True)
_slope, _psi = sp.symbols("t_phi psi", positive=True)


def _one_layer(draw: Draw) -> dict[str, Any]:
    samples = 1 if draw.holds("one sample") else 2
    positions = 1 if draw.holds("no weight sharing") else 2
    return {
        "true": draw.positives(4, "positive derivative"),
        "psi": draw.positives(4, "positive"),
        "mixing": 0 if draw.holds("elementwise") else draw.real(),
        "r": draw.reals(4),
        "x": draw.reals(4),
        "terms": samples * positions,
    }


def _last_layer_excess(
    stated: Stated, true: list[Any], psi: list[Any], mixing: Any, r: list[Any], x: list[Any], terms: int
) -> Any:
    # Terms 1 to 3 are further samples or positions; `mixing` adds another unit's upstream gradient to the first's.
    upstream = [r[0] + mixing * r[1] / true[0] if k == 0 and true[0] else r[k] for k in range(terms)]
    g = sum(true[k] * upstream[k] * x[k] for k in range(terms))
    surrogate = sum(psi[k] * r[k] * x[k] for k in range(terms))
    if g == 0 and surrogate == 0:
        return None
    return fails_strictly(g * surrogate)


LAST_LAYER = Claim(
    id="last-layer",
    title="The layer nearest the loss keeps its signs",
    statement="One sample, no weight sharing, an elementwise activation nearest the loss with phi' > 0 < psi: every "
    "entry of that layer's weight gradient keeps its sign, and the gradients of layers above are unchanged.",
    latex=r"\partial L/\partial W_{ij} = \phi'(z_i)\, r_i x_j,\quad "
    r"\mathrm{sign}(\psi(z_i) r_i x_j) = \mathrm{sign}(\phi'(z_i) r_i x_j)",
    expected=Verdict.PROVED,
    source="the scope in which Troiano et al. 2025, proposition 1, holds",
    scope=Scope(
        network="elementwise activation nearest the loss",
        gradient="that layer's weights",
        sizes="2 units of 3 inputs, any loss",
    ),
    hypotheses=(ONE_SAMPLE, NO_SHARING, ELEMENTWISE, POSITIVE_DERIVATIVE, POSITIVE),
    stated={"agreement": _slope * _rx * _psi * _rx},
    proof=_last_layer,
    game=Game(_one_layer, _last_layer_excess),
)
