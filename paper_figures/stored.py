"""The stored tables of a folder: what `downslope report` left there, or tables of the same columns by another hand."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from pathlib import Path

import pandas as pd

from ..analysis.errors import Refused
from ..analysis.gradients import table as measurement

DEVIATIONS = "deviations"

SHORTENED = "shortened"
"""Where in a table's provenance stands, in a sentence, how the work behind it was cut short."""


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


def marked(tables: Mapping[str, pd.DataFrame], short: Mapping[str, str]) -> dict[str, pd.DataFrame]:
    """The tables, each of which says in its provenance how the work behind it was cut short: that is stored with it.

    >>> tables = marked({"curves": pd.DataFrame(), "samples": pd.DataFrame()}, {"curves": "1 seed.", "samples": ""})
    >>> shortened(tables)
    {'curves': '1 seed.'}
    """
    found = {name: table.copy(deep=False) for name, table in tables.items()}
    for name, table in found.items():
        table.attrs = {**table.attrs, SHORTENED: short.get(name, "")}
    return found


def shortened(tables: Mapping[str, pd.DataFrame]) -> dict[str, str]:
    """Of the tables that say so, how the work behind each was cut short."""
    return {name: str(table.attrs[SHORTENED]) for name, table in tables.items() if table.attrs.get(SHORTENED)}


def _read(path: Path) -> pd.DataFrame:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        said = pq.read_schema(path).metadata or {}
        # A measurement of ours says its schema; a table by another hand says none, and its columns alone are asked for.
        if path.stem == DEVIATIONS and measurement.KEY in said:
            return measurement.read(path)
        table = pd.read_parquet(path)
        provenance = json.loads(said.get(measurement.KEY, b"{}"))
        table.attrs = {SHORTENED: provenance.get(SHORTENED, "")} if isinstance(provenance, dict) else {}
        return table
    except (pa.ArrowException, OSError, ValueError) as error:
        first = (str(error) or type(error).__name__).splitlines()[0]
        raise Refused(f"--data {path.parent}: {path.name} is no whole Parquet file ({first}).") from error
