"""Deviations without the gradients: of matrices that have the same inner products and fewer entries.

A linear layer's gradient is D^T X, with a row for each sample in the error signals D and in the inputs X. Where there
are fewer samples than inputs, X^T = Q R with a triangular R, and D^T R^T has the inner products of D^T X because Q is
an isometry: <g, g~> = sum <d, d~><x, x> (Gram), without the loss of figures that comes with the square of X. What needs
single entries of the gradient, signs and zeros, is not to be had this way.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..deviation import Deviation, deviation
from .stages import Linear
from .walk import Forward, Sums

WHOLE = ""
"""The key of the whole gradient, beside the layers' paths."""

_NARROW = 0.9999  # beyond this cosine the angle is taken from the difference, which keeps its figures
_UNSIGNED: dict[str, None] = dict.fromkeys(("kept", "flipped", "vanished", "appeared", "both_zero"))


def rows(forward: Forward) -> dict[str, Tensor]:
    """R^T of the linear layers that have fewer samples than inputs."""
    wanted = {layer.path for layer in forward.layers if isinstance(layer, Linear) and layer.weight.requires_grad}
    return {
        stage.path: torch.linalg.qr(x.T, mode="r").R.T.contiguous()
        for stage, x in zip(forward.stages, forward.inputs, strict=True)
        if stage.path in wanted and len(x) < x.shape[1]
    }


@dataclass(frozen=True)
class Reference:
    """The exact gradient, or what stands for it: its parts by layer, in float64 where they are compared often.

    Attributes:
        parts: flat, by layer.
        squares: of the norms, by layer.
    """

    parts: Mapping[str, list[Tensor]]
    squares: Mapping[str, float]

    @classmethod
    def of(cls, found: Mapping[str, Sums], index: int) -> Reference:
        """Member ``index`` of a group."""
        parts = {path: _parts(each, index) for path, each in found.items()}
        return cls(parts, {path: math.fsum(float(a @ a) for a in held) for path, held in parts.items()})


def compare(
    found: Mapping[str, Sums], index: int, scales: Mapping[str, float], reference: Reference
) -> dict[str, Deviation]:
    """The deviation of member ``index`` of a group from the reference, by layer, and of all layers under `WHOLE`.

    Args:
        found: of the group.
        index: of the member.
        scales: what each layer's gradient is multiplied by.
        reference: to compare with.
    """
    parts = {path: _parts(each, index, scales[path]) for path, each in found.items()}
    squares, inner = {}, {}
    for path, held in parts.items():
        squares[path] = math.fsum(float(a @ a) for a in held)
        inner[path] = math.fsum(float(a @ b) for a, b in zip(held, reference.parts[path], strict=True))
    answer = {}
    for path in (*found, WHOLE):
        among = list(found) if path == WHOLE else [path]
        numbers = (math.fsum(part[each] for each in among) for part in (squares, reference.squares, inner))
        known = _direction(*numbers)
        if known is None:
            together = ([part for each in among for part in held[each]] for held in (parts, reference.parts))
            known = replace(deviation(*together), **_UNSIGNED)
        answer[path] = known
    return answer


def _direction(square: float, square_reference: float, inner: float) -> Deviation | None:
    """From the squared norms and the inner product; ``None`` where these do not tell all."""
    product = math.sqrt(square) * math.sqrt(square_reference)
    if not (math.isfinite(product) and _safe(square) and _safe(square_reference)) or abs(inner) > _NARROW * product:
        return None
    cosine = inner / product
    return Deviation(
        cosine=cosine,
        angle_degrees=math.degrees(math.acos(cosine)),
        log10_magnitude_ratio=(math.log10(square) - math.log10(square_reference)) / 2,
        directional_derivative=-inner / math.sqrt(square),
    )


def _safe(square: float) -> bool:
    """Whether no square among the sum has over- or underflown so that it mattered."""
    return 1e-200 < square < 1e200


def _parts(found: Sums, index: int, scale: float = 1.0) -> list[Tensor]:
    """Weight and bias of one member, flat."""
    held = [part[index if len(part) > 1 else 0] for part in (found.weight, found.bias) if part is not None]
    flat = [part.flatten().to(torch.float64) for part in held]
    return flat if scale == 1 else [part * scale for part in flat]
