"""Chapter `perceptron`: one Heaviside unit under a constant backward is the perceptron, and what other factors cost."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import sqrt
from typing import Any

import sympy as sp

from ...claim import Claim, Hypothesis, Scope, Stated, Verdict, Witness
from ...roads import steps as by
from ...roads.game import Draw, Game, dot, number, positive
from ...roads.steps import Step

SEPARABLE = Hypothesis("separable", "some unit vector separates the samples with margin gamma > 0")
FROM_ZERO = Hypothesis("from zero", "the weights start at 0")
BOUNDED = Hypothesis("bounded", "the factor lies in [m, M] with m > 0")
INDEPENDENT = Hypothesis("independent", "each factor is independent of all that came before it")

R, gamma, eta, kappa, start = sp.symbols("R gamma eta kappa w_0", positive=True)
first, second = sp.symbols("E_1 E_2", positive=True)
k = sp.Symbol("k", nonnegative=True)
_UNIT = Scope(network="one Heaviside unit, squared error, labels 0/1", samples="one a step", gradient="the unit")


def _update(label: int) -> Step:
    """The const-1 gradient of half the squared error at a mistake is minus the signed sample."""
    x, y = sp.symbols("x y", real=True)
    a = sp.Symbol("a", real=True)
    slope = sp.diff((a - y) ** 2 / 2, a).subs({a: 1 - label, y: label}) * 1 * x
    return by.identity(f"label {label}, output {1 - label}: the const-1 gradient", slope, -(2 * label - 1) * x)


def _growth(low: Any, high: Any) -> Iterator[Step]:
    """Novikoff's two bounds, each by induction over mistakes, for factors in [low, high] (or their means)."""
    square, cross, margin = sp.symbols("w_2 c d", nonnegative=True)
    yield by.given("separable", gamma, strict=True)
    yield by.nonnegative("each mistake moves w by eta psi x with <u, x> = gamma + d", eta * (low * margin))
    yield by.identity(
        "so <w, u> grows by at least eta m gamma", eta * low * (gamma + margin), eta * low * gamma + eta * low * margin
    )
    # At a mistake <w, x> = -c <= 0 and |x|^2 = R^2 - d.
    grown = square - 2 * eta * high * cross + eta**2 * high**2 * (R**2 - margin)
    bound = square + eta**2 * high**2 * R**2
    yield by.nonnegative("while |w|^2 grows by at most eta^2 M^2 R^2, as <w, x> <= 0", sp.expand(bound - grown))


def _squeezed(text: str, least: sp.Expr, most: sp.Expr, random: bool = False) -> Iterator[Step]:
    """most - least^2 >= 0 from <w, u> >= least >= 0, |w|^2 <= most and |u| = 1; of their means where ``random``."""
    more, less, apart, square = sp.symbols("b_1 b_2 b_3 q", nonnegative=True)
    inner = sp.Symbol("i", real=True)
    above = by.nonnegative("by induction over the mistakes <w, u> is at least its bound (+ b_1)", more)
    below = by.nonnegative("and |w|^2 at most its own (- b_2)", less)
    terms = [(more + 2 * least, above), (1, below)]
    where = {inner: least + more, square: most - less}
    if random:
        each = by.nonnegative(
            "<w, u>^2 <= |w|^2 |u|^2 for each outcome (Cauchy and Schwarz), in the mean by b_3", apart
        )
        mean = by.variance("and (E<w, u>)^2 <= E<w, u>^2", square, inner)
        terms += [(1, each), (1, mean)]
        where[square] = most - less - apart
    else:
        terms.append((1, by.schwarz("<w, u>^2 <= |w|^2 |u|^2, |u| = 1", square, 1, inner)))
    yield from (step for _, step in terms)
    yield by.follows(text, most - least**2, *terms, where=where)


