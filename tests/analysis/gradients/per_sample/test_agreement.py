"""Each number is that of a loop over the samples, in float64; a wrong formula is caught by this comparison."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from downslope.analysis.gradients.per_sample import along, comparison
from downslope.analysis.gradients.per_sample.maps import map as maps
from downslope.analysis.gradients.per_sample.maps import products, units
from downslope.analysis.gradients.per_sample.maps.graph import uses
from downslope.analysis.gradients.per_sample.measurement import per_sample

Differences = Callable[[Any], pd.DataFrame]

DEGREES = 1e-10


def agree(apart: pd.DataFrame) -> None:
    assert len(apart)
    assert apart.angle_degrees.max() < DEGREES
    assert apart[["cosine", "log10_magnitude_ratio", "directional_derivative"]].max(axis=None) < 1e-12


def test_each_row_is_that_of_a_loop_over_the_samples(case: Any, differences: Differences) -> None:
    agree(differences(case))


def dropped_bias(monkeypatch: pytest.MonkeyPatch) -> None:
    right = units.products
    monkeypatch.setattr(units, "products", lambda *args, bias, one_hot: right(*args, bias=False, one_hot=one_hot))


def wrong_stride(monkeypatch: pytest.MonkeyPatch) -> None:
    right = maps.windows

    def wrong(given: Any, kernel: Any, stride: Any, padding: Any, dilation: Any) -> Any:
        return right(given.roll(1, -1), kernel, stride, padding, dilation)

    monkeypatch.setattr(maps, "windows", wrong)


def dropped_bias_along(monkeypatch: pytest.MonkeyPatch) -> None:
    right = along.products
    monkeypatch.setattr(along, "products", lambda *args, bias: right(*args, bias=False))


def wrong_stride_along(monkeypatch: pytest.MonkeyPatch) -> None:
    right = along.windows
    monkeypatch.setattr(along, "windows", lambda given, *how, one: right(given.roll(1, -1), *how, one=one))


def dropped_one_along(monkeypatch: pytest.MonkeyPatch) -> None:
    right = along.windows
    monkeypatch.setattr(along, "windows", lambda given, *how, one: right(given, *how, one=False))


def part_of_the_rest_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    right = products._ratio
    monkeypatch.setattr(products, "_ratio", lambda *args: 0.9 * right(*args))


def other_samples_along(monkeypatch: pytest.MonkeyPatch) -> None:
    right = along._features
    monkeypatch.setattr(along, "_features", lambda layer, x, one: right(layer, x, one).roll(1, 0))


def no_padding_index(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(maps.Rows, "inputs", lambda self: self.node._saved_indices.reshape(-1, 1))


def without_cross_terms(monkeypatch: pytest.MonkeyPatch) -> None:
    right = products._gram
    monkeypatch.setattr(products, "_gram", lambda *args: right(*args).diagonal(dim1=-2, dim2=-1).diag_embed())


def steps_out_of_order(monkeypatch: pytest.MonkeyPatch) -> None:
    right = units.Call.features

    def wrong(self: Any, here: slice) -> Any:
        return right(self, here).roll(1, 0)

    monkeypatch.setattr(units.Call, "features", wrong)


def squares_without_the_slopes(monkeypatch: pytest.MonkeyPatch) -> None:
    right = products.together

    def wrong(parts: Any) -> Any:
        found = right(parts)
        return products.Products(found.square, found.slope, sum(part.rest for part in parts))

    monkeypatch.setattr(comparison, "together", wrong)


@pytest.mark.parametrize(
    ("mutant", "name"),
    [
        (dropped_bias, "mlp, no chain"),
        (dropped_bias, "lenet, no chain"),
        (dropped_bias, "recurrent"),
        (dropped_bias_along, "mlp"),
        (dropped_bias_along, "lenet"),
        (wrong_stride_along, "lenet"),
        (dropped_one_along, "lenet"),
        (part_of_the_rest_kept, "lenet"),
        (other_samples_along, "mlp"),
        (wrong_stride, "lenet, no chain"),
        (wrong_stride, "folded"),
        (no_padding_index, "tokens"),
        (without_cross_terms, "tokens"),
        (without_cross_terms, "tokens, time first"),
        (steps_out_of_order, "mlp, no chain"),
        (squares_without_the_slopes, "mlp, no chain"),
        (squares_without_the_slopes, "mlp"),
        (squares_without_the_slopes, "shared"),
    ],
)
def test_a_wrong_formula_is_caught(
    mutant: Callable[[pytest.MonkeyPatch], None],
    name: str,
    named: Callable[[str], Any],
    differences: Differences,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    agree(differences(named(name)))
    mutant(monkeypatch)
    with pytest.raises(AssertionError):
        agree(differences(named(name)))


def test_every_form_of_the_product_is_tried_and_they_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(3, 2, 4, 5, dtype=torch.float64, generator=generator)
    d, e = (torch.randn(*s, 3, 2, 4, 6, dtype=torch.float64, generator=generator) for s in ((), (7,)))
    found = []
    for pairs in (True, False):
        monkeypatch.setattr(products, "prefers_pairs", lambda *_, pairs=pairs: pairs)
        found.append(products.products(x, d, e, bias=True))
    whole, under = (torch.cat([torch.einsum("...to,...ti->...oi", s, x), s.sum(-2)[..., None]], -1) for s in (d, e))
    for each in found:
        torch.testing.assert_close(each.square, whole.square().sum((1, 2, 3)))
        torch.testing.assert_close(each.surrogate_square, under.square().sum((2, 3, 4)))
        torch.testing.assert_close(each.slope * each.square, (whole * under).sum((2, 3, 4)))


def test_formed_of_float32_they_are_as_accurate_as_their_rounding() -> None:
    """Against float64: far, near and equal error signals, tiny ones, and a rest along the reference."""
    generator = torch.Generator().manual_seed(0)
    x, d, other = (torch.rand(5, 1, 40, width, generator=generator) + 0.5 for width in (9, 4, 4))

    def formed(x: torch.Tensor, d: torch.Tensor, e: torch.Tensor) -> products.Products:
        return products.formed(x, torch.cat([d[None], e]).permute(1, 2, 0, 4, 3).contiguous(), bias=True)

    e = torch.stack([other, d + 1e-4 * other, 3 * d, d.clone(), 1e-3 * other - 2 * d, d * x[..., :1]])
    for scale, degrees in ((1.0, 1e-6), (1e-25, 1e-4)):  # the square of the second is below float32's range
        found = formed(x, scale * d, scale * e)
        exact = formed(x.double(), (scale * d).double(), (scale * e).double())
        torch.testing.assert_close(found.square, exact.square, rtol=1e-5, atol=0)
        assert (found.angle_degrees - exact.angle_degrees).abs().max() < degrees
        assert (found.angle_degrees[3] == 0).all()
    near = formed(x, d, e[1:2]).angle_degrees
    torch.testing.assert_close(near, formed(x.double(), d.double(), e[1:2].double()).angle_degrees)
    assert 1e-5 < near.min() < near.max() < 1e-3


@pytest.mark.parametrize("name", ["lenet, draws", "mlp"])
def test_parts_of_any_size_give_the_same(
    name: str, named: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The further down a chain, the fewer samples at once; how many does not matter."""
    case, sizes, right = named(name), [], along._compared
    monkeypatch.setattr(along, "_compared", lambda layer, x, *rest: sizes.append(len(x)) or right(layer, x, *rest))
    tables = []
    for entries in (10**6, 170):
        monkeypatch.setattr(along, "_ENTRIES", entries)
        tables.append(per_sample(case.model, F.cross_entropy, (case.x, case.y), list(case.surrogates), draws=2, seed=3))
    assert max(sizes) == len(case.x)
    assert len(set(sizes)) > 1
    pd.testing.assert_frame_equal(*tables, rtol=1e-11, atol=1e-13)


