"""``downslope grid``: what it says and does, from a grid and the options."""

from __future__ import annotations

import json
import math
import secrets
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from ..grid import Grid
from ..job import jobs
from ..results import present
from ..running import check as repeated
from ..running.run import How, Ran, complete
from . import pace, progress

INTERRUPTED = 130
"""Exit code of Ctrl-C, as shells have it."""

WIDTH = 110
"""Columns of the tables where stdout is no terminal."""


@dataclass(frozen=True)
class Said:
    """What the user chose beside the grid.

    Attributes:
        out: folder of run folders; ``None`` keeps nothing.
        how: where jobs run.
        as_json: one JSON document on stdout instead of tables.
    """

    out: Path | None = None
    how: How = How()  # noqa: RUF009
    as_json: bool = False

    def folder(self, grid: Grid) -> Path | None:
        """The run folder of a grid."""
        return None if self.out is None else self.out / grid.name


def dry_run(grid: Grid, said: Said) -> None:
    """Say the number of runs and the expected time."""
    found = pace.expected(grid, said.folder(grid), said.how)
    if said.as_json:
        print(json.dumps(found.as_json(), indent=2, allow_nan=False))
        return
    done = f", {found.done} of them done" if found.done else ""
    print(f"{grid.name}: {_count(found.runs, 'run')} in {_count(found.jobs, 'job')}{done}.")
    _idle(found.jobs - found.done, said.how)
    workers = f" with {said.how.workers} workers" if said.how.workers > 1 else ""
    print(f"Expected, by {found.measured_by}: {progress.duration(found.wall_seconds)}{workers}.")
    for pair, reason in grid.left_out().items():
        print(f"Left out: {pair}: {reason}.")


def run(grid: Grid, said: Said) -> None:
    """Run what is missing and print what the whole says.

    Raises:
        SystemExit: with `INTERRUPTED`, after Ctrl-C.
        Refused: as `complete`.
    """
    from rich.console import Console

    with ExitStack() as stack:
        folder = said.folder(grid) or Path(stack.enter_context(tempfile.TemporaryDirectory())) / grid.name
        total = sum(job.epochs for job in jobs(grid, said.how.device))
        started = time.perf_counter()
        try:
            with progress.shown(total) as advance:
                ran = complete(grid, folder, said.how, progress=advance, begun=partial(_begun, how=said.how))
        except KeyboardInterrupt:
            kept = f"the same command goes on from there ({folder})" if said.out else "without --out nothing is kept"
            _tell(f"stopped; what was done is whole: {kept}.")
            raise SystemExit(INTERRUPTED) from None
        _summary(ran, time.perf_counter() - started, folder if said.out else None)
    if said.as_json:
        print(present.as_json(grid, ran.records, ran.seconds))
    else:
        console = Console()
        if not console.is_terminal:
            console = Console(width=WIDTH)
        for each in present.shown_table(grid, ran.records, console.width):
            console.print(each, highlight=False, soft_wrap=isinstance(each, str))


def check(grid: Grid, said: Said) -> bool:
    """Run a random sample again and say how it compares; whether all of it agrees."""
    folder = said.folder(grid)
    assert folder is not None
    seed = secrets.randbelow(2**32)
    found = repeated.check(grid, folder, said.how, seed=seed)
    agreed = all(each.agrees for each in found)
    same = sum(each.same_bits for each in found)
    if said.as_json:
        rows = [
            {
                "cell": asdict(each.record.cell),
                "same_bits": each.same_bits,
                "largest_difference": {
                    kind: value if math.isfinite(value) else None for kind, value in each.differences.items()
                },
            }
            for each in found
        ]
        print(json.dumps({"sample_seed": seed, "agrees": agreed, "runs": rows}, indent=2, allow_nan=False))
        return agreed
    print(f"{_count(len(found), 'run')} of a random sample (seed {seed}) trained again: {same} give the same bits.")
    for each in found:
        if not each.same_bits:
            cell = each.record.cell
            word = "rounding" if each.agrees else "NOT REPRODUCED"
            where = f"{cell.network} {cell.forward} / {cell.rule}, lr {cell.learning_rate:g}, seed {cell.seed}"
            print(f"{word}: {where}: {_differing(each)}.")
    return agreed


def _differing(found: repeated.Compared) -> str:
    """By how much, kind by kind."""
    parts = [
        f"{kind} differ by up to {value:.2g} relative" if math.isfinite(value) else f"{kind} are not of one form"
        for kind, value in found.differences.items()
        if value
    ]
    return ", ".join(parts) or "only the bits of the final weights differ"


def _begun(done: int, wanted: int, how: How) -> None:
    if 0 < done < wanted:
        _tell(f"{done} of {_count(wanted, 'job')} {'is' if done == 1 else 'are'} done already and skipped.")
    _idle(wanted - done, how)


def _idle(missing: int, how: How) -> None:
    """Say that there are more workers than jobs: a job is done by one."""
    if 0 < missing < how.workers:
        more = "a second worker has" if missing == 1 else f"more than {missing} workers have"
        _tell(f"{_count(missing, 'job')}: {more} nothing to do.")


def _summary(ran: Ran, seconds: float, folder: Path | None) -> None:
    runs, diverged = _count(len(ran.records), "run"), sum(record.diverged is not None for record in ran.records)
    jobs, spent = len(ran.seconds), sum(ran.seconds.values())
    if not ran.fresh:
        parts = [f"all {runs} were done before" if len(ran.records) > 1 else "the run was done before"]
        parts += ["nothing was trained"]
    elif ran.fresh < jobs:
        parts = [f"{runs}; {ran.fresh} of {_count(jobs, 'job')} done now, in {progress.duration(seconds)}"]
    else:
        parts = [f"{runs} in {_count(jobs, 'job')}, in {progress.duration(seconds)}"]
    parts += [f"{progress.duration(spent)} of one-thread time in all"]
    parts += [f"{diverged} diverged"] * bool(diverged)
    parts += [f"{_count(ran.strangers, 'result')} of other settings left alone"] * bool(ran.strangers)
    parts += [f"kept in {folder}"] * (folder is not None)
    _tell("; ".join(parts) + ".")


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'s' * (number != 1)}"


def _tell(text: str) -> None:
    print(f"downslope: {text}", file=sys.stderr, flush=True)