# -------------------------------------------------------------------------------------------------- perceptron-rule
def _rule(stated: Stated) -> Iterator[Step]:
    yield from (_update(label) for label in (0, 1))
    yield from _growth(1, 1)
    yield by.given("from zero")
    some = sp.Symbol("k", positive=True)
    rise = some * eta**2 * R**2 - (some * eta * gamma) ** 2
    yield from _squeezed(
        "(k eta gamma)^2 <= <w, u>^2 <= |w|^2 <= k eta^2 R^2", some * eta * gamma, some * (eta * R) ** 2
    )
    goal = (stated["mistakes"] - some) * eta**2 * gamma**2 * some
    yield by.identity("dividing by k eta^2 gamma^2: k <= (R/gamma)^2", goal, rise)
    # From w_0: k eta gamma - |w_0| <= |w|, so k^2 eta^2 gamma^2 - 2 k eta gamma |w_0| <= k eta^2 R^2.
    longer = (start**2 + some * eta**2 * R**2) - (some * eta * gamma - start) ** 2
    yield by.identity("from any w_0, squared", (stated["start"] - some) * eta**2 * gamma**2 * some, longer)
    ahead = sp.Symbol("b", nonnegative=True)
    text = "(k eta gamma - |w_0|)^2 <= <w, u>^2 <= |w|^2 <= |w_0|^2 + k eta^2 R^2, where k eta gamma = |w_0| + b"
    yield from _squeezed(text, ahead, start**2 + some * (eta * R) ** 2)
    fewer = (stated["start"] - some).subs(start, some * eta * gamma + ahead)
    yield by.positive("and where |w_0| = k eta gamma + b the bound exceeds k already", sp.expand(fewer))


def _data(draw: Draw) -> dict[str, Any]:
    """Three samples with labels; separated by u where that is assumed."""
    u, points, separable = draw.reals(2), draw.matrix(3, 2), draw.holds("separable")
    signs = [1 if dot(u, x) > 0 else -1 for x in points] if separable else [draw.option(1, -1) for _ in points]
    return {"u": u, "points": points, "signs": signs}


def margin(u: Any, points: Any, signs: Any) -> tuple[Any, Any] | None:
    """R^2 and gamma^2 of the data for the separating direction u; None where the margin is 0 or R is."""
    margins = [abs(dot(u, x)) if dot(u, x) * s <= 0 else dot(u, x) * s for x, s in zip(points, signs, strict=True)]
    largest = max(dot(x, x) for x in points)
    return None if not any(u) or min(margins) == 0 else (largest, min(margins) ** 2 / dot(u, u))


def mistakes(w: Any, points: Any, signs: Any, factor: Callable[[int, int], Any], most: Any) -> int:
    """Mistakes of the const-1 (or psi) gradient steps over the samples in turn, until ``most`` are passed."""
    made, quiet, turn = 0, 0, 0
    while quiet < len(points) and made <= most and turn < 400:
        x, s = points[turn % len(points)], signs[turn % len(points)]
        z = dot(w, x)
        if (z > 0) is not (s > 0):
            w = [a + factor(made, turn % len(points)) * s * b for a, b in zip(w, x, strict=True)]
            made, quiet = made + 1, 0
        else:
            quiet += 1
        turn += 1
    return made


def _started(draw: Draw) -> dict[str, Any]:
    return {**_data(draw), "w0": draw.reals(2), "eta": positive(draw.real()), "from_zero": draw.holds("from zero")}


def _rule_excess(stated: Stated, u: Any, points: Any, signs: Any, w0: Any, eta: Any, from_zero: bool) -> Any:
    found = margin(u, points, signs)
    if found is None:
        return None
    largest, least = float(found[0]), float(found[1])
    values = {"R": sqrt(largest), "gamma": sqrt(least)}
    bound, longer = (
        number(stated["mistakes"], **values),
        number(stated["start"], **values, eta=float(eta), w_0=sqrt(float(dot(w0, w0)))),
    )
    step = lambda *_: eta  # noqa: E731
    plain = mistakes([0, 0] if from_zero else w0, points, signs, step, min(bound, 200))
    return max(plain - bound, mistakes(w0, points, signs, step, min(longer, 200)) - longer)


