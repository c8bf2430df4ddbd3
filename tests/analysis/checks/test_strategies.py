"""The public strategies give what they promise."""

from __future__ import annotations

import downslope as ds
import sympy as sp
import torch
from hypothesis import find, given, settings
from hypothesis import strategies as st

some = settings(max_examples=60)


@some
@given(st.data(), ds.strategies.dtypes(), ds.strategies.shapes(max_dimensions=3, max_side=3))
def test_preactivations_are_finite_and_of_the_shape_asked_for(data, dtype: torch.dtype, shape: tuple[int, ...]) -> None:
    u = data.draw(ds.strategies.preactivations(dtype, shape=shape))
    g = data.draw(ds.strategies.upstream_gradients(dtype, shape=shape))
    for drawn in (u, g):
        assert drawn.dtype == dtype
        assert drawn.shape == shape
        assert bool(drawn.isfinite().all())


def test_awkward_numbers_are_among_them() -> None:
    numbers = ds.strategies.numbers(torch.float32)
    tiny, top = torch.finfo(torch.float32).tiny, torch.finfo(torch.float32).max
    assert str(find(numbers, lambda x: x == 0 and str(x) == "-0.0")) == "-0.0"
    assert 0 < find(numbers, lambda x: 0 < x < tiny) < tiny
    assert find(numbers, lambda x: x == top) == top


@some
@given(ds.strategies.layouts(), ds.strategies.preactivations(torch.float64, shape=(2, 3)))
def test_a_layout_holds_the_same_values(layout: ds.strategies.Layout, u: torch.Tensor) -> None:
    assert torch.equal(layout.lay(u), u)


def test_layouts_differ_in_memory() -> None:
    u = torch.arange(6.0).reshape(2, 3)
    laid = {layout.name: layout.lay(u) for layout in ds.strategies.LAYOUTS}
    assert laid["transposed"].stride() != u.stride() != laid["strided"].stride()
    assert laid["offset"].storage_offset() > 0


POINTS = torch.linspace(-10, 10, 4001, dtype=torch.float64)


@some
@given(ds.strategies.formulas("strict"))
def test_strict_formulas_are_positive(formula: sp.Expr) -> None:
    # 30 digits: what underflows in float64 is still positive here
    assert all(formula.subs(ds.u, sp.Rational(x)).evalf(30) > 0 for x in (-10, -1, sp.Rational(-1, 3), 0, 1, 10))


@some
@given(ds.strategies.formulas("weak"))
def test_weak_formulas_are_nowhere_negative_and_somewhere_zero(formula: sp.Expr) -> None:
    psi = sp.lambdify(ds.u, formula, "numpy")(POINTS.numpy())
    assert psi.min() == 0
    assert (psi == 0).sum() > 10


@some
@given(ds.strategies.formulas("indefinite"))
def test_indefinite_formulas_take_both_signs(formula: sp.Expr) -> None:
    psi = sp.lambdify(ds.u, formula, "numpy")(POINTS.numpy())
    assert psi.min() < 0 < psi.max()


@some
@given(ds.strategies.networks(inputs=2, outputs=3), ds.strategies.batches(inputs=2, outputs=3))
def test_networks_and_batches_fit(network: torch.nn.Module, batch: tuple[torch.Tensor, torch.Tensor]) -> None:
    x, y = batch
    assert network(x).shape == y.shape
    assert bool(network(x).isfinite().all())
