"""Whether a model is a chain: by what its modules are, never by trying. Whatever is not known for sure is no chain."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from ..untie.matching import known
from .stages import Activating, Convolution, Flattening, Layer, Linear, Pooling, Stage

_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


def chain(model: nn.Module) -> tuple[Stage, ...] | None:
    """The stages of a model that is a chain; ``None`` where it is none.

    A chain is an ``nn.Sequential`` (of ``nn.Sequential``) of ``nn.Linear``, ``nn.Conv2d`` in one group with zero
    padding, ``nn.AvgPool2d``, ``nn.MaxPool2d``, ``nn.Flatten()``, ``nn.Identity``, dropout in evaluation mode, and the
    activations of ``torch.nn`` that are in the catalogue; without hooks (torch's process-wide ones among them, which an
    open `untie` block sets), without a ``forward`` of the instance's own, and no parameter in two places. A subclass is
    no chain: its forward may be another.

    >>> chain(nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))) is None
    True
    """
    stages: list[Stage] = []
    if any(getattr(torch.nn.modules.module, f"_global{hooks}") for hooks in _HOOKS):
        return None
    for path, module in _members(model):
        stage = None if module is None else _stage(path, module)
        if stage is None:
            return None
        stages.append(stage)
    owned = [id(parameter) for stage in stages for parameter in stage.module.parameters()]
    return tuple(stages) if len(owned) == len(set(owned)) else None


def _members(module: nn.Module, path: str = "") -> Iterator[tuple[str, nn.Module | None]]:
    """The modules in the order in which they run; ``None`` in place of what is not as torch made it."""
    if (
        "forward" in vars(module)
        or any(getattr(module, hooks) for hooks in _HOOKS)
        or any(parameter._backward_hooks for parameter in module.parameters(recurse=False))
    ):
        yield path, None
    elif type(module) is nn.Sequential:
        for name, child in module._modules.items():
            assert child is not None
            yield from _members(child, f"{path}.{name}" if path else name)
    else:
        yield path, module


def _stage(path: str, module: Any) -> Stage | None:
    kind = type(module)
    if kind is nn.Linear:
        return Linear(path, module)
    if kind is nn.Conv2d:
        plain = module.groups == 1 and module.padding_mode == "zeros" and not isinstance(module.padding, str)
        return Convolution(path, module) if plain else None
    if kind is nn.AvgPool2d or (kind is nn.MaxPool2d and not module.return_indices):
        return Pooling(path, module)
    if kind is nn.Flatten:
        return Flattening(path, module) if (module.start_dim, module.end_dim) == (1, -1) else None
    if kind is nn.Identity or (kind in (nn.Dropout, nn.Dropout2d) and not (module.training and module.p)):
        return Flattening(path, module)
    called = _activation(module)
    return None if called is None else Activating(path, module, *called)


def _activation(module: nn.Module) -> tuple[str, Mapping[str, Any]] | None:
    """Name and parameters of the activation that a module of ``torch.nn`` is: the one torch call that it makes."""
    if type(module).__module__ != "torch.nn.modules.activation" or next(module.parameters(), None) is not None:
        return None
    calls, zero = _Calls(), torch.zeros(1)
    try:
        with torch.no_grad(), calls:
            module.forward(zero)  # not its hooks
    except (RuntimeError, ValueError, IndexError, TypeError):  # it is not elementwise
        return None
    return calls.found[0] if len(calls.found) == 1 else None


class _Calls(TorchFunctionMode):
    """What each torch call is in the catalogue."""

    def __init__(self) -> None:
        self.found: list[tuple[str, Mapping[str, Any]] | None] = []

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Notes the call and makes it."""
        given = [(entry.name, entry.operation.parameters(*args[1:], **(kwargs or {}))) for entry in _entries(func)]
        self.found.append(next(((name, found) for name, found in given if found is not None), None))
        return func(*args, **(kwargs or {}))


def _entries(func: Callable[..., Any]) -> Any:
    return known([]).get(func, ())


def trained(stages: tuple[Stage, ...], wanted: set[int]) -> tuple[Layer, ...]:
    """The layers that own a parameter of those wanted (by ``id``)."""
    return tuple(s for s in stages if isinstance(s, Layer) and any(id(p) in wanted for p in s.module.parameters()))
