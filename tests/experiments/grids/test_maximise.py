"""Activation maximisation on a LeNet-5 trained on made-up images: one training for all rules, and a climb by each."""

import itertools

import pytest
import torch
from downslope.experiments import data
from downslope.experiments.grids import maximise, plain
from downslope.experiments.grids.cell import Cell
from downslope.experiments.grids.grid import grid
from downslope.experiments.grids.job import jobs, run
from downslope.experiments.grids.results.present import document

LEAKY = "leaky_relu_derivative(slope=0.5)"


@pytest.fixture
def stripes(monkeypatch):
    """Ten classes of images, each a bright stripe at its own height, in place of MNIST."""

    def made():
        generator = torch.Generator().manual_seed(0)
        y = torch.arange(10).repeat(20)
        x = 0.1 * torch.rand((200, 1, 28, 28), generator=generator)
        for sample, label in enumerate(y.tolist()):
            x[sample, 0, 2 * label + 4 : 2 * label + 6] = 1.0
        return data.Data("mnist", x, y, x.clone(), y.clone(), "made up")

    monkeypatch.setitem(data.DATASETS, "mnist", made)
    plain.samples.cache_clear()
    yield
    plain.samples.cache_clear()


@pytest.fixture
def found(stripes, monkeypatch):
    monkeypatch.setattr(maximise, "STEPS", 20)
    monkeypatch.setattr(maximise, "STARTS", 2)
    cells = [
        Cell("lenet-mnist", "relu", rule, 0.05, 20, 15, seed, 0.9, "mnist:200")
        for rule in ("tied", LEAKY)
        for seed in (0,)
    ]
    return maximise.maximise(cells, device="cpu", at_epoch=lambda epochs: None)


def test_the_activation_never_falls_and_rises_in_the_end(found):
    for record in found:
        climbed = record.curve["activation"]
        assert len(climbed) == 21
        assert all(after >= before for before, after in itertools.pairwise(climbed))
        assert climbed[-1] > climbed[0] + 1


def test_all_rules_start_from_the_same_inputs_and_network(found):
    tied, leaky = found
    assert tied.curve["activation"][0] == leaky.curve["activation"][0]
    assert tied.curve["activation"][1] != leaky.curve["activation"][1]
    assert tied.digest != leaky.digest


def test_the_tied_climb_is_gradient_ascent_by_hand(stripes, monkeypatch):
    monkeypatch.setattr(maximise, "STEPS", 3)
    monkeypatch.setattr(maximise, "STARTS", 1)
    cell = Cell("lenet-mnist", "relu", "tied", 0.05, 20, 1, 5, 0.9, "mnist:200")
    (record,) = maximise.maximise([cell], device="cpu", at_epoch=lambda epochs: None)
    model, _ = maximise._trained(cell, "cpu", lambda epochs: None, 1)
    start = torch.rand((1, 1, 28, 28), generator=plain.training._generator(5, stream=3))
    best = torch.full((10,), -torch.inf)
    for label in range(10):
        x = start.clone()
        for _ in range(4):
            x.requires_grad_()
            value = model(x)[0, label]
            best[label] = max(best[label], value.detach())
            (slope,) = torch.autograd.grad(value, x)
            x = (x.detach() + maximise.LENGTH * slope / slope.norm()).clamp(0, 1)
    assert record.curve["activation"][-1] == pytest.approx(best.mean().item(), rel=1e-4)


def test_the_leaky_rule_changes_the_ascent_and_not_the_training(stripes):
    tied = Cell("lenet-mnist", "relu", "tied", 0.05, 20, 1, 0, 0.9, "mnist:200")
    one, other = (maximise._trained(tied, "cpu", lambda epochs: None, 1)[0] for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))
    assert all(not each.requires_grad for each in one.parameters())


def test_a_training_that_diverges_gives_no_number(stripes):
    cells = [Cell("lenet-mnist", "relu", rule, 1e30, 20, 3, 0, 0.9, "mnist:200") for rule in ("tied", LEAKY)]
    found = maximise.maximise(cells, device="cpu", at_epoch=lambda epochs: None)
    assert [record.final("activation") for record in found] == [None, None]
    assert all(record.diverged for record in found)


def test_the_grid_trains_once_for_each_seed_and_its_table_is_of_activations(stripes, monkeypatch):
    monkeypatch.setattr(maximise, "STEPS", 3)
    quick = grid("maximise-lenet").quick().varied(batches=[20], epochs=1)
    wanted = jobs(quick)
    assert [len(job.cells) for job in wanted] == [3, 3]
    assert [{cell.seed for cell in job.cells} for job in wanted] == [{0}, {1}]
    counted = []
    records = {record.cell: record for job in wanted for record in run(job, counted.append)}
    assert sum(counted) == sum(job.epochs for job in wanted)
    said = document(quick, [records[cell] for cell in quick.cells()])
    assert [row["rule"] for row in said["table"]] == [
        "tied",
        "leaky_relu_derivative(slope=0.1)",
        "leaky_relu_derivative(slope=0.5)",
    ]
    assert all(row["runs"] == 2 and row["train_loss"] is None for row in said["table"])
