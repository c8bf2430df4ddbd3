"""Files that appear whole or not at all, in a folder that was tried before the work began."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..analysis.errors import Refused


def folder(out: Path) -> Path:
    """The folder, made where it is missing and tried by writing: a long run must not end before a closed door.

    Raises:
        Refused: ``out`` is a file, or nothing can be written there.
    """
    if out.exists() and not out.is_dir():
        raise Refused(f"--out {out} is a file; name a folder, which is made where it is missing.")
    probe = out / f".probe.{os.getpid()}.part"
    try:
        out.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise Refused(f"--out {out} cannot be written to ({error.strerror}); name a folder of your own.") from None
    return out


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Gives a name beside ``path`` to write to; what was written there takes its place at the end, or goes.

    Raises:
        Refused: it could not be written, for one because the disk is full.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield beside
        os.replace(beside, path)
    except OSError as error:
        raise Refused(f"{path} cannot be written: {error.strerror or error}.") from error
    finally:
        beside.unlink(missing_ok=True)


def text(path: Path, said: str) -> Path:
    """Write a text whole or not at all, and give back its path.

    Raises:
        Refused: as `whole`.
    """
    with whole(path) as beside:
        beside.write_text(said, encoding="utf-8")
    return path
