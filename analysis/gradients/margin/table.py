"""Margins and certificates as plain records (JSON) and as a table for the terminal."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
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
from .replay import Replay
from .walk.inputs import Loss

SHARES = ("worst", "own")

BEYOND = 1.01
"""A little beyond kappa*, in its units: there the witness is replayed, and a step along it raises the loss."""

DECIDED = (
    "least, most: the surrogate's factors psi/phi'; kappa = most/least. worst: the least <g, g~>/|g|^2 of any factors "
    "between them (the least where a unit helps, the most where it harms); own: that of the surrogate itself.\n"
    "standing: inside: worst is positive, so all such factors descend (with no path around the activation that is: "
    "kappa < kappa*); outside: worst is negative, so some ascend (the surrogate itself only where own is negative). "
    "Where that cannot be said (psi acts where phi' is zero, or rounding decides), what the surrogate itself does: "
    "descends or ascends; undecided: own is zero to rounding."
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
    above = certificate.above
    return {
        "certified": _number(certificate.certified),
        "attacked": _number(certificate.attacked),
        "method": certificate.method,
        "places": list(certificate.places),
        "raised": above and {place: int((t > 1).sum()) for place, t in above.factors.items()},
        "replayed": above and _beyond(certificate.attacked, certificate.replay),
    }


def show(found: Mapping[str, Any], console: Console) -> None:
    """What `record` gave: a table for each place, at most 80 columns wide, then what holds of all."""
    for m in found["margins"]:
        console.print(Text(f"{m['place']}: kappa* {m['reason'] or _text(m['kappa_star'])}", style="bold"))
        console.print(_spreads(m))
        if m["replayed"]:
            console.print(Text(_told(m["replayed"])))
        console.print()
    console.print(Text(DECIDED))
    if around := [m["place"] for m in found["margins"] if m["around"]]:
        console.print(Text(f"{AROUND}{', '.join(around)}"))
    if found["frozen"]:
        console.print(Text(f"frozen, not counted: {', '.join(found['frozen'])}"))
    if found["unused"]:
        console.print(Text(f"unused by the loss: {', '.join(found['unused'])}"))
    if found["unreached"]:
        console.print(Text(f"activations out of reach, with their own derivatives: {', '.join(found['unreached'])}"))
    if certificate := found.get("certificate"):
        many = len(certificate["places"])
        which = "the one activation" if many == 1 else f"all {many} activations at once"
        console.print(
            f"{which}, <g, g~> over all trainable parameters "
            f"({certificate['method']}): every replacement descends up to kappa {_text(certificate['certified'])}; one "
            f"was found that does not at {_text(certificate['attacked'])} (kappa* above replaces one activation and "
            f"counts the parameters below it alone, so either may be the larger)"
        )
        if certificate["replayed"]:
            console.print(Text(_told(certificate["replayed"])))
    elif reason := found.get("certificate_reason", "").removeprefix(UNASKED):
        console.print(Text(f"no certificate: {reason}"))


def _spreads(m: Mapping[str, Any]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("surrogate", overflow="fold")  # a name that is cut is another name
    for heading in ("least", "most", "kappa", *SHARES, "standing"):
        table.add_column(heading, no_wrap=True, justify="left" if heading == "standing" else "right")
    for name, spread in m["spreads"].items():
        factors = (_text(spread[key], 3) for key in ("least", "most", "kappa"))
        shares = (_text(_share(spread[key], m["norm_squared"]), 3) for key in ("worst", "inner"))
        decided = spread["standing"] if spread["standing"] != "undecided" else spread["itself"]
        table.add_row(name, *factors, *shares, decided)
    return table


def _told(replayed: Mapping[str, Any]) -> str:
    """A replay in a sentence, or why there is none."""
    if replayed["reason"]:
        return f"not replayed by real backward passes: {replayed['reason']}"
    share = _text(_share(replayed["inner_beyond"], replayed["norm_squared"]), 3)
    said = f"replayed by real backward passes ({replayed['dtype']}):"
    if "inner_at" in replayed:
        said += f" at kappa* <g, g~>/|g|^2 is {_text(_share(replayed['inner_at'], replayed['norm_squared']), 3)};"
    said += f" at kappa {_text(replayed['kappa_beyond'])} it is {share}, "
    if replayed["step"] is None:
        return f"{said}but along -g~ no step was found that raises the loss by more than rounding as first order says."
    rise = replayed["loss_after"] - replayed["loss"]
    return f"{said}and a step of {replayed['step']:.3g} g~ raises the loss, {replayed['loss']:.6g}, by {rise:.3g}."


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
        "replayed": _replayed(margin),
        "spreads": {label(each): _spread(margin, each, seed) for each in surrogates},
    }


def _replayed(margin: Margin) -> dict[str, Any] | None:
    """The witness of a margin at kappa* and a little beyond, by real backward passes; ``None`` without a finite one."""
    if margin.kappa_star is None or not math.isfinite(margin.kappa_star):
        return None
    kappa = BEYOND * margin.kappa_star
    beyond = _beyond(kappa, lambda: margin.replay(kappa))
    return {"inner_at": None if beyond["reason"] else margin.replay().inner} | beyond


def _beyond(kappa: float, replay: Callable[[], Replay]) -> dict[str, Any]:
    """A replay's numbers; where it is refused they are ``None`` and ``reason`` says why: the bound holds without it."""
    try:
        found = replay()
    except Refused as refusal:
        numbers = ("inner_beyond", "norm_squared", "step", "loss", "loss_after", "dtype")
        return {"kappa_beyond": kappa} | dict.fromkeys(numbers) | {"reason": str(refusal)}
    step, after = found.rise() or (None, None)
    return {
        "kappa_beyond": kappa,
        "inner_beyond": found.inner,
        "norm_squared": found.norm_squared,
        "step": step,
        "loss": found.loss,
        "loss_after": after,
        "dtype": str(found.dtype).removeprefix("torch."),
        "reason": "",
    }


def _spread(margin: Margin, each: Surrogate, seed: int) -> dict[str, Any]:
    found = margin.spread(each, torch.Generator().manual_seed(seed))
    numbers = {key: _number(getattr(found, key)) for key in ("least", "most", "kappa", "worst", "inner")}
    return {**numbers, "appeared": found.appeared, "standing": found.standing, "itself": found.itself}


def _share(value: float | str | None, whole: float) -> float | None:
    return float(value) / whole if value is not None and whole else None


def _number(value: float | None) -> float | str | None:
    return str(value) if value is not None and not math.isfinite(value) else value


def _text(value: float | str | None, digits: int = 4) -> str:
    return f"{value:.{digits}g}" if isinstance(value, float) else "-" if value is None else value
