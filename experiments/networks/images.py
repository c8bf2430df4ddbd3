"""Convolution networks: LeNet-5, and a small one with residual connections and batch norm."""

from __future__ import annotations

from torch import Tensor, nn

from .entry import Hidden, Network, Recipe


def lenet(hidden: Hidden) -> nn.Sequential:
    """LeNet-5 on images [samples, 1, 28, 28]: two convolutions, each averaged 2 x 2, and three linear layers."""
    return nn.Sequential(
        *(nn.Conv2d(1, 6, 5, padding=2), hidden(), nn.AvgPool2d(2)),
        *(nn.Conv2d(6, 16, 5), hidden(), nn.AvgPool2d(2)),
        *(nn.Flatten(), nn.Linear(400, 120), hidden()),
        *(nn.Linear(120, 84), hidden()),
        nn.Linear(84, 10),
    )


class Residual(nn.Module):
    """Two 3 x 3 convolutions with batch norm, beside an identity connection."""

    def __init__(self, channels: int, hidden: Hidden) -> None:
        super().__init__()
        self.inner = nn.Sequential(
            *(nn.Conv2d(channels, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels), hidden()),
            *(nn.Conv2d(channels, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels)),
        )
        self.last = hidden()

    def forward(self, images: Tensor) -> Tensor:
        """Images [samples, channels, height, width] of the same shape."""
        output: Tensor = self.last(images + self.inner(images))
        return output


def residual(hidden: Hidden) -> nn.Sequential:
    """Two residual blocks of 16 channels on DIGITS' 64 pixels, averaged over the image."""
    return nn.Sequential(
        *(nn.Unflatten(1, (1, 8, 8)), nn.Conv2d(1, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), hidden()),
        *(Residual(16, hidden), nn.AvgPool2d(2), Residual(16, hidden)),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10)),
    )


LENET_MNIST = Network(
    "lenet-mnist",
    title="LeNet-5 logistic on MNIST",
    activation="logistic",
    builder=lenet,
    data="mnist",
    recipe=Recipe(epochs=30, batch=256, learning_rate=0.01, momentum=0.9),
    source="Troiano et al. 2025, Table 4; LeCun et al. 1998",
)
LENET_FASHION = Network(
    "lenet-fashion",
    title="LeNet-5 ReLU on Fashion-MNIST",
    activation="relu",
    builder=lenet,
    data="fashion-mnist",
    recipe=Recipe(epochs=20, batch=64, learning_rate=0.01),
    source="Troiano et al. 2025, Tables 6 to 8; LeCun et al. 1998",
)
RESIDUAL_DIGITS = Network(
    "residual-digits",
    title="residual convolutions with batch norm on DIGITS",
    activation="relu",
    builder=residual,
    data="digits",
    recipe=Recipe(epochs=10, batch=64, learning_rate=0.05, momentum=0.9),
    source="after He et al. 2016",
)
