"""A user's batches measured one after the other: a table for each."""

from __future__ import annotations

import hashlib
import itertools
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn

from ...errors import Refused
from ..inputs import out_of_memory
from ..measurement import measure
from ..measuring.remarks import ModeWarning, OwnBackwardWarning
from ..untie.reach import UnreachedWarning
from .fitting import Loss, first, moved, placed, tried
from .fitting import loss as named_loss
from .loading import batches, object_at
from .loading import model as loaded
from .options import check_measured, check_setting, reworded
from .summary import Summary, through

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Typed:
    """How the user named things; see `loading` and `fitting` for their forms.

    Attributes:
        model: ``file.py:factory``.
        data: ``file.py:batches``.
        weights: a safetensors file; the factory's own weights where ``None``.
        loss: a name, or ``file.py:function``.
        training: whether the model is put into training mode.
        device: where it is computed.
    """

    model: str
    data: str
    weights: str | None = None
    loss: str = "cross-entropy"
    training: bool = False
    device: str = "cpu"

    @property
    def provenance(self) -> dict[str, Any]:
        """The names, and what the file of weights held."""
        said = {name: getattr(self, name) for name in ("model", "data", "weights", "loss")}
        if self.weights is not None:
            said["weights_sha256"] = hashlib.sha256(Path(self.weights).read_bytes()).hexdigest()
        return said


@dataclass(frozen=True)
class What:
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
        per_sample: whether rows for each sample follow those of its batch.
    """

    surrogates: Sequence[str]
    activations: Sequence[str] = ()
    draws: int = 1
    seeds: Sequence[int] = (0,)
    reference: str = "exact"
    stage: str = ""
    samples: int | None = None
    batches: int | None = None
    per_sample: bool = False


def run(
    typed: Typed,
    what: What,
    out: Path | None = None,
    *,
    keep: bool = False,
    progress: Callable[[str, int], None] = lambda running, done: None,
) -> Summary:
    """Loads what the user named, measures each batch, and streams the rows to a file where one is named.

    Args:
        typed: model, weights, data, loss.
        what: what to measure.
        out: a Parquet file, which appears whole at the end.
        keep: whether the summary keeps the rows, where no file does.
        progress: called with what was measured and the number of measurements done.

    Raises:
        Refused: something does not load or fit, or a batch cannot be measured; the message says what and which.
    """
    check_measured(what.surrogates, what.reference, what.activations, per_sample=what.per_sample)
    check_setting(typed.loss, typed.device, typed.weights, out)
    model = placed(loaded(typed.model, typed.weights, training=typed.training), typed.device)
    tables = measured(
        model,
        named_loss(typed.loss),
        batches(typed.data),
        what,
        network=typed.model,
        said=typed.provenance,
    )
    return through(_counted(tables, progress), out, keep=keep and out is None)


def measured(
    model: nn.Module,
    loss: Loss,
    pairs: Iterable[Any],
    what: What,
    *,
    network: str = "",
    said: Mapping[str, Any] | None = None,
) -> Iterator[pd.DataFrame]:
    """The table of `measure` for each batch and seed, with a column ``batch``, its number, and ``loss``, its loss.

    Args:
        model: as `measure` takes it.
        loss: as `measure` takes it.
        pairs: batches, (inputs, targets).
        what: what to measure of each.
        network: copied into each row.
        said: added to the provenance.

    Raises:
        Refused: as `measure`, naming the batch; or it does not fit into memory.
    """
    keys = [object_at(name, "--activation") if ".py:" in name else name for name in what.activations] or None
    more = dict(said or {}) | {"seed": list(what.seeds), "samples": what.samples}
    for number, pair in enumerate(itertools.islice(pairs, what.batches)):
        for seed in what.seeds:
            with told(number), _said_later():
                part = moved(first(pair, what.samples), model)
                tried(model, loss, part)
                table = measure(
                    model,
                    loss,
                    part,
                    what.surrogates,
                    activations=keys,
                    draws=what.draws,
                    seed=seed,
                    reference=what.reference,
                    samples=what.per_sample,
                    network=network,
                    stage=what.stage,
                )
            table.insert(list(table).index("sample"), "batch", number)
            table["loss"] = table.attrs.pop("loss")
            table.attrs |= more
            yield table


@contextmanager
def _said_later() -> Iterator[None]:
    """Of the model's mode and of what was not untied: both stand in the provenance, and are printed with the table."""
    with warnings.catch_warnings():
        for category in (ModeWarning, OwnBackwardWarning, UnreachedWarning):
            warnings.simplefilter("ignore", category)
        yield


def _counted(tables: Iterable[pd.DataFrame], progress: Callable[[str, int], None]) -> Iterator[pd.DataFrame]:
    for done, table in enumerate(tables, start=1):
        progress(f"batch {table['batch'].iloc[0]}", done)
        yield table


@contextmanager
def told(number: int | None) -> Iterator[None]:
    """A refusal names the batch, where it is one of several, and options as typed; memory that ends is one."""
    head = "" if number is None else f"batch {number}: "
    try:
        yield
    except Refused as refusal:
        raise Refused(f"{head}{reworded(str(refusal))}") from refusal
    except (RuntimeError, MemoryError) as error:
        if not out_of_memory(error):
            raise
        raise Refused(
            f"{head}it does not fit into memory ({(str(error) or 'MemoryError').splitlines()[0]}). The "
            f"gradient is one of the whole batch, so it cannot be taken in parts: give smaller batches, or --samples N."
        ) from error
