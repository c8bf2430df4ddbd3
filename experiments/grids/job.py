"""A job: the cells that are run together, and what each of them leaves behind.

How cells become jobs follows from the grid alone, never from what is already done: a resumed grid runs the very jobs
that an uninterrupted one would have run.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from hashlib import blake2b
from itertools import groupby
from typing import Any

import torch
from torch import nn

from ...analysis.errors import Refused
from ..stacked import engine, single
from . import plain
from .cell import Cell, Outcome, Score
from .grid import Grid, Task, own_data
from .measure import Watch

Epochs = Callable[[int], None]
"""Called with a number of epochs that were just done, counted over all cells of the job."""


@dataclass(frozen=True)
class Job:
    """Cells that are run together, in one process.

    Attributes:
        task: what is done for each cell.
        cells: in the order of the grid.
        stages: when deviations are measured; empty where they are not.
        device: where, as torch calls it.
    """

    task: Task
    cells: tuple[Cell, ...]
    stages: tuple[str, ...] = ()
    device: str = "cpu"

    @property
    def key(self) -> str:
        """32 hexadecimal digits that depend on every field and on nothing else."""
        said = json.dumps([self.task, [cell.key for cell in self.cells], self.stages, self.device])
        return blake2b(said.encode(), digest_size=16).hexdigest()

    @property
    def epochs(self) -> int:
        """The epochs of all cells together."""
        return sum(cell.epochs for cell in self.cells)

    @property
    def title(self) -> str:
        """What is running, for a progress bar."""
        first, more = self.cells[0], len(self.cells) - 1
        return f"{first.network} {first.forward} / {first.rule}, seed {first.seed}{f' and {more} more' * bool(more)}"


@dataclass(frozen=True)
class Record:
    """What a cell leaves behind: numbers that JSON holds exactly.

    Attributes:
        cell: the run.
        curve: each score by name, one value for each epoch (or step of ascent) from 0 on.
        diverged: the epoch in which a weight or the loss stopped being finite; ``None`` where none did.
        digest: 32 hexadecimal digits of the final weights' (or inputs') bits.
        measured: a row for each stage; empty where nothing was measured.
        chance: the accuracy of always naming the commonest class of the test split; ``None`` where no class is named.
    """

    cell: Cell
    curve: Mapping[str, tuple[float, ...]]
    diverged: int | None
    digest: str
    measured: tuple[Mapping[str, Any], ...] = ()
    chance: float | None = None

    def final(self, score: str) -> float | None:
        """The last value of a score; ``None`` where the run diverged."""
        return None if self.diverged is not None else self.curve[score][-1]

    def as_json(self) -> dict[str, Any]:
        """What `from_json` reads."""
        return {
            "cell": asdict(self.cell),
            "curve": {name: list(values) for name, values in self.curve.items()},
            "diverged": self.diverged,
            "digest": self.digest,
            "measured": [dict(row) for row in self.measured],
            "chance": self.chance,
        }

    @classmethod
    def from_json(cls, said: Mapping[str, Any]) -> Record:
        """The record that `as_json` wrote.

        Raises:
            KeyError, TypeError: it is none.
        """
        curve = {str(name): tuple(values) for name, values in said["curve"].items()}
        measured, chance = tuple(said["measured"]), said["chance"]
        return cls(Cell(**said["cell"]), curve, said["diverged"], said["digest"], measured, chance)


def jobs(grid: Grid, device: str = "cpu") -> tuple[Job, ...]:
    """What has to be run for a grid, in a fixed order; each cell stands in exactly one job."""
    cells = grid.cells()
    if grid.task == "maximise":
        return tuple(Job("maximise", group, (), device) for group in _by_training(cells))
    return tuple(Job("train", group, grid.stages, device) for group in _together(cells))


def run(job: Job, at_epoch: Epochs = lambda epochs: None) -> tuple[Record, ...]:
    """Run a job here, on one thread: a record for each cell, in order.

    Raises:
        Refused: a cell cannot be run, or there is no such device.
    """
    available(job.device)
    if job.task == "maximise":
        from .maximise import maximise

        return maximise(job.cells, device=job.device, at_epoch=at_epoch)
    watch = Watch(job.stages, job.cells[0].epochs)
    if engine.stackable(job.cells[0]):

        def at_epoch_of_all(runs: engine.Runs, epoch: int) -> None:
            watch(runs, epoch)
            at_epoch(len(job.cells) if epoch else 0)

        outcomes = engine.train(job.cells, device=job.device, at_epoch=at_epoch_of_all)
    else:
        outcomes = []
        for cell in job.cells:

            def at_epoch_of_one(model: nn.Module, epoch: int, cell: Cell = cell) -> None:
                watch({cell: model}, epoch)
                at_epoch(1 if epoch else 0)

            train = single.train if single.fits(cell) else plain.train
            outcomes.append(train(cell, device=job.device, at_epoch=at_epoch_of_one))
    return tuple(record(each, watch.found(each.cell), _chance(each.cell, job.device)) for each in outcomes)


def record(outcome: Outcome, measured: Sequence[Mapping[str, Any]] = (), chance: float | None = None) -> Record:
    """What stays of an outcome: its scores, and of its weights the digest."""
    curve = {each.name: tuple(getattr(score, each.name) for score in outcome.scores) for each in fields(Score)}
    return Record(outcome.cell, curve, outcome.diverged, digest(outcome.weights), tuple(measured), chance)


def _chance(cell: Cell, device: str) -> float:
    """The share of the commonest class in the test split of the cell's data."""
    _, labels = plain.samples(own_data(cell), device, torch.float32).test
    return float(labels.bincount().max()) / len(labels)


def digest(tensors: Mapping[str, Any]) -> str:
    """32 hexadecimal digits that depend on the names and bits of tensors."""
    found = blake2b(digest_size=16)
    for name, value in sorted(tensors.items()):
        found.update(name.encode() + str(tuple(value.shape)).encode())
        found.update(value.detach().cpu().contiguous().numpy().tobytes())
    return found.hexdigest()


def _by_training(cells: Sequence[Cell]) -> list[tuple[Cell, ...]]:
    """Cells that share the training before: they differ in the rule alone."""

    def training(cell: Cell) -> tuple[Any, ...]:
        return tuple(value for name, value in asdict(cell).items() if name != "rule")

    ordered = sorted(cells, key=training)
    return [tuple(group) for _, group in groupby(ordered, key=training)]


def _together(cells: Sequence[Cell]) -> list[tuple[Cell, ...]]:
    """Those that the stacked engine takes as it groups them, the others one by one."""
    small = [cell for cell in cells if engine.stackable(cell)]
    alone = [(cell,) for cell in cells if not engine.stackable(cell)]
    return [*(tuple(group) for group in engine.groups(small)), *alone]


def named(device: str) -> None:
    """Refuse what is no name of a device that grids run on.

    Raises:
        Refused: the name is none of cpu, cuda, cuda:0, cuda:1 and so on.
    """
    if not _DEVICE.fullmatch(device):
        raise Refused(f"--device {device}: grids run on cpu, cuda, or one of several as cuda:0; give one of these.")


def available(device: str) -> None:
    """Refuse a device that is not at hand.

    Raises:
        Refused: as `named`, or torch cannot use it here.
    """
    named(device)
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise Refused(f"--device {device}: torch cannot use it ({reason}).") from error


_DEVICE = re.compile(r"cpu|cuda(:\d{1,3})?")
