"""The table of a grid: a row for each (network, data, forward, learning rate, batch size, rule), over its seeds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from ....analysis.surrogates.lookup import TIED
from ...networks import network
from ..grid import Grid, Task, own_data
from ..job import Record
from .statistics import Mean, Paired, holm, mean, paired

LEVEL = 0.05
"""A difference is one where Holm's p value lies below it."""

LEARNED = 0.1
"""A rule has left chance where the lower end of its interval lies beyond this share of the way from chance to 1."""


@dataclass(frozen=True)
class Score:
    """What a task is judged by.

    Attributes:
        name: of the score in a record's curve.
        title: for headings.
        scale: what the table shows is the score times this.
        margin: a difference whose whole interval is smaller is called as good; in the score's own unit.
    """

    name: str
    title: str
    scale: float
    margin: float


SCORES: dict[Task, Score] = {
    "train": Score("test_accuracy", "accuracy, %", 100.0, 0.01),
    "maximise": Score("activation", "activation", 1.0, 0.1),
}
"""By task; an accuracy is as good within one percentage point, an activation (a logit) within a tenth."""


@dataclass(frozen=True)
class Setting:
    """What the rules of one comparison share."""

    network: str
    data: str
    forward: str
    learning_rate: float
    batch: int
    epochs: int
    momentum: float

    def __str__(self) -> str:
        where = self.network if self.data == network(self.network).data else f"{self.network} on {self.data}"
        momentum = f", momentum {self.momentum:g}" if self.momentum else ""
        found = f"{where}, {self.forward}, lr {self.learning_rate:g}, batch {self.batch}"
        return f"{found}, {self.epochs} epoch{'s' * (self.epochs != 1)}{momentum}"


@dataclass(frozen=True)
class Row:
    """One rule in one setting.

    Attributes:
        setting, rule: which.
        score: mean over the seeds that did not diverge.
        loss: of the training split, likewise; without runs where the task has none.
        diverged: how many runs diverged; they are in no mean.
        against: the rule that it is compared with, "" for that rule itself.
        paired: over the seeds at which neither diverged.
        p_holm: the p value, corrected over the rules of this setting.
        verdict: as `verdict` has it; "diverged" where all runs of the rule did; "quick" where the grid is cut short;
            "at chance" where neither the rule nor what it is compared with left chance; "" for the rule that the others
            are compared with.
        angle: mean angle in degrees to the exact gradient over stages and the seeds that did not diverge; ``None``
            where not measured.
        chance: as `Record` has it.
    """

    setting: Setting
    rule: str
    score: Mean
    loss: Mean
    diverged: int
    against: str
    paired: Paired
    p_holm: float | None
    verdict: str
    angle: float | None = None
    chance: float | None = None

    @property
    def left_chance(self) -> bool | None:
        """Whether the rule clearly learned something; ``None`` where there is no chance level, or no run."""
        return left_chance(self.score, self.chance)

    def as_json(self) -> dict[str, object]:
        """One flat record."""
        return {
            **asdict(self.setting),
            "rule": self.rule,
            "runs": self.score.runs,
            "diverged": self.diverged,
            "mean": self.score.value,
            "half_width": self.score.half_width,
            "train_loss": self.loss.value,
            "train_loss_half_width": self.loss.half_width,
            "against": self.against,
            "pairs": self.paired.difference.runs,
            "difference": self.paired.difference.value,
            "difference_half_width": self.paired.difference.half_width,
            "p_value": self.paired.p_value,
            "p_holm": self.p_holm,
            "verdict": self.verdict,
            "angle_degrees": self.angle,
            "chance": self.chance,
            "left_chance": self.left_chance,
        }


def table(grid: Grid, records: Sequence[Record]) -> tuple[Row, ...]:
    """The rows of a grid, in the order of its cells."""
    score = SCORES[grid.task]
    settings: dict[Setting, dict[str, list[Record]]] = {}
    for record in records:
        settings.setdefault(setting(record), {}).setdefault(record.cell.rule, []).append(record)
    return tuple(row for where, by_rule in settings.items() for row in _rows(where, by_rule, score, grid.short))


def setting(record: Record) -> Setting:
    """What the record's run shares with those of other rules and seeds."""
    cell = record.cell
    return Setting(
        cell.network, own_data(cell), cell.forward, cell.learning_rate, cell.batch, cell.epochs, cell.momentum
    )


def _rows(where: Setting, by_rule: dict[str, list[Record]], score: Score, short: bool) -> list[Row]:
    against = TIED if TIED in by_rule else next(iter(by_rule))
    chance = next((record.chance for records in by_rule.values() for record in records), None)
    finals = {rule: _finals(records, score.name) for rule, records in by_rule.items()}
    tests = {rule: _paired(values, finals[against]) for rule, values in finals.items() if rule != against}
    corrected = dict(zip(tests, holm([test.p_value for test in tests.values()]), strict=True))

    def said(rule: str) -> str:
        if rule == against:
            return ""
        if not finals[rule]:
            return "diverged"
        if short:
            return "quick"
        found = verdict(tests[rule], corrected[rule], score.margin)
        learned = [left_chance(mean(list(finals[each].values())), chance) for each in (rule, against)]
        return "at chance" if learned == [False, False] and found not in ("no pair", "one seed") else found

    return [
        Row(
            where,
            rule,
            mean(list(finals[rule].values())),
            mean(list(_finals(records, "train_loss").values())),
            sum(record.diverged is not None for record in records),
            "" if rule == against else against,
            tests.get(rule, Paired(mean([]), None)),
            corrected.get(rule),
            said(rule),
            _angle(records),
            chance,
        )
        for rule, records in by_rule.items()
    ]


def _finals(records: Sequence[Record], score: str) -> dict[int, float]:
    """The final score by seed, of the runs that did not diverge."""
    found = {record.cell.seed: record.final(score) for record in records if score in record.curve}
    return {seed: value for seed, value in found.items() if value is not None}


def _paired(values: dict[int, float], reference: dict[int, float]) -> Paired:
    both = sorted(values.keys() & reference.keys())
    return paired([values[seed] for seed in both], [reference[seed] for seed in both])


def verdict(test: Paired, p_holm: float | None, margin: float) -> str:
    """What a comparison supports: "better", "worse", "as good" or "undecided"; or why there is none.

    A difference that is not significant is not equality: "as good" needs the whole interval within the margin. Without
    a seed at which both ended the answer is "no pair"; one seed, "one seed", has neither interval nor test.
    """
    value, half_width = test.difference.value, test.difference.half_width
    if value is None:
        return "no pair"
    if half_width is None or p_holm is None:
        return "one seed"
    if p_holm < LEVEL:
        return "better" if value > 0 else "worse"
    return "as good" if abs(value) + half_width < margin else "undecided"


def left_chance(score: Mean, chance: float | None) -> bool | None:
    """Whether a mean accuracy lies clearly above chance, by `LEARNED`.

    >>> left_chance(Mean(0.18, 0.02, 5), 0.1), left_chance(Mean(0.5, 0.1, 5), 0.1)
    (False, True)
    """
    if chance is None or score.value is None:
        return None
    return score.value - (score.half_width or 0.0) > bound(chance)


def bound(chance: float) -> float:
    """The accuracy above which an interval must lie to have left chance.

    >>> round(bound(0.1), 3)
    0.19
    """
    return chance + LEARNED * (1 - chance)


def _angle(records: Sequence[Record]) -> float | None:
    angles = [row["angle_degrees"] for record in records if record.diverged is None for row in record.measured]
    known = [angle for angle in angles if angle is not None and math.isfinite(angle)]
    return sum(known) / len(known) if known else None
