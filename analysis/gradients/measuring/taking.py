"""The gradients themselves: the exact one, and those of surrogates on one shared forward."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ...errors import Refused
from ...surrogates.surrogate import Surrogate
from ..layers import Observation
from ..references.steps import FLAT, below, marking, stepping
from ..untie.untied import untie
from .remarks import written
from .setting import Gradients, Setting


@dataclass(frozen=True)
class Native:
    """The model as it is.

    Attributes:
        setting: model, loss and batch.
        again: starts a run from the same buffers and random state.
        activations: those that the model runs, with the number of calls.
        loss: its value.
        exact: torch's own gradient by each trained parameter, in float64, Heaviside's derivative taken as 0.
        flat: positions of the parameters from which a path to the loss runs through a Heaviside, sign or round unit.
        own: names of the user's own autograd functions on its graph.
    """

    setting: Setting
    again: Callable[[], None]
    activations: Mapping[str, int]
    loss: float
    exact: Gradients
    flat: frozenset[int]
    own: tuple[str, ...] = ()


def native(setting: Setting, observation: Observation, again: Callable[[], None]) -> Native:
    """The loss and the exact gradient of the model as it is, and which parameters lie below a flat unit.

    Raises:
        Refused: the loss is no finite scalar, or depends on no trained parameter.
    """
    again()
    value = setting.native(observation.activations)
    own = written(value)
    exact = setting.gradient(value)
    flat: frozenset[int] = frozenset()
    if not FLAT.isdisjoint(observation.activations):
        again()
        with stepping(setting.model, marking):
            output = setting.output()
        flat = below(setting.loss(output, setting.y), setting.parameters)
    return Native(setting, again, observation.activations, float(value.detach()), exact, flat, own)


def same(found: Tensor, native: Native) -> Tensor:
    """The loss of another run of the same forward.

    Raises:
        Refused: it is not the native one, to the last bit.
    """
    if float(found.detach()) != native.loss:
        raise Refused(
            f"{native.setting.caller}(model=...): two runs of one forward gave the losses {native.loss} and "
            f"{found.item()}; the model keeps a state of its own, so no two gradients can be compared."
        )
    return found


@dataclass(frozen=True)
class Taken:
    """A surrogate's gradient.

    Attributes:
        surrogate: its name in the tables.
        draw: number of the draw.
        activation: what was untied, joined by "+".
        gradient: by trained parameter, in float64; ``None`` where the loss does not depend on it.
    """

    surrogate: str
    draw: int
    activation: str
    gradient: list[Tensor | None]


def taken(
    native: Native, chosen: Mapping[str, Surrogate | str], keys: Sequence[Any], seed: int, draws: int = 1
) -> list[Taken]:
    """The gradients of the surrogates, all of one forward."""
    native.again()
    setting, found = native.setting, []
    mapping = {key: list(chosen.values()) for key in keys}
    with untie(setting.model, mapping, torch.Generator().manual_seed(seed)) as untied:
        value = same(setting.value(), native)
        activation = "+".join(rule.key for rule in untied.rules)
        for choice, gradients in untied.replay(value, setting.parameters, draws=draws):
            parts = [None if each is None else each.to(torch.float64) for each in gradients]
            found.append(Taken(list(chosen)[choice.index], choice.draw, activation, parts))
    return found


def inner(a: Gradients, b: Gradients) -> float:
    """<a, b> in float64; a missing part is zero."""
    pairs = zip(a, b, strict=True)
    return sum(float((x.double() * y.double()).sum()) for x, y in pairs if x is not None and y is not None)
