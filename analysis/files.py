"""Files that appear whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import BinaryIO, cast


@contextmanager
def whole(path: Path) -> Iterator[BinaryIO]:
    """A file beside ``path`` to write to: at the end of the block it is on the disk and takes the place of ``path``.

    Where the block raises, what was written goes, and a file that stood at ``path`` stays.

    Raises:
        OSError: it could not be written, for one because the disk is full.
    """
    with NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as beside:
        try:
            yield cast(BinaryIO, beside)
            beside.flush()
            os.fsync(beside.fileno())
            os.chmod(beside.name, 0o666 & ~_umask())
            os.replace(beside.name, path)
        except BaseException:
            os.unlink(beside.name)
            raise


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
