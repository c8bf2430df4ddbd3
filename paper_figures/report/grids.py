"""The report's tables of numbers: surrogates down, stages and layers across."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from .. import tables
from ..drawing import TIED
from ..gallery.deviation import signs
from .answers import RIGHT_ANGLE


@dataclass(frozen=True)
class Cell:
    """One number as shown, its spread over seeds and draws, and whether it lies at or beyond 90 degrees."""

    text: str
    spread: str = ""
    beyond: bool = False


@dataclass(frozen=True)
class Row:
    """One surrogate's cells."""

    name: str
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class Grid:
    """One table: groups of columns (stages) over columns (layers), rows of surrogates."""

    id: str
    title: str
    note: str
    groups: tuple[tuple[str, int], ...]
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    command: str


@dataclass(frozen=True)
class Quantity:
    """A column of the measurement and how a grid shows it."""

    column: str
    title: str
    note: str
    form: str


QUANTITIES = (
    Quantity(
        "angle_degrees",
        "angle to the exact gradient, in degrees",
        "Median over seeds and draws, in brackets the full range; 90 degrees or more is marked. An angle is undefined "
        "where a gradient vanished.",
        "{:.1f}",
    ),
    Quantity(
        "log10_magnitude_ratio",
        "log10 of the magnitude ratio",
        "Surrogate over exact gradient: 0 is as long, 1 is ten times as long. Median over seeds and draws, in brackets "
        "the full range.",
        "{:+.2f}",
    ),
    Quantity(
        "flipped",
        "entries whose sign flipped, in percent",
        "Share of the entries that are not zero in both gradients. Median over seeds and draws, in brackets the full "
        "range.",
        "{:.1f}",
    ),
)


def grids(table: pd.DataFrame, plan: Mapping[str, Any]) -> list[Grid]:
    """A grid for each network, way of training and quantity, in the order of the table.

    Args:
        table: a measurement with a column ``trained``.
        plan: of the study, as the measurement's provenance holds it: ``epochs`` and ``draws`` go into the commands.
    """
    return [
        _grid(rows, quantity, str(network), str(trained), plan)
        for (network, trained), rows in table.groupby(["network", "trained"], sort=False)
        for quantity in QUANTITIES
    ]


def values_of(table: pd.DataFrame, quantity: Quantity) -> pd.Series[float]:
    """A quantity of each row."""
    return signs.shares_of(table)[quantity.column] if quantity.column in signs.OUTCOMES else table[quantity.column]


def _command(network: str, trained: str, table: pd.DataFrame, plan: Mapping[str, Any]) -> str:
    """What measures the same again: every option that decides the numbers is in it.

    A random surrogate's draws depend on its place among those measured, so any choice but the catalogue is named; a
    control that stands last changes nothing.
    """
    epochs = plan.get("epochs")
    chosen = epochs.get(network) if isinstance(epochs, Mapping) else epochs
    measured = [str(name) for name in table["surrogate"].unique()]
    measured = measured[:-1] if measured[-1] == TIED else measured
    options = [f"--seed {seed}" for seed in sorted(table["seed"].unique())]
    options += [f"--epochs {chosen}"] if chosen is not None else []
    options += [f"--draws {plan['draws']}"] if "draws" in plan else []
    options += [] if measured == tables.catalogue() else [f"--surrogate {name}" for name in measured]
    return " ".join([f"downslope measure --network {network} --trained {trained}", *options])


def _grid(table: pd.DataFrame, quantity: Quantity, network: str, trained: str, plan: Mapping[str, Any]) -> Grid:
    stages = tables.stages(table)
    depths = table.groupby("layer")["depth"].first().sort_values()
    layers = [layer for layer in depths.index if layer != tables.WHOLE]
    layers += [tables.WHOLE] * (tables.WHOLE in depths.index)
    cells = {
        key: _cell(values, quantity)
        for key, values in values_of(table, quantity).groupby([table["surrogate"], table["stage"], table["layer"]])
    }
    absent = Cell("not measured")
    rows = tuple(
        Row(name, tuple(cells.get((name, stage, layer), absent) for stage in stages for layer in layers))
        for name in table["surrogate"].unique()
    )
    return Grid(
        id="-".join(("numbers", network, trained, quantity.column.replace("_", "-"))),
        title=f"{network}, trained {trained}: {quantity.title}",
        note=quantity.note,
        groups=tuple((stage, len(layers)) for stage in stages),
        columns=tuple(tables.layer(depths[layer], layer) for layer in layers) * len(stages),
        rows=rows,
        command=_command(network, trained, table, plan),
    )


def _cell(values: pd.Series, quantity: Quantity) -> Cell:
    defined, missing = values.dropna(), int(values.isna().sum())
    if defined.empty:
        return Cell("undefined")
    show = quantity.form.format
    spread = f"({show(defined.min())} to {show(defined.max())})" if defined.max() > defined.min() else ""
    if missing:
        spread = f"{spread} {missing} of {len(values)} undefined".strip()
    beyond = quantity.column == "angle_degrees" and bool(defined.max() >= RIGHT_ANGLE)
    return Cell(show(defined.median()), spread, beyond)
