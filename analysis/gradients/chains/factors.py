"""The backward factors of a group of surrogates at the places of a chain, at the draws that `untie` would make.

A member of a group is a surrogate with a draw number, or the exact derivative. Surrogates that are multiples of one
another at every place share a pass: their error signals are multiples, too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ...surrogates.formula.multiples import ratio
from ..untie.function import Factor, draws_of
from ..untie.matching import Bound, Rule
from ..untie.mode import Seeds
from .stages import Activating, Stage


@dataclass(frozen=True)
class Member:
    """One backward.

    Attributes:
        choice: number of the surrogate; ``None`` for the exact derivative.
        draw: number of its draw.
    """

    choice: int | None
    draw: int = 0


@dataclass(frozen=True)
class Place:
    """An untied activation.

    Attributes:
        factors: of the K surrogates, at the parameters of its call.
        seed: of its noise; 0 where no factor is random.
    """

    factors: Sequence[Factor]
    seed: int


def places(stages: Sequence[Stage], rules: Mapping[str, Rule], generator: torch.Generator) -> dict[str, Place]:
    """The untied activations by path, with the seeds that `untie` draws from the same generator; moves it on as it."""
    seeds: Seeds | None = None
    found = {}
    for stage in stages:
        if isinstance(stage, Activating) and stage.activation in rules:
            bound: Bound = rules[stage.activation].bound(stage.parameters)
            if bound.random and seeds is None:
                seeds = Seeds(generator)
            found[stage.path] = Place(bound.factors, seeds.next() if seeds and bound.random else 0)
    if seeds is not None:
        seeds.close()
    return found


def drawn(group: Sequence[Member], place: Place, u: Tensor) -> dict[Member, Tensor]:
    """psi of the random members, for all samples at once: a part of a draw is not the draw of a part."""
    found = {}
    for member in group:
        factor = None if member.choice is None else place.factors[member.choice]
        if factor is not None and factor.random:
            generator = draws_of(place.seed, member.choice or 0, member.draw, u.device)
            found[member] = factor.surrogate(u, generator=generator)
    return found


def multiplied(
    error: Tensor,
    u: Tensor,
    group: Sequence[Member],
    stage: Activating,
    place: Place | None,
    random: Mapping[Member, Tensor],
) -> Tensor:
    """The stacked error signals at the preactivation.

    Args:
        error: at the activation's output, (samples, K or 1, ...).
        u: the preactivation of these samples.
        group: the K members.
        stage: the activation.
        place: its factors; ``None`` where it keeps its own derivative.
        random: psi of the random members at these samples.
    """
    if place is None:
        return error * stage.derivative(u).unsqueeze(1)
    same = error.shape[1] == 1
    found = error.new_empty(len(u), len(group), *u.shape[1:])
    for index, member in enumerate(group):
        upstream, into = error[:, 0 if same else index], found[:, index]
        if member.choice is None:
            torch.mul(upstream, stage.derivative(u), out=into)
            continue
        factor = place.factors[member.choice]
        if factor.constant == 1:
            into.copy_(upstream)
        elif factor.constant is not None:
            torch.mul(upstream, factor.constant, out=into)
        else:
            torch.mul(upstream, random[member] if factor.random else factor.surrogate(u), out=into)
    return found


def multiples(found: Sequence[Place], count: int) -> dict[int, tuple[int, float]]:
    """For each choice, an earlier one (or itself) and the number that it is a multiple of it by, at every place."""
    answer: dict[int, tuple[int, float]] = {}
    for choice in range(count):
        answer[choice] = choice, 1.0
        for earlier in dict.fromkeys(base for base, _ in answer.values()):
            ratios = {ratio(place.factors[choice].surrogate, place.factors[earlier].surrogate) for place in found}
            if len(ratios) == 1 and (number := ratios.pop()) is not None:
                answer[choice] = earlier, number
                break
    return answer
