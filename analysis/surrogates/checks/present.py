"""The door on the command line: targets in, a table or one JSON document out."""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from rich.console import Console
from rich.markup import escape
from rich.progress import track
from rich.table import Table

from ...errors import Refused
from ..adapters.load import load
from ..catalogue import SURROGATES
from .profile import measured
from .record import Outcome, Record, plain, violation
from .run import records
from .subject import Subject, TargetRaised, Undefined

COLOURS = {
    Outcome.VIOLATION: "bold red",
    Outcome.NOTE: "yellow",
    Outcome.EXPECTED: "cyan",
    Outcome.SKIPPED: "dim",
    Outcome.PASSED: "green",
}


MANY = 8
"""From so many targets on, two processes check them."""


@dataclass(frozen=True)
class Checked:
    """A target with its records and what was measured of it."""

    target: str
    checks: Sequence[Record]
    profile: dict[str, Any]

    @property
    def violated(self) -> bool:
        """Whether any check ended in a violation."""
        return any(record.outcome is Outcome.VIOLATION for record in self.checks)


def check_target(target: str, seed: int, backend: str) -> Checked:
    """Every check of one target. One that cannot be imported is a record too, so that the others go on.

    What the user's code prints goes to stderr: it is no part of the answer, least of all of a JSON document.

    Raises:
        Refused: the target is neither a catalogue name nor of the form ``where:object``.
    """
    with contextlib.redirect_stdout(sys.stderr):
        try:
            adapted = load(target)
        except Refused:
            raise
        except (Exception, SystemExit) as error:
            told = violation(f"the target cannot be imported: {type(error).__name__}: {error}", error=str(error))
            return Checked(target, [replace(told, name="forward-runs")], {})
        subject = Subject(adapted, seed, backend)
        found = records(subject, adapted.expected_failed_checks)
        try:
            profile = measured(subject)
        except (TargetRaised, Undefined):
            profile = {}
    # Plain values: a tensor does not travel well between processes.
    told_plainly = [replace(record, counterexample=plain(record.counterexample)) for record in found]
    return Checked(target, told_plainly, plain(profile))


def check_targets(
    targets: Sequence[str], *, everything: bool, seed: int, backend: str, as_json: bool, console: Console
) -> bool:
    """Checks targets, prints what was found; whether none is violated.

    Raises:
        Refused: no target is given, or one is neither a catalogue name nor of the form ``where:object``.
    """
    named = [*(SURROGATES if everything else ()), *targets]
    if not named:
        raise Refused(
            "check needs a TARGET (a catalogue name, package.module:object or path/to/file.py:object), or --all"
        )
    started = time.perf_counter()
    waiting = Console(stderr=True)
    one = partial(check_target, seed=seed, backend=backend)
    with _workers(len(named)) as each:
        shown = track(
            each(one, named), "checking", len(named), console=waiting, transient=True, disable=not waiting.is_terminal
        )
        found = list(shown)
    seconds = time.perf_counter() - started
    if as_json:
        print(json.dumps(as_document(found, seconds), allow_nan=False))
    else:
        show(found, seconds, console)
    return not any(checked.violated for checked in found)


@contextlib.contextmanager
def _workers(count: int) -> Iterator[Callable[..., Iterable[Checked]]]:
    """A ``map``: in two processes where there is enough to do to pay for starting them; one thread each.

    Thirty small evaluations gain nothing from threads, and lose much where another process wants the cores too.
    """
    if count < MANY:
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            yield map
        finally:
            torch.set_num_threads(threads)
    else:
        spawn = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(2, spawn, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            yield pool.map


def as_document(found: Iterable[Checked], seconds: float) -> dict[str, Any]:
    """The document of ``--json``, strictly JSON."""
    targets = [{"target": c.target, "checks": [r.as_json() for r in c.checks], "profile": c.profile} for c in found]
    return {"targets": targets, "seconds": round(seconds, 3)}


def show(found: Sequence[Checked], seconds: float, console: Console) -> None:
    """A table a target: what passed in one line, the rest a row each; then the lines that reproduce it."""
    for checked in found:
        table = Table(title=escape(checked.target), title_justify="left", show_lines=False, expand=True)
        table.add_column("check", no_wrap=True)
        table.add_column("outcome", no_wrap=True)
        table.add_column("what it means for training", ratio=1)
        for outcome in (Outcome.VIOLATION, Outcome.EXPECTED, Outcome.NOTE):
            for record in (r for r in checked.checks if r.outcome is outcome):
                table.add_row(record.name, f"[{COLOURS[outcome]}]{outcome}[/]", escape(record.message))
        for outcome in (Outcome.PASSED, Outcome.SKIPPED):
            names = [record.name for record in checked.checks if record.outcome is outcome]
            if names:
                table.add_row(f"{len(names)} checks", f"[{COLOURS[outcome]}]{outcome}[/]", ", ".join(names))
        console.print(table)
        for record in checked.checks:
            if record.outcome is Outcome.VIOLATION and "python" in record.counterexample:
                console.print(f"[bold]{record.name}[/], to reproduce:")
                console.print(record.counterexample["python"], markup=False, highlight=False, soft_wrap=True)
    bad = sum(checked.violated for checked in found)
    console.print(f"{len(found)} target{'s' * (len(found) != 1)}, {bad} with violations, {seconds:.1f} s")
