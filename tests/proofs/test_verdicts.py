from __future__ import annotations

import re

import pytest
from downslope.proofs.chapters import CHAPTERS, CLAIMS
from downslope.proofs.claim import Verdict
from downslope.proofs.referee import decide
from downslope.proofs.roads.search import search
from downslope.proofs.show.graph import levels

THEORY = [
    "troiano-1",
    "troiano-2",
    "diagonal-scaling",
    "zero-sets",
    "kantorovich",
    "softmax",
    "last-layer",
    "shared-weights",
    "batch-mixing",
    "descent-margin",
    "batch-cosine-bound",
    "worst-cosine",
    "depth-entry-flip",
    "depth-whole-ascent",
    "width-one",
    "path-sign",
    "layer-scalar",
    "conditioned",
    "angle-recursion",
    "jamming-mean",
    "jamming-equal-paths",
    "jamming-residual",
    "jamming-reuse",
    "jamming-moments",
    "meanfield-cosine",
    "meanfield-magnitude",
    "meanfield-closed-forms",
    "perceptron-rule",
    "perceptron-bounded-factor",
    "perceptron-random-factor",
    "perceptron-compact-support",
    "ones-margin",
    "matching-loss",
    "ste-population",
    "ste-coarse",
    "ste-correlation",
    "ste-spurious",
    "not-conservative",
    "single-unit-conservative",
    "step-size",
    "diagonal-step",
    "sign-step",
    "sign-alone",
    "expected-gradient",
    "one-unit",
    "smoothing-depth-flip",
    "certificate-one-layer",
    "certificate-two-layers",
    "certificate-crown",
    "attack",
]
"""The ids that the theory names; more may be added, none dropped."""

ASSUMED = [(claim.id, hypothesis.name) for claim in CLAIMS.values() if claim.game for hypothesis in claim.hypotheses]


def test_every_id_of_the_theory_is_a_claim() -> None:
    assert set(THEORY) <= set(CLAIMS)


@pytest.mark.parametrize("name", CLAIMS)
def test_the_verdict_is_the_one_in_print(name: str) -> None:
    result = decide(CLAIMS[name], quick=True)
    assert (result.verdict, result.reason if result.verdict is Verdict.OPEN else "") == (CLAIMS[name].expected, "")


@pytest.mark.parametrize(("name", "hypothesis"), ASSUMED)
def test_without_a_hypothesis_there_is_a_counterexample(name: str, hypothesis: str) -> None:
    wider = search(CLAIMS[name].without(hypothesis), first_only=True)
    declared = next(h for h in CLAIMS[name].hypotheses if h.name == hypothesis)
    assert (wider.counterexample is None) is bool(declared.unneeded)


@pytest.mark.parametrize("name", [name for name, claim in CLAIMS.items() if claim.game])
def test_a_game_asks_for_the_hypotheses_that_its_claim_has(name: str) -> None:
    from fractions import Fraction

    from downslope.proofs.roads.game import Draw

    claim = CLAIMS[name]
    assert claim.game is not None
    held = {hypothesis.name for hypothesis in claim.hypotheses}
    number = Fraction if claim.game.exact else float
    draw = Draw([number(1)] * 400, held)
    claim.game.instance(draw)
    assert draw.asked == held


def test_uses_exist_and_have_no_circle() -> None:
    assert {used for claim in CLAIMS.values() for used in claim.uses} <= set(CLAIMS)
    levels({name: claim.uses for name, claim in CLAIMS.items()})


def test_a_proved_claim_uses_proved_claims() -> None:
    proved = {name for name, claim in CLAIMS.items() if claim.expected is Verdict.PROVED}
    assert {used for name in proved for used in CLAIMS[name].uses} <= proved


def test_a_circle_is_noticed() -> None:
    with pytest.raises(ValueError, match="circle: a -> b -> a"):
        levels({"a": ["b"], "b": ["a"]})


@pytest.mark.parametrize("claim", [pytest.param(claim, id=name) for name, claim in CLAIMS.items()])
def test_a_claim_says_what_a_reader_needs(claim: object) -> None:
    from downslope.proofs.claim import Claim

    assert isinstance(claim, Claim)
    assert all((claim.title, claim.statement, claim.latex, claim.source))
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9_]+)*", claim.id)
    assert claim.latex.count("{") == claim.latex.count("}")
    assert claim.expected in {Verdict.PROVED, Verdict.SUPPORTED} or claim.witnesses


def test_chapters_hold_each_claim_once() -> None:
    listed = [claim.id for claims in CHAPTERS.values() for claim in claims]
    assert sorted(listed) == sorted(set(listed)) == sorted(CLAIMS)
