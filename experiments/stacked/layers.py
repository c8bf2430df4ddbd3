"""What can be stacked: a chain of linear layers, each with or without an elementwise activation after it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn

from ...analysis.errors import Refused
from ..networks import hidden, network

_ELEMENTWISE = tuple({type(make()) for make in hidden.HIDDEN.values()})


@dataclass(frozen=True)
class Layer:
    """A linear layer and the activation after it.

    Attributes:
        name: of the linear layer in the module, as in ``state_dict`` before ``.weight``.
        inputs, outputs: its widths.
        bias: whether it has one.
        activation: the module after it; ``None`` where there is none.
        ruled: whether a cell's rule stands for the derivative of this activation, which ``untie`` would replace.
    """

    name: str
    inputs: int
    outputs: int
    bias: bool
    activation: nn.Module | None
    ruled: bool

    def value(self, preactivation: Tensor, out: Tensor) -> Tensor:
        """The activation of each entry, in ``out`` where torch can write it there."""
        direct = _DIRECT.get(type(self.activation))
        if direct is not None:
            return direct(self.activation, preactivation, out)
        return preactivation if self.activation is None else self.activation(preactivation)


def _tanh(module: nn.Module, u: Tensor, out: Tensor) -> Tensor:
    """e / (e + 2) with e = exp(2u) - 1: to two units in the last place what torch.tanh gives, in half its time."""
    torch.mul(u, 2, out=out)
    out.clamp_(max=40).expm1_()  # from there on it is 1
    return out.div_(out + 2)


_DIRECT: dict[type, Callable[[Any, Tensor, Tensor], Tensor]] = {
    nn.Sigmoid: lambda module, u, out: torch.sigmoid(u, out=out),
    nn.Tanh: _tanh,
    nn.ReLU: lambda module, u, out: torch.clamp_min(u, 0, out=out),
    nn.LeakyReLU: lambda module, u, out: torch.ops.aten.leaky_relu.out(u, module.negative_slope, out=out),
}


@lru_cache(maxsize=64)
def layers(name: str, forward: str) -> tuple[Layer, ...] | None:
    """The layers of a network, in order; ``None`` where it is no chain of linear layers and activations.

    Raises:
        Refused: there is no network or activation of that name.
    """
    with torch.random.fork_rng(devices=[]):
        model = network(name).build(forward)
    return chain(model, forward)


def chain(model: nn.Module, forward: str) -> tuple[Layer, ...] | None:
    """The layers of a module, in order; ``None`` where it is no such chain.

    >>> [layer.outputs for layer in chain(nn.Sequential(nn.Linear(3, 2), nn.ReLU(), nn.Linear(2, 1)), "relu")]
    [2, 1]
    >>> chain(nn.Sequential(nn.Conv2d(1, 6, 5), nn.ReLU()), "relu") is None
    True
    """
    if type(model) is not nn.Sequential:
        return None
    kind = type(hidden.factory(forward)())
    found: list[Layer] = []
    for name, module in model.named_children():
        if type(module) is nn.Linear:
            found.append(Layer(name, module.in_features, module.out_features, module.bias is not None, None, False))
        elif isinstance(module, _ELEMENTWISE) and found and found[-1].activation is None:
            last = found.pop()
            ruled = type(module) is kind
            found.append(Layer(last.name, last.inputs, last.outputs, last.bias, module, ruled))
        else:
            return None
    return tuple(found) or None


def stacked_layers(name: str, forward: str) -> tuple[Layer, ...]:
    """As `layers`.

    Raises:
        Refused: the network is no chain.
    """
    found = layers(name, forward)
    if found is None:
        raise Refused(
            f"network={name!r} cannot be stacked: it is no chain of linear layers and elementwise activations. Train "
            f"it one run at a time, with the plain loop."
        )
    return found
