"""Sign agreement, entry by entry: kept, flipped, vanished, appeared."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from ... import look, tables
from ...marks import spread

NAME, TITLE = "signs", "Sign agreement"
TABLE, ONE_RUN = "deviations", True
OUTCOMES = ("kept", "flipped", "vanished", "appeared")
COLUMNS = tables.columns("network", "surrogate", "layer", "depth", *OUTCOMES)
_COLOURS = {"kept": "#56b4e9", "flipped": "#d55e00", "vanished": "#cfcfcf", "appeared": "#332288"}


def shares_of(table: pd.DataFrame) -> pd.DataFrame:
    """Each outcome's share of the entries that are non-zero in at least one of the two gradients, in percent, row by
    row of the table; NaN where there is none."""
    counts = table[list(OUTCOMES)].astype(float)
    return counts[list(OUTCOMES)].div(counts.sum(axis=1).replace(0, float("nan")), axis=0) * 100


def draw(table: pd.DataFrame, *, surrogates: Sequence[str] | None = None) -> Figure:
    """What becomes of the signs of the gradient's entries in each layer: kept, flipped, vanished (zero only in the
    surrogate gradient) or appeared (zero only in the reference). Shares of the entries that are non-zero in at least
    one of the two, means over stages, seeds and draws; the black line is the full range of the kept share over these.
    An outcome that occurs nowhere is not in the legend, and a layer in which no surrogate changes a sign is named
    instead of drawn.

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
    layers = {
        tables.layer(int(rows["depth"].iloc[0]), rows["layer"].iloc[0]): rows for _, rows in table.groupby("depth")
    }
    kept = [label for label, rows in layers.items() if (shares_of(rows)["kept"] == 100).all()]
    drawn = {label: rows for label, rows in layers.items() if label not in kept} or layers
    across = look.across(len(drawn), 0.72)
    down = -(-len(drawn) // across)
    with look.house():
        figure = look.figure(0.45 + down * (0.3 + 0.15 * len(shown)))
        panels = figure.subplots(down, across, sharex=True, sharey=True, squeeze=False)
        for panel in panels.flat[len(drawn) :]:
            panel.set_axis_off()
        for panel, (label, rows) in zip(panels.flat, drawn.items(), strict=False):
            shares = shares_of(rows).groupby(rows["surrogate"]).mean().reindex(shown)
            left = pd.Series(0.0, index=shares.index)
            for outcome in OUTCOMES:
                panel.barh(
                    range(len(shown)),
                    shares[outcome],
                    left=left,
                    height=0.8,
                    label=outcome,
                    color=_COLOURS[outcome],
                    linewidth=0,
                )
                left = left + shares[outcome].fillna(0)
            kept_range = shares_of(rows)["kept"].groupby(rows["surrogate"]).agg(["min", "max"]).reindex(shown)
            panel.hlines(range(len(shown)), kept_range["min"], kept_range["max"], color=look.INK, linewidth=0.7)
            panel.set_title(label)
            panel.set(xlim=(0, 100), xticks=(0, 50, 100))
            panel.tick_params(axis="y", length=0)
        for panel in panels.flat[max(0, len(drawn) - across) : len(drawn)]:
            panel.tick_params(axis="x", labelbottom=True)
        panels[0, 0].set_yticks(range(len(shown)), [look.words(name) for name in shown])
        panels[0, 0].set_ylim(len(shown) - 0.5, -0.5)
        note = f"; not drawn, every sign kept: {', '.join(kept)}" if kept and drawn is not layers else ""
        figure.supxlabel(f"share of the entries (%){note}", fontsize=7)
        found = {outcome for rows in drawn.values() for outcome in OUTCOMES if (rows[outcome] > 0).any()}
        handles = [Patch(facecolor=_COLOURS[outcome], label=outcome) for outcome in OUTCOMES if outcome in found]
        look.legend(figure, handles)
    return figure


def said(table: pd.DataFrame) -> str:
    """How many runs, where the most signs flip, and which outcomes occur nowhere."""
    rows = tables.layers(table)
    flipped = shares_of(rows)["flipped"].groupby([rows["surrogate"], rows["depth"]]).mean().dropna()
    worst: Any = flipped.idxmax() if len(flipped) else None
    most = "No sign flips."
    if worst is not None and flipped[worst] > 0:
        most = f"The largest flipped share: {flipped[worst]:.1f}%, {look.words(worst[0])} in layer {worst[1]}."
    absent = [outcome for outcome in OUTCOMES[2:] if not (rows[outcome] > 0).any()]
    nowhere = f" No entry {' or '.join(absent)}." if absent else ""
    return f"{spread.runs(table)}. {most}{nowhere}"
