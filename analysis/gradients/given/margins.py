"""A user's batches, or one of ours, and the descent margins of each: the body of `downslope margin`."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text
from torch import nn

from ...errors import Refused
from ...files import whole
from ..margin import table
from .fitting import Loss, first, moved, placed, tried
from .fitting import loss as named_loss
from .loading import batches
from .loading import model as loaded
from .measuring import Typed, told
from .options import check_setting, check_surrogates


@dataclass(frozen=True)
class Margins:
    """What is asked of each batch.

    Attributes:
        surrogates: names of those whose factors to show; the catalogue where empty.
        samples: only the first so many of each batch.
        batches: the first so many batches; the first alone, as one document of its own, where ``None``.
        seed: of the one draw of each random surrogate.
        certify: whether to bound all activations together, too.
    """

    surrogates: tuple[str, ...] = ()
    samples: int | None = None
    batches: int | None = None
    seed: int = 0
    certify: bool = False

    def check(self, loss: str, device: str, weights: str | None = None, out: Path | None = None) -> None:
        """Refuses what is wrong with the options, before anything is loaded."""
        check_surrogates(self.surrogates)
        check_setting(loss, device, weights, out)


def of_users(typed: Typed, asked: Margins) -> dict[str, Any]:
    """The margins of a user's model on his batches.

    Raises:
        Refused: something does not load or fit, or has no margin; the message says what and, of several, which batch.
    """
    model = placed(loaded(typed.model, typed.weights), typed.device)
    return of_model(model, named_loss(typed.loss), batches(typed.data), asked)


def of_ours(model: nn.Module, loss: Loss, batch: Any, asked: Margins, network: str) -> dict[str, Any]:
    """The margins of a network of ours; a refusal of the model is one of the network, since that is what was typed."""
    try:
        return of_model(model, loss, [batch], asked)
    except Refused as refusal:
        raise Refused(str(refusal).replace("--model: ", f"--network {network}: ", 1)) from refusal


def of_model(model: nn.Module, loss: Loss, pairs: Iterable[Any], asked: Margins) -> dict[str, Any]:
    """What `margin.table.record` gives of the first batch; where batches are asked for, ``batches``: of each of them.

    Raises:
        Refused: as `descent_margin`.
    """
    records = []
    for number, pair in enumerate(itertools.islice(pairs, asked.batches or 1)):
        with told(None if asked.batches is None else number):
            part = moved(first(pair, asked.samples), model)
            tried(model, loss, part)
            found = table.record(model, loss, part, asked.surrogates, certify=asked.certify, seed=asked.seed)
        records.append({"batch": number} | found)
    return records[0] if asked.batches is None else {"batches": records}


def answer(found: Mapping[str, Any], out: Path | None, *, as_json: bool) -> None:
    """Prints the margins, as a table for each batch or as JSON; and writes that JSON to a file, which appears whole.

    Raises:
        Refused: the place cannot be written.
    """
    written = json.dumps(found, indent=2, allow_nan=False)
    if out is not None:
        try:
            with whole(out) as file:
                file.write(f"{written}\n".encode())
        except OSError as error:
            raise Refused(f"--out {out}: cannot write there: {error.strerror or error}.") from error
    if as_json:
        print(written)
        return
    console = Console()
    for record in found.get("batches", [found]):
        if "batches" in found:
            console.print(Text(f"batch {record['batch']}: loss {record['loss']:.6g}"))
        table.show(record, console)
