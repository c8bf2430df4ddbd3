"""Angle against depth: measured with confidence bands, the mean-field prediction as lines."""

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
from ...marks.ticks import foot

NAME, TITLE = "angle-depth", "Angle against depth"
TABLE, ONE_RUN = "deviations", True
COLUMNS = tables.columns("network", "surrogate", "layer", "depth", "angle_degrees")
OPTIONAL = tables.columns(
    "stage",
    "step",
    "seed",
    predicted_cosine="mean-field prediction of the cosine, from the layers' measured preactivations",
)
_PREDICTED = "predicted_degrees"


def draw(table: pd.DataFrame) -> Figure:
    """Angle between surrogate and reference gradient against the layer's depth, a panel a surrogate, at the first
    (open markers) and the last stage of training (filled). Markers are means over seeds. The red dashed line marks 90
    degrees, beyond which a small step climbs; a cross below the axis an angle that is undefined.

    Args:
        table: a measurement of one network trained in one way, with the columns of `COLUMNS` and, where they are
            known, of `OPTIONAL`.

    Raises:
        Refused: a column is missing, nothing is left to draw, or the table mixes networks, ways of training or
            references.
    """
    tables.require(table, COLUMNS, figure=NAME)
    tables.one_run(table, figure=NAME)
    table = predicted(tables.select(tables.layers(table), figure=NAME))
    shown = tables.in_order(table["surrogate"], tables.catalogue())
    ends = ends_of(table)
    end, ticks = tables.reach(table)
    across = look.across(len(shown), 0.9)
    down = -(-len(shown) // across)
    with look.house():
        handles = _legend(ends, known=bool(table[_PREDICTED].notna().any()))
        figure = look.figure(0.5 + look.room(handles) + 0.8 * down)
        panels = figure.subplots(down, across, sharex=True, sharey=True, squeeze=False)
        for place, panel in enumerate(panels.flat):
            if place >= len(shown):
                panel.set_axis_off()
                continue
            rows = table[table["surrogate"] == shown[place]]
            panel.axhline(90, color=look.ALARM, linewidth=0.8, linestyle=(0, (3, 2)), zorder=1)
            for stage in ends:
                of_stage = rows[rows["stage"] == stage] if stage else rows
                _measured(panel, of_stage, shown[place], last=stage == ends[-1], below=-0.05 * end)
            panel.set_title(look.words(shown[place]), fontsize=look.SMALLEST)
            panel.set(ylim=(-0.08 * end, end), yticks=ticks)
            panel.set_xlim(table["depth"].min() - 0.4, table["depth"].max() + 0.4)
            panel.xaxis.set_major_locator(MaxNLocator(5, integer=True))
            foot(panel, place, across, len(shown))
        figure.supxlabel("depth of the layer (1: next to the input)", fontsize=7)
        figure.supylabel("angle (degrees)", fontsize=7)
        look.legend(figure, handles)
    return figure


def said(table: pd.DataFrame) -> str:
    """What bands and lines are, where there are any; how many runs, how many angles are undefined, and how far the
    prediction lies from what was measured."""
    table = predicted(tables.layers(table))
    ends = [stage for stage in ends_of(table) if stage]
    rows = table[table["stage"].isin(ends)] if ends else table
    first = ", dashed for the first stage" * (len(ends) > 1)
    known = f"Thin black lines are the mean-field prediction{first}." if rows[_PREDICTED].notna().any() else ""
    stages = f"Stages: {' and '.join(ends)}." if ends else ""
    undefined = f"{int(rows['angle_degrees'].isna().sum()):,} of {len(rows):,} angles undefined."
    runs = f"Reference: {tables.reference(table)}. {spread.seeds(table)}; {undefined}"
    return " ".join(filter(None, (_bands(rows), known, runs, stages, _apart(rows))))


def _bands(rows: pd.DataFrame) -> str:
    if "seed" not in rows.columns or rows["seed"].nunique() < 2:
        return ""
    return f"Bands are the {spread.NAMED}, cut where they would leave 0 to 180 degrees."


def _apart(rows: pd.DataFrame) -> str:
    """How far the plotted means of prediction and measurement lie apart, over the layers below an activation: above the
    last one nothing is replaced, and both are 0 by construction."""
    if "predicted_cosine" not in rows.columns:
        return ""
    least = rows.groupby("depth")["predicted_cosine"].min()
    rows = rows[rows["depth"].isin(least.index[least < 1 - 1e-12])]
    by = ["surrogate", "depth", *(["stage"] if "stage" in rows.columns else [])]
    means = [spread.over_seeds(rows, by, value)["mean"] for value in ("angle_degrees", _PREDICTED)]
    gap = (means[0] - means[1]).abs().dropna()
    if not len(gap):
        return ""
    return (
        f"Over the {len(gap):,} means of layers below an activation prediction and measurement differ by "
        f"{gap.median():.1f} degrees at the median, {gap.max():.1f} at most."
    )


def predicted(table: pd.DataFrame) -> pd.DataFrame:
    """The table with the prediction as an angle in degrees; missing where there is none."""
    if "predicted_cosine" not in table.columns:
        return table.assign(**{_PREDICTED: np.nan})
    cosine = table["predicted_cosine"].astype(float).clip(-1, 1)
    return table.assign(**{_PREDICTED: np.degrees(np.arccos(cosine))})


def ends_of(table: pd.DataFrame) -> list[str]:
    """The first and the last stage, one where there is one only; a nameless one where the table has no stages."""
    stages = tables.stages(table) if {"stage", "step"} <= set(table.columns) else []
    return list(dict.fromkeys([stages[0], stages[-1]])) if stages else [""]


def _measured(panel: Axes, rows: pd.DataFrame, surrogate: str, *, last: bool, below: float) -> None:
    style = look.style(surrogate)
    measured = spread.over_seeds(rows, ["depth"], "angle_degrees")
    low = (measured["mean"] - measured["half"]).clip(lower=0)
    high = (measured["mean"] + measured["half"]).clip(upper=180)
    panel.fill_between(measured.index, low, high, color=style.colour, alpha=0.3 if last else 0.15, linewidth=0)
    fill = style.colour if last else "white"
    panel.plot(
        measured.index,
        measured["mean"],
        color=style.colour,
        linewidth=0.6,
        marker=style.marker,
        markerfacecolor=fill,
        markeredgewidth=0.6,
        zorder=3,
        label="measured" if last else "measured, first stage",
    )
    expected = spread.over_seeds(rows, ["depth"], _PREDICTED)["mean"].dropna()
    if len(expected):
        line = "-" if last else (0, (4, 2))
        words = "mean field" if last else "mean field, first stage"
        panel.plot(expected.index, expected, color=look.INK, linewidth=0.7, linestyle=line, label=words, zorder=4)
    if not measured["n"].any():  # of a surrogate that has no angle anywhere a row of crosses would be all
        panel.text(0.5, 0.5, "undefined", transform=panel.transAxes, ha="center", va="center", color=look.MUTED)
        panel.texts[-1].set_fontsize(look.SMALLEST)
    crossed = rows.loc[rows["angle_degrees"].isna(), "depth"].unique()
    if len(crossed):
        panel.plot(crossed, [below] * len(crossed), color=style.colour, marker="x", linestyle="none", zorder=3)


def _legend(ends: list[str], *, known: bool) -> list[Line2D]:
    shape = {"color": look.MUTED, "marker": "o", "linewidth": 0.6, "markeredgewidth": 0.6}
    found = []
    for stage in ends:
        last = stage == ends[-1]
        words = f"measured, {stage}" if stage else "measured"
        found.append(Line2D([], [], label=words, markerfacecolor=look.MUTED if last else "white", **shape))  # type: ignore[arg-type]
        if known:
            line: Any = "-" if last else (0, (4, 2))
            words = f"mean field, {stage}" if stage else "mean field"
            found.append(Line2D([], [], color=look.INK, linewidth=0.7, linestyle=line, label=words))
    return [*found, Line2D([], [], color=look.ALARM, linewidth=0.8, linestyle=(0, (3, 2)), label="90 degrees")]
