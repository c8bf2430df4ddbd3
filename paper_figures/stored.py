"""The stored tables of a folder: what `downslope report` left there, or tables of the same columns by another hand."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import pandas as pd

from ..analysis.errors import Refused
from ..analysis.gradients import table as measurement

DEVIATIONS = "deviations"


def file(table: str) -> str:
    """The name of a table's file.

    >>> file("margins")
    'margins.parquet'
    """
    return f"{table}.parquet"


def read(folder: Path, wanted: Collection[str]) -> dict[str, pd.DataFrame]:
    """The tables that are there, by name.

    Args:
        folder: that holds ``NAME.parquet`` for each table; other files are left alone.
        wanted: names of tables.

    Raises:
        Refused: there is no such folder, it holds none of them, or one of them is damaged or of another version.
    """
    if not folder.is_dir():
        raise Refused(f"--data {folder} is no folder: name one that holds tables, as `downslope report` leaves it.")
    found = {name: _read(folder / file(name)) for name in wanted if (folder / file(name)).is_file()}
    if not found:
        raise Refused(
            f"--data {folder} holds none of {', '.join(map(file, wanted))}: run `downslope report` first, or put "
            f"tables of your own there (docs/figures.md says which columns they need)."
        )
    return found


def _read(path: Path) -> pd.DataFrame:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        said = pq.read_schema(path).metadata or {}
        # A measurement of ours says its schema; a table by another hand says none, and its columns alone are asked for.
        if path.stem == DEVIATIONS and b"downslope" in said:
            return measurement.read(path)
        return pd.read_parquet(path)
    except (pa.ArrowException, OSError, ValueError) as error:
        first = (str(error) or type(error).__name__).splitlines()[0]
        raise Refused(f"--data {path.parent}: {path.name} is no whole Parquet file ({first}).") from error
