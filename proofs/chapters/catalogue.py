"""Chapter `catalogue`: the theorems of each surrogate of the catalogue, made by iterating it.

For each entry: its sign, bounds, support and integral on the whole line; the mean-field rho against each
differentiable activation, in closed form where both are polynomials times exponentials between their kinks; the ratio
psi/phi' over the body of each and the Kantorovich angle that follows. A random factor enters by its mean.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from math import atan, degrees

import sympy as sp

from ...analysis.surrogates.activations import ACTIVATIONS
from ...analysis.surrogates.catalogue import SURROGATES
from ...analysis.surrogates.surrogate import Surrogate
from ...analysis.surrogates.symbols import u
from ..claim import Claim, Scope, Stated, Verdict
from ..roads.game import Comparison, number
from ..roads.line import FAR, Values, edges_of, extremes, grid, mass, normal_mean, values_of
from ..roads.normal import closed_mean
from ..roads.steps import Step
from .angles.direction import KANTOROVICH
from .expectations.meanfield import MEANFIELD_COSINE

STEPS = ("identity", "sign", "heaviside", "round")
"""Activations whose derivative is constant or vanishes almost everywhere: no ratio and no rho of interest."""

_SHORT = 40
"""Closed forms of up to so many operations are printed."""

BODY = 2.0
"""Ratios are taken over |u| <= 2, where most of the mass of a standard normal preactivation lies."""

THEOREMS = "surrogate-"
"""How the id of a surrogate's theorems begins."""


@cache
def derivatives() -> dict[str, sp.Expr]:
    """phi' of each differentiable activation of the catalogue at its default parameters, by name."""
    return {name: each.tied.formula for name, each in ACTIVATIONS.items() if name not in STEPS}


def _rho(psi: Values, slope: Values, edges: list[float], order: int) -> float:
    def mean(one: Values, other: Values) -> float:
        return normal_mean(lambda z: one(z) * other(z), edges, order)

    cross, squares = mean(psi, slope), (mean(slope, slope), mean(psi, psi))
    return float(number(MEANFIELD_COSINE.stated["layer"], E_cross=cross, E_true=squares[0], E_psi=squares[1]))


def closed_rho(psi: sp.Expr, slope: sp.Expr) -> sp.Expr | None:
    """rho of a factor and a true derivative at q = 1 in closed form; None where none is found."""
    means = [closed_mean(product) for product in (psi * slope, slope**2, psi**2)]
    if any(mean is None for mean in means):
        return None
    symbols = [sp.Symbol(name, positive=True) for name in ("E_cross", "E_true", "E_psi")]
    return MEANFIELD_COSINE.stated["layer"].subs(dict(zip(symbols, means, strict=True)), simultaneous=True)


def _kappa(psi: Values, slope: Values, points: int) -> float:
    """The largest over the least ratio psi/phi' over the body; infinite unless psi and phi' are positive there."""
    import numpy as np

    at = np.linspace(-BODY, BODY, points)
    below, above = slope(at), psi(at)
    if min(below.min(), above.min()) <= 0:
        return float("inf")
    ratio = above / below
    return float(ratio.max() / ratio.min())


def _on_the_line(said: Surrogate, formula: sp.Expr) -> Iterator[Comparison]:
    """The sign, the bounds, the support and the integral that are said of a factor, against its values."""
    import numpy as np

    psi, profile = values_of(formula), said.profile
    least, largest = extremes(psi)
    proved = said.sign.sign.value == "indefinite"
    yield Comparison("whether psi is negative on a grid of the line", float(proved), float(least < 0), 0.0, "sampling")
    for name, bound, found in (("infimum", profile.infimum, least), ("supremum", profile.supremum, largest)):
        if bound is not None and bound.is_finite:
            what = f"{name} of psi, {_shown(bound)}"
            yield Comparison(what, float(bound), found, 1e-6 * (1 + abs(float(bound))), "sampling")
    points = grid()
    alive = points[np.nan_to_num(psi(points)) != 0]
    ends = (profile.support[0][0], profile.support[-1][1]) if profile.support else ()
    for place, (name, end) in enumerate(zip(("lower", "upper"), ends, strict=False)):
        if end.is_finite:
            what = f"{name} end of the support, {_shown(end)}"
            yield Comparison(what, float(end), float(alive[-place]), 0.006, "sampling")
        else:
            there = formula.subs(u, sp.Integer(-1000 if place == 0 else 1000)).evalf()
            what = f"whether the support has no {name} end: psi is not 0 at |u| = 1000"
            yield Comparison(what, 1.0, float(there != 0), 0.0, "sampling")
    edges, area = edges_of(formula), profile.integral
    if area is not None and area.is_finite:
        what = f"integral over the line, {_shown(area)}"
        yield Comparison(what, float(area), mass(psi, edges, FAR), 1e-9 * (1 + abs(float(area))), "quadrature")
    elif area is not None:
        # As far as 1/|u|, whose integral grows by the same amount each time the reach is ten times longer.
        inner, middle, outer = (mass(psi, edges, reach) for reach in (6.0, 60.0, 600.0))
        grows = abs(outer - middle) > 0.9 * abs(middle - inner) > 0
        yield Comparison("whether the integral diverges", 1.0, float(grows), 0.0, "quadrature")


