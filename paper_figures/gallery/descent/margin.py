"""Descent margins: the certified to attacked range of kappa of each layer, and each surrogate's spread on it."""

from __future__ import annotations

from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from ... import look, tables
from ...marks.ticks import decades, foot

NAME, TITLE = "margin", "Descent margin and spread"
TABLE, ONE_RUN = "margins", True
COLUMNS = tables.columns(
    "network",
    "surrogate",
    place="where the activation right above the layer runs, as text; one panel each",
    certified="kappa up to which every replacement of this and the later activations descends (lower bound), for the "
    "layer's own parameters; 1 or more",
    attacked="kappa at which one was found that does not (upper bound), for the same; inf where none was found",
    kappa="largest over smallest factor of the surrogate at this place, relative to the own derivative; may be inf",
)
OPTIONAL = tables.columns(
    "trained",
    "layer",
    "depth",
    "seed",
    samples="how many samples the batch has",
    least_kappa="the least of the surrogate's kappa at this and the later places",
    most_kappa="the greatest of them",
    kappa_star="the exact margin of this activation replaced alone, for the same parameters; inf where nothing turns",
)
UNKNOWN = ("kappa",)
STANDINGS = {"inside": "full", "undecided": "left", "outside": "none"}
"""How a marker is filled."""
LOOKS: dict[str, dict[str, Any]] = {
    "certified": {"facecolor": "#8fcfa8"},
    "open": {"facecolor": "#f1f1f1"},
    "attacked": {"facecolor": "#f9e3e1", "hatch": "////", "edgecolor": "#dd9a93"},
}
"""What the three ranges look like: in greyscale the first is darker and the last is hatched."""


