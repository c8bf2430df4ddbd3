"""The sentences that a table supports: where untied is better, as good or worse; where a poor angle does no harm."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

from ..grid import Grid
from .table import LEVEL, SCORES, Row, Score, bound

POOR = 60.0
"""An angle above it, in degrees, is called poor: less than half of the step's length points along the exact one."""

_SAID = {
    "better": "better",
    "worse": "worse",
    "as good": "as good",
    "at chance": "neither {reference} nor these left chance",
    "undecided": "not told apart (their intervals hold 0 and reach beyond the margin of {margin})",
    "corrected": "apart if each were the only one, not so among {tests} rules (Holm)",
    "few seeds": "the same difference at every seed, and too few seeds to be sure of it",
    "one seed": "one seed: no interval, no test",
    "no pair": "not compared (at no seed did {reference} end as well)",
}

QUICK = "quick: supports no sentence"
"""What is said of a grid that is cut short."""

DIVERGED = (
    "Diverged: after some epoch a weight or a loss was not a finite number. A run whose loss is large but finite is an "
    "ordinary run."
)
"""What counts as diverged, as `plain.finite` has it."""


def sentences(grid: Grid, rows: Sequence[Row]) -> Iterator[str]:
    """One sentence for each setting, in the order of the table; of a grid that is cut short, that it supports none."""
    for setting, group in groupby(rows, key=lambda row: row.setting):
        listed = list(group)
        said = [QUICK] if grid.short else _compared(listed, SCORES[grid.task])
        yield f"{setting}: {'; '.join([*said, *_lost(listed)])}."


def _compared(rows: Sequence[Row], score: Score) -> list[str]:
    (first,) = [row for row in rows if not row.against]
    others = [row for row in rows if row.against]
    above = None if first.chance is None else bound(first.chance)
    chance = f"{shown(first.chance, None, score)}; the interval must lie above {shown(above, None, score)}"
    margin = f"{score.margin * score.scale:g}{' point' * (score.scale == 100)}"
    ended = first.score.value is not None
    reached = f"{first.rule} reaches {shown(first.score.value, first.score.half_width, score)}"
    said = [reached + f" and does not leave chance ({chance})" * (first.left_chance is False)] * ended
    for verdict, words in _SAID.items():
        found = [row for row in others if _why(row) == verdict]
        if found:
            listed = ", ".join(f"{row.rule} ({_difference(row, score)})" for row in found)
            said.append(f"{words.format(margin=margin, reference=first.rule, tests=len(others))}: {listed}")
    survivors = [
        row
        for row in others
        if row.verdict in ("better", "as good") and (row.angle or 0) > POOR and row.left_chance is not False
    ]
    if survivors:
        listed = ", ".join(f"{row.rule} ({row.angle:.0f} degrees)" for row in survivors)
        said.append(f"the score survives a poor angle: {listed}")
    return said


def _why(row: Row) -> str:
    """The verdict, and of one that is undecided the reason."""
    value, half_width, p = row.paired.difference.value, row.paired.difference.half_width, row.paired.p_value
    if row.verdict != "undecided" or value is None or half_width is None or p is None or abs(value) <= half_width:
        return row.verdict
    return "corrected" if p < LEVEL else "few seeds"


def _lost(rows: Sequence[Row]) -> list[str]:
    lost = [f"{row.rule} {row.diverged} of {row.diverged + row.score.runs}" for row in rows if row.diverged]
    return [f"diverged and left out: {', '.join(lost)}"] * bool(lost)


def shown(value: float | None, half_width: float | None, score: Score) -> str:
    """A mean with its interval, in the unit of the table."""
    if value is None:
        return "-"
    spread = "" if half_width is None else f" ± {half_width * score.scale:.2f}"
    return f"{value * score.scale:.2f}{spread}"


def _difference(row: Row, score: Score) -> str:
    value, half_width = row.paired.difference.value, row.paired.difference.half_width
    if value is None:
        return f"reaches {shown(row.score.value, row.score.half_width, score)}"
    sign = "+" if value >= 0 else ""
    p = "" if row.p_holm is None else f", p = {row.p_holm:.2g}"
    small = half_width is not None and abs(value) + half_width < score.margin and row.verdict in ("better", "worse")
    return f"{sign}{shown(value, half_width, score)}{p}{', within the margin' * small}"
