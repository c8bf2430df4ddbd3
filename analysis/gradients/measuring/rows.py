"""From comparisons to the rows of a tidy table: a row for each layer, and one for the whole gradient."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from torch import nn

from ..deviation import Deviation
from ..layers import Layer
from ..references.reference import Judge, Numbers
from .setting import Gradients

if TYPE_CHECKING:
    import pandas as pd

WHOLE = "whole"
"""The layer's name in the rows of the whole gradient; their depth is 0."""

COUNTS = ("kept", "flipped", "vanished", "appeared", "both_zero")
NUMBERS = (
    "cosine",
    "angle_degrees",
    "log10_magnitude_ratio",
    "directional_derivative",
    "sign_agreement",
    "nonzero_fraction",
)


def columns(compared: Deviation, numbers: Numbers) -> dict[str, Any]:
    """The fields of a comparison as columns, the reference's own numbers last."""
    fields = asdict(compared)
    reason = fields.pop("reason")
    shares = {"sign_agreement": compared.sign_agreement, "nonzero_fraction": compared.nonzero_fraction}
    return fields | shares | {"state": compared.state, "reason": reason} | dict(numbers)


def frame(rows: Sequence[Mapping[Any, Any]]) -> pd.DataFrame:
    """The rows of `measure` with one dtype a column, missing numbers included."""
    import pandas as pd

    table = pd.DataFrame(rows)
    known = dict.fromkeys(("step", *COUNTS), "Int64") | dict.fromkeys(NUMBERS, "float64")
    further = {name: "float64" for name in list(table.columns)[list(table.columns).index("reason") + 1 :]}
    return table.astype({name: kind for name, kind in (known | further).items() if name in table.columns})


def places(
    of_layer: Sequence[Layer], parameters: Sequence[nn.Parameter], *known: Gradients
) -> Iterator[tuple[str, int, list[int], str]]:
    """(path, depth, positions of the trained parameters, why there is nothing to compare) of each layer and the whole.

    Args:
        of_layer: in the order of the forward.
        parameters: the trained ones.
        known: gradients; a layer that none of them reaches is unused.
    """
    position = {id(parameter): index for index, parameter in enumerate(parameters)}
    for depth, layer in enumerate(of_layer, start=1):
        trained = [position[id(parameter)] for parameter in layer.parameters if id(parameter) in position]
        reason = ""
        if not trained:
            reason = "the layer is frozen: no parameter of it requires a gradient"
        elif all(gradients[index] is None for index in trained for gradients in known):
            reason = "the layer is unused: the loss does not depend on its parameters"
        yield layer.path, depth, trained, reason
    yield WHOLE, 0, list(range(len(parameters))), ""


def compare(
    of_layer: Sequence[Layer], parameters: Sequence[nn.Parameter], gradients: Gradients, exact: Gradients, judge: Judge
) -> Iterator[tuple[str, int, Deviation, Numbers]]:
    """Path, depth, deviation and the reference's numbers of each layer, then of all trained parameters together."""
    for path, depth, where, reason in places(of_layer, parameters, gradients, exact):
        yield path, depth, *((Deviation(reason=reason), {}) if reason else judge(where, gradients))
