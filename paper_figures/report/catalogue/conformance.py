"""The conformance checks of the catalogue as the page shows them: a row a surrogate, its outcomes counted, the reasons
of every note and failure beside it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd

from ....analysis.surrogates.checks.record import Outcome
from ....analysis.surrogates.checks.run import CHECKS

if TYPE_CHECKING:
    from ....analysis.surrogates.checks.present import Checked

OUTCOMES = (Outcome.VIOLATION, Outcome.EXPECTED, Outcome.NOTE, Outcome.PASSED, Outcome.SKIPPED)
TOLD = OUTCOMES[:3]
"""The outcomes whose reason the page gives."""

MEANING = {
    Outcome.VIOLATION: "the definition is wrong",
    Outcome.EXPECTED: "a failure by design, announced with its reason",
    Outcome.NOTE: "a choice worth knowing, no error",
    Outcome.PASSED: "no counterexample found",
    Outcome.SKIPPED: "the check does not apply",
}
COUNTED = {
    Outcome.EXPECTED: "expected to fail",
    Outcome.NOTE: "left a note",
    Outcome.PASSED: "passed",
    Outcome.SKIPPED: "did not apply",
}
COLUMNS = ("surrogate", "check", "outcome", "message", "counterexample")


@dataclass(frozen=True)
class Reason:
    """Why one check did not simply pass."""

    check: str
    outcome: str
    message: str
    python: str


@dataclass(frozen=True)
class Row:
    """One surrogate: how often each of `OUTCOMES` occurred, and the reasons."""

    name: str
    counts: tuple[int, ...]
    reasons: tuple[Reason, ...]
    command: str

    @property
    def failed(self) -> bool:
        """Whether a check failed that was not expected to."""
        return self.counts[0] > 0


def table(found: Iterable[Checked]) -> pd.DataFrame:
    """The records as a table of `COLUMNS`, a row a surrogate and check, counterexamples as JSON text."""
    rows = [
        (each.target, record.name, str(record.outcome), record.message, json.dumps(dict(record.counterexample)))
        for each in found
        for record in each.checks
    ]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def rows(checks: pd.DataFrame) -> list[Row]:
    """A row for each surrogate, in the table's order."""
    return [
        Row(
            name=str(name),
            counts=tuple(int((of["outcome"] == outcome).sum()) for outcome in OUTCOMES),
            reasons=tuple(_reason(record) for outcome in TOLD for _, record in of[of["outcome"] == outcome].iterrows()),
            command=f"downslope check {name}",
        )
        for name, of in checks.groupby("surrogate", sort=False)
    ]


def said(checks: pd.DataFrame) -> str:
    """How many checks there were and how they ended, in a sentence."""
    counts = checks["outcome"].value_counts()
    failed = checks.loc[checks["outcome"] == Outcome.VIOLATION, "surrogate"].unique().tolist()
    ended = ", ".join(f"{counts[outcome]:,} {word}" for outcome, word in COUNTED.items() if outcome in counts)
    bad = f"VIOLATIONS: {', '.join(map(str, failed))}" if failed else "none failed otherwise"
    return (
        f"{checks['surrogate'].nunique()} surrogates were put to {checks['check'].nunique()} checks when this "
        f"page was made: {ended}; {bad}."
    )


def sentences(checks: pd.DataFrame) -> list[tuple[str, str]]:
    """Each check of the table with the property that it looks for."""
    return [(str(name), CHECKS[name].sentence) for name in checks["check"].unique() if name in CHECKS]


def _reason(record: pd.Series) -> Reason:
    counterexample = json.loads(record["counterexample"])
    return Reason(record["check"], record["outcome"], record["message"], str(counterexample.get("python", "")))
