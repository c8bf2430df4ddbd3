"""Direction, magnitude and signs of two gradients, against exact arithmetic and high precision."""

from __future__ import annotations

import math
from fractions import Fraction

import downslope as ds
import mpmath
import numpy as np
import pytest
import torch
from downslope.analysis.errors import Refused
from downslope.analysis.gradients import deviation as module
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

finite = st.floats(allow_nan=False, allow_infinity=False)
tame = st.floats(-1e6, 1e6, allow_subnormal=False).map(lambda value: 0.0 if abs(value) < 1e-6 else value)
shapes = hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4)


@st.composite
def pairs(draw: st.DrawFn, elements: st.SearchStrategy[float] = tame) -> tuple[np.ndarray, np.ndarray]:
    shape = draw(shapes)
    array = hnp.arrays(np.float64, shape, elements=elements)
    return draw(array), draw(array)


def exactly(a: np.ndarray, b: np.ndarray) -> dict[str, float]:
    """The numbers from their definitions, with 400 digits."""
    with mpmath.workdps(400):
        x, y = ([mpmath.mpf(float(value)) for value in side.ravel()] for side in (a, b))
        inner, norm, reference = mpmath.fdot(x, y), mpmath.norm(x), mpmath.norm(y)
        cosine = inner / norm / reference
        return {
            "cosine": float(cosine),
            "angle_degrees": float(mpmath.degrees(mpmath.acos(max(-1, min(1, cosine))))),
            "log10_magnitude_ratio": float(mpmath.log10(norm / reference)),
            "directional_derivative": float(-inner / norm),
        }


def assert_exact(a: np.ndarray, b: np.ndarray) -> None:
    """Each number to 1e-13 of its scale."""
    found, expected = ds.deviation(a, b), exactly(a, b)
    assert found.state == "defined"
    assert found.cosine == pytest.approx(expected["cosine"], abs=1e-13)
    assert found.angle_degrees == pytest.approx(expected["angle_degrees"], rel=1e-12, abs=1e-13)
    assert found.log10_magnitude_ratio == pytest.approx(expected["log10_magnitude_ratio"], abs=1e-12)
    norm = abs(expected["directional_derivative"] / expected["cosine"]) if expected["cosine"] else math.inf
    assert found.directional_derivative == pytest.approx(expected["directional_derivative"], abs=1e-13 * norm)


@given(pairs())
def test_against_400_digits(pair: tuple[np.ndarray, np.ndarray]) -> None:
    assume(all(side.any() for side in pair))
    assert_exact(*pair)


@given(pairs(finite))
def test_nothing_overflows_or_underflows(pair: tuple[np.ndarray, np.ndarray]) -> None:
    assume(all(side.any() for side in pair))
    found, expected = ds.deviation(*pair), exactly(*pair)
    assert found.cosine == pytest.approx(expected["cosine"], abs=1e-13)
    assert found.log10_magnitude_ratio == pytest.approx(expected["log10_magnitude_ratio"], abs=1e-11)


@pytest.mark.parametrize("scale", [5e-324, 1e-300, 1e-10, 1.0, 1e300])
@pytest.mark.parametrize("epsilon", [0.0, 1e-15, 1e-9, 1e-3, 1.0])
def test_small_and_straight_angles(epsilon: float, scale: float) -> None:
    """(1, eps) against (1, 0): atan(eps) exactly; against (-1, 0) its supplement. acos of a rounded cosine gives 0."""
    a, b = np.array([1.0, epsilon]), np.array([scale, 0.0])
    expected = math.degrees(math.atan(epsilon))
    assert ds.deviation(a, b).angle_degrees == pytest.approx(expected, rel=1e-14, abs=0)
    assert 180 - ds.deviation(a, -b).angle_degrees == pytest.approx(expected, abs=3e-14)


