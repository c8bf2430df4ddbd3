from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from typing import Any

import downslope as ds
import pytest
import sympy as sp
from downslope.proofs.chapters import CLAIMS
from downslope.proofs.claim import Claim, Hypothesis, Verdict
from downslope.proofs.referee import decide
from downslope.proofs.roads import steps as by
from downslope.proofs.roads.game import Comparison, Draw, Game
from downslope.proofs.roads.search import search
from downslope.proofs.roads.steps import Step

x, y = sp.symbols("x y", real=True)
p = sp.Symbol("p", positive=True)


def _square(stated: Any) -> Iterator[Step]:
    yield by.squares("a square", x**2 - 2 * x * y + y**2, (1, x - y))


def _game(excess: Any) -> Game:
    return Game(lambda draw: {"a": draw.real()}, lambda stated, a: excess(a))


PROVED = Claim("true", "a square is nonnegative", Verdict.PROVED, proof=_square, game=_game(lambda a: -a * a))


def test_both_roads_together_prove() -> None:
    result = decide(PROVED, quick=True)
    assert (result.verdict, result.as_expected) == (Verdict.PROVED, True)


def test_a_proof_that_the_search_contradicts_is_open() -> None:
    result = decide(replace(PROVED, game=_game(lambda a: a - 5)), quick=True)
    assert result.verdict is Verdict.OPEN
    assert "disagree" in result.reason
    assert result.counterexample is not None


def test_without_a_proof_a_claim_is_supported_at_most() -> None:
    assert decide(replace(PROVED, proof=None), quick=True).verdict is Verdict.SUPPORTED


def test_a_claim_without_roads_is_open() -> None:
    assert decide(Claim("bare", "nothing", Verdict.PROVED)).verdict is Verdict.OPEN


def test_a_step_that_does_not_hold_leaves_the_claim_open() -> None:
    def wrong(stated: Any) -> Iterator[Step]:
        yield by.identity("wrong", (x + y) ** 2, x**2 + y**2)

    result = decide(replace(PROVED, proof=wrong), quick=True)
    assert (result.verdict, result.reason) == (Verdict.OPEN, "step 1 does not hold: wrong")


def test_time_that_runs_out_leaves_the_claim_open() -> None:
    def slow(stated: Any) -> Iterator[Step]:
        time.sleep(5)
        yield by.nonnegative("late", p)

    result = decide(replace(PROVED, proof=slow, seconds=0.2))
    assert (result.verdict, result.reason) == (Verdict.OPEN, "not decided within 0.2 seconds")


def test_a_hypothesis_that_the_claim_does_not_have_cannot_be_taken_up() -> None:
    def borrowed(stated: Any) -> Iterator[Step]:
        yield by.given("positive", p)

    assert "does not assume" in decide(replace(PROVED, proof=borrowed), quick=True).reason
    owned = replace(PROVED, proof=borrowed, game=None, hypotheses=(Hypothesis("positive", "p > 0"),))
    assert decide(owned, quick=True).verdict is Verdict.PROVED


def test_a_claim_that_is_not_named_cannot_be_used() -> None:
    def borrowed(stated: Any) -> Iterator[Step]:
        yield by.by(CLAIMS["kantorovich"], "cosine")

    assert "`uses` does not name" in decide(replace(PROVED, proof=borrowed), quick=True).reason


def test_a_hypothesis_that_is_not_needed_is_a_finding() -> None:
    idle = replace(PROVED, hypotheses=(Hypothesis("idle", "the sky is blue"),))
    result = decide(idle)
    assert result.verdict is Verdict.PROVED
    assert not result.as_expected
    assert decide(replace(idle, hypotheses=(Hypothesis("idle", "so", unneeded="known"),))).as_expected


def test_a_replay_that_breaks_leaves_the_claim_open() -> None:
    witness = replace(CLAIMS["zero-sets"].witnesses[0], data={})
    result = decide(replace(CLAIMS["zero-sets"], witnesses=(witness,), game=None), quick=True)
    assert (result.verdict, "KeyError" in result.reason) == (Verdict.OPEN, True)


def test_a_comparison_that_disagrees_refutes() -> None:
    def compare(stated: Any, effort: float) -> Iterator[Comparison]:
        yield Comparison("pi", 3.14, 3.14159, 1e-3, "quadrature")

    result = decide(replace(PROVED, proof=None, game=None, evaluate=compare))
    assert result.verdict is Verdict.REFUTED
    assert result.counterexample is not None
    assert result.counterexample["quantity"] == "pi"


def test_a_comparison_with_nan_never_agrees() -> None:
    assert not Comparison("x", float("nan"), 1.0, 1.0, "draws").agrees
    assert not Comparison("x", 1.0, float("nan"), 1.0, "draws").agrees


