"""Margins and certificates as plain records (JSON) and as a table for the terminal."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from rich.console import Console
from rich.table import Table

from ...surrogates.surrogate import Surrogate
from .certificate.certificate import Certificate
from .margin import Margin
from .passes import DescentMargins


def records(margins: DescentMargins, surrogates: Iterable[Surrogate] = ()) -> dict[str, Any]:
    """One JSON document; an infinite number is the text "inf", since JSON has none."""
    listed = list(surrogates)
    return {
        "loss": margins.loss,
        "frozen": list(margins.frozen),
        "unused": list(margins.unused),
        "margins": [_margin(margin, listed) for margin in margins],
    }


def certificate_record(certificate: Certificate) -> dict[str, Any]:
    """One JSON document, without the witness's factors."""
    return {
        "certified": _number(certificate.certified),
        "attacked": _number(certificate.attacked),
        "method": certificate.method,
        "places": list(certificate.places),
    }


def show(record: Mapping[str, Any], console: Console) -> None:
    """The records as a table."""
    table = Table("place", "kappa*", "C+", "C-", "|g|^2", "inside its margin", "outside", "undecided")
    for m in record["margins"]:
        standing = {s: [n for n, v in m["spreads"].items() if v["standing"] == s] for s in _STANDINGS}
        shown = (", ".join(standing[s]) or "-" for s in _STANDINGS)
        star = m["reason"] or _text(m["kappa_star"])
        table.add_row(m["place"], star, *(_text(m[k]) for k in ("positive", "negative", "norm_squared")), *shown)
    console.print(table)
    if record["frozen"]:
        console.print(f"frozen, not counted: {', '.join(record['frozen'])}")
    if record["unused"]:
        console.print(f"unused by the loss: {', '.join(record['unused'])}")
    if certificate := record.get("certificate"):
        console.print(
            f"all {len(certificate['places'])} activations at once ({certificate['method']}): every replacement "
            f"descends up to kappa {_text(certificate['certified'])}; one was found that does not at "
            f"{_text(certificate['attacked'])}"
        )


_STANDINGS = ("inside", "outside", "undecided")


def _margin(margin: Margin, surrogates: list[Surrogate]) -> dict[str, Any]:
    return {
        "place": str(margin.place),
        "module": margin.place.module,
        "call": margin.place.call,
        "activation": margin.place.activation,
        "kappa_star": _number(margin.kappa_star),
        "reason": margin.reason,
        "positive": margin.positive,
        "negative": margin.negative,
        "around": margin.around,
        "norm_squared": margin.norm_squared,
        "below": list(margin.below),
        "spreads": {surrogate.name: _spread(margin, surrogate) for surrogate in surrogates},
    }


def _spread(margin: Margin, surrogate: Surrogate) -> dict[str, Any]:
    found = margin.spread(surrogate)
    numbers = {key: _number(getattr(found, key)) for key in ("least", "most", "kappa", "worst", "inner")}
    return {**numbers, "appeared": found.appeared, "standing": found.standing}


def _number(value: float | None) -> float | str | None:
    return str(value) if value is not None and not math.isfinite(value) else value


def _text(value: float | str | None) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
