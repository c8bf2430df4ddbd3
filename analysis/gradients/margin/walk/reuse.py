"""Linear maps of the forward-mode pass take their values from the first forward pass, and compute tangents alone.

torch's own forward mode would multiply by every weight once more for values that are known; linear maps and
convolutions are nearly all of a pass's cost.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from .forward_mode import apart, dual

LINEAR: frozenset[Callable[..., Any]] = frozenset({F.linear, torch.conv1d, torch.conv2d, torch.conv3d})
"""Calls f(input, weight, bias, ...) that are linear in the input and linear in (weight, bias)."""

Known = tuple[Callable[..., Any], Tensor, int]
"""A call, its output and the output's version: a later in-place operation raises it."""


class Remember(TorchFunctionMode):
    """Keeps the outputs of the linear calls, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.known: list[Known] = []

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        output = func(*args, **(kwargs or {}))
        if func in LINEAR:
            value = output.detach()
            self.known.append((func, value, value._version))
        return output


class Recall(TorchFunctionMode):
    """Gives the linear calls of a second, dual pass their remembered values; makes the call where there is none."""

    def __init__(self, known: list[Known]) -> None:
        super().__init__()
        self._known: Iterator[Known] = iter(known)

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        given = dict(kwargs or {})
        if func not in LINEAR:
            return func(*args, **given)
        known, value, version = next(self._known, (None, None, 0))
        if known is not func or value is None or value._version != version or len(args) < 2 or given:
            return func(*args, **given)
        duals = [apart(a) if isinstance(a, Tensor) else (None, None) for a in args[:3]]
        (x, dx), (weight, dw), (_, db) = (*duals, (None, None))[:3]
        rest = args[3:]
        parts = []
        if dw is not None:
            parts.append(func(x, dw, db, *rest))
        if dx is not None:
            parts.append(func(dx, weight, None if dw is not None else db, *rest))
        if not parts:
            return func(*args) if db is not None else value
        return dual(value, parts[0] if len(parts) == 1 else parts[0].add_(parts[1]))
