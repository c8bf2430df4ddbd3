"""Deviations without the gradients: of matrices that have the same inner products and fewer entries.

A linear layer's gradient is D^T X, with a row for each sample in the error signals D and in the inputs X. Where there
are fewer samples than inputs, X^T = Q R with a triangular R, and D^T R^T has the inner products of D^T X because Q is
an isometry: <g, g~> = sum <d, d~><x, x> (Gram), without the loss of figures that comes with the square of X. What needs
single entries of the gradient, signs and zeros, is not to be had this way.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from ..deviation import Deviation, compared
from ..pairs import Pair, Part
from .stages import Linear
from .walk import Forward, Sums

WHOLE = ""
"""The key of the whole gradient, beside the layers' paths."""

_UNSIGNED: dict[str, Any] = dict.fromkeys(("kept", "flipped", "vanished", "appeared", "both_zero"))


def rows(forward: Forward, count: int) -> dict[str, Tensor]:
    """R^T of the linear layers where it pays: fewer samples than inputs, and ``count`` backwards to make up for R."""
    found = {}
    for stage, x in zip(forward.stages, forward.inputs, strict=True):
        if isinstance(stage, Linear) and stage in forward.layers and stage.weight.requires_grad:
            samples, (outputs, ins) = len(x), stage.weight.shape
            if count * outputs * (ins - 0.6 * samples) > 4 * ins * samples:  # 4: a QR is slower than a product
                found[stage.path] = torch.linalg.qr(x.T, mode="r").R.T.contiguous()
    return found


class Reference:
    """A gradient that others are compared with.

    Args:
        found: of its group.
        index: its number there.
    """

    def __init__(self, found: Mapping[str, Sums], index: int) -> None:
        self._parts = {
            path: [Part(part.to(torch.float64, copy=True)) for part in _parts(sums, index)]
            for path, sums in found.items()
        }
        self._own = {path: [Pair(part.values, part) for part in parts] for path, parts in self._parts.items()}

    def compare(self, found: Mapping[str, Sums], index: int, scales: Mapping[str, float]) -> dict[str, Deviation]:
        """The deviation of member ``index`` of a group, by layer, and of all layers under `WHOLE`.

        Args:
            found: of the group.
            index: of the member.
            scales: what each layer's gradient is multiplied by.
        """
        pairs = dict(self._own)
        for path, sums in found.items():
            if sums.count > 1:  # else it is the reference's own
                parts = zip(_parts(sums, index), self._parts[path], strict=True)
                factor = scales[path]
                pairs[path] = [Pair(a if factor == 1 else a.double() * factor, b) for a, b in parts]
        pairs[WHOLE] = [pair for path in found for pair in pairs[path]]
        return {path: compared(those, signs=False) for path, those in pairs.items()}


def unsigned(compared: Deviation) -> Deviation:
    """The same without the counts of signs and zeros."""
    return replace(compared, **_UNSIGNED)


def _parts(sums: Sums, index: int) -> list[Tensor]:
    """Weight and bias of one member, flat."""
    held = (part for part in (sums.weight, sums.bias) if part is not None)
    return [part[index if len(part) > 1 else 0].flatten() for part in held]
