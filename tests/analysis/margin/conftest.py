from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

Case = tuple[nn.Module, Callable[[Tensor, Tensor], Tensor], tuple[Tensor, Tensor]]


class Residual(nn.Module):
    """A path around its second activation, one activation called as a function, one weight used twice."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.again, self.last = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        h = torch.tanh(self.first(x))
        h = h + F.softplus(self.again(h))
        return self.last(self.again(h).sigmoid())


class InPlace(nn.Module):
    """Overwrites an activation's output, and then a preactivation."""

    def __init__(self, in_place: bool) -> None:
        super().__init__()
        self.first, self.second, self.last = nn.Linear(4, 6), nn.Linear(6, 6), nn.Linear(6, 3)
        self.in_place = in_place

    def forward(self, x: Tensor) -> Tensor:
        h = F.leaky_relu(self.first(x), 0.1)
        h = h.add_(1.0) if self.in_place else h + 1.0
        return self.last(F.elu(self.second(h), inplace=self.in_place))


def mlp(*between: nn.Module, widths: int = 6) -> nn.Sequential:
    sizes = [4, *[widths] * len(between), 3]
    layers: list[nn.Module] = []
    for i, activation in enumerate(between):
        layers += [nn.Linear(sizes[i], sizes[i + 1]), activation]
    return nn.Sequential(*layers, nn.Linear(sizes[-2], sizes[-1]))


def convolution() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(1, 3, 3, padding=1),
        nn.ReLU(inplace=True),
        nn.AvgPool2d(2),
        nn.Conv2d(3, 4, 3),
        nn.Softplus(),
        nn.Flatten(),
        nn.Linear(4, 3),
    )


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "tanh": lambda: mlp(nn.Tanh(), nn.Tanh()),
    "logistic": lambda: mlp(nn.Sigmoid(), nn.Sigmoid(), nn.Sigmoid()),
    "softplus": lambda: mlp(nn.Softplus(), nn.Softplus(beta=2)),
    "relu": lambda: mlp(nn.ReLU(), nn.ReLU()),
    "gelu": lambda: mlp(nn.GELU(), nn.SiLU()),
    "convolution": convolution,
    "residual": Residual,
    "in place": lambda: InPlace(True),
}


@pytest.fixture
def case() -> Callable[..., Case]:
    """A seeded float64 network by name, cross-entropy and a batch of 12."""

    def make(name: str, seed: int = 0, dtype: torch.dtype = torch.float64, samples: int = 12) -> Case:
        torch.manual_seed(seed)
        model = NETWORKS[name]().to(dtype).eval()
        shape = (samples, 1, 6, 6) if name == "convolution" else (samples, 4)
        inputs = torch.randn(shape, dtype=torch.float64).to(dtype)
        return model, F.cross_entropy, (inputs, torch.randint(0, 3, (samples,)))

    return make
