"""Angle and magnitude over layers and training steps, as heat maps."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure, SubFigure

from ... import look, tables
from ...marks import spread, ticks

NAME, TITLE = "layer-step", "Angle and magnitude over layers and steps"
TABLE, ONE_RUN = "deviations", True
COLUMNS = tables.columns("network", "surrogate", "layer", "depth", "step", "angle_degrees", "log10_magnitude_ratio")
OPTIONAL = tables.columns("seed", "stage")
MEASURES = {"angle_degrees": "angle (degrees)", "log10_magnitude_ratio": "log10 of the magnitude ratio"}
_PIVOT = {"angle_degrees": 90.0, "log10_magnitude_ratio": 0.0}
_FIRST = "angle_degrees"
_BY = ["surrogate", "depth", "step"]
_SIGNED = LinearSegmentedColormap.from_list("signed", ["#0b2f6b", "#5f7fb0", "#a3a3a3", "#e3b56a", "#fff0b8"])
"""Blue below 0, grey at 0, orange above, and ever lighter, so that the sign is read in greyscale too."""


def draw(table: pd.DataFrame) -> Figure:
    """Angle between surrogate and reference gradient (left) and log10 of their magnitude ratio (right: blue shorter
    than the reference, orange longer), by layer and training step, means over seeds; all panels of a side share one
    scale, the columns of steps are equally wide. A dot marks a cell that the seeds leave open: the 95% confidence
    interval of the mean (Student's t) reaches across 90 degrees or, on the right, across 0. A cross marks one in which
    some value is undefined.

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
        figure = look.figure(0.95 + down * (0.28 + 0.09 * depths))
        sides: Any = figure.subfigures(1, 2, wspace=0.02)
        for side, measure in zip(sides, MEASURES, strict=True):
            _side(side, table, measure, shown, down, across)
        figure.supxlabel("training step (not to scale)", fontsize=7)
        figure.supylabel("depth of the layer", fontsize=7)
    return figure


def said(table: pd.DataFrame) -> str:
    """How many runs, how wide the widest intervals are, and how many cells they leave open."""
    rows = tables.layers(table)
    found = {measure: spread.over_seeds(rows, _BY, measure) for measure in MEASURES}
    halves = {measure: each["half"].max() for measure, each in found.items()}
    if max(halves.values()) == 0:
        return f"{spread.seeds(table)}."
    left, right = (int(undecided(each["mean"], each["half"], measure).sum()) for measure, each in found.items())
    two = " With two seeds an interval is 12.7 standard errors to each side." if _of_two(rows) else ""
    return (
        f"{spread.seeds(table)}; the widest interval is ±{halves['angle_degrees']:.1f} degrees on the left and "
        f"±{halves['log10_magnitude_ratio']:.2f} on the right; open are {left} and {right} of {len(found[_FIRST])} "
        f"cells.{two}"
    )


def _of_two(table: pd.DataFrame) -> bool:
    return "seed" in table.columns and table["seed"].nunique() == 2


def undecided(mean: Any, half: Any, measure: str) -> Any:
    """Where an interval of these halves reaches across the value that matters: 90 degrees, or a ratio of 1."""
    return (half > 0) & ((mean - _PIVOT[measure]).abs() <= half)


def _side(side: SubFigure, table: pd.DataFrame, measure: str, shown: list[str], down: int, across: int) -> None:
    panels = side.subplots(down, across, sharex=True, sharey=True, squeeze=False)
    means = spread.over_seeds(table, _BY, measure)
    undefined = table.assign(**{measure: table[measure].isna()}).groupby(_BY)[[measure]].any()
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
        ticks.foot(panel, place, across, len(shown))
    side.colorbar(mesh, ax=panels, location="top", shrink=0.8, aspect=30, pad=0.02).set_label(MEASURES[measure])


def _of_one(table: pd.DataFrame, surrogate: str) -> pd.DataFrame:
    """The rows of one surrogate, the first level of the index."""
    found: pd.DataFrame = table.loc[[surrogate]].droplevel(0)
    return found


def _scale(values: pd.Series, measure: str) -> dict[str, Any]:
    """Both scales grow lighter with the value, so that they are read in greyscale too; that of the ratio has 0 in its
    middle."""
    if measure == "angle_degrees":
        most = float(values.max()) if values.notna().any() else 90.0
        return {"norm": Normalize(0, max(90.0, most)), "cmap": "cividis"}
    reach = float(values.abs().max()) if values.notna().any() else 0.0
    return {"norm": Normalize(-(reach or 1e-9), reach or 1e-9), "cmap": _SIGNED}


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
    marked = undecided(grid, half, measure)
    crossed = undefined.unstack("step").reindex(index=depths, columns=steps).fillna(False).astype(bool)
    for cells, marker, size in ((marked & ~crossed, "o", 1.2), (crossed, "x", 2.5)):
        rows, columns = np.nonzero(cells.to_numpy(dtype=bool))
        if len(rows):
            panel.plot(columns, rows, marker, color="white", markersize=size, markeredgewidth=0.6)
            panel.plot(columns, rows, marker, color=look.INK, markersize=size * 0.75, markeredgewidth=0.3)
    kept = range(0, len(steps), -(-len(steps) // 6))
    panel.set_xticks(list(kept), [_short(steps[place]) for place in kept], rotation=90 if len(kept) > 2 else 0)
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
