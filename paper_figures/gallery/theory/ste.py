"""Straight-through estimators on one layer of binary units (Yin et al. 2019): correlation and spurious minimiser."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ....analysis.surrogates.catalogue import SURROGATES, USUAL
from ....analysis.surrogates.formula.evaluation import evaluate
from ....analysis.surrogates.surrogate import Surrogate
from ....proofs.chapters.expectations.ste import STE_CORRELATION, STE_SPURIOUS
from ... import look, tables
from ...marks import labels

NAME, TITLE = "ste", "Straight-through estimators on a binary layer"
TABLE, ONE_RUN = "ste", False
COLUMNS = tables.columns(
    "surrogate",
    theta_degrees="angle of w and w*, degrees",
    correlation="<E g_psi, grad_w f> at |w| = 1, v.v* = 1",
    residual="E g_psi along w at the spurious minimiser, |w| = 1, m = 2 units, 1'v* = 1; the same in all rows of one",
)
DEFAULT = USUAL
"""Shown of the whole catalogue where none are asked for: so many lines in one panel are not told apart."""
_POINTS = 4000
_THETA = np.linspace(0, 90, 31)


def made() -> pd.DataFrame:
    """The curves of the whole catalogue."""
    return _whole().copy()


@cache
def _whole() -> pd.DataFrame:
    return curves(SURROGATES.values())


def curves(surrogates: Iterable[Surrogate]) -> pd.DataFrame:
    """Both closed forms for surrogates, a row an angle, with the columns of `COLUMNS`.

    The claims `ste-correlation` and `ste-spurious` state them up to one Gaussian expectation of psi each, of its mean
    where psi is random; that is a mean over 4,000 stratified quantiles.
    """
    from scipy.stats import norm

    y = norm.ppf((np.arange(_POINTS) + 0.5) / _POINTS)
    correlation, size = STE_CORRELATION.stated["correlation"], STE_SPURIOUS.stated["size"]
    scale = _value(size, m=2, S=1)
    found = []
    for surrogate in surrogates:
        for degrees in _THETA:
            sine = float(np.sin(np.radians(degrees)))
            expected = float(np.broadcast_to(evaluate(surrogate.mean, sine * y), y.shape).mean())
            value = _value(correlation, sin_theta=sine, d=1, rho=1, E_psi=expected)
            found.append({"surrogate": surrogate.name, "theta_degrees": degrees, "correlation": value})
        below = float(np.where(y < 0, -y * evaluate(surrogate.mean, y), 0.0).mean())
        for row in found[-len(_THETA) :]:
            row["residual"] = scale * below
    return pd.DataFrame(found)


def draw(table: pd.DataFrame) -> Figure:
    """One hidden layer of binary units on Gaussian inputs, after Yin et al. 2019. Left: inner product of the expected
    surrogate gradient g̃ with the gradient of the population loss f, over the angle θ of w and w*, at |w| = 1 and
    v·v* = 1; it is symmetric about 90 degrees. Right: the length of the expected surrogate gradient at the spurious
    minimiser (θ = 180 degrees), for two units and 1'v* = 1: only where it is 0 (open marker) can training converge
    there, else it is driven away. Closed forms of one Gaussian expectation of the factor each, which is taken as a mean
    over 4,000 stratified quantiles: nothing is sampled, so that no interval is shown. Of random surrogates the mean
    factor counts.

    Args:
        table: values as from `curves`.

    Raises:
        Refused: a column is missing, or nothing is left to draw.
    """
    tables.require(table, COLUMNS, figure=NAME)
    shown = tables.in_order(table["surrogate"], tables.catalogue())
    side_by_side = look.width() > 4
    height = max(1.3, 0.115 * len(shown))
    with look.house():
        figure = look.figure(0.45 + height * (1 if side_by_side else 2))
        cells = figure.subplots(1, 2, width_ratios=(1.25, 1)) if side_by_side else figure.subplots(2, 1)
        layout: Any = figure.get_layout_engine()
        layout.set(wspace=0.08)
        _correlations(cells[0], table, shown, height)
        _residuals(cells[1], table, shown)
    return figure


def said(table: pd.DataFrame) -> str:
    """How many surrogates can converge to the spurious minimiser."""
    residual = table.groupby("surrogate")["residual"].first()
    zero = sorted(look.words(str(name)) for name in residual.index[residual.abs() < _ZERO])
    return f"{len(zero)} of {len(residual)} vanish at the spurious minimiser{': ' + ', '.join(zero) if zero else ''}."


_ZERO = 1e-9


def _value(formula: Any, **values: float) -> float:
    return float(formula.subs({symbol: values[str(symbol)] for symbol in formula.free_symbols}))


def _correlations(axes: Axes, table: pd.DataFrame, shown: list[str], height: float) -> None:
    ends: dict[str, tuple[float, str]] = {}
    for surrogate in shown:
        rows, style = table[table["surrogate"] == surrogate].sort_values("theta_degrees"), look.style(surrogate)
        axes.plot(
            rows["theta_degrees"],
            rows["correlation"],
            color=style.colour,
            linestyle=style.line,
            linewidth=0.8,
            marker=style.marker,
            markersize=2.2,
            markevery=(shown.index(surrogate) % 6, 6),
            label=surrogate,
        )
        ends[look.words(surrogate)] = (float(rows["correlation"].iloc[-1]), style.colour)
    axes.axhline(0, color=look.ALARM, linewidth=0.8, linestyle=(0, (3, 2)), zorder=1)
    axes.set(xlim=(table["theta_degrees"].min(), table["theta_degrees"].max()), xticks=(0, 30, 60, 90))
    axes.set(xlabel="angle θ of w and w* (degrees)", ylabel="⟨E g̃, ∇f⟩")
    axes.set_title("inner product with the gradient")
    labels.beside(axes, ends, height=height - 0.35)


def _residuals(axes: Axes, table: pd.DataFrame, shown: list[str]) -> None:
    residual = table.groupby("surrogate")["residual"].first().reindex(shown).sort_values(kind="stable")
    for place, (surrogate, value) in enumerate(residual.items()):
        style, zero = look.style(str(surrogate)), abs(value) < _ZERO
        axes.plot(
            [value],
            [place],
            marker=style.marker,
            color=style.colour,
            markerfacecolor="white" if zero else style.colour,
            markeredgewidth=0.6,
            linestyle="none",
            clip_on=False,
            zorder=3,
            label=surrogate,
        )
        axes.hlines(place, 0, value, color=style.colour, linewidth=0.5)
    axes.axvline(0, color=look.MUTED, linewidth=0.6, zorder=1)
    axes.set_yticks(range(len(residual)), [look.words(str(name)) for name in residual.index])
    axes.set_ylim(-0.8, len(residual) - 0.2)
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel("length of E g̃ at θ = 180 degrees")
    axes.set_title("at the spurious minimiser")