@given(pairs(), st.floats(1e-150, 1e150), st.floats(1e-150, 1e150))
def test_the_direction_has_no_scale(pair: tuple[np.ndarray, np.ndarray], first: float, second: float) -> None:
    a, b = pair
    assume(a.any() and b.any())
    found, scaled = ds.deviation(a, b), ds.deviation(first * a, second * b)
    assert scaled.cosine == pytest.approx(found.cosine, abs=1e-14)
    assert scaled.log10_magnitude_ratio == pytest.approx(
        found.log10_magnitude_ratio + math.log10(first) - math.log10(second), abs=1e-11
    )
    assert (scaled.kept, scaled.flipped, scaled.vanished) == (found.kept, found.flipped, found.vanished)


@given(pairs())
def test_swapped_the_angle_stays_and_the_ratio_turns(pair: tuple[np.ndarray, np.ndarray]) -> None:
    a, b = pair
    assume(a.any() and b.any())
    there, back = ds.deviation(a, b), ds.deviation(b, a)
    assert there.angle_degrees == pytest.approx(back.angle_degrees, rel=1e-12, abs=1e-12)
    assert there.log10_magnitude_ratio == pytest.approx(-back.log10_magnitude_ratio, abs=1e-12)
    assert (there.vanished, there.appeared) == (back.appeared, back.vanished)


@given(pairs(st.sampled_from([-2.0, -1.0, -0.0, 0.0, 5e-324, -5e-324, 1.0, 1e308])))
def test_signs_are_counted_entry_by_entry(pair: tuple[np.ndarray, np.ndarray]) -> None:
    counts = dict.fromkeys(("kept", "flipped", "vanished", "appeared", "both_zero"), 0)
    for x, y in zip(*(side.ravel().tolist() for side in pair), strict=True):
        product = Fraction(x) * Fraction(y)
        kind = "both_zero" if not x and not y else "appeared" if not y else "vanished" if not x else None
        counts[kind or ("kept" if product > 0 else "flipped")] += 1
    found = ds.deviation(*pair)
    if not pair[0].size:
        assert (found.kept, found.sign_agreement, found.nonzero_fraction) == (None, None, None)
        return
    assert {name: getattr(found, name) for name in counts} == counts
    live = counts["kept"] + counts["flipped"] + counts["vanished"]
    assert found.sign_agreement == (counts["kept"] / live if live else None)
    assert found.nonzero_fraction == np.count_nonzero(pair[0]) / pair[0].size


@pytest.mark.parametrize(
    ("gradient", "reference", "reason"),
    [
        ([0.0, 0.0], [1.0, 2.0], "the gradient is zero"),
        ([1.0, 0.0], [0.0, -0.0], "the reference gradient is zero"),
        ([0.0], [0.0], "the reference gradient is zero and the gradient is zero"),
        ([math.nan, 1.0], [1.0, 1.0], "the gradient is not finite in 1 of 2 entries"),
        ([1.0, 1.0], [math.inf, math.nan], "the reference gradient is not finite in 2 of 2 entries"),
        ([], [], "the gradient has no entries"),
        ([None], [None], "the gradient has no entries"),
    ],
)
def test_undefined_is_a_state_with_a_reason(gradient: list[float], reference: list[float], reason: str) -> None:
    found = ds.deviation(gradient, reference)
    assert (found.state, found.reason) == ("undefined", reason)
    assert (found.cosine, found.angle_degrees, found.log10_magnitude_ratio, found.directional_derivative) == (None,) * 4


def test_a_zero_gradient_still_says_what_vanished() -> None:
    found = ds.deviation([0.0, 0.0, 0.0], [1.0, -1.0, 0.0])
    assert (found.vanished, found.both_zero, found.sign_agreement, found.nonzero_fraction) == (2, 1, 0.0, 0.0)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.int8, torch.bool])
def test_dtypes(dtype: torch.dtype) -> None:
    a, b = torch.tensor([[1, 0], [1, 1]]).to(dtype), torch.tensor([[1, 1], [0, 1]]).to(dtype)
    assert ds.deviation(a, b).cosine == pytest.approx(2 / 3)


