"""The chain of linear maps and activations that a forward ends in, recorded at one batch; or why there is none.

It is guessed from the calls of ``torch.nn.functional.linear`` and of activations, each taking what the one before gave.
A guess: who uses it compares a gradient computed from it with autograd's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from ...surrogates.surrogate import Surrogate
from ..margin.walk.places import recognise
from ..measuring.taking import Native


@dataclass(frozen=True)
class Linear:
    """A linear map.

    Attributes:
        weight: position of its weight among the trained parameters; ``None`` where it is frozen.
        bias: the same of its bias; ``None`` where there is none, too.
        matrix: the weight, (outputs, inputs), float64.
        inputs: x, (samples, inputs), float64.
    """

    weight: int | None
    bias: int | None
    matrix: Tensor
    inputs: Tensor

    @property
    def squared(self) -> Tensor:
        """|x|^2 of each sample, over what is trained: plus 1 for the bias."""
        found = self.inputs.square().sum(1) if self.weight is not None else torch.zeros_like(self.inputs[:, 0])
        return found + (1 if self.bias is not None else 0)


@dataclass(frozen=True)
class Activated:
    """An activation.

    Attributes:
        name: in the catalogue.
        derivative: phi' at the call's parameters.
        preactivation: z, (samples, units), float64.
    """

    name: str
    derivative: Surrogate
    preactivation: Tensor


@dataclass(frozen=True)
class Chain:
    """Linear, Activated, Linear, ..., Linear, in the order of the forward.

    Attributes:
        steps: of the forward.
        error: dLoss/d(output of the last linear map), (samples, outputs), float64.
        below: why what is below the first step is no part of it; empty where the forward is the chain.
    """

    steps: tuple[Linear | Activated, ...]
    error: Tensor
    below: str = ""


class _Calls(TorchFunctionMode):
    """Keeps the linear maps and activations in order."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[Any, Tensor, Tensor]] = []

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        given = dict(kwargs or {})
        call: Any = recognise(func, args, given)
        if func is F.linear:
            call = dict(zip(("input", "weight", "bias"), args, strict=False)) | given
        if call is None:
            return func(*args, **given)
        before = call["input"] if isinstance(call, dict) else call.preactivation
        before = before.detach().clone()
        output = func(*args, **given)
        self.found.append((call, before, output))
        return output


def chain(native: Native) -> Chain | str:
    """The chain that the forward looks like, or why it is none."""
    setting = native.setting
    native.again()
    with _Calls() as calls:
        output = setting.output()
    places = {id(parameter): index for index, parameter in enumerate(setting.parameters)}
    own = {id(parameter) for parameter in setting.owned}
    steps: list[Linear | Activated] = []
    used: set[int] = set()
    given: Tensor | None = None
    below = ""
    for call, before, result in calls.found:
        if before.ndim != 2 or (given is not None and not _equal(before, given)):
            # What is above may be a chain all the same: its error signals do not depend on what is below.
            below, given = "its forward is no chain of linear maps on vectors and activations", None
            steps.clear()
            if before.ndim != 2:
                continue
        if isinstance(call, dict):
            weight, bias = call["weight"], call.get("bias")
            if id(weight) not in own or (bias is not None and id(bias) not in own):
                return "the weight of a linear map is computed, and is no parameter of the model"
            if id(weight) in used:
                return "the weights of a linear map are used more than once, so paths share them"
            used.add(id(weight))
            at = places.get(id(weight)), None if bias is None else places.get(id(bias))
            steps.append(Linear(*at, weight.detach().double(), before.double()))
        else:
            steps.append(Activated(call.activation, call.derivative, before.double()))
        given = result.detach()
    if not steps or not isinstance(steps[-1], Linear) or not isinstance(output, Tensor):
        return below or "its forward does not end in a linear map"
    last = calls.found[-1][2]
    if not last.requires_grad:
        return "no parameter of it is trained"
    (error,) = torch.autograd.grad(setting.loss(output, setting.y), last, allow_unused=True)
    if error is None:
        return "the loss does not depend on its last linear map"
    while not isinstance(steps[0], Linear):  # below the lowest linear map no parameter is reached
        del steps[0]
    return Chain(tuple(steps), error.double(), below)


def _equal(a: Tensor, b: Tensor) -> bool:
    return a.shape == b.shape and torch.equal(a, b)