def draw(table: pd.DataFrame) -> Figure:
    """How unequal positive factors may be before the step of a layer's own parameters stops descending: up to the
    certified bound (green) every replacement of the activation above the layer and all later ones descends, from the
    attacked bound on (hatched) one was found that does not, between them nothing is known. With several seeds the
    certified range is the one that all have, and so is the attacked one. Markers are the spread κ of a surrogate's
    factors at the activation above the layer (median over seeds); the line through a marker runs from the least to the
    greatest of its spreads at this and the later activations, over all seeds. Filled: that whole line is certified.
    Open: all of it is attacked, so that some factors as unequal do not descend, though this surrogate's own may.
    Half-filled: undecided. Thin vertical lines are the exact margin κ* of the activation above replaced alone, one a
    seed. An arrow leads beyond the axis.

    Args:
        table: a row a place and surrogate (and seed), of one network, with the columns of `COLUMNS` and, where they are
            known, of `OPTIONAL`. Without ``least_kappa`` and ``most_kappa`` a spread stands for itself.

    Raises:
        Refused: a column is missing, nothing is left to draw, or the table mixes networks, ways of training or
            references.
    """
    tables.require(table, COLUMNS, figure=NAME, unknown=UNKNOWN)
    tables.one_run(table, figure=NAME)
    shown = tables.in_order(table["surrogate"], tables.catalogue())
    places = table.sort_values("depth", kind="stable") if "depth" in table.columns else table
    names = places["place"].unique().tolist()
    across = look.across(len(names), 1.1)
    down = -(-len(names) // across)
    end = _end(table)
    with look.house(), mpl.rc_context({"hatch.linewidth": 0.4}):
        handles = _legend("kappa_star" in table.columns)
        figure = look.figure(0.4 + look.room(handles) + down * (0.3 + 0.125 * len(shown)))
        panels = figure.subplots(down, across, sharex=True, sharey=True, squeeze=False)
        for number, panel in enumerate(panels.flat):
            if number >= len(names):
                panel.set_axis_off()
                continue
            rows = table[table["place"] == names[number]]
            _panel(panel, rows, shown, end)
            panel.set_title(_title(rows), fontsize=look.SMALLEST)
            foot(panel, number, across, len(names))
        for panel in panels[:, 0]:
            panel.set_yticks(range(len(shown)), [look.words(name) for name in shown])
        panels[0, 0].set(ylim=(len(shown) - 0.4, -0.6))
        figure.supxlabel("κ, largest over smallest relative factor", fontsize=7)
        look.legend(figure, handles)
    return figure


def said(table: pd.DataFrame) -> str:
    """How many runs, samples and draws this is of, how many spreads stand where, and how wide the widest open range."""
    counts = pd.Series([standing(*each) for _, each in _spreads(table).iterrows()]).value_counts()
    words = ", ".join(f"{counts.get(each, 0)} {each}" for each in STANDINGS)
    bounds = _bounds(table)
    ranges = (bounds["attacked"] / bounds["certified"]).replace(np.inf, np.nan).dropna()
    wide = f" Attacked over certified is {ranges.max():.3g} at most." if len(ranges) else ""
    seeds = table["seed"].nunique() if "seed" in table.columns else 1
    runs = f"n = {seeds} seeds" if seeds > 1 else "One run"
    samples = table["samples"].dropna().unique().tolist() if "samples" in table.columns else []
    batch = f"one batch of {samples[0]:g} samples" if len(samples) == 1 else "one batch"
    lines = (
        f"Of {int(counts.sum())} lines, one a surrogate in each of {len(bounds)} layers,"
        if len(bounds) > 1
        else "Of the lines,"
    )
    return f"{runs}, {batch} and one draw of a random surrogate each. {lines} {words}.{wide}"


def standing(least: float, most: float, certified: float, attacked: float) -> str:
    """Where the spreads of a surrogate lie against the two bounds.

    >>> standing(1.2, 1.4, 1.5, 2.0), standing(1.2, 1.7, 1.5, 2.0), standing(2.0, 2.5, 1.5, 2.0)
    ('inside', 'undecided', 'outside')

    Where the attack found nothing, its bound is infinite, and not even an infinite spread is known to stand outside.

    >>> standing(np.inf, np.inf, 1.5, np.inf)
    'undecided'
    """
    if most <= certified:
        return "inside"
    return "outside" if np.isfinite(attacked) and least >= attacked else "undecided"


def _bounds(table: pd.DataFrame) -> pd.DataFrame:
    """The bounds that hold in every run, by place."""
    return (
        table.astype({"certified": float, "attacked": float})
        .groupby("place", sort=False)
        .agg(certified=("certified", "min"), attacked=("attacked", "max"))
    )


def _spreads(table: pd.DataFrame) -> pd.DataFrame:
    """What `standing` takes, by place and surrogate; undefined spreads are left out."""
    least, most = (each if each in table.columns else "kappa" for each in ("least_kappa", "most_kappa"))
    values = table.assign(least=table[least].astype(float), most=table[most].astype(float))
    values = values[table["kappa"].notna()]
    found = values.groupby(["place", "surrogate"], sort=False).agg(least=("least", "min"), most=("most", "max"))
    return found.join(_bounds(table), on="place")


def _title(rows: pd.DataFrame) -> str:
    if not {"layer", "depth"} <= set(rows.columns):
        return str(rows["place"].iloc[0])
    return tables.layer(int(rows["depth"].iloc[0]), str(rows["layer"].iloc[0]))


def _end(table: pd.DataFrame) -> float:
    """Where the axis ends: past what is finite, but no farther than a hundred times the largest finite bound."""
    bounds = [table[name].astype(float) for name in ("certified", "attacked", "kappa_star") if name in table.columns]
    finite = pd.concat(bounds).replace(np.inf, np.nan).dropna()
    spreads = table["kappa"].astype(float).replace(np.inf, np.nan).dropna()
    most = float(finite.max()) if len(finite) else 10.0
    return max(10.0, most * 3, min(float(spreads.max()) * 1.5 if len(spreads) else 1.0, most * 100))


def _panel(panel: Axes, rows: pd.DataFrame, shown: list[str], end: float) -> None:
    certified, attacked = _bounds(rows).iloc[0]
    panel.set_xscale("log")
    decades(panel.xaxis)
    panel.set_xlim(0.85, end)
    for name, low, high in (("certified", 1, certified), ("open", certified, attacked), ("attacked", attacked, end)):
        if low < min(high, end):
            panel.axvspan(low, min(high, end), linewidth=0, zorder=0, label=name, **LOOKS[name])
    for star in rows["kappa_star"].dropna().astype(float).unique() if "kappa_star" in rows.columns else ():
        if star < end:
            panel.axvline(star, color=look.INK, linewidth=0.6, zorder=1, label="exact")
    spreads = _spreads(rows).droplevel("place")
    median = rows["kappa"].astype(float).groupby(rows["surrogate"]).median()
    for name in rows["surrogate"].unique():
        height, style = shown.index(name), look.style(name)
        if name not in spreads.index:
            panel.text(1.0, height, "undefined", va="center", fontsize=look.SMALLEST, color=look.MUTED)
            continue
        least, most = spreads.loc[name, ["least", "most"]]
        kappa, stands = float(median[name]), standing(*spreads.loc[name])
        panel.hlines(height, min(least, end), min(most, end), color=style.colour, linewidth=0.6, zorder=2)
        if most > end:
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
    words = {"certified": "certified to descend", "open": "unknown", "attacked": "attacked"}
    return [
        *(Patch(label=words[name], linewidth=0, **shown) for name, shown in LOOKS.items()),
        *([Line2D([], [], color=look.INK, linewidth=0.6, label="exact κ*, one activation")] if exact else []),
        *(
            Line2D([], [], label=f"spreads {standing}", fillstyle=fill, markerfacecoloralt="white", **marker)  # type: ignore[arg-type]
            for standing, fill in STANDINGS.items()
        ),
    ]
