"""Files that appear whole or not at all."""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

_UNFINISHED = re.compile(r"\..+\.[0-9a-f]{16}\.unfinished")


@contextmanager
def whole(path: Path) -> Iterator[BinaryIO]:
    """A file beside ``path`` to write to: at the end of the block it is on the disk and takes the place of ``path``.

    Where the block raises, what was written goes, and a file that stood at ``path`` stays. A process that is killed
    leaves a file that `unfinished` knows by its name.

    Raises:
        OSError: it could not be written, for one because the disk is full.
    """
    name = path.parent / f".{path.name}.{secrets.token_hex(8)}.unfinished"
    with open(name, "xb") as beside:  # its mode is what the umask leaves of 0o666, as for any file
        try:
            yield beside
            beside.flush()
            os.fsync(beside.fileno())
            os.replace(name, path)
        except BaseException:
            with suppress(OSError):  # what a full disk did not take goes anyway
                beside.close()
            with suppress(FileNotFoundError):  # an interrupt that falls just after the replacement is no other error
                os.unlink(name)
            raise


def unfinished(name: str) -> bool:
    """Whether a file of this name is one that `whole` was writing; one that a killed process left is of no use."""
    return _UNFINISHED.fullmatch(name) is not None
