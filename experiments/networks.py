"""The networks that are trained and measured, one entry each: an architecture, its data and the recipe to train it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

from torch import nn

from ..analysis.errors import Refused, near


@dataclass(frozen=True)
class Recipe:
    """How a network is trained: plain SGD on the mean cross-entropy of mini-batches.

    Attributes:
        epochs: passes over the training samples.
        batch: samples a step; the last step of an epoch takes what is left.
        learning_rate: step size.
        momentum: as in ``torch.optim.SGD``.
    """

    epochs: int
    batch: int
    learning_rate: float
    momentum: float = 0.0


@dataclass(frozen=True)
class Network:
    """One entry.

    Attributes:
        name: how the command line and the tables call it.
        title: what it is, for captions.
        activation: name of its hidden activation in ``ACTIVATIONS``: the one that a study unties.
        build: makes the module; every random number of it comes from torch's global generator, which the caller seeds.
        data: name of its data set in ``DATASETS``.
        recipe: how it is trained.
        source: where it is taken from.
    """

    name: str
    title: str
    activation: str
    build: Callable[[], nn.Module]
    data: str
    recipe: Recipe
    source: str


def multilayer(widths: tuple[int, ...], activation: type[nn.Module]) -> nn.Sequential:
    """Linear layers of these widths, input and output included, with an activation between each two.

    >>> len(multilayer((64, 64, 10), nn.Sigmoid))
    3
    """
    layers: list[nn.Module] = []
    for wide, narrow in pairwise(widths):
        layers += [nn.Linear(wide, narrow), activation()]
    return nn.Sequential(*layers[:-1])


_TABLE_3 = Recipe(epochs=100, batch=64, learning_rate=0.05)

MLP_DIGITS = Network(
    "mlp-digits",
    title="64-64-10 logistic on DIGITS",
    activation="logistic",
    build=lambda: multilayer((64, 64, 10), nn.Sigmoid),
    data="digits",
    recipe=_TABLE_3,
    source="Troiano et al. 2025, Table 3",
)
DEEP_TANH_DIGITS = Network(
    "deep-tanh-digits",
    title="64-64-64-64-10 tanh on DIGITS",
    activation="tanh",
    build=lambda: multilayer((64, 64, 64, 64, 10), nn.Tanh),
    data="digits",
    recipe=_TABLE_3,
    source="ours: three hidden layers under the recipe of mlp-digits",
)

NETWORKS: dict[str, Network] = {value.name: value for value in list(globals().values()) if isinstance(value, Network)}
"""Every network, by name."""


def network(name: str) -> Network:
    """The entry of that name.

    Raises:
        Refused: there is none of that name.
    """
    if name not in NETWORKS:
        raise Refused(f"there is no network {name!r}: {near(name, NETWORKS)}.")
    return NETWORKS[name]
