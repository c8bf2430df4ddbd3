"""The claims as the page shows them: by chapter, each with its verdict and with what it rests on."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ...proofs.chapters import CHAPTERS

Claims = Sequence[Mapping[str, Any]]
"""A mapping for each claim, as `downslope verify --json` prints them."""


@dataclass(frozen=True)
class Row:
    """One claim: its verdict, the verdict in print, how it was reached, and named details."""

    id: str
    title: str
    verdict: str
    expected: str
    roads: str
    details: tuple[tuple[str, str], ...]
    witness: str
    seconds: float

    @property
    def as_expected(self) -> bool:
        """Whether the verdict is the one in print."""
        return self.verdict == self.expected


def chapters(claims: Claims) -> list[tuple[str, list[Row]]]:
    """The claims by chapter, chapters in reading order; claims of no chapter come last."""
    of = {claim.id: name for name, members in CHAPTERS.items() for claim in members}
    found: dict[str, list[Row]] = {name: [] for name in (*CHAPTERS, "other")}
    for claim in claims:
        found[of.get(claim["id"], "other")].append(_row(claim))
    return [(name, rows) for name, rows in found.items() if rows]


def said(claims: Claims) -> str:
    """How many claims were decided, and whether as printed, in a sentence."""
    if not claims:
        return "No claim was decided in this run."
    counts = Counter(str(claim["verdict"]) for claim in claims)
    wrong = [str(claim["id"]) for claim in claims if str(claim["verdict"]) != str(claim["expected"])]
    as_printed = "each as printed" if not wrong else f"NOT as printed: {', '.join(wrong)}"
    verdicts = ", ".join(f"{number} {verdict}" for verdict, number in sorted(counts.items()))
    return f"{len(claims)} claims were decided when this page was made: {verdicts}, {as_printed}."


def flat(value: Any) -> str:
    """A value of JSON as one line."""
    if isinstance(value, Mapping):
        return "; ".join(f"{key}: {flat(each)}" for key, each in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(flat, value))
    return "unknown" if value is None else str(value)


def _lines(witness: Any) -> str:
    """An example as a line for each of its parts, numbers as the exact fractions that they are."""
    parts = witness.items() if isinstance(witness, Mapping) else [("example", witness)]
    return "\n".join(
        f"{name}: {part if isinstance(part, str) else json.dumps(part, default=str, ensure_ascii=False)}"
        for name, part in parts
    )


def _row(claim: Mapping[str, Any]) -> Row:
    witness = claim.get("witness") or claim.get("counterexample")
    details = {
        "statement": claim.get("statement"),
        "scope": flat(claim["scope"]),
        "rests on": flat(claim.get("uses") or ()),
        "why": claim.get("reason"),
        "source": claim["source"],
    }
    roads = {name: road["text"] for name, road in (claim.get("roads") or {}).items() if road}
    return Row(
        id=str(claim["id"]),
        title=str(claim["title"]),
        verdict=str(claim["verdict"]),
        expected=str(claim["expected"]),
        roads=flat(roads),
        details=tuple((name, str(value)) for name, value in details.items() if value),
        witness="\n\n".join(map(_lines, witness if isinstance(witness, list) else [witness])) if witness else "",
        seconds=float(claim["seconds"]),
    )
