"""Measurements on disk: whole or not at all, with provenance, refused where they are not ours."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path

import downslope as ds
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from downslope.analysis.errors import Refused
from downslope.analysis.gradients.table import SCHEMA, provenance, read, write
from torch import nn


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))
    batch = torch.randn(4, 2), torch.randn(4, 1)
    return ds.measure(model, nn.functional.mse_loss, batch, ["constant", "full_jam"], draws=2, stage="end", step=7)


def test_what_is_written_is_read(table: pd.DataFrame, tmp_path: Path) -> None:
    path = write(table, tmp_path / "table.parquet")
    again = read(path)
    pd.testing.assert_frame_equal(again, table)
    assert again.attrs == table.attrs


def test_undefined_numbers_come_back_missing(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))
    nn.init.zeros_(model[2].weight)
    table = ds.measure(model, nn.functional.mse_loss, (torch.ones(4, 2), torch.ones(4, 1)), "constant")
    again = read(write(table, tmp_path / "t.parquet"))
    pd.testing.assert_frame_equal(again, table)
    assert again.loc[0, "state"] == "undefined"
    assert again.loc[0, ["angle_degrees", "cosine"]].isna().all()


def test_other_tools_read_it(table: pd.DataFrame, tmp_path: Path) -> None:
    path = write(table, tmp_path / "table.parquet")
    pd.testing.assert_frame_equal(pd.read_parquet(path), table)
    said = json.loads(pq.read_schema(path).metadata[b"downslope"])
    assert said["schema"] == SCHEMA == "downslope.measurement/1"
    assert said["seed"] == 0
    assert said["device"] == "cpu"
    assert said["versions"]["torch"] == torch.__version__
    assert said["created"].endswith("+00:00")
    assert said.keys() >= {"commit", "training", "loss"}


def test_a_table_without_provenance_is_not_written(table: pd.DataFrame, tmp_path: Path) -> None:
    bare = table.copy()
    bare.attrs = {}
    with pytest.raises(Refused, match="has the schema None"):
        write(bare, tmp_path / "t.parquet")
    bare.attrs = provenance(seed=3)
    assert read(write(bare, tmp_path / "t.parquet")).attrs["seed"] == 3


def test_nowhere_to_write(table: pd.DataFrame, tmp_path: Path) -> None:
    with pytest.raises(Refused, match="cannot write there"):
        write(table, tmp_path / "no" / "such" / "folder.parquet")


def test_a_failed_write_leaves_the_old_file(
    table: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(table, tmp_path / "t.parquet")
    before = path.read_bytes()

    def half(arrow: pa.Table, beside: object) -> None:
        beside.write(before[: len(before) // 2])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pq, "write_table", half)
    with pytest.raises(Refused, match="No space left"):
        write(table, path)
    assert path.read_bytes() == before
    assert [each.name for each in tmp_path.iterdir()] == ["t.parquet"]


def test_a_reader_never_sees_half_a_file(table: pd.DataFrame, tmp_path: Path) -> None:
    path = write(table, tmp_path / "t.parquet")
    stop = threading.Event()

    def rewrite() -> None:
        while not stop.is_set():
            write(table, path)

    writer = threading.Thread(target=rewrite)
    writer.start()
    try:
        for _ in range(50):
            assert len(read(path)) == len(table)
    finally:
        stop.set()
        writer.join()


def test_the_file_has_the_permissions_of_any_new_file(table: pd.DataFrame, tmp_path: Path) -> None:
    (tmp_path / "plain").touch()
    assert os.stat(write(table, tmp_path / "t.parquet")).st_mode == os.stat(tmp_path / "plain").st_mode


@pytest.mark.parametrize("length", [0, 3, 100, -1])
def test_a_truncated_file_is_refused(table: pd.DataFrame, tmp_path: Path, length: int) -> None:
    path = write(table, tmp_path / "t.parquet")
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(Refused, match="no whole Parquet file"):
        read(path)


def test_other_files_are_refused_by_name(table: pd.DataFrame, tmp_path: Path) -> None:
    with pytest.raises(Refused, match="there is no such file"):
        read(tmp_path / "none.parquet")
    table.to_parquet(tmp_path / "foreign.parquet")
    with pytest.raises(Refused, match=r"its schema is None.*no measurement of downslope"):
        read(tmp_path / "foreign.parquet")
    (tmp_path / "text.parquet").write_text("angle\n90\n" * 100)
    with pytest.raises(Refused, match="no whole Parquet file"):
        read(tmp_path / "text.parquet")
    for said, message in [
        (b'{"schema": "downslope.measurement/9"}', "its schema is 'downslope.measurement/9', and this version reads"),
        (b"{", "its provenance is no JSON"),
        (b"[1]", "its schema is None"),
    ]:
        arrow = pa.table({"angle": [1.0]}).replace_schema_metadata({b"downslope": said})
        pq.write_table(arrow, tmp_path / "later.parquet")
        with pytest.raises(Refused, match=message):
            read(tmp_path / "later.parquet")
