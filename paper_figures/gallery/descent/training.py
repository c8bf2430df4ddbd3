"""Training curves, tied against untied, and final accuracy against alignment."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from ... import look, stored, tables
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
_MEASURES = {"loss": ("cross-entropy (nats)", 1, "{:.3f} nats"), "accuracy": ("accuracy (%)", 100, "{:.1f}%")}


def draw(table: pd.DataFrame, *, grid: pd.DataFrame | None = None, split: str = "test") -> Figure:
    """Loss and accuracy over training with the exact (tied) backward and with a replaced one, on the split that the
    axes name. Lines are means over seeds, bands their full range; the number beside a name is its last mean.

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
    heights = (2.9, (0.55 + 1.35 * -(-len(runs) // across)) if runs else 0.0)
    with look.house():
        figure = look.figure(sum(heights))
        parts = look.bands(figure, heights)
        panels = parts[0].subplots(2, len(networks), sharex="col", sharey="row", squeeze=False)
        ends = {}
        for column, network in enumerate(networks):
            of_network = table[table["network"] == network]
            for row, measure in enumerate(_MEASURES):
                ends[row, column] = _panel(panels[row, column], of_network, measure, rules)
                panels[row, 0].set_ylabel(f"{split} {_MEASURES[measure][0]}")
            panels[0, column].set_title(network)
            panels[1, column].set_xlabel("epoch")
        for row, measure in enumerate(_MEASURES):
            _named(list(panels[row]), measure, [ends[row, column] for column in range(len(networks))])
        if runs:
            _grid(parts[1], runs, across)
    return figure


def said(table: pd.DataFrame, *, grid: pd.DataFrame | None = None) -> str:
    """How many runs, what the grid below shows, and how final accuracy goes with alignment there."""
    words = f"{spread.runs(table)}."
    placed = None if grid is None else _placed(grid)
    if placed is None or not len(placed):
        return words
    several = placed["seed"].nunique() > 1
    rates = placed["learning_rate"].nunique() > 1
    below = [
        "Below: test accuracy at the end against the mean cosine of surrogate and exact gradient over the training, a",
        "marker a rule and learning rate (open: the lowest rate, filled: the highest, joined by a line)" * rates
        or "marker a rule",
        "with the means over seeds and the 95% confidence intervals of both (Student's t)" * several or "one seed",
    ]
    short = placed.attrs.get(stored.SHORTENED)
    return " ".join(
        filter(
            None,
            (
                f"{words} {below[0]} {below[1]}, {below[2]}; {len(placed)} run{'s' * (len(placed) != 1)},",
                f"{spread.runs(placed)}.",
                _agreement(placed),
                f"Their runs are cut short: {short}" if short else "",
            ),
        )
    )


def _agreement(placed: pd.DataFrame) -> str:
    """The rank correlations of accuracy with alignment: within one panel and learning rate, as networks and rates
    differ in accuracy whatever the alignment."""
    found = []
    for _, cell in placed.astype(dict.fromkeys(_PAIR, float)).groupby(["network", "forward", "learning_rate"]):
        means = cell.groupby("rule")[list(_PAIR)].mean()
        rank = means["alignment"].rank().corr(means["final_accuracy"].rank()) if len(means) > 2 else float("nan")
        found += [(rank, len(means))] if rank == rank else []
    if not found:
        return ""
    ranks, rules = [rank for rank, _ in found], sorted({n for _, n in found})
    between = f"{min(ranks):.2f}" if len(found) == 1 else f"{min(ranks):.2f} to {max(ranks):.2f}"
    of = f"{rules[0]}" if len(rules) == 1 else f"{rules[0]} to {rules[-1]}"
    return f"Rank correlation of the two within one panel and learning rate: {between} (n = {of} rules)."


def _placed(grid: pd.DataFrame) -> pd.DataFrame:
    """The runs of a grid that have a place on its panels: the others are neither drawn nor counted."""
    return grid.dropna(subset=list(_PAIR))


def _grid(part: Any, runs: list[Any], across: int) -> None:
    panels = part.subplots(-(-len(runs) // across), across, sharex=True, sharey=True, squeeze=False)
    fills = _fills(pd.concat([rows["learning_rate"] for _, rows in runs]))
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
            x, y = aligned.loc[rule], accuracy.loc[rule] * [100, 100, 1]
            panel.errorbar(
                x["mean"],
                y["mean"],
                xerr=x["half"],
                yerr=y["half"],
                color=colour,
                linewidth=0.4,
                elinewidth=0.5,
                label=rule,
            )
            for rate in x.index:
                shape: dict[str, Any] = {"color": colour, "marker": marker, "fillstyle": fills[rate], "zorder": 3}
                shape |= {"markerfacecoloralt": "white", "markeredgewidth": 0.6, "linestyle": "none"}
                if fills[rate] == "none":  # white, so that the line does not run through it
                    shape |= {"fillstyle": "full", "markerfacecolor": "white"}
                panel.plot(x.loc[[rate], "mean"], y.loc[[rate], "mean"], label=f"{rule} at {rate:g}", **shape)
            seen.setdefault(rule, Line2D([], [], color=colour, marker=marker, linestyle="none", label=look.words(rule)))
        panel.set_title(f"{network}, {look.words(forward)}", fontsize=look.SMALLEST)
        panel.axvline(0, color=look.ALARM, linewidth=0.8, linestyle=(0, (3, 2)), zorder=1)
    part.supxlabel("alignment: mean cosine with the exact gradient", fontsize=7)
    part.supylabel("final test accuracy (%)", fontsize=7)
    plain: dict[str, Any] = {"color": look.MUTED, "marker": "o", "linestyle": "none", "markerfacecoloralt": "white"}
    rates = [Line2D([], [], label=f"learning rate {rate:g}", fillstyle=fill, **plain) for rate, fill in fills.items()]
    look.legend(part, [*seen.values(), *(rates if len(rates) > 1 else [])])


def _fills(rates: pd.Series) -> dict[float, Any]:
    """How markers are filled at each learning rate: open at the lowest, filled at the highest, in half between.

    >>> _fills(pd.Series([0.5, 0.05, 0.1, 0.05])), _fills(pd.Series([0.1]))
    ({0.05: 'none', 0.1: 'left', 0.5: 'full'}, {0.1: 'full'})
    """
    known = [float(rate) for rate in sorted(rates.unique())]
    return {rate: "full" if rate == known[-1] else "none" if rate == known[0] else "left" for rate in known}


def _marker(rule: str) -> tuple[str, str]:
    """Colour and marker of a rule; its parameters do not change them."""
    name = rule.split("(")[0]
    return (look.INK, "*") if name == TIED else (look.style(name).colour, look.style(name).marker)


def _line(rule: str) -> Any:
    """Its line: two surrogates of one colour differ in it, and in the marker."""
    return "-" if rule == TIED else look.style(rule.split("(")[0]).line


def _panel(panel: Axes, runs: pd.DataFrame, measure: str, rules: list[str]) -> dict[str, float]:
    scale = _MEASURES[measure][1]
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
    panel.set_xlim(0, runs["epoch"].max())
    panel.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    return ends


def _named(panels: list[Axes], measure: str, ends: list[dict[str, float]]) -> None:
    """Names and last values, each with its line and marker, in the corner of each panel that the curves leave free;
    where they leave none, all panels of the row grow upwards until the names stand above the curves."""
    form = _MEASURES[measure][2]
    words = [{rule: f"{look.words(rule)} {form.format(last)}" for rule, last in each.items()} for each in ends]
    # In shares of a panel: some 1.3 inches high, a row of panels with their ticks as wide as the figure.
    inches = (look.width() - 0.45) / len(panels) - 0.15
    letters = [max(len(said) for said in each.values()) for each in words]
    wide = [min(0.95, (4.2 + 0.58 * most) * look.SMALLEST / 72 / inches) for most in letters]
    high = [(0.6 + 1.3 * len(each)) * look.SMALLEST / 72 / 1.3 for each in words]
    free = [_corner(panel, *room) for panel, room in zip(panels, zip(wide, high, strict=True), strict=True)]
    if any(crowd for crowd, _ in free):
        low, top = panels[0].get_ylim()
        panels[0].set_ylim(low, low + (top - low) / (1 - max(high)))
        free = [_corner(panel, *room) for panel, room in zip(panels, zip(wide, high, strict=True), strict=True)]
    for panel, (_, corner), said, last in zip(panels, free, words, ends, strict=True):
        of_rule = {str(line.get_label()): line for line in panel.get_lines()}
        ordered = sorted(last, key=last.__getitem__, reverse=True)
        where: Any = f"{'upper' if corner[1] else 'lower'} {'right' if corner[0] else 'left'}"
        panel.legend(
            [of_rule[rule] for rule in ordered],
            [said[rule] for rule in ordered],
            loc=where,
            labelcolor="linecolor",
            handlelength=3,
            labelspacing=0.25,
            borderaxespad=0.2,
        )


def _corner(panel: Axes, wide: float, high: float) -> tuple[int, tuple[int, int]]:
    """The corner of a panel in which the least of the curves and their bands lies, and how much that is."""
    place = panel.transData + panel.transAxes.inverted()
    drawn = [np.asarray(line.get_xydata()) for line in panel.get_lines()]
    drawn += [np.asarray(path.vertices) for band in panel.collections for path in band.get_paths()]
    steps = np.linspace(0, 1, 9)[:, None, None]
    points = np.vstack([(each[:-1] + steps * np.diff(each, axis=0)).reshape(-1, 2) for each in drawn])
    x, y = place.transform(points).T
    crowds = {
        (right, top): int(((np.abs(x - right) < wide) & (np.abs(y - top) < high)).sum())
        for right, top in ((1, 1), (1, 0), (0, 0), (0, 1))
    }
    best = min(crowds, key=crowds.__getitem__)
    return crowds[best], best
