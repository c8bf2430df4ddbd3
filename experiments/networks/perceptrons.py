"""Single units and multilayer perceptrons with smooth or piecewise linear hidden units."""

from __future__ import annotations

from functools import partial
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


def scaled(depth: int, hidden: Hidden) -> nn.Sequential:
    """``depth`` hidden layers of 64 units between 64 inputs and 10 outputs, of weights that keep a tanh's signal.

    Torch's own initial weights shrink it by a factor of 0.6 a layer: ten layers of them learn nothing in 100 epochs.
    """
    made = multilayer((*(64,) * (depth + 1), 10), hidden)
    for layer in made:
        if isinstance(layer, nn.Linear):
            nn.init.xavier_uniform_(layer.weight, gain=nn.init.calculate_gain("tanh"))
            nn.init.zeros_(layer.bias)
    return made


DEPTHS = tuple(
    Network(
        f"mlp-digits-depth-{depth}",
        title=f"{depth} tanh layers of 64 on DIGITS",
        activation="tanh",
        builder=partial(scaled, depth),
        data="digits",
        recipe=_TABLE_3,
        source="ours: the recipe of mlp-digits; weights after Glorot and Bengio 2010",
    )
    for depth in range(1, 11)
)
WIDTHS = tuple(
    Network(
        f"mlp-digits-width-{width}",
        title=f"64-{width}-10 logistic on DIGITS",
        activation="logistic",
        builder=partial(multilayer, (64, width, 10)),
        data="digits",
        recipe=_TABLE_3,
        source="ours: width under the recipe of mlp-digits",
    )
    for width in (8, 16, 32, 64, 128, 256, 512)
)
