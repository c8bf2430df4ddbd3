"""Descent margins: the certified to attacked range of kappa, and each surrogate's spread on it."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from ... import look, tables

NAME, TITLE = "margin", "Descent margin and spread"
TABLE, ONE_RUN = "margins", True
COLUMNS = tables.columns(
    "network",
    "surrogate",
    place="where the activation runs, as text; one panel each",
    certified="kappa up to which every replacement of this and the later activations descends (lower bound)",
    attacked="kappa at which one was found that does not (upper bound); inf where none was found",
    kappa="largest over smallest factor of the surrogate on this batch, relative to the own derivative; may be inf",
    standing="inside, outside or undecided: where its spread lies against the bounds",
)
OPTIONAL = tables.columns(
    "trained", "depth", kappa_star="the exact margin of this activation replaced alone; inf where nothing turns"
)
STANDINGS = {"inside": "full", "undecided": "left", "outside": "none"}
"""How a marker is filled."""
_SURE, _OPEN = "#cfe8d5", "#e4e4e4"


def draw(table: pd.DataFrame) -> Figure:
    """How unequal positive factors may be before the step of a layer stops descending, at each activation: up to the
    certified bound (green) every replacement of this and the later ones descends, beyond the attacked bound (red) one
    was found that does not, between them (grey) nothing is known; the line is the exact margin κ* of this one replaced
    alone. Markers are the spread κ that each surrogate has on this batch: filled where its factors are inside, open
    where they are outside, half-filled where that is undecided. Arrows: beyond the axis. The range of the bounds is all
    the uncertainty there is: no sampling.

    Args:
        table: a row a place and surrogate, of one network, with the columns of `COLUMNS` and, where they are known, of
            `OPTIONAL`.

    Raises:
        Refused: a column is missing, nothing is left to draw, or the table mixes networks, ways of training or
            references.
    """
    tables.require(table, COLUMNS, figure=NAME)
    tables.one_run(table, figure=NAME)
    shown = tables.in_order(table["surrogate"], tables.catalogue())
    places = table.sort_values("depth", kind="stable") if "depth" in table.columns else table
    names = places["place"].unique().tolist()
    across = look.across(len(names), 1.1)
    down = -(-len(names) // across)
    end = _end(table)
    with look.house():
        handles = _legend("kappa_star" in table.columns)
        figure = look.figure(0.4 + look.room(handles) + down * (0.3 + 0.125 * len(shown)))
        panels = figure.subplots(down, across, sharex=True, sharey=True, squeeze=False)
        for number, panel in enumerate(panels.flat):
            if number >= len(names):
                panel.set_axis_off()
                continue
            _panel(panel, table[table["place"] == names[number]], shown, end)
            panel.set_title(str(names[number]), fontsize=look.SMALLEST)
            panel.tick_params(axis="x", labelbottom=number + across >= len(names), which="both")
        for panel in panels[:, 0]:
            panel.set_yticks(range(len(shown)), [look.words(name) for name in shown])
        panels[0, 0].set(ylim=(len(shown) - 0.4, -0.6))
        figure.supxlabel("κ, largest over smallest relative factor", fontsize=7)
        look.legend(figure, handles)
    return figure


def said(table: pd.DataFrame) -> str:
    """How many spreads stand where, and how wide the widest undecided range is."""
    counts = table["standing"].value_counts()
    words = ", ".join(f"{counts.get(standing, 0)} {standing}" for standing in STANDINGS)
    ranges = (table["attacked"].astype(float) / table["certified"].astype(float)).replace(np.inf, np.nan).dropna()
    wide = f"; attacked over certified is {ranges.max():.3g} at most" if len(ranges) else ""
    return f"n = {len(table)} spreads on one batch: {words}{wide}."


def _end(table: pd.DataFrame) -> float:
    """Where the axis ends: past what is finite, but no farther than a thousand times the largest finite bound."""
    bounds = [table[name].astype(float) for name in ("certified", "attacked", "kappa_star") if name in table.columns]
    finite = pd.concat(bounds).replace(np.inf, np.nan).dropna()
    spreads = table["kappa"].astype(float).replace(np.inf, np.nan).dropna()
    most = float(finite.max()) if len(finite) else 10.0
    return max(10.0, most * 3, min(float(spreads.max()) * 1.5 if len(spreads) else 1.0, most * 1000))


def _panel(panel: Axes, rows: pd.DataFrame, shown: list[str], end: float) -> None:
    certified, attacked = float(rows["certified"].iloc[0]), float(rows["attacked"].iloc[0])
    panel.set_xscale("log")
    panel.set_xlim(0.85, end)
    panel.axvspan(1, min(certified, end), color=_SURE, linewidth=0, zorder=0, label="certified")
    if attacked > certified:
        panel.axvspan(min(certified, end), min(attacked, end), color=_OPEN, linewidth=0, zorder=0, label="open")
    if attacked < end:
        panel.axvspan(attacked, end, color=look.ALARM, alpha=0.15, linewidth=0, zorder=0, label="attacked")
    if "kappa_star" in rows.columns and rows["kappa_star"].notna().any():
        star = float(rows["kappa_star"].iloc[0])
        if star < end:
            panel.axvline(star, color=look.INK, linewidth=0.8, zorder=1, label="exact")
    for name, kappa, stands in zip(rows["surrogate"], rows["kappa"].astype(float), rows["standing"], strict=True):
        height, style = shown.index(name), look.style(name)
        if kappa != kappa:
            panel.text(1.0, height, "undefined", va="center", fontsize=look.SMALLEST, color=look.MUTED)
            continue
        if kappa > end:
            panel.annotate(
                "",
                (1.0, height),
                (0.93, height),
                xycoords=("axes fraction", "data"),
                arrowprops={"arrowstyle": "->", "color": style.colour, "linewidth": 0.8, "shrinkA": 0, "shrinkB": 0},
            )
        marker = Line2D([kappa if kappa <= end else end * 0.55], [height], marker=style.marker, label=name)
        marker.set(color=style.colour, fillstyle=STANDINGS[stands], markerfacecoloralt="white")
        marker.set(markeredgewidth=0.6, linestyle="none", zorder=3)
        if stands == "outside":
            marker.set(fillstyle="full", markerfacecolor="white")
        panel.add_line(marker)
    panel.tick_params(axis="y", length=0)


def _legend(exact: bool) -> list[Line2D | Patch]:
    marker = {"color": look.INK, "marker": "o", "linestyle": "none", "markeredgewidth": 0.6}
    return [
        Patch(facecolor=_SURE, label="certified to descend"),
        Patch(facecolor=_OPEN, label="undecided"),
        Patch(facecolor=look.ALARM, alpha=0.15, label="attacked"),
        *([Line2D([], [], color=look.INK, linewidth=0.8, label="exact κ*")] if exact else []),
        *(
            Line2D([], [], label=f"spread {standing}", fillstyle=fill, markerfacecoloralt="white", **marker)  # type: ignore[arg-type]
            for standing, fill in STANDINGS.items()
        ),
    ]
