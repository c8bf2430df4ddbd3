"""A long measurement on disk: Parquet, written row group by row group, a file that appears whole at the end."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import Refused
from ..files import whole
from .table import KEY

if TYPE_CHECKING:
    import pandas as pd

GROUP = 10_000
"""Rows a row group, at least: what is held in memory before it goes to the disk."""


@contextmanager
def stream(path: Path, said: str = "--out {}") -> Iterator[Callable[[pd.DataFrame], None]]:
    """A file of tables like those of `measure`, all with the columns of the first, whose ``attrs`` are its provenance.

    What the block gets is called with each table. `downslope.analysis.gradients.table.read` reads the file. ``said`` is
    how a message names the path.

    Raises:
        Refused: the place cannot be written, or the block gave no table.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema: Any = None
    writer: Any = None
    waiting: list[Any] = []

    try:
        with whole(path) as file:

            def flush() -> None:
                if waiting:
                    together = pa.concat_tables(waiting)
                    writer.write_table(together, row_group_size=max(together.num_rows, 1))
                    file.flush()
                    waiting.clear()

            def add(table: pd.DataFrame) -> None:
                nonlocal schema, writer
                bare = table.copy(deep=False)
                bare.attrs = {}
                if writer is None:
                    schema = pa.Schema.from_pandas(bare, preserve_index=False)
                    said = {**(schema.metadata or {}), KEY: json.dumps(table.attrs).encode()}
                    schema = schema.with_metadata(said)
                    writer = pq.ParquetWriter(file, schema)
                waiting.append(pa.Table.from_pandas(bare, schema=schema, preserve_index=False))
                if sum(part.num_rows for part in waiting) >= GROUP:
                    flush()

            try:
                yield add
                if writer is None:
                    raise Refused(f"{said.format(path)}: nothing was measured, so there is nothing to write.")
                flush()
            except BaseException:
                with suppress(OSError):  # a disk that is full has been told of already
                    if writer is not None:
                        writer.close()
                raise
            writer.close()
    except OSError as error:
        raise Refused(f"{said.format(path)}: cannot write there: {error.strerror or error}.") from error
