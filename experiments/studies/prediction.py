"""The mean-field prediction beside a measurement: one row, what was measured and what was predicted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from ...analysis.gradients.closed.meanfield import meanfield

if TYPE_CHECKING:
    import pandas as pd

PREDICTED = ("predicted_cosine", "predicted_log10_magnitude_ratio")
"""The columns that are added."""


def predict(
    deviations: pd.DataFrame,
    model: nn.Module,
    loss: Callable[[Any, Any], torch.Tensor],
    batch: tuple[Any, Any],
    surrogates: Sequence[str],
    **shared: Any,
) -> None:
    """Add the columns of `PREDICTED` to a measurement of the exact gradient, in place.

    Args:
        deviations: what `measure` gave for the same arguments; its rows are those of `meanfield`.
        model, loss, batch, surrogates: as measured.
        shared: ``activations``, ``draws``, ``seed``, ``network`` and ``stage``, as measured.
    """
    predicted = meanfield(model, loss, batch, surrogates, **shared)
    deviations[list(PREDICTED)] = predicted[list(PREDICTED)]
