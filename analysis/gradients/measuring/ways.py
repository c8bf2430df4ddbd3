"""The ways to the gradients of many surrogates: stacked, where the model is a chain, else a replay for each.

Both start from the loss that the model itself has: a chain's forward that gives another, to the last bit, is left.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from .. import chains
from ..chains import structure
from ..chains.deviations import Found
from ..inputs import scalar
from ..layers import Observation, observe
from ..references.steps import FLAT
from ..untie.matching import rules
from ..untie.untied import Choice, untie
from .setting import Gradients, Setting
from .taking import Native, same

CHAIN, REPLAY = "chain", "replay"


def observed(setting: Setting) -> Observation:
    """The model's own forward; its inputs are kept where a chain can go on from them."""
    return observe(setting.model, setting.output, keep=_chained(setting))


@dataclass(frozen=True)
class Backwards:
    """The backwards of one forward.

    Attributes:
        way: `CHAIN` or `REPLAY`.
        activation: what is untied, joined by "+".
        unreached: what `untie` could not reach.
        gradients: of each surrogate and draw, one after the other.
    """

    way: str
    activation: str
    unreached: Sequence[str]
    gradients: Iterator[tuple[Choice, Gradients]]


@contextmanager
def backwards(
    native: Native, replaced: Mapping[Any, Any], seed: int, draws: int, ran: Observation | None = None
) -> Iterator[Backwards]:
    """The gradients of the surrogates by the trained parameters; while the block is open.

    Args:
        native: the model as it is.
        replaced: as for `untie`.
        seed: of the draws.
        draws: of each random surrogate.
        ran: the model's forward, by `observed`, where it is at hand.

    Raises:
        Refused: the forward has a state of its own; as `untie`.
    """
    setting = native.setting
    native.again()
    loss = _Heard(setting)
    known = [
        None if each is None else each.to(own.dtype) for each, own in zip(native.exact, setting.parameters, strict=True)
    ]
    stacked = None
    if isinstance(setting.x, Tensor):
        stacked = chains.gradients(
            setting.model,
            loss,
            (setting.x, setting.y),
            replaced,
            setting.parameters,
            draws=draws,
            generator=torch.Generator().manual_seed(seed),
            known=known,
            ran=ran,
        )
    if stacked is not None and loss.value == native.loss:
        yield Backwards(CHAIN, _joined(replaced), (), stacked)
        return
    native.again()
    with untie(setting.model, replaced, torch.Generator().manual_seed(seed)) as untied:
        value = same(setting.value(), native)
        each = untied.replay(value, setting.parameters, draws=draws)
        yield Backwards(REPLAY, _joined(replaced), [str(each) for each in untied.unreached], each)


@dataclass(frozen=True)
class Metrics:
    """Deviations from the exact gradient without the counts of signs, by the chain's own exact gradient.

    Attributes:
        observation: the model's forward.
        activation: what is untied, joined by "+".
        loss: its value.
        found: one surrogate and draw after the other.
    """

    observation: Observation
    activation: str
    loss: float
    found: Iterator[Found]


def metrics(
    setting: Setting,
    again: Callable[[], None],
    keys: Sequence[Any] | None,
    chosen: Sequence[Any],
    seed: int,
    draws: int,
) -> Metrics | None:
    """The fast way to deviations from the exact gradient; ``None`` where the model is no chain.

    Args:
        setting: model, loss and batch.
        again: starts a run from the same buffers and random state.
        keys: the activations; all that run, where ``None``.
        chosen: the surrogates.
        seed: of the draws.
        draws: of each random surrogate.

    Raises:
        Refused: the loss is no finite scalar.
    """
    if not _chained(setting):
        return None
    again()
    observation = observed(setting)
    replaced = {key: list(chosen) for key in (observation.activations if keys is None else keys)}
    if not replaced or not FLAT.isdisjoint(observation.activations):
        return None
    with torch.no_grad():
        output = observation.output.clone() if isinstance(observation.output, Tensor) else observation.output
        value = float(scalar(setting.loss(output, setting.y), setting.caller))
    again()
    loss, generator = _Heard(setting), torch.Generator().manual_seed(seed)
    batch = setting.x, setting.y
    found = chains.deviations(setting.model, loss, batch, replaced, draws=draws, generator=generator, ran=observation)
    if found is None or loss.value != value:
        return None
    return Metrics(observation, _joined(replaced), value, found)


def _chained(setting: Setting) -> bool:
    return isinstance(setting.x, Tensor) and structure.chain(setting.model) is not None


class _Heard:
    """The loss of a setting, and its last value."""

    def __init__(self, setting: Setting) -> None:
        self._loss = setting.loss
        self.value: float | None = None

    def __call__(self, output: Any, y: Any) -> Any:
        """The loss itself."""
        value: Any = self._loss(output, y)
        self.value = float(value.detach()) if isinstance(value, Tensor) and value.numel() == 1 else None
        return value


def _joined(replaced: Mapping[Any, Any]) -> str:
    return "+".join(rule.key for rule in rules(replaced))