def test_a_whole_gradient_is_one_vector() -> None:
    torch.manual_seed(0)
    parts = [torch.randn(3, 2), torch.randn(4), torch.randn(())]
    others = [torch.randn_like(part) for part in parts]
    flat = ds.deviation(*(torch.cat([part.flatten() for part in side]) for side in (parts, others)))
    names = ("w", "b", "c")
    for a, b in [
        (parts, others),
        (tuple(parts), others),
        (iter(parts), iter(others)),
        (dict(zip(names, parts, strict=True)), dict(zip(names, others, strict=True))),
        ([part.numpy() for part in parts], others),
        ([part.tolist() for part in parts[:2]] + [parts[2]], others),
        ([part.requires_grad_() for part in parts], others),
    ]:
        found = ds.deviation(a, b)
        assert found.angle_degrees == pytest.approx(flat.angle_degrees, rel=1e-13)
        assert (found.kept, found.flipped) == (flat.kept, flat.flipped)


def test_none_is_a_gradient_of_zeros() -> None:
    a, b = torch.tensor([3.0, 4.0]), torch.tensor([5.0])
    assert ds.deviation([a, None], [a, b]) == ds.deviation([3.0, 4.0, 0.0], [3.0, 4.0, 5.0])
    assert ds.deviation([a, None], [a, None]) == ds.deviation(a, a)


def test_sparse_gradients() -> None:
    dense = torch.tensor([[0.0, 1.0], [2.0, 0.0]])
    assert ds.deviation(dense.to_sparse(), dense) == ds.deviation(dense, dense)


@pytest.mark.parametrize(
    ("gradient", "reference", "message"),
    [
        (torch.ones(2), torch.ones(3), r"part 0 has shape \(2,\) in the gradient and \(3,\) in the reference"),
        (torch.ones(2, 1), torch.ones(2), r"\(2, 1\) in the gradient"),
        (
            [torch.ones(2)],
            [torch.ones(2), torch.ones(1)],
            "the gradient has the parts 0 .1 in all., the reference 0, 1",
        ),
        ({"w": torch.ones(2)}, {"v": torch.ones(2)}, "the gradient has the parts w"),
        (torch.ones(2) * 1j, torch.ones(2), "view_as_real"),
        (np.ones(2) * 1j, np.ones(2), "no array of real numbers"),
        ("12", "12", "deviation.gradient=.*str of dtype"),
        (object(), object(), "no array of real numbers"),
    ],
)
def test_bad_input(gradient: object, reference: object, message: str) -> None:
    with pytest.raises(Refused, match=message):
        ds.deviation(gradient, reference)


# A mutant: the cosine in float32.


def assert_long_vectors_are_their_own_direction() -> None:
    torch.manual_seed(0)
    long = torch.randn(4_000_000)
    found = ds.deviation(long, long)
    assert found.cosine == pytest.approx(1, abs=1e-12)
    assert found.angle_degrees == pytest.approx(0, abs=1e-10)
    assert found.log10_magnitude_ratio == 0


def test_long_vectors() -> None:
    assert_long_vectors_are_their_own_direction()


def test_a_cosine_in_float32_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    def single(pairs: module.Pairs) -> dict[str, float]:
        a, b = (torch.cat([pair[side] for pair in pairs]).float() for side in (0, 1))
        cosine = float(torch.nn.functional.cosine_similarity(a, b, dim=0))
        angle = math.degrees(math.acos(min(cosine, 1)))
        ratio = math.log10(float(a.norm() / b.norm()))
        return {"cosine": cosine, "angle_degrees": angle, "log10_magnitude_ratio": ratio, "directional_derivative": 0.0}

    monkeypatch.setattr(module, "_direction", single)
    with pytest.raises(AssertionError):
        assert_long_vectors_are_their_own_direction()
    with pytest.raises(AssertionError):
        assert_exact(np.array([1.0, 1e-5]), np.array([1.0, 0.0]))


def test_an_angle_by_acos_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    right = module._direction
    monkeypatch.setattr(
        module,
        "_direction",
        lambda pairs: (d := right(pairs)) | {"angle_degrees": math.degrees(math.acos(d["cosine"]))},
    )
    with pytest.raises(AssertionError):
        test_small_and_straight_angles(1e-9, 1.0)
