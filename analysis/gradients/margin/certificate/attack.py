"""The attack: replacements in their box that make <g, g~> small, an upper bound on its minimum with its witness.

<g, g~> is linear in each layer's factors, so its minimum over the boxes is at a vertex, and the best factors of one
layer given all others follow from signs alone: t = kappa where the tangent times the upstream error is negative, 1
elsewhere. Sweeps up and down the layers make each step exact; restarts from random vertices run side by side, and
every sample keeps its own best (THEORY `attack`).
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from .chain import Chain, Slope, rows
from .rounded import Rounded

Factors = dict[int, Tensor]
"""The factors of each activation, by its position in the chain, each (samples, ...)."""


def attack(
    chain: Chain, kappa: float, restarts: int = 8, seed: int = 0, start: Mapping[int, Tensor] | None = None
) -> tuple[Tensor, Factors]:
    """The least <g, g~> found: each sample's part (samples,) and its factors in {1, kappa}.

    Args:
        chain: the network at its batch.
        kappa: the box is [1, kappa] for every factor.
        restarts: random vertices to start from, beside all-ones and ``start``.
        seed: of their generator.
        start: where to begin as well: masks, true where the factor is kappa.
    """
    generator = torch.Generator().manual_seed(seed)
    factors: Factors = {}
    for position in chain.slopes:
        shape = _derivative(chain, position).shape
        masks = torch.rand((restarts + 2, *shape), generator=generator) < 0.5
        masks[0] = False
        masks[1] = False if start is None else start[position]
        factors[position] = _vertex(masks, kappa)
    errors = _down(chain, factors, {}, kappa)
    best = torch.full((restarts + 2, chain.samples), torch.inf, dtype=torch.float64)
    while True:
        value, tangents = _up(chain, factors, errors, kappa)
        errors = _down(chain, factors, tangents, kappa)
        if not (value < best - 1e-12 * best.abs().nan_to_num(posinf=0.0)).any():
            break
        best = torch.minimum(best, value)
    value, _ = _up(chain, factors, {}, kappa)
    chosen = value.argmin(0)
    samples = torch.arange(chain.samples)
    vertex = {position: t[chosen, samples] for position, t in factors.items()}
    return inner(chain, vertex).high, vertex


def inner(chain: Chain, factors: Mapping[int, Tensor]) -> Rounded:
    """Each sample's part of <g, g~> under given factors, with its rounding, (samples,)."""
    tangent = Rounded.exact(chain.still)
    for position, step in enumerate(chain.steps):
        if isinstance(step, Slope):
            tangent = tangent.times(step.derivative).times(factors[position])
            continue
        tangent = step.forward(tangent)
        term = chain.own[position]
        if term is not None:
            tangent = tangent + Rounded(term.value[None], term.radius[None])
    parts = tangent.times(chain.error).total(keep=2)
    return Rounded(parts.value[0], parts.radius[0])


def _up(chain: Chain, factors: Factors, errors: Mapping[int, Tensor], kappa: float) -> tuple[Tensor, dict[int, Tensor]]:
    """One pass from the lowest layer; where the upstream errors are given, each layer's factors become the best."""
    starts = len(next(iter(factors.values())))
    tangent = chain.still.expand(starts, *chain.still.shape[1:])
    tangents = {}
    for position, step in enumerate(chain.steps):
        if isinstance(step, Slope):
            tangents[position] = tangent = tangent * step.derivative
            if errors:
                factors[position] = _vertex(tangent * errors[position] < 0, kappa)
            tangent = tangent * factors[position]
            continue
        tangent = rows(step.image, tangent)
        term = chain.own[position]
        tangent = tangent if term is None else tangent + term.value
    return (tangent * chain.error).flatten(2).sum(2), tangents


def _down(chain: Chain, factors: Factors, tangents: Mapping[int, Tensor], kappa: float) -> dict[int, Tensor]:
    """One pass from the loss; where the tangents are given, each layer's factors become the best. Upstream errors."""
    starts = len(next(iter(factors.values())))
    error = chain.error.expand(starts, *chain.error.shape)
    errors = {}
    for position in range(len(chain.steps) - 1, chain.slopes[0] - 1, -1):
        step = chain.steps[position]
        if isinstance(step, Slope):
            errors[position] = error
            if tangents:
                factors[position] = _vertex(tangents[position] * error < 0, kappa)
            error = error * step.derivative * factors[position]
            continue
        error = rows(step.pullback, error)
    return errors


def _vertex(mask: Tensor, kappa: float) -> Tensor:
    return torch.ones(mask.shape, dtype=torch.float64).masked_fill_(mask, kappa)


def _derivative(chain: Chain, position: int) -> Tensor:
    step = chain.steps[position]
    assert isinstance(step, Slope)
    return step.derivative