# ------------------------------------------------------------------------------------------------------- searchers
def test_hypothesis_shrinks_what_it_finds() -> None:
    found = search(replace(PROVED, game=_game(lambda a: a - 3)))
    assert found.searcher == "Hypothesis"
    assert found.counterexample == {"a": 4}


def test_the_optimiser_climbs_where_small_fractions_do_not_reach() -> None:
    found = search(replace(PROVED, game=_game(lambda a: 1e-3 - (float(a) - 17.23) ** 2)))
    assert found.searcher == "optimiser"
    assert found.counterexample is not None
    assert abs(float(found.counterexample["a"]) - 17.23) < 0.04


def test_rounding_is_no_counterexample_but_a_fraction_is() -> None:
    assert search(replace(PROVED, game=_game(lambda a: 1e-12))).counterexample is None
    assert search(replace(PROVED, game=_game(lambda a: Fraction(1, 10**12)))).counterexample is not None


def test_a_suspicion_in_floats_is_heard_again_in_fractions() -> None:
    exact = Game(lambda draw: {"a": draw.real()}, lambda stated, a: abs((a + 1) ** 2 - a * a - 2 * a - 1))
    assert search(replace(PROVED, game=exact)).counterexample is None


def _breaks(*_: Any) -> Any:
    raise ZeroDivisionError("on purpose")


def _stops(*_: Any) -> Any:
    raise RuntimeError("on purpose")


@pytest.mark.parametrize(
    ("broken", "road"),
    [({"proof": _breaks}, "proof"), ({"game": Game(_stops, _stops)}, "search"), ({"evaluate": _breaks}, "search")],
)
def test_code_that_breaks_leaves_the_claim_open_and_is_told(broken: dict[str, Any], road: str) -> None:
    result = decide(replace(PROVED, **broken), quick=True)
    assert result.verdict is Verdict.OPEN
    assert result.reason.startswith(f"the {road} breaks:")
    assert "on purpose (test_referee.py, line" in result.reason


def test_a_search_that_succeeds_does_not_excuse_a_wrong_witness_in_print() -> None:
    claim = ds.CLAIMS["batch-mixing"]
    wrong = replace(claim.witnesses[1], values={**claim.witnesses[1].values, "inner_product": "-2"})
    result = decide(replace(claim, witnesses=(claim.witnesses[0], wrong)), quick=True)
    assert (result.verdict, result.as_expected) == (Verdict.OPEN, False)
    assert result.reason.startswith("witness 2 does not replay: inner_product: exact replay gives -1")


def test_nothing_inside_the_scope_is_no_support() -> None:
    empty = replace(PROVED, proof=None, game=_game(lambda a: None))
    assert decide(empty, quick=True).verdict is Verdict.OPEN


def test_a_search_repeats_itself() -> None:
    game = _game(lambda a: a - 3)
    assert search(replace(PROVED, game=game)) == search(replace(PROVED, game=game))


def test_a_draw_keeps_to_the_scope_and_leaves_it_where_a_hypothesis_is_dropped() -> None:
    values = [Fraction(-3), Fraction(0), Fraction(2)]
    assert min(Draw(values, {"positive"}).positives(3, "positive")) > 0
    assert Draw(values, set()).positives(3, "positive") == values
    assert any(Draw([Fraction(0)] * 3, {"nonzero"}).nonzero(3, "nonzero"))
    assert not any(Draw([Fraction(0)] * 3, set()).nonzero(3, "nonzero"))


