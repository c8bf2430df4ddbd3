"""A claim: a sentence of the theory as data, beside the two roads by which the referee decides it.

Three ideas meet here. A *claim* says what holds and in which scope; a *proof* is a sequence of checked steps
(`roads.steps`); a *game* is what an adversary may choose inside the scope, and by how much the statement then fails
(`roads.search`). The formulas that a claim states stand in `Claim.stated`: its proof and its game both read them there,
so that a wrong constant cannot hide in one road.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from enum import StrEnum
from typing import Any

import sympy as sp

from .roads.game import Comparison, Game
from .roads.steps import Step


class Verdict(StrEnum):
    """What the referee finds; computed, never declared."""

    PROVED = "PROVED"
    REFUTED = "REFUTED"
    SUPPORTED = "SUPPORTED"
    OPEN = "OPEN"


@dataclass(frozen=True)
class Scope:
    """Where a claim is said to hold, and at which sizes its proof is carried out.

    Attributes:
        network: which networks.
        samples: how many samples.
        gradient: the gradient of which parameters.
        factors: which backward factors.
        sizes: the family of sizes that the checked steps cover; beyond it the claim is only searched.
    """

    network: str = "any"
    samples: str = "one"
    gradient: str = "every layer"
    factors: str = "every positive factor"
    sizes: str = "any"

    def __str__(self) -> str:
        return "; ".join(f"{entry.name}: {getattr(self, entry.name)}" for entry in fields(self))


@dataclass(frozen=True)
class Hypothesis:
    """What a claim assumes, by name; dropping it must let the search find a counterexample.

    Attributes:
        name: how proofs (`given`) and games (`Draw.holds`) refer to it.
        statement: the assumption as a sentence.
        unneeded: why no counterexample exists without it; empty where the hypothesis is needed.
    """

    name: str
    statement: str
    unneeded: str = ""


@dataclass(frozen=True)
class Witness:
    """An exact example as data: JSON values only, numbers as exact fractions in strings.

    Attributes:
        shows: what a reader sees in it.
        kind: which replay reads ``data``; a key of `roads.replay.KINDS`.
        data: the example, small enough to check by hand.
        values: what the replays must give.
        refutes: whether it contradicts the claim; otherwise it shows that a bound is attained.
    """

    shows: str
    kind: str
    data: Mapping[str, Any]
    values: Mapping[str, Any]
    refutes: bool = True

    def as_json(self) -> dict[str, Any]:
        """The witness as JSON values."""
        role = "refutes" if self.refutes else "attains"
        return {"shows": self.shows, "role": role, "kind": self.kind, **self.data, "values": dict(self.values)}


Stated = Mapping[str, sp.Expr]


@dataclass(frozen=True)
class Claim:
    """A sentence of the theory.

    Attributes:
        id: what `downslope verify ID` takes.
        title: a few words for tables.
        statement: the sentence, in text.
        latex: the sentence's formula, in LaTeX without dollar signs.
        expected: the verdict in print; `verify` fails where it finds another.
        source: author, year; where a published statement was put right, how.
        scope: where it is said to hold.
        hypotheses: what it assumes, by name.
        uses: ids of the claims that its proof or its refutation rests on.
        stated: the formulas of the statement by name. Proof, game and evaluation read them here.
        proof: yields the checked steps, given ``stated``.
        refutation: yields the checked steps that contradict the statement; never beside a proof.
        game: what an adversary may choose, and the excess by which the statement then fails.
        evaluate: yields comparisons of stated formulas with an independent evaluation, given ``stated`` and an effort
            of 1 (full) or below 1 (quick).
        witnesses: exact examples that refute it, or at which its bound is attained.
        seconds: its time; a claim that is not decided in it is OPEN.
    """

    id: str
    statement: str
    expected: Verdict
    title: str = ""
    latex: str = ""
    source: str = ""
    scope: Scope = Scope()
    hypotheses: tuple[Hypothesis, ...] = ()
    uses: tuple[str, ...] = ()
    stated: Stated = field(default_factory=dict)
    proof: Callable[[Stated], Iterator[Step]] | None = None
    refutation: Callable[[Stated], Iterator[Step]] | None = None
    game: Game | None = None
    evaluate: Callable[[Stated, float], Iterator[Comparison]] | None = None
    witnesses: tuple[Witness, ...] = ()
    seconds: float = 120.0

    def without(self, hypothesis: str) -> Claim:
        """The same claim in the wider scope where ``hypothesis`` is not assumed; its proof no longer applies.

        Raises:
            KeyError: the claim has no such hypothesis.
        """
        kept = tuple(h for h in self.hypotheses if h.name != hypothesis)
        if len(kept) == len(self.hypotheses):
            raise KeyError(f"{self.id} has no hypothesis {hypothesis!r}")
        return replace(self, hypotheses=kept, proof=None, evaluate=None)

    def stating(self, **formulas: sp.Expr) -> Claim:
        """The same claim with other formulas in its statement, by name.

        Raises:
            KeyError: the statement has no formula of that name.
        """
        strangers = set(formulas) - set(self.stated)
        if strangers:
            raise KeyError(f"{self.id} states no {', '.join(sorted(strangers))}")
        return replace(self, stated={**self.stated, **formulas})
