"""Networks with steps in their forward: binary hidden units, and 2-bit quantisation. A surrogate trains each."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from .entry import Hidden, Network, Recipe
from .perceptrons import multilayer

_STEPS = 3
"""Steps between the 4 levels of 2 bits."""


class Quantise(nn.Module):
    """Clips to [0, 1] and rounds to the levels 0, 1/3, 2/3, 1 of 2 bits.

    With ``{"round": "constant"}`` untied its backward is the clipped straight-through estimator: 1 inside the clip, 0
    outside.
    """

    def __init__(self, rounding: Hidden) -> None:
        super().__init__()
        self.clip = nn.Hardtanh(0.0, 1.0)
        self.rounding = rounding()

    def forward(self, preactivation: Tensor) -> Tensor:
        """The level of each entry."""
        level: Tensor = self.rounding(self.clip(preactivation) * _STEPS)
        return level / _STEPS


class QuantisedLinear(nn.Module):
    """A linear layer whose weights are the levels -1, -1/3, 1/3, 1 times its largest weight, taken as a constant.

    It is no ``nn.Linear``, so that nothing takes its weights for those that its product is made with.
    """

    def __init__(self, inputs: int, outputs: int, rounding: Hidden) -> None:
        super().__init__()
        start = nn.Linear(inputs, outputs)
        self.weight, self.bias = start.weight, start.bias
        self.quantise = Quantise(rounding)

    def forward(self, inputs: Tensor) -> Tensor:
        """The product [samples, outputs] of inputs [samples, inputs] with the quantised weights."""
        scale = self.weight.detach().abs().amax()
        levels = self.quantise((self.weight / scale + 1) / 2)
        return F.linear(inputs, (2 * levels - 1) * scale, self.bias)


def quantised(rounding: Hidden) -> nn.Sequential:
    """64-64-64-10 with 2-bit hidden activations; weights of 2 bits between them, in full at both ends."""
    return nn.Sequential(
        *(nn.Linear(64, 64), Quantise(rounding)),
        *(QuantisedLinear(64, 64, rounding), Quantise(rounding)),
        nn.Linear(64, 10),
    )


BINARY_ONES = Network(
    "binary-ones",
    title="one Heaviside unit on Ones",
    activation="heaviside",
    builder=lambda hidden: nn.Sequential(nn.Linear(64, 1), hidden()),
    data="ones-64",
    recipe=Recipe(epochs=20, batch=64, learning_rate=0.1),
    source="Troiano et al. 2025, Table 13",
    loss="mean-squared-error",
    backward="constant",
)
HEAVISIDE_DIGITS = Network(
    "heaviside-digits",
    title="64-64-64-10 Heaviside on DIGITS",
    activation="heaviside",
    builder=lambda hidden: multilayer((64, 64, 64, 10), hidden),
    data="digits",
    recipe=Recipe(epochs=30, batch=64, learning_rate=0.05),
    source="Bengio, Leonard and Courville 2013 (binary hidden units)",
    backward="clipped",
)
SIGN_DIGITS = Network(
    "sign-digits",
    title="64-64-64-10 sign on DIGITS",
    activation="sign",
    builder=lambda hidden: multilayer((64, 64, 64, 10), hidden),
    data="digits",
    recipe=Recipe(epochs=30, batch=64, learning_rate=0.05),
    source="Hubara et al. 2016, eq. 4",
    backward="clipped",
)
QUANTISED_DIGITS = Network(
    "quantised-digits",
    title="64-64-64-10 of 2 bits on DIGITS",
    activation="round",
    builder=quantised,
    data="digits",
    recipe=Recipe(epochs=30, batch=64, learning_rate=0.1),
    source="after Zhou et al. 2016 (DoReFa-Net), with a clip where they have a tanh",
    backward="constant",
)
