"""Chapter `field`: whether surrogate gradients are the gradient of anything at all."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import sympy as sp

from ...claim import Claim, Hypothesis, Scope, Stated, Verdict, Witness
from ...roads import steps as by
from ...roads.game import Comparison, Draw, Game, number
from ...roads.steps import Step

w, v, x, y, c = sp.symbols("w v x y c", real=True)
phi_z, slope_z, psi_z = sp.symbols("phi t_phi psi", real=True)
"""phi, phi' and psi at the preactivation w x."""
_phi, _psi, _t = sp.Function("phi"), sp.Function("psi"), sp.Symbol("t", real=True)


def _at(expression: sp.Expr, *points: sp.Expr) -> sp.Expr:
    """phi, phi' and psi at each point as the plain symbols of the statement (numbered where there are several)."""
    for number_, point in enumerate(points):
        tail = str(number_ + 1) if len(points) > 1 else ""
        names = [sp.Symbol(f"{name}{tail}", real=True) for name in ("phi", "t_phi", "psi")]
        slope = sp.diff(_phi(_t), _t).subs(_t, point)
        expression = (
            expression.doit().subs(slope.doit(), names[1]).subs(sp.Subs(sp.diff(_phi(_t), _t), _t, point), names[1])
        )
        expression = expression.replace(
            lambda e, at=point: isinstance(e, sp.Subs) and e.expr.has(_phi) and e.point[0] == at,
            lambda _, n=names: n[1],
        )
        expression = expression.subs({_phi(point): names[0], _psi(point): names[2]})
    return expression


# ------------------------------------------------------------------------------------------------ not-conservative
def _curl(loss_slope: Any) -> sp.Expr:
    """d g_v / d w - d g~_w / d v for o = v phi(w x), with dloss/do as given."""
    o = v * _phi(w * x)
    g_w, g_v = loss_slope(o) * v * _psi(w * x) * x, loss_slope(o) * _phi(w * x)
    return _at(sp.diff(g_v, w) - sp.diff(g_w, v), w * x)


def _not_conservative(stated: Stated) -> Iterator[Step]:
    yield by.identity("linear loss: the curl of (g~_w, g_v)", _curl(lambda o: sp.S.One), stated["linear"])
    yield by.identity("squared loss", _curl(lambda o: o - y), stated["squared"])
    values = {x: 1, slope_z: 0, psi_z: 1}
    yield by.identity("Heaviside over const-1, linear loss, x = 1", stated["linear"].subs(values), -1)
    scaled = stated["linear"].subs(psi_z, c * slope_z)
    yield by.identity("psi = c phi' has curl too, 0 only at c = 1", scaled, (1 - c) * x * slope_z)


def _loop(field: Any, box: tuple[float, float, float, float]) -> float:
    """The work of a field (w, v) -> (g_w, g_v) around a rectangle, by quadrature."""
    from scipy.integrate import quad

    w0, w1, v0, v1 = box
    along_w = quad(lambda s: field(s, v0)[0] - field(s, v1)[0], w0, w1, epsabs=1e-13)[0]
    return float(along_w + quad(lambda s: field(w1, s)[1] - field(w0, s)[1], v0, v1, epsabs=1e-13)[0])


def _green(stated: Stated, effort: float) -> Iterator[Comparison]:
    from math import cosh, tanh

    from scipy.integrate import dblquad

    box = (-1.0, 0.5, 0.25, 1.5)
    losses: dict[str, Any] = {"linear": lambda o: 1.0, "squared": lambda o: o - 0.7}
    for name, slope in losses.items():

        def field(a: float, b: float, slope: Any = slope) -> tuple[float, float]:
            output = b * tanh(2 * a)
            return slope(output) * b * 2, slope(output) * tanh(2 * a)

        def curl(b: float, a: float, name: str = name) -> float:
            at = {"phi": tanh(2 * a), "t_phi": cosh(2 * a) ** -2, "psi": 1.0}
            return float(number(stated[name], w=a, v=b, x=2.0, y=0.7, **at))

        area = dblquad(curl, box[0], box[1], box[2], box[3], epsabs=1e-11)[0]
        yield Comparison(
            f"work around a loop, tanh over const-1, {name} loss", area, _loop(field, box), 1e-9, "quadrature"
        )


NOT_CONSERVATIVE = Claim(
    id="not-conservative",
    title="A surrogate gradient is no gradient",
    statement="For o = v phi(w x) the curl of the surrogate field is x (phi' - psi) for a linear loss, times "
    "(2 v phi - y) for (o - y)^2/2: it is the gradient of no function unless psi = phi', for psi = c phi' neither.",
    latex=r"\partial_w \tilde g_v - \partial_v \tilde g_w = x(\phi' - \psi)",
    expected=Verdict.PROVED,
    source="ours; compare Gygax and Zenke 2025",
    scope=Scope(network="two weights, one unit", samples="one", gradient="the whole gradient", factors="any"),
    stated={"linear": x * (slope_z - psi_z), "squared": x * (slope_z - psi_z) * (2 * v * phi_z - y)},
    proof=_not_conservative,
    evaluate=_green,
    witnesses=(
        Witness(
            "leaky 1/2 over const-1, linear loss: the work around w in [-2, -1], v in [0, 1] is -1/2",
            "loop",
            {
                "activation": {"leaky_relu": {"slope": "1/2"}},
                "w": ["-2", "-1"],
                "v": ["0", "1"],
                "inputs": [["1"]],
                "loss": {"linear": [["1"]]},
                "backward": {"constant": {"height": "1"}},
            },
            {"work": "-1/2"},
            refutes=False,
        ),
    ),
)


# ----------------------------------------------------------------------------------------- single-unit-conservative
ONE_UNIT = Hypothesis("one unit", "a single unit stands between weights and loss")


