"""Does alignment predict training? Deviation measured on the way beside the score at the end, over the same runs.

A run of an untied rule is a point: its mean cosine to the exact gradient (or log10 magnitude ratio, or log10 margin)
over the measured epochs, and how far its final score lies above that of the tied run of the same seed. Tied runs are
no points: their cosine is 1 and their difference 0 whatever the question.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass

from ..grid import Grid
from ..job import Record
from .table import SCORES, Setting, setting

MEASURES = ("cosine", "log10_magnitude_ratio", "log10_margin")
"""What is correlated with the score, by its name in the measured rows."""

LEAST = 4
"""With fewer points, or with points of fewer than three rules, no correlation is given."""


@dataclass(frozen=True)
class Correlation:
    """One measure in one setting.

    Attributes:
        setting, measure: which.
        runs, rules: how many points, and of how many rules.
        spearman, pearson: coefficients; ``None`` where the points do not determine them.
        low, high: 95% interval of Spearman's, from draws of whole rules: seeds of one rule are no independent points.
    """

    setting: Setting
    measure: str
    runs: int
    rules: int
    spearman: float | None
    pearson: float | None
    low: float | None
    high: float | None

    def as_json(self) -> dict[str, object]:
        """One flat record."""
        return {**asdict(self.setting), **{name: value for name, value in asdict(self).items() if name != "setting"}}


def correlations(grid: Grid, records: Sequence[Record]) -> tuple[Correlation, ...]:
    """A row for each setting and measure; none where nothing was measured or no tied run is there."""
    score = SCORES[grid.task].name
    settings: dict[Setting, list[Record]] = {}
    for record in records:
        settings.setdefault(setting(record), []).append(record)
    return tuple(row for where, runs in settings.items() for row in _rows(where, runs, score))


def _rows(where: Setting, runs: Sequence[Record], score: str) -> Iterator[Correlation]:
    if not any(run.measured for run in runs):
        return
    tied = {run.cell.seed: run.final(score) for run in runs if run.cell.rule == "tied"}
    for measure in MEASURES:
        points: dict[str, list[tuple[float, float]]] = {}
        for run in runs:
            reference, final = tied.get(run.cell.seed), run.final(score)
            mean = _mean([row[measure] for row in run.measured])
            if run.cell.rule != "tied" and None not in (reference, final, mean):
                points.setdefault(run.cell.rule, []).append((mean, final - reference))  # type: ignore[operator, arg-type]
        if points:
            yield _correlation(where, measure, points)


def _correlation(where: Setting, measure: str, points: dict[str, list[tuple[float, float]]]) -> Correlation:
    import numpy as np
    from scipy.stats import pearsonr, spearmanr

    every = [point for of_rule in points.values() for point in of_rule]
    runs, rules = len(every), len(points)
    if runs < LEAST or rules < 3 or _still(every):
        return Correlation(where, measure, runs, rules, None, None, None, None)
    by_rule, generator = list(points.values()), np.random.default_rng(0)
    drawn = []
    for _ in range(1000):
        sample = [point for index in generator.integers(0, rules, rules) for point in by_rule[index]]
        if not _still(sample):
            drawn.append(float(spearmanr(*zip(*sample, strict=True)).statistic))
    low, high = np.quantile(drawn, (0.025, 0.975))
    spearman, pearson = spearmanr(*zip(*every, strict=True)), pearsonr(*zip(*every, strict=True))
    return Correlation(
        where, measure, runs, rules, float(spearman.statistic), float(pearson.statistic), float(low), float(high)
    )


def _still(points: Sequence[tuple[float, float]]) -> bool:
    """Whether one of the two coordinates does not move: there is nothing to correlate."""
    return any(len(set(axis)) < 2 for axis in zip(*points, strict=True))


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None and math.isfinite(value)]
    return sum(known) / len(known) if known else None


def sentence(row: Correlation) -> str:
    """What the row supports."""
    what = _NAMED[row.measure]
    points = f"{row.runs} runs of {row.rules} rules"
    if row.spearman is None or row.low is None or row.high is None:
        return f"{row.setting}: whether {what} predicts the score is not determined by {points}."
    found = f"Spearman {row.spearman:+.2f} [{row.low:+.2f}, {row.high:+.2f}], {points}"
    if row.low > 0:
        return f"{row.setting}: a larger {what} goes with a better score ({found})."
    if row.high < 0:
        return f"{row.setting}: a larger {what} goes with a worse score ({found})."
    return f"{row.setting}: {what} does not tell how good the score is ({found})."


_NAMED = {
    "cosine": "cosine to the exact gradient",
    "log10_magnitude_ratio": "step length (log10 of the ratio to the exact gradient)",
    "log10_margin": "descent margin (log10 of kappa*)",
}
