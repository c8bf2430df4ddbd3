"""Random rules: the bits of a run depend on its seed alone, and the draws have the distribution that the rule says."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from downslope import SURROGATES
from downslope.experiments import training
from downslope.experiments.grids import plain
from downslope.experiments.grids.cell import Cell
from downslope.experiments.networks import network
from downslope.experiments.stacked import engine
from downslope.experiments.stacked.backward.noise import Noise
from downslope.experiments.stacked.stack import Stack
from scipy import stats
from torch import Tensor

CPU = torch.device("cpu")
BASE = Cell("mlp-digits", "logistic", "full_jam", 0.1, batch=64, epochs=1, seed=0, data="digits:200")
SYMBOLS = SURROGATES["full_jam"].noise


def draws(seeds: tuple[int, ...], steps: int = 40, widths: tuple[int, ...] = (64,)) -> Tensor:
    """[steps, places, seeds, units, samples]."""
    noise = Noise(seeds, SYMBOLS, widths, CPU, torch.float64)
    found = []
    for _ in range(steps):
        noise.draw(32)
        found.append(torch.stack([place[0][:, 0].clone() for place in noise.places]))
    return torch.stack(found)


def test_the_draws_are_uniform() -> None:
    found = draws((0,)).flatten()
    assert float(found.min()) > 0
    assert float(found.max()) < 1
    assert stats.kstest(found.numpy(), "uniform").pvalue > 1e-3
    for power in range(1, 5):
        mean, deviation = 1 / (power + 1), (1 / (2 * power + 1) - 1 / (power + 1) ** 2) ** 0.5
        assert abs(float((found**power).mean()) - mean) < 4 * deviation / len(found) ** 0.5


def test_other_draws_would_be_noticed() -> None:
    found = draws((0,)).flatten()
    assert stats.kstest((found**1.02).numpy(), "uniform").pvalue < 1e-3


def test_seeds_places_steps_and_entries_do_not_share_draws() -> None:
    found = draws((0, 1, 2), steps=3, widths=(64, 64))
    every = found.flatten()
    assert len(every.unique()) == len(every)
    rows = found.reshape(18, -1)
    correlations = torch.corrcoef(rows) - torch.eye(18)
    assert float(correlations.abs().max()) < 5 / rows.shape[1] ** 0.5


def test_the_draws_of_a_seed_depend_on_nothing_else() -> None:
    alone, among = draws((7,), steps=3), draws((1, 7, 9), steps=3)
    assert torch.equal(alone[:, :, 0], among[:, :, 1])


@pytest.mark.parametrize("rule", ["full_jam", "positive_jam", "rectangular_jam"])
def test_a_run_draws_the_same_in_every_group(rule: str) -> None:
    cell = replace(BASE, rule=rule, seed=3)
    others = [replace(BASE, rule=name, seed=seed) for seed in (1, 3) for name in ("tied", "full_jam", "positive_jam")]
    many = [*dict.fromkeys([replace(cell, seed=1), cell, *others])]
    (alone,) = engine.train([cell], dtype=torch.float64)
    among = next(each for each in engine.train(many, dtype=torch.float64) if each.cell == cell)
    for name, value in alone.weights.items():  # other draws would show in the first digit, other sums in the last
        torch.testing.assert_close(among.weights[name], value, rtol=0, atol=1e-14)


@pytest.mark.parametrize("name", ["full_jam", "rectangular_jam"])
def test_the_mean_step_is_the_step_of_the_mean_factor(name: str) -> None:
    """E xi = 1/2: over many seeds from one start the mean step is that of the factor 1/2, within its standard error."""
    seeds = range(400)
    mean = {"full_jam": "constant(height=1/2)", "rectangular_jam": "rectangle(height=1/2, width=5)"}[name]
    cells = [replace(BASE, rule=name, seed=seed) for seed in seeds]
    inputs, targets = plain.samples("digits").train
    x, y = inputs[:16].double(), targets[:16]

    def steps(cells: list[Cell]) -> Tensor:
        stack = Stack(cells, CPU, torch.float64)
        start = stack.parameters[0].weight
        start.copy_(start[:1].clone().expand_as(start))  # one start, different noise
        for other in stack.parameters[1:]:
            other.weight.copy_(other.weight[:1].clone().expand_as(other.weight))
        for held in stack.parameters:
            held.bias.copy_(held.bias[:1].clone().expand_as(held.bias))
        before = start.clone()
        stack.step(x.expand(len(cells), -1, -1), y.expand(len(cells), -1))
        return stack.parameters[0].weight - before

    with torch.no_grad():
        random, (expected,) = steps(cells), steps([replace(BASE, rule=mean, seed=0)])
    error = random.std(dim=0) / len(seeds) ** 0.5
    moved = error > 0
    z = ((random.mean(dim=0) - expected)[moved] / error[moved]).flatten()
    assert int(moved.sum()) > 1000
    assert float(z.abs().max()) < 5.5
    wrong = ((random.mean(dim=0) - 1.1 * expected)[moved] / error[moved]).flatten()
    assert float(wrong.abs().max()) > 5.5


def test_the_plain_loop_s_streams_are_used() -> None:
    """The seed's second stream, as `untie` takes it: the generator ends where the plain loop's does."""
    noise = Noise((5,), SYMBOLS, (64,), CPU, torch.float32)
    for _ in range(3):
        noise.draw(8)
    generator = training._generator(5, stream=2)
    model = network("mlp-digits").build("logistic")
    with plain.backward(model, BASE, generator):
        for _ in range(3):
            model(torch.ones(8, 64)).sum().backward()
    assert torch.equal(noise._generators[0].get_state(), generator.get_state())
