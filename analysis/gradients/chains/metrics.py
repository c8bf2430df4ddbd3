"""Deviations without the gradients: of matrices that have the same inner products and fewer entries.

A linear layer's gradient is D^T X, with a row for each sample in the error signals D and in the inputs X. Where there
are fewer samples than inputs, X^T = Q R with a triangular R, and D^T R^T has the inner products of D^T X because Q is
an isometry: <g, g~> = sum <d, d~><x, x> (Gram), without the loss of figures that comes with the square of X. What needs
single entries of the gradient, signs and zeros, is not to be had this way.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from ..deviation import Deviation, deviation
from .stages import Linear
from .walk import Forward, Sums

WHOLE = ""
"""The key of the whole gradient, beside the layers' paths."""

_NARROW = 0.9999  # beyond this cosine the angle would lose figures in the arc cosine
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
    """A gradient that others are compared with, in float64.

    Args:
        found: of its group.
        index: its number there.
    """

    def __init__(self, found: Mapping[str, Sums], index: int) -> None:
        self._parts = {path: [part.to(torch.float64) for part in _parts(sums, index)] for path, sums in found.items()}
        self._squares = {path: math.fsum(float(a @ a) for a in held) for path, held in self._parts.items()}
        self._scratch = {path: [torch.empty_like(part) for part in held] for path, held in self._parts.items()}

    def compare(self, found: Mapping[str, Sums], index: int, scales: Mapping[str, float]) -> dict[str, Deviation]:
        """The deviation of member ``index`` of a group, by layer, and of all layers under `WHOLE`.

        Args:
            found: of the group.
            index: of the member.
            scales: what each layer's gradient is multiplied by.
        """
        held = dict(self._parts)
        squares, inner = dict(self._squares), dict(self._squares)
        for path, sums in found.items():
            if sums.count > 1:  # else it is the reference's own
                held[path] = self._held(path, sums, index, scales[path])
                squares[path] = math.fsum(float(a @ a) for a in held[path])
                inner[path] = math.fsum(float(a @ b) for a, b in zip(held[path], self._parts[path], strict=True))
        answer = {}
        for path in (*found, WHOLE):
            among = list(found) if path == WHOLE else [path]
            pairs = [pair for each in among for pair in zip(held[each], self._parts[each], strict=True)]
            numbers = (math.fsum(part[each] for each in among) for part in (squares, self._squares, inner))
            known = _direction(pairs, *numbers)
            answer[path] = known or unsigned(deviation(*zip(*pairs, strict=True)))
        return answer

    def _held(self, path: str, sums: Sums, index: int, scale: float) -> list[Tensor]:
        """The parts of one member, in memory that the next one overwrites."""
        parts = zip(self._scratch[path], _parts(sums, index), strict=True)
        held = [scratch.copy_(part) for scratch, part in parts]
        return held if scale == 1 else [part.mul_(scale) for part in held]


def unsigned(compared: Deviation) -> Deviation:
    """The same without the counts of signs and zeros."""
    return replace(compared, **_UNSIGNED)


def _direction(
    pairs: list[tuple[Tensor, Tensor]], square: float, square_reference: float, inner: float
) -> Deviation | None:
    """From the squared norms and the inner product; ``None`` where a norm is not to be had from its square."""
    if not (_safe(square) and _safe(square_reference)):
        return None
    norm, norm_reference = math.sqrt(square), math.sqrt(square_reference)
    cosine = min(1.0, max(-1.0, inner / (norm * norm_reference)))
    return Deviation(
        cosine=cosine,
        angle_degrees=_angle(pairs, norm, norm_reference, cosine),
        log10_magnitude_ratio=math.log10(norm / norm_reference),
        directional_derivative=-cosine * norm_reference,
    )


def _angle(pairs: list[tuple[Tensor, Tensor]], norm: float, norm_reference: float, cosine: float) -> float:
    """In degrees; of nearly parallel vectors from the difference of the unit vectors (or their sum), as `deviation`."""
    if abs(cosine) < _NARROW:
        return math.degrees(math.acos(cosine))
    sign = math.copysign(1.0, cosine)
    apart = [(a / norm).sub_(b / (sign * norm_reference)) for a, b in pairs]
    chord = math.sqrt(min(4.0, math.fsum(float(each @ each) for each in apart)))
    narrow = math.degrees(2 * math.asin(chord / 2))
    return narrow if sign > 0 else 180 - narrow


def _safe(square: float) -> bool:
    """Whether no square among the sum has over- or underflown so that it mattered."""
    return 1e-200 < square < 1e200


def _parts(sums: Sums, index: int) -> list[Tensor]:
    """Weight and bias of one member, flat."""
    held = (part for part in (sums.weight, sums.bias) if part is not None)
    return [part[index if len(part) > 1 else 0].flatten() for part in held]
