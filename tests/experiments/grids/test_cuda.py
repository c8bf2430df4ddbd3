"""On a CUDA device: the same streams of random numbers, results that agree with the CPU's but for rounding."""

import pytest
import torch
from downslope.experiments.grids.grid import grid
from downslope.experiments.grids.running.check import compared
from downslope.experiments.grids.running.run import How, complete

pytestmark = [pytest.mark.cuda, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")]


@pytest.mark.parametrize("name", ["suc-ones", "residual-digits"])
def test_a_grid_on_the_device_agrees_with_the_cpu(name, tmp_path):
    small = grid(name).quick().varied(epochs=1, rules=["tied", "constant"], seeds=1)
    here, there = (complete(small, tmp_path / device, How(device=device)) for device in ("cpu", "cuda"))
    for one, other in zip(here.records, there.records, strict=True):
        assert one.curve["train_loss"] == pytest.approx(other.curve["train_loss"], rel=1e-3)
        assert compared(one, other).difference < 0.1


def test_a_grid_on_the_device_can_be_repeated(tmp_path):
    small = grid("suc-ones").quick().varied(epochs=1, rules=["full_jam"], seeds=2)
    one, other = (complete(small, tmp_path / str(k), How(device="cuda")) for k in range(2))
    assert [each.curve for each in one.records] == [each.curve for each in other.records]
