"""The distribution of single samples' cosines, layer by layer."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ... import look, tables
from ...marks import spread
from ...marks.ticks import foot

NAME, TITLE = "per-sample", "Cosine of single samples"
TABLE, ONE_RUN = "samples", True
COLUMNS = tables.columns("network", "surrogate", "layer", "depth", "sample", "cosine")
OPTIONAL = tables.columns("stage", "step", "seed", "draw")
_EDGES = np.linspace(-1, 1, 41)


def draw(table: pd.DataFrame) -> Figure:
    """Cosine of surrogate and reference gradient of single samples, a panel a layer. Shapes are histograms, their
    height the root of the share; the thin bar goes from the 5% to the 95% quantile, the thick one over the middle half,
    the marker is the median. The number at the left is the share of cosines that are negative, with its 95%
    interval in brackets (Wilson; n is the number of samples, as runs see the same ones): for those a small surrogate
    step of that layer climbs on their own loss.

    Args:
        table: a measurement with a row a sample, of one network trained in one way, with the columns of `COLUMNS`.

    Raises:
        Refused: a column is missing, nothing is left to draw, or the table mixes networks, ways of training or
            references.
    """
    tables.require(table, COLUMNS, figure=NAME)
    tables.one_run(table, figure=NAME)
    table = singles(table)
    tables.require(table, COLUMNS, figure=NAME)
    shown = tables.in_order(table["surrogate"], tables.catalogue())
    layers = table.groupby("depth")["layer"].first()
    across = look.across(len(layers), 1.1)
    down = -(-len(layers) // across)
    with look.house():
        figure = look.figure(0.55 + down * (0.25 + 0.17 * len(shown)))
        panels = figure.subplots(down, across, sharex=True, sharey=True, squeeze=False)
        for place, panel in enumerate(panels.flat):
            if place >= len(layers):
                panel.set_axis_off()
                continue
            _panel(panel, table[table["depth"] == layers.index[place]], shown)
            panel.set_title(tables.layer(int(layers.index[place]), layers.iloc[place]))
            foot(panel, place, across, len(layers))
        for panel in panels[:, 0]:
            panel.set_yticks(range(len(shown)), [look.words(name) for name in shown])
        panels[0, 0].set_ylim(len(shown) - 0.4, -0.6)
        panels[0, 0].set(xlim=(-1, 1.04), xticks=(-1, 0, 1))
        figure.supxlabel(f"cosine of surrogate and {tables.reference(table)} gradient of one sample", fontsize=7)
    return figure


def said(table: pd.DataFrame) -> str:
    """How many samples and runs, how many cosines are undefined, and where most are negative."""
    rows = singles(table)
    samples = rows["sample"].nunique()
    seeds = ", " + spread.runs(rows).removeprefix("n = ") if "seed" in rows.columns else ""
    negative = (rows["cosine"] < 0).groupby([rows["surrogate"], rows["depth"]]).mean()
    worst: Any = negative.idxmax()
    most = (
        f" The most negative ones: {100 * negative.max():.0f}%, {look.words(worst[0])} in layer {worst[1]}."
        if negative.max() > 0
        else " None is negative."
    )
    undefined = int(rows["cosine"].isna().sum())
    return f"n = {samples} samples{seeds}; {undefined:,} of {len(rows):,} cosines undefined and left out.{most}"


def singles(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of single samples in single layers."""
    return table[(table["layer"] != tables.WHOLE) & (table["sample"] != tables.BATCH)]


def wilson(share: float, n: int) -> tuple[float, float]:
    """The 95% interval of a share of n samples (Wilson 1927).

    >>> [round(value, 3) for value in wilson(0.0, 100)], [round(value, 3) for value in wilson(0.05, 64)]
    ([0.0, 0.037], [0.018, 0.133])
    """
    z = 1.959963984540054
    room = 1 + z**2 / n
    centre = (share + z**2 / (2 * n)) / room
    half = z / room * float(np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2)))
    return max(0.0, centre - half), min(1.0, centre + half)


def _panel(panel: Axes, rows: pd.DataFrame, shown: list[str]) -> None:
    panel.axvline(0, color=look.ALARM, linewidth=0.8, linestyle=(0, (3, 2)), zorder=1)
    panel.axvspan(-1, 0, color=look.ALARM, alpha=0.05, linewidth=0, zorder=-1)
    for place, surrogate in enumerate(shown):
        mine = rows[(rows["surrogate"] == surrogate) & rows["cosine"].notna()]
        cosine = mine["cosine"].to_numpy(dtype=float)
        style = look.style(surrogate)
        if not len(cosine):
            panel.text(0, place, "undefined", ha="center", va="center", color=look.MUTED, fontsize=look.SMALLEST)
            continue
        counts, _ = np.histogram(np.clip(cosine, -1, 1), _EDGES)
        # Heights grow with the root: a sharp peak would leave nothing to see of a wide shape.
        height = 0.75 * np.sqrt(counts / counts.sum())
        panel.stairs(place + 0.28 - height, _EDGES, baseline=place + 0.28, fill=True, color=style.colour, alpha=0.35)
        low, first, median, third, high = np.quantile(cosine, (0.05, 0.25, 0.5, 0.75, 0.95))
        line = place + 0.28
        panel.hlines(line, low, high, color=style.colour, linewidth=0.6, zorder=3)
        panel.hlines(line, first, third, color=style.colour, linewidth=1.8, zorder=3)
        panel.plot([median], [line], marker=style.marker, color=style.colour, markeredgecolor="white", zorder=4)
        panel.lines[-1].set_markeredgewidth(0.3)
        negative = float((cosine < 0).mean())
        if negative:
            # Seeds and draws see the same samples: they do not make more of them.
            low, high = wilson(negative, mine["sample"].nunique())
            words = f"{100 * negative:.0f}% ({100 * low:.0f}–{100 * high:.0f})"
            panel.text(-0.97, place - 0.05, words, ha="left", va="center", fontsize=look.SMALLEST, color=look.ALARM)
    panel.tick_params(axis="y", length=0)
