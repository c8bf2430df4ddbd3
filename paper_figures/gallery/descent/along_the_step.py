"""The loss along the step: along minus g and minus g~, and on the plane of both."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator

from ... import look, tables
from ...marks import spread, ticks

NAME, TITLE = "along-the-step", "The loss along the step"
TABLE, ONE_RUN = "along", True
CONTROL = "exact"
"""The rows of the step along minus g: they are always needed."""
COLUMNS = tables.columns(
    "network",
    surrogate="name of the surrogate; exact: the step along minus g",
    step_size="eta in theta - eta g~, above 0",
    change="of the loss on the batch, after the step less before it, nats",
)
OPTIONAL = tables.columns(
    "trained",
    "seed",
    scale="raw, or normalised: where there are both, the raw rows are drawn",
    bound="step size below which smoothness says that the step descends, from an estimated constant",
)
MORE = {
    "slice": tables.columns(
        "network",
        "surrogate",
        along_gradient="coordinate along -g/|g|, in the parameters' units",
        along_surrogate="coordinate across it, towards -g~, in the same unit",
        loss="on the batch, nats; missing where there is no plane",
        direction="cosine of the angle from -g to -g~",
        across="its sine",
    )
}


def draw(table: pd.DataFrame, *, slice: pd.DataFrame | None = None) -> Figure:
    """Change of the loss on the batch after one step of size η: along minus the exact gradient (black) and along minus
    the surrogate gradient (colour); below the dotted line the step descends. Lines are means over seeds, bands the 95%
    confidence interval (Student's t), interpolated to common step sizes where those of the runs differ; both end where
    the mean leaves the panel. The tick on the axis is the median step size below which smoothness says that the step
    descends, where it is known (its constant is an estimate). Where slices are drawn below: the loss of one run on the
    plane of both gradients, on one scale, which ends as far above the loss before the step (white line) as the lowest
    loss lies below it; the black arrow is minus g, the coloured one minus the surrogate gradient, with the angle
    between them.

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
    table = steps(table)
    exact = tables.select(table, figure=NAME, surrogate=CONTROL)
    surrogates = table[table["surrogate"] != CONTROL]
    tables.require(surrogates, COLUMNS, figure=NAME)
    shown = tables.in_order(surrogates["surrogate"], tables.catalogue())
    planes: list[str] = []
    if slice is not None:
        tables.require(slice, MORE["slice"], figure=NAME, unknown=("loss", "direction", "across"))
        slice = slice[slice["loss"].notna()]
        planes = tables.in_order(slice["surrogate"], tables.catalogue())
    across = look.across(max(len(shown), len(planes)), 0.8)
    down, below = -(-len(shown) // across), -(-len(planes) // across)
    with look.house():
        square = min(0.75, (look.width() - 0.45) / across - 0.12)
        heights = (0.4 + look.room(_legend()) + 0.85 * down, (0.75 + (square + 0.2) * below) if planes else 0.0)
        figure = look.figure(sum(heights))
        parts = look.bands(figure, heights)
        panels = parts[0].subplots(down, across, sharex=True, sharey=True, squeeze=False)
        top = _top(table)
        for place, panel in enumerate(panels.flat):
            if place >= len(shown):
                panel.set_axis_off()
                continue
            _line(panel, exact, CONTROL, top)
            _line(panel, table[table["surrogate"] == shown[place]], shown[place], top)
            panel.axhline(0, color=look.MUTED, linewidth=0.6, linestyle=(0, (1, 1)), zorder=1)
            panel.set_title(look.words(shown[place]), fontsize=look.SMALLEST)
            ticks.foot(panel, place, across, len(shown))
        _limits(panels[0, 0], table, top)
        parts[0].supxlabel("step size η", fontsize=7)
        parts[0].supylabel("change of the loss (nats)", fontsize=7)
        if slice is not None and planes:
            _planes(parts[1], slice, planes, across)
        look.legend(figure, _legend())
    return figure


def said(table: pd.DataFrame, *, slice: pd.DataFrame | None = None) -> str:
    """How many runs, for how many surrogates some step size tried lowers the loss, and where there is no slice."""
    table = steps(table)
    lowest = table[table["surrogate"] != CONTROL].groupby("surrogate")["change"].min()
    sizes = table["step_size"]
    missing = [] if slice is None else sorted(set(lowest.index) - set(slice.loc[slice["loss"].notna(), "surrogate"]))
    none = f" No slice of {', '.join(look.words(name) for name in missing)}." if missing else ""
    return (
        f"{spread.seeds(table)}; step sizes from {sizes.min():.2g} to {sizes.max():.2g}. Some step of these lowers the "
        f"loss for {int((lowest < 0).sum())} of {len(lowest)} surrogates.{none}"
    )


def steps(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of the steps as they are taken, those with a change."""
    raw = table[table["scale"] == "raw"] if "scale" in table.columns and table["scale"].nunique() > 1 else table
    return raw[raw["change"].notna()]


def common(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows at step sizes that all seeds share: each seed's change interpolated over log eta where they differ.

    >>> rows = pd.DataFrame({"seed": [0, 0, 1, 1], "step_size": [1.0, 100, 10, 1000], "change": [0.0, 2, 5, 7]})
    >>> common(rows)[["seed", "step_size", "change"]].round(3).values.tolist()
    [[0.0, 10.0, 1.0], [0.0, 100.0, 2.0], [1.0, 10.0, 5.0], [1.0, 100.0, 6.0]]
    """
    if "seed" not in rows.columns or rows.groupby("step_size")["seed"].nunique().eq(rows["seed"].nunique()).all():
        return rows
    runs = {seed: run.groupby("step_size")["change"].mean() for seed, run in rows.groupby("seed")}
    low, high = max(run.index.min() for run in runs.values()), min(run.index.max() for run in runs.values())
    every = np.unique(rows["step_size"])
    at = every[(every >= low) & (every <= high)]
    at = at[:: max(1, len(at) // 40)]
    parts = [
        pd.DataFrame({"seed": seed, "step_size": at, "change": np.interp(np.log(at), np.log(run.index), run)})
        for seed, run in runs.items()
    ]
    return pd.concat(parts, ignore_index=True)


def inside(found: pd.DataFrame, top: float) -> pd.DataFrame:
    """The rows up to the first whose mean lies above the panel: beyond it the losses of single runs diverge, and an
    interval of their mean says nothing. That first row is kept, so that the line is seen to leave.

    >>> inside(pd.DataFrame({"mean": [0.0, 3.0, 1.0]}), top=2.0)["mean"].tolist()
    [0.0, 3.0]
    """
    above = np.flatnonzero(~(found["mean"].to_numpy() <= top))
    return found.iloc[: above[0] + 1] if len(above) else found


def _line(panel: Axes, rows: pd.DataFrame, surrogate: str, top: float) -> None:
    style, exact = look.style(surrogate), surrogate == CONTROL
    colour = look.INK if exact else style.colour
    found = inside(spread.over_seeds(common(rows), ["step_size"], "change"), top)
    within = found[found["mean"] <= top]
    low, high = within["mean"] - within["half"], within["mean"] + within["half"]
    panel.fill_between(within.index, low, high, color=colour, alpha=0.2, linewidth=0)
    panel.plot(
        found.index,
        found["mean"],
        color=colour,
        linewidth=0.9,
        linestyle="-" if exact else style.line,
        marker="" if exact else style.marker,
        markersize=2,
        markevery=max(1, len(found) // 8),
        label=surrogate,
    )
    if "bound" in rows.columns and rows["bound"].notna().any():
        bound = float(rows["bound"].median())
        panel.plot(
            [bound], [0.03], "|", transform=panel.get_xaxis_transform(), color=colour, markersize=6, label="bound"
        )


def _drop(table: pd.DataFrame) -> float:
    """How far below the start the lowest mean lies."""
    means = table.groupby(["surrogate", "step_size"])["change"].mean()
    return max(-float(means.min()), 1e-12)


def _top(table: pd.DataFrame) -> float:
    """Losses far above the start would flatten what matters: the axis ends where a climb is plain to see."""
    return 0.6 * _drop(table)


def _limits(panel: Axes, table: pd.DataFrame, top: float) -> None:
    panel.set_xscale("log")
    panel.set_xlim(table["step_size"].min(), table["step_size"].max())
    panel.set_ylim(-1.15 * _drop(table), top)
    panel.locator_params(axis="y", nbins=4)
    panel.xaxis.set_major_locator(LogLocator(numticks=4))
    panel.xaxis.set_minor_locator(NullLocator())
    ticks.decades(panel.xaxis)


def _planes(part: Any, table: pd.DataFrame, planes: list[str], across: int) -> None:
    down = -(-len(planes) // across)
    panels = part.subplots(down, across, sharex=True, sharey=True, squeeze=False)
    runs = {name: _one_run(table[table["surrogate"] == name]) for name in planes}
    scale = _scale([_start(rows) for rows in runs.values()], pd.concat(runs.values())["loss"])
    mesh: Any = None
    for place, panel in enumerate(panels.flat):
        if place >= len(planes):
            panel.set_axis_off()
            continue
        mesh = _plane(panel, runs[planes[place]], planes[place], scale)
        ticks.foot(panel, place, across, len(planes))
    bar = part.colorbar(mesh, ax=panels, location="top", shrink=0.6, aspect=40, pad=0.02, extend="max")
    bar.set_label("loss (nats)")
    bar.ax.xaxis.set_major_locator(MaxNLocator(4))
    part.supxlabel("along minus g (in the parameters' units)", fontsize=7)
    part.supylabel("across, towards −g̃\n(same unit)", fontsize=7)


def _one_run(rows: pd.DataFrame) -> pd.DataFrame:
    return rows[rows["seed"] == rows["seed"].iloc[0]] if "seed" in rows.columns else rows


def _grid(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.pivot_table(index="along_surrogate", columns="along_gradient", values="loss")


def _start(rows: pd.DataFrame) -> float:
    """The loss before the step: the grid's value nearest to the origin."""
    grid = _grid(rows)
    return float(grid.iloc[np.abs(grid.index.to_numpy(float)).argmin(), np.abs(grid.columns.to_numpy(float)).argmin()])


def _scale(starts: list[float], losses: pd.Series) -> Normalize:
    """One scale for all slices. It ends as far above the start as the lowest loss lies below it: what is steeper still
    would make one dark field of all that matters."""
    low, start = float(losses.min()), max(starts)
    return Normalize(low, min(float(losses.max()), 2 * start - low) if start > low else float(losses.max()))


def _plane(panel: Axes, rows: pd.DataFrame, surrogate: str, scale: Normalize) -> Any:
    grid = _grid(rows)
    x, y, loss = grid.columns.to_numpy(float), grid.index.to_numpy(float), grid.to_numpy(float)
    mesh = panel.pcolormesh(x, y, loss, cmap="mako", norm=scale, shading="gouraud", rasterized=True)
    at_start = _start(rows)
    if np.nanmin(loss) < at_start < np.nanmax(loss):
        panel.contour(x, y, loss, levels=[at_start], colors="white", linewidths=0.7)
    reach = 0.75 * float(x.max())
    cosine, sine = float(rows["direction"].iloc[0]), float(rows["across"].iloc[0])
    for (along, over), colour in (((1.0, 0.0), "black"), ((cosine, sine), look.style(surrogate).colour)):
        halo = [withStroke(linewidth=2, foreground="white")]
        arrow = {"arrowstyle": "->", "color": colour, "linewidth": 1.0, "shrinkA": 0, "shrinkB": 0}
        panel.annotate("", (reach * along, reach * over), (0, 0), arrowprops={**arrow, "path_effects": halo})
    degrees = np.degrees(np.arctan2(sine, cosine))
    corner = panel.text(0.04, 0.04, f"{degrees:.0f}°", transform=panel.transAxes, fontsize=look.SMALLEST)
    corner.set_path_effects([withStroke(linewidth=1.5, foreground="white")])
    panel.set_title(look.words(surrogate), fontsize=look.SMALLEST)
    panel.set_aspect("equal")
    panel.locator_params(nbins=3)
    # Side by side, labels of negative values would touch those of the panel before.
    far = float(f"{0.7 * float(x.max()):.1g}")
    panel.set_xticks([0, far], ["0", f"{far:g}"])
    return mesh


def _legend() -> list[Line2D]:
    return [
        Line2D([], [], color=look.INK, linewidth=0.9, label="along minus g"),
        Line2D([], [], color="#666666", marker="o", markersize=2, label="along minus the surrogate gradient"),
        Line2D([], [], color=look.MUTED, linewidth=0.6, linestyle=(0, (1, 1)), label="before the step"),
    ]
