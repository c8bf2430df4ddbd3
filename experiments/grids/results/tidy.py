"""The results as tidy tables: what a figure is drawn from, with their provenance, as Parquet in the run folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ....analysis.gradients.table import provenance, write
from ..grid import Grid
from ..job import Record

if TYPE_CHECKING:
    import pandas as pd


def keep(folder: Path, grid: Grid, records: Sequence[Record], device: str) -> None:
    """Write ``curves.parquet`` and ``grid.parquet``; a grid that trains nothing has neither.

    Raises:
        Refused: the folder cannot be written.
    """
    if grid.task != "train":
        return
    for name, table in (("curves", curves(records)), ("grid", runs(records))):
        table.attrs = provenance(device=device, threads=1, grid=grid.name, seeds=list(grid.seeds))
        write(table, folder / f"{name}.parquet")


def curves(records: Sequence[Record]) -> pd.DataFrame:
    """A row for each run, epoch and split: its coordinates, ``loss`` and ``accuracy`` (a fraction)."""
    import pandas as pd

    return pd.DataFrame(
        [
            _coordinates(record)
            | {
                "trained": record.cell.rule,
                "epoch": epoch,
                "step": record.curve["step"][place],
                "split": split,
                "loss": record.curve[f"{split}_loss"][place],
                "accuracy": record.curve[f"{split}_accuracy"][place],
            }
            for record in records
            for place, epoch in enumerate(record.curve["epoch"])
            for split in ("train", "test")
        ]
    )


def runs(records: Sequence[Record]) -> pd.DataFrame:
    """A row for each run: ``final_accuracy``, missing where it diverged; ``alignment``, missing where not measured.

    Alignment is the mean cosine to the exact gradient over the measured epochs.
    """
    import pandas as pd

    rows = []
    for record in records:
        cosines = [row["cosine"] for row in record.measured if row["cosine"] is not None]
        rows.append(
            _coordinates(record)
            | {
                "final_accuracy": record.final("test_accuracy"),
                "alignment": sum(cosines) / len(cosines) if cosines else None,
                "diverged": record.diverged is not None,
            }
        )
    return pd.DataFrame(rows).astype({"final_accuracy": "float64", "alignment": "float64"})


def _coordinates(record: Record) -> dict[str, object]:
    cell = record.cell
    return {
        "network": cell.network,
        "seed": cell.seed,
        "forward": cell.forward,
        "rule": cell.rule,
        "learning_rate": cell.learning_rate,
        "batch": cell.batch,
    }
