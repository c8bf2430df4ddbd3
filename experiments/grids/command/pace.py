"""How long a grid will take: from the times of jobs that are done, else from a short calibration."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import nn

from ... import training
from ...data import Data
from ...networks import network
from ...stacked import engine, single
from .. import plain
from ..cell import Cell
from ..grid import Grid, own_data
from ..job import Job, jobs
from ..running.run import How
from ..store.folder import opened

STEPS = 12
"""Steps that the calibration of a cell takes that is trained alone."""


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
    if folder is not None and (folder / "folder.json").exists():
        with opened(folder, grid.name, how.device) as store:
            known = {job.key: store.seconds(job) for job in wanted if store.done(job)}
    missing = [job for job in wanted if job.key not in known]
    rates = _rates(wanted, known)
    stored = set(rates)
    for job in missing:
        if _kind(job) not in rates:
            rates[_kind(job)] = _calibrated(job)
    seconds = sum(rates[_kind(job)] * job.epochs for job in missing)
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


def _calibrated(job: Job) -> float:
    """Seconds an epoch of one cell; measurements, which are few, do not enter."""
    cell = job.cells[0]
    if job.task == "train" and engine.stackable(cell):
        return _stacked(job)
    return _alone(job) / (len(job.cells) if job.task == "maximise" else 1)


def _stacked(job: Job) -> float:
    """From the difference of two and one epochs of the whole job: what is done once does not enter."""
    spent: list[float] = []
    for epochs in (1, 1, 2):  # once to warm up: SymPy's plans, torch's first calls, the data
        cells = [replace(cell, epochs=epochs) for cell in job.cells]
        started = time.perf_counter()
        engine.train(cells, device=job.device)
        spent.append(time.perf_counter() - started)
    return max(spent[2] - spent[1], 1e-6) / len(job.cells)


def _alone(job: Job) -> float:
    """From a few steps of the loop that `run` takes for this job and the scores of a few samples."""
    cell = job.cells[0]
    entry, whole = network(cell.network), plain.samples(own_data(cell), job.device)
    part = min(STEPS * cell.batch, len(whole.train_inputs), len(whole.test_inputs))
    few = replace(
        whole,
        train_inputs=whole.train_inputs[:part],
        train_targets=whole.train_targets[:part],
        test_inputs=whole.test_inputs[:part],
        test_targets=whole.test_targets[:part],
    )
    spent: list[tuple[float, float]] = []
    with training._one_thread():
        model, epoch = (_lean if job.task == "train" and single.fits(cell) else _plain)(cell, few, job.device)
        for _ in range(2):
            started = time.perf_counter()
            epoch()
            stepped = time.perf_counter()
            plain.score(entry, model, few, epoch=0, step=0)
            spent.append((stepped - started, time.perf_counter() - stepped))
    stepping, scoring = spent[-1]
    train, test = len(whole.train_inputs), len(whole.test_inputs)
    return stepping * train / part + scoring * (min(train, plain.SCORED) + test) / (min(part, plain.SCORED) + part)


Loop = tuple[nn.Module, Callable[[], object]]
"""A model, and what trains it for an epoch."""


def _plain(cell: Cell, data: Data, device: str) -> Loop:
    entry = network(cell.network)
    model, optimizer, (order, noise) = plain.prepared(cell, device)

    def epoch() -> None:
        with plain.backward(model, cell, noise):
            plain.steps(entry, model, optimizer, data, cell.batch, order)

    return model, epoch


def _lean(cell: Cell, data: Data, device: str) -> Loop:
    entry = network(cell.network)
    model = plain.initialised(cell, entry).to(device)
    optimizer = torch.optim.SGD(model.parameters(), lr=cell.learning_rate, momentum=cell.momentum)
    order, noise = (training._generator(cell.seed, stream=stream) for stream in (1, 2))
    lean = single.Lean(model, cell, noise)
    return model, lambda: single.epoch(entry, lean, optimizer, data.train, cell.batch, order)
