from __future__ import annotations

import downslope as ds
import pytest
import torch

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]


@pytest.mark.parametrize("name", ["tanh", "relu", "convolution", "residual", "in place"])
@pytest.mark.parametrize(("dtype", "accuracy"), [(torch.float64, 1e-9), (torch.float32, 1e-3)])
def test_margins_on_cuda_are_those_on_the_cpu(case, name, dtype, accuracy):
    model, loss, (x, y) = case(name, dtype=dtype)
    here = ds.descent_margin(model, loss, (x, y))
    there = ds.descent_margin(model.cuda(), loss, (x.cuda(), y.cuda()))
    for a, b in zip(here, there, strict=True):
        assert b.kappa_star == pytest.approx(a.kappa_star, rel=accuracy)
        assert b.contributions.is_cuda
        ours, theirs = (each.spread(ds.SURROGATES["constant"]) for each in (a, b))
        assert theirs.inner == pytest.approx(ours.inner, rel=accuracy, abs=accuracy * a.norm_squared)
        assert (theirs.standing, theirs.itself) == (ours.standing, ours.itself)
        beyond = b.replay(1.01 * b.kappa_star)
        assert beyond.inner < 0
        assert beyond.rise()[1] > beyond.loss


def test_a_certificate_of_a_model_on_cuda_is_that_on_the_cpu(case):
    model, loss, (x, y) = case("convolution", samples=3)
    here = ds.certify(model, loss, (x, y), tolerance=0.05)
    there = ds.certify(model.cuda(), loss, (x.cuda(), y.cuda()), tolerance=0.05)
    assert (here.certified, here.attacked) == (there.certified, there.attacked)
    assert there.replay().inner == pytest.approx(here.replay().inner, rel=1e-6)
