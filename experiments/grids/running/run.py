"""A grid from its folder to its results: what is missing is run, kept as it comes, and everything is read back."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from ....analysis.errors import Refused
from ....analysis.gradients.table import provenance
from ..grid import Grid
from ..job import Job, Record, available, jobs, named
from ..results.present import document
from ..results.tidy import keep
from ..store.folder import SCHEMA, Folder, opened
from .processes import Done, here, workers

Progress = Callable[[str, int], None]
"""Called with what is running and the number of epochs done, over all runs, those of earlier calls included."""


@dataclass(frozen=True)
class How:
    """Where jobs run: nothing of it changes a result but ``device``.

    Attributes:
        workers: one-thread processes; with 1 the jobs run in this process.
        cluster: address of a Dask scheduler, "local", or empty.
        device: as torch calls it.
    """

    workers: int = 1
    cluster: str = ""
    device: str = "cpu"


@dataclass(frozen=True)
class Ran:
    """What a call found and did.

    Attributes:
        grid: what was run.
        records: of every cell, in the order of the grid.
        seconds: how long each job took, whenever it was run, by key.
        fresh: how many jobs this call ran.
        strangers: how many results of other settings lie in the folder.
    """

    grid: Grid
    records: tuple[Record, ...]
    seconds: dict[str, float]
    fresh: int
    strangers: int


def complete(
    grid: Grid,
    folder: Path,
    how: How = How(),
    *,
    progress: Progress = lambda running, epochs: None,
    begun: Callable[[int, int], None] = lambda done, wanted: None,
    command: Sequence[str] | None = None,
) -> Ran:
    """Run what is missing of a grid in its run folder, and read all of it.

    Args:
        grid: what is wanted.
        folder: the run folder, made where it is not there.
        how: where jobs run.
        progress: called as epochs are done.
        begun: called once with the number of jobs that are done already and the number of all.
        command: the command line that is kept as provenance; this process's where it is ``None``.

    Raises:
        Refused: the folder cannot be used, a job cannot be run, the disk is full; what was done before is kept.
    """
    (named if how.cluster else available)(how.device)  # a cluster's workers may have what is not here
    wanted = jobs(grid, how.device)
    if not wanted:
        raise Refused(f"grid {grid.name}: nothing can be run: {'; '.join(grid.left_out().values())}.")
    with opened(folder, grid.name, how.device) as store:
        missing = [job for job in wanted if not store.done(job)]
        # What is truncated or foreign is refused before anything is run. Each file is read once.
        found = {job: store.read(job) for job in wanted if job not in set(missing)}
        begun(len(wanted) - len(missing), len(wanted))
        if missing:
            _note(store, grid, how, missing, sys.argv if command is None else command)
            _run(store, wanted, missing, how, progress)
        found |= {job: store.read(job) for job in missing}
        ordered = {record.cell: record for job in wanted for record in found[job][0]}
        seconds = {job.key: found[job][1] for job in wanted}
        records = tuple(ordered[cell] for cell in grid.cells())
        store.publish(document(grid, records))
        keep(store.path, grid, records, how.device)
        return Ran(grid, records, seconds, len(missing), store.strangers(wanted))


def _run(store: Folder, wanted: Sequence[Job], missing: Sequence[Job], how: How, progress: Progress) -> None:
    epochs = sum(job.epochs for job in wanted) - sum(job.epochs for job in missing)
    left = {job.key: job.title for job in missing}

    def at_epoch(more: int) -> None:
        nonlocal epochs
        epochs += more
        progress(next(iter(left.values()), "done"), epochs)

    at_epoch(0)
    for job, records, seconds in _done(missing, how, at_epoch):
        store.write(job, records, seconds)
        del left[job.key]
        at_epoch(0)


def _done(missing: Sequence[Job], how: How, at_epoch: Callable[[int], None]) -> Iterator[Done]:
    if how.cluster:
        from .cluster import cluster

        return cluster(missing, at_epoch, address=how.cluster, number=how.workers)
    if how.workers > 1:
        return workers(missing, at_epoch, number=how.workers)
    return here(missing, at_epoch)


def _note(store: Folder, grid: Grid, how: How, missing: Sequence[Job], command: Sequence[str]) -> None:
    """Where the results of this call come from; a file of its own, so that no call's is lost."""
    created = datetime.now(UTC)
    said = provenance(
        device=how.device,
        threads=1,
        workers=how.workers,
        cluster=how.cluster,
        command=list(command),
        grid=asdict(grid),
        seeds=list(grid.seeds),
        jobs=[job.key for job in missing],
    )
    store.note(
        f"{created:%Y%m%dT%H%M%S.%f}-{os.getpid()}",
        {str(key): value for key, value in said.items()} | {"schema": SCHEMA},
    )
