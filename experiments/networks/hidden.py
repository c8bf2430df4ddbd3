"""The hidden activations that a network can be built with: a module for each activation of the catalogue.

`untie` reaches each of them by the activation's name; the identity alone, which no torch operation computes, by its
module class. `key` says which.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import torch
from torch import Tensor, nn

from ...analysis.surrogates.lookup import activation


class Heaviside(nn.Module):
    """1 above 0, else 0; torch gives it no derivative, so it trains with a surrogate only."""

    def forward(self, preactivation: Tensor) -> Tensor:
        """The step of each entry."""
        return torch.heaviside(preactivation, preactivation.new_zeros(()))


class Sign(nn.Module):
    """-1, 0 or 1; its derivative is 0, so it trains with a surrogate only."""

    def forward(self, preactivation: Tensor) -> Tensor:
        """The sign of each entry."""
        return torch.sign(preactivation)


class Round(nn.Module):
    """The nearest whole number, half to even; its derivative is 0, so it trains with a surrogate only."""

    def forward(self, preactivation: Tensor) -> Tensor:
        """Each entry, rounded."""
        return torch.round(preactivation)


class Identity(nn.Module):
    """What the paper calls Linear, as a class of our own: `untie` takes it as a key."""

    def forward(self, preactivation: Tensor) -> Tensor:
        """Each entry as it is: another tensor of the same memory, since one object could be taken for an overwritten
        input."""
        return preactivation.view_as(preactivation)


HIDDEN: Mapping[str, Callable[[], nn.Module]] = {
    "identity": Identity,
    "relu": nn.ReLU,
    "relu6": nn.ReLU6,
    "leaky_relu": nn.LeakyReLU,
    "elu": nn.ELU,
    "silu": nn.SiLU,
    "gelu": nn.GELU,
    "gelu_tanh": partial(nn.GELU, approximate="tanh"),
    "softplus": nn.Softplus,
    "tanh": nn.Tanh,
    "logistic": nn.Sigmoid,
    "hardtanh": nn.Hardtanh,
    "sign": Sign,
    "heaviside": Heaviside,
    "round": Round,
}
"""A factory of modules for each activation, by its name in ``ACTIVATIONS``."""


def factory(name: str) -> Callable[[], nn.Module]:
    """The factory of an activation's modules.

    Raises:
        Refused: there is no activation of that name (near names are listed).

    >>> factory("sigmoid")()
    Sigmoid()
    """
    return HIDDEN[activation(name).name]


def key(name: str) -> str | type[nn.Module]:
    """How `untie` and `measure` are told of an activation: its name, or for the identity its module class.

    Raises:
        Refused: as for `factory`.
    """
    found = activation(name)
    return found.name if found.operations else Identity


def flat(name: str) -> bool:
    """Whether the activation's own derivative is 0 wherever it has one: a step, which trains with a surrogate only.

    >>> [name for name in HIDDEN if flat(name)]
    ['sign', 'heaviside', 'round']
    """
    return bool(activation(name).tied.factor == 0)
