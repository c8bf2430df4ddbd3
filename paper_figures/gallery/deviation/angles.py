"""Angle to the exact gradient over training: a panel a surrogate, a line a layer."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ... import look, tables
from ...marks.ticks import foot

NAME, TITLE = "angles", "Angle over training"
TABLE, ONE_RUN = "deviations", True
COLUMNS = tables.columns("network", "surrogate", "layer", "depth", "stage", "step", "angle_degrees")
_UNDEFINED = -0.05


def draw(table: pd.DataFrame, *, surrogates: Sequence[str] | None = None) -> Figure:
    """Angle between the surrogate gradient and the exact gradient of each layer, over training. Lines are medians over
    seeds and draws, bands their full range; the dashed line marks 90 degrees, beyond which a small step along the
    surrogate gradient climbs. A cross below the axis marks an undefined angle: a gradient vanished there.

    Args:
        table: a measurement of one network trained in one way, with the columns of `COLUMNS`.
        surrogates: which to show, in this order; all of them where it is ``None``.

    Raises:
        Refused: a column is missing, nothing is left to draw, or the table mixes networks or ways of training.
    """
    tables.require(table, COLUMNS, figure=NAME)
    tables.one_run(table, figure=NAME)
    table = tables.select(tables.layers(table), figure=NAME, surrogate=surrogates)
    shown = list(surrogates) if surrogates is not None else tables.in_order(table["surrogate"], tables.catalogue())
    end, ticks = tables.reach(table)
    stages, depths = tables.stages(table), sorted(table["depth"].unique())
    colours = dict(zip(depths, look.depth_colours(len(depths)), strict=True))
    across = look.across(len(shown), 0.9)
    down = -(-len(shown) // across)
    with look.house():
        handles = _legend(table, colours)
        figure = look.figure(0.4 + look.room(handles) + 0.8 * down)
        panels = figure.subplots(down, across, sharex=True, sharey=True, squeeze=False)
        for place, panel in enumerate(panels.flat):
            if place >= len(shown):
                panel.set_axis_off()
                continue
            rows = table[table["surrogate"] == shown[place]]
            panel.axhline(90, color=look.ALARM, linewidth=0.8, linestyle=(0, (3, 2)), zorder=1)
            for depth, of_layer in rows.groupby("depth"):
                _line(panel, of_layer, stages, colours[depth], below=_UNDEFINED * end)
            if rows["angle_degrees"].isna().all():
                panel.text(0.5, 0.5, "undefined", transform=panel.transAxes, ha="center", va="center", color=look.MUTED)
                panel.texts[-1].set_fontsize(look.SMALLEST)
            panel.set_title(look.words(shown[place]), fontsize=look.SMALLEST)
            panel.set(xlim=(-0.3, len(stages) - 0.7), ylim=(-0.08 * end, end), yticks=ticks)
            panel.set_xticks(range(len(stages)), look.initials(stages))
            foot(panel, place, across, len(shown))
        explained = ", ".join(f"{short} {stage}" for short, stage in zip(look.initials(stages), stages, strict=True))
        figure.supxlabel(f"stage of training ({explained})", fontsize=7)
        figure.supylabel("angle (degrees)", fontsize=7)
        look.legend(figure, handles)
    return figure


def _line(panel: Axes, rows: pd.DataFrame, stages: list[str], colour: str, *, below: float) -> None:
    angles = rows.groupby("stage")["angle_degrees"]
    spread = angles.agg(["median", "min", "max"]).reindex(stages)
    places = list(range(len(stages)))
    panel.fill_between(places, spread["min"], spread["max"], color=colour, alpha=0.25, linewidth=0)
    panel.plot(places, spread["median"], color=colour, marker="o", markersize=2)
    undefined = [place for place in places if rows.loc[rows["stage"] == stages[place], "angle_degrees"].isna().any()]
    panel.plot(undefined, [below] * len(undefined), color=colour, marker="x", linestyle="none")


def _legend(table: pd.DataFrame, colours: dict[int, str]) -> list[Line2D]:
    names = dict(zip(table["depth"], table["layer"], strict=True))
    lines = [
        Line2D([], [], color=colour, marker="o", markersize=2, label=tables.layer(depth, names[depth]))
        for depth, colour in colours.items()
    ]
    return [*lines, Line2D([], [], color=look.ALARM, linewidth=0.8, linestyle=(0, (3, 2)), label="90 degrees")]
