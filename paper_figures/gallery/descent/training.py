"""Training curves, tied against untied."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ... import look, tables

NAME, TITLE = "training", "Training, tied against untied"
TABLE, ONE_RUN = "curves", False
COLUMNS = tables.columns("network", "trained", "seed", "epoch", "split", "loss", "accuracy")
TIED = "tied"
_MEASURES = {"loss": ("cross-entropy (nats)", 1, "{:.3f}"), "accuracy": ("accuracy (%)", 100, "{:.1f}")}


def draw(table: pd.DataFrame, *, split: str = "test") -> Figure:
    """Loss and accuracy over training with the exact (tied) backward and with a replaced one. Lines are means over
    seeds, bands their full range; the number beside a line is its last mean.

    Args:
        table: training curves, with the columns of `COLUMNS`.
        split: "test" or "train".

    Raises:
        Refused: a column is missing, or nothing is left to draw.
    """
    tables.require(table, COLUMNS, figure=NAME)
    table = tables.select(table, figure=NAME, split=split)
    networks, rules = table["network"].unique().tolist(), table["trained"].unique().tolist()
    with look.house():
        figure = look.figure(3.4)
        panels = figure.subplots(2, len(networks), sharex="col", sharey="row", squeeze=False)
        for column, network in enumerate(networks):
            runs = table[table["network"] == network]
            for row, measure in enumerate(_MEASURES):
                _panel(panels[row, column], runs, measure, rules, labelled=column == 0)
            panels[0, column].set_title(network)
            panels[1, column].set_xlabel("epoch")
    return figure


def _panel(panel: Axes, runs: pd.DataFrame, measure: str, rules: list[str], *, labelled: bool) -> None:
    label, scale, form = _MEASURES[measure]
    ends: dict[str, float] = {}
    for rule in rules:
        of_rule = runs[runs["trained"] == rule]
        if of_rule.empty:
            continue
        spread = of_rule.groupby("epoch")[measure].agg(["mean", "min", "max"]) * scale
        colour, line = _style(rule)
        panel.fill_between(spread.index, spread["min"], spread["max"], color=colour, alpha=0.2, linewidth=0)
        panel.plot(spread.index, spread["mean"], color=colour, linestyle=line, label=rule)
        ends[rule] = float(spread["mean"].iloc[-1])
    if labelled:
        panel.set_ylabel(label)
    panel.set_xlim(0, runs["epoch"].max())
    panel.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    for place, rule in enumerate(sorted(ends, key=ends.__getitem__, reverse=True)):
        # Beside the curves' ends, one under the other: labels at the ends themselves would cover each other.
        panel.annotate(
            f"{rule} {form.format(ends[rule])}",
            (0.98, 0.95 if measure == "loss" else 0.05 + 0.11 * (len(ends) - 1)),
            xycoords="axes fraction",
            xytext=(0, -9 * place),
            textcoords="offset points",
            ha="right",
            va="top" if measure == "loss" else "center",
            color=_style(rule)[0],
            fontsize=look.SMALLEST,
        )


def _style(rule: str) -> tuple[str, object]:
    return (look.INK, "-") if rule == TIED else (look.style(rule).colour, (0, (4, 1.2)))
