"""The run folder of one grid: its identity, its lock, its results by job and where they came from."""

from __future__ import annotations

import fcntl
import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from .... import __version__
from ....analysis.errors import Refused
from ....analysis.files import unfinished
from ..job import Job, Record
from . import files
from .numerics import numerics

SCHEMA = "downslope.grid/2"
"""The layout of the folder; a change of it gets another number."""

IDENTITY = "folder.json"
"""The file that says what a folder is."""

_RESULT = re.compile(r"[0-9a-f]{32}\.json")


class Folder:
    """A run folder that is held by this process; `opened` makes one."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.results = path / "results"

    def done(self, job: Job) -> bool:
        """Whether the job's results are there."""
        return self._file(job).exists()

    def read(self, job: Job) -> tuple[tuple[Record, ...], float]:
        """The job's results, and the seconds that it took.

        Raises:
            Refused: the file is truncated, altered, or another job's.
        """
        path = self._file(job)
        said = files.read(path)
        try:
            records = tuple(Record.from_json(each) for each in said["records"])
            seconds = float(said["seconds"])
        except (KeyError, TypeError, ValueError) as error:
            raise Refused(f"{path}: this is no result of a grid; {files.REDO}.") from error
        if said["job"] != job.key or [record.cell for record in records] != list(job.cells):
            raise Refused(f"{path}: this is another job's result; {files.REDO}.")
        return records, seconds

    def write(self, job: Job, records: tuple[Record, ...], seconds: float) -> None:
        """Keep the job's results, whole; a job that is there already is not written again.

        Raises:
            Refused: the disk is full, or the folder cannot be written.
        """
        if [record.cell for record in records] != list(job.cells):
            raise AssertionError(f"the records of job {job.key} are not of its cells")
        if not self.done(job):
            said = {"job": job.key, "records": [record.as_json() for record in records], "seconds": seconds}
            files.write(self._file(job), said)

    def note(self, name: str, said: Mapping[str, Any]) -> None:
        """Keep the provenance of one call."""
        (self.path / "provenance").mkdir(exist_ok=True)
        files.write(self.path / "provenance" / f"{name}.json", said)

    def publish(self, document: Mapping[str, Any]) -> None:
        """Keep what the results of a finished grid say, as ``table.json``."""
        files.replace(self.path / "table.json", json.dumps(document, indent=1, allow_nan=False) + "\n")

    def strangers(self, jobs: tuple[Job, ...]) -> int:
        """How many results of other settings lie here, which this grid does not read."""
        return len({file.name for file in self.results.iterdir()} - {self._file(job).name for job in jobs})

    def _file(self, job: Job) -> Path:
        return self.results / f"{job.key}.json"


@contextmanager
def opened(path: Path, grid: str, device: str = "cpu") -> Iterator[Folder]:
    """The run folder of a grid, made where it is not there, and held until the block ends.

    Raises:
        Refused: another process holds it, it is another grid's or was made by other code or another version, something
            foreign lies in it, or it cannot be written.
    """
    folder = Folder(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
        _ours(path)  # before anything is written there
        lock = os.open(path / "lock", os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        raise Refused(f"--out: cannot use the folder {path}: {error.strerror or error}.") from error
    try:
        _hold(lock, path)
        if (path / IDENTITY).exists():
            _same(path, identity(grid, device))
        else:
            files.write(path / IDENTITY, identity(grid, device))
        folder.results.mkdir(exist_ok=True)
        for each in (path, folder.results, path / "provenance"):
            files.sweep(each)
        _no_foreigner(folder.results)
        yield folder
    finally:
        os.close(lock)


def seen(path: Path, grid: str, device: str = "cpu", *, other_code: bool = False) -> Folder | None:
    """The run folder of a grid to read in, whoever writes there; ``None`` where there is none. Nothing is written.

    Args:
        path: of the folder.
        grid: whose it is.
        device: of its results.
        other_code: whether it may be that of other code at the same version.

    Raises:
        Refused: it is another grid's or was made by other code or another version, or something foreign lies in it.
    """
    if not (path / IDENTITY).exists():
        return None
    expected = identity(grid, device)
    _same(path, {name: expected[name] for name in expected if not (other_code and name == "code")})
    folder = Folder(path)
    if folder.results.exists():
        _no_foreigner(folder.results)
    return folder


def identity(grid: str, device: str) -> dict[str, str]:
    """What all results in a folder share."""
    return {"schema": SCHEMA, "grid": grid, **versions(), "device": device}


def versions() -> dict[str, str]:
    """What must be the same for numbers to be the same."""
    return {"downslope": __version__, "torch": torch.__version__, "code": numerics()}


def _ours(path: Path) -> None:
    inside = {each.name for each in path.iterdir() if not unfinished(each.name)}
    if IDENTITY not in inside and inside - {"lock"}:
        raise Refused(
            f"{path}: this is no run folder: it holds {', '.join(sorted(inside)[:3])}. Give --out a folder of its own."
        )


def _hold(lock: int, path: Path) -> None:
    """The kernel gives the lock back when its holder ends, however it ends: a killed process never blocks another."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        holder = os.pread(lock, 100, 0).decode(errors="replace").strip() or "unknown"
        raise Refused(
            f"{path}: another process is writing there (process {holder}). Wait for it or stop it; a process that was "
            f"killed holds nothing. Two grids at once need two folders."
        ) from None
    os.ftruncate(lock, 0)
    os.pwrite(lock, f"{os.getpid()} on {os.uname().nodename}\n".encode(), 0)


def _same(path: Path, expected: Mapping[str, str]) -> None:
    """The identity of the folder is written once, and must be this one's ever after."""
    remedy = (
        "without it nothing says which code made the results beside it: move the folder away, or give another --out"
    )
    found = files.read(path / IDENTITY, remedy=remedy)
    differing = [name for name in expected if not isinstance(found, dict) or found.get(name) != expected[name]]
    if differing == ["code"]:
        raise Refused(
            f"{path}: results of other code are not mixed: sources that numbers depend on, or the Python that runs "
            f"them, have changed since it was made (digest {found.get('code')} there, {expected['code']} here). Give "
            f"--out another folder, or go back to the commit in its provenance; --check says whether its numbers still "
            f"hold."
        )
    if differing:
        said = "; ".join(f"{name} {found.get(name)!r} there, {expected[name]!r} here" for name in differing)
        raise Refused(
            f"{path}: results of another version or kind are not mixed: {said}. Give --out another folder, or read "
            f"this one with what wrote it."
        )


def _no_foreigner(results: Path) -> None:
    names = [each.name for each in results.iterdir() if not unfinished(each.name)]
    foreign = [name for name in names if not _RESULT.fullmatch(name)]
    if foreign:
        raise Refused(f"{results / min(foreign)}: this is not a file of a grid; move it away.")
