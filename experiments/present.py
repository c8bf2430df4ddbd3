"""What `downslope measure` and `downslope weights` print for readers."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from ..analysis.gradients.given.shown import sheets, undefined

if TYPE_CHECKING:
    import pandas as pd

    from .networks.weights import Stored


def angles(deviations: pd.DataFrame, title: str) -> Iterator[Table | Text]:
    """A table a stage: a row a surrogate, a column a layer, headed by its depth, in each cell the angle in degrees, the
    median over seeds and draws, "-" where every one is undefined; then why. Of finite differences the loss's slope."""
    slopes = not deviations["angle_degrees"].count() and bool(deviations["directional_derivative"].count())
    number, what = (
        ("directional_derivative", "slope of the loss along the step")
        if slopes
        else ("angle_degrees", "angle in degrees")
    )
    depths = deviations.groupby("layer")["depth"].first()
    layers = sorted(depths.index, key=lambda layer: (depths[layer] == 0, depths[layer]))
    names = list(deviations["surrogate"].unique())
    title = f"{title}, trained {', '.join(deviations['trained'].unique())}"
    singly = deviations["sample"] != "batch"
    for whose, rows in (("", deviations[~singly]), (", samples singly", deviations[singly])):
        medians = rows.groupby(["stage", "surrogate", "layer"])[number].median()
        for stage in rows["stage"].unique():
            columns = {
                layer if layer == "whole" else str(depths[layer]): [
                    _shown(medians.get((stage, name, layer)), slopes=slopes) for name in names
                ]
                for layer in layers
            }
            yield from sheets("surrogate", names, columns, f"{title}: {what}, {stage}{whose}")
    reasons = deviations[deviations["angle_degrees"].isna()]["reason"].value_counts(sort=False)
    yield from undefined(dict(reasons), len(deviations))


def weights(stored: Iterable[Stored]) -> Table:
    """A row a file of weights."""
    table = Table("network", "seed", "test accuracy", "", "file")
    for each in stored:
        state = "made" if each.made else "at hand"
        table.add_row(each.network, str(each.seed), f"{each.accuracy:.3f}", state, str(each.path))
    return table


def _shown(number: float | None, *, slopes: bool) -> str:
    if number is None or math.isnan(number):
        return "-"
    return f"{number:.3g}" if slopes else f"{number:.1f}"