PERCEPTRON_RULE = Claim(
    id="perceptron-rule",
    title="Const-1 on a Heaviside unit is the perceptron",
    statement="One Heaviside unit, const-1 backward, squared error, labels 0/1, one sample a step is the perceptron "
    "rule: at most (R/gamma)^2 mistakes from w = 0 for any step, else at most R^2/gamma^2 + 2|w0|/(eta gamma).",
    latex=r"k \le \frac{R^2}{\gamma^2},\qquad k \le \frac{R^2}{\gamma^2} + \frac{2|w_0|}{\eta\gamma}",
    expected=Verdict.PROVED,
    source="Novikoff 1962; the reading as const-1 is ours",
    scope=_UNIT,
    hypotheses=(SEPARABLE, FROM_ZERO),
    stated={"mistakes": R**2 / gamma**2, "start": R**2 / gamma**2 + 2 * start / (eta * gamma)},
    proof=_rule,
    game=Game(_started, _rule_excess, cases=200),
)


# --------------------------------------------------------------------------------------- perceptron-bounded-factor
def _bounded(stated: Stated) -> Iterator[Step]:
    low = sp.Symbol("m", positive=True)
    yield by.given("bounded", low, kappa, strict=True)
    yield from _growth(low, kappa * low)
    some = sp.Symbol("k", positive=True)
    least, most = some * eta * low * gamma, some * (eta * kappa * low * R) ** 2
    chain = most - least**2
    yield from _squeezed("(k eta m gamma)^2 <= |w|^2 <= k eta^2 M^2 R^2", least, most)
    yield by.identity(
        "so k <= kappa^2 (R/gamma)^2", (stated["mistakes"] - some) * (eta * low * gamma) ** 2 * some, chain
    )


def _with_factors(draw: Draw) -> dict[str, Any]:
    ratio = positive(draw.real())
    bounded = draw.holds("bounded")
    shares = [draw.share() for _ in range(8)]
    factors = [1 + ratio * x for x in shares] if bounded else [x - 1 for x in draw.reals(8)]
    return {**_data(draw), "factors": factors, "kappa": 1 + ratio}


def _bounded_excess(stated: Stated, u: Any, points: Any, signs: Any, factors: Any, kappa: Any) -> Any:
    found = margin(u, points, signs)
    if found is None:
        return None
    bound = number(stated["mistakes"], R=sqrt(float(found[0])), gamma=sqrt(float(found[1])), kappa=float(kappa))
    return mistakes([0, 0], points, signs, lambda made, _: factors[made % 8], min(bound, 200)) - bound


PERCEPTRON_BOUNDED = Claim(
    id="perceptron-bounded-factor",
    title="A bounded factor costs kappa squared",
    statement="psi in [m, M], from w = 0: at most kappa^2 (R/gamma)^2 mistakes.",
    latex=r"k \le \kappa^2 R^2/\gamma^2",
    expected=Verdict.PROVED,
    source="ours, after Novikoff 1962",
    scope=_UNIT,
    hypotheses=(SEPARABLE, BOUNDED),
    uses=("perceptron-rule",),
    stated={"mistakes": kappa**2 * R**2 / gamma**2},
    proof=_bounded,
    game=Game(_with_factors, _bounded_excess, cases=200),
)


# ---------------------------------------------------------------------------------------- perceptron-random-factor
def _random(stated: Stated) -> Iterator[Step]:
    count = sp.Symbol("E_T", positive=True)
    yield by.given("separable", gamma, strict=True)
    yield by.given("independent")
    inner, square = eta * gamma * first * count, eta**2 * R**2 * second * count
    # p_t is the probability of a t-th mistake, which psi_t knows nothing of; n mistakes at most are counted, any n.
    t, n = sp.Symbol("t", integer=True), sp.Symbol("n", integer=True, positive=True)
    p = sp.IndexedBase("p", nonnegative=True, real=True)
    number_of = sp.Sum(p[t], (t, 1, n))
    for text, each in (("E<w, u> >= eta gamma E psi E T", eta * gamma * first), ("E|w|^2 <=", (eta * R) ** 2 * second)):
        added = sp.Sum(each * p[t], (t, 1, n))
        yield by.identity(f"mistake by mistake (Wald 1944): {text}", added, each * number_of)
    yield from _squeezed("(E<w, u>)^2 <= E<w, u>^2 <= E|w|^2", inner, square, random=True)
    goal = (stated["mistakes"] - count) * (eta * gamma * first) ** 2 * count
    yield by.identity("so E T <= E psi^2/(E psi)^2 (R/gamma)^2", goal, square - inner**2)
    xi = sp.Symbol("xi")
    ratio = sp.integrate(xi**2, (xi, 0, 1)) / sp.integrate(xi, (xi, 0, 1)) ** 2
    yield by.identity("4/3 for U(0, 1)", ratio, sp.Rational(4, 3))


