"""A long measurement streams: whole row groups, memory that does not grow, a file that appears whole or not at all."""

from __future__ import annotations

import gc
import os
import weakref

import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch
import torch.nn.functional as F
from downslope.analysis import files
from downslope.analysis.errors import Refused
from downslope.analysis.gradients import streaming, table
from downslope.analysis.gradients.given import measuring, summary
from torch import nn

ROWS = 12


def tables(count, made=None):
    """Tables as `measured` gives them, of `ROWS` rows each, one angle undefined."""
    for number in range(count):
        angles = [float("nan"), *(float(number + row) for row in range(1, ROWS))]
        found = pd.DataFrame(
            {
                "surrogate": "constant",
                "layer": [str(row % 3) for row in range(ROWS)],
                "depth": [row % 3 + 1 for row in range(ROWS)],
                "step": pd.array([None] * ROWS, dtype="Int64"),
                "batch": number,
                "sample": "batch",
                "angle_degrees": angles,
                "directional_derivative": [-angle for angle in angles],
                "reason": ["", "why"] * (ROWS // 2),
            }
        )
        found.attrs = table.provenance(seed=number)
        if made is not None:
            made.append(weakref.ref(found))
        yield found


def test_what_is_read_is_what_was_streamed_in_whole_row_groups(tmp_path, monkeypatch):
    monkeypatch.setattr(streaming, "GROUP", 5 * ROWS)
    path = tmp_path / "long.parquet"
    summary.through(tables(12), path)
    read = table.read(path)
    given = list(tables(12))
    attrs = given[0].attrs
    for each in given:
        each.attrs = {}
    pd.testing.assert_frame_equal(read, pd.concat(given, ignore_index=True), check_exact=True)
    assert read.attrs["seed"] == attrs["seed"] == 0
    groups = pq.ParquetFile(path).metadata
    assert [groups.row_group(i).num_rows for i in range(groups.num_row_groups)] == [5 * ROWS, 5 * ROWS, 2 * ROWS]
    assert os.listdir(tmp_path) == [path.name]


def test_the_memory_does_not_grow_and_the_parts_go_to_the_disk(tmp_path, monkeypatch):
    """At most one table is alive besides the one being made, the rows that wait are bounded, the file grows."""
    monkeypatch.setattr(streaming, "GROUP", 4 * ROWS)
    made, alive, sizes = [], [], []

    def watched():
        for number, each in enumerate(tables(60, made)):
            yield each
            del each
            if number in (8, 20, 40):
                gc.collect()
                alive.append(sum(ref() is not None for ref in made))
                sizes.append(sum(path.stat().st_size for path in tmp_path.iterdir()))

    held = summary.through(watched(), tmp_path / "long.parquet")
    assert max(alive) <= 2
    assert 0 < sizes[0] < sizes[1] < sizes[2]
    assert not held._kept
    assert len(held.records()) == 3
    # The test can fail: what keeps its tables is seen.
    made.clear()
    kept = summary.through(tables(5, made), keep=True)
    gc.collect()
    assert sum(ref() is not None for ref in made) == 5
    assert len(kept.kept()) == 5 * ROWS


@pytest.mark.parametrize("error", [Refused("batch 3: NaN"), KeyboardInterrupt(), RuntimeError("a defect")])
def test_a_measurement_that_breaks_off_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, error):
    monkeypatch.setattr(streaming, "GROUP", ROWS)
    path = tmp_path / "long.parquet"
    path.write_bytes(b"old")

    def breaking():
        yield from tables(3)
        raise error

    with pytest.raises(type(error)):
        summary.through(breaking(), path)
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == [path.name]


def test_a_full_disk_is_told_and_leaves_nothing(tmp_path, monkeypatch):
    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(Refused, match=r"--out .*long\.parquet: cannot write there: No space left on device"):
        summary.through(tables(3), tmp_path / "long.parquet")
    assert os.listdir(tmp_path) == []


def test_a_measurement_of_nothing_is_refused(tmp_path):
    with pytest.raises(Refused, match="nothing was measured"):
        summary.through(iter(()), tmp_path / "long.parquet")
    assert os.listdir(tmp_path) == []


def test_the_summary_is_the_mean_over_what_is_defined():
    found = summary.through(tables(7), keep=True)
    rows = found.kept()
    for record in found.records():
        angles = rows[rows["layer"] == record["layer"]]["angle_degrees"]
        assert record["mean_angle_degrees"] == pytest.approx(angles.mean(), rel=1e-12)
        assert record["mean_directional_derivative"] == pytest.approx(-angles.mean(), rel=1e-12)
        assert (record["defined"], record["undefined"]) == (angles.count(), angles.isna().sum())
    assert (found.rows, found.batches) == (7 * ROWS, 7)
    assert sum(record["undefined"] for record in found.records()) == 7


def test_the_file_of_a_real_measurement_is_that_of_its_tables(tmp_path):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)).eval()
    batches = [(torch.randn(5, 3), torch.randint(0, 2, (5,))) for _ in range(3)]
    what = measuring.What(("constant", "full_jam"), draws=2, seeds=(0, 1))

    def measured():
        return measuring.measured(model, F.cross_entropy, batches, what, said={"model": "here"})

    summary.through(measured(), tmp_path / "o.parquet")
    rows = table.read(tmp_path / "o.parquet")
    together = summary.through(measured(), keep=True).kept()
    pd.testing.assert_frame_equal(rows, together, check_exact=True)
    assert rows.attrs["seed"] == [0, 1]
    assert not rows.duplicated(["batch", "seed", "surrogate", "draw", "layer"]).any()
    assert len(rows) == 3 * 2 * (1 + 2) * 3
