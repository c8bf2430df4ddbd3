"""Chapter `depth`: what positive factors above do to the layers below, one sample."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from typing import Any

import sympy as sp

from ...claim import Claim, Hypothesis, Scope, Stated, Verdict
from ...roads import network as net
from ...roads import steps as by
from ...roads.game import Draw, Game, dot, fails_strictly, number, times, transposed
from ...roads.steps import Step
from .direction import ONE_SAMPLE, POSITIVE, POSITIVE_DERIVATIVE
from .witnesses import DEPTH_ASCENT_LEAKY, DEPTH_ASCENT_RELU, DEPTH_FLIP_LEAKY, DEPTH_FLIP_RELU, NONNEGATIVE_FLIP


def one_two_one(draw: Draw) -> dict[str, Any]:
    """A net 1-2-1 with a leaky hidden layer and one sample."""
    return {
        "w": draw.real(),
        "u": draw.reals(2),
        "v": draw.reals(2),
        "slope": 1 / (1 + draw.real() ** 2),
        "x": draw.real(),
        "y": draw.real(),
    }


def both_gradients(w: Any, u: list[Any], v: list[Any], slope: Any, x: Any, y: Any) -> tuple[Any, Any]:
    """The net's true gradient and its gradient under const-1, by the plain backward pass."""
    leaky = net.Activate("leaky_relu", {"slope": slope})
    network = (net.Linear([[w]]), net.Linear([[a] for a in u]), leaky, net.Linear([v]))
    loss = net.Loss("squared", [[y]])
    true = net.gradient(network, [[x]], loss)
    return true, net.gradient(network, [[x]], loss, net.backward_factor("constant", {}))


# ------------------------------------------------------------------------------------------------ depth-entry-flip
def _entry_excess(stated: Any, **instance: Any) -> Any:
    true, surrogate = both_gradients(**instance)
    a, b = true[0][0][0], surrogate[0][0][0]
    return None if a == 0 and b == 0 else fails_strictly(a * b)


DEPTH_ENTRY_FLIP = Claim(
    id="depth-entry-flip",
    title="Depth keeps signs",
    statement="One sample, positive factors above: a lower layer's gradient keeps its signs.",
    latex=r"\mathrm{sign}\,\partial\tilde L/\partial w = \mathrm{sign}\,\partial L/\partial w",
    expected=Verdict.REFUTED,
    source="ours, against Troiano et al. 2025, proposition 1",
    scope=Scope(network="net 1-2-1", gradient="the layer below"),
    game=Game(one_two_one, _entry_excess),
    witnesses=(DEPTH_FLIP_LEAKY, DEPTH_FLIP_RELU),
)


# ---------------------------------------------------------------------------------------------- depth-whole-ascent
def _whole_excess(stated: Any, **instance: Any) -> Any:
    true, surrogate = both_gradients(**instance)
    return fails_strictly(net.inner(true, surrogate)) if net.inner(true, true) else None


DEPTH_WHOLE_ASCENT = Claim(
    id="depth-whole-ascent",
    title="Depth keeps descent of the whole gradient",
    statement="One sample, positive factors: the whole gradient stays a descent direction.",
    latex=r"\langle g, \tilde g\rangle > 0",
    expected=Verdict.REFUTED,
    source="ours, against Troiano et al. 2025, proposition 1",
    scope=Scope(network="net 1-2-1", gradient="the whole gradient"),
    game=Game(one_two_one, _whole_excess),
    witnesses=(DEPTH_ASCENT_LEAKY, DEPTH_ASCENT_RELU),
)


# ------------------------------------------------------------------------------------------------------- width-one
def _width_one(stated: Stated) -> Iterator[Step]:
    psi, slope, ratio = sp.symbols("psi t_phi c", positive=True)
    w, above = sp.symbols("w delta", real=True)
    yield by.given("one sample")
    yield by.given("positive derivative", slope, strict=True)
    yield by.given("positive", psi, strict=True)
    yield by.positive("at the top delta~ = (psi/phi') delta with a positive ratio", psi / slope)
    step = psi * w * (ratio * above) / (slope * w * above)
    yield by.identity("if delta~ = c delta above, then below the ratio is (psi/phi') c", step, psi / slope * ratio)
    yield by.positive("which is positive: by induction every ratio is", sp.cancel(step))
    rx = sp.Symbol("delta_x", real=True, nonzero=True)
    yield by.positive("so no entry that is not 0 flips", rx * (ratio * rx))


def _chain(draw: Draw) -> dict[str, Any]:
    samples = 1 if draw.holds("one sample") else 2
    return {
        "w": draw.reals(2),
        "true": [draw.positives(3, "positive derivative") for _ in range(2)][:samples],
        "psi": [draw.positives(3, "positive") for _ in range(2)][:samples],
        "rx": draw.reals(2)[:samples],
    }


