"""Fast steps back of `untie`: torch's own where a surrogate is tied, a cut-off where it is zero outside a window."""

from __future__ import annotations

import downslope as ds
import pytest
import torch
from downslope.analysis.surrogates.formula.evaluation import product
from downslope.analysis.surrogates.formula.numerics import window
from downslope.analysis.surrogates.lookup import surrogate as find_surrogate
from torch import nn

WINDOWED = ["rectangle", "clipped", "relu_derivative", "rectangle(height=0.3)", "dspike"]
SHAPE = (40, 1000)  # large enough for a cut-off of what is no number


def preactivations() -> torch.Tensor:
    return torch.randn(SHAPE, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(("name", "module"), [("logistic", nn.Sigmoid()), ("tanh", nn.Tanh())])
def test_tied_has_the_bits_of_the_native_gradient(name: str, module: nn.Module) -> None:
    u = preactivations()
    u.view(-1)[:6] = torch.tensor([torch.nan, torch.inf, -torch.inf, 30, -200, 0])
    found, native = u.clone().requires_grad_(), u.clone().requires_grad_()
    upstream = torch.randn_like(u)
    module(native).backward(upstream)
    with ds.untie(module, {name: "tied"}):
        module(found).backward(upstream)
    assert torch.equal(found.grad.nan_to_num(7), native.grad.nan_to_num(7))
    assert found.grad.view(-1)[0].isnan()
    formula = ds.ACTIVATIONS[name].tied(u) * upstream
    torch.testing.assert_close(found.grad, formula, rtol=1e-5, atol=1e-6, equal_nan=True)


@pytest.mark.parametrize("name", WINDOWED)
def test_a_window_has_the_values_of_the_formula(name: str) -> None:
    u, upstream, surrogate = preactivations(), preactivations().flip(0), find_surrogate(name)
    end = surrogate.formula.args[0][1].rhs if name != "relu_derivative" else 0
    u.view(-1)[:3] = torch.nextafter(torch.tensor(float(end)), torch.tensor([-9.0, float(end), 9.0]))
    kept = upstream.clone()
    with torch.no_grad():
        assert torch.equal(product(surrogate.formula, u, upstream), surrogate(u) * upstream)
        assert isinstance(window.multiplier(surrogate.formula, u.dtype), window._Cut)
    assert torch.equal(upstream, kept)


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
@pytest.mark.parametrize("name", WINDOWED)
def test_a_window_hides_no_number_that_is_not_finite(name: str, bad: float, monkeypatch: pytest.MonkeyPatch) -> None:
    surrogate = find_surrogate(name)
    formula = surrogate.formula
    for where in ("u", "upstream"):
        u, upstream = preactivations(), preactivations().flip(0)
        u[0, 0] = -5.0  # outside: psi is 0 there
        (u if where == "u" else upstream)[0, 0] = bad
        right = surrogate(u) * upstream
        with torch.no_grad():
            found = product(formula, u, upstream)
            torch.testing.assert_close(found, right, rtol=0, atol=0, equal_nan=True)
            with monkeypatch.context() as patch:  # without the look at the inner product it would
                patch.setattr(window.math, "isfinite", lambda _: True)
                blind = product(formula, u, upstream)
        if where == "upstream":
            assert not torch.equal(blind.isnan(), right.isnan())
