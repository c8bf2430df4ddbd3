"""From products to the rows of a tidy table, those of `measure` with one sample each."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ..measuring.rows import COUNTS, NUMBERS
from .comparison import Comparison, Group

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Coordinates:
    """Those that all rows share."""

    network: str
    stage: str
    step: int | None
    seed: int


def frame(found: Comparison, shared: Coordinates) -> pd.DataFrame:
    """A row for each backward, layer and sample, in this order."""
    import pandas as pd

    kinds, layers, samples = len(found.surrogates), len(found.groups), found.samples

    def spread(values: Any, dtype: Any, inner: int, outer: int) -> Any:
        return np.tile(np.repeat(np.array(values, dtype=dtype), inner), outer)

    numbers = [_numbers(group, kinds, samples) for group in found.groups]
    columns: dict[str, Any] = {
        "network": shared.network,
        "activation": found.activation,
        "surrogate": spread(found.surrogates, object, layers * samples, 1),
        "reference": "exact",
        "layer": spread([group.path for group in found.groups], object, samples, kinds),
        "depth": spread([group.depth for group in found.groups], np.int64, samples, kinds),
        "stage": shared.stage,
        "step": _integers(shared.step, kinds * layers * samples),
        "seed": shared.seed,
        "sample": spread([str(i) for i in range(samples)], object, 1, kinds * layers),
        "draw": spread(found.draws, np.int64, layers * samples, 1),
    }
    rows = kinds * layers * samples
    for name in (*NUMBERS[:4], *COUNTS, *NUMBERS[4:]):
        if name in COUNTS:
            columns[name] = _integers(None, rows)
        else:
            known = name in numbers[0]
            columns[name] = np.stack([each[name] for each in numbers], 1).ravel() if known else np.full(rows, np.nan)
    reason = np.stack([each["reason"] for each in numbers], 1).ravel()
    columns["state"] = np.where(reason == "", "defined", "undefined").astype(object)
    columns["reason"] = reason
    return pd.DataFrame(columns, index=range(rows))


def _integers(value: int | None, rows: int) -> Any:
    """A column of one integer, or of missing ones."""
    import pandas as pd

    return pd.arrays.IntegerArray(np.full(rows, value or 0, np.int64), np.full(rows, value is None))


def _numbers(group: Group, kinds: int, samples: int) -> dict[str, Any]:
    """The numbers of one layer and why they are undefined, [K, B] each."""
    reason = np.full((kinds, samples), group.reason, dtype=object)
    if group.products is None:
        return {name: np.full((kinds, samples), np.nan) for name in NUMBERS[:4]} | {"reason": reason}
    p = group.products
    square, other = p.square.expand(kinds, samples), p.surrogate_square
    if not group.reason:
        for name, where in _undefined(square, other).items():
            reason[where.cpu().numpy()] = name
    length = square.sqrt()
    cosine = p.cosine.clamp(-1, 1)
    values = {
        "cosine": cosine,
        "angle_degrees": p.angle_degrees,
        "log10_magnitude_ratio": (torch.log(other) - torch.log(square)) / (2 * math.log(10)),
        "directional_derivative": -cosine * length,
    }
    defined = reason == ""
    return {name: np.where(defined, value.cpu().numpy(), np.nan) for name, value in values.items()} | {"reason": reason}


def _undefined(square: torch.Tensor, other: torch.Tensor) -> dict[str, torch.Tensor]:
    lost, lost_other = ~square.isfinite(), ~other.isfinite()
    none, none_other = square == 0, other == 0
    return {
        "the gradient is zero": none_other,
        "the reference gradient is zero": none,
        "the reference gradient is zero and the gradient is zero": none & none_other,
        "the gradient is not finite": lost_other,
        "the reference gradient is not finite": lost,
    }
