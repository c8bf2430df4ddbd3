"""Writing the report: the page and its tables, each file whole or not at all, the page last."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from ...analysis.gradients import table as measurement
from .. import files
from . import page

PAGE = "report.html"
TABLES = ("deviations.parquet", "curves.parquet", "claims.parquet")


def write(out: Path, contents: page.Contents, *, version: str, progress: page.Progress = page.quiet) -> list[Path]:
    """Write the tables and the page; returns their paths, the page first.

    Raises:
        Refused: ``out`` cannot be written to, or a table has nothing to draw.
    """
    files.folder(out)
    text = page.render(contents, files=TABLES, version=version, progress=progress)
    deviations = contents.deviations.copy(deep=False)
    deviations.attrs = dict(contents.provenance)
    measurement.write(deviations, out / TABLES[0])
    for name, table in zip(TABLES[1:], (contents.curves, claims_table(contents.claims)), strict=True):
        with files.whole(out / name) as beside:
            beside.write_bytes(_parquet(table, contents.provenance))
    with files.whole(out / PAGE) as beside:
        beside.write_text(text, encoding="utf-8")
    return [out / PAGE, *(out / name for name in TABLES)]


def claims_table(claims: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """The claims as a table: a row a claim, scope and witness as JSON text where they are not text."""
    columns = ["id", "title", "source", "verdict", "expected", "scope", "witness", "seconds"]

    def text(value: Any) -> Any:
        return value if isinstance(value, str | float | int) else json.dumps(value, default=str)

    rows = [{column: text(claim[column]) for column in columns} for claim in claims]
    return pd.DataFrame(rows, columns=columns)


def _parquet(table: pd.DataFrame, provenance: Mapping[Any, Any]) -> bytes:
    """A table as Parquet, its provenance in the file's metadata beside pandas' own."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    arrow = pa.Table.from_pandas(table, preserve_index=False)
    said = {b"downslope": json.dumps(dict(provenance)).encode()}
    sink = io.BytesIO()
    pq.write_table(arrow.replace_schema_metadata({**(arrow.schema.metadata or {}), **said}), sink)
    return sink.getvalue()