def _two_valued(draw: Draw) -> dict[str, Any]:
    independent = draw.holds("independent")
    return {**_data(draw), "values": [positive(4 * x) for x in draw.reals(2)], "independent": independent}


def _expected_mistakes(w: Any, points: Any, signs: Any, values: Any, turn: int, quiet: int, left: int) -> Any:
    while quiet < len(points):
        x, s = points[turn % len(points)], signs[turn % len(points)]
        turn += 1
        if (dot(w, x) > 0) is (s > 0):
            quiet += 1
            continue
        if not left:
            return 1
        moved = ([a + v * s * b for a, b in zip(w, x, strict=True)] for v in values)
        return 1 + sum(_expected_mistakes(v, points, signs, values, turn, 0, left - 1) for v in moved) / 2
    return 0


def _random_excess(stated: Stated, u: Any, points: Any, signs: Any, values: Any, independent: bool) -> Any:
    found = margin(u, points, signs)
    if found is None:
        return None
    means = {"E_1": float(sum(values)) / 2, "E_2": float(dot(values, values)) / 2}
    bound = number(stated["mistakes"], R=sqrt(float(found[0])), gamma=sqrt(float(found[1])), **means)
    if not independent:  # a factor that knows the sample
        return mistakes([0, 0], points, signs, lambda _, i: values[i % 2], min(bound, 200)) - bound
    floats = [[float(x) for x in point] for point in points]
    # Counting stops after 7 mistakes, which only lowers the expectation.
    return float(_expected_mistakes([0.0, 0.0], floats, signs, [float(v) for v in values], 0, 0, 6)) - bound


PERCEPTRON_RANDOM = Claim(
    id="perceptron-random-factor",
    title="A random factor costs its second moment",
    statement="Independent positive psi, from w = 0: E mistakes <= E psi^2/(E psi)^2 (R/gamma)^2, 4/3 (R/gamma)^2 for "
    "U(0, 1).",
    latex=r"\mathbb{E}\,k \le \frac{\mathbb{E}\psi^2}{(\mathbb{E}\psi)^2}\,\frac{R^2}{\gamma^2}",
    expected=Verdict.PROVED,
    source="ours, after Novikoff 1962",
    scope=_UNIT,
    hypotheses=(SEPARABLE, INDEPENDENT),
    uses=("perceptron-rule",),
    stated={"mistakes": second / first**2 * R**2 / gamma**2},
    proof=_random,
    game=Game(_two_valued, _random_excess, cases=400, exact=False),
)


# --------------------------------------------------------------------------------------- perceptron-compact-support
PERCEPTRON_COMPACT = Claim(
    id="perceptron-compact-support",
    title="A factor that vanishes still learns",
    statement="The same mistake bound holds for a psi with compact support (rectangle, triangle), from any start.",
    latex=r"k < \infty \text{ for } \psi = 1_{|z| \le 1}",
    expected=Verdict.REFUTED,
    source="ours",
    scope=_UNIT,
    uses=("perceptron-rule",),
    # Label 1: the unit is wrong at z <= 0 and never moves where psi(z) = 0 there.
    game=Game(lambda draw: {"w": draw.real(), "x": draw.real()}, lambda stated, w, x: -w * x - 1),
    witnesses=(
        Witness(
            "w = -2, x = y = 1, psi = 1 on [-1, 1]: the gradient is 0 and the mistake stays for ever",
            "network",
            {
                "network": [{"linear": [["-2"]]}, {"heaviside": {}}],
                "inputs": [["1"]],
                "loss": {"squared": [["1"]]},
                "backward": {"clipped": {"width": "1"}},
                "step": "1",
            },
            {"surrogate_gradient": [[["0"]]], "loss": "1/2", "loss_after": "1/2"},
        ),
    ),
)
