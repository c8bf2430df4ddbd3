"""What a job takes, from a short part of it: an epoch of training, a measurement, the steps of an ascent."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable
from dataclasses import replace

import torch
from torch import nn

from ... import training
from ...data import Data
from ...networks import network
from ...stacked import engine, single
from .. import maximise, plain
from ..cell import Cell
from ..grid import own_data
from ..job import Job, available
from ..measure import epochs, measured

STEPS = 12
"""Steps that the calibration of a cell takes that is trained alone."""

CLIMBED = 5
"""Steps of an ascent that are timed."""


class Beside:
    """Seconds of what a job does beside training: measurements at its stages, or its ascents.

    Each network, forward and rule is timed once. What its first time takes more than its second (plans are made, torch
    is warmed up) enters once.
    """

    def __init__(self) -> None:
        self._timed: dict[Hashable, float] = {}

    def __call__(self, job: Job) -> float:
        """Of all cells of the job together."""
        if job.task == "train" and not job.stages:
            return 0.0
        return sum(self._seconds(cell, job) for cell in job.cells)

    def _seconds(self, cell: Cell, job: Job) -> float:
        times = maximise.STEPS + 1 if job.task == "maximise" else len(epochs(job.stages, cell.epochs))
        kind = (job.task, cell.network, own_data(cell), cell.forward, cell.rule)
        first = 0.0
        if kind not in self._timed:
            once = _climbing(cell, job.device) if job.task == "maximise" else _measuring(cell, job.device)
            spent = [_timed(once) for _ in range(2)]
            first, self._timed[kind] = max(spent[0] - spent[1], 0.0), spent[1]
        per = CLIMBED if job.task == "maximise" else 1
        return first + self._timed[kind] * times / per


def _measuring(cell: Cell, device: str) -> Callable[[], object]:
    model = plain.initialised(cell, network(cell.network)).to(device).eval()

    return lambda: measured(cell, model)


def _climbing(cell: Cell, device: str) -> Callable[[], object]:
    model = plain.prepared(cell, device)[0].eval().requires_grad_(False)
    starts = maximise.starts(cell, device)

    return lambda: maximise.climbed(cell, model, starts, steps=CLIMBED - 1)


def _timed(once: Callable[[], object]) -> float:
    with training._one_thread():
        started = time.perf_counter()
        once()
        return time.perf_counter() - started


def epoch(job: Job) -> float:
    """Seconds an epoch of one cell takes to train.

    Raises:
        Refused: the device is not at hand.
    """
    available(job.device)
    cell = job.cells[0]
    if job.task == "train" and engine.stackable(cell):
        return _stacked(job)
    return _alone(job) / (len(job.cells) if job.task == "maximise" else 1)


def _stacked(job: Job) -> float:
    """From the difference of two and one epochs of the whole job: what is done once does not enter."""
    spent: list[float] = []
    for number in (1, 1, 2):  # once to warm up: SymPy's plans, torch's first calls, the data
        cells = [replace(cell, epochs=number) for cell in job.cells]
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
        model, trained = (_lean if job.task == "train" and single.fits(cell) else _plain)(cell, few, job.device)
        for _ in range(2):
            started = time.perf_counter()
            trained()
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

    def trained() -> None:
        with plain.backward(model, cell, noise):
            plain.steps(entry, model, optimizer, data, cell.batch, order)

    return model, trained


def _lean(cell: Cell, data: Data, device: str) -> Loop:
    entry = network(cell.network)
    model = plain.initialised(cell, entry).to(device)
    optimizer = torch.optim.SGD(model.parameters(), lr=cell.learning_rate, momentum=cell.momentum)
    order, noise = (training._generator(cell.seed, stream=stream) for stream in (1, 2))
    lean = single.Lean(model, cell, noise)
    return model, lambda: single.epoch(entry, lean, optimizer, data.train, cell.batch, order)
