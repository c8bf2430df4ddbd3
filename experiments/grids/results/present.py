"""What the command prints: the tables, their sentences, how long it took; and all of it as strict JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from ..grid import Grid
from ..job import Record
from .alignment import correlations, sentence
from .sentences import DIVERGED, sentences, shown
from .table import SCORES, Row, Score, table


def document(grid: Grid, records: Sequence[Record]) -> dict[str, Any]:
    """``{"cells": [...], "table": [...]}`` in a fixed order; no time is in it, so equal results are equal documents."""
    rows, aligned = table(grid, records), correlations(grid, records)
    return {
        "cells": [record.as_json() for record in records],
        "table": [row.as_json() for row in rows],
        "alignment": [row.as_json() for row in aligned],
        "sentences": [*sentences(grid, rows), *_aligned(grid, records)],
        "left_out": grid.left_out(),
    }


def as_json(grid: Grid, records: Sequence[Record], times: Mapping[str, float]) -> str:
    """The document, and apart from it the seconds of each job by its key."""
    return json.dumps(document(grid, records) | {"times": dict(times)}, indent=2, allow_nan=False)


def shown_table(grid: Grid, records: Sequence[Record], width: int) -> Iterator[Table | str]:
    """For each setting a table that fits this many columns and its sentence; then what was left out."""
    rows = table(grid, records)
    said = sentences(grid, rows)
    for (setting, group), text in zip(groupby(rows, key=lambda row: row.setting), said, strict=True):
        yield from _tables(str(setting), list(group), SCORES[grid.task], width)
        yield f"{text}\n"
    if any(row.diverged for row in rows):
        yield DIVERGED
    yield from _aligned(grid, records)
    for pair, reason in grid.left_out().items():
        yield f"Left out: {pair}: {reason}."


def _aligned(grid: Grid, records: Sequence[Record]) -> list[str]:
    """What is said of alignment; nothing of a grid that is cut short."""
    return [] if grid.short else [sentence(row) for row in correlations(grid, records)]


def _tables(title: str, rows: Sequence[Row], score: Score, width: int) -> Iterator[Table]:
    """The columns that hold something, every number whole: where there is no room, without the `_SPARE`, which the
    caption then names; with long rules folded; at last in several tables, one below the other."""
    written = [_cells(row, score) for row in rows]
    columns = {heading: [cells[heading] for cells in written] for heading in _HEADINGS}
    columns = {heading: cells for heading, cells in columns.items() if any(cell != "-" for cell in cells)}
    spared: list[str] = []

    def made(headings: Sequence[str]) -> Table:
        return _table(title, {heading: columns[heading] for heading in headings}, score, spared)

    for heading in _SPARE:
        if heading in columns and _ENDLESS.measure(made(list(columns))).maximum > width:
            del columns[heading]
            spared.append(heading)
    part = ["rule"]
    for heading in list(columns)[1:]:
        if len(part) > 1 and _ENDLESS.measure(made([*part, heading])).minimum > width:
            yield made(part)
            part = ["rule"]
        part.append(heading)
    yield made(part)


def _table(title: str, columns: Mapping[str, Sequence[str]], score: Score, spared: Sequence[str]) -> Table:
    found = Table(
        title=f"{title}: mean ± 95% interval over seeds",
        title_justify="left",
        caption=f"No room here for: {', '.join(spared)}" if spared else None,
        caption_justify="left",
        box=box.SIMPLE,
        pad_edge=False,
        collapse_padding=True,
    )
    for heading, cells in columns.items():
        text = score.title if heading == "score" else heading
        if heading == "rule":
            found.add_column(text, overflow="fold", min_width=min(_RULE, max(map(len, cells))))
        else:
            found.add_column(text, justify="left" if heading == "verdict" else "right", no_wrap=True)
    for row in zip(*columns.values(), strict=True):
        found.add_row(*row)
    return found


_ENDLESS = Console(width=10_000)
"""A measure taken on it is not cut to the terminal."""

_RULE = 16
"""Columns that a folded rule keeps."""

_SPARE = ("loss", "pairs", "seeds")
"""What a narrow terminal is not shown, the first first; the JSON has it."""

_HEADINGS = ("rule", "seeds", "diverged", "pairs", "score", "loss", "difference", "Holm p", "verdict", "angle")


def _cells(row: Row, score: Score) -> dict[str, str]:
    """A row of the table by heading, "-" where there is nothing."""
    return {
        "rule": row.rule,
        "seeds": f"{row.score.runs}",
        "diverged": f"{row.diverged}" if row.diverged else "-",
        "pairs": f"{row.paired.difference.runs}" if row.against else "-",
        "score": shown(row.score.value, row.score.half_width, score),
        "loss": "-" if row.loss.value is None else f"{row.loss.value:.4f}",
        "difference": shown(row.paired.difference.value, row.paired.difference.half_width, score),
        "Holm p": "-" if row.p_holm is None else f"{row.p_holm:.2g}",
        "verdict": row.verdict or "reference",
        "angle": "-" if row.angle is None else f"{row.angle:.1f}",
    }
