"""Angle and magnitude over layers and training steps, as heat maps."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure, SubFigure

from ... import look, tables
from ...marks import spread

NAME, TITLE = "layer-step", "Angle and magnitude over layers and steps"
TABLE, ONE_RUN = "deviations", True
COLUMNS = tables.columns("network", "surrogate", "layer", "depth", "step", "angle_degrees", "log10_magnitude_ratio")
OPTIONAL = tables.columns("seed", "stage")
MEASURES = {"angle_degrees": "angle (degrees)", "log10_magnitude_ratio": "log10 of the magnitude ratio"}


def draw(table: pd.DataFrame) -> Figure:
    """Angle between surrogate and reference gradient (left) and log10 of their magnitude ratio (right), by layer and
    training step, means over seeds; all panels of a side share one scale. A dot marks a cell where the 95% confidence
    interval of the mean over seeds (Student's t) reaches 90 degrees, or, on the right, lies on one side of 0 entirely;
    a cross one in which some value is undefined.

    Args:
        table: a measurement of one network trained in one way, with the columns of `COLUMNS`.

    Raises:
        Refused: a column is missing, nothing is left to draw, or the table mixes networks, ways of training or
            references.
    """
    tables.require(table, COLUMNS, figure=NAME)
    tables.one_run(table, figure=NAME)
    table = tables.select(tables.layers(table), figure=NAME)
    shown = tables.in_order(table["surrogate"], tables.catalogue())
    across = look.across(len(shown), 1.8)
    down = -(-len(shown) // across)
    depths = int(table["depth"].nunique())
    with look.house():
        figure = look.figure(0.75 + down * (0.28 + 0.09 * depths))
        sides: Any = figure.subfigures(1, 2, wspace=0.02)
        for side, measure in zip(sides, MEASURES, strict=True):
            _side(side, table, measure, shown, down, across)
        figure.supxlabel("training step", fontsize=7)
        figure.supylabel("depth of the layer", fontsize=7)
    return figure


def said(table: pd.DataFrame) -> str:
    """How many runs, and how wide the widest intervals are."""
    rows = tables.layers(table)
    by = ["surrogate", "depth", "step"]
    halves = {measure: spread.over_seeds(rows, by, measure)["half"].max() for measure in MEASURES}
    wide = (
        f"; the widest interval is ±{halves['angle_degrees']:.1f} degrees on the left and "
        f"±{halves['log10_magnitude_ratio']:.2f} on the right"
    )
    return f"{spread.seeds(table)}{wide if max(halves.values()) > 0 else ''}."


def _side(side: SubFigure, table: pd.DataFrame, measure: str, shown: list[str], down: int, across: int) -> None:
    panels = side.subplots(down, across, sharex=True, sharey=True, squeeze=False)
    by = ["surrogate", "depth", "step"]
    means = spread.over_seeds(table, by, measure)
    undefined = table.assign(**{measure: table[measure].isna()}).groupby(by)[[measure]].any()
    steps, depths = sorted(table["step"].unique()), sorted(table["depth"].unique())
    scale = _scale(means["mean"], measure)
    mesh: Any = None
    for place, panel in enumerate(panels.flat):
        if place >= len(shown):
            panel.set_axis_off()
            continue
        name = shown[place]
        mesh = _map(panel, _of_one(means, name), _of_one(undefined, name)[measure], steps, depths, scale, measure)
        panel.set_title(look.words(shown[place]), fontsize=look.SMALLEST)
        panel.tick_params(axis="x", labelbottom=place + across >= len(shown))
    side.colorbar(mesh, ax=panels, location="top", shrink=0.8, aspect=30, pad=0.02).set_label(MEASURES[measure])


def _of_one(table: pd.DataFrame, surrogate: str) -> pd.DataFrame:
    """The rows of one surrogate, the first level of the index."""
    found: pd.DataFrame = table.loc[[surrogate]].droplevel(0)
    return found


def _scale(values: pd.Series, measure: str) -> dict[str, Any]:
    """Both scales grow lighter with the value, so that they are read in greyscale too."""
    if measure == "angle_degrees":
        return {
            "norm": Normalize(0, max(90.0, float(values.max()) if values.notna().any() else 90.0)),
            "cmap": "cividis",
        }
    low, high = (float(values.min()), float(values.max())) if values.notna().any() else (0.0, 0.0)
    return {"norm": Normalize(min(low, 0.0), max(high, 0.0) or 1e-9), "cmap": "mako"}


def _map(
    panel: Axes,
    means: pd.DataFrame,
    undefined: pd.Series,
    steps: list[int],
    depths: list[int],
    scale: dict[str, Any],
    measure: str,
) -> Any:
    grid = means["mean"].unstack("step").reindex(index=depths, columns=steps)
    half = means["half"].unstack("step").reindex(index=depths, columns=steps)
    # Steps are ranks: training is observed at unequal distances, often by a factor of ten.
    mesh = panel.pcolormesh(
        np.arange(len(steps) + 1) - 0.5, np.arange(len(depths) + 1) - 0.5, grid.to_numpy(dtype=float), **scale
    )
    marked = grid + half >= 90 if measure == "angle_degrees" else (grid.abs() > half) & (half > 0)
    crossed = undefined.unstack("step").reindex(index=depths, columns=steps).fillna(False).astype(bool)
    for cells, marker, size in ((marked & ~crossed, "o", 1.2), (crossed, "x", 2.5)):
        rows, columns = np.nonzero(cells.to_numpy(dtype=bool))
        if len(rows):
            panel.plot(columns, rows, marker, color="white", markersize=size, markeredgewidth=0.6)
            panel.plot(columns, rows, marker, color=look.INK, markersize=size * 0.75, markeredgewidth=0.3)
    kept = range(len(steps)) if len(steps) <= 2 else (0, len(steps) - 1)
    panel.set_xticks(list(kept), [_short(steps[place]) for place in kept])
    panel.set_yticks(range(len(depths)), [str(depth) for depth in depths])
    if len(depths) > 4:
        panel.set_yticks([0, len(depths) - 1], [str(depths[0]), str(depths[-1])])
    panel.set_ylim(len(depths) - 0.5, -0.5)
    panel.spines[:].set_visible(False)
    panel.tick_params(length=0)
    return mesh


def _short(step: float) -> str:
    """A step as a short tick label.

    >>> _short(2300), _short(23), _short(120000)
    ('2300', '23', '120k')
    """
    return f"{step / 1000:g}k" if step >= 10_000 else f"{step:g}"
