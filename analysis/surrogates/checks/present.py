"""The door on the command line: targets in, a table or one JSON document out."""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
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

    Raises:
        Refused: the target is neither a catalogue name nor of the form ``where:object``.
    """
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
    return Checked(target, found, profile)


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
    shown = track(named, "checking", console=waiting, transient=True, disable=not waiting.is_terminal)
    # Thirty small evaluations gain nothing from threads, and lose much where another process wants the cores too.
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        # What the user's code prints is no part of our answer, least of all of a JSON document.
        with contextlib.redirect_stdout(sys.stderr):
            found = [check_target(target, seed, backend) for target in shown]
    finally:
        torch.set_num_threads(threads)
    seconds = time.perf_counter() - started
    if as_json:
        print(json.dumps(as_document(found, seconds), allow_nan=False))
    else:
        show(found, seconds, console)
    return not any(checked.violated for checked in found)


def as_document(found: Iterable[Checked], seconds: float) -> dict[str, Any]:
    """The document of ``--json``, strictly JSON."""
    targets = [
        {"target": c.target, "checks": [r.as_json() for r in c.checks], "profile": plain(c.profile)} for c in found
    ]
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
    console.print(f"{len(found)} targets, {bad} with violations, {seconds:.1f} s")
