"""The average over tiles of 2 x 2 is torch's to the last bit, and so is its way back."""

from __future__ import annotations

import pytest
import torch
from downslope.analysis.gradients.chains import stages
from torch import nn


def images(dtype: torch.dtype, *shape: int) -> torch.Tensor:
    x = torch.randn(5, *shape, dtype=dtype, generator=torch.Generator().manual_seed(0))
    x.view(-1)[:4] = torch.tensor([float("inf"), float("nan"), 1e30, -1e30], dtype=dtype)
    return x


GIVEN = {
    "tiles": images(torch.float32, 3, 8, 6),
    "tiles in float64": images(torch.float64, 2, 4, 4),
    "an odd row": images(torch.float32, 2, 7, 4),
    "channels last": images(torch.float32, 3, 8, 6).to(memory_format=torch.channels_last),
}
POOLS = {
    "2 x 2": nn.AvgPool2d(2),
    "overlapping": nn.AvgPool2d(2, stride=1),
    "3 x 2": nn.AvgPool2d((3, 2)),
    "padded": nn.AvgPool2d(2, padding=1),
    "ceiling": nn.AvgPool2d(2, ceil_mode=True),
    "another divisor": nn.AvgPool2d(2, divisor_override=3),
    "maximum": nn.MaxPool2d(2),
}


@pytest.mark.parametrize("name", GIVEN)
@pytest.mark.parametrize("pool", POOLS)
def test_a_pooling_is_torchs_to_the_last_bit_forward_and_back(name: str, pool: str) -> None:
    x, module = GIVEN[name], POOLS[pool]
    stage = stages.Pooling("pool", module)
    leaf = x.clone().requires_grad_()
    wanted = module(leaf)
    torch.testing.assert_close(stage.forward(x), wanted.detach(), rtol=0, atol=0, equal_nan=True)
    error = torch.randn(5, 2, *wanted.shape[1:], dtype=x.dtype, generator=torch.Generator().manual_seed(1))
    back = stage.back(error, x)
    assert back.shape == (5, 2, *x.shape[1:])
    for k in range(2):
        (each,) = torch.autograd.grad(wanted, leaf, error[:, k], retain_graph=True)
        torch.testing.assert_close(back[:, k], each, rtol=1e-6, atol=1e-6)


def test_tiles_take_the_fast_way_and_a_sum_in_another_order_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    x, stage = GIVEN["tiles"][1:], stages.Pooling("pool", POOLS["2 x 2"])
    monkeypatch.setattr(nn.AvgPool2d, "forward", lambda *_: pytest.fail("the module was asked"))
    found = stage.forward(x)
    other = stage.forward(x.flip(2)).flip(2)  # c + d + a + b
    torch.testing.assert_close(found, other)
    assert not torch.equal(found, other)
