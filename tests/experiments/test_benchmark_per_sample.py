"""Both sides of the benchmark of per-sample angles return the same thing."""

from __future__ import annotations

import pytest
import torch
from downslope.experiments.benchmarks import per_sample


@pytest.mark.parametrize("problem", [per_sample.mlp, per_sample.images])
def test_ours_and_the_peers_angles_are_the_same(problem: object) -> None:
    one = problem(samples=12)
    ours, whole, parts = one.ours(), one.peers(12), one.peers(8)
    assert list(ours) == [*(name for name, child in one.native.named_children() if hasattr(child, "weight")), "whole"]
    assert ours.keys() == whole.keys() == parts.keys()
    for layer, angles in ours.items():
        assert angles.shape == (12,)
        torch.testing.assert_close(angles.float(), whole[layer], atol=0.05, rtol=1e-3)  # acos in float32 near 0
        torch.testing.assert_close(parts[layer], whole[layer], atol=0.05, rtol=1e-3)
    assert ours["whole"].min() > 1
    assert one.floating_point > 0
