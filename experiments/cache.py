"""The user's cache, and files in it that appear whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

from ..analysis.errors import Refused
from ..analysis.files import whole

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
        with whole(path) as file:
            file.write(content)
    except OSError as error:
        raise Refused(
            f"{path}: cannot write there: {error.strerror or error}. {VARIABLE} names another folder for the cache."
        ) from error
