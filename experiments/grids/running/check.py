"""Whether a run folder can be reproduced: a random sample of its jobs is run again and compared."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ....analysis.errors import Refused
from ..grid import Grid
from ..job import Job, Record, available, jobs, run
from ..store.folder import seen
from .run import How

SAMPLE = 3
"""Jobs that are run again."""

CLOSE = 1e-3
"""Largest relative difference of a number that another machine's rounding may make."""

KINDS = ("scores", "measurements")
"""The numbers of a record: its curve with the level of chance, and the deviations measured on the way."""


@dataclass(frozen=True)
class Compared:
    """One run beside its repetition.

    Attributes:
        record: what the folder holds.
        same_bits: whether the weights, every score and every measurement are the same to the last bit.
        differences: the largest relative difference by kind, in the order of `KINDS`; infinite where the two are not of
            one form: one diverged and the other did not, or a value is there in one alone.
    """

    record: Record
    same_bits: bool
    differences: Mapping[str, float]

    @property
    def difference(self) -> float:
        """The largest of all."""
        return max(self.differences.values())

    @property
    def agrees(self) -> bool:
        """Whether the two are the same but for rounding."""
        return self.same_bits or self.difference <= CLOSE


def check(grid: Grid, folder: Path, how: How, *, sample: int = SAMPLE, seed: int) -> tuple[Compared, ...]:
    """Run a random sample of the folder's jobs again, here, and compare run by run.

    Raises:
        Refused: the folder is not there or holds nothing of this grid, or the device is not at hand.
    """
    available(how.device)
    store = seen(folder, grid.name, how.device, other_code=True)
    if store is None:
        name = grid.name.removesuffix("-quick") + " --quick" * grid.short
        raise Refused(f"--check: there is no run folder {folder}; `downslope grid {name} --out ...` makes one.")
    done = [job for job in jobs(grid, how.device) if store.done(job)]
    if not done:
        raise Refused(f"--check: {folder} holds no result of this grid; give the same options as when it was run.")
    chosen: Sequence[Job] = random.Random(seed).sample(done, min(sample, len(done)))
    kept = [record for job in chosen for record in store.read(job)[0]]
    again = [record for job in chosen for record in run(job)]
    return tuple(compared(one, other) for one, other in zip(kept, again, strict=True))


def compared(record: Record, other: Record) -> Compared:
    """Two records of one cell, number by number."""
    found = (_scores(record, other), _measurements(record, other))
    return Compared(record, record == other, dict(zip(KINDS, found, strict=True)))


def _scores(record: Record, other: Record) -> float:
    if record.diverged != other.diverged:
        return math.inf
    return _largest((record.curve, record.chance), (other.curve, other.chance), least=_TINY)


def _measurements(record: Record, other: Record) -> float:
    """Relative to 1 at least: cosines, log10s and angles may be 0, where rounding has no relative size."""
    return _largest(_numbers(record), _numbers(other), least=1.0)


def _numbers(record: Record) -> list[dict[str, Any]]:
    """What was measured; of a reason only whether there is one, for its words may hold numbers, rounded."""
    return [
        {name: "given" if name == "reason" and value else value for name, value in row.items()}
        for row in record.measured
    ]


_TINY = 1e-300


def _largest(one: Any, other: Any, *, least: float) -> float:
    """The largest relative difference of the numbers of two values; infinite where they differ in anything else."""
    if isinstance(one, Mapping) and isinstance(other, Mapping) and one.keys() == other.keys():
        return max((_largest(one[name], other[name], least=least) for name in one), default=0.0)
    if (
        isinstance(one, Sequence)
        and isinstance(other, Sequence)
        and not isinstance(one, str)
        and len(one) == len(other)
    ):
        return max((_largest(*pair, least=least) for pair in zip(one, other, strict=True)), default=0.0)
    if isinstance(one, int | float) and isinstance(other, int | float) and one != other:
        relative = abs(one - other) / max(abs(one), abs(other), least)
        return relative if math.isfinite(relative) else math.inf
    return 0.0 if one == other else math.inf
