"""Mistakes of one Heaviside unit on "Ones" against the Novikoff bounds."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ....proofs.chapters.dynamics.margins import ONES_MARGIN
from ....proofs.chapters.dynamics.perceptron import PERCEPTRON_BOUNDED, PERCEPTRON_RANDOM, PERCEPTRON_RULE
from ... import look, tables
from ...marks import ticks

NAME, TITLE = "perceptron", "Mistakes against the Novikoff bound"
TABLE, ONE_RUN = "perceptron", False
COLUMNS = tables.columns(
    "surrogate",
    "seed",
    features="inputs d of the data set Ones, the bias feature not counted",
    kappa="supremum over infimum of the factor; missing where that is undefined",
    second_moment="E psi^2/(E psi)^2 of a random factor; 1 for a constant; else missing",
    mistakes="mistakes made until the run ended",
    converged="whether the last pass made no mistake",
)
UNKNOWN = ("kappa", "second_moment")
_KINDS = {"constant": PERCEPTRON_RULE, "bounded": PERCEPTRON_BOUNDED, "random": PERCEPTRON_RANDOM}


def draw(table: pd.DataFrame) -> Figure:
    """Mistakes of one Heaviside unit on the data set Ones, started at 0, against the number of inputs, for a constant,
    a bounded and a random backward factor. Markers are means over seeds, bars the full range; dashed
    lines are the proved bounds, (R/γ)² times 1, κ² or E ψ²/(E ψ)², with R the length of the longest sample and γ the
    margin of all binary inputs. An open marker: some run had not converged.

    Args:
        table: a row a run, with the columns of `COLUMNS`.

    Raises:
        Refused: a column is missing, or nothing is left to draw.
    """
    tables.require(table, COLUMNS, figure=NAME, unknown=UNKNOWN)
    shown = tables.in_order(table["surrogate"], tables.catalogue())
    across = look.across(len(shown), 1.0)
    down = -(-len(shown) // across)
    with look.house():
        figure = look.figure(0.35 + 1.55 * down)
        panels = figure.subplots(down, across, sharex=True, sharey=True, squeeze=False)
        for place, panel in enumerate(panels.flat):
            if place >= len(shown):
                panel.set_axis_off()
                continue
            _panel(panel, table[table["surrogate"] == shown[place]], shown[place])
            ticks.foot(panel, place, across, len(shown))
        figure.supxlabel("inputs d", fontsize=7)
        figure.supylabel("mistakes", fontsize=7)
    return figure


def said(table: pd.DataFrame) -> str:
    """How many runs, how near they came to their bound, and how many had not converged."""
    shares = table["mistakes"].astype(float) / bounds(table)
    open_runs = int((~table["converged"].astype(bool)).sum())
    near = f" The most mistakes are {100 * shares.max():.2g}% of their bound." if shares.notna().any() else ""
    left = f" {open_runs} of {len(table)} runs had not converged." if open_runs else " Every run converged."
    return f"n = {table['seed'].nunique()} seeds.{near}{left}"


def kind(kappa: float, second_moment: float) -> str | None:
    """Which bound holds for a factor: "constant", "bounded" or "random"; ``None`` where none does.

    >>> kind(1.0, 1.0), kind(3.0, float("nan")), kind(float("nan"), 4 / 3), kind(float("nan"), float("nan"))
    ('constant', 'bounded', 'random', None)
    """
    if kappa == kappa:
        return "constant" if kappa == 1 else "bounded"
    return "random" if second_moment == second_moment else None


def bounds(table: pd.DataFrame) -> pd.Series:
    """The proved bound on the (expected) mistakes of each row; missing where none is proved."""
    cells = zip(table["features"], table["kappa"].astype(float), table["second_moment"].astype(float), strict=True)
    return pd.Series([_bound(int(d), kappa, moment) for d, kappa, moment in cells], index=table.index, dtype=float)


def _bound(d: int, kappa: float, second_moment: float) -> float:
    which = kind(kappa, second_moment)
    if which is None:
        return float("nan")
    radius = _number(ONES_MARGIN.stated["radius"], d=d) ** 0.5
    gamma = _number(ONES_MARGIN.stated["inverse"], d=d, f=d // 2) ** -0.5
    values = {"R": radius, "gamma": gamma, "kappa": kappa, "E_1": 1.0, "E_2": second_moment}
    return _number(_KINDS[which].stated["mistakes"], **values)


def _said_of(kappa: float, second_moment: float) -> str:
    """The bound's formula with the factor's numbers."""
    which = kind(kappa, second_moment)
    if which == "bounded":
        return f"bound κ²(R/γ)²\nκ = {kappa:.3g}"
    return "bound (R/γ)²" if which == "constant" else f"bound {second_moment:.3g} (R/γ)²"


def _title(surrogate: str, kappa: float, second_moment: float) -> str:
    """The surrogate and which kind of factor it is: the catalogue's "constant" is not the only one of its kind."""
    which = kind(kappa, second_moment)
    return f"{look.words(surrogate)}\n({f'{which} factor' if which else 'no bound is proved'})"


def _number(formula: object, **values: float) -> float:
    free = {symbol: values[str(symbol)] for symbol in formula.free_symbols}  # type: ignore[attr-defined]
    return float(formula.subs(free))  # type: ignore[attr-defined]


def _panel(panel: Axes, rows: pd.DataFrame, surrogate: str) -> None:
    style = look.style(surrogate)
    rows = rows.assign(bound=bounds(rows), mistakes=rows["mistakes"].astype(float))
    made = rows.groupby("features")["mistakes"].agg(["mean", "min", "max"])
    whole = rows.groupby("features")["converged"].all()
    panel.set_xscale("log", base=2)
    panel.set_yscale("log")
    panel.vlines(made.index, made["min"].clip(lower=0.8), made["max"], color=style.colour, linewidth=0.8)
    panel.plot(made.index, made["mean"], color=style.colour, linewidth=0.6, marker=style.marker, label="mistakes")
    if not whole.all():
        left = made["mean"][~whole]
        hollow = panel.plot(left.index, left, color=style.colour, marker=style.marker, label="not converged")[0]
        hollow.set(markerfacecolor="white", markeredgewidth=0.5, linestyle="none", zorder=4)
    bound = rows.groupby("features")["bound"].first()
    factor = float(rows["kappa"].iloc[0]), float(rows["second_moment"].iloc[0])
    if bound.notna().all():
        panel.plot(bound.index, bound, color=look.INK, linewidth=0.8, linestyle=(0, (4, 1.2)), label="bound")
        panel.text(0.04, 0.98, _said_of(*factor), transform=panel.transAxes, va="top", fontsize=look.SMALLEST)
    panel.set_title(_title(surrogate, *factor), fontsize=look.SMALLEST)
    panel.set_xticks(made.index, [f"{d:g}" for d in made.index])
    panel.minorticks_off()
    ticks.decades(panel.yaxis)
    top = np.nanmax([float(made["max"].max()), float(bound.max()) if bound.notna().any() else 1.0])
    # Room for two lines of words above the bound.
    panel.set_ylim(0.7, max(panel.get_ylim()[1], top * 30))
