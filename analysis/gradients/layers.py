"""The layers of a model, in the order in which its forward runs them, and the activations that it runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import Refused
from .untie.function import Selector
from .untie.ledger import Ledger
from .untie.matching import known
from .untie.mode import Plan, Replacing
from .untie.running import Watch


@dataclass(frozen=True)
class Layer:
    """A module that owns parameters.

    Attributes:
        path: as in ``named_modules``.
        parameters: its own, not its children's; a parameter that two modules share belongs to the first.
    """

    path: str
    parameters: tuple[nn.Parameter, ...]


@dataclass(frozen=True)
class Observation:
    """What one forward ran.

    Attributes:
        order: the modules, in the order in which they were first entered.
        activations: how often each activation of the catalogue was called, in the order of the first calls.
        calls: where asked for, each call of a module without children, with the one tensor that it was given.
        output: where asked for, what the forward returned.
    """

    order: tuple[nn.Module, ...]
    activations: Counter[str]
    calls: tuple[tuple[nn.Module, Tensor], ...] = ()
    output: Any = None

    def asked(self, activations: Sequence[Any] | None, caller: str) -> list[Any]:
        """What is to be untied: what the caller was given, or else every activation that ran.

        Raises:
            Refused: nothing was given, and none ran.
        """
        keys = list(self.activations) if activations is None else list(activations)
        if not keys:
            raise Refused(f"{caller}(model=...): {self.nothing()}")
        return keys

    def nothing(self) -> str:
        """Why there is nothing to untie."""
        kinds = ", ".join(dict.fromkeys(type(module).__name__ for module in self.order))
        return (
            f"its forward ran {kinds} and no activation of the catalogue, so there is no derivative to replace. An "
            f"elementwise module of your own is named with activations=[ItsClass]."
        )


class _Observing(Replacing):
    """A run that replaces nothing and notes the modules."""

    def __init__(self, *args: Any, order: dict[nn.Module, None], calls: list[tuple[nn.Module, Tensor]] | None) -> None:
        super().__init__(*args)
        self.attentive = True
        self._order = order
        self._calls = calls

    def enter(self, module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...] | None:
        """Notes the module, and its input: a copy where the module writes over it."""
        self._order.setdefault(module)
        if self._calls is not None and not module._modules and len(args) == 1 and isinstance(args[0], Tensor):
            self._calls.append((module, args[0].clone() if getattr(module, "inplace", False) else args[0]))
        return None


def observe(model: nn.Module, forward: Callable[[], Any], *, keep: bool = False) -> Observation:
    """Runs the forward once, as it is, without a graph; ``keep``: with the modules' inputs and the output."""
    order: dict[nn.Module, None] = {}
    calls: list[tuple[nn.Module, Tensor]] | None = [] if keep else None
    ledger = Ledger(model)
    plan = Plan({}, known([]), Selector(1), ledger)

    def begin(recomputing: bool) -> Replacing:
        return _Observing(plan, torch.default_generator, recomputing, None, lambda *_: None, order=order, calls=calls)

    with Watch(model, begin), torch.no_grad():
        output = forward()
    return Observation(tuple(order), ledger.native, tuple(calls or ()), output if keep else None)


def layers(model: nn.Module, order: Sequence[nn.Module]) -> tuple[Layer, ...]:
    """The modules that own parameters: those that ran, in their order, then the others as the model lists them."""
    paths = {module: path for path, module in model.named_modules()}
    taken: set[int] = set()
    found = []
    for module in dict.fromkeys((*order, *paths)):
        own = [parameter for parameter in module.parameters(recurse=False) if id(parameter) not in taken]
        taken.update(map(id, own))
        if own and module in paths:
            found.append(Layer(paths[module], tuple(own)))
    return tuple(found)
