"""Chapter `catalogue`: the theorems of each surrogate of the catalogue, made by iterating it.

For each entry: its sign on the whole line, its integral and its bound over |u| <= 60; the ratio psi/phi' over the body
of each differentiable activation and the Kantorovich angle that follows; the mean-field rho against each. A random
factor enters by its mean.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from math import atan, degrees, pi, sqrt
from typing import Any

import sympy as sp

from ...analysis.surrogates.activations import ACTIVATIONS
from ...analysis.surrogates.catalogue import SURROGATES
from ...analysis.surrogates.surrogate import Surrogate
from ...analysis.surrogates.symbols import u
from ..claim import Claim, Scope, Stated, Verdict
from ..roads.game import Comparison, number
from ..roads.steps import Step
from .angles.direction import KANTOROVICH
from .expectations.meanfield import MEANFIELD_COSINE

STEPS = ("identity", "sign", "heaviside", "round")
"""Activations whose derivative is constant or vanishes almost everywhere: no ratio and no rho of interest."""

REACH = 60.0
"""Integrals and signs are sampled over |u| <= REACH, where plain exponentials do not overflow."""

BODY = 2.0
"""Ratios are taken over |u| <= 2, where most of the mass of a standard normal preactivation lies."""

THEOREMS = "surrogate-"
"""How the id of a surrogate's theorems begins."""

Values = Callable[[Any], Any]


def _values(formula: sp.Expr) -> Values:
    """A formula in ``u`` as a NumPy function; it shares no code with the tensor code under test elsewhere."""
    import numpy as np

    code = sp.lambdify([u], formula, ["scipy", "numpy"])

    def values(at: Any) -> Any:
        with np.errstate(all="ignore"):
            return np.broadcast_to(np.asarray(code(at), dtype=float), np.shape(at)).copy()

    return values


@cache
def derivatives() -> dict[str, Values]:
    """phi' of each differentiable activation of the catalogue at its default parameters, by name."""
    return {name: _values(each.tied.formula) for name, each in ACTIVATIONS.items() if name not in STEPS}


def _edges(formula: sp.Expr) -> list[float]:
    """Where the formula may break, between -BODY and BODY."""
    from itertools import chain

    relations = formula.atoms(sp.core.relational.Relational)
    bounds = chain.from_iterable(relation.atoms(sp.Number) for relation in relations)
    return sorted({0.0} | {sign * abs(float(bound)) for bound in bounds for sign in (-1, 1)})


def _normal_mean(values: Values, edges: list[float], order: int) -> float:
    """E of a function of z ~ N(0, 1): Gauss and Legendre of that order on panels between edges."""
    import numpy as np

    nodes, weights = np.polynomial.legendre.leggauss(order)
    near = np.geomspace(1e-3, 0.5, 12)  # a steep factor is steep at 0
    marks = np.unique(np.concatenate([np.arange(-10, 10.25, 0.5), -near, near, edges]))
    low, high = marks[:-1, None], marks[1:, None]
    z = (low + high) / 2 + (high - low) / 2 * nodes
    density = np.exp(-(z**2) / 2) / sqrt(2 * pi)
    return float(((high - low) / 2 * weights * values(z) * density).sum())


def _mass(values: Values, edges: list[float], order: int) -> float:
    """The integral over |u| <= REACH: Gauss and Legendre in asinh(u), so that far tails take few panels."""
    import numpy as np

    nodes, weights = np.polynomial.legendre.leggauss(order)
    end = np.arcsinh(REACH)
    marks = np.unique(np.concatenate([np.linspace(-end, end, 401), np.arcsinh(edges)]))
    low, high = marks[:-1, None], marks[1:, None]
    s = (low + high) / 2 + (high - low) / 2 * nodes
    return float(((high - low) / 2 * weights * values(np.sinh(s)) * np.cosh(s)).sum())


def _rho(psi: Values, slope: Values, edges: list[float], order: int) -> float:
    def mean(one: Values, other: Values) -> float:
        return _normal_mean(lambda z: one(z) * other(z), edges, order)

    cross, squares = mean(psi, slope), (mean(slope, slope), mean(psi, psi))
    return float(number(MEANFIELD_COSINE.stated["layer"], E_cross=cross, E_true=squares[0], E_psi=squares[1]))