def _shown(value: sp.Expr) -> str:
    return sp.sstr(value) if sp.count_ops(value) <= _SHORT else "in closed form"


def _against(formula: sp.Expr, name: str, slope: sp.Expr) -> Iterator[Comparison]:
    """rho, and the angle that the ratio allows, of a factor against one true derivative."""
    psi, true = values_of(formula), values_of(slope)
    edges = sorted({*edges_of(formula), *edges_of(slope)})
    fine, closed = _rho(psi, true, edges, 40), closed_rho(formula, slope)
    if closed is not None:
        what = f"rho against {name} at q = 1, {_shown(closed)}"
        yield Comparison(what, float(closed.evalf(20)), fine, 1e-12, "quadrature")
    else:
        coarse = _rho(psi, true, edges, 24)
        yield Comparison(f"rho against {name} at q = 1, by quadrature alone", fine, coarse, 1e-9, "quadrature")
    kappa, rough = _kappa(psi, true, 40_001), _kappa(psi, true, 4_001)
    if kappa < 1e12:
        bounds = [2 * degrees(atan(float(number(KANTOROVICH.stated["tangent"], kappa=k)))) for k in (kappa, rough)]
        what = f"Kantorovich angle in degrees against {name} over |u| <= {BODY:g}, kappa = {kappa:.6g}"
        yield Comparison(what, bounds[0], bounds[1], 0.05, "sampling")


def _compared(surrogate: Surrogate, said: Surrogate) -> Callable[[Stated, float], Iterator[Comparison]]:
    def evaluate(stated: Stated, effort: float) -> Iterator[Comparison]:
        yield from _on_the_line(said, surrogate.mean)
        for name, slope in derivatives().items():
            yield from _against(surrogate.mean, name, slope)

    return evaluate


def _proved(surrogate: Surrogate) -> Callable[[Stated], Iterator[Step]]:
    relation = {"strict": "> 0", "weak": r"\ge 0", "indefinite": r"< 0 \text{ somewhere}", "cannot tell": r"\ ?\ 0"}

    def proof(stated: Stated) -> Iterator[Step]:
        found = surrogate.sign
        for line in found.steps:
            yield Step(line, r"\text{on that cell}", "certified sign", True)
        profile = surrogate.profile
        for name in ("infimum", "supremum", "integral"):
            if profile.exact(name):
                yield Step(f"its {name}", rf"{sp.latex(getattr(profile, name))}", "exact profile", True)
        if profile.support is not None:
            latex = r" \cup ".join(rf"[{sp.latex(low)}, {sp.latex(high)}]" for low, high in profile.support)
            yield Step("the closure of where it is not 0", latex or r"\emptyset", "exact profile", True)
        told = found.sign.value != "cannot tell"
        latex = rf"\psi(u) = {sp.latex(surrogate.factor)} {relation[found.sign.value]}"
        yield Step(f"the sign of {surrogate.name}: {found.sign.value}", latex, "certified sign", told)

    return proof


def theorems(surrogate: Surrogate, said: Surrogate | None = None) -> Claim:
    """The theorems of a surrogate, of the catalogue or a user's own, as a claim.

    Args:
        surrogate: whose values are searched and integrated.
        said: whose sign and profile are proved; ``surrogate`` itself, but for tests of this claim.
    """
    said = said or surrogate
    return Claim(
        id=f"{THEOREMS}{surrogate.name}",
        title=f"The theorems of {surrogate.name}",
        statement=f"The sign, bounds, support and integral of {surrogate.name} on the whole line, and against each "
        "differentiable activation its mean-field rho and, over |u| <= 2, its ratio and Kantorovich angle.",
        latex=rf"\psi(u) = {surrogate.latex}",
        expected=Verdict.PROVED,
        source=surrogate.source or "the catalogue",
        scope=Scope(
            network="one activation",
            samples="z ~ N(0, 1) for rho",
            gradient="none",
            factors=surrogate.name,
            sizes="sign, bounds, support and integral proved; rho and the angle evaluated",
        ),
        uses=("kantorovich",),
        proof=_proved(said),
        evaluate=_compared(surrogate, said),
    )


SURROGATE_CLAIMS: tuple[Claim, ...] = tuple(theorems(surrogate) for surrogate in SURROGATES.values())
"""One claim an entry; a new surrogate brings its own."""
