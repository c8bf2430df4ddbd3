"""The perceptron study: its rule against one written out by hand, its bounds, and what it says of its factors."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from downslope.analysis.surrogates.lookup import surrogate
from downslope.experiments.data import ones
from downslope.experiments.studies.perceptron import Plan, perceptron, spread, train

SMALL = Plan(features=(2, 5), seeds=(0, 1, 2), samples=100)


def by_hand(inputs: np.ndarray, targets: np.ndarray, seed: int, passes: int) -> int:
    """The perceptron rule as textbooks have it; returns the mistakes."""
    order = torch.Generator().manual_seed(seed)
    weights, mistakes = np.zeros(inputs.shape[1]), 0
    for _ in range(passes):
        before = mistakes
        for sample in torch.randperm(len(inputs), generator=order).tolist():
            said = float(weights @ inputs[sample] > 0)
            if said != targets[sample]:
                weights = weights + (1 if targets[sample] else -1) * inputs[sample]
                mistakes += 1
        if mistakes == before:
            break
    return mistakes


def samples(features: int) -> tuple[torch.Tensor, torch.Tensor]:
    inputs, targets = ones(features, 0.5, 100).train
    return torch.cat([inputs, torch.ones(len(inputs), 1)], 1).double(), targets.double()


@pytest.mark.parametrize("features", [2, 5, 9])
def test_under_a_constant_it_is_the_perceptron_rule(features: int) -> None:
    inputs, targets = samples(features)
    mistakes, _, converged = train(inputs, targets, surrogate("constant"), (0, 1, 2), 200)
    assert converged.all()
    assert mistakes.tolist() == [by_hand(inputs.numpy(), targets.numpy(), seed, 200) for seed in (0, 1, 2)]


def test_no_run_makes_more_mistakes_than_the_bound_of_its_factor() -> None:
    table = perceptron(SMALL)
    assert table["converged"].all()
    for row in table.itertuples():
        radius, margin = row.features + 1, 4 * row.features + (2 * (row.features // 2) + 1) ** 2
        ratio = row.kappa**2 if row.kappa == row.kappa else row.second_moment
        # for a random factor the bound is on the mean; no run of these comes near its fourfold
        assert row.mistakes <= (4 if row.surrogate == "full_jam" else 1) * ratio * radius * margin


def test_a_factor_that_vanishes_can_stay_stuck() -> None:
    inputs, targets = torch.tensor([[1.0, 1.0]]).double(), torch.ones(1).double()
    far = surrogate("rectangle(centre=10)")
    mistakes, passes, converged = train(inputs, targets, far, (0,), 7)
    assert (mistakes.item(), passes.item(), converged.item()) == (7, 7, False)


def test_the_same_plan_gives_the_same_table() -> None:
    assert perceptron(SMALL).equals(perceptron(SMALL))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("constant", (1.0, 1.0)),
        ("leaky_rectangle", (50.0, None)),
        ("rectangle", (None, None)),
        ("full_jam", (None, 4 / 3)),
        ("positive_jam", (None, None)),
    ],
)
def test_spread_of_a_factor(name: str, expected: tuple[float | None, float | None]) -> None:
    assert spread(surrogate(name)) == expected
