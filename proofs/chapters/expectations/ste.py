"""Chapter `ste`: straight-through estimators on one hidden layer of binary units and Gaussian inputs.

The setting of Yin et al. 2019: output v'1{Zw > 0} against v*'1{Zw* > 0}, squared error, rows of Z standard normal,
|w*| = 1, theta the angle of w and w*. All that matters of Z lies in the plane of w and w*: s = <z, w>/|w| and y across.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import sympy as sp

from ...claim import Claim, Hypothesis, Scope, Stated, Verdict
from ...roads import steps as by
from ...roads.game import Comparison, Draw, Game, fails_strictly, number
from ...roads.steps import Step
from .samples import Yin, coarse_draws, loss_draws, plane_quadrature

theta, rho = sp.symbols("theta rho", positive=True)
"""The angle, and |w|."""
vv, dd, ss, st, nn = sp.symbols("vv d s s_star nn", real=True)
"""|v|^2, v.v*, 1'v, 1'v*, |v*|^2."""
_ROOT = sp.sqrt(2 * sp.pi)
_SCOPE = Scope(
    network="one hidden layer, binary units",
    samples="Gaussian, in expectation",
    gradient="v and w",
    sizes="three units; inputs of any dimension, as all lies in a plane",
)


def _phi(z: sp.Expr) -> sp.Expr:
    return sp.exp(-(z**2) / 2) / _ROOT


def _cdf(z: sp.Expr) -> sp.Expr:
    return (1 + sp.erf(z / sp.sqrt(2))) / 2


# -------------------------------------------------------------------------------------------------- ste-population
def _population(stated: Stated) -> Iterator[Step]:
    a = sp.Symbol("a", real=True)
    both = sp.integrate(1 / (2 * sp.pi), (a, theta - sp.pi / 2, sp.pi / 2))
    yield by.identity("P(s > 0, s* > 0): an arc of pi - theta", both, (sp.pi - theta) / (2 * sp.pi))
    one, ones = sp.eye(3), sp.ones(3, 3)
    same = sp.Rational(1, 2) * one + sp.Rational(1, 4) * (ones - one)
    cross = both * one + sp.Rational(1, 4) * (ones - one)
    share = 1 - 2 * theta / sp.pi
    yield by.identity("E sigma sigma'", same, (one + ones) / 4)
    yield by.identity("E sigma sigma*'", cross, (share * one + ones) / 4)
    v, t = (sp.Matrix(sp.symbols(f"{name}_:3", real=True)) for name in ("v", "t"))
    f = (v.dot(same * v) - 2 * v.dot(cross * t) + t.dot(same * t)) / 2
    values = {vv: v.dot(v), dd: v.dot(t), ss: sum(v), st: sum(t), nn: t.dot(t)}
    yield by.identity("so the population loss (three units)", f, stated["loss"].subs(values))
    slope = sp.Matrix([sp.diff(f, a) for a in v])
    yield by.identity("its gradient by v", slope, ((one + ones) * v - (share * one + ones) * t) / 4)
    x1, x2 = sp.symbols("w_1 w_2", real=True)
    turn = sp.Matrix([sp.diff(sp.atan2(x2, x1), x) for x in (x1, x2)])
    at = {x1: rho * sp.cos(theta), x2: rho * sp.sin(theta)}
    turn = turn.subs(at).applyfunc(sp.simplify)
    across = sp.Matrix([sp.sin(theta), -sp.cos(theta)])  # P w*/|P w*| for w* = (1, 0)
    found = sp.diff(stated["loss"], theta) * turn
    yield by.identity("and by w, through theta", found, stated["slope"] * across)


def _population_draws(stated: Stated, effort: float) -> Iterator[Comparison]:
    for case in Yin.cases():
        mean, error = loss_draws(case, int(400_000 * max(effort, 0.2)))
        value = float(number(stated["loss"], theta=case.theta, **case.scalars))
        yield Comparison(f"population loss at {case}", value, mean, 4 * error, "Monte Carlo")


STE_POPULATION = Claim(
    id="ste-population",
    title="The population loss of a binary layer",
    statement="f = 1/8 [v'(I+J)v - 2v'((1-2theta/pi)I+J)v* + v*'(I+J)v*], with its gradients by v and by w.",
    latex=r"f = \tfrac18\big[v'(I+J)v - 2v'((1-\tfrac{2\theta}{\pi})I+J)v^* + v^{*\prime}(I+J)v^*\big]",
    expected=Verdict.PROVED,
    source="Yin et al. 2019",
    scope=_SCOPE,
    stated={
        "loss": (vv + ss**2 - 2 * ((1 - 2 * theta / sp.pi) * dd + ss * st) + nn + st**2) / 8,
        "slope": -dd / (2 * sp.pi * rho),
    },
    proof=_population,
    evaluate=_population_draws,
)


# ------------------------------------------------------------------------------------------------------ ste-coarse
_k = sp.Symbol("cot_theta", real=True)
_sin, _cos = 1 / sp.sqrt(1 + _k**2), _k / sp.sqrt(1 + _k**2)
t = sp.Symbol("t", positive=True)
_h = vv + ss**2 - ss * st + dd


def _split() -> Step:
    """E g = |v|^2 a - (v.v*) b + 1/2 [(1'v)^2 - |v|^2 - (1'v)(1'v*) + v.v*] c, for three units."""
    v, u = (sp.symbols(f"{name}_:3", real=True) for name in ("v", "t"))
    a, b, c = sp.symbols("a b c", real=True)
    pairs = [(i, j) for i in range(3) for j in range(3) if i != j]
    total = sum(v[i] * (v[i] * a - u[i] * b) for i in range(3)) + sum(v[i] * (v[j] - u[j]) * c / 2 for i, j in pairs)
    d, square = sum(x * y for x, y in zip(v, u, strict=True)), sum(x**2 for x in v)
    rest = (sum(v) ** 2 - square - sum(v) * sum(u) + d) / 2
    text = "E g = |v|^2 a - (v.v*) b + ... c with a, b, c = E z psi(s) times 1{s>0}, 1{s*>0}, 1"
    return by.identity(text, total, square * a - d * b + rest * c)


def _coarse(stated: Stated) -> Iterator[Step]:
    yield _split()
    # Along w: B1 = int_0^t s phi(s) Phi(s cot) ds; across: B2 = int_0^t phi(s) phi(s cot) ds (y integrated out).
    tail = (_cdf(t / _sin) - sp.Rational(1, 2)) / _ROOT
    along = (sp.Rational(1, 2) - sp.exp(-(t**2) / 2) * _cdf(t * _k)) / _ROOT + _cos * tail
    across = _sin * tail
    yield by.identity("the part of b along w, by its derivative in t", sp.diff(along, t), t * _phi(t) * _cdf(t * _k))
    yield by.identity("which is 0 at t = 0", along.subs(t, 0), 0)
    yield by.identity("the part across", sp.diff(across, t), _phi(t) * _phi(t * _k))
    yield by.identity("which is 0 at t = 0", across.subs(t, 0), 0)
    half = sp.integrate(t * _phi(t), t)
    edge = (1 - sp.exp(-(t**2) / 2)) / _ROOT
    yield by.identity("a = c = (1 - exp(-t^2/2))/sqrt(2 pi) along w", half - half.subs(t, 0), edge)
    cut, cut_star = stated["clipped w"], stated["clipped w*"]
    rest = (ss**2 - vv - ss * st + dd) / 2
    yield by.identity("clipped ReLU: w* = cos wh + sin n, so the coefficient of w*", -dd * across / _sin, cut_star)
    yield by.identity("and of wh", (vv + rest) * edge - dd * (along - _cos * across / _sin), cut)
    yield by.tends("ReLU: t to infinity, of w*", cut_star, t, sp.oo, stated["relu w*"])
    yield by.tends("and of exp(-t^2/2), with Phi in [0, 1]", sp.exp(-(t**2) / 2), t, sp.oo, 0)
    left = sp.Symbol("E", nonnegative=True)  # exp(-t^2/2) and its product with Phi, which it bounds
    kept = cut.subs(sp.exp(-(t**2) / 2), left)
    yield by.identity("so of wh", kept.subs(left, 0), stated["relu w"])
    # Identity: add s < 0, which is s > 0 with the sign of s and of cot reversed.
    positive = sp.Rational(1, 2) / _ROOT + _cos / (2 * _ROOT)
    negative = -positive.subs(_k, -_k)
    yield by.identity("identity: b along w", sp.simplify(positive + negative), _cos / _ROOT)
    yield by.identity("and across: twice ReLU's", 2 * _sin / (2 * _ROOT), _sin / _ROOT)
    yield by.identity("so b = w*/sqrt(2 pi), c = 0 and a = wh/sqrt(2 pi)", -dd / _ROOT, stated["identity w*"])
    yield by.identity("which leaves |v|^2 of wh", vv / _ROOT, stated["identity w"])


def _coarse_draws(stated: Stated, effort: float) -> Iterator[Comparison]:
    from math import cos, sin, tan

    for case in Yin.cases():
        for name in ("identity", "relu", "clipped"):
            values = dict(case.scalars, t=1 / case.rho, cot_theta=1 / tan(case.theta))
            a, b = (float(number(stated[f"{name} {part}"], **values)) for part in ("w", "w*"))
            (along, across), errors = coarse_draws(case, name, int(400_000 * max(effort, 0.2)))
            yield Comparison(
                f"E g_{name} along w at {case}", a + b * cos(case.theta), along, 4 * errors[0], "Monte Carlo"
            )
            yield Comparison(
                f"E g_{name} across w at {case}", b * sin(case.theta), across, 4 * errors[1], "Monte Carlo"
            )


_TAIL = (_cdf(t / _sin) - sp.Rational(1, 2)) / _ROOT
_FALL = sp.exp(-(t**2) / 2)

STE_COARSE = Claim(
    id="ste-coarse",
    title="The coarse gradients in closed form",
    statement="h = |v|^2 + (1'v)^2 - (1'v)(1'v*) + v.v*. E g_identity = (|v|^2 wh - (v.v*) w*)/sqrt(2 pi); E g_relu = "
    "[h wh - (v.v*)(wh + w*)]/(2 sqrt(2 pi)); for clipped ReLU, t = 1/|w|, the same with truncated integrals.",
    latex=r"\mathbb{E} g_{\mathrm{relu}} = \frac{h\hat w - (v\cdot v^*)(\hat w + w^*)}{2\sqrt{2\pi}}",
    expected=Verdict.PROVED,
    source="Yin et al. 2019; the clipped form with t = 1/|w| written out by us",
    scope=_SCOPE,
    stated={
        "identity w": vv / _ROOT,
        "identity w*": -dd / _ROOT,
        "relu w": (_h - dd) / (2 * _ROOT),
        "relu w*": -dd / (2 * _ROOT),
        "clipped w": (_h / 2 * (1 - _FALL) - dd * (sp.Rational(1, 2) - _FALL * _cdf(t * _k))) / _ROOT,
        "clipped w*": -dd * _TAIL,
    },
    proof=_coarse,
    evaluate=_coarse_draws,
)


# ------------------------------------------------------------------------------------------------- ste-correlation
mean = sp.Symbol("E_psi", real=True)
sine = sp.Symbol("sin_theta", positive=True)


def _correlation(stated: Stated) -> Iterator[Step]:
    s, y = sp.symbols("s y", real=True)
    yield _split()
    yield by.identity(
        "only b has a part across w: E[y 1{y > -s cot}] is the density there", -sp.diff(_phi(y), y), y * _phi(y)
    )
    yield by.identity("phi(s) phi(s cot) is a narrower density", _phi(s) * _phi(s * _k), _phi(s / _sin) / _ROOT)
    narrow = (_phi(s / _sin) / _ROOT).subs(s, y * _sin) * sp.diff(y * _sin, y)
    yield by.identity("with s = y sin: the part is sin/sqrt(2 pi) E psi(|w| sin y)", narrow, _sin / _ROOT * _phi(y))
    across = sine / _ROOT * mean
    slope = STE_POPULATION.stated["slope"]
    yield by.by(STE_POPULATION, "slope", text="the gradient by w lies across w")
    yield by.identity("so the inner product, for any psi", (-dd * across) * slope, stated["correlation"])
    yield by.identity("identity: E psi = 1", sp.integrate(_phi(y), (y, -sp.oo, sp.oo)), 1)
    yield by.identity("ReLU: E psi = 1/2", sp.integrate(_phi(y), (y, 0, sp.oo)), sp.Rational(1, 2))


def _correlation_quadrature(stated: Stated, effort: float) -> Iterator[Comparison]:
    from math import pi, sin

    for case in Yin.cases():
        for name in ("identity", "relu", "clipped", "tanh", "triangle")[: 5 if effort >= 1 else 2]:
            across, expected = plane_quadrature(case, name)
            d = case.scalars["d"]
            values = {"d": d, "rho": case.rho, "sin_theta": sin(case.theta), "E_psi": expected}
            value = float(number(stated["correlation"], **values))
            found = (-d * across) * (-d / (2 * pi * case.rho))
            yield Comparison(f"<E g, grad f> of {name} at {case}", value, found, 1e-9, "quadrature")


STE_CORRELATION = Claim(
    id="ste-correlation",
    title="Every straight-through estimator correlates",
    statement="For any psi, y ~ N(0, 1): <E g_psi, grad_w f> = sin(theta)(v.v*)^2/((2 pi)^(3/2) |w|) times "
    "E psi(|w| sin(theta) y), 1/2 for ReLU, 1 for identity. So the identity does not fail on correlation.",
    latex=r"\langle \mathbb{E} g_\psi, \nabla_w f\rangle = \frac{\sin\theta\,(v\cdot v^*)^2}{(2\pi)^{3/2}|w|}\,"
    r"\mathbb{E}\,\psi(|w|\sin\theta\,y)",
    expected=Verdict.PROVED,
    source="ours, for the setting of Yin et al. 2019",
    scope=_SCOPE,
    uses=("ste-population",),
    stated={"correlation": sine * dd**2 / ((2 * sp.pi) ** sp.Rational(3, 2) * rho) * mean},
    proof=_correlation,
    evaluate=_correlation_quadrature,
)


# ---------------------------------------------------------------------------------------------------- ste-spurious
SEVERAL = Hypothesis("several units", "m > 1")
MEAN = Hypothesis("mean of v*", "1'v* is not 0")
NEGATIVE = Hypothesis("passes below zero", "psi is not 0 on z < 0")
m, total = sp.symbols("m S", positive=True)
below = sp.Symbol("E_below", positive=True)
"""E[|s| psi(-|w||s|) 1{s<0}]."""


def _spurious(stated: Stated) -> Iterator[Step]:
    perp = sp.Symbol("q", nonnegative=True)  # |v*|^2 across the vector of ones
    share = (m - 1) / (m + 1)
    yield by.given("several units", m, strict=True)
    yield by.identity("v = (I+J)^(-1)(J-I)v*: along 1", (1 + m) * share, m - 1)
    values = {vv: perp + share**2 * total**2 / m, ss: share * total, dd: -perp + share * total**2 / m, st: total}
    yield _split()
    rest = ((ss**2 - vv - ss * st + dd) / 2).subs(values, simultaneous=True)
    yield by.identity("at theta = pi, 1{s*>0} = 1{s<0} and c = a + b: a's coefficient is 0", vv.subs(values) + rest, 0)
    yield by.identity("and b's is minus the stated size", -dd.subs(values) + rest, -stated["size"])
    yield by.identity("b = -E[|s| psi 1{s<0}] along w", -stated["size"] * -below, stated["size"] * below)
    yield by.given("mean of v*", total, strict=True)
    yield by.given("passes below zero", below, strict=True)
    more = sp.Symbol("m_1", positive=True)
    yield by.positive("which is positive for m > 1: no stationary point", (stated["size"] * below).subs(m, 1 + more))


def _spurious_excess(stated: Stated, units: Any, mean_of: Any, below_zero: Any) -> Any:
    return fails_strictly(number(stated["size"], m=units, S=mean_of) * below_zero)


def _spurious_instance(draw: Draw) -> dict[str, Any]:
    return {
        "units": 2 + draw.option(0, 1, 2) if draw.holds("several units") else 1,
        "mean_of": draw.nonzero(1, "mean of v*")[0],
        "below_zero": draw.positives(1, "passes below zero")[0],
    }


def _spurious_draws(stated: Stated, effort: float) -> Iterator[Comparison]:
    from math import pi, sqrt

    case = Yin.spurious()
    size = float(number(stated["size"], m=3, S=case.scalars["s_star"]))
    for name, part in (("identity", 1 / sqrt(2 * pi)), ("relu", 0.0)):
        (along, across), errors = coarse_draws(case, name, int(400_000 * max(effort, 0.2)))
        yield Comparison(f"E g_{name} along w at {case}", size * part, along, 4 * errors[0], "Monte Carlo")
        yield Comparison(f"E g_{name} across w at {case}", 0.0, across, 4 * errors[1], "Monte Carlo")


STE_SPURIOUS = Claim(
    id="ste-spurious",
    title="Where the identity fails: the spurious minimiser",
    statement="At theta = pi, v = (I+J)^(-1)(J-I)v*: E g_psi = E[|s| psi(-|w||s|) 1{s<0}] 2(m-1)(1'v*)^2/(m+1)^2 wh, "
    "zero iff psi = 0 on z < 0. Constant, symmetric rectangle, triangle and Gaussian share the identity's defect.",
    latex=r"\mathbb{E} g_\psi = \mathbb{E}\big[|s|\,\psi(-|w||s|)\,1_{s<0}\big]\,"
    r"\frac{2(m-1)(1'v^*)^2}{(m+1)^2}\,\hat w",
    expected=Verdict.PROVED,
    source="Yin et al. 2019 for identity and ReLU; for any psi ours",
    scope=replace(_SCOPE, sizes="any number of units; the expansion in a, b, c for three"),
    hypotheses=(SEVERAL, MEAN, NEGATIVE),
    uses=("ste-coarse",),
    stated={"size": 2 * (m - 1) * total**2 / (m + 1) ** 2},
    proof=_spurious,
    game=Game(_spurious_instance, _spurious_excess, cases=150),
    evaluate=_spurious_draws,
)
