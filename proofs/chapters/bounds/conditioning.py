"""Chapter `depth`, continued: what a weight matrix above does to the angle that unequal factors open."""

from __future__ import annotations

from collections.abc import Iterator
from math import atan, pi
from typing import Any

import sympy as sp

from ...claim import Claim, Hypothesis, Scope, Stated, Verdict, Witness
from ...roads import steps as by
from ...roads.game import Draw, Game, angle, number, positive, times
from ...roads.steps import Step
from ..angles.batch import POSITIVE_BOX
from ..angles.direction import KANTOROVICH

INJECTIVE = Hypothesis("injective", "W^T is injective, so that K = cond(W) is finite")

K, kappa, theta, cond = sp.symbols("K kappa theta c_D", positive=True)
_half = (sp.sqrt(kappa) - 1) / (sp.sqrt(kappa) + 1)


# ----------------------------------------------------------------------------------------------------- conditioned
def _conditioned(stated: Stated) -> Iterator[Step]:
    P, Q, low, spread = sp.symbols("P Q lambda_1 s", positive=True)
    R = sp.Symbol("R", real=True)
    tau, k = sp.symbols("tau k", positive=True)
    # a, b of length one with tan(theta/2) = tau; P = |A(a+b)|^2, Q = |A(a-b)|^2, R = <A(a+b), A(a-b)>.
    aa, bb, ab = (P + Q + 2 * R) / 4, (P + Q - 2 * R) / 4, (P - Q) / 4
    yield by.given("injective", low, strict=True)
    yield by.identity("by polarisation |Aa|^2 |Ab|^2 - <Aa, Ab>^2", aa * bb - ab**2, (P * Q - R**2) / 4)
    cot = (P - Q) / (2 * sp.sqrt(P * Q - R**2))
    yield by.identity("so the cotangent of the new angle", ab / sp.sqrt((P * Q - R**2) / 4), cot)
    # a+b and a-b are orthogonal with |a-b| = tau |a+b|: (P, Q tau^-2, R/tau) are entries of A'A in that plane, whose
    # eigenvalues lambda_1 <= k^2 lambda_1 have k <= K; alpha = lambda_1 + s.
    alpha, gamma = low + spread, k**2 * low - spread
    top = alpha - gamma * tau**2
    yield by.squares(
        "its numerator is least where a+b lies along the smallest singular direction",
        top - (low - k**2 * low * tau**2),
        (spread, sp.Integer(1)),
        (spread, tau),
    )
    cot_low = (low - k**2 * low * tau**2) / (2 * tau * sp.sqrt(low * k**2 * low))
    yield by.identity("there it is", cot_low, (1 - k**2 * tau**2) / (2 * k * tau))
    yield by.positive("which falls as k grows to K", -sp.diff((1 - k**2 * tau**2) / (2 * k * tau), k))
    half, target = sp.tan(sp.atan(k * tau)), (1 - k**2 * tau**2) / (2 * k * tau)
    yield by.identity("and is cot(2 atan(k tau)): tan(theta'/2) <= K tau", (1 - half**2) / (2 * half), target)
    yield by.given("positive", kappa, strict=True)
    yield by.by(KANTOROVICH, "tangent", text="with Kantorovich's tau for theta")
    yield by.identity("so the bound", K * KANTOROVICH.stated["tangent"], stated["half"])
    root = sp.sqrt(kappa)
    yield by.identity("K tau < 1 iff", (root + 1) - K * (root - 1), stated["descent"])
    a, b = sp.Matrix([root, 1]), sp.Matrix([1, root])
    A = sp.Matrix([[1 + K, 1 - K], [1 - K, 1 + K]]) / 2
    yield by.identity(
        "sharp: A with singular values 1 along (1, 1) and K along (1, -1)",
        A * sp.Matrix([1, -1]),
        K * sp.Matrix([1, -1]),
    )
    cosine, met = (A * a).dot(A * b) / (A * a).dot(A * a), stated["half"] ** 2
    yield by.identity(
        "takes Kantorovich's pair to an angle that meets it",
        cosine,
        (1 - met) / (1 + met),
    )


def condition(matrix: Any, injective: bool) -> float:
    """The ratio of the extreme singular values; of the nonzero ones where the matrix need not be injective."""
    import numpy as np

    values = np.linalg.svd(np.array(matrix, dtype=float), compute_uv=False)
    if not injective:
        values = values[values > 1e-9 * values[0]]
    return float(values[0] / values[-1]) if len(values) and values[-1] > 1e-9 * values[0] else float("inf")


