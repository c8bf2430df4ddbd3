"""The gradient of the outputs: as autograd has it, at outputs of any size."""

from __future__ import annotations

import pytest
import torch
from downslope.experiments.networks import network
from downslope.experiments.stacked import losses
from torch import Tensor

SIZES = pytest.mark.parametrize("size", [1.0, 1e3, 1e20])


def both(name: str, size: float, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    """The fast gradient and autograd's, for outputs of this size."""
    entry = network(name)
    generator = torch.Generator().manual_seed(0)
    units = 10 if entry.loss == "cross-entropy" else 1
    outputs = size * torch.randn(3, 2, units, 8, generator=generator, dtype=dtype)
    targets = torch.randint(0, max(units, 2), (3, 8), generator=generator)
    fast = losses.Gradient(entry)
    slow = losses.Gradient(entry)
    slow._direct = None
    right = slow(outputs.clone(), targets)
    return fast(outputs.clone(), targets), right


@SIZES
@pytest.mark.parametrize("name", ["mlp-digits", "unit-ones"])
def test_the_fast_forms_are_autograd_s(name: str, size: float) -> None:
    fast, right = both(name, size)
    assert bool(fast.isfinite().all())
    torch.testing.assert_close(fast, right, rtol=1e-5, atol=1e-6)


def test_a_softmax_without_the_largest_output_subtracted_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    def unsafe(outputs: Tensor, targets: Tensor) -> Tensor:
        shares = outputs.exp() / outputs.exp().sum(dim=2, keepdim=True)
        chosen = targets[:, None, None].expand(*shares.shape[:2], 1, -1)
        return shares.scatter_add_(2, chosen, torch.full_like(shares[:, :, :1], -1.0))

    monkeypatch.setitem(losses._DIRECT, "cross-entropy", unsafe)
    fast, right = both("mlp-digits", 1.0)
    torch.testing.assert_close(fast, right, rtol=1e-5, atol=1e-6)
    assert not bool(both("mlp-digits", 1e3)[0].isfinite().all())


def test_sums_are_those_of_each_run() -> None:
    entry = network("mlp-digits")
    outputs, targets = torch.randn(4, 10, 30), torch.randint(0, 10, (30,))
    found, right = losses.sums(entry, outputs, targets)
    for run in range(4):
        assert found[run] == pytest.approx(float(entry.criterion(outputs[run].T.double(), targets, "sum")), rel=1e-6)
        assert int(right[run]) == entry.right(outputs[run].T, targets)
