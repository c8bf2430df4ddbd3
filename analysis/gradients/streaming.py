"""A long measurement on disk: Parquet, written row group by row group, a file that appears whole at the end."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from ..errors import Refused
from ..files import whole
from .table import KEY

if TYPE_CHECKING:
    import pandas as pd

GROUP = 10_000
"""Rows a row group, at least: what is held in memory before it goes to the disk."""


class Empty(Refused):
    """A file of no table was asked for; none was written."""


@contextmanager
def stream(path: Path, said: str = "--out {}") -> Iterator[Callable[[pd.DataFrame], None]]:
    """A file of tables like those of `measure`, all with the columns of the first, whose ``attrs`` are its provenance.

    What the block gets is called with each table. `downslope.analysis.gradients.table.read` reads the file. ``said`` is
    how a message names the path. What the block itself raises passes as it is.

    Raises:
        Refused: the place cannot be written.
        Empty: the block gave no table.
    """
    place = said.format(path)
    with ExitStack() as block:
        with _writing(place):
            file = block.enter_context(whole(path))
        rows = _Rows(file)
        block.push(rows.end_broken)

        def add(table: pd.DataFrame) -> None:
            with _writing(place):
                rows.add(table)

        yield add
        if rows.none:
            raise Empty(f"{place}: nothing was measured, so there is nothing to write.")
        with _writing(place):
            rows.end()
            block.close()


class _Rows:
    """Tables on their way to a Parquet file."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._schema: Any = None
        self._writer: Any = None
        self._waiting: list[Any] = []

    @property
    def none(self) -> bool:
        return self._writer is None

    def add(self, table: pd.DataFrame) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        bare = table.copy(deep=False)
        bare.attrs = {}
        if self._writer is None:
            schema = pa.Schema.from_pandas(bare, preserve_index=False)
            said = {**(schema.metadata or {}), KEY: json.dumps(table.attrs).encode()}
            self._schema = schema.with_metadata(said)
            self._writer = pq.ParquetWriter(self._file, self._schema)
        self._waiting.append(pa.Table.from_pandas(bare, schema=self._schema, preserve_index=False))
        if sum(part.num_rows for part in self._waiting) >= GROUP:
            self._flush()

    def end(self) -> None:
        self._flush()
        self._writer.close()

    def end_broken(self, kind: type[BaseException] | None, *_: object) -> None:
        """Where the block raises, the writer lets go of the file before that goes."""
        if kind is not None and self._writer is not None:
            with suppress(OSError):  # a disk that is full has been told of already
                self._writer.close()

    def _flush(self) -> None:
        import pyarrow as pa

        if self._waiting:
            together = pa.concat_tables(self._waiting)
            self._writer.write_table(together, row_group_size=max(together.num_rows, 1))
            self._file.flush()
            self._waiting.clear()


@contextmanager
def _writing(place: str) -> Iterator[None]:
    """Around what touches the file, and nothing else: an `OSError` of the user's own code is none of the file's."""
    try:
        yield
    except OSError as error:
        raise Refused(f"{place}: cannot write there: {error.strerror or error}.") from error
