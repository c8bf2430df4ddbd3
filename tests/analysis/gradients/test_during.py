"""Measuring while a training goes on: the training keeps its bits, tied and untied; the rows are those of measure."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import downslope as ds
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from downslope.analysis import files
from downslope.analysis.errors import Refused
from downslope.analysis.gradients.measuring import observing
from downslope.analysis.gradients.measuring.observing import Measuring
from downslope.analysis.gradients.table import read, write
from torch import nn

pytestmark = pytest.mark.filterwarnings("ignore:.*batch norm in training mode")

X, Y = torch.randn(24, 5, generator=torch.Generator().manual_seed(0)), torch.arange(24) % 3


def network() -> nn.Sequential:
    """Batch norm and dropout, in training mode: buffers move and the forward draws."""
    torch.manual_seed(1)
    return nn.Sequential(
        nn.Linear(5, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, 6), nn.Tanh(), nn.Linear(6, 3)
    )


def train(model: nn.Module, untied: str | None, measuring: Callable[[nn.Module], object], steps: int = 6) -> object:
    """A training that draws from torch's generator: batches, dropout and a random surrogate."""
    torch.manual_seed(2)
    sgd = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    block = ds.untie(model, {"relu": untied, "tanh": untied}) if untied else nullcontext()
    with measuring(model) as observed, block:
        for _ in range(steps):
            picked = torch.randperm(24)[:12]
            sgd.zero_grad()
            F.cross_entropy(model(X[picked]), Y[picked]).backward()
            sgd.step()
            if observed is not None:
                observed.step()
    return observed


def watched(model: nn.Module) -> Measuring:
    return Measuring(model, F.cross_entropy, (X, Y), ["constant", "full_jam"], at=[0, 2, 5, 50], draws=2, seed=3)


@pytest.mark.parametrize("untied", [None, "triangle", "full_jam"])
def test_the_training_keeps_its_bits(untied: str | None) -> None:
    alone, together = network(), network()
    train(alone, untied, lambda _: nullcontext())
    without = torch.get_rng_state()
    train(together, untied, watched)
    assert torch.equal(torch.get_rng_state(), without)
    for (name, here), there in zip(alone.state_dict().items(), together.state_dict().values(), strict=True):
        assert torch.equal(here, there), name
    for here, there in zip(alone.parameters(), together.parameters(), strict=True):
        assert torch.equal(here.grad, there.grad)


def test_a_measurement_that_disturbs_the_training_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    alone, together = network(), network()
    train(alone, None, lambda _: nullcontext())
    monkeypatch.setattr(observing, "copy", SimpleNamespace(deepcopy=lambda model: model.train(False)))
    train(together, None, watched)
    assert not all(
        torch.equal(here, there)
        for here, there in zip(alone.state_dict().values(), together.state_dict().values(), strict=True)
    )


@pytest.mark.parametrize("untied", [None, "constant"])
def test_the_rows_are_those_of_measure_at_that_step(untied: str | None) -> None:
    table = train(network(), untied, watched).table
    assert table.attrs["steps"] == [0, 2, 5]
    assert table.attrs["not_reached"] == [50]
    for steps in (0, 2, 5):
        stopped = network()
        if steps:
            train(stopped, untied, lambda _: nullcontext(), steps)
        alone = ds.measure(stopped, F.cross_entropy, (X, Y), ["constant", "full_jam"], draws=2, seed=3, step=steps)
        part = table[table.step == steps].reset_index(drop=True)
        pd.testing.assert_frame_equal(part, alone)
        assert table.attrs["loss"][[0, 2, 5].index(steps)] == alone.attrs["loss"]


def test_the_cost_is_stated_and_the_table_is_written(tmp_path: Path) -> None:
    observed = train(network(), None, watched)
    table = observed.table
    assert table.attrs["seconds_measuring"] == observed.seconds_measuring > 0
    assert table.attrs["seconds_training"] == observed.seconds_training > 0
    again = read(write(table, tmp_path / "t.parquet"))
    pd.testing.assert_frame_equal(again, table)
    assert again.attrs == table.attrs


def test_the_rows_stream_to_a_file_that_appears_whole(tmp_path: Path) -> None:
    path = tmp_path / "steps.parquet"
    held = train(network(), None, watched).table

    def streamed(model: nn.Module) -> Measuring:
        options = {"draws": 2, "seed": 3, "out": path}
        return Measuring(model, F.cross_entropy, (X, Y), ["constant", "full_jam"], at=[0, 2, 5, 50], **options)

    observed = train(network(), None, streamed)
    rows = read(path)
    losses = rows.groupby("step", sort=False)["loss"].unique()
    assert [each.tolist() for each in losses] == [[loss] for loss in held.attrs["loss"]]
    pd.testing.assert_frame_equal(rows.drop(columns="loss"), held, check_exact=True)
    assert rows.attrs["steps"] == [0, 2, 5, 50]
    assert not observed._tables  # nothing is held
    with pytest.raises(Refused, match=r"out='.*steps.parquet'; after the block, read them"):
        _ = observed.table
    with pytest.raises(KeyError), streamed(network()):
        raise KeyError
    pd.testing.assert_frame_equal(read(path), rows)  # what breaks off leaves the old file
    assert [each.name for each in tmp_path.iterdir()] == [path.name]


