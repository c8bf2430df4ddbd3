"""How far one gradient deviates from another: direction, magnitude, signs.

Three questions are asked of a surrogate gradient g~ against a reference g, and a `Deviation` answers them apart:
where it points (cosine, angle, directional derivative), how long it is (log10 ratio), and which entries it keeps,
flips, loses or invents. Sums run in float64, and over entries scaled by the largest where a square would overflow or
underflow.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from ..errors import Refused
from .pairs import Pair, Part, scaled, total

Pairs = Sequence[Pair]

_SAFE = 1e-200
"""Between this sum of squares and its inverse, no square has over- or underflown so that it mattered."""
_NARROW = 0.99
"""Up to this cosine the arc cosine has the accuracy of the cosine, but for a factor of 7."""


@dataclass(frozen=True)
class Deviation:
    r"""Of a gradient g~ from a reference g, over all their entries together.

    Where the direction is undefined, `reason` says why and the first four numbers are ``None``; the counts and shares
    are ``None`` too, unless both gradients are finite and hold an entry: then they are what explains the state.

    Attributes:
        cosine: <g~, g> / (\|g~\| \|g\|), in [-1, 1].
        angle_degrees: between them, in [0, 180]; accurate near both ends, where it is 2 atan2(\|a - b\|, \|a + b\|) of
            the unit vectors a and b (Kahan 2006, "How futile are mindless assessments of roundoff", section 12).
        log10_magnitude_ratio: log10(\|g~\| / \|g\|).
        directional_derivative: of the loss along the unit step -g~/\|g~\|, that is -<g, g~>/\|g~\|; negative where the
            step descends; in units of the loss per unit of distance.
        kept: entries where both are non-zero and of one sign.
        flipped: entries where both are non-zero and of opposite signs.
        vanished: entries where g is non-zero and g~ is zero.
        appeared: entries where g is zero and g~ is not.
        both_zero: entries where both are zero.
        reason: why the direction is undefined; empty where it is defined.
    """

    cosine: float | None = None
    angle_degrees: float | None = None
    log10_magnitude_ratio: float | None = None
    directional_derivative: float | None = None
    kept: int | None = None
    flipped: int | None = None
    vanished: int | None = None
    appeared: int | None = None
    both_zero: int | None = None
    reason: str = ""

    @property
    def state(self) -> str:
        """``"defined"`` or ``"undefined"``."""
        return "undefined" if self.reason else "defined"

    @property
    def sign_agreement(self) -> float | None:
        """The share of the reference's non-zero entries whose sign survives: kept / (kept + flipped + vanished).

        ``None`` where the reference has no such entry.
        """
        if self.kept is None or self.flipped is None or self.vanished is None:
            return None
        live = self.kept + self.flipped + self.vanished
        return self.kept / live if live else None

    @property
    def nonzero_fraction(self) -> float | None:
        """The share of all entries at which g~ is not zero."""
        if self.kept is None or self.flipped is None or self.vanished is None:
            return None
        moved = self.kept + self.flipped + (self.appeared or 0)
        return moved / (moved + self.vanished + (self.both_zero or 0))


def deviation(gradient: Any, reference: Any) -> Deviation:
    """How far ``gradient`` deviates from ``reference``.

    Args:
        gradient: the surrogate gradient g~: a tensor or array of real numbers of any shape and dtype, or a sequence or
            mapping of them, taken together as one vector. ``None`` in a sequence or mapping (a parameter that the loss
            does not depend on) is a gradient of zeros.
        reference: the gradient g to compare it with, of the same shape or shapes.

    Raises:
        Refused: shapes, lengths or keys differ, or an entry is complex or no number at all.

    >>> flipped = deviation([3.0, 4.0, 0.0], [3.0, -4.0, 0.0])
    >>> f"{flipped.angle_degrees:.2f}", flipped.kept, flipped.flipped, flipped.both_zero
    ('106.26', 1, 1, 1)
    >>> deviation([1.0, 0.0], [0.0, 0.0]).reason
    'the reference gradient is zero'
    """
    return compared([Pair(a, Part(b)) for a, b in _pairs(gradient, reference)])


def compared(pairs: Pairs, *, signs: bool = True) -> Deviation:
    """The deviation of two gradients, given part by part; pairs that were compared before keep their sums.

    Args:
        pairs: of both gradients; those without entries count for nothing.
        signs: whether signs and zeros are counted.
    """
    pairs = [pair for pair in pairs if pair[0].numel()]
    if not pairs:
        return Deviation(reason="the gradient has no entries")
    gradients, references = zip(*pairs, strict=True)
    sides = (
        ("reference gradient", references, [pair.reference.square for pair in pairs]),
        ("gradient", gradients, [pair.square for pair in pairs]),
    )
    for name, parts, squares in reversed(sides):
        # Finite squares are those of finite entries; the square of a large finite entry is infinite, too.
        lost = 0 if math.isfinite(sum(squares)) else sum(p.numel() - int(p.isfinite().count_nonzero()) for p in parts)
        if lost:
            return Deviation(reason=f"the {name} is not finite in {lost} of {sum(p.numel() for p in parts)} entries")
    zero = [
        f"the {name} is zero"
        for name, parts, squares in sides
        if not any(squares) and not any(bool(part.any()) for part in parts)
    ]
    counts = _signs(pairs) if signs else {}
    return Deviation(**counts, reason=" and ".join(zero)) if zero else Deviation(**_direction(pairs), **counts)


class Against:
    """A reference gradient that many are compared with: what is summed over it alone is summed once.

    Args:
        reference: by parameter; ``None`` is a gradient of zeros.
    """

    def __init__(self, reference: Sequence[torch.Tensor | None]) -> None:
        self._parts = [None if part is None else Part(part.detach().flatten()) for part in reference]

    def pairs(self, gradient: Sequence[torch.Tensor | None]) -> list[Pair | None]:
        """By parameter, for `compared`; ``None`` where both gradients are."""
        return [_beside(a, part) for a, part in zip(gradient, self._parts, strict=True)]


def _beside(a: torch.Tensor | None, part: Part | None) -> Pair | None:
    if a is None:
        return None if part is None else Pair(torch.zeros_like(part.values), part)
    flat = a.detach().flatten()
    return Pair(flat, Part(torch.zeros_like(flat)) if part is None else part)


def _direction(pairs: Pairs) -> dict[str, Any]:
    """Cosine, angle, log10 ratio and directional derivative of two finite gradients, neither zero."""
    peak = peak_reference = 1.0
    if not all(_SAFE < square < 1 / _SAFE for square in _squares(pairs)):
        pairs, peak, peak_reference = scaled(pairs)
    norm, norm_reference = map(math.sqrt, _squares(pairs))
    cosine, angle = _turned(pairs, norm, norm_reference)
    return {
        "cosine": cosine,
        "angle_degrees": angle,
        "log10_magnitude_ratio": math.log10(norm / norm_reference) + (math.log10(peak) - math.log10(peak_reference)),
        "directional_derivative": -cosine * norm_reference * peak_reference,
    }


def _squares(pairs: Pairs) -> tuple[float, float]:
    """The squared norms of the gradient and of the reference."""
    return total([pair.square for pair in pairs]), total([pair.reference.square for pair in pairs])


def _turned(pairs: Pairs, norm: float, norm_reference: float) -> tuple[float, float]:
    """Cosine, and angle in degrees; from the chord between the unit vectors where the arc cosine would lose figures."""
    cosine = total([pair.inner for pair in pairs]) / (norm * norm_reference)
    if abs(cosine) < _NARROW:
        return cosine, math.degrees(math.acos(cosine))
    near = total([pair.chord(norm, math.copysign(norm_reference, cosine)) for pair in pairs])
    apart, together = (near, 4 - near) if cosine > 0 else (4 - near, near)
    return 1 - apart / 2, math.degrees(2 * math.atan2(math.sqrt(apart), math.sqrt(together)))


def _signs(pairs: Pairs) -> dict[str, Any]:
    """How many entries are kept, flipped, vanished, appeared, and zero in both."""
    found = [pair.signs for pair in pairs]
    entries, moved, due, shared, kept = (
        sum(getattr(each, name) for each in found) for name in ("entries", "moved", "due", "shared", "kept")
    )
    return {
        "kept": kept,
        "flipped": shared - kept,
        "vanished": due - shared,
        "appeared": moved - shared,
        "both_zero": entries - moved - due + shared,
    }


def _pairs(gradient: Any, reference: Any) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """The two gradients part by part, flat and on one device; a missing part is zero."""
    parts, parts_reference = _parts("gradient", gradient), _parts("reference", reference)
    if parts.keys() != parts_reference.keys():
        raise Refused(
            f"deviation(gradient, reference): the gradient has the parts {_listed(parts)}, the reference "
            f"{_listed(parts_reference)}. Give both the same parameters, in the same order."
        )
    for where in parts:
        a, b = parts[where], parts_reference[where]
        if a is not None and b is not None and a.shape != b.shape:
            raise Refused(
                f"deviation(gradient, reference): part {where} has shape {tuple(a.shape)} in the gradient and "
                f"{tuple(b.shape)} in the reference; entry is compared with entry, so the shapes must be equal."
            )
        if b is not None:
            yield (torch.zeros_like(b) if a is None else a.to(b.device)).flatten(), b.flatten()
        elif a is not None:
            yield a.flatten(), torch.zeros_like(a).flatten()


def _parts(name: str, value: Any) -> dict[Any, torch.Tensor | None]:
    """A gradient as tensors by key: a mapping as it is, a sequence of arrays by position, an array alone."""
    if isinstance(value, Mapping):
        return {key: _vector(f"{name}[{key!r}]", part) for key, part in value.items()}
    listed = isinstance(value, Sequence) and not isinstance(value, (str, bytes))
    if listed and any(part is None or hasattr(part, "shape") or isinstance(part, Sequence) for part in value):
        return {index: _vector(f"{name}[{index}]", part) for index, part in enumerate(value)}
    if isinstance(value, Iterator):
        return _parts(name, list(value))
    return {0: _vector(name, value)}


def _vector(name: str, value: Any) -> torch.Tensor | None:
    if value is None:
        return None
    if isinstance(value, torch.Tensor):
        tensor = value.detach()
        tensor = tensor.to_dense() if tensor.layout is not torch.strided else tensor
    else:
        array = np.asarray(value)
        if array.dtype.kind not in "fiub" or array.dtype.itemsize > 8:
            raise Refused(
                f"deviation({name}=...): {type(value).__name__} of dtype {array.dtype} is no array of real numbers; "
                f"give a torch tensor, a NumPy array, or a sequence or mapping of them."
            )
        tensor = torch.tensor(array)
    if tensor.is_complex():
        raise Refused(f"deviation({name}=...): dtype {tensor.dtype}; compare real gradients (view_as_real).")
    return tensor if tensor.dtype in (torch.float32, torch.float64) else tensor.to(torch.float64)


def _listed(parts: Mapping[Any, Any]) -> str:
    names = list(map(str, parts))
    return f"{', '.join(names[:6])}{', ...' if len(names) > 6 else ''} ({len(names)} in all)"
