"""The answer at a glance: every surrogate's angle in every layer, worst first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ... import look, tables
from ...marks.ticks import foot

NAME, TITLE = "ranking", "Angle in each layer"
TABLE, ONE_RUN = "deviations", False
COLUMNS = tables.columns("network", "surrogate", "layer", "depth", "angle_degrees")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X")
_UNDEFINED = -0.05


def draw(table: pd.DataFrame, *, surrogates: Sequence[str] | None = None) -> Figure:
    """Angle between the surrogate gradient and the exact gradient in each layer, surrogates with the smallest worst
    angle on top. Markers are medians over stages, seeds and draws, bars their full range; the dashed line marks 90
    degrees, beyond which a small step along the surrogate gradient climbs. A cross left of the axis marks a layer whose
    angle is undefined somewhere because a gradient vanished there.

    Args:
        table: a measurement with the columns of `COLUMNS`; each network, and each way of training it, gets a panel.
        surrogates: which to show; all of them where it is ``None``.

    Raises:
        Refused: a column is missing, or nothing is left to draw.
    """
    tables.require(table, COLUMNS, figure=NAME)
    table = tables.select(tables.layers(table), figure=NAME, surrogate=surrogates)
    worst = table.groupby("surrogate", sort=False)["angle_degrees"].max().fillna(181.0)
    shown = worst.sort_values(kind="stable").index.tolist()
    runs = [(list(run.values()), rows) for run, rows in tables.runs(table)]
    end, ticks = tables.reach(table)
    depths = sorted(table["depth"].unique())
    colours = dict(zip(depths, look.depth_colours(len(depths)), strict=True))
    across = look.across(len(runs), 1.1)
    down = -(-len(runs) // across)
    with look.house():
        handles = _legend(colours)
        figure = look.figure(0.3 + look.room(handles) + down * (0.35 + 0.18 * len(shown)))
        panels = figure.subplots(down, across, sharex=True, sharey=True, squeeze=False)
        for place, panel in enumerate(panels.flat):
            if place >= len(runs):
                panel.set_axis_off()
                continue
            run, rows = runs[place]
            _panel(panel, rows, shown, colours, end=end)
            panel.set(xlim=(-0.08 * end, end), xticks=ticks)
            panel.set_title("\ntrained ".join(run), fontsize=look.SMALLEST)
            foot(panel, place, across, len(runs))
        panels[0, 0].set_yticks(range(len(shown)), [look.words(name) for name in shown])
        panels[0, 0].set_ylim(len(shown) - 0.5, -0.5)
        figure.supxlabel(f"angle to the {tables.reference(table)} gradient (degrees)", fontsize=7)
        look.legend(figure, handles)
    return figure


def _panel(panel: Axes, table: pd.DataFrame, shown: Sequence[str], colours: dict[int, str], *, end: int) -> None:
    panel.axvline(90, color=look.ALARM, linewidth=0.8, linestyle=(0, (3, 2)), zorder=1)
    panel.axvspan(90, end, color=look.ALARM, alpha=0.06, linewidth=0, zorder=-1)
    rows = {name: place for place, name in enumerate(shown)}
    every, own = list(colours), sorted(table["depth"].unique())
    key: Any
    for key, of_layer in table.groupby(["surrogate", "depth"]):
        surrogate, depth = key
        angle = of_layer["angle_degrees"]
        # Layers lie beside each other within a row, else the deepest would hide the others.
        height = rows[surrogate] + 0.62 * ((own.index(depth) + 0.5) / len(own) - 0.5)
        marker = _marker(every.index(depth))
        style: dict[str, Any] = {"color": colours[depth], "zorder": 3}
        panel.hlines(height, angle.min(), angle.max(), linewidth=0.7, **style)
        panel.plot([angle.median()], [height], marker=marker, markersize=2.2, linestyle="none", **style)
        if angle.isna().any():
            panel.plot([_UNDEFINED * end], [height], marker="x", markersize=2.2, **style)
    panel.tick_params(axis="y", length=0)
    for row in range(0, len(shown), 2):
        panel.axhspan(row - 0.5, row + 0.5, color="#f4f4f4", linewidth=0, zorder=-2)


def _legend(colours: dict[int, str]) -> list[Line2D]:
    layers = [
        Line2D([], [], color=colour, marker=_marker(place), linestyle="none", label=f"layer {place + 1}")
        for place, colour in enumerate(colours.values())
    ]
    return [*layers, Line2D([], [], color=look.ALARM, linewidth=0.8, linestyle=(0, (3, 2)), label="90 degrees")]


def _marker(place: int) -> str:
    return _MARKERS[place % len(_MARKERS)]