def _one_above(draw: Draw) -> dict[str, Any]:
    injective = draw.holds("injective")
    high = 1 + positive(draw.real())
    t = [1, high, 1 + (high - 1) * draw.share()]
    if not draw.holds("positive"):
        t[0] = draw.real()
    return {
        "A": draw.matrix(3 if injective else 2, 3),
        "a": draw.reals(3),
        "t": t,
        "high": high,
        "injective": injective,
    }


def _conditioned_excess(stated: Stated, A: Any, a: Any, t: Any, high: Any, injective: bool) -> float | None:
    bent, plain = times(A, [x * y for x, y in zip(t, a, strict=True)]), times(A, a)
    ratio = condition(A, injective)
    if not any(bent) or not any(plain) or ratio == float("inf"):
        return None
    bound = float(number(stated["half"], K=ratio, kappa=high))
    opened = angle(plain, bent) - 2 * atan(bound)
    descends = float(number(stated["descent"], K=ratio, kappa=high))
    return max(opened, angle(plain, bent) - pi / 2 if descends > 0 else opened)


def _inverted(kappa: str) -> dict[str, Any]:
    """W = [[2, -1], [-1, 2]] below a leaky layer whose true derivative is (1, 1/kappa), const-1 backward."""
    return {
        "network": [
            {"linear": [["2"], ["-1"]]},
            {"linear": [["2", "-1"], ["-1", "2"]]},
            {"leaky_relu": {"slope": f"1/{kappa}"}},
        ],
        "inputs": [["1"]],
        "loss": {"linear": [["2", kappa]]},
        "backward": {"constant": {"height": "1"}},
    }


CONDITIONED = Claim(
    id="conditioned",
    title="One replaced layer above a conditioned matrix",
    statement="One replaced layer above, W^T injective, K = cond(W): tan(theta'/2) <= K (sqrt kappa - 1)/"
    "(sqrt kappa + 1); descent in the worst case iff (K - 1)(sqrt kappa - 1) < 2, sharp; orthogonal W asks nothing.",
    latex=r"\tan\tfrac{\theta'}{2} \le K\,\frac{\sqrt\kappa-1}{\sqrt\kappa+1},\quad (K-1)(\sqrt\kappa-1) < 2",
    expected=Verdict.PROVED,
    source="ours, by Bauer and Householder 1960 and Wielandt",
    scope=Scope(network="one replaced activation above a matrix", gradient="the preactivations below"),
    hypotheses=(INJECTIVE, POSITIVE_BOX),
    uses=("kantorovich",),
    stated={"half": K * _half, "descent": 2 - (K - 1) * (sp.sqrt(kappa) - 1)},
    proof=_conditioned,
    game=Game(_one_above, _conditioned_excess, exact=False, tolerance=1e-7),
    witnesses=(
        Witness(
            "W = [[2, -1], [-1, 2]] (K = 3), De = (2, 1), T = diag(1, 4), kappa = 4: (K-1)(sqrt kappa - 1) = 2, and "
            "W^T De = (3, 0), W^T TDe = (0, 6): the inner product is 0",
            "network",
            _inverted("4"),
            {
                "gradient": [[["3"], ["0"]], [["4", "-2"], ["2", "-1"]]],
                "surrogate_gradient": [[["0"], ["6"]], [["4", "-2"], ["8", "-4"]]],
            },
            refutes=False,
        ),
        Witness(
            "T = diag(1, 5): W^T De = (3, 0), W^T TDe = (-1, 8): the inner product is -3",
            "network",
            _inverted("5"),
            {
                "gradient": [[["3"], ["0"]], [["4", "-2"], ["2", "-1"]]],
                "surrogate_gradient": [[["-1"], ["8"]], [["4", "-2"], ["10", "-5"]]],
            },
            refutes=False,
        ),
    ),
)


