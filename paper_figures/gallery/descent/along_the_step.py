"""The loss along the step: along minus g and minus g~, and on the plane of both."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke

from ... import look, tables
from ...marks import spread

NAME, TITLE = "along-the-step", "The loss along the step"
TABLE, ONE_RUN = "along", True
CONTROL = "tied"
"""The rows of the step along minus g: they are always needed."""
COLUMNS = tables.columns(
    "network",
    surrogate="name of the surrogate; tied: the step along minus g",
    step_size="eta in theta - eta g~, above 0",
    loss="on the batch after the step",
    loss_before="on the batch before it",
)
OPTIONAL = tables.columns("trained", "seed", step_bound="step size up to which smoothness proves descent")
MORE = {
    "slice": tables.columns(
        "network",
        "surrogate",
        x="coordinate along minus g, in its length",
        y="coordinate across it, towards minus g~, in the same unit",
        loss="on the batch",
        cosine="of g and g~: the direction of minus g~ in the plane",
    )
}


def draw(table: pd.DataFrame, *, slice: pd.DataFrame | None = None) -> Figure:
    """Loss on the batch after one step of size η: along the exact gradient (black) and along the surrogate gradient
    (colour); the dotted line is the loss before the step. Lines are means over seeds, bands the 95% confidence interval
    (Student's t); the tick on the axis is the step size up to which smoothness proves descent, where it is known. Where
    slices are drawn below: the loss of one run on the plane of both gradients, darker is lower, the white line is the
    loss before the step, the black arrow minus g, the coloured one minus the surrogate gradient.

    Args:
        table: a row a step size, of one network, with the columns of `COLUMNS`; those of the step along minus g have
            the surrogate `CONTROL`.
        slice: losses on a grid in the plane, with the columns of `MORE`; no slice is drawn where it is ``None``.

    Raises:
        Refused: a column is missing, nothing is left to draw, the step along minus g is missing, or the table mixes
            networks, ways of training or references.
    """
    tables.require(table, COLUMNS, figure=NAME)
    tables.one_run(table, figure=NAME)
    exact = tables.select(table, figure=NAME, surrogate=CONTROL)
    surrogates = table[table["surrogate"] != CONTROL]
    tables.require(surrogates, COLUMNS, figure=NAME)
    shown = tables.in_order(surrogates["surrogate"], tables.catalogue())
    planes: list[str] = []
    if slice is not None:
        tables.require(slice, MORE["slice"], figure=NAME)
        planes = tables.in_order(slice["surrogate"], tables.catalogue())
    across = look.across(max(len(shown), len(planes)), 0.95)
    down, below = -(-len(shown) // across), -(-len(planes) // across)
    with look.house():
        heights = (0.4 + look.room(_legend()) + 0.95 * down, (0.25 + 1.1 * below) if planes else 0.0)
        figure = look.figure(sum(heights))
        parts = figure.subfigures(2, 1, height_ratios=heights) if planes else [figure.subfigures(1, 1)]
        panels = parts[0].subplots(down, across, sharex=True, sharey=True, squeeze=False)
        for place, panel in enumerate(panels.flat):
            if place >= len(shown):
                panel.set_axis_off()
                continue
            _line(panel, exact, CONTROL)
            _line(panel, table[table["surrogate"] == shown[place]], shown[place])
            panel.axhline(_before(table), color=look.MUTED, linewidth=0.6, linestyle=(0, (1, 1)), zorder=1)
            panel.set_title(look.words(shown[place]), fontsize=look.SMALLEST)
            panel.tick_params(axis="x", labelbottom=place + across >= len(shown))
        _limits(panels[0, 0], table)
        parts[0].supxlabel("step size η", fontsize=7)
        parts[0].supylabel("loss", fontsize=7)
        if slice is not None and planes:
            _planes(parts[1], slice, planes, across)
        look.legend(figure, _legend())
    return figure


def said(table: pd.DataFrame, *, slice: pd.DataFrame | None = None) -> str:
    """How many runs, and for how many surrogates some step size tried lowers the loss."""
    surrogates = table[table["surrogate"] != CONTROL]
    lowest = surrogates.groupby("surrogate")[["loss", "loss_before"]].agg({"loss": "min", "loss_before": "mean"})
    falling = int((lowest["loss"] < lowest["loss_before"]).sum())
    sizes = table["step_size"]
    return (
        f"{spread.seeds(table)}; {sizes.nunique()} step sizes from {sizes.min():.2g} to {sizes.max():.2g}. Some step "
        f"lowers the loss for {falling} of {len(lowest)} surrogates."
    )


def _before(table: pd.DataFrame) -> float:
    return float(table["loss_before"].astype(float).mean())


def _line(panel: Axes, rows: pd.DataFrame, surrogate: str) -> None:
    style = look.style(surrogate)
    colour = look.INK if surrogate == CONTROL else style.colour
    found = spread.over_seeds(rows, ["step_size"], "loss")
    low, high = found["mean"] - found["half"], found["mean"] + found["half"]
    panel.fill_between(found.index, low, high, color=colour, alpha=0.2, linewidth=0)
    marker = {} if surrogate == CONTROL else {"marker": style.marker, "markersize": 2, "markevery": 3}
    panel.plot(found.index, found["mean"], color=colour, linewidth=0.9, label=surrogate, **marker)  # type: ignore[arg-type]
    if "step_bound" in rows.columns and rows["step_bound"].notna().any():
        bound = float(rows["step_bound"].median())
        panel.plot(
            [bound], [0.03], "|", transform=panel.get_xaxis_transform(), color=colour, markersize=6, label="bound"
        )


def _limits(panel: Axes, table: pd.DataFrame) -> None:
    """Losses far above the start would flatten what matters: the axis ends where a climb is plain to see."""
    before, lowest = _before(table), float(table["loss"].min())
    drop = max(before - lowest, 1e-12)
    panel.set_xscale("log")
    panel.set_xlim(table["step_size"].min(), table["step_size"].max())
    panel.set_ylim(lowest - 0.1 * drop, before + 0.6 * drop)
    panel.locator_params(axis="y", nbins=4)


def _planes(part: object, table: pd.DataFrame, planes: list[str], across: int) -> None:
    down = -(-len(planes) // across)
    panels = part.subplots(down, across, sharex=True, sharey=True, squeeze=False)  # type: ignore[attr-defined]
    for place, panel in enumerate(panels.flat):
        if place >= len(planes):
            panel.set_axis_off()
            continue
        rows = table[table["surrogate"] == planes[place]]
        if "seed" in rows.columns:
            rows = rows[rows["seed"] == rows["seed"].iloc[0]]
        _plane(panel, rows, planes[place])
    part.supxlabel("along −g (in lengths of g)", fontsize=7)  # type: ignore[attr-defined]
    part.supylabel("across", fontsize=7)  # type: ignore[attr-defined]


def _plane(panel: Axes, rows: pd.DataFrame, surrogate: str) -> None:
    grid = rows.pivot_table(index="y", columns="x", values="loss")
    x, y, loss = grid.columns.to_numpy(float), grid.index.to_numpy(float), grid.to_numpy(float)
    panel.pcolormesh(x, y, loss, cmap="mako", shading="nearest", rasterized=True)
    at_start = float(loss[np.abs(y).argmin(), np.abs(x).argmin()])
    if np.nanmin(loss) < at_start < np.nanmax(loss):
        panel.contour(x, y, loss, levels=[at_start], colors="white", linewidths=0.7)
    reach = 0.75 * float(x.max())
    cosine = float(rows["cosine"].iloc[0])
    sine = float(np.sqrt(max(0.0, 1 - cosine**2)))
    for (along, over), colour in (((1.0, 0.0), "black"), ((cosine, sine), look.style(surrogate).colour)):
        halo = [withStroke(linewidth=2, foreground="white")]
        arrow = {"arrowstyle": "->", "color": colour, "linewidth": 1.0, "shrinkA": 0, "shrinkB": 0}
        panel.annotate("", (reach * along, reach * over), (0, 0), arrowprops={**arrow, "path_effects": halo})
    degrees = np.degrees(np.arccos(np.clip(cosine, -1, 1)))
    panel.set_title(f"{look.words(surrogate)}, {degrees:.0f}°", fontsize=look.SMALLEST)
    panel.set_aspect("equal")
    panel.locator_params(nbins=3)


def _legend() -> list[Line2D]:
    return [
        Line2D([], [], color=look.INK, linewidth=0.9, label="along minus g"),
        Line2D([], [], color="#666666", marker="o", markersize=2, label="along minus the surrogate gradient"),
        Line2D([], [], color=look.MUTED, linewidth=0.6, linestyle=(0, (1, 1)), label="before the step"),
    ]
