"""A user's batches measured one after the other: a table for each."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn

from ...errors import Refused
from ..measurement import measure
from .fitting import Loss, first, moved, placed, remarks, tried
from .loading import object_at, out_of_memory

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Asked:
    """What is measured of each batch.

    Attributes:
        surrogates: names.
        activations: which to untie, by name, or ``file.py:Class`` of a module of one's own; all that run where empty.
        draws: of each random surrogate.
        seeds: one measurement for each.
        reference: as `measure` takes it.
        stage: copied into each row.
        samples: only the first so many of each batch.
        batches: only the first so many batches.
        device: where it is computed.
    """

    surrogates: Sequence[str]
    activations: Sequence[str] = ()
    draws: int = 1
    seeds: Sequence[int] = (0,)
    reference: str = "exact"
    stage: str = ""
    samples: int | None = None
    batches: int | None = None
    device: str = "cpu"


def measured(
    model: nn.Module,
    loss: Loss,
    batches: Iterable[Any],
    asked: Asked,
    given: Mapping[str, Any],
    *,
    progress: Callable[[str, int], None] = lambda running, done: None,
) -> Iterator[pd.DataFrame]:
    """The table of `measure` for each batch and seed, with a column ``batch``, its number, and ``loss``, its loss.

    Args:
        model: as `measure` takes it.
        loss: as `measure` takes it.
        batches: pairs (inputs, targets).
        asked: what to measure.
        given: how the user named model, weights, data and loss; it goes into the provenance.
        progress: called with what was measured and the number of measurements done.

    Raises:
        Refused: as `measure`, naming the batch; or it does not fit into memory.
    """
    keys = [object_at(name, "--activation") if ".py:" in name else name for name in asked.activations] or None
    model, said = placed(model, asked.device), provenance_of(given) | {"remarks": remarks(model)}
    done = itertools.count(1)
    for number, batch in enumerate(itertools.islice(batches, asked.batches)):
        for seed in asked.seeds:
            with _told(number):
                part = moved(first(batch, asked.samples), asked.device)
                tried(model, loss, part)
                table = measure(
                    model,
                    loss,
                    part,
                    asked.surrogates,
                    activations=keys,
                    draws=asked.draws,
                    seed=seed,
                    reference=asked.reference,
                    network=str(given.get("model", "")),
                    stage=asked.stage,
                )
            table.insert(list(table).index("sample"), "batch", number)
            table["loss"] = table.attrs.pop("loss")
            table.attrs |= said | {"seed": list(asked.seeds), "samples": asked.samples}
            progress(f"batch {number}, seed {seed}", next(done))
            yield table


def provenance_of(given: Mapping[str, Any]) -> dict[str, Any]:
    """How the user named things, and what the files of weights held."""
    said = dict(given)
    if said.get("weights"):
        said["weights_sha256"] = hashlib.sha256(Path(said["weights"]).read_bytes()).hexdigest()
    return said


@contextmanager
def _told(number: int) -> Iterator[None]:
    """A refusal names the batch; memory that does not suffice is one."""
    try:
        yield
    except Refused as refusal:
        raise Refused(f"batch {number}: {refusal}") from refusal
    except (RuntimeError, MemoryError) as error:
        if not out_of_memory(error):
            raise
        raise Refused(
            f"batch {number}: it does not fit into memory ({(str(error) or 'MemoryError').splitlines()[0]}). The "
            f"gradient is one of the whole batch, so it cannot be taken in parts: give smaller batches, or --samples N."
        ) from error
