"""Margins and certificates as plain records (JSON) and as a table for the terminal."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from rich.text import Text
from torch import nn

from ...errors import Refused
from ...surrogates.catalogue import SURROGATES
from ...surrogates.lookup import surrogate
from ...surrogates.surrogate import Surrogate
from ..untie.matching import label
from .certificate.certificate import Certificate
from .certificate.certificate import certify as certify_all
from .descent import descent_margin
from .margin import Margin
from .walk.inputs import Loss

SHARES = ("worst <g, g~>/|g|^2", "its <g, g~>/|g|^2")

DECIDED = (
    "standing: of all factors psi/phi' between least and most, the worst have the least factor where a unit helps and "
    "the most where it harms. inside: their <g, g~> is positive, so all such factors descend (with no path around the "
    "activation that is: its kappa < kappa*); outside: it is negative, so some ascend (the surrogate itself only where "
    "its own <g, g~> is negative); undecided: psi acts where phi' is zero, kappa* is undefined, or rounding decides."
)

AROUND = (
    "paths lead around these, so kappa* is for factors in [1, kappa*] and their size counts, not their ratio alone (a "
    "surrogate's standing counts it): "
)

UNASKED = "not asked for"


def record(
    model: nn.Module,
    loss: Loss,
    batch: tuple[Any, Any],
    surrogates: Sequence[str] = (),
    *,
    certify: bool = False,
    seed: int = 0,
) -> dict[str, Any]:
    """The margins of a model as one JSON document; an infinite number is the text "inf", since JSON has none.

    Args:
        model: as in `descent_margin`.
        loss: ``loss(model(x), y)``.
        batch: ``(x, y)``.
        surrogates: names of those whose spread to add at each place; the whole catalogue where empty.
        certify: whether to bound all activations together as well; where that cannot be done ``certificate`` is
            ``None`` and ``certificate_reason`` says why.
        seed: of the one draw of each random surrogate.
    """
    chosen = [surrogate(name) for name in surrogates] or list(SURROGATES.values())
    margins = descent_margin(model, loss, batch)
    found = {
        "loss": margins.loss,
        "frozen": list(margins.frozen),
        "unused": list(margins.unused),
        "unreached": list(margins.unreached),
        "seed": seed,
        "margins": [_margin(margin, chosen, seed) for margin in margins],
    }
    if not certify:
        return found | {"certificate": None, "certificate_reason": UNASKED}
    try:
        return found | {"certificate": _certificate(certify_all(model, loss, batch)), "certificate_reason": ""}
    except Refused as refusal:  # the margins above hold all the same
        return found | {"certificate": None, "certificate_reason": str(refusal).removeprefix("certify(model=...): ")}


def _certificate(certificate: Certificate) -> dict[str, Any]:
    return {
        "certified": _number(certificate.certified),
        "attacked": _number(certificate.attacked),
        "method": certificate.method,
        "places": list(certificate.places),
    }


def show(found: Mapping[str, Any], console: Console) -> None:
    """What `record` gave, as a table."""
    table = Table()
    for heading in ("place", "kappa*", "surrogate", "least", "most", "its kappa", *SHARES, "standing"):
        table.add_column(heading, overflow="fold")  # a name that is cut is another name
    for m in found["margins"]:
        head = (m["place"], m["reason"] or _text(m["kappa_star"]))
        for name, spread in m["spreads"].items():
            factors = (_text(spread[key]) for key in ("least", "most", "kappa"))
            shares = (_text(_share(spread[key], m["norm_squared"])) for key in ("worst", "inner"))
            table.add_row(*head, name, *factors, *shares, spread["standing"])
            head = ("", "")
        table.add_section()
    console.print(table)
    console.print(DECIDED)
    if around := [m["place"] for m in found["margins"] if m["around"]]:
        console.print(Text(f"{AROUND}{', '.join(around)}"))
    if found["frozen"]:
        console.print(f"frozen, not counted: {', '.join(found['frozen'])}")
    if found["unused"]:
        console.print(f"unused by the loss: {', '.join(found['unused'])}")
    if found["unreached"]:
        console.print(f"activations out of reach, with their own derivatives: {', '.join(found['unreached'])}")
    if certificate := found.get("certificate"):
        console.print(
            f"all {len(certificate['places'])} activations at once, <g, g~> over all trainable parameters "
            f"({certificate['method']}): every replacement descends up to kappa {_text(certificate['certified'])}; one "
            f"was found that does not at {_text(certificate['attacked'])}"
        )
    elif reason := found.get("certificate_reason", "").removeprefix(UNASKED):
        console.print(Text(f"no certificate: {reason}"))


def _margin(margin: Margin, surrogates: list[Surrogate], seed: int) -> dict[str, Any]:
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
        "spreads": {label(each): _spread(margin, each, seed) for each in surrogates},
    }


def _spread(margin: Margin, each: Surrogate, seed: int) -> dict[str, Any]:
    found = margin.spread(each, torch.Generator().manual_seed(seed))
    numbers = {key: _number(getattr(found, key)) for key in ("least", "most", "kappa", "worst", "inner")}
    return {**numbers, "appeared": found.appeared, "standing": found.standing}


def _share(value: float | str | None, whole: float) -> float | None:
    return float(value) / whole if value is not None and whole else None


def _number(value: float | None) -> float | str | None:
    return str(value) if value is not None and not math.isfinite(value) else value


def _text(value: float | str | None) -> str:
    return f"{value:.4g}" if isinstance(value, float) else "-" if value is None else value
