"""Files that appear whole or not at all, and that are read only if they are whole and ours."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Mapping
from hashlib import blake2b
from pathlib import Path
from typing import Any

from ....analysis.errors import Refused
from ....analysis.files import unfinished, whole

REDO = "delete it, and the same command redoes it"
"""What to do about a file that is not as it was written."""


def write(path: Path, contents: Mapping[str, Any]) -> None:
    """Write contents as JSON with a checksum: to a file beside, to the disk, and only then under its name.

    Raises:
        Refused: the disk is full or the folder cannot be written; nothing is left under the name.
    """
    text = json.dumps(contents, allow_nan=False, separators=(",", ":"))
    said = f'{{"checksum":"{_checksum(text)}","contents":{text}}}\n'
    replace(path, said)


def replace(path: Path, text: str) -> None:
    """Write a text file whole, or leave what was there.

    Raises:
        Refused: as `write`.
    """
    try:
        with whole(path) as file:
            file.write(text.encode())
        _to_disk(path.parent)
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        reason = "the disk is full" if full else f"{error.strerror or error}"
        raise Refused(
            f"{path}: cannot write: {reason}. What was written before is whole: run the same command again "
            f"{'when there is space' if full else 'when that is mended'}, and it goes on from there."
        ) from error


def read(path: Path, *, remedy: str = REDO) -> Any:
    """The contents of a file that `write` wrote.

    Args:
        path: of the file.
        remedy: what the user is told to do where it cannot be used.

    Raises:
        Refused: it cannot be read, is truncated or altered, or is not ours.
    """
    try:
        text = path.read_text(encoding="utf-8")
        said = json.loads(text)
        checksum, contents = said["checksum"], said["contents"]
    except OSError as error:
        raise Refused(f"{path}: cannot read: {error.strerror or error}.") from error
    except (ValueError, KeyError, TypeError) as error:
        raise Refused(f"{path}: this is truncated or no file of a grid; {remedy}.") from error
    if checksum != _checksum(json.dumps(contents, separators=(",", ":"))):
        raise Refused(f"{path}: its contents do not match its checksum; {remedy}.")
    return contents


def sweep(folder: Path) -> None:
    """Delete what a killed process was writing in this folder."""
    for left in folder.glob(".*"):
        if unfinished(left.name):
            left.unlink(missing_ok=True)


def _checksum(text: str) -> str:
    return blake2b(text.encode(), digest_size=16).hexdigest()


def _to_disk(folder: Path) -> None:
    """A new name is durable only when its folder is."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
