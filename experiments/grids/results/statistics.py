"""Means with Student intervals over seeds, paired tests, and Holm's correction for several of them.

A number that the data do not determine (an interval from one seed, a test without a pair) is ``None``, never a guess.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Mean:
    """A mean over runs.

    Attributes:
        value: the mean; ``None`` where there is no run.
        half_width: of its 95% interval by Student's t; ``None`` with fewer than two runs.
        runs: how many.
    """

    value: float | None
    half_width: float | None
    runs: int


@dataclass(frozen=True)
class Paired:
    """Differences of runs that share a seed.

    Attributes:
        difference: mean of (run - reference), with its interval.
        p_value: of the two-sided paired test; ``None`` with fewer than two pairs.
    """

    difference: Mean
    p_value: float | None


def mean(values: Sequence[float]) -> Mean:
    """The mean of values with its interval.

    >>> mean([1.0]), mean([1.0, 2.0, 3.0]).value
    (Mean(value=1.0, half_width=None, runs=1), 2.0)
    """
    if not values:
        return Mean(None, None, 0)
    numbers = np.asarray(values, dtype=np.float64)
    value = float(numbers.mean())
    if len(numbers) < 2:
        return Mean(value, None, len(numbers))
    from scipy.stats import t

    error = numbers.std(ddof=1) / math.sqrt(len(numbers))
    return Mean(value, float(t.ppf((1 + CONFIDENCE) / 2, len(numbers) - 1) * error), len(numbers))


def paired(values: Sequence[float], reference: Sequence[float]) -> Paired:
    """The paired t test of values against a reference, pair by pair.

    Differences that are all the same, but for the rounding of their subtraction, have no spread, and Student's t is not
    defined. Then p is 1 where they are 0, and else that of the sign-flip test (Fisher 1935): of the 2^n ways to give
    n equal differences their signs, two have a mean as far from 0, so that p = 2^(1 - n).

    >>> paired([2.0, 3.0, 4.0], [1.0, 2.0, 3.0]).p_value
    0.25

    Raises:
        ValueError: the two do not have the same length.
    """
    differences = [a - b for a, b in zip(values, reference, strict=True)]
    if len(differences) < 2:
        return Paired(mean(differences), None)
    rounding = 1e-12 * max(map(abs, (*values, *reference)))
    if max(differences) - min(differences) <= rounding:
        return Paired(mean(differences), 1.0 if abs(differences[0]) <= rounding else 2.0 ** (1 - len(differences)))
    from scipy.stats import ttest_1samp

    return Paired(mean(differences), float(ttest_1samp(differences, 0.0).pvalue))


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Holm's step-down correction (Holm 1979); what is ``None`` is no test and stays so.

    >>> holm([0.01, None, 0.04, 0.03])
    [0.03, None, 0.06, 0.06]
    """
    tests = sorted((p, index) for index, p in enumerate(p_values) if p is not None)
    corrected: list[float | None] = [None] * len(p_values)
    largest = 0.0
    for rank, (p, index) in enumerate(tests):
        largest = max(largest, min(1.0, (len(tests) - rank) * p))
        corrected[index] = largest
    return corrected
