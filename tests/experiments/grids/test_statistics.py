"""Means, intervals, paired tests and their correction, on numbers whose answer is known."""

import itertools
import math

import numpy as np
import pytest
from downslope.experiments.grids.results.statistics import Mean, holm, mean, paired


def test_a_mean_and_its_interval_by_hand():
    found = mean([2.0, 4.0, 4.0, 4.0, 6.0])
    assert found.value == 4.0
    assert found.half_width == pytest.approx(2.7764451 * math.sqrt(2) / math.sqrt(5), rel=1e-7)  # t(0.975, 4)


def test_one_value_has_no_interval_and_none_has_no_mean():
    assert mean([3.0]) == Mean(3.0, None, 1)
    assert mean([]) == Mean(None, None, 0)


def test_the_interval_covers_the_mean_as_often_as_it_says():
    draws = np.random.default_rng(0).normal(1.0, 2.0, size=(2000, 5))
    found = [mean(list(row)) for row in draws]
    covered = sum(abs(each.value - 1.0) <= each.half_width for each in found) / len(found)
    assert 0.935 < covered < 0.965


def test_the_paired_test_by_hand():
    found = paired([1.0, 2.0, 4.0, 5.0], [0.0, 2.0, 3.0, 3.0])  # differences 1, 0, 1, 2: t = 1 / (0.8165 / 2)
    assert found.difference.value == 1.0
    assert found.p_value == pytest.approx(0.0919, abs=1e-3)


def test_pairing_sees_what_the_spread_of_seeds_hides():
    seeds = np.random.default_rng(1).normal(0, 10, 8)
    found = paired(list(seeds + 0.1 + 0.01 * np.arange(8)), list(seeds))
    assert found.p_value < 1e-4


def test_differences_without_spread():
    assert paired([1.0, 2.0], [1.0, 2.0]).p_value == 1.0
    assert paired([2.0, 3.0], [1.0, 2.0]).p_value == 0.5
    assert paired([0.3, 0.8], [0.1, 0.6]).p_value == 0.5  # 0.3 - 0.1 and 0.8 - 0.6 differ in the last bit
    assert paired([1.0] * 10, [2.0] * 10).p_value == 1 / 512
    assert paired([2.0], [1.0]).p_value is None


def test_the_exact_test_of_equal_differences_is_a_count_of_signs():
    """Of all ways to give the differences their signs, the share whose mean is as far from 0."""
    for n in range(2, 8):
        means = [sum(signs) / n for signs in itertools.product((-0.3, 0.3), repeat=n)]
        share = sum(abs(mean) >= 0.3 - 1e-9 for mean in means) / len(means)
        assert paired([1.3] * n, [1.0] * n).p_value == share


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, None, 0.8]) == [1.0, None, 1.0]
