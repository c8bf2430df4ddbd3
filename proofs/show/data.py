"""Results as JSON values; strict JSON, numbers that float64 cannot hold as strings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from ..referee import Result, Road, printable


def _road(road: Road | None) -> dict[str, str] | None:
    return None if road is None else {"verdict": str(road.verdict), "text": road.text}


def as_json(results: Sequence[Result]) -> dict[str, Any]:
    """`{"claims": [...]}`: of each claim what it says, what was found, and by which road."""
    return {"claims": [_claim(result) for result in results]}


def _claim(result: Result) -> dict[str, Any]:
    claim = result.claim
    needs = {need.hypothesis.name: need for need in result.needs}
    return {
        "id": claim.id,
        "title": claim.title,
        "statement": claim.statement,
        "latex": claim.latex,
        "source": claim.source,
        "verdict": str(result.verdict),
        "expected": str(claim.expected),
        "reason": result.reason,
        "scope": asdict(claim.scope),
        "roads": {"symbolic": _road(result.symbolic), "search": _road(result.search)},
        "uses": list(claim.uses),
        "hypotheses": [
            {
                "name": hypothesis.name,
                "statement": hypothesis.statement,
                "unneeded": hypothesis.unneeded or None,
                "counterexample_without": needs[hypothesis.name].counterexample if hypothesis.name in needs else None,
            }
            for hypothesis in claim.hypotheses
        ],
        "witness": [witness.as_json() for witness in claim.witnesses] or None,
        "counterexample": result.counterexample,
        "comparisons": [printable(asdict(comparison)) for comparison in result.comparisons],
        "seconds": round(result.seconds, 3),
    }