def _kappa(psi: Values, slope: Values, points: int) -> float:
    """The largest over the least ratio psi/phi' over the body; infinite unless psi and phi' are positive there."""
    import numpy as np

    at = np.linspace(-BODY, BODY, points)
    below, above = slope(at), psi(at)
    if min(below.min(), above.min()) <= 0:
        return float("inf")
    ratio = above / below
    return float(ratio.max() / ratio.min())


def _compared(surrogate: Surrogate, said: Surrogate) -> Callable[[Stated, float], Iterator[Comparison]]:
    def evaluate(stated: Stated, effort: float) -> Iterator[Comparison]:
        import numpy as np

        psi = _values(surrogate.mean)
        near = np.geomspace(1e-9, REACH, 500)
        line = np.concatenate([np.linspace(-REACH, REACH, 24_001), near, -near])
        negative = bool((psi(line) < 0).any())
        proved = said.sign.sign.value == "indefinite"
        yield Comparison(
            "whether psi is negative on a grid of the line", float(proved), float(negative), 0.0, "sampling"
        )
        own = _edges(surrogate.mean)
        mass, rough_mass = _mass(psi, own, 30), _mass(psi, own, 20)
        what = f"integral over |u| <= {REACH:g}"
        yield Comparison(what, mass, rough_mass, 1e-9 * (1 + abs(mass)), "quadrature")
        largest, apart = float(np.abs(psi(line)).max()), float(np.abs(psi(np.linspace(-REACH, REACH, 7_919))).max())
        yield Comparison("largest |psi| on a grid of the line", largest, apart, 0.05 * largest, "sampling")
        for name, slope in derivatives().items():
            edges = sorted({*_edges(surrogate.mean), *_edges(ACTIVATIONS[name].tied.formula)})
            fine, coarse = _rho(psi, slope, edges, 40), _rho(psi, slope, edges, 24)
            yield Comparison(f"rho against {name} at q = 1", fine, coarse, 1e-9, "quadrature")
            kappa, rough = _kappa(psi, slope, 40_001), _kappa(psi, slope, 4_001)
            if kappa < 1e12:
                bounds = [
                    2 * degrees(atan(float(number(KANTOROVICH.stated["tangent"], kappa=k)))) for k in (kappa, rough)
                ]
                what = f"Kantorovich angle in degrees against {name} over |u| <= {BODY:g}, kappa = {kappa:.6g}"
                yield Comparison(what, bounds[0], bounds[1], 0.05, "sampling")

    return evaluate


def _proved(surrogate: Surrogate) -> Callable[[Stated], Iterator[Step]]:
    relation = {"strict": "> 0", "weak": r"\ge 0", "indefinite": r"< 0 \text{ somewhere}", "cannot tell": r"\ ?\ 0"}

    def proof(stated: Stated) -> Iterator[Step]:
        found = surrogate.sign
        for line in found.steps:
            yield Step(line, r"\text{on that cell}", "certified sign", True)
        told = found.sign.value != "cannot tell"
        latex = rf"\psi(u) = {sp.latex(surrogate.factor)} {relation[found.sign.value]}"
        yield Step(f"the sign of {surrogate.name}: {found.sign.value}", latex, "certified sign", told)

    return proof


def theorems(surrogate: Surrogate, said: Surrogate | None = None) -> Claim:
    """The theorems of a surrogate, of the catalogue or a user's own, as a claim.

    Args:
        surrogate: whose values are searched and integrated.
        said: whose sign is proved; ``surrogate`` itself, but for tests of this claim.
    """
    said = said or surrogate
    return Claim(
        id=f"{THEOREMS}{surrogate.name}",
        title=f"The theorems of {surrogate.name}",
        statement=f"The sign of {surrogate.name} on the whole line, and its ratio, Kantorovich angle and mean-field "
        "rho against each differentiable activation.",
        latex=rf"\psi(u) = {surrogate.latex}",
        expected=Verdict.PROVED,
        source=surrogate.source or "the catalogue",
        scope=Scope(network="one activation", samples="z ~ N(0, 1) for rho", gradient="none", factors=surrogate.name),
        uses=("kantorovich",),
        proof=_proved(said),
        evaluate=_compared(surrogate, said),
    )


SURROGATE_CLAIMS: tuple[Claim, ...] = tuple(theorems(surrogate) for surrogate in SURROGATES.values())
"""One claim an entry; a new surrogate brings its own."""