# ----------------------------------------------------------------------------------------------------------- steps
a, b = sp.symbols("a b", nonnegative=True)
n = sp.Symbol("n", integer=True, positive=True)
i = sp.Symbol("i", integer=True)
g, d = sp.IndexedBase("g", real=True), sp.IndexedBase("d", positive=True)
GOOD = {
    "identity": by.identity("", (x + y) ** 2, x**2 + 2 * x * y + y**2),
    "identity of sums": by.identity(
        "", sp.Sum(g[i] + d[i], (i, 1, n)), sp.Sum(g[i], (i, 1, n)) + sp.Sum(d[i], (i, 1, n))
    ),
    "matrices": by.identity("", sp.Matrix([x - x]), sp.zeros(1, 1)),
    "nonnegative": by.nonnegative("", a * b + x**2),
    "sum": by.nonnegative("", sp.Sum(d[i] * g[i] ** 2, (i, 1, n))),
    "positive": by.positive("", p + a),
    "squares": by.squares("", x**2 + 4 * x * y + 4 * y**2 + 3 * p, (1, x + 2 * y), (3, sp.sqrt(p))),
    "limit": by.tends("", 1 / p, p, sp.oo, 0),
    "free": by.independent("", x + 1, y),
    "cauchy": by.cauchy_schwarz("", [x, y], [a, b]),
    "schwarz": by.schwarz("", a, b, x),
    "variance": by.variance("", a, x),
    "roots": by.roots("", a + p, a, by.nonnegative("", sp.expand((a + p) ** 2 - a**2))),
    "where": by.follows("", b, (1, by.nonnegative("", a)), where={a: b}),
    "follows": by.follows("", a + 2 * x**2, (1, by.nonnegative("", a)), (2, by.nonnegative("", x**2))),
}
BAD = {
    "identity": by.identity("", (x + y) ** 2, x**2 + y**2),
    "identity of sums": by.identity("", sp.Sum(g[i] + d[i], (i, 1, n)), sp.Sum(g[i], (i, 1, n))),
    "matrices of another shape": by.identity("", sp.zeros(1, 2), sp.zeros(2, 1)),
    "sign": by.nonnegative("", x),
    "strict for weak": by.positive("", a),
    "an empty sum is not positive": by.positive("", sp.Sum(d[i], (i, 1, n))),
    "a term of either sign": by.nonnegative("", sp.Sum(d[i] * g[i], (i, 1, n))),
    "squares of another sum": by.squares("", x**2 + y**2, (1, x + y)),
    "a negative coefficient": by.squares("", -(x**2), (-1, x)),
    "a base that is not real": by.squares("", -(x**2), (1, sp.I * x)),
    "limit": by.tends("", p, p, sp.oo, 0),
    "free": by.independent("", x + y, y),
    "a fact with a negative multiplier": by.follows("", -a, (-1, by.nonnegative("", a))),
    "a fact that does not hold": by.follows("", x, (1, by.nonnegative("", x))),
    "strict from weak facts": by.follows("", a, (1, by.nonnegative("", a)), strict=True),
    "another goal": by.follows("", b, (1, by.nonnegative("", a))),
    "Cauchy and Schwarz of a length that may be negative": by.schwarz("", x, a, b),
    "Cauchy and Schwarz of an inner product that is not real": by.schwarz("", a, b, sp.I * x),
    "a variance of what is not real": by.variance("", a, sp.I * x),
    "a root of another square": by.roots("", a, b, by.nonnegative("", a**2)),
    "a root on a side that may be negative": by.roots("", x, 0, by.nonnegative("", x**2)),
    "a root of a fact that does not hold": by.roots("", a, b, by.nonnegative("", a**2 - b**2)),
    "symbols that stand for something else": by.follows("", b, (1, by.nonnegative("", a)), where={a: 2 * b}),
    "a claim's formula that it does not state to be >= 0": by.follows(
        "", -ds.CLAIMS["descent-margin"].stated["minimum"], (-1, by.by(ds.CLAIMS["descent-margin"], "minimum"))
    ),
    "a claim's formula as a fact where none is stated": by.follows(
        "", ds.CLAIMS["descent-margin"].stated["minimum"], (1, by.by(ds.CLAIMS["descent-margin"], "minimum"))
    ),
    "given against the assumptions": by.given("positive", x, strict=True),
    "one of several": by.all_of("", by.positive("", p), by.positive("", x)),
}


@pytest.mark.parametrize("name", GOOD)
def test_a_right_step_holds(name: str) -> None:
    assert GOOD[name].holds


@pytest.mark.parametrize("name", BAD)
def test_a_wrong_step_does_not(name: str) -> None:
    assert not BAD[name].holds


def test_text_is_never_read_as_a_formula() -> None:
    with pytest.raises(TypeError, match="'x - x' is a str"):
        by.identity("", "x - x", 0)


# -------------------------------------------------------------------------------------------------------- own claim
def test_an_own_claim_about_an_own_surrogate() -> None:
    k = sp.Symbol("k", positive=True)
    mine = ds.Surrogate("mine", factor=1 / (1 + k * sp.Abs(ds.u)) ** 2, parameters={k: 25}, source="this paper, eq. 3")

    def proof(stated: Any) -> Iterator[Step]:
        yield by.positive("psi is positive on the whole line", stated["psi"])
        yield by.nonnegative("and at most 1", sp.cancel((1 - stated["psi"].subs(sp.Abs(ds.u), p)) / p))

    claim = ds.Claim(
        id="mine-in-the-unit-interval",
        statement="The factor of this paper lies in (0, 1].",
        expected=Verdict.PROVED,
        stated={"psi": mine.factor},
        proof=proof,
        game=Game(
            instance=lambda draw: {"at": draw.real(), "steepness": 1 + draw.real() ** 2},
            excess=lambda stated, at, steepness: 1 / (1 + steepness * abs(at)) ** 2 - 1,
        ),
    )
    (result,) = ds.verify(claim)
    assert result.verdict == "PROVED"
    (wrong,) = ds.verify(claim.stating(psi=2 * mine.factor - 1))
    assert wrong.verdict == "OPEN"
