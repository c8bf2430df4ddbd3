"""How long a grid will take: what a dry run times is what a run does."""

import json

import pytest
import torch
from downslope.__main__ import app
from downslope.experiments.data import Data
from downslope.experiments.grids import maximise, plain
from downslope.experiments.grids.cell import Cell
from downslope.experiments.grids.command import calibration
from downslope.experiments.grids.job import Job, run
from downslope.experiments.stacked import single
from typer.testing import CliRunner


@pytest.mark.parametrize("task", ["train", "maximise"])
def test_a_dry_run_times_the_loop_that_a_job_takes(monkeypatch, task):
    generator = torch.Generator().manual_seed(0)
    x, y = torch.rand(40, 1, 28, 28, generator=generator), torch.arange(10).repeat(4)
    made = Data("mnist", x, y, x, y, "made here")
    monkeypatch.setattr(plain, "samples", lambda name, *others: made)
    monkeypatch.setattr(maximise, "STEPS", 1)
    taken = []
    for module, name in ((plain, "steps"), (single, "epoch")):
        native = getattr(module, name)

        def noted(*arguments, name=name, native=native):
            taken.append(name)
            return native(*arguments)

        monkeypatch.setattr(module, name, noted)
    for cell in (
        Cell("lenet-mnist", "relu", "tied", 0.01, 20, 1, 0),
        Cell("lenet-mnist", "relu", "full_jam", 0.01, 20, 1, 0),
    ):
        job = Job(task, (cell,))
        run(job)
        trained = set(taken)
        taken.clear()
        assert calibration.epoch(job) > 0
        assert set(taken) == trained == {"epoch" if task == "train" else "steps"}
        taken.clear()


@pytest.mark.parametrize(("task", "stages", "times"), [("train", ("0", "end"), 2), ("maximise", (), 101 / 5)])
def test_a_dry_run_times_what_is_done_beside_training(monkeypatch, task, stages, times):
    """Each rule once: 3 s with its plans, then 1 s for a measurement, or for five steps of an ascent."""
    clock = iter([3.0, 1.0] * 2)
    monkeypatch.setattr(calibration, "_timed", lambda once: next(clock))
    monkeypatch.setattr(maximise, "starts", lambda cell, device: torch.zeros(1, 1, 28, 28))
    name, forward = ("mlp-digits", "logistic") if task == "train" else ("lenet-mnist", "relu")
    cells = [Cell(name, forward, rule, 0.1, 64, 4, seed) for rule in ("tied", "constant") for seed in (0, 1, 2)]
    assert calibration.Beside()(Job(task, tuple(cells), stages)) == pytest.approx(2 * 2.0 + 6 * times)
    assert calibration.Beside()(Job("train", tuple(cells))) == 0


SMALL = ("suc-ones", "--quick", "--epochs", "1", "--batch", "64", "--rule", "tied", "--rule", "constant")


def test_a_dry_run_takes_a_measurement_and_counts_it(monkeypatch):
    taken = []
    native = calibration.measured
    monkeypatch.setattr(calibration, "measured", lambda *given: taken.append(native(*given)))
    monkeypatch.setattr(calibration, "_timed", lambda once: (once(), 1000.0)[1])
    found = json.loads(CliRunner().invoke(app, ["grid", *SMALL, "--measure", "0,end", "--dry-run", "--json"]).stdout)
    assert len(taken) == 4
    assert sorted(row["angle_degrees"] > 0.1 for row in taken) == [False, False, True, True]
    assert 8000 < found["seconds"] < 8100