def _single(stated: Stated) -> Iterator[Step]:
    loss = sp.Function("ell")
    weights = sp.symbols("w_:2", real=True)
    yield by.given("one unit")
    total = []
    for sample in range(2):
        at = sp.symbols(f"x_{sample}_:2", real=True)
        z = weights[0] * at[0] + weights[1] * at[1]
        total.append([sp.diff(loss(_t), _t).subs(_t, _phi(z)) * _psi(z) * a for a in at])
    field = [sum(row[i] for row in total) for i in range(2)]
    twist = (sp.diff(field[1], weights[0]) - sp.diff(field[0], weights[1])).doit()
    yield by.identity("the Jacobian of the field is symmetric: two weights, a batch of two, any psi and loss", twist, 0)


def _units(draw: Draw) -> dict[str, Any]:
    return {
        "start": draw.reals(2),
        "x": draw.matrix(2, 2),
        "y": draw.reals(2),
        "v": draw.reals(2),
        "single": draw.holds("one unit"),
    }


def _work_excess(stated: Stated, start: Any, x: Any, y: Any, v: Any, single: bool) -> Any:
    """|work| around a unit square for phi(z) = z^2, psi = 1, squared error: Simpson's rule is exact on each side."""

    def field(a: Any, b: Any) -> list[Any]:
        if single:  # one unit of two weights, a batch of two
            errors = [(a * row[0] + b * row[1]) ** 2 - t for row, t in zip(x, y, strict=True)]
            return [sum(e * row[i] for e, row in zip(errors, x, strict=True)) for i in range(2)]
        error = v[0] * (a * x[0][0]) ** 2 + v[1] * (b * x[0][0]) ** 2 - y[0]
        return [error * v[0] * x[0][0], error * v[1] * x[0][0]]

    a, b = start
    corners = [(a, b), (a + 1, b), (a + 1, b + 1), (a, b + 1), (a, b)]
    work = 0
    for (p, q), (r, s) in pairwise(corners):
        for weight, f in ((1, field(p, q)), (4, field((p + r) / 2, (q + s) / 2)), (1, field(r, s))):
            work += weight * (f[0] * (r - p) + f[1] * (s - q))
    return abs(work)


SINGLE_UNIT = Claim(
    id="single-unit-conservative",
    title="One unit is conservative",
    statement="One unit, any psi(z), any batch: the surrogate field is the gradient of a function.",
    latex=r"\partial_{w_i} \tilde g_j = \partial_{w_j} \tilde g_i",
    expected=Verdict.PROVED,
    source="ours; that function is the integral of l'(phi) psi",
    scope=Scope(
        network="one unit, any inputs",
        samples="any",
        gradient="the unit",
        factors="any",
        sizes="two weights, a batch of two: the field is a sum over samples, its curl one over pairs of weights",
    ),
    hypotheses=(ONE_UNIT,),
    proof=_single,
    game=Game(_units, _work_excess, cases=150),
)


# -------------------------------------------------------------------------------------------------- two-unit-curl
_v = sp.symbols("v_1 v_2", real=True)
_slopes, _psis = sp.symbols("t_phi1 t_phi2", real=True), sp.symbols("psi1 psi2", real=True)


def _two_units(stated: Stated) -> Iterator[Step]:
    weights = sp.symbols("w_1 w_2", real=True)
    o = sum(a * _phi(b * x) for a, b in zip(_v, weights, strict=True))
    field = [(o - y) * a * _psi(b * x) * x for a, b in zip(_v, weights, strict=True)]
    curl = _at(sp.diff(field[1], weights[0]) - sp.diff(field[0], weights[1]), *(b * x for b in weights))
    yield by.identity("d_1 g~_2 - d_2 g~_1", curl, stated["curl"])


def _two_unit_loops(stated: Stated, effort: float) -> Iterator[Comparison]:
    from math import cosh, tanh

    from scipy.integrate import dblquad

    box = (-1.0, 0.5, 0.25, 1.5)

    def field(a: float, b: float) -> tuple[float, float]:
        error = 1.5 * tanh(2 * a) - 0.5 * tanh(2 * b) - 0.7
        return error * 1.5 * 2, error * -0.5 * 2

    def curl(b: float, a: float) -> float:
        at = {"t_phi1": cosh(2 * a) ** -2, "t_phi2": cosh(2 * b) ** -2, "psi1": 1.0, "psi2": 1.0}
        return float(number(stated["curl"], v_1=1.5, v_2=-0.5, x=2.0, **at))

    area = dblquad(curl, box[0], box[1], box[2], box[3], epsabs=1e-11)[0]
    yield Comparison("work around a loop in (w_1, w_2), tanh over const-1", area, _loop(field, box), 1e-9, "quadrature")


TWO_UNIT_CURL = Claim(
    id="two-unit-curl",
    title="Two units are not conservative",
    statement="Two hidden units with a fixed readout, squared error: d_1 g~_2 - d_2 g~_1 = v1 v2 x^2 (phi_1' psi_2 - "
    "psi_1 phi_2').",
    latex=r"\partial_1 \tilde g_2 - \partial_2 \tilde g_1 = v_1 v_2 x^2 (\phi_1' \psi_2 - \psi_1 \phi_2')",
    expected=Verdict.PROVED,
    source="ours; the theory page prints the opposite sign, put right to the orientation of not-conservative",
    scope=Scope(network="two hidden units, fixed readout", gradient="the hidden weights", factors="any"),
    stated={"curl": _v[0] * _v[1] * x**2 * (_slopes[0] * _psis[1] - _psis[0] * _slopes[1])},
    proof=_two_units,
    evaluate=_two_unit_loops,
)
