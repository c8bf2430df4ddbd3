"""Whether a run folder can be reproduced: a random sample of its jobs is run again and compared."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ....analysis.errors import Refused
from ..grid import Grid
from ..job import Job, Record, jobs, run
from ..store.folder import opened
from .run import How

SAMPLE = 3
"""Jobs that are run again."""

CLOSE = 1e-3
"""Largest relative difference of a score that another machine's rounding may make."""


@dataclass(frozen=True)
class Compared:
    """One run beside its repetition.

    Attributes:
        record: what the folder holds.
        same_bits: whether the weights and every score are the same to the last bit.
        difference: the largest relative difference of a score; infinite where one run diverged and the other did not.
    """

    record: Record
    same_bits: bool
    difference: float

    @property
    def agrees(self) -> bool:
        """Whether the two are the same but for rounding."""
        return self.same_bits or self.difference <= CLOSE


def check(grid: Grid, folder: Path, how: How, *, sample: int = SAMPLE, seed: int) -> tuple[Compared, ...]:
    """Run a random sample of the folder's jobs again, here, and compare run by run.

    Raises:
        Refused: the folder is not there or holds nothing of this grid.
    """
    if not (folder / "folder.json").exists():
        raise Refused(f"--check: there is no run folder {folder}; `downslope grid {grid.name} --out ...` makes one.")
    with opened(folder, grid.name, how.device) as store:
        done = [job for job in jobs(grid, how.device) if store.done(job)]
        if not done:
            raise Refused(f"--check: {folder} holds no result of this grid; give the same options as when it was run.")
        chosen: Sequence[Job] = random.Random(seed).sample(done, min(sample, len(done)))
        kept = [record for job in chosen for record in store.read(job)]
    again = [record for job in chosen for record in run(job)]
    return tuple(compared(one, other) for one, other in zip(kept, again, strict=True))


def compared(record: Record, other: Record) -> Compared:
    """Two records of one cell, score by score."""
    return Compared(record, record == other, _difference(record, other))


def _difference(record: Record, other: Record) -> float:
    if record.diverged != other.diverged or record.curve.keys() != other.curve.keys():
        return float("inf")
    pairs = [
        pair
        for name in record.curve
        for pair in zip(record.curve[name], other.curve[name], strict=True)
        if name != "step"
    ]
    return max((abs(a - b) / max(abs(a), abs(b), 1e-300) for a, b in pairs if a != b), default=0.0)