# -------------------------------------------------------------------------------------------------- angle-recursion
def _recursion(stated: Stated) -> Iterator[Step]:
    tau, k, c = sp.symbols("tau k c", positive=True)
    yield by.given("injective", k, strict=True)
    yield by.given("positive", c, strict=True)
    through = by.by(CONDITIONED, "half", text="a matrix opens tan(theta/2) by at most K (conditioned)")
    yield through
    weights = stated["weights"].subs(theta, 2 * sp.atan(tau))
    yield by.identity("so through W", sp.tan(weights / 2), K * tau)
    one, two, turn = sp.symbols("alpha beta omega", real=True)
    # Three vectors of length one in the space that they span, the middle one along the first axis.
    left = sp.Matrix([sp.cos(one), sp.sin(one), 0])
    right = sp.Matrix([sp.cos(two), sp.sin(two) * sp.cos(turn), sp.sin(two) * sp.sin(turn)])
    rest = sp.sin(one) * sp.sin(two) * (1 + sp.cos(turn))
    yield by.identity(
        "two angles alpha, beta in a row: <a, c> - cos(alpha + beta)",
        left.dot(right) - (sp.expand_trig(sp.cos(one + two))),
        rest,
    )
    sines, above = sp.symbols("s_1 s_2", nonnegative=True), sp.Symbol("e", nonnegative=True)  # e = 1 + cos omega
    yield by.nonnegative(
        "is >= 0 for alpha, beta in [0, pi]: angle(a, c) <= alpha + beta",
        (rest.subs({sp.sin(one): sines[0], sp.sin(two): sines[1], sp.cos(turn): above - 1})),
    )
    sum_of = stated["activation"].subs({theta: 2 * sp.atan(tau)}, simultaneous=True)
    bound = 2 * sp.atan(cond * tau) + 2 * sp.atan(KANTOROVICH.stated["tangent"])
    yield by.by(KANTOROVICH, "tangent", text="Kantorovich's angle of Db and TDb")
    yield by.identity("angle(Da, TDb) <= angle(Da, Db) + angle(Db, TDb), D a matrix too", sum_of, bound)
    rise = sp.diff(bound, tau)
    yield by.positive("and both rules are monotone in theta, so bounds may be chained", rise)


def _two_above(draw: Draw) -> dict[str, Any]:
    injective, high = draw.holds("injective"), 1 + positive(draw.real())
    t = [[1 + (high - 1) * draw.share() for _ in range(2)] for _ in range(2)]
    if not draw.holds("positive"):
        t[1][0] = draw.real()
    slopes = [[positive(x) for x in draw.reals(2)] for _ in range(2)]
    W = draw.matrix(2, 2)
    if not injective:
        W[1] = [2 * x for x in W[0]]
    return {"W": W, "slopes": slopes, "t": t, "high": high, "r": draw.reals(2), "injective": injective}


def _recursion_excess(stated: Stated, W: Any, slopes: Any, t: Any, high: Any, r: Any, injective: bool) -> float | None:
    def back(factors: Any) -> list[Any]:
        top = [f * e for f, e in zip(factors[1], r, strict=True)]
        return [f * e for f, e in zip(factors[0], times(W, top), strict=True)]

    plain, bent = (
        back(slopes),
        back([[a * b for a, b in zip(*rows, strict=True)] for rows in zip(slopes, t, strict=True)]),
    )
    ratio = condition(W, injective)
    if not any(plain) or not any(bent) or ratio == float("inf"):
        return None
    bound = 2 * atan(float(number(KANTOROVICH.stated["tangent"], kappa=high)))
    bound = float(number(stated["weights"], theta=bound, K=ratio))
    if not bound < pi:
        return None
    bound = float(number(stated["activation"], theta=bound, c_D=max(slopes[0]) / min(slopes[0]), kappa=high))
    return angle(plain, bent) - bound if bound < pi else None


ANGLE_RECURSION = Claim(
    id="angle-recursion",
    title="The angle through several layers",
    statement="Sound for several layers: theta <- 2 atan(K_W tan(theta/2)) through weights, then theta <- 2 atan("
    "cond(D) tan(theta/2)) + 2 atan((sqrt kappa - 1)/(sqrt kappa + 1)) through an activation with true derivative D.",
    latex=r"\theta \leftarrow 2\arctan(K_W \tan\tfrac\theta2),\quad \theta \leftarrow "
    r"2\arctan(\mathrm{cond}(D)\tan\tfrac\theta2) + 2\arctan\tfrac{\sqrt\kappa-1}{\sqrt\kappa+1}",
    expected=Verdict.PROVED,
    source="ours; cond(D) enters, so orthogonal weights alone are not enough",
    scope=Scope(network="several replaced layers", gradient="the preactivations below"),
    hypotheses=(INJECTIVE, POSITIVE_BOX),
    uses=("conditioned", "kantorovich"),
    stated={
        "weights": 2 * sp.atan(K * sp.tan(theta / 2)),
        "activation": 2 * sp.atan(cond * sp.tan(theta / 2)) + 2 * sp.atan(_half),
    },
    proof=_recursion,
    game=Game(_two_above, _recursion_excess, exact=False, tolerance=1e-7),
)
