"""Writing the report: the page and its tables, each file whole or not at all, the page last."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from ...analysis.gradients import table as measurement
from ...proofs.chapters import CHAPTERS
from .. import files, stored
from . import page

PAGE = "report.html"


def write(out: Path, contents: page.Contents, *, version: str) -> list[Path]:
    """Write the tables and the page; returns their paths, the page first.

    Raises:
        Refused: ``out`` cannot be written to.
    """
    files.folder(out)
    text = page.render(contents, version=version)
    written = [_table(name, table, out, contents.provenance) for name, table in contents.tables.items()]
    return [files.text(out / PAGE, text), *written]


def claims_table(claims: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """The claims as a table: a row a claim, what is not text or a number as JSON text."""
    columns = ["id", "title", "source", "verdict", "expected", "scope", "witness", "seconds"]
    chapter = {claim.id: name for name, members in CHAPTERS.items() for claim in members}

    def text(value: Any) -> Any:
        return value if isinstance(value, str | float | int) else json.dumps(value, default=str)

    rows = [
        {column: text(claim[column]) for column in columns}
        | {"chapter": chapter.get(claim["id"], "other"), "uses": json.dumps(list(claim.get("uses") or ()))}
        for claim in claims
    ]
    return pd.DataFrame(rows, columns=[*columns, "chapter", "uses"])


def _table(name: str, table: pd.DataFrame, out: Path, provenance: Mapping[Any, Any]) -> Path:
    """Write one table; each kind names its own schema, and one that knows how it came about says that itself."""
    schema = measurement.SCHEMA if name == stored.DEVIATIONS else f"downslope.{name}/1"
    whole = table.copy(deep=False)
    whole.attrs = {**provenance, **table.attrs, "schema": schema}
    return measurement.write(whole, out / stored.file(name), schema=schema)
