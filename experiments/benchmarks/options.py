"""The command ``downslope benchmark``: its options, and its rows as JSON or as tables for readers."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.table import Table


class What(StrEnum):
    """What is timed."""

    gradients = "gradients"
    grids = "grids"


def benchmark(
    what: Annotated[What, typer.Argument(help="What is timed.")],
    growth: Annotated[
        bool, typer.Option("--growth", help="Instead: how the cost of gradients grows with K, draws and sizes.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")] = False,
) -> None:
    """Speed, as ratios against the library freegrad and the floating-point bound, side by side in one run.

    One thread, CPU time, in turns, medians. It reports: the exit code is 0 on a slow machine, too. It takes a few
    minutes, several times that beside other work; stderr says which row is being timed.
    """
    from rich.console import Console

    from ...analysis.errors import Refused
    from . import gradients, grids
    from . import growth as growing

    if growth and what is not What.gradients:
        raise Refused(f"benchmark {what.value} --growth: only the cost of gradients is timed by size.")

    timed = growing if growth else gradients if what is What.gradients else grids

    def said(number: int, name: str) -> None:
        # On stderr: stdout holds the rows alone.
        print(f"{'series' if growth else 'row'} {number} of {timed.ROWS}: {name}", file=sys.stderr, flush=True)

    rows = timed.rows(progress=said)
    if as_json:
        print(json.dumps({"rows": rows}, indent=2))
    else:
        Console().print(sizes(rows) if growth else ratios(rows))


def ratios(rows: Sequence[dict[str, Any]]) -> Table:
    """One line a comparison; a ratio that does not hold stands out and says so."""
    from rich.table import Table

    table = Table("what", "ratio", "has to be", "aim", "of the bound", title="CPU time, one thread, medians")
    for each in rows:
        least, most = each["at_least"], each.get("at_most")
        holds = each["ratio"] <= most if most is not None else each["ratio"] >= least
        limit = f"at most {most:g}" if most is not None else f"at least {least:g}"
        ratio = f"{each['ratio']:.2f}" if holds else f"[bold red]{each['ratio']:.2f} (short)[/]"
        table.add_row(each["what"], ratio, limit, f"{each['aim']:g}", f"{each['bound_ratio']:.1f}")
    return table


def sizes(rows: Sequence[dict[str, Any]]) -> Table:
    """One line a size."""
    from rich.table import Table

    table = Table(
        "grows", "size", "gradients, ms", "metrics, ms", "slope", title="MLP 784-512-512-10, batch 256, K = 8"
    )
    for each in rows:
        slope = "" if each["slope"] is None else f"{each['slope']:.2f}"
        seconds = (f"{1e3 * each[key]:.2f}" for key in ("gradients_seconds", "metrics_seconds"))
        table.add_row(each["grows"], str(each["size"]), *seconds, slope)
    return table
