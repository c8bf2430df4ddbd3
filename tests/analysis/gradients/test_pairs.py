"""Sums block by block: whatever the block, the numbers are those of whole vectors, and each is taken once."""

from __future__ import annotations

import math
from dataclasses import asdict

import downslope as ds
import pytest
import torch
from downslope.analysis.gradients import deviation as module
from downslope.analysis.gradients import pairs
from downslope.analysis.gradients.deviation import Against, Deviation, compared

COUNTS = ("kept", "flipped", "vanished", "appeared", "both_zero")


def vectors(dtype: torch.dtype = torch.float32, size: int = 1000) -> tuple[torch.Tensor, torch.Tensor]:
    """Two gradients with zeros in one, in the other and in both."""
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.randn(size, generator=generator, dtype=torch.float64).to(dtype) for _ in range(2))
    a[::3], b[::5] = 0, 0
    return a, b


def plain(a: torch.Tensor, b: torch.Tensor) -> dict[str, float]:
    """From whole float64 vectors and masks."""
    a, b = a.double(), b.double()
    return {
        "cosine": float(a @ b / a.norm() / b.norm()),
        "log10_magnitude_ratio": math.log10(a.norm() / b.norm()),
        "directional_derivative": float(-(a @ b) / a.norm()),
        "kept": int(((a > 0) & (b > 0) | (a < 0) & (b < 0)).sum()),
        "flipped": int(((a > 0) & (b < 0) | (a < 0) & (b > 0)).sum()),
        "vanished": int(((a == 0) & (b != 0)).sum()),
        "appeared": int(((a != 0) & (b == 0)).sum()),
        "both_zero": int(((a == 0) & (b == 0)).sum()),
    }


def assert_plain(a: torch.Tensor, b: torch.Tensor) -> None:
    found = ds.deviation(a, b)
    for name, right in plain(a, b).items():
        close = right if name in COUNTS else pytest.approx(right, rel=1e-13, abs=1e-13)
        assert getattr(found, name) == close, name


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("block", [1, 7, 999, 1000, 1001])
def test_in_blocks_as_whole(monkeypatch: pytest.MonkeyPatch, block: int, dtype: torch.dtype) -> None:
    monkeypatch.setattr(pairs, "_BLOCK", block)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    a, b = vectors(dtype)
    assert_plain(a, b)
    assert_plain(b, a)
    assert_plain(a, torch.where(b == 0, 1, b))  # the reference has no zero
    assert_plain(a, a.double() + b.double())  # of two dtypes