def _chain_excess(stated: Stated, w: Any, true: Any, psi: Any, rx: Any) -> Any:
    a, b = (prod(w) * sum(prod(f) * e for f, e in zip(factors, rx, strict=True)) for factors in (true, psi))
    return None if a == 0 and b == 0 else fails_strictly(a * b)


WIDTH_ONE = Claim(
    id="width-one",
    title="Chains of width one never flip",
    statement="One sample, positive factors: in a chain of units of width one no gradient entry changes sign.",
    latex=r"\tilde\delta_l = \Big(\prod_{j \ge l} \psi_j/\phi'_j\Big)\,\delta_l",
    expected=Verdict.PROVED,
    source="ours",
    scope=Scope(network="width one, any depth"),
    hypotheses=(ONE_SAMPLE, POSITIVE_DERIVATIVE, POSITIVE),
    proof=_width_one,
    game=Game(_chain, _chain_excess),
)


# ------------------------------------------------------------------------------------------------------- path-sign
def _two_layers(draw: Draw) -> dict[str, Any]:
    return {
        "W": draw.reals(2),
        "V": draw.matrix(2, 2),
        "e": draw.reals(2),
        "true": draw.positives(4, "positive derivative"),
        "psi": draw.positives(4, "positive"),
    }


def _paths(W: Any, V: Any, e: Any) -> dict[tuple[int, int], Any]:
    """The coefficient of each path from one unit through two hidden layers of two, outputs summed first."""
    return {(i, k): W[i] * V[k][i] * e[k] for i in range(2) for k in range(2)}


def _through(paths: dict[tuple[int, int], Any], factors: Any) -> Any:
    return sum(c * factors[i] * factors[2 + k] for (i, k), c in paths.items())


def _path_excess(stated: Stated, W: Any, V: Any, e: Any, true: Any, psi: Any) -> Any:
    paths = _paths(W, V, e)
    signs = {c > 0 for c in paths.values() if c}
    if len(signs) < 2:
        a, b = _through(paths, true), _through(paths, psi)
        return None if a == 0 and b == 0 else fails_strictly(a * b)
    seen = set()
    for (i, k), c in paths.items():
        if c:  # t on one path's units outgrows the rest
            t = 1 + sum(map(abs, paths.values())) / abs(c)
            seen.add(_through(paths, [t if u in (i, 2 + k) else 1 for u in range(4)]) > 0)
    return 0 if len(seen) == 2 else 1


def _path_sign(stated: Stated) -> Iterator[Step]:
    W, V, e = sp.symbols("w_:2", real=True), sp.symbols("v_:4", real=True), sp.symbols("e_:2", real=True)
    psi = sp.symbols("psi_:4", positive=True)
    rows = [list(V[:2]), list(V[2:])]
    hidden = sp.Matrix(2, 1, lambda i, _: psi[i] * sum(rows[k][i] * psi[2 + k] * e[k] for k in range(2)))
    total = sum(W[i] * hidden[i] for i in range(2))
    yield by.identity("delta_j is a sum over paths (two layers of two)", total, _through(_paths(W, rows, e), psi))
    yield by.given("positive derivative", psi[0], strict=True)
    yield by.given("positive", *psi, strict=True)
    paths = [(i, k) for i in range(2) for k in range(2)]
    for own in paths:
        signed = {path: sp.Symbol(f"c_{path[0]}{path[1]}", nonnegative=True, positive=path == own) for path in paths}
        text = f"(if) coefficients >= 0, that of the path {own} positive, give the sum that sign"
        yield by.positive(text, sp.expand(_through(signed, psi)))
    t, depth, k, c = sp.symbols("t L k c", positive=True)
    rest = sp.Symbol("c", nonnegative=True)
    free = {path: sp.Symbol(f"c_{path[0]}{path[1]}", real=True) for path in paths}
    for own in paths:
        grown = _through(free, [t if unit in (own[0], 2 + own[1]) else 1 for unit in range(4)]) / t**2
        yield by.tends(f"(only if) t on the units of the path {own}: the sum over t^2", grown, t, sp.oo, free[own])
    yield by.identity(
        "the same in any depth: t on the L units of one path gives it t^L, any other path at most t^(L-1)",
        t**depth / t ** (depth - 1),
        t,
    )
    yield by.tends("so the rest is outgrown", t ** (-k), t, sp.oo, 0)
    yield by.tends("and the sign is that path's", c + rest * t ** (-k), t, sp.oo, c)


