"""Where a model's activations are: every torch call that the catalogue knows, in the order of the forward pass."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from ....surrogates.activation import Activation, Operation
from ....surrogates.activations import ACTIVATIONS
from ....surrogates.surrogate import Surrogate


@dataclass(frozen=True)
class Place:
    """One call of an activation in a forward pass.

    Attributes:
        module: path of the innermost module that makes the call, as in ``named_modules`` ("" for the model itself).
        call: which of that module's activation calls it is, from 0.
        activation: its name in the catalogue.
        derivative: phi' as this call's parameters have it.
    """

    module: str
    call: int
    activation: str
    derivative: Surrogate

    def __str__(self) -> str:
        return f"{self.module or 'model'}[{self.call}] {self.activation}"


@dataclass(frozen=True)
class Call:
    """A torch call that is an activation: its preactivation, its name, its derivative at the call's parameters."""

    preactivation: Tensor
    activation: str
    derivative: Surrogate


Visit = Callable[[Place, Tensor, Callable[[], Tensor]], Tensor]
"""``visit(place, preactivation, compute) -> output``; ``compute()`` makes the call itself."""


@cache
def _known() -> dict[Callable[..., Any], list[tuple[Activation, Operation]]]:
    table: dict[Callable[..., Any], list[tuple[Activation, Operation]]] = {}
    for activation in ACTIVATIONS.values():
        for operation in activation.operations:
            table.setdefault(operation.function, []).append((activation, operation))
    return table


@cache
def _derivative(name: str, parameters: tuple[tuple[str, Any], ...]) -> Surrogate:
    return ACTIVATIONS[name].tied.at(**dict(parameters))


def recognise(function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Call | None:
    """The activation that a torch call is, or ``None`` for any other call."""
    entries = _known().get(function)
    if entries is None or "out" in kwargs:
        return None
    given = dict(kwargs)
    z, *rest = args or [given.pop(key) for key in ("input", "self") if key in given]
    for activation, operation in entries:
        parameters = operation.parameters(*rest, **given)
        if parameters is not None and isinstance(z, Tensor):
            return Call(z, activation.name, _derivative(activation.name, tuple(parameters.items())))
    return None


@contextmanager
def inside(model: nn.Module) -> Iterator[list[str]]:
    """The paths of the modules that are running, outermost first, while the model runs."""
    running: list[str] = []
    handles = []

    def leave(*_: object) -> None:  # a hook that returned a value would replace the module's output
        running.pop()

    for path, module in model.named_modules():
        handles.append(module.register_forward_pre_hook(lambda *_, path=path: running.append(path)))
        handles.append(module.register_forward_hook(leave, always_call=True))
    try:
        yield running
    finally:
        for handle in handles:
            handle.remove()


class _Visiting(TorchFunctionMode):
    def __init__(self, visit: Visit, running: list[str]) -> None:
        super().__init__()
        self._visit, self._running = visit, running
        self._calls: Counter[str] = Counter()

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        given = kwargs or {}
        found = recognise(func, args, given)
        if found is None:
            return func(*args, **given)
        module = self._running[-1] if self._running else ""
        place = Place(module, self._calls[module], found.activation, found.derivative)
        self._calls[module] += 1
        return self._visit(place, found.preactivation, lambda: func(*args, **given))


@contextmanager
def visiting(model: nn.Module, visit: Visit) -> Iterator[None]:
    """While this is open, ``visit`` stands in for every activation call of the catalogue that the model makes."""
    with inside(model) as running, _Visiting(visit, running):
        yield
