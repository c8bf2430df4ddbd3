"""The factor in place is the formula's own evaluation, bit for bit at the ends of its window."""

from __future__ import annotations

import pytest
import sympy as sp
import torch
from downslope import ACTIVATIONS, SURROGATES, u
from downslope.analysis.surrogates.formula import evaluation
from downslope.analysis.surrogates.formula.numerics import window
from downslope.analysis.surrogates.formula.steps.writer import noise_of
from downslope.experiments.networks import hidden
from downslope.experiments.stacked.backward import factor
from downslope.experiments.stacked.layers import Layer
from torch import Tensor, nn

DTYPES = pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["float64", "float32"])


def points(dtype: torch.dtype) -> Tensor:
    """Numbers around every end of a window in the catalogue, and others."""
    ends = torch.tensor([0, 0.5, 1, 5, 6, 0.1, 1 / 3], dtype=dtype)
    ends = torch.cat([ends, -ends])
    far = torch.tensor(torch.inf, dtype=dtype)
    around = [ends, torch.nextafter(ends, far), torch.nextafter(ends, -far), torch.linspace(-8, 8, 501, dtype=dtype)]
    return torch.cat(around).view(1, 1, 1, -1)


def apart(formula: sp.Expr, found: window.Window, dtype: torch.dtype) -> float:
    """The largest difference from the evaluation of the whole formula, at the same draws."""
    where = points(dtype)
    generator = torch.Generator().manual_seed(0)
    noise = [torch.rand(where.shape, generator=generator, dtype=torch.float64) for _ in noise_of(formula)]
    upstream = torch.randn(where.shape, generator=generator, dtype=dtype)
    right = upstream * evaluation._value(formula, where, noise)
    given = [each.to(dtype) for each in noise] if found.bare else noise
    got = found.times(upstream.clone(), where, given)
    assert torch.equal(got == 0, right == 0)
    return float(((got - right).abs() / right.abs().clamp(min=1e-30)).max())


@DTYPES
@pytest.mark.parametrize("name", SURROGATES)
def test_every_surrogate(name: str, dtype: torch.dtype) -> None:
    formula = SURROGATES[name].formula
    assert apart(formula, window.split(formula), dtype) <= 8 * torch.finfo(dtype).eps


@DTYPES
@pytest.mark.parametrize("name", [name for name in ACTIVATIONS if ACTIVATIONS[name].tied.formula != 0])
def test_every_derivative(name: str, dtype: torch.dtype) -> None:
    formula = ACTIVATIONS[name].tied.formula
    assert apart(formula, window.split(formula), dtype) <= 8 * torch.finfo(dtype).eps


@pytest.mark.parametrize(
    "formula",
    [
        sp.Piecewise((1, (u >= sp.Rational(1, 3)) & (u < 5)), (0, True)),
        sp.Piecewise((sp.exp(u), sp.Abs(u - sp.Rational(1, 10)) < sp.Rational(1, 3)), (0, True)),
        sp.Piecewise((0, u < sp.Rational(1, 10)), (2, True)),
    ],
)
@DTYPES
def test_ends_that_no_float_hits(formula: sp.Expr, dtype: torch.dtype) -> None:
    found = window.split(formula)
    assert found.low is not None
    assert apart(formula, found, dtype) <= 8 * torch.finfo(dtype).eps


def test_the_windows_of_the_paper_s_rules_are_found() -> None:
    for name in ("rectangle", "triangle", "positive_jam", "rectangular_jam", "clipped", "relu_derivative"):
        assert window.split(SURROGATES[name].formula).low is not None


@pytest.mark.parametrize("name", ["rectangle", "relu_derivative", "positive_jam"])
def test_an_end_on_the_wrong_side_is_caught(name: str) -> None:
    right = window.split(SURROGATES[name].formula)
    wrong = window.Window(right.inner, right.low, right.high, not right.low_in, not right.high_in)
    with pytest.raises(AssertionError):
        assert apart(SURROGATES[name].formula, wrong, torch.float32) <= 1e-6


@DTYPES
@pytest.mark.parametrize("name", [name for name in hidden.HIDDEN if not hidden.flat(name)])
def test_values_and_native_derivatives_are_torch_s(name: str, dtype: torch.dtype) -> None:
    module = hidden.factory(name)()
    where = points(dtype).requires_grad_()
    value = module(where)
    upstream = torch.randn(where.shape, dtype=dtype, generator=torch.Generator().manual_seed(0))
    (right,) = torch.autograd.grad(value, where, upstream)
    held = where.detach()
    layer = Layer("0", 1, 1, True, module, ruled=True)
    found = layer.value(held, torch.empty_like(held))
    limit = 8 * torch.finfo(dtype).eps
    torch.testing.assert_close(found, value.detach(), rtol=limit, atol=0)
    torch.testing.assert_close(factor.native(module)(upstream.clone(), held, found, []), right, rtol=limit, atol=limit)


def test_the_faster_tanh_keeps_its_tails_and_small_values() -> None:
    where = torch.tensor([-torch.inf, -1e30, -50.0, -1e-20, 0.0, 1e-6, 15.0, 50.0, 1e30, torch.inf, torch.nan])
    found = Layer("0", 1, 1, True, nn.Tanh(), ruled=True).value(where, torch.empty_like(where))
    torch.testing.assert_close(found, torch.tanh(where), rtol=5e-7, atol=0, equal_nan=True)
