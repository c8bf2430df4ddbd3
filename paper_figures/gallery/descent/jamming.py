"""Averaged draws of a random surrogate: cosine and signal-to-noise ratio against how many are averaged."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.legend_handler import HandlerTuple
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator

from ... import look, tables
from ...marks import labels, spread, ticks

NAME, TITLE = "jamming", "Averaging draws of a random surrogate"
TABLE, ONE_RUN = "jamming", True
COLUMNS = tables.columns(
    "network",
    "surrogate",
    "layer",
    "depth",
    averaged="how many draws are averaged",
    cosine="of the averaged surrogate gradient and the reference",
    snr="signal-to-noise ratio: squared length of the mean over the variance of the average",
)
OPTIONAL = tables.columns(
    "trained",
    "seed",
    "draw",
    predicted_cosine="closed form of the cosine",
    predicted_snr="closed form of the ratio",
)
MEASURES = {"cosine": "cosine", "snr": "signal-to-noise ratio"}
_APART = 0.09
"""By how much the markers of neighbouring surrogates stand apart, in doublings of the draws averaged."""


def draw(table: pd.DataFrame) -> Figure:
    """Cosine with the reference gradient (top) and signal-to-noise ratio (bottom) of the average of m independent draws
    of a random surrogate, a column a layer. Markers are means over seeds, draws averaged within a seed; bars are the
    95% confidence interval of the mean (Student's t), cut where a cosine cannot be, at 1, and at the foot of the
    ratio's axis; markers of one m stand side by side. Lines are the closed form where it is known.

    Args:
        table: a row an average, of one network, with the columns of `COLUMNS` and, where they are known, of `OPTIONAL`.

    Raises:
        Refused: a column is missing, nothing is left to draw, or the table mixes networks, ways of training or
            references.
    """
    tables.require(table, COLUMNS, figure=NAME)
    tables.one_run(table, figure=NAME)
    shown = tables.in_order(table["surrogate"], tables.catalogue())
    layers = table.groupby("depth")["layer"].first()
    columns = look.across(len(layers), 1.0)
    blocks = -(-len(layers) // columns)
    with look.house():
        figure = look.figure(0.6 + 2.1 * blocks)
        panels = figure.subplots(2 * blocks, columns, sharex=True, sharey="row", squeeze=False)
        floor = _floor(table)
        for place in range(blocks * columns):
            pair = panels[2 * (place // columns) : 2 * (place // columns) + 2, place % columns]
            if place >= len(layers):
                for panel in pair:
                    panel.set_axis_off()
                continue
            rows = table[table["depth"] == layers.index[place]]
            for panel, measure in zip(pair, MEASURES, strict=True):
                _panel(panel, rows, measure, shown, floor)
                if place % columns == 0:
                    panel.set_ylabel(MEASURES[measure])
            pair[0].set_title(tables.layer(int(layers.index[place]), layers.iloc[place]))
            # The panels of the cosines always stand over others; those of the ratios are as in any grid.
            ticks.foot(pair[0], 0, 1, 2)
            ticks.foot(pair[1], place, columns, len(layers))
            if place == min(columns, len(layers)) - 1:
                _names(pair[0], rows, shown)
        figure.supxlabel("draws averaged, m", fontsize=7)
        said = _legend(table, shown)
        figure.legend(
            list(said.values()),
            list(said),
            loc="outside upper center",
            ncols=len(said),
            handler_map={tuple: HandlerTuple(ndivide=None)},
            handlelength=1.6 * len(shown),
        )
    return figure


def said(table: pd.DataFrame) -> str:
    """How many runs, and how far the closed forms lie from what was measured."""
    gaps = []
    if "predicted_cosine" in table.columns:
        by = ["surrogate", "depth", "averaged"]
        means = table.groupby(by)[["cosine", "predicted_cosine"]].mean().dropna()
        if len(means):
            gap = (means["cosine"] - means["predicted_cosine"]).abs().max()
            gaps.append(f" Mean cosine and closed form differ by {gap:.2g} at most.")
    many = "averaged" in table.columns and f" m from {table['averaged'].min():g} to {table['averaged'].max():g}."
    return f"{spread.seeds(table)}.{many or ''}{''.join(gaps)}"


def _floor(table: pd.DataFrame) -> float:
    """Where the axis of the ratios ends: below every mean and every closed form."""
    by = ["surrogate", "depth", "averaged"]
    values = [table.groupby(by)[name].mean() for name in ("snr", "predicted_snr") if name in table.columns]
    found = pd.concat(values)
    return 0.4 * float(found[found > 0].min()) if (found > 0).any() else 0.1


def _panel(panel: Axes, rows: pd.DataFrame, measure: str, shown: list[str], floor: float) -> None:
    panel.set_xscale("log", base=2)
    low, high = (-1.0, 1.0) if measure == "cosine" else (floor, np.inf)
    for place, surrogate in enumerate(shown):
        of_one, style = rows[rows["surrogate"] == surrogate], look.style(surrogate)
        if of_one.empty:
            continue
        found = spread.over_seeds(of_one, ["averaged"], measure)
        beside = 2.0 ** (2 * _APART * (place - (len(shown) - 1) / 2))
        mean, half = found["mean"], found["half"]
        panel.errorbar(
            found.index * beside,
            mean,
            yerr=np.maximum(0, [mean - (mean - half).clip(lower=low), (mean + half).clip(upper=high) - mean]),
            color=style.colour,
            marker=style.marker,
            linestyle="none",
            elinewidth=0.7,
            label=surrogate,
        )
        column = f"predicted_{measure}"
        if column in rows.columns and of_one[column].notna().any():
            expected = of_one.groupby("averaged")[column].mean().dropna()
            line = Line2D(expected.index, expected, color=style.colour, linestyle=style.line, linewidth=0.8, zorder=1)
            line.set_label(f"closed form, {surrogate}")
            panel.add_line(line)
    if measure == "snr":
        panel.set_yscale("log")
        panel.set_ylim(bottom=floor)
        panel.yaxis.set_major_locator(LogLocator(numticks=6))
        ticks.decades(panel.yaxis)
    else:
        panel.set_ylim(top=1.02)
    values = sorted(rows["averaged"].unique())
    kept = values[:: -(-len(values) // 6)]
    panel.set_xticks(kept, [f"{value:g}" for value in kept])
    panel.minorticks_off()


def _names(panel: Axes, rows: pd.DataFrame, shown: list[str]) -> None:
    """The surrogates' names beside the last panel of a row, where their cosines end."""
    last = rows[rows["averaged"] == rows["averaged"].max()].groupby("surrogate")["cosine"].mean().dropna()
    ends = {look.words(name): (float(last[name]), look.style(name).colour) for name in shown if name in last.index}
    labels.beside(panel, ends, height=0.8)


def _legend(table: pd.DataFrame, shown: list[str]) -> dict[str, Any]:
    """What markers and lines stand for, each surrogate's own."""
    styles = [look.style(name) for name in shown]
    found = {
        "measured": tuple(Line2D([], [], color=each.colour, marker=each.marker, linestyle="none") for each in styles)
    }
    if any(f"predicted_{measure}" in table.columns for measure in MEASURES):
        lines = [Line2D([], [], color=each.colour, linestyle=each.line, linewidth=0.8) for each in styles]
        found["closed form"] = tuple(lines)
    return found
