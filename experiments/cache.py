"""The user's cache, and files in it that appear whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path
from tempfile import NamedTemporaryFile

from ..analysis.errors import Refused

VARIABLE = "DOWNSLOPE_CACHE"


def folder(*parts: str) -> Path:
    """A place in the cache: below the folder that ``DOWNSLOPE_CACHE`` names, else below the platform's own."""
    import platformdirs

    named = os.environ.get(VARIABLE)
    root = Path(named).expanduser() if named else Path(platformdirs.user_cache_dir("downslope"))
    return root.joinpath(*parts)


def write(path: Path, content: bytes) -> None:
    """Writes a file whole, making its folder; one that stood there is replaced.

    Raises:
        Refused: the place cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as beside:
            try:
                beside.write(content)
                beside.flush()
                os.fsync(beside.fileno())
                os.replace(beside.name, path)
            except BaseException:
                os.unlink(beside.name)
                raise
    except OSError as error:
        raise Refused(
            f"{path}: cannot write there: {error.strerror or error}. {VARIABLE} names another folder for the cache."
        ) from error
