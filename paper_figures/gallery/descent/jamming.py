"""Averaged draws of a random surrogate: cosine and signal-to-noise ratio against how many are averaged."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ... import look, tables
from ...marks import spread

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


def draw(table: pd.DataFrame) -> Figure:
    """Cosine with the reference gradient (top) and signal-to-noise ratio (bottom) of the average of n independent draws
    of a random surrogate, a column a layer. Markers are means, bars the 95% confidence interval of the mean over seeds
    (Student's t), draws averaged within a seed; lines are the closed form where it is known.

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
        handles = _legend(table, shown)
        figure = look.figure(0.4 + look.room(handles) + 2.2 * blocks)
        panels = figure.subplots(2 * blocks, columns, sharex=True, sharey="row", squeeze=False)
        for place in range(blocks * columns):
            pair = panels[2 * (place // columns) : 2 * (place // columns) + 2, place % columns]
            if place >= len(layers):
                for panel in pair:
                    panel.set_axis_off()
                continue
            rows = table[table["depth"] == layers.index[place]]
            for panel, measure in zip(pair, MEASURES, strict=True):
                _panel(panel, rows, measure, shown)
                if place % columns == 0:
                    panel.set_ylabel(MEASURES[measure])
            pair[0].set_title(tables.layer(int(layers.index[place]), layers.iloc[place]))
        figure.supxlabel("draws averaged, n", fontsize=7)
        look.legend(figure, handles)
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
    return f"{spread.seeds(table)}.{''.join(gaps)}"


def _panel(panel: Axes, rows: pd.DataFrame, measure: str, shown: list[str]) -> None:
    panel.set_xscale("log", base=2)
    if measure == "snr":
        panel.set_yscale("log")
    for surrogate in shown:
        of_one, style = rows[rows["surrogate"] == surrogate], look.style(surrogate)
        if of_one.empty:
            continue
        found = spread.over_seeds(of_one, ["averaged"], measure)
        panel.errorbar(
            found.index,
            found["mean"],
            yerr=found["half"],
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
    ticks = sorted(rows["averaged"].unique())
    kept = ticks[:: -(-len(ticks) // 6)]
    panel.set_xticks(kept, [f"{tick:g}" for tick in kept])
    panel.minorticks_off()
    if measure == "cosine":
        panel.set_ylim(top=1.02)


def _legend(table: pd.DataFrame, shown: list[str]) -> list[Line2D]:
    styles = {name: look.style(name) for name in shown}
    found = [
        Line2D([], [], color=style.colour, marker=style.marker, linestyle="none", label=look.words(name))
        for name, style in styles.items()
    ]
    known = any(f"predicted_{measure}" in table.columns for measure in MEASURES)
    return found + ([Line2D([], [], color=look.MUTED, linewidth=0.8, label="closed form")] if known else [])
