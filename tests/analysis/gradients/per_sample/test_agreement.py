"""Each number is that of a loop over the samples, in float64; a wrong formula is caught by this comparison."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas as pd

Differences = Callable[[Any], pd.DataFrame]

DEGREES = 1e-10


def agree(apart: pd.DataFrame) -> None:
    assert len(apart)
    assert apart.angle_degrees.max() < DEGREES
    assert apart[["cosine", "log10_magnitude_ratio", "directional_derivative"]].max(axis=None) < 1e-12


def test_each_row_is_that_of_a_loop_over_the_samples(case: Any, differences: Differences) -> None:
    agree(differences(case))
