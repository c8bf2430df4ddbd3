"""The referee tested: wrong statements, made from the right ones, and what catches each.

A mutant is a wrong constant, a dropped hypothesis or a wrong value in a witness. `mutants.json` is the table claim by
mutant by what caught it; run this file as a program to write it anew. The theorems of the catalogue's surrogates are
made by iterating it, and so are their mutants: each must be caught, and a new surrogate needs no line in the table.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
import sympy as sp
from downslope import SURROGATES, Surrogate, u
from downslope.proofs.chapters import CLAIMS
from downslope.proofs.chapters.catalogue import THEOREMS, theorems
from downslope.proofs.claim import Claim, Verdict
from downslope.proofs.referee import decide

FILE = Path(__file__).parent / "mutants.json"
_m, _M, _p, _g, _q = (sp.Symbol(name, positive=True) for name in ("m", "M", "p", "g_2", "q"))

HAND_MADE = {
    # A positive multiple of an inequality says the same; these two say more than is true.
    "diagonal-scaling": {
        "m for M in the cocoercive form": {"cocoercive": _m * _p - _q},
        "2m for m + M in the chord": {"chord": 2 * _m * _p - _m * _M * _g - _q},
    },
    "sign-step": {"|g|_1 without the number of entries": {"step": 2 * sp.Symbol("n_1", positive=True)}},
    "ones-margin": {"ceiling for floor": {"inverse": 4 * sp.Symbol("d") + (2 * sp.Symbol("f") - 1) ** 2}},
}
"""By claim and description: the formulas that it then states."""


def mutants(claim: Claim) -> Iterator[tuple[str, Claim]]:
    """Each mutant with what was changed."""
    for description, formulas in HAND_MADE.get(claim.id, {}).items():
        yield description, claim.stating(**formulas)
    if claim.id.startswith(THEOREMS):
        yield from _other_factors(SURROGATES[claim.id.removeprefix(THEOREMS)])
    for name, formula in claim.stated.items():
        for factor in (sp.Rational(11, 10), sp.Rational(9, 10)):
            if formula == 0:
                continue
            yield f"{name} times {factor}", replace(claim, stated={**claim.stated, name: factor * formula})
    for hypothesis in claim.hypotheses:
        yield f"without '{hypothesis.name}'", claim.without(hypothesis.name)
    for place, witness in enumerate(claim.witnesses):
        name = next(iter(witness.values))
        wrong = replace(witness, values={**witness.values, name: _nudged(witness.values[name])})
        changed = (*claim.witnesses[:place], wrong, *claim.witnesses[place + 1 :])
        yield f"witness {place + 1} with another {name}", replace(claim, witnesses=changed)


def _other_factors(surrogate: Surrogate) -> Iterator[tuple[str, Claim]]:
    """What is proved of one factor, said of another: a higher one, one of another sign on an interval."""
    higher = sp.Rational(1001, 1000) * surrogate.factor
    yield "a height 1/1000 larger", theorems(replace(surrogate, factor=higher), surrogate)
    if surrogate.sign.sign.value == "indefinite":
        yield "the sign of its magnitude", theorems(replace(surrogate, factor=sp.Abs(surrogate.factor)), surrogate)
    else:
        here = (u > sp.Rational(1, 20)) & (u < sp.Rational(1, 10))
        flipped = sp.Piecewise((-surrogate.factor, here), (surrogate.factor, True))
        yield "the sign flipped on a short interval", theorems(replace(surrogate, factor=flipped), surrogate)


def _nudged(value: Any) -> Any:
    if isinstance(value, list):
        return [_nudged(value[0]), *value[1:]]
    return str(Fraction(value) + Fraction(1, 1000))


def caught_by(mutant: Claim) -> str:
    """What catches it: a step of the proof, the witness's replay, or the search; empty where nothing does."""
    symbolic = decide(replace(mutant, game=None, evaluate=None), quick=True)
    if symbolic.verdict is Verdict.OPEN and "does not replay" in symbolic.reason:
        return "replay"
    if symbolic.verdict is Verdict.OPEN and "step" in symbolic.reason:
        return "proof"
    numeric = decide(replace(mutant, proof=None, refutation=None, witnesses=()), quick=True)
    if mutant.expected is not Verdict.REFUTED and numeric.verdict is Verdict.REFUTED:
        return "search"
    return ""


THEORY = {name: claim for name, claim in CLAIMS.items() if not name.startswith(THEOREMS)}
TABLE = [tuple(row) for row in json.loads(FILE.read_text())]
CAUGHT = [row for row in TABLE if row[2]]
HARMLESS = {
    ("diagonal-scaling", "times"): "a positive multiple of an inequality is the same inequality",
    ("last-layer", "times"): "a positive multiple has the same sign",
    ("attack", "times"): "block descent finds the exact minimum on these nets, far inside 2%",
}
"""Changes that leave the statement true, with the reason."""


def test_every_claim_has_a_mutant_that_is_caught() -> None:
    assert {claim for claim, _, _ in CAUGHT} == set(THEORY)


def test_the_table_lists_every_mutant() -> None:
    made = [(claim.id, name) for claim in THEORY.values() for name, _ in mutants(claim)]
    assert sorted(made) == sorted((claim, name) for claim, name, _ in TABLE)


def test_only_harmless_changes_escape() -> None:
    escaped = [(claim, name) for claim, name, catcher in TABLE if not catcher]
    assert [pair for pair in escaped if not any((pair[0], word) in HARMLESS for word in pair[1].split())] == []


@pytest.mark.parametrize("name", THEORY)
def test_mutants_are_caught_as_the_table_says(name: str) -> None:
    found = {description: caught_by(mutant) for description, mutant in mutants(CLAIMS[name])}
    assert found == {description: catcher for claim, description, catcher in TABLE if claim == name}


@pytest.mark.parametrize("name", [name for name in CLAIMS if name not in THEORY])
def test_every_mutant_of_a_surrogates_theorems_is_caught(name: str) -> None:
    found = {description: caught_by(mutant) for description, mutant in mutants(CLAIMS[name])}
    assert found
    assert [description for description, catcher in found.items() if not catcher] == []


if __name__ == "__main__":
    rows = [[claim.id, name, caught_by(mutant)] for claim in THEORY.values() for name, mutant in mutants(claim)]
    FILE.write_text("[\n" + ",\n".join(map(json.dumps, rows)) + "\n]\n")
