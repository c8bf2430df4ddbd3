r"""Inner products of per-sample gradients, from what a layer was given and the error signals at its output.

The gradient of sample b at a linear map is ``sum_t d_bt x_bt^T`` over the positions t at which the map is applied (one
for a plain linear layer, the output's pixels for a convolution, the steps of a recurrence). For one position
``<d x^T, d~ x^T> = <d, d~><x, x>``, and nothing of the weight's size is formed (Goodfellow 2015, "Efficient per-example
gradient computations", section 3); for several it is the sum of ``<d_t, d~_s><x_t, x_s>`` over pairs of positions, or
the gradients themselves are formed, a few samples at a time: whichever takes fewer operations.

Surrogate gradients are kept as ``g~ = slope g + rest`` with ``rest`` orthogonal to g. Its norm is taken of a difference
of error signals, not of a difference of norms, so an angle near 0 or 180 degrees loses no digits in this step.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Products:
    r"""K surrogate gradients against a reference gradient, for each of B samples; all float64.

    Attributes:
        square: \|g\|^2, [B].
        slope: <g, g~> / \|g\|^2, [K, B]; 0 where g is zero.
        rest: \|g~ - slope g\|^2, [K, B].
    """

    square: Tensor
    slope: Tensor
    rest: Tensor

    @property
    def surrogate_square(self) -> Tensor:
        r"""\|g~\|^2, [K, B]."""
        return self.slope.square() * self.square + self.rest

    @property
    def cosine(self) -> Tensor:
        """Of the angle, [K, B]; NaN where either gradient is zero."""
        along = self.slope * self.square.sqrt()
        return along / torch.hypot(along, self.rest.sqrt())

    @property
    def angle_degrees(self) -> Tensor:
        r"""atan2(\|rest\|, slope \|g\|), [K, B]: accurate near 0 and 180."""
        return torch.rad2deg(torch.atan2(self.rest.sqrt(), self.slope * self.square.sqrt()))


def together(parts: Sequence[Products]) -> Products:
    """Of disjoint sets of parameters taken as one vector: the squares add, the rests around the common slope too."""
    if len(parts) == 1:
        return parts[0]
    square = torch.stack([part.square for part in parts])  # [P, B]
    slopes = torch.stack([part.slope for part in parts])  # [P, K, B]
    total = square.sum(0)
    # The weights sum to 1, also where the squares are subnormal; a slope common to all parts then stays as it is.
    first = slopes[0]
    slope = first + _ratio((square[:, None] * (slopes - first)).sum(0), total)
    around = (square[:, None] * (slopes - slope).square()).sum(0)
    return Products(total, slope, torch.stack([part.rest for part in parts]).sum(0) + around)


def beside(parts: Sequence[Products], *, samples: bool) -> Products:
    """Of disjoint samples, or of other surrogates for the same samples."""
    if len(parts) == 1:
        return parts[0]
    square = torch.cat([part.square for part in parts]) if samples else parts[0].square
    dim = 1 if samples else 0
    return Products(
        square, torch.cat([part.slope for part in parts], dim), torch.cat([part.rest for part in parts], dim)
    )


def products(
    features: Tensor | None, reference: Tensor, errors: Tensor, *, bias: bool, one_hot: bool = False
) -> Products:
    """Of the gradients of one linear map, or of G side by side (the groups of a convolution).

    Args:
        features: what the map was applied to, [B, G, T, I] for T positions; ``None`` where it has a bias alone.
        reference: the error signal at its output, [B, G, T, O].
        errors: the same under K surrogates, [K, B, G, T, O].
        bias: whether there is a bias: a feature that is always 1.
        one_hot: ``features`` holds the index of the one feature that is 1, [B, G, T, 1]; a negative one means none.
    """
    if features is None:
        summed = reference.double().sum(2, keepdim=True), errors.double().sum(3, keepdim=True)
        return _weighted(summed[0].new_ones(reference.shape[0]), summed[0].flatten(1), summed[1].flatten(2))
    if features.shape[1] == features.shape[2] == 1 and not one_hot:
        scale = torch.linalg.vector_norm(features[:, 0, 0], dim=-1, dtype=torch.float64).square() + bias
        return _weighted(scale, reference.flatten(1), errors.flatten(2))
    if one_hot or not forms(features, reference.shape[-1], len(errors)):
        return _pairs(_gram(features, bias, one_hot), reference, errors)
    return formed(features, torch.cat([reference[None], errors]).permute(1, 2, 0, 4, 3).contiguous(), bias=bias)


def forms(features: Tensor, out: int, kinds: int) -> bool:
    """Whether `products` forms the gradients; ``out`` is the length of a signal, ``kinds`` how many surrogates."""
    _, groups, positions, width = features.shape
    return not positions == groups == 1 and not prefers_pairs(positions, width, out, kinds)


def prefers_pairs(positions: int, width: int, out: int, kinds: int) -> bool:
    """Whether pairs of positions take fewer operations than the gradients; theirs run in float64, at half the rate."""
    pairs = 2 * positions**2 * (width + (1 + 2 * kinds) * out)
    formed = (kinds + 1) * out * width * (positions + 8)  # 8: the passes over what was formed
    return pairs < formed


def numbers(features: Tensor | None, reference: Tensor, kinds: int) -> int:
    """How many numbers `products` holds for one sample, roughly."""
    signals = 2 * (kinds + 1) * math.prod(reference.shape[1:])
    if features is None:
        return signals
    _, groups, positions, width = features.shape
    out = reference.shape[-1]
    if prefers_pairs(positions, width, out, kinds):
        return signals + groups * positions * (positions + 2 * width)
    return signals + groups * width * (positions + 3 * (kinds + 1) * out)


def _weighted(scale: Tensor, reference: Tensor, errors: Tensor) -> Products:
    """One position: everything is that of the error signals, times <x, x>."""
    d, e = reference.double(), errors.double()
    square = torch.linalg.vecdot(d, d)
    slope = _ratio(torch.linalg.vecdot(e, d.expand_as(e)), square)
    apart = torch.addcmul(e, slope[..., None], d, value=-1)
    return Products(square * scale, slope, torch.linalg.vecdot(apart, apart) * scale)


def _gram(features: Tensor, bias: bool, one_hot: bool) -> Tensor:
    """<x_t, x_s> for each pair of positions, float64 [B, G, T, T]."""
    if one_hot:
        return ((features == features.mT) & (features >= 0)).double() + bias
    x = features.double()
    return x @ x.mT + bias


def _pairs(gram: Tensor, reference: Tensor, errors: Tensor) -> Products:
    d, e = reference.double(), errors.double()
    moved = gram @ d
    square = (moved * d).sum((-3, -2, -1)).clamp_min(0)  # a Gram matrix is positive semidefinite but for rounding
    slope = _ratio((moved * e).sum((-3, -2, -1)), square)
    apart = e - slope[..., None, None, None] * d
    return Products(square, slope, ((gram @ apart) * apart).sum((-3, -2, -1)).clamp_min(0))


def formed(features: Tensor, signals: Tensor, *, bias: bool) -> Products:
    """From the gradients, formed in the model's own precision as torch forms them; sums over them run in float64.

    What is formed of a surrogate is its difference from the reference times a first guess of the slope, so that equal
    gradients differ by exactly nothing and near ones by digits that are all good.

    Args:
        features: as in `products`.
        signals: the error signals, [B, G, K + 1, O, T]: the reference's, then the surrogates'; they are written over.
        bias: as in `products`.
    """
    if signals.dtype.itemsize < 4:
        features, signals = features.float(), signals.float()
    samples, groups, many = signals.shape[:3]
    d, e = signals[:, :, :1], signals[:, :, 1:]
    flat, flat_e = (part.transpose(1, 2).flatten(2) for part in (d, e))
    guess = torch.linalg.vecdot(flat_e, flat.expand_as(flat_e)) / torch.linalg.vecdot(flat, flat)
    guess = torch.where(guess.isfinite(), guess, 0.0)  # [B, K]
    e.addcmul_(guess[:, None, :, None, None], d, value=-1)
    stacked = signals.flatten(2, 3).flatten(0, 1)  # [B G, (K+1) O, T]
    product = stacked @ features.flatten(0, 1)
    if bias:
        product = torch.cat([product, stacked.sum(-1, keepdim=True)], -1)
    rows = product.view(samples, groups, many, -1).transpose(1, 2).flatten(2).double()  # [B, K+1, G O I]
    return _against_first(rows, guess.double(), rounded=product.dtype != torch.float64)


def _against_first(rows: Tensor, guess: Tensor, *, rounded: bool) -> Products:
    """The first of the rows [B, K+1, N] is the reference g, the others are g~ - guess g, with the guesses [B, K].

    A rest is the square of a row less the square of its part along g. Where the rows are rounded to float32, this
    difference loses no more than their rounding has: 1e-15 of the square, so 3e-8 of the row. Where they are not,
    the square is taken of the row less its part along g.
    """
    if rounded:
        gram = rows @ rows.mT
        square, along = gram[:, 0, 0], gram[:, 1:, 0]
        more = _ratio(along, square[:, None])  # [B, K]
        rest = (gram.diagonal(dim1=1, dim2=2)[:, 1:] - more * along).clamp_min(0)
    else:
        g, others = rows[:, :1], rows[:, 1:]
        square = torch.linalg.vecdot(g, g)[:, 0]
        more = _ratio(torch.linalg.vecdot(others, g.expand_as(others)), square[:, None])
        apart = torch.addcmul(others, more[..., None], g, value=-1)
        rest = torch.linalg.vecdot(apart, apart)
    return Products(square, (guess + more).mT, rest.mT)


def _ratio(numerator: Tensor, denominator: Tensor) -> Tensor:
    """0 where the denominator is 0: against a zero reference the whole surrogate gradient is rest."""
    return torch.where(denominator > 0, numerator / denominator, 0.0)
