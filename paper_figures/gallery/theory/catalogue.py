"""The shapes of the catalogue: each surrogate over the forward that it usually stands under."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cache

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ....analysis.surrogates.activations import ACTIVATIONS
from ....analysis.surrogates.catalogue import SURROGATES
from ....analysis.surrogates.formula.evaluation import evaluate
from ....analysis.surrogates.formula.sign import Sign
from ....analysis.surrogates.surrogate import Surrogate
from ... import look, tables

NAME, TITLE = "catalogue", "Shapes of the catalogue"
TABLE, ONE_RUN = "shapes", False
COLUMNS = tables.columns(
    "surrogate",
    forward="the activation that it usually stands under",
    u="preactivation",
    factor="psi(u), its mean over the noise where it is random",
    deviation="standard deviation of psi(u); 0 where it is not random",
    activation="value of the forward at u",
    indefinite="whether psi is proved to be negative somewhere",
)
_SPAN, _POINTS = 3.0, 301


def shapes(surrogates: Iterable[Surrogate] | Mapping[str, Surrogate] = SURROGATES) -> pd.DataFrame:
    """Values of surrogates on [-3, 3], a row a point, with the columns of `COLUMNS`.

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
    """The catalogue: each surrogate's factor psi(u) over its forward (grey, not to scale). A random surrogate is drawn
    as its mean, the band one standard deviation to each side; where psi is negative the area is hatched red and the
    name marked: no positive factor, so it can turn single entries of the gradient round.

    Args:
        table: values as from `shapes`.
        surrogates: which to show, in this order; all of them where it is ``None``.

    Raises:
        Refused: a column is missing, or nothing is left to draw.
    """
    tables.require(table, COLUMNS, figure=NAME)
    table = tables.select(table, figure=NAME, surrogate=surrogates)
    shown = list(surrogates) if surrogates is not None else table["surrogate"].unique().tolist()
    across = look.across(len(shown), 0.9)
    down = -(-len(shown) // across)
    with look.house():
        figure = look.figure(0.3 + 0.85 * down)
        panels = figure.subplots(down, across, sharex=True, squeeze=False)
        for place, panel in enumerate(panels.flat):
            if place >= len(shown):
                panel.set_axis_off()
                continue
            _panel(panel, table[table["surrogate"] == shown[place]], shown[place])
            panel.tick_params(axis="x", labelbottom=place + across >= len(shown))
        figure.supxlabel("preactivation u", fontsize=7)
        figure.supylabel("factor psi(u)", fontsize=7)
    return figure


def _panel(panel: Axes, rows: pd.DataFrame, name: str) -> None:
    u, factor, deviation = (rows[column].to_numpy() for column in ("u", "factor", "deviation"))
    top = max(float((factor + deviation).max()), 1e-12)
    bottom = min(float((factor - deviation).min()), 0.0)
    forward = rows["activation"].to_numpy()
    colour = look.style(name).colour
    reach = max(float(np.ptp(forward)), 1e-12)
    panel.plot(u, (forward - forward.min()) / reach * top, color="#c4c4c4", linewidth=0.8, zorder=1)
    panel.fill_between(u, factor - deviation, factor + deviation, color=colour, alpha=0.25, linewidth=0)
    panel.plot(u, factor, color=colour, zorder=3)
    panel.axhline(0, color=look.MUTED, linewidth=0.5, zorder=2)
    indefinite = bool(rows["indefinite"].iloc[0])
    if indefinite:
        panel.fill_between(
            u, factor, 0, where=factor < 0, facecolor="none", edgecolor=look.ALARM, hatch="////////", linewidth=0
        )
    panel.set_title(
        f"{look.words(name)} (±)" if indefinite else look.words(name),
        fontsize=look.SMALLEST,
        color=look.ALARM if indefinite else look.INK,
    )
    room = 0.12 * (top - bottom)
    panel.set(xlim=(-_SPAN, _SPAN), xticks=(-2, 0, 2), ylim=(bottom - room, top + room))
    panel.set_yticks([0, factor.max()], ["0", f"{factor.max():.2g}"])


def _shape(surrogate: Surrogate) -> pd.DataFrame:
    u = np.linspace(-_SPAN, _SPAN, _POINTS)
    mean = evaluate(surrogate.mean, u)
    variance = evaluate(surrogate.variance, u) if surrogate.random else np.zeros_like(u)
    forward = ACTIVATIONS[surrogate.forward]
    return pd.DataFrame(
        {
            "surrogate": surrogate.name,
            "forward": surrogate.forward,
            "u": u,
            "factor": mean,
            "deviation": np.sqrt(variance),
            "activation": evaluate(forward.formula.subs(dict(forward.parameters.items())), u),
            "indefinite": surrogate.sign.sign is Sign.INDEFINITE,
        }
    )