def test_a_file_that_cannot_be_written_is_refused_on_entering(tmp_path: Path) -> None:
    observed = Measuring(network(), F.cross_entropy, (X, Y), "constant", at=[0], out=tmp_path / "no" / "s.parquet")
    with pytest.raises(Refused, match=r"Measuring\(out=.*: cannot write there"), observed:
        pass


def to_file(path: Path, at: list[int]) -> Measuring:
    return Measuring(network(), F.cross_entropy, (X, Y), "constant", at=at, out=path)


def test_an_error_of_the_loops_own_stays_what_it_is(tmp_path: Path) -> None:
    """A checkpoint that is missing is not a table that cannot be written."""
    with pytest.raises(FileNotFoundError, match=r"checkpoint\.pt"), to_file(tmp_path / "s.parquet", [0]):
        (tmp_path / "checkpoint.pt").read_bytes()
    assert list(tmp_path.iterdir()) == []


def test_an_error_of_the_models_own_stays_what_it_is(tmp_path: Path) -> None:
    def failing(*_: object) -> torch.Tensor:
        raise PermissionError("the model's own")

    observed = Measuring(network(), failing, (X, Y), "constant", at=[0], out=tmp_path / "s.parquet")
    with pytest.raises(PermissionError, match="the model's own"), observed:
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_fills_up_is_told_at_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full)
    observed = to_file(tmp_path / "s.parquet", [0])
    with pytest.raises(Refused, match=r"out=.*s\.parquet.*cannot write there: No space"), observed:
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_loop_that_ends_before_the_first_chosen_step_is_warned_of_and_not_broken(tmp_path: Path) -> None:
    observed, said = to_file(tmp_path / "s.parquet", [5]), r"out='.*'\): no file was written: .* after 1 steps, and at="
    with pytest.warns(UserWarning, match=said), observed:
        observed.step()
    assert list(tmp_path.iterdir()) == []


def test_the_clock_counts_measuring_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = iter(range(1000))
    monkeypatch.setattr(Measuring, "_now", lambda self: float(next(ticks)))
    with Measuring(network(), F.cross_entropy, (X, Y), "constant", at=[0, 1]) as observed:
        observed.step()
        observed.step()
    # Ticks: 0 begin, 1-2 measure, 3-4 measure, 5 end.
    assert (observed.seconds_measuring, observed.seconds_training) == (2.0, 3.0)


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (lambda m: Measuring(m, F.cross_entropy, (X, Y), "constant", at=[]), r"at=\[\]"),
        (lambda m: Measuring(m, F.cross_entropy, (X, Y), "constant", at=[1.5]), r"at=\[1.5\]"),
        (lambda m: Measuring(m, F.cross_entropy, (X, Y), "constant", at=[-1]), r"at=\[-1\]"),
        (lambda m: Measuring(m, F.cross_entropy, (X, Y), 3, at=[1]), "surrogates=3"),
        (lambda m: Measuring(m, F.cross_entropy, (X, Y), "constant", at=[1], draw=2), "known options are"),
        (lambda m: Measuring(m, F.cross_entropy, (X, Y), "constant", at=[1]).step(), "inside the block"),
        (lambda m: Measuring(m, F.cross_entropy, (X, Y), "constant", at=[1]).table, "nothing was measured yet"),
    ],
)
def test_bad_use(act: Callable[[nn.Module], object], message: str) -> None:
    with pytest.raises(Refused, match=message):
        act(network())


def test_a_model_that_cannot_be_copied_is_told() -> None:
    model = network()
    model.held = model(X)  # a tensor on a graph
    observed = Measuring(model, F.cross_entropy, (X, Y), "constant", at=[0])
    with pytest.raises(Refused, match="cannot be copied"):
        observed.__enter__()


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_on_cuda_the_training_keeps_its_bits() -> None:
    x, y, kept = X.cuda(), Y.cuda(), []
    for measuring in (lambda _: nullcontext(), lambda m: Measuring(m, F.cross_entropy, (x, y), "full_jam", at=[0, 1])):
        model = network().cuda()
        torch.manual_seed(2)
        sgd = torch.optim.SGD(model.parameters(), lr=0.1)
        with measuring(model) as observed:
            for _ in range(3):
                sgd.zero_grad()
                F.cross_entropy(model(x), y).backward()
                sgd.step()
                if observed is not None:
                    observed.step()
        kept.append([value.cpu() for value in model.state_dict().values()])
    assert all(torch.equal(a, b) for a, b in zip(*kept, strict=True))
