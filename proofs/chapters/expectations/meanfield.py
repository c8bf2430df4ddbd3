"""Chapter `meanfield`: wide random networks, one sample, preactivations z ~ N(0, q)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise
from math import exp, inf, pi, sqrt
from typing import Any

import sympy as sp

from ...claim import Claim, Scope, Stated, Verdict
from ...roads import steps as by
from ...roads.game import Comparison, number
from ...roads.steps import Step

q, a, b, c, c2, mu, s = sp.symbols("q a b c c_2 mu s", positive=True)
slope, slope2 = sp.symbols("a b", nonnegative=True)
one, two = sp.symbols("E_psi E_psi2", positive=True)
z = sp.Symbol("z", real=True)
_k, _k2 = c / sp.sqrt(2 * q), c2 / sp.sqrt(2 * q)
_WIDE = Scope(network="wide, random Gaussian weights", factors="any psi with second moments")


def gauss(expression: Any, low: Any = -sp.oo, high: Any = sp.oo) -> sp.Expr:
    """E of the expression in z ~ N(0, q) between two bounds, in closed form."""
    return sp.integrate(sp.expand(expression) * sp.exp(-(z**2) / (2 * q)) / sp.sqrt(2 * sp.pi * q), (z, low, high))


def rho(cross: sp.Expr, true: sp.Expr, psi: sp.Expr) -> sp.Expr:
    """E[phi' psi]/sqrt(E phi'^2 E psi^2)."""
    return cross / sp.sqrt(true * psi)


_TRIANGLE = sp.erf(_k) - sp.sqrt(2 * q / sp.pi) * (1 - sp.exp(-(_k**2))) / c
_TRIANGLE2 = (1 + q / c**2) * sp.erf(_k) - sp.sqrt(2 * q / sp.pi) * (2 - sp.exp(-(_k**2))) / c

CLOSED: dict[str, sp.Expr] = {
    "relu even": one / sp.sqrt(2 * two),
    "leaky leaky": (1 + slope * slope2) / sp.sqrt((1 + slope**2) * (1 + slope2**2)),
    "leaky const": (1 + slope) / sp.sqrt(2 * (1 + slope**2)),
    "gauss gauss": ((1 + 4 * a * q) * (1 + 4 * b * q)) ** sp.Rational(1, 4) / sp.sqrt(1 + 2 * (a + b) * q),
    "rectangle const": sp.sqrt(sp.erf(_k)),
    "rectangle rectangle": sp.sqrt(sp.erf(_k) / sp.erf(_k2)),
    "rectangle gauss": (1 + 4 * a * q) ** sp.Rational(1, 4)
    / sp.sqrt(1 + 2 * a * q)
    * sp.erf(c * sp.sqrt((1 + 2 * a * q) / (2 * q)))
    / sp.sqrt(sp.erf(_k)),
    "triangle const": _TRIANGLE / sp.sqrt(_TRIANGLE2),
    "triangle rectangle": _TRIANGLE / sp.sqrt(_TRIANGLE2 * sp.erf(_k)),
    "random factor": mu / sp.sqrt(mu**2 + s**2),
}
"""rho of each pair; a rectangle or triangle has half-width c (the wider rectangle c_2)."""


# ------------------------------------------------------------------------------------------- meanfield-closed-forms
def _closed_forms(stated: Stated) -> Iterator[Step]:
    half = gauss(1, 0)
    yield by.identity("ReLU: E phi'^2 = 1/2, and half of any even psi", half, sp.Rational(1, 2))
    yield by.identity("ReLU against an even psi", rho(one / 2, half, two), stated["relu even"])
    yield by.identity("against const", stated["relu even"].subs({one: 1, two: 1}), 1 / sp.sqrt(2))
    pair = rho((1 + slope * slope2) / 2, (1 + slope**2) / 2, (1 + slope2**2) / 2)
    yield by.identity("leaky against leaky, half a line each", pair, stated["leaky leaky"])
    yield by.identity("against const", stated["leaky leaky"].subs(slope2, 1), stated["leaky const"])
    rate = sp.Symbol("r", positive=True)
    bell = gauss(sp.exp(-rate * z**2))
    yield by.identity("E exp(-r z^2)", bell, 1 / sp.sqrt(1 + 2 * rate * q))
    cross = rho(bell.subs(rate, a + b), bell.subs(rate, 2 * a), bell.subs(rate, 2 * b))
    yield by.identity("exp(-a z^2) against exp(-b z^2)", cross, stated["gauss gauss"])
    at = stated["gauss gauss"].subs({a: sp.Rational(1, 2), b: 0, q: 1}, simultaneous=True)
    yield by.identity("erf(z/sqrt 2) against const at q = 1", at, 3 ** sp.Rational(1, 4) / sp.sqrt(2))
    mass = gauss(1, -c, c)
    yield by.identity("E of the rectangle", mass, sp.erf(_k))
    yield by.identity("rectangle against const", rho(mass, mass, sp.S.One), stated["rectangle const"])
    wider = rho(mass, mass, mass.subs(c, c2))
    yield by.identity("against a wider rectangle", wider, stated["rectangle rectangle"])
    inside = sp.erf(c * sp.sqrt((1 + 2 * a * q) / (2 * q))) / sp.sqrt(1 + 2 * a * q)
    density = 2 * sp.exp(-a * c**2 - c**2 / (2 * q)) / sp.sqrt(2 * sp.pi * q)
    yield by.identity("E of exp(-a z^2) inside, by its derivative in c", sp.diff(inside, c), density)
    yield by.identity("which is 0 at c = 0", inside.subs(c, 0), 0)
    yield by.identity("against exp(-a z^2)", rho(inside, mass, bell.subs(rate, 2 * a)), stated["rectangle gauss"])
    tent, tent2 = 2 * gauss(1 - z / c, 0, c), 2 * gauss((1 - z / c) ** 2, 0, c)
    yield by.identity("E of the triangle", tent, _TRIANGLE)
    yield by.identity("E of its square", tent2, _TRIANGLE2)
    yield by.identity("triangle against const", rho(_TRIANGLE, _TRIANGLE2, sp.S.One), stated["triangle const"])
    yield by.identity("against the same rectangle", rho(_TRIANGLE, _TRIANGLE2, mass), stated["triangle rectangle"])
    yield by.identity("an independent factor", rho(mu, sp.S.One, mu**2 + s**2), stated["random factor"])
    uniform = {mu: sp.Rational(1, 2), s: 1 / sp.sqrt(12)}
    yield by.identity("sqrt(3)/2 for U(0, 1)", stated["random factor"].subs(uniform), sp.sqrt(3) / 2)
    yield by.identity("ReLU under U(0, 1)", sp.sqrt(3) / 2 / sp.sqrt(2), sp.sqrt(sp.Rational(3, 8)))


def expect(function: Callable[[float], float], variance: float, kinks: tuple[float, ...] = ()) -> float:
    """E of a function of z ~ N(0, variance), by quadrature between its kinks."""
    from scipy.integrate import quad

    def density(x: float) -> float:
        return function(x) * exp(-x * x / (2 * variance)) / sqrt(2 * pi * variance)

    edges = [-inf, *sorted({-k for k in kinks} | set(kinks) | {0.0}), inf]
    return float(sum(quad(density, lo, hi, epsabs=1e-14, epsrel=1e-13)[0] for lo, hi in pairwise(edges)))


def rho_by_quadrature(true: Any, psi: Any, variance: float, kinks: tuple[float, ...] = ()) -> float:
    """rho of two functions of z ~ N(0, variance), by quadrature."""
    cross = expect(_product(true, psi), variance, kinks)
    squares = [expect(_squared(f), variance, kinks) for f in (true, psi)]
    return cross / sqrt(squares[0] * squares[1])


Line = Callable[[float], float]


def _rectangle(width: float) -> Line:
    return lambda x: float(abs(x) <= width)


def _triangle(width: float) -> Line:
    return lambda x: max(0.0, 1 - abs(x) / width)


def _leaky(below: float) -> Line:
    return lambda x: 1.0 if x > 0 else below


def _bell(rate: float) -> Line:
    return lambda x: exp(-rate * x * x)


def _product(one: Line, other: Line) -> Line:
    return lambda x: one(x) * other(x)


def _on_floats(function: Callable[[Any], Any]) -> Line:
    """A NumPy function as one of floats."""
    import numpy as np

    return lambda x: float(function(np.array(x)))


def _squared(function: Line) -> Line:
    return lambda x: function(x) ** 2


def _quadrature(stated: Stated, effort: float) -> Iterator[Comparison]:
    for variance in (0.4, 1.7) if effort >= 1 else (1.7,):
        cases: dict[str, tuple[Line, Line, dict[str, float]]] = {
            "leaky leaky": (_leaky(0.2), _leaky(0.6), {"a": 0.2, "b": 0.6}),
            "leaky const": (_leaky(0.2), _leaky(1.0), {"a": 0.2}),
            "gauss gauss": (_bell(0.8), _bell(0.3), {"a": 0.8, "b": 0.3}),
            "rectangle const": (_rectangle(0.9), _leaky(1.0), {"c": 0.9}),
            "rectangle rectangle": (_rectangle(0.9), _rectangle(1.5), {"c": 0.9, "c_2": 1.5}),
            "rectangle gauss": (_rectangle(0.9), _bell(0.8), {"c": 0.9, "a": 0.8}),
            "triangle const": (_triangle(0.9), _leaky(1.0), {"c": 0.9}),
            "triangle rectangle": (_triangle(0.9), _rectangle(0.9), {"c": 0.9}),
        }
        for name, (true, psi, values) in cases.items():
            value = float(number(stated[name], q=variance, **values))
            found = rho_by_quadrature(true, psi, variance, (0.9, 1.5))
            yield Comparison(f"rho of {name} at q = {variance}", value, found, 1e-12, "quadrature")
        means = [expect(f, variance, (0.9,)) for f in (_triangle(0.9), _squared(_triangle(0.9)))]
        value = float(number(stated["relu even"], E_psi=means[0], E_psi2=means[1]))
        found = rho_by_quadrature(_leaky(0.0), _triangle(0.9), variance, (0.9,))
        yield Comparison(f"rho of ReLU and a triangle at q = {variance}", value, found, 1e-12, "quadrature")


MEANFIELD_CLOSED_FORMS = Claim(
    id="meanfield-closed-forms",
    title="rho in closed form",
    statement="rho = E[phi' psi]/sqrt(E phi'^2 E psi^2) in closed form: ReLU against an even psi, leaky, Gaussian, "
    "rectangular and triangular pairs, erf against const, and mu/sqrt(mu^2 + s^2) more for an independent factor.",
    latex=r"\rho_{\mathrm{ReLU}} = \frac{\mathbb{E}\psi}{\sqrt{2\,\mathbb{E}\psi^2}},\quad "
    r"\rho_{ab} = \frac{[(1+4aq)(1+4bq)]^{1/4}}{\sqrt{1+2(a+b)q}}",
    expected=Verdict.PROVED,
    source="ours; quadrature to 1e-12 beside each",
    scope=Scope(network="z ~ N(0, q)", samples="one", gradient="one layer", factors="as named"),
    stated=CLOSED,
    proof=_closed_forms,
    evaluate=_quadrature,
)


# ------------------------------------------------------------------------------ meanfield-cosine, meanfield-magnitude
def _wide(pair: tuple[Any, Any, Any], gain: float, width: int, nets: int, layers: int) -> Any:
    """Cosines and norm ratios at each layer (nets x layers x 2) of random networks of that width."""
    import numpy as np

    phi, true, psi = pair
    generator = np.random.default_rng(11)
    out = np.empty((nets, layers, 2))
    for net in range(nets):
        weights = [generator.standard_normal((width, width)) * sqrt(gain / width) for _ in range(layers + 1)]
        h = generator.standard_normal(width)
        h *= sqrt(width) / np.linalg.norm(h)
        pre = []
        for W in weights[:layers]:
            pre.append(W @ h)
            h = phi(pre[-1])
        plain = moved = generator.standard_normal(width)
        for depth, z in enumerate(reversed(pre)):
            plain, moved = true(z) * plain, psi(z) * moved
            sizes = np.linalg.norm(plain), np.linalg.norm(moved)
            out[net, depth] = plain @ moved / (sizes[0] * sizes[1]), sizes[1] / sizes[0]
            W = weights[layers - 1 - depth]
            plain, moved = W.T @ plain, W.T @ moved
    return out


def _pairs() -> dict[str, tuple[tuple[Any, Any, Any], float]]:
    import numpy as np
    from scipy.special import expit as logistic

    return {
        "ReLU/const": ((lambda x: np.maximum(x, 0), lambda x: (x > 0) * 1.0, np.ones_like), 2.0),
        "tanh/triangle": ((np.tanh, lambda x: 1 - np.tanh(x) ** 2, lambda x: np.maximum(0, 1 - np.abs(x))), 1.0),
        "logistic/const": ((logistic, lambda x: logistic(x) * (1 - logistic(x)), np.ones_like), 1.0),
    }


def _against_wide(which: int) -> Callable[[Stated, float], Iterator[Comparison]]:
    """Wide networks against the product over layers: 0 for the cosine, 1 for the norm ratio."""

    def evaluate(stated: Stated, effort: float) -> Iterator[Comparison]:
        import numpy as np

        width, nets, layers = (700, 10, 3) if effort >= 1 else (400, 8, 2)
        for name, (pair, gain) in _pairs().items():
            variance, values = gain, []
            for _ in range(layers):
                phi, true, psi = (_on_floats(f) for f in pair)
                moments = [expect(_squared(f), variance, (1.0,)) for f in (true, psi)]
                cross = expect(_product(true, psi), variance, (1.0,))
                at = {"E_cross": cross, "E_true": moments[0], "E_psi": moments[1]}
                values.append(float(number(stated["layer"], **at)))
                variance = gain * expect(_squared(phi), variance)
            found = _wide(pair, gain, width, nets, layers)[:, :, which]
            for depth in range(layers):
                predicted = float(np.prod(values[layers - 1 - depth :]))
                error = float(found[:, depth].std(ddof=1)) / sqrt(nets)
                what = f"{name} below {depth + 1} of {layers} layers, width {width}, {nets} networks"
                # Beside the standard error the finite width itself: order 1/width a layer.
                allowed = 4 * error + 4 * layers / width
                yield Comparison(what, predicted, float(found[:, depth].mean()), allowed, "a wide random network")

    return evaluate


_cross, _true, _psi = sp.symbols("E_cross E_true E_psi", positive=True)

MEANFIELD_COSINE = Claim(
    id="meanfield-cosine",
    title="The cosine in wide networks",
    statement="Wide random network, one sample: the cosine of surrogate and true error tends to the product over "
    "layers of rho_l = E[phi' psi]/sqrt(E phi'^2 E psi^2).",
    latex=r"\cos \to \prod_l \frac{\mathbb{E}[\phi'\psi]}{\sqrt{\mathbb{E}\phi'^2\,\mathbb{E}\psi^2}}",
    expected=Verdict.SUPPORTED,
    source="ours; the floor is about 1/sqrt(width)",
    scope=_WIDE,
    stated={"layer": _cross / sp.sqrt(_true * _psi)},
    evaluate=_against_wide(0),
)

MEANFIELD_MAGNITUDE = Claim(
    id="meanfield-magnitude",
    title="The magnitude in wide networks",
    statement="Wide random network, one sample: |g~|/|g| tends to the product over layers of sqrt(E psi^2/E phi'^2).",
    latex=r"|\tilde g|/|g| \to \prod_l \sqrt{\mathbb{E}\psi^2/\mathbb{E}\phi'^2}",
    expected=Verdict.SUPPORTED,
    source="ours",
    scope=_WIDE,
    stated={"layer": sp.sqrt(_psi / _true)},
    evaluate=_against_wide(1),
)