PATH_SIGN = Claim(
    id="path-sign",
    title="When a sign survives every positive replacement above",
    statement="The sign of dL/dz_j survives all positive replacements above iff the coefficients of the paths of "
    "hidden units from j to the loss, outputs summed first, never take both signs.",
    latex=r"c_p = W_{i_1 j} W_{i_2 i_1} \cdots (V^T e)_{i_L} \text{ all } \ge 0 \text{ or all } \le 0",
    expected=Verdict.PROVED,
    source="ours",
    scope=Scope(
        network="any hidden layers above",
        sizes="two layers of two units above, every path; the growth of one path for any depth",
    ),
    hypotheses=(POSITIVE_DERIVATIVE, POSITIVE),
    proof=_path_sign,
    game=Game(_two_layers, _path_excess),
)


def _weights_nonnegative(draw: Draw) -> dict[str, Any]:
    instance = _two_layers(Draw(draw.values, ("positive", "positive derivative")))
    draw.reals(16)
    return {**instance, "W": [w * w for w in instance["W"]], "V": [[v * v for v in row] for row in instance["V"]]}


def _survives_excess(stated: Stated, W: Any, V: Any, e: Any, true: Any, psi: Any) -> Any:
    a, b = (_through(_paths(W, V, e), factors) for factors in (true, psi))
    return -(a * b) if a and b else None


NONNEGATIVE_WEIGHTS = Claim(
    id="path-sign-nonnegative",
    title="Nonnegative weights keep signs",
    statement="Nonnegative weights between hidden layers suffice for signs to survive, whatever the readout.",
    latex=r"W \ge 0 \implies \mathrm{sign}\,\tilde\delta = \mathrm{sign}\,\delta",
    expected=Verdict.REFUTED,
    source="ours, split from path-sign; they suffice only where V^T e has one sign",
    scope=Scope(network="two hidden layers above"),
    game=Game(_weights_nonnegative, _survives_excess),
    witnesses=(NONNEGATIVE_FLIP,),
)


# ---------------------------------------------------------------------------------------------------- layer-scalar
ONE_SCALAR = Hypothesis("one scalar", "psi = c_l phi' with one c_l per layer for the whole batch")
c_below, c_above = sp.symbols("c_l C", real=True)


def _layer_scalar(stated: Stated) -> Iterator[Step]:
    D = [sp.diag(*sp.symbols(f"d_{k}_:2", real=True)) for k in range(2)]  # each sample has its own derivatives
    W = sp.Matrix(2, 2, sp.symbols("w_:4", real=True))
    delta = [sp.Matrix(sp.symbols(f"delta_{k}_:2", real=True)) for k in range(2)]
    x = [sp.Matrix([sp.symbols(f"x_{k}_:2", real=True)]) for k in range(2)]
    yield by.given("one scalar")
    moved = [c_below * D[k] * W.T * (c_above * delta[k]) for k in range(2)]
    for k in range(2):
        yield by.identity("if delta~ = C delta above, then below", moved[k], stated["factor"] * D[k] * W.T * delta[k])
    total = moved[0] * x[0] + moved[1] * x[1]
    plain = D[0] * W.T * delta[0] * x[0] + D[1] * W.T * delta[1] * x[1]
    yield by.identity("one factor for every sample comes out of the batch's sum", total, stated["factor"] * plain)


def _scaled_layers(draw: Draw) -> dict[str, Any]:
    lower, upper = draw.reals(2), draw.reals(2)
    if draw.holds("one scalar"):
        lower, upper = [lower[0]] * 2, [upper[0]] * 2
    return {
        "lower": lower,
        "upper": upper,
        "D": draw.matrix(2, 2),
        "W": draw.matrix(2, 2),
        "delta": draw.matrix(2, 2),
        "x": draw.reals(2),
    }


def _scalar_excess(stated: Stated, lower: Any, upper: Any, D: Any, W: Any, delta: Any, x: Any) -> Any:
    true, moved = [0, 0], [0, 0]
    for k in range(2):
        below = [d * e * x[k] for d, e in zip(D[k], times(transposed(W), delta[k]), strict=True)]
        true = [a + b for a, b in zip(true, below, strict=True)]
        moved = [a + lower[k] * upper[k] * b for a, b in zip(moved, below, strict=True)]
    factor = number(stated["factor"], c_l=lower[0], C=upper[0])
    gap = [a - factor * b for a, b in zip(moved, true, strict=True)]
    return dot(gap, gap)


LAYER_SCALAR = Claim(
    id="layer-scalar",
    title="One scalar a layer only rescales",
    statement="psi = c_l phi' with one c_l per layer for the whole batch: each layer's gradient is the true one times "
    "the product of the c_j at and above it.",
    latex=r"\tilde g_l = \Big(\prod_{j \ge l} c_j\Big) g_l",
    expected=Verdict.PROVED,
    source="ours; one c a sample falls under batch-mixing",
    scope=Scope(
        samples="any", factors="c_l times the derivative", sizes="2 units, 2 samples a layer; any depth, by induction"
    ),
    hypotheses=(ONE_SCALAR,),
    stated={"factor": c_below * c_above},
    proof=_layer_scalar,
    game=Game(_scaled_layers, _scalar_excess),
)
