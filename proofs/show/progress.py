"""A progress bar on stderr while claims are decided; nothing where stderr is no terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from ..referee import Result


@contextmanager
def progress(total: int) -> Iterator[Callable[[Result], None]]:
    """Gives the function to call with each result."""
    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    bar = Progress(
        TextColumn("{task.description}"), *columns, console=console, transient=True, disable=not console.is_terminal
    )
    with bar:
        task = bar.add_task("claims", total=total)

        def tell(result: Result) -> None:
            bar.update(task, advance=1, description=f"{result.verdict} {result.claim.id}")

        yield tell