def test_a_block_left_out_and_a_mask_left_out_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = vectors()
    monkeypatch.setattr(pairs, "_BLOCK", 300)
    right, copied = pairs._blocks, pairs._copied
    for name, mutant in (
        ("_blocks", lambda values: iter(list(right(values[:-1])))),
        ("_blocks", lambda values: iter(list(right(values))[:-1])),
        ("_copied", lambda block, scratch: copied(block, scratch).abs()),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(pairs, name, mutant)
            with pytest.raises(AssertionError):
                assert_plain(a, b)
    with monkeypatch.context() as patch:
        patch.setattr(pairs.Part, "due", property(lambda self: self.values.numel()))
        with pytest.raises(AssertionError):
            assert_plain(a, b)


def assert_large(sign: torch.Tensor, size: float, parts: int) -> None:
    """Entries of one size and of these signs against equal positive ones, cut into parts: cosine by counting."""
    a, b = (size * sign).chunk(parts), torch.full_like(sign, size).chunk(parts)
    found, cosine = ds.deviation(a, b), float(sign.mean())
    assert found.state == "defined"
    assert found.cosine == pytest.approx(cosine, abs=1e-12)
    assert found.angle_degrees == pytest.approx(math.degrees(math.acos(cosine)), abs=1e-10)
    assert found.log10_magnitude_ratio == pytest.approx(0, abs=1e-12)
    assert found.directional_derivative == pytest.approx(-cosine * size * math.sqrt(len(sign)), rel=1e-12)
    assert (found.kept, found.flipped) == (int((sign > 0).sum()), int((sign < 0).sum()))


@pytest.mark.parametrize("size", [1e153, 1.3e154, 1e200])  # squares: finite, finite until added up, infinite
@pytest.mark.parametrize("parts", [1, 2, 16])
@pytest.mark.parametrize("flipped", [0, 4, 8])
def test_sums_may_overflow_over_blocks_and_over_parts(
    monkeypatch: pytest.MonkeyPatch, flipped: int, parts: int, size: float
) -> None:
    monkeypatch.setattr(pairs, "_BLOCK", 1)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    sign = torch.ones(16, dtype=torch.float64)
    sign[16 - flipped :] = -1  # its inner products over blocks are infinities of both signs
    assert_large(sign, size, parts)


def test_blocks_of_their_own_size_may_overflow() -> None:
    half = torch.ones(pairs._BLOCK * torch.get_num_threads(), dtype=torch.float64)
    assert_large(torch.cat([half, -half]), 1e200, 1)


@pytest.mark.parametrize("parts", [1, 2])
def test_infinities_of_both_signs_are_counted(monkeypatch: pytest.MonkeyPatch, parts: int) -> None:
    monkeypatch.setattr(pairs, "_BLOCK", 2)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    gradient, ones = torch.tensor([math.inf, 1, 1, -math.inf]).chunk(parts), torch.ones(4).chunk(parts)
    assert ds.deviation(gradient, ones).reason == "the gradient is not finite in 2 of 4 entries"
    assert ds.deviation(ones, gradient).reason == "the reference gradient is not finite in 2 of 4 entries"


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_no_sign_underflows(dtype: torch.dtype) -> None:
    tiny = torch.tensor([1e-40, -1e-40, 1e-40, 0.0], dtype=dtype)
    found = ds.deviation(tiny, tiny * torch.tensor([1, -1, 0, 1], dtype=dtype))
    assert (found.kept, found.flipped, found.appeared, found.both_zero) == (1, 1, 1, 1)
    assert found.cosine == pytest.approx(0, abs=1e-15)
    small = ds.deviation(torch.tensor([1e-320, 1.0], dtype=torch.float64), torch.ones(2))
    assert small.kept == 2  # 1e-320 is 0 in float32


@pytest.mark.parametrize("sign", [1, -1])
def test_on_both_sides_of_the_change_of_formula_the_angle_is_exact(sign: int) -> None:
    """(cos t, sin t) against (+-1, 0), around the cosine at which the chord takes over from the arc cosine."""
    edge = math.acos(module._NARROW)
    for angle in (edge * (1 + step) for step in (-1e-3, -1e-9, 1e-9, 1e-3)):
        a, b = [math.cos(angle), math.sin(angle)], [float(sign), 0.0]
        expected = math.degrees(math.atan2(a[1], a[0]))
        found = ds.deviation(a, b).angle_degrees
        assert found == pytest.approx(expected if sign > 0 else 180 - expected, rel=1e-14)


def test_an_arc_cosine_near_1_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = [1.0, 1e-9], [1.0, 0.0]
    assert ds.deviation(a, b).angle_degrees == pytest.approx(math.degrees(1e-9), rel=1e-14)
    monkeypatch.setattr(module, "_NARROW", 2.0)
    assert ds.deviation(a, b).angle_degrees != pytest.approx(math.degrees(1e-9), rel=0.1)


def test_equal_gradients_have_equal_lengths_wherever_they_lie_in_memory() -> None:
    held = torch.randn(400_001, generator=torch.Generator().manual_seed(0))
    for first in (held[1:], held[1:].double(), held[1:].clone()):
        found = ds.deviation(first, held[1:])
        assert (found.cosine, found.angle_degrees, found.log10_magnitude_ratio) == (1, 0, 0)


def same(one: Deviation, other: Deviation) -> None:
    theirs = asdict(other)
    for name, number in asdict(one).items():
        assert number == (pytest.approx(theirs[name], rel=1e-14) if isinstance(number, float) else theirs[name])


def test_against_one_reference_many_gradients_are_what_each_is_alone() -> None:
    a, b = vectors(size=30)
    shapes = (slice(0, 12), slice(12, 20), slice(20, 30), slice(0, 0))
    one, other = [a[part].reshape(2, -1) for part in shapes], [2 * b[part].reshape(2, -1) for part in shapes]
    reference = [b[part].reshape(2, -1).double() for part in shapes]
    against = Against([*reference, None, None, reference[0]])
    for gradient in (one, other):
        found = against.pairs([*gradient, None, gradient[0], None])
        assert found[4] is None
        for where in ([0], [1, 2], [3], [5], [6], [0, 1, 2, 5, 6]):
            left = [[*gradient, None, gradient[0], None][i] for i in where]
            right = [[*reference, None, None, reference[0]][i] for i in where]
            same(compared([found[i] for i in where]), ds.deviation(left, right))


def test_entries_are_read_once_for_their_products_and_once_for_their_signs(monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = vectors()
    read, right = [], pairs._blocks
    monkeypatch.setattr(pairs, "_blocks", lambda values: read.append(values.dtype) or right(values))
    pair = Against([b]).pairs([a])
    first = compared(pair)
    assert len(read) == 5  # the reference alone; products of both; signs of both
    assert compared(pair) == first
    assert len(read) == 5