def test_patches_are_those_of_unfold() -> None:
    x = torch.randn(3, 2, 9, 11, generator=torch.Generator().manual_seed(0))
    for kernel, stride, padding, dilation in (((3, 5), (1, 1), (2, 0), (1, 1)), ((2, 3), (2, 3), (1, 2), (3, 2))):
        wanted = F.unfold(x, kernel, dilation, padding, stride)
        assert torch.equal(maps.windows(x, kernel, stride, padding, dilation), wanted)
        ones = torch.ones(3, 1, wanted.shape[-1])
        assert torch.equal(maps.windows(x, kernel, stride, padding, dilation, one=True), torch.cat([wanted, ones], 1))


def test_the_shares_of_the_samples_add_up_to_the_gradient_of_the_batch(case: Any) -> None:
    """Each recognised node's features and error signals, summed over samples and positions, give torch's gradient."""
    model, x = case.model, case.x if isinstance(case.x, tuple) else (case.x,)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    loss = F.cross_entropy(model(*x), case.y)
    found = uses([loss.grad_fn], trained, len(case.y))
    known = [
        parameter for parameter in trained if found.of(parameter) and not found.maps[found.of(parameter)[0][0]].one_hot
    ]
    assert known
    for parameter in known:
        total = 0.0
        for place, as_bias in found.of(parameter):
            each = found.maps[place]
            (error,) = torch.autograd.grad(loss, [each.edge], retain_graph=True)
            signals = each.signals(each.rows(error)[None])
            if as_bias:
                total += signals.sum((0, 2)).flatten()
            else:
                total += torch.einsum("bgto,bgti->goi", signals, each.features(each.given()[None]))
        (wanted,) = torch.autograd.grad(loss, [parameter], retain_graph=True)
        if parameter.ndim == 2 and each.key == ("Product", False):  # x @ W
            total = total.mT
        torch.testing.assert_close(total.reshape(wanted.shape), wanted)


def test_in_float32_angles_are_those_of_float64_to_the_rounding_of_the_signals(named: Callable[[str], Any]) -> None:
    for name in ("mlp", "lenet", "recurrent", "residual"):
        angles = {}
        for dtype in (torch.float64, torch.float32):
            case = named(name)
            case.model.to(dtype)
            table = per_sample(case.model, F.cross_entropy, (case.x.to(dtype), case.y), ["triangle", "tied"])
            angles[dtype] = table.angle_degrees
        assert (angles[torch.float32] - angles[torch.float64]).abs().max() < 1e-3
        assert angles[torch.float32].max() > 1


def test_equal_gradients_have_the_angle_zero(named: Callable[[str], Any]) -> None:
    for name, last in (("mlp", "4"), ("lenet", "8"), ("recurrent", "out"), ("residual", "head"), ("tokens", "out")):
        case = named(name)
        table = per_sample(case.model, F.cross_entropy, (case.x, case.y), ["triangle", "constant"])
        assert (table[table.layer == last].angle_degrees == 0).all()
        assert (table[table.layer == last].log10_magnitude_ratio == 0).all()
