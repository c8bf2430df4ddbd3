"""What `downslope measure` and `downslope weights` print for readers."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    import pandas as pd

    from .networks.weights import Stored


def angles(deviations: pd.DataFrame, title: str) -> Iterator[Table | Text]:
    """A table a stage: a row a surrogate, a column a layer, in each cell the angle in degrees, the median over seeds
    and draws, "-" where every one is undefined; then why."""
    depths = deviations.groupby("layer")["depth"].first()
    layers = sorted(depths.index, key=lambda layer: (depths[layer] == 0, depths[layer]))
    medians = deviations.groupby(["stage", "surrogate", "layer"])["angle_degrees"].median()
    for stage in deviations["stage"].unique():
        table = Table("surrogate", title=f"{title}: angle in degrees, {stage}")
        for layer in layers:
            table.add_column(layer if layer == "whole" else f"layer {depths[layer]}", justify="right")
        for surrogate in deviations["surrogate"].unique():
            table.add_row(surrogate, *(_shown(medians.get((stage, surrogate, layer))) for layer in layers))
        yield table
    for reason, times in deviations[deviations["angle_degrees"].isna()]["reason"].value_counts(sort=False).items():
        yield Text(f"{times} of {len(deviations)} rows undefined: {reason}")


def weights(stored: Iterable[Stored]) -> Table:
    """A row a file of weights."""
    table = Table("network", "seed", "test accuracy", "", "file")
    for each in stored:
        state = "made" if each.made else "at hand"
        table.add_row(each.network, str(each.seed), f"{each.accuracy:.3f}", state, str(each.path))
    return table


def _shown(angle: float | None) -> str:
    return "-" if angle is None or math.isnan(angle) else f"{angle:.1f}"
