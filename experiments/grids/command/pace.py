"""How long a grid will take: from the times of jobs that are done, else from a short calibration."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..grid import Grid, own_data
from ..job import Job, jobs
from ..running.run import How
from ..store.folder import seen
from . import calibration


@dataclass(frozen=True)
class Expected:
    """What a call would do.

    Attributes:
        grid: what would be run.
        runs, jobs: how many in all.
        done: how many jobs are done already.
        seconds: of one-thread time for what is missing.
        wall_seconds: the same, shared by the workers.
        measured_by: what the expectation rests on.
    """

    grid: Grid
    runs: int
    jobs: int
    done: int
    seconds: float
    wall_seconds: float
    measured_by: str

    def as_json(self) -> dict[str, object]:
        """One record."""
        numbers = {name: getattr(self, name) for name in ("runs", "jobs", "done", "seconds", "wall_seconds")}
        return {"grid": self.grid.name, **numbers, "measured_by": self.measured_by, "left_out": self.grid.left_out()}


def expected(grid: Grid, folder: Path | None, how: How) -> Expected:
    """What a call would do, without doing it; nothing is written.

    Raises:
        Refused: as `complete`, where the folder is there.
    """
    wanted = jobs(grid, how.device)
    known: dict[str, float] = {}
    store = None if folder is None else seen(folder, grid.name, how.device)
    if store is not None:
        known = {job.key: store.read(job)[1] for job in wanted if store.done(job)}
    missing = [job for job in wanted if job.key not in known]
    rates = _rates(wanted, known)
    stored = set(rates)
    for job in missing:
        if _kind(job) not in rates:
            rates[_kind(job)] = calibration.epoch(job)
    beside = calibration.Beside()
    seconds = sum(rates[_kind(job)] * job.epochs for job in missing)
    seconds += sum(beside(job) for job in missing if _kind(job) not in stored)  # else it is in the rate
    stored_kinds = {_kind(job) for job in missing} & stored
    by = "jobs that are done" if stored_kinds else "a short calibration"
    runs = sum(len(job.cells) for job in wanted)
    at_once = min(how.workers, len(missing)) or 1
    return Expected(grid, runs, len(wanted), len(known), seconds, seconds / at_once, by)


def _kind(job: Job) -> tuple[object, ...]:
    """What decides the time of an epoch of one cell; the rule enters as tied or not."""
    cell = job.cells[0]
    return (cell.network, own_data(cell), cell.forward, cell.batch, cell.rule == "tied", len(job.cells), job.stages)


def _rates(wanted: Sequence[Job], known: dict[str, float]) -> dict[tuple[object, ...], float]:
    """Seconds an epoch of one cell, by kind of job, from those that are done."""
    spent: dict[tuple[object, ...], list[tuple[float, int]]] = {}
    for job in wanted:
        if job.key in known:
            spent.setdefault(_kind(job), []).append((known[job.key], job.epochs))
    return {kind: sum(s for s, _ in each) / sum(e for _, e in each) for kind, each in spent.items()}
