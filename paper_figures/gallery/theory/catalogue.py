"""The shapes of the catalogue: each surrogate over the forward that it usually stands under."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any, cast

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.transforms import ScaledTranslation

from ....analysis.surrogates.activations import ACTIVATIONS
from ....analysis.surrogates.catalogue import SURROGATES
from ....analysis.surrogates.formula.evaluation import evaluate
from ....analysis.surrogates.formula.profile import breaks
from ....analysis.surrogates.formula.sign import Sign
from ....analysis.surrogates.surrogate import Surrogate
from ... import look, tables
from ...marks import ticks

NAME, TITLE = "catalogue", "Shapes of the catalogue"
TABLE, ONE_RUN = "shapes", False
COLUMNS = tables.columns(
    "surrogate",
    forward="the activation that it usually stands under",
    u="preactivation",
    factor="psi(u), its mean over the noise where it is random; missing where it jumps",
    deviation="standard deviation of psi(u); 0 where it is not random",
    activation="value of the forward at u; missing where it jumps",
    indefinite="whether psi is proved to be negative somewhere",
)
_SPAN, _POINTS = 3.0, 301
_ROOMY = 0.85
"""Inches from panel to panel from which on a sample of the line stands beside a name, else the marker alone."""
_DRAWN = ("u", "factor", "deviation", "activation")


def shapes(surrogates: Iterable[Surrogate] | Mapping[str, Surrogate] = SURROGATES) -> pd.DataFrame:
    """Values of surrogates on [-3, 3], a row a point, with the columns of `COLUMNS`; at a jump there is a point to
    each side and one without a value between them, so that a line has a gap there.

    ``factor`` is psi(u), its mean over the noise where psi is random, ``deviation`` its standard deviation;
    ``activation`` is the forward's value; ``indefinite`` says whether psi is proved to be negative somewhere.
    """
    listed = surrogates.values() if isinstance(surrogates, Mapping) else surrogates
    return pd.concat([_shape(surrogate) for surrogate in listed], ignore_index=True)


def made() -> pd.DataFrame:
    """The whole catalogue."""
    return _whole().copy()


@cache
def _whole() -> pd.DataFrame:
    return shapes()


def draw(table: pd.DataFrame, *, surrogates: Sequence[str] | None = None) -> Figure:
    """The catalogue: each surrogate's factor ψ(u) over its forward, which each title names (grey, not to scale), with
    gaps where they jump; beside the name the marker, and where there is room the
    line, that the surrogate has in every figure. A random surrogate
    is drawn as its mean, the band one standard deviation to each side. Where ψ is negative the area is red and the name
    marked ±: no positive factor, so it can turn single entries of the gradient round.

    Args:
        table: values as from `shapes`.
        surrogates: which to show, in this order; all of them where it is ``None``.

    Raises:
        Refused: a column is missing, or nothing is left to draw.
    """
    tables.require(table, COLUMNS, figure=NAME)
    table = tables.select(table, figure=NAME, surrogate=surrogates)
    shown = list(surrogates) if surrogates is not None else table["surrogate"].unique().tolist()
    across = look.across(len(shown), 0.8)
    down = -(-len(shown) // across)
    with look.house():
        figure = look.figure(0.3 + 0.88 * down)
        panels = figure.subplots(down, across, sharex=True, squeeze=False)
        for place, panel in enumerate(panels.flat):
            if place >= len(shown):
                panel.set_axis_off()
                continue
            _panel(panel, table[table["surrogate"] == shown[place]], shown[place], look.width() / across > _ROOMY)
            ticks.foot(panel, place, across, len(shown))
        # The titles of the last column reach beyond its panels.
        layout: Any = figure.get_layout_engine()
        layout.set(rect=(0, 0, 1 - 0.15 / look.width(), 1))
        figure.supxlabel("preactivation u", fontsize=7)
        figure.supylabel("factor ψ(u)", fontsize=7)
    return figure


def _panel(panel: Axes, rows: pd.DataFrame, name: str, roomy: bool) -> None:
    u, factor, deviation, forward = (rows[column].to_numpy(float) for column in COLUMNS if column in _DRAWN)
    top = max(float(np.nanmax(factor + deviation)), 1e-12)
    bottom = min(float(np.nanmin(factor - deviation)), 0.0)
    style = look.style(name)
    lowest, reach = float(np.nanmin(forward)), max(float(np.nanmax(forward) - np.nanmin(forward)), 1e-12)
    panel.plot(u, (forward - lowest) / reach * top, color="#b4b4b4", linewidth=0.8, zorder=1)
    panel.fill_between(u, factor - deviation, factor + deviation, color=style.colour, alpha=0.25, linewidth=0)
    panel.plot(u, factor, color=style.colour, zorder=3)
    panel.axhline(0, color=look.MUTED, linewidth=0.5, zorder=2)
    indefinite = bool(rows["indefinite"].iloc[0])
    if indefinite:
        below = panel.fill_between(u, factor, 0, where=factor < 0, facecolor=(look.ALARM, 0.35), linewidth=0)
        below.set(hatch="////////", edgecolor=look.ALARM)
    forward_name = look.words(str(rows["forward"].iloc[0]))
    panel.set_title(
        # Where panels are narrow the next marker stands close to the first line's end.
        f"{look.words(name)}{' ±' * (indefinite and roomy)}\n{'± ' * (indefinite and not roomy)}over {forward_name}",
        fontsize=look.SMALLEST,
        color=look.ALARM if indefinite else look.INK,
        ha="left",
        x=0.0,
        linespacing=1.0,
    )
    # Its look, as in a legend, left of the title's first line, where no tick label stands.
    root: Any = panel.get_figure(root=True)
    inches, frame = root.dpi_scale_trans, cast(Any, panel.transAxes)
    corner = inches + ScaledTranslation(0, 1, frame) + ScaledTranslation(0, 0.175, inches)
    sample: dict[str, Any] = {"color": style.colour, "transform": corner, "clip_on": False, "linewidth": 0.8}
    panel.plot([-0.07], [0], marker=style.marker, label="marker", **sample)
    if roomy:
        panel.plot([-0.15, -0.01], [0, 0], linestyle=style.line, label="line", **sample)
    room = 0.12 * (top - bottom)
    panel.set(xlim=(-_SPAN, _SPAN), xticks=(-2, 0, 2), ylim=(bottom - room, top + room))
    panel.set_yticks([0, np.nanmax(factor)], ["0", f"{np.nanmax(factor):.2g}"])


def _shape(surrogate: Surrogate) -> pd.DataFrame:
    forward = ACTIVATIONS[surrogate.forward]
    activation = forward.formula.subs(dict(forward.parameters.items()))
    points = _points({"factor": surrogate.mean, "activation": activation})
    u = points["u"].to_numpy()
    variance = evaluate(surrogate.variance, u) if surrogate.random else np.zeros_like(u)
    return points.assign(
        surrogate=surrogate.name,
        forward=surrogate.forward,
        deviation=np.sqrt(np.maximum(variance, 0)),
        indefinite=surrogate.sign.sign is Sign.INDEFINITE,
    )


def _points(formulas: Mapping[str, Any]) -> pd.DataFrame:
    """Values of formulas in u on the span: where one of them jumps, a point to each side and between them a missing
    value of the one that jumps."""
    found = np.linspace(-_SPAN, _SPAN, _POINTS)
    values = {name: evaluate(formula, found) for name, formula in formulas.items()}
    inner = sorted({point for formula in formulas.values() for point in breaks(formula, -_SPAN, _SPAN)})
    for point in inner:
        u = point + _SPAN * np.array([-1e-6, 0.0, 1e-6])
        around = {name: evaluate(formula, u) for name, formula in formulas.items()}
        jumps = {
            name
            for name, each in around.items()
            if abs(each[2] - each[0]) > 1e-4 * float(np.nanmax(np.abs(values[name])))
        }
        if jumps:
            kept, at = np.abs(found - point) > _SPAN * 1e-6, int(np.searchsorted(found, point))
            before = int(kept[:at].sum())
            for name in jumps:
                around[name][1] = np.nan
            found = np.insert(found[kept], before, u)
            values = {name: np.insert(each[kept], before, around[name]) for name, each in values.items()}
    return pd.DataFrame({"u": found, **values})
