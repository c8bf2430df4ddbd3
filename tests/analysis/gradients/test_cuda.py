"""On a GPU the same answers: the backward runs on a thread of its own there, and draws on the device."""

from __future__ import annotations

import downslope as ds
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]


class Network(nn.Module):
    def __init__(self, checkpointed: bool = False) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.inner = nn.Sequential(nn.Linear(8, 16), nn.ReLU(inplace=True), nn.Linear(16, 16), nn.Tanh())
        self.last, self.checkpointed = nn.Linear(16, 3), checkpointed

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = checkpoint(self.inner, x, use_reentrant=False) if self.checkpointed else self.inner(x)
        return self.last(F.silu(h))


MAPPING = {"relu": ["triangle", "constant"], "tanh": ["gaussian", "tied"], "silu": "logistic_derivative"}
X, Y = torch.randn(32, 8, generator=torch.Generator().manual_seed(1)), torch.arange(32) % 3


def replays(device: str, dtype: torch.dtype, checkpointed: bool = False) -> list[list[torch.Tensor]]:
    model = Network(checkpointed).to(device, dtype)
    with ds.untie(model, MAPPING) as untied:
        loss = F.cross_entropy(model(X.to(device, dtype)), Y.to(device))
        found = [
            [gradient.cpu() for gradient in gradients] for _, gradients in untied.replay(loss, list(model.parameters()))
        ]
    assert {place.backward for place in untied.places} == {2}
    return found


@pytest.mark.parametrize("checkpointed", [False, True])
def test_the_gradient_is_the_processors(checkpointed: bool) -> None:
    expected = replays("cpu", torch.float64)
    for on_device, on_processor in zip(replays("cuda", torch.float64, checkpointed), expected, strict=True):
        for found, wanted in zip(on_device, on_processor, strict=True):
            torch.testing.assert_close(found, wanted, rtol=1e-10, atol=1e-12)


def test_the_same_generator_gives_the_same_draw() -> None:
    model, x = Network().cuda(), X.cuda()

    def draw(seed: int) -> torch.Tensor:
        with ds.untie(model, {"relu": "full_jam"}, torch.Generator("cuda").manual_seed(seed)):
            return torch.autograd.grad(model(x).sum(), model.inner[0].weight)[0]

    assert torch.equal(draw(0), draw(0))
    assert not torch.equal(draw(0), draw(1))


def test_autocast_to_half_precision() -> None:
    model, x = Network().cuda(), X.cuda()
    with torch.autocast("cuda", torch.float16):
        expected = model(x)
        with ds.untie(model, {"relu": "triangle", "tanh": "gaussian", "silu": "constant"}):
            output = model(x)
    assert torch.equal(output, expected)
    output.float().sum().backward()
    assert all(torch.isfinite(parameter.grad).all() for parameter in model.parameters())


def test_measure() -> None:
    on_device, on_processor = (
        ds.measure(Network().to(device), F.cross_entropy, (X.to(device), Y.to(device)), ["constant", "triangle"])
        for device in ("cuda", "cpu")
    )
    assert on_device.attrs["device"] == "cuda:0"
    for column in ("cosine", "log10_magnitude_ratio", "directional_derivative"):
        assert (on_device[column] - on_processor[column]).abs().max() < 1e-4
