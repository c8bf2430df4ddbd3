"""From a failing point to the least and roundest one, and Hypothesis for what no grid foresees."""

from __future__ import annotations

import math
from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING, TypeVar

import torch

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

Drawn = TypeVar("Drawn")
Fails = Callable[[torch.Tensor], torch.Tensor]

NEAR = 1.05
"""A rounder counterexample is preferred while it lies within 5% of the least one."""

TINY, PLAIN = 1e-30, 1e-3
"""What fails at a number below the first is shown at the second, where it fails there too."""

_INTEGER = {
    torch.float64: torch.int64,
    torch.float32: torch.int32,
    torch.float16: torch.int16,
    torch.bfloat16: torch.int16,
}


def least(points: torch.Tensor, bad: torch.Tensor, fails: Fails) -> float | None:
    """The failing point of least magnitude, between the grid's points too, at the fewest digits that still fail.

    Args:
        points: the grid.
        bad: which of its points fail.
        fails: the same judgement on a tensor of one point; a point that fails only among others is kept as it is.
    """
    if not bool(bad.any()):
        return None
    failing = points[bad]
    nearest = failing[failing.abs() == failing.abs().min()]
    first = nearest[(~nearest.signbit()).int().argmax()]  # of two mirror images the positive one; 0 rather than -0
    good = points[~bad & (points.signbit() == first.signbit()) & (points.abs() < first.abs())]
    if not bool(fails(first.reshape(1)).all()):
        return float(first)
    inner = good[good.abs().argmax()] if len(good) else torch.zeros((), dtype=points.dtype).copysign(first)
    return roundest(_bisect(inner, first, fails), points.dtype, fails)


def roundest(value: float, dtype: torch.dtype, fails: Fails) -> float:
    """The failing number of fewest digits between ``value`` and 5% beyond it.

    >>> roundest(-3.4203, torch.float32, lambda u: u < -3.42)
    -3.5
    """
    if value == 0 or not math.isfinite(value):
        return value
    plain = math.copysign(PLAIN, value)
    if abs(value) < TINY and bool(fails(torch.tensor([plain], dtype=dtype)).all()):
        return plain
    for digits in range(1, 8):
        unit = 10.0 ** (math.floor(math.log10(abs(value))) + 1 - digits)
        if unit == 0:
            return value
        outward = math.copysign(math.ceil(abs(value) / unit) * unit, value)
        candidate = torch.tensor([float(f"{outward:.{digits}g}")], dtype=dtype)
        if bool(candidate.isfinite()) and abs(float(candidate)) <= NEAR * abs(value) and bool(fails(candidate).all()):
            return float(f"{outward:.{digits}g}")
    return value


def hunt(seed: int, strategy: SearchStrategy[Drawn], fails: Callable[[Drawn], bool], examples: int) -> Drawn | None:
    """What Hypothesis finds and shrinks among some examples; the same for the same seed."""
    if not examples:
        return None
    from hypothesis import HealthCheck, Phase, find, settings
    from hypothesis.errors import NoSuchExample

    quiet = settings(
        max_examples=examples,
        database=None,
        deadline=None,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )
    try:
        return find(strategy, fails, settings=quiet, random=Random(seed))
    except NoSuchExample:
        return None


def _bisect(good: torch.Tensor, bad: torch.Tensor, fails: Fails) -> float:
    """The least failing float between a good and a bad one of the same sign, halving the count of floats between."""
    integer = _INTEGER[bad.dtype]
    low, high = int(good.abs().view(integer)), int(bad.abs().view(integer))
    while high - low > 1:
        middle = (low + high) // 2
        point = torch.tensor(middle, dtype=integer).view(bad.dtype).copysign(bad)
        low, high = (low, middle) if bool(fails(point.reshape(1)).all()) else (middle, high)
    return float(torch.tensor(high, dtype=integer).view(bad.dtype).copysign(bad))
