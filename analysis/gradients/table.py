"""A measurement on disk: Parquet with its provenance in the file's metadata, written whole or not at all."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections.abc import Hashable
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import Refused
from ..files import whole

if TYPE_CHECKING:
    import pandas as pd

SCHEMA = "downslope.measurement/1"
"""The columns of `measure` and their meaning; a change of either gets another number."""

KEY = b"downslope"
"""Where in a file's metadata the provenance stands."""


def provenance(*, seed: int | None = None, device: str = "cpu", **more: Any) -> dict[Hashable | None, Any]:
    """Where and how a table came about: schema, versions, commit (``None``: unknown), device, seed, creation in UTC.

    Args:
        seed: of every random number in it.
        device: where it was computed.
        more: anything else that JSON can hold.
    """
    said: dict[Hashable | None, Any] = {
        "schema": SCHEMA,
        "versions": {name: _version(name) for name in ("downslope", "torch", "numpy", "pandas", "sympy")}
        | {"python": platform.python_version()},
        "commit": commit(),
        "device": device,
        "seed": seed,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    said.update(more)
    return said


def write(table: pd.DataFrame, path: str | os.PathLike[str], *, schema: str = SCHEMA) -> Path:
    """Writes a measurement as Parquet, its provenance (``table.attrs``) in the file's metadata.

    The file appears whole or not at all. A table that is no measurement names its own schema.

    Raises:
        Refused: the table has no provenance of this schema, or the path cannot be written.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = Path(path)
    if table.attrs.get("schema") != schema:
        raise Refused(
            f"write(table, {str(path)!r}): table.attrs has the schema {table.attrs.get('schema')!r}, not {schema!r}. "
            f"Write what measure() returned; a table put together from several gets its attrs from provenance()."
        )
    bare = table.copy(deep=False)
    bare.attrs = {}
    arrow = pa.Table.from_pandas(bare, preserve_index=False)
    arrow = arrow.replace_schema_metadata({**(arrow.schema.metadata or {}), KEY: json.dumps(table.attrs).encode()})
    try:
        with whole(path) as file:
            pq.write_table(arrow, file)
    except OSError as error:
        raise Refused(f"write(table, {str(path)!r}): cannot write there: {error.strerror or error}.") from error
    return path


def read(path: str | os.PathLike[str], *, schema: str = SCHEMA) -> pd.DataFrame:
    """Reads a measurement that `write` wrote, provenance in its ``attrs``; or a table of another schema, by its name.

    Raises:
        Refused: there is no such file, it is no whole Parquet file, or its schema is not the one asked for.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = Path(path)
    try:
        arrow = pq.read_table(path)
    except FileNotFoundError as error:
        raise Refused(f"read({str(path)!r}): there is no such file.") from error
    except (pa.ArrowException, OSError) as error:
        raise Refused(f"read({str(path)!r}): this is no whole Parquet file ({_first_line(error)}).") from error
    try:
        said = json.loads((arrow.schema.metadata or {}).get(KEY, b"null"))
    except ValueError as error:
        raise Refused(f"read({str(path)!r}): its provenance is no JSON ({error}).") from error
    found = said.get("schema") if isinstance(said, dict) else None
    if found != schema:
        raise Refused(
            f"read({str(path)!r}): its schema is {found!r}, and this version reads {schema!r}. "
            + (_OTHERWISE if found is not None else "It is no measurement of downslope.")
        )
    table = arrow.to_pandas()
    table.attrs = said
    return table  # type: ignore[no-any-return]


def as_json(table: pd.DataFrame) -> str:
    """A measurement as strict JSON: ``{"provenance": {...}, "rows": [{...}]}``; what is undefined is null."""
    rows = table.astype(object).where(table.notna(), None).to_dict("records")
    return json.dumps({"provenance": dict(table.attrs), "rows": rows}, indent=2, allow_nan=False)


_OTHERWISE = "Read it with the version that wrote it, or another kind of table by its name: read(path, schema=...)."


@cache
def commit() -> str | None:
    """The commit of the checkout that runs, with ``-dirty`` where files differ from it; ``None`` where unknown."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return None
    describe = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        done = subprocess.run(describe, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or None


@cache
def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _first_line(error: BaseException) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]
