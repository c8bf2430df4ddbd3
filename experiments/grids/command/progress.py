"""How far a grid is: a bar with rate and time left on a terminal, a line now and then in a log; always on stderr."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from ..running.run import Progress

LINE_EVERY = 60.0
"""Seconds between two lines where stderr is no terminal, as in the log of a batch job."""


@contextmanager
def shown(total: int) -> Iterator[Progress]:
    """A progress to give to `complete`, over so many epochs."""
    from rich import progress
    from rich.console import Console

    console = Console(stderr=True)
    if not console.is_terminal:
        yield _lines(total)
        return
    columns = (
        progress.TextColumn("{task.description}"),
        progress.BarColumn(),
        progress.MofNCompleteColumn(),
        progress.TextColumn("epochs, {task.fields[rate]}"),
        progress.TimeElapsedColumn(),
        progress.TextColumn("left"),
        progress.TimeRemainingColumn(),
    )
    with progress.Progress(*columns, console=console) as bars:
        task = bars.add_task("starting", total=total, rate="")
        rate = Rate()

        def advance(running: str, done: int) -> None:
            bars.update(task, completed=done, description=running, rate=f"{rate(done):.3g}/s")

        yield advance


class Rate:
    """Epochs a second since the first call; what earlier calls of the grid did does not count."""

    def __init__(self) -> None:
        self._first: tuple[float, int] | None = None

    def __call__(self, done: int) -> float:
        """The rate, at this number of epochs done; 0 at first."""
        now = time.monotonic()
        self._first = self._first or (now, done)
        return (done - self._first[1]) / max(now - self._first[0], 1e-9)


def _lines(total: int) -> Progress:
    import sys

    rate, told = Rate(), time.monotonic()

    def advance(running: str, done: int) -> None:
        nonlocal told
        speed = rate(done)
        if time.monotonic() - told > LINE_EVERY and speed:
            told = time.monotonic()
            left = duration((total - done) / speed)
            print(f"{done} of {total} epochs, {speed:.3g}/s, {left} left: {running}", file=sys.stderr, flush=True)

    return advance


def duration(seconds: float) -> str:
    """A time that reads well.

    >>> duration(0.4), duration(75), duration(7300)
    ('0.4 s', '1 min 15 s', '2 h 1 min')
    """
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"
