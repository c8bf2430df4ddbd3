"""Margins and certificates as plain records (JSON) and as a table for the terminal."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch import nn

from ...surrogates.catalogue import SURROGATES
from ...surrogates.lookup import surrogate
from ...surrogates.surrogate import Surrogate
from .certificate.certificate import Certificate
from .certificate.certificate import certify as certify_all
from .descent import descent_margin
from .margin import Margin
from .walk.inputs import Loss


def record(
    model: nn.Module, loss: Loss, batch: tuple[Any, Any], surrogates: Sequence[str] = (), *, certify: bool = False
) -> dict[str, Any]:
    """The margins of a model as one JSON document; an infinite number is the text "inf", since JSON has none.

    Args:
        model: as in `descent_margin`.
        loss: ``loss(model(x), y)``.
        batch: ``(x, y)``.
        surrogates: names of those whose spread to add at each place; the whole catalogue where empty.
        certify: whether to bound all activations together as well; the model must be a chain then.
    """
    chosen = [surrogate(name) for name in surrogates] or list(SURROGATES.values())
    margins = descent_margin(model, loss, batch)
    found = {
        "loss": margins.loss,
        "frozen": list(margins.frozen),
        "unused": list(margins.unused),
        "unreached": list(margins.unreached),
        "margins": [_margin(margin, chosen) for margin in margins],
    }
    return found | {"certificate": _certificate(certify_all(model, loss, batch)) if certify else None}


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
    for heading in ("place", "kappa*", "surrogate", "its kappa", "its <g, g~>/|g|^2", "standing"):
        table.add_column(heading, overflow="fold")  # a name that is cut is another name
    for m in found["margins"]:
        head = (m["place"], m["reason"] or _text(m["kappa_star"]))
        for name, spread in m["spreads"].items():
            share = spread["inner"] / m["norm_squared"] if spread["inner"] is not None and m["norm_squared"] else None
            table.add_row(*head, name, _text(spread["kappa"]), _text(share), spread["standing"])
            head = ("", "")
        table.add_section()
    console.print(table)
    if found["frozen"]:
        console.print(f"frozen, not counted: {', '.join(found['frozen'])}")
    if found["unused"]:
        console.print(f"unused by the loss: {', '.join(found['unused'])}")
    if found["unreached"]:
        console.print(f"activations out of reach, with their own derivatives: {', '.join(found['unreached'])}")
    if certificate := found.get("certificate"):
        console.print(
            f"all {len(certificate['places'])} activations at once ({certificate['method']}): every replacement "
            f"descends up to kappa {_text(certificate['certified'])}; one was found that does not at "
            f"{_text(certificate['attacked'])}"
        )


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
        "spreads": {each.name: _spread(margin, each) for each in surrogates},
    }


def _spread(margin: Margin, each: Surrogate) -> dict[str, Any]:
    found = margin.spread(each, torch.Generator().manual_seed(0))
    numbers = {key: _number(getattr(found, key)) for key in ("least", "most", "kappa", "worst", "inner")}
    return {**numbers, "appeared": found.appeared, "standing": found.standing}


def _number(value: float | None) -> float | str | None:
    return str(value) if value is not None and not math.isfinite(value) else value


def _text(value: float | str | None) -> str:
    return f"{value:.4g}" if isinstance(value, float) else "-" if value is None else value
