"""The sentences that a table supports: where untied is better, as good or worse; where a poor angle does no harm."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

from ..grid import Task
from .table import SCORES, Row, Score, Setting

POOR = 60.0
"""An angle above it, in degrees, is called poor: less than half of the step's length points along the exact one."""

_SAID = {
    "better": "better",
    "worse": "worse",
    "as good": "as good",
    "undecided": "not told apart (their intervals reach beyond the margin of {margin})",
}


def sentences(task: Task, rows: Sequence[Row]) -> Iterator[str]:
    """One sentence for each setting, in the order of the table."""
    for setting, group in groupby(rows, key=lambda row: row.setting):
        yield _sentence(setting, list(group), SCORES[task])


def _sentence(setting: Setting, rows: Sequence[Row], score: Score) -> str:
    first, *others = rows
    margin = f"{score.margin * score.scale:g}{' point' * (score.scale == 100)}"
    said = [f"{first.rule} reaches {shown(first.score.value, first.score.half_width, score)}"]
    for verdict, words in _SAID.items():
        found = [row for row in others if row.verdict == verdict]
        if found:
            listed = ", ".join(f"{row.rule} ({_difference(row, score)})" for row in found)
            said.append(f"{words.format(margin=margin)}: {listed}")
    lost = [f"{row.rule} {row.diverged} of {row.diverged + row.score.runs}" for row in rows if row.diverged]
    if lost:
        said.append(f"diverged and left out: {', '.join(lost)}")
    survivors = [row for row in others if row.verdict in ("better", "as good") and (row.angle or 0) > POOR]
    if survivors:
        listed = ", ".join(f"{row.rule} ({row.angle:.0f} degrees)" for row in survivors)
        said.append(f"the score survives a poor angle: {listed}")
    return f"{setting}: {'; '.join(said)}."


def shown(value: float | None, half_width: float | None, score: Score) -> str:
    """A mean with its interval, in the unit of the table."""
    if value is None:
        return "-"
    spread = "" if half_width is None else f" ± {half_width * score.scale:.2f}"
    return f"{value * score.scale:.2f}{spread}"


def _difference(row: Row, score: Score) -> str:
    value, half_width = row.paired.difference.value, row.paired.difference.half_width
    if value is None:
        return "no pair"
    sign = "+" if value >= 0 else ""
    p = "" if row.p_holm is None else f", p = {row.p_holm:.2g}"
    small = half_width is not None and abs(value) + half_width < score.margin and row.verdict in ("better", "worse")
    return f"{sign}{shown(value, half_width, score)}{p}{', within the margin' * small}"
