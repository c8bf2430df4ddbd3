"""From comparisons to the rows of a tidy table: a row for each layer, and one for the whole gradient."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any

import numpy as np
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
_FIELDS = tuple(each.name for each in fields(Deviation) if each.name != "reason")


def columns(compared: Deviation, numbers: Numbers) -> dict[str, Any]:
    """The fields of a comparison as columns, the reference's own numbers last."""
    own = {name: getattr(compared, name) for name in _FIELDS}
    shares = {"sign_agreement": compared.sign_agreement, "nonzero_fraction": compared.nonzero_fraction}
    return own | shares | {"state": compared.state, "reason": compared.reason} | dict(numbers)


def frame(rows: Sequence[Mapping[Any, Any]]) -> pd.DataFrame:
    """The rows of `measure` with one dtype a column, missing numbers included."""
    import pandas as pd

    # Column by column, each in its dtype from the start: a small table costs pandas more than its measuring took.
    names = dict.fromkeys(name for row in rows for name in row)
    further = list(names)[list(names).index("reason") + 1 :]
    table: dict[Any, Any] = {name: [row.get(name) for row in rows] for name in names}
    for name in ("step", *COUNTS):
        table[name] = pd.array(table[name], dtype="Int64")
    for name in (*NUMBERS, *further):
        table[name] = np.array(table[name], dtype="float64")  # None is not a number
    return pd.DataFrame(table, copy=False)


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
