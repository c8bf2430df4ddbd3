"""Training curves, tied against untied, and final accuracy against alignment."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from ... import look, tables
from ...marks import spread

NAME, TITLE = "training", "Training, tied against untied"
TABLE, ONE_RUN = "curves", False
COLUMNS = tables.columns("network", "trained", "seed", "epoch", "split", "loss", "accuracy")
MORE = {
    "grid": tables.columns(
        "network",
        "seed",
        forward="activation of the hidden units",
        rule="tied, or the surrogate that trained it, as rectangle(width=1)",
        learning_rate="of the training",
        final_accuracy="share of test samples classified rightly at the end, 0 to 1",
        alignment="mean cosine of surrogate and exact gradient over the training",
    )
}
TIED = "tied"
_PAIR = ("alignment", "final_accuracy")
"""What places a run on the panels of the grid."""
_MEASURES = {"loss": ("cross-entropy (nats)", 1, "{:.3f}"), "accuracy": ("accuracy (%)", 100, "{:.1f}")}


def draw(table: pd.DataFrame, *, grid: pd.DataFrame | None = None, split: str = "test") -> Figure:
    """Loss and accuracy over training with the exact (tied) backward and with a replaced one. Lines are means over
    seeds, bands their full range; the number beside a name is its last mean. Where a grid of runs is drawn below: final
    accuracy against the mean cosine of surrogate and exact gradient over the training, a marker a rule and learning
    rate, the mean over seeds, with 95% confidence intervals of both (Student's t).

    Args:
        table: training curves, with the columns of `COLUMNS`.
        grid: results of many runs, with the columns of `MORE`; only curves are drawn where it is ``None`` or no run in
            it has both an accuracy and an alignment.
        split: "test" or "train".

    Raises:
        Refused: a column is missing, or nothing is left to draw.
    """
    tables.require(table, COLUMNS, figure=NAME)
    table = tables.select(table, figure=NAME, split=split)
    networks, rules = table["network"].unique().tolist(), table["trained"].unique().tolist()
    runs: list[Any] = []
    if grid is not None:
        tables.require(grid, MORE["grid"], figure=NAME, unknown=_PAIR)
        runs = list(_placed(grid).groupby(["network", "forward"], sort=False))
    across = look.across(max(1, len(runs)), 1.3)
    heights = (3.4, (0.55 + 1.5 * -(-len(runs) // across)) if runs else 0.0)
    with look.house():
        figure = look.figure(sum(heights))
        parts = look.bands(figure, heights)
        panels = parts[0].subplots(2, len(networks), sharex="col", sharey="row", squeeze=False)
        ends = {}
        for column, network in enumerate(networks):
            of_network = table[table["network"] == network]
            for row, measure in enumerate(_MEASURES):
                ends[row, column] = _panel(panels[row, column], of_network, measure, rules, labelled=column == 0)
            panels[0, column].set_title(network)
            panels[1, column].set_xlabel("epoch")
        for (row, column), of_panel in ends.items():
            _name(panels[row, column], list(_MEASURES)[row], of_panel)
        if runs:
            _grid(parts[1], runs, across)
    return figure


def said(table: pd.DataFrame, *, grid: pd.DataFrame | None = None) -> str:
    """How many runs, and how final accuracy goes with alignment."""
    words = f"{spread.seeds(table)}."
    placed = None if grid is None else _placed(grid)
    if placed is not None and len(placed):
        pair = placed[list(_PAIR)].astype(float)
        rank = pair["alignment"].rank().corr(pair["final_accuracy"].rank()) if len(pair) > 2 else float("nan")
        known = f", rank correlation {rank:.2f}" if rank == rank else ""
        words += f" Below: {len(placed)} runs on {placed['seed'].nunique()} seeds{known}."
    return words


def _placed(grid: pd.DataFrame) -> pd.DataFrame:
    """The runs of a grid that have a place on its panels: the others are neither drawn nor counted."""
    return grid.dropna(subset=list(_PAIR))


def _grid(part: Any, runs: list[Any], across: int) -> None:
    panels = part.subplots(-(-len(runs) // across), across, sharex=True, sharey=True, squeeze=False)
    seen: dict[str, Line2D] = {}
    for place, panel in enumerate(panels.flat):
        if place >= len(runs):
            panel.set_axis_off()
            continue
        (network, forward), rows = runs[place]
        by = ["rule", "learning_rate"]
        accuracy, aligned = (spread.over_seeds(rows, by, each) for each in ("final_accuracy", "alignment"))
        for rule in rows["rule"].unique():
            colour, marker = _marker(rule)
            found = panel.errorbar(
                aligned.loc[rule, "mean"],
                accuracy.loc[rule, "mean"] * 100,
                xerr=aligned.loc[rule, "half"],
                yerr=accuracy.loc[rule, "half"] * 100,
                color=colour,
                marker=marker,
                linestyle="none",
                elinewidth=0.5,
                label=rule,
            )
            seen.setdefault(rule, Line2D([], [], color=colour, marker=marker, linestyle="none", label=look.words(rule)))
            found.lines[0].set_zorder(3)
        panel.set_title(f"{network}, {look.words(forward)}", fontsize=look.SMALLEST)
        panel.axvline(0, color=look.ALARM, linewidth=0.8, linestyle=(0, (3, 2)), zorder=1)
    part.supxlabel("alignment: mean cosine with the exact gradient", fontsize=7)
    part.supylabel("final accuracy (%)", fontsize=7)
    look.legend(part, list(seen.values()))


def _marker(rule: str) -> tuple[str, str]:
    """Colour and marker of a rule; its parameters do not change them."""
    name = rule.split("(")[0]
    return (look.INK, "*") if name == TIED else (look.style(name).colour, look.style(name).marker)


def _line(rule: str) -> Any:
    """Its line: two surrogates of one colour differ in it, and in the marker."""
    return "-" if rule == TIED else look.style(rule.split("(")[0]).line


def _panel(panel: Axes, runs: pd.DataFrame, measure: str, rules: list[str], *, labelled: bool) -> dict[str, float]:
    label, scale, _ = _MEASURES[measure]
    ends: dict[str, float] = {}
    for rule in rules:
        of_rule = runs[runs["trained"] == rule]
        if of_rule.empty:
            continue
        spread_of = of_rule.groupby("epoch")[measure].agg(["mean", "min", "max"]) * scale
        colour, marker = _marker(rule)
        every = max(1, len(spread_of) // 6)
        panel.fill_between(spread_of.index, spread_of["min"], spread_of["max"], color=colour, alpha=0.2, linewidth=0)
        style: dict[str, Any] = {} if rule == TIED else {"marker": marker, "markersize": 3, "markevery": every}
        panel.plot(spread_of.index, spread_of["mean"], color=colour, linestyle=_line(rule), label=rule, **style)
        ends[rule] = float(spread_of["mean"].iloc[-1])
    if labelled:
        panel.set_ylabel(label)
    panel.set_xlim(0, runs["epoch"].max())
    panel.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    return ends


def _name(panel: Axes, measure: str, ends: dict[str, float]) -> None:
    """Names and last values, each with its line and marker, in the corner where the fewest points of the curves lie."""
    form, wide, high = _MEASURES[measure][2], 0.42, 0.06 + 0.1 * len(ends)
    place = panel.transData + panel.transAxes.inverted()
    points = np.vstack([place.transform(line.get_xydata()) for line in panel.get_lines()])

    def crowd(corner: tuple[int, int]) -> int:
        x, y = np.abs(points - corner).T
        return int(((x < wide) & (y < high)).sum())

    right, top = min(((1, 1), (1, 0), (0, 0), (0, 1)), key=crowd)
    of_rule = {str(line.get_label()): line for line in panel.get_lines()}
    ordered = sorted(ends, key=ends.__getitem__, reverse=True)
    where: Any = f"{'upper' if top else 'lower'} {'right' if right else 'left'}"
    panel.legend(
        [of_rule[rule] for rule in ordered],
        [f"{look.words(rule)} {form.format(ends[rule])}" for rule in ordered],
        loc=where,
        labelcolor="linecolor",
        handlelength=3,
        labelspacing=0.25,
        borderaxespad=0.2,
    )
