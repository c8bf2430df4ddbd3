"""Single units and multilayer perceptrons with smooth or piecewise linear hidden units."""

from __future__ import annotations

from itertools import pairwise

from torch import nn

from .entry import Hidden, Network, Recipe


def multilayer(widths: tuple[int, ...], hidden: Hidden) -> nn.Sequential:
    """Linear layers of these widths, input and output included, with an activation between each two.

    >>> len(multilayer((64, 64, 10), nn.Sigmoid))
    3
    """
    layers: list[nn.Module] = []
    for wide, narrow in pairwise(widths):
        layers += [nn.Linear(wide, narrow), hidden()]
    return nn.Sequential(*layers[:-1])


_TABLE_3 = Recipe(epochs=100, batch=64, learning_rate=0.05)

UNIT_ONES = Network(
    "unit-ones",
    title="one logistic unit on Ones",
    activation="logistic",
    builder=lambda hidden: nn.Sequential(nn.Linear(10, 1), hidden()),
    data="ones",
    recipe=Recipe(epochs=30, batch=32, learning_rate=0.1),
    source="Troiano et al. 2025, single-unit classifier",
    loss="mean-squared-error",
)
MLP_DIGITS = Network(
    "mlp-digits",
    title="64-64-10 logistic on DIGITS",
    activation="logistic",
    builder=lambda hidden: multilayer((64, 64, 10), hidden),
    data="digits",
    recipe=_TABLE_3,
    source="Troiano et al. 2025, Table 3",
)
DEEP_TANH_DIGITS = Network(
    "deep-tanh-digits",
    title="64-64-64-64-10 tanh on DIGITS",
    activation="tanh",
    builder=lambda hidden: multilayer((64, 64, 64, 64, 10), hidden),
    data="digits",
    recipe=_TABLE_3,
    source="ours: three hidden layers under the recipe of mlp-digits",
)
