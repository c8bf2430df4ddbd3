"""Backward CROWN for <g, g~>: a certified lower bound over every replacement in its box, at any depth.

Over t in [1, kappa] the least value of lambda t r is a concave function of r (the least of two linear ones), so on
[r_lo, r_hi] its convex envelope is the chord (THEORY `certificate-crown`). From the lowest layer upward, each
activation is relaxed by its chord, lambda <- slope of the chord, and the coefficients are pushed on through the next
linear map, lambda <- W lambda + s: the pass is a forward-mode pass along g in which each activation multiplies by a
factor in [1, kappa] of the certificate's choice, less the chords' gaps. The intervals of r, the upstream error at an
activation's output, come from the same pass, started from each unit. After Zhang, Weng, Chen, Hsieh and Daniel 2018,
Efficient neural network robustness certification with general activation functions (CROWN).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ...inputs import out_of_memory
from .chain import Chain, Slope
from .rounded import UNIT, Rounded, upward

CHUNK = 2**23
"""Most numbers in one stack of functionals (64 MB of float64); fewer where memory runs out, by halves."""


@dataclass(frozen=True)
class Relaxed:
    """The chords of one activation, for each of its entries (samples, ...).

    For every r in [low, high] and every t in [1, kappa]:
    lambda t r >= lambda * rising * r - lambda * gap where lambda >= 0,
    lambda t r >= lambda * falling * r - |lambda| * gap where lambda < 0.
    """

    rising: Tensor
    falling: Tensor
    gap: Tensor
    reach: Tensor


def relax(low: Tensor, high: Tensor, kappa: float) -> Relaxed:
    """The chords over [low, high]: least(r) = min(r, kappa r) from below, most(r) = max(r, kappa r) from above.

    Whatever factor rounding gives, the gap is taken at both ends, where a concave less a linear function is least,
    and enlarged by the rounding of its own terms: the chord is sound, and at worst not tight.
    """
    reach = torch.maximum(low.abs(), high.abs())
    width = (high - low).clamp_min(torch.finfo(low.dtype).tiny)
    least_low, least_high = torch.minimum(low, kappa * low), torch.minimum(high, kappa * high)
    most_low, most_high = torch.maximum(low, kappa * low), torch.maximum(high, kappa * high)
    one, other = torch.ones_like(low), torch.full_like(low, kappa)
    crossing = (low < 0) & (high > 0)
    rising = torch.where(
        crossing, ((least_high - least_low) / width).clamp(1, kappa), torch.where(low >= 0, one, other)
    )
    falling = torch.where(crossing, ((most_high - most_low) / width).clamp(1, kappa), torch.where(low >= 0, other, one))
    gaps = torch.stack(
        [
            rising * low - least_low,
            rising * high - least_high,
            most_low - falling * low,
            most_high - falling * high,
        ]
    )
    return Relaxed(rising, falling, upward(gaps.amax(0).clamp_min(0) + 8 * UNIT * kappa * reach), reach)


def crown(chain: Chain, kappa: float) -> Tensor:
    """A certified lower bound on each sample's part of <g, g~(t)>, for every t in [1, kappa], as (samples,) float64.

    Their sum bounds the whole: the factors of different samples are independent.
    """
    relaxed = intervals(chain, kappa)
    return _push(chain, relaxed, kappa, 0, Rounded.exact(chain.still), own=True)[0]


def intervals(chain: Chain, kappa: float) -> dict[int, Relaxed]:
    """Each activation's chords, from the highest down: its intervals use the chords above it."""
    relaxed: dict[int, Relaxed] = {}
    for position in reversed(chain.slopes):
        low, high = reach(chain, relaxed, kappa, position)
        relaxed[position] = relax(low, high, kappa)
    return relaxed


def reach(chain: Chain, relaxed: dict[int, Relaxed], kappa: float, position: int) -> tuple[Tensor, Tensor]:
    """Bounds on the upstream error at an activation's output, each (samples, ...), given the chords above it."""
    slope = chain.steps[position]
    assert isinstance(slope, Slope)
    if not relaxed:  # no replaced activation above: the error is known
        error = Rounded.exact(chain.error[None])
        for step in reversed(chain.steps[position + 1 :]):
            assert not isinstance(step, Slope)
            error = step.backward(error)
        return error.low[0], error.high[0]
    shape = slope.derivative.shape[1:]
    units = slope.derivative[0].numel()
    widest = max(step.derivative.numel() for step in chain.steps if isinstance(step, Slope))
    size = min(units, max(1, CHUNK // (2 * max(widest, chain.error.numel()))))
    parts: list[Tensor] = []
    done = 0
    while done < units:
        indices = torch.arange(done, min(done + size, units))
        one = torch.zeros((len(indices), units), dtype=torch.float64).scatter_(1, indices[:, None], 1)
        one = one.reshape(-1, 1, *shape).expand(-1, chain.samples, *shape)
        try:
            tangent = Rounded.exact(torch.cat([one, -one]))
            bounds = _push(chain, relaxed, kappa, position + 1, tangent, own=False)
        except (RuntimeError, MemoryError) as error:
            if size == 1 or not out_of_memory(error):
                raise
            size //= 2
            continue
        parts.append(bounds.reshape(2, len(indices), -1))
        done += len(indices)
    low, high = torch.cat(parts, dim=1)
    return low.T.reshape(-1, *shape), -high.T.reshape(-1, *shape)


def naive(chain: Chain, kappa: float) -> Tensor:
    """The same bound by intervals alone, each layer's error boxed from the loss down: what CROWN is compared with."""
    error = Rounded.exact(chain.error[None])
    bound = torch.zeros(chain.samples, dtype=torch.float64)
    for position in range(len(chain.steps) - 1, -1, -1):
        step = chain.steps[position]
        if isinstance(step, Slope):
            low, high = torch.minimum(error.low, kappa * error.low), torch.maximum(error.high, kappa * error.high)
            middle = (low + high) / 2
            half = upward(torch.maximum(high - middle, middle - low) + 4 * UNIT * torch.maximum(low.abs(), high.abs()))
            error = Rounded(middle, half).times(step.derivative)
            continue
        term = chain.own[position]
        if term is not None:
            part = error.times(term.value)
            part = Rounded(part.value, upward(part.radius + error.reach * term.radius)).total(keep=2)
            bound = torch.nextafter(bound + part.low[0], bound.new_tensor(-torch.inf))
        error = step.backward(error)
    return bound


def _push(chain: Chain, relaxed: dict[int, Relaxed], kappa: float, start: int, tangent: Rounded, own: bool) -> Tensor:
    """Lower bounds (functionals, samples) on the functionals whose coefficients at step ``start`` are ``tangent``."""
    lost = torch.zeros(tangent.value.shape[:2], dtype=torch.float64)
    for position, step in enumerate(chain.steps[start:], start):
        if not isinstance(step, Slope):
            tangent = step.forward(tangent)
            term = chain.own[position] if own else None
            if term is not None:
                tangent = tangent + Rounded(term.value[None], term.radius[None])
            continue
        chord = relaxed[position]
        tangent = tangent.times(step.derivative)
        given = tangent.value.abs() * chord.gap + tangent.radius * kappa * chord.reach
        lost = upward(lost + given.flatten(2).sum(2), given[0, 0].numel())
        factor = torch.where(tangent.value >= 0, chord.rising, chord.falling)
        tangent = Rounded.exact(tangent.value).times(factor)
    return torch.nextafter(_dot(tangent, chain.error).low - lost, lost.new_tensor(-torch.inf))


def _dot(tangent: Rounded, error: Tensor) -> Rounded:
    return tangent.times(error).total(keep=2)
