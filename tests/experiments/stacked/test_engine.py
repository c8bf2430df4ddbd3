"""Groups, divergence, hooks and refusals of the stacked engine."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
import torch
from downslope.analysis import products
from downslope.analysis.errors import Refused
from downslope.experiments.grids import plain
from downslope.experiments.grids.cell import Cell
from downslope.experiments.stacked import engine, grouping
from downslope.experiments.stacked.grouping import groups, shared, stackable
from downslope.experiments.stacked.layers import chain
from torch import Tensor, nn

BASE = Cell("mlp-digits", "relu", "tied", 0.1, batch=64, epochs=3, seed=0, data="digits:200")


def cells_of(rules: tuple[str, ...], rates: tuple[float, ...], seeds: int) -> list[Cell]:
    return [
        replace(BASE, rule=rule, learning_rate=rate, seed=s) for rule in rules for rate in rates for s in range(seeds)
    ]


# Groups


def test_groups_hold_each_cell_once_and_do_not_depend_on_the_order() -> None:
    cells = [*cells_of(("tied", "triangle", "full_jam"), (0.1, 0.2), 60), replace(BASE, forward="tanh")]
    shuffled = cells[:]
    random.Random(0).shuffle(shuffled)
    found = groups(cells)
    assert found == groups(shuffled) == groups([*cells, *cells])
    assert sorted(map(repr, (cell for group in found for cell in group))) == sorted(map(repr, cells))
    assert len(found) > 2


def test_the_runs_of_a_group_can_share_products() -> None:
    ragged = [replace(BASE, rule=rule, seed=seed) for seed in range(9) for rule in ("tied", "constant")[: 1 + seed % 2]]
    for group in groups(ragged + cells_of(("triangle",), (0.3, 0.4), 3)):
        assert len({shared(cell) for cell in group}) == 1
        assert len(set(grouping.rules(group).values())) == 1
        assert len(group) <= grouping.most(group[0])


def test_a_group_trains_alone_as_in_the_grid() -> None:
    cells = cells_of(("tied", "full_jam"), (0.1,), 4)
    (group,) = groups(cells)
    for one, other in zip(engine.train(group), engine.train(group), strict=True):
        assert all(torch.equal(one.weights[name], value) for name, value in other.weights.items())
        assert one.scores == other.scores


def test_wide_networks_make_small_groups_and_single_units_large_ones() -> None:
    assert grouping.most(BASE) == 110
    assert grouping.most(Cell("unit-ones", "logistic", "tied", 0.1, 32, 1, 0)) == 1000
    assert grouping.most(replace(BASE, network="mlp-digits-width-512")) == 15


def test_what_is_stackable() -> None:
    assert stackable(BASE)
    assert stackable(Cell("binary-ones", "heaviside", "constant", 0.1, 64, 1, 0))
    assert not stackable(Cell("lenet-mnist", "relu", "tied", 0.1, 64, 1, 0))
    assert chain(nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.ReLU()), "relu") is None
    assert chain(nn.Sequential(nn.Linear(2, 2), nn.Dropout()), "relu") is None


@pytest.mark.parametrize(
    ("cells", "said"),
    [
        ([], "not of one group"),
        ([BASE, BASE], "not of one group"),
        ([BASE, replace(BASE, batch=32)], "not of one group"),
        ([BASE, replace(BASE, rule="triangle", seed=1)], "have not the same rules"),
        ([replace(BASE, forward="heaviside")], "derivative of heaviside is 0"),
        ([replace(BASE, network="residual-digits")], "cannot be stacked"),
    ],
)
def test_what_is_no_group_is_refused(cells: list[Cell], said: str) -> None:
    with pytest.raises(Refused, match=said):
        engine.train(cells)


# Divergence


def test_a_diverged_run_is_marked_as_by_the_plain_loop_and_hurts_no_other() -> None:
    cells = [replace(BASE, learning_rate=rate, seed=seed) for seed in (0, 1) for rate in (0.1, 1e30)]
    found = engine.train(cells)
    for outcome in found:
        alone = plain.train(outcome.cell)
        assert outcome.diverged == alone.diverged
        assert [score.epoch for score in outcome.scores] == [score.epoch for score in alone.scores]
        finite = all(bool(value.isfinite().all()) for value in outcome.weights.values())
        assert finite == (outcome.diverged is None)
    assert [outcome.diverged for outcome in found] == [None, 1, None, 1]
    for outcome in (found[0], found[2]):
        alone = plain.train(outcome.cell)
        for name, value in alone.weights.items():
            torch.testing.assert_close(outcome.weights[name], value, rtol=1e-4, atol=1e-6)


def test_the_others_keep_their_bits_beside_a_diverged_run() -> None:
    tame = [replace(BASE, learning_rate=rate) for rate in (0.1, 0.2)]
    beside = engine.train([tame[0], replace(BASE, learning_rate=1e30)])
    whole = engine.train(tame)
    assert all(torch.equal(beside[0].weights[name], value) for name, value in whole[0].weights.items())


def test_a_group_that_has_diverged_ends() -> None:
    epochs: list[int] = []
    found = engine.train(
        [replace(BASE, learning_rate=1e30, epochs=50)], at_epoch=lambda runs, epoch: epochs.append(epoch)
    )
    assert found[0].diverged == 1
    assert epochs == [0, 1]


# Hooks


def test_hooks_see_each_run_as_the_module_that_the_plain_loop_has() -> None:
    cells = [replace(BASE, rule=rule) for rule in ("constant", "tied")]
    seen: list[tuple[int, list[Tensor]]] = []
    right: list[tuple[int, list[Tensor]]] = []
    engine.train(
        cells, dtype=torch.float64, at_epoch=lambda runs, at: seen.append((at, [*runs[cells[0]].parameters()]))
    )
    plain.train(
        cells[0],
        dtype=torch.float64,
        at_epoch=lambda model, at: right.append((at, [each.detach().clone() for each in model.parameters()])),
    )
    assert [at for at, _ in seen] == [0, 1, 2, 3]
    for (_, ours), (_, theirs) in zip(seen, right, strict=True):
        for one, other in zip(ours, theirs, strict=True):
            torch.testing.assert_close(one.detach(), other, rtol=1e-12, atol=1e-14)


def test_hooks_at_steps_and_modules_that_are_copies_with_gradients() -> None:
    steps: list[int] = []

    def meddle(runs: engine.Runs, step: int) -> None:
        steps.append(step)
        model = runs[BASE]
        with torch.enable_grad():
            model(torch.ones(2, 64)).sum().backward()
        for parameter in model.parameters():
            assert parameter.grad is not None
            parameter.data.zero_()

    cell = replace(BASE, epochs=2)
    undisturbed = engine.train([cell])[0]
    meddled = engine.train([cell], at_step=lambda runs, step: meddle_as(cell, runs, step, meddle))[0]
    assert steps == list(range(9))
    assert all(torch.equal(undisturbed.weights[name], value) for name, value in meddled.weights.items())


def meddle_as(cell: Cell, runs: engine.Runs, step: int, meddle: object) -> None:
    meddle({BASE: runs[cell]}, step)  # type: ignore[operator]


# Products


def test_products_are_as_accurate_as_float32_or_left_alone() -> None:
    shape = (3, 64, 64, 64)
    left, right = torch.rand(shape[:3]), torch.rand(shape[0], *shape[2:])
    before = torch.backends.mkldnn.matmul.fp32_precision
    with products.allowed(products.faster([shape], left.device, left.dtype)):
        assert products.full(torch.bmm(left, right), left, right)
    assert torch.backends.mkldnn.matmul.fp32_precision == before


def test_products_of_rounded_factors_are_not_taken_for_full_ones() -> None:
    for inner in (32, 64, 512, 4096):
        left, right = torch.rand(2, 64, inner), torch.rand(2, inner, 64)
        low = torch.bmm(left.bfloat16().float(), right.bfloat16().float())
        assert products.full(torch.bmm(left, right), left, right)
        assert not products.full(low, left, right)


def test_float64_and_single_units_keep_their_products() -> None:
    assert not products.faster([(3, 64, 64, 64)], torch.device("cpu"), torch.float64)
    assert not products.faster([(3, 20, 10, 32)], torch.device("cpu"), torch.float32)
