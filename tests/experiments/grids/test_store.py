"""The run folder: whole files or none, ours or refused, one process at a time."""

import errno
import json
import os
import stat
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from downslope.analysis.errors import Refused
from downslope.analysis.files import unfinished, whole
from downslope.experiments.grids.cell import Cell
from downslope.experiments.grids.job import Job, Record
from downslope.experiments.grids.store import files, folder, numerics
from downslope.experiments.grids.store.numerics import digest

CELLS = tuple(Cell("mlp-digits", "logistic", "tied", 0.05, 64, 1, seed=seed) for seed in (0, 1))
JOB = Job("train", CELLS)
RECORDS = tuple(
    Record(
        cell, {"epoch": (0, 1), "test_accuracy": (0.1, 1 / 3)}, None, "ab" * 16, ({"epoch": 0, "cosine": 0.1 + 0.2},)
    )
    for cell in CELLS
)


@pytest.fixture
def runs(tmp_path):
    with folder.opened(tmp_path / "runs", "a-grid") as store:
        store.write(JOB, RECORDS, 1.5)
    return tmp_path / "runs"


def result(runs):
    (file,) = (runs / "results").iterdir()
    return file


def read(runs, grid="a-grid", job=JOB, **how):
    with folder.opened(runs, grid, **how) as store:
        return store.read(job)[0]


def test_what_is_written_is_read_to_the_last_bit(runs):
    assert read(runs) == RECORDS


def test_a_result_that_is_there_is_not_written_again(runs):
    before = result(runs).stat().st_ino
    with folder.opened(runs, "a-grid") as store:
        store.write(JOB, RECORDS, 99.0)
        assert store.read(JOB) == (RECORDS, 1.5)
    assert result(runs).stat().st_ino == before


def test_records_of_other_cells_are_never_kept(tmp_path):
    with folder.opened(tmp_path / "runs", "a-grid") as store, pytest.raises(AssertionError, match="not of its cells"):
        store.write(JOB, RECORDS[::-1], 1.0)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.99])
def test_a_truncated_file_is_named_and_refused(runs, share):
    text = result(runs).read_text()
    result(runs).write_text(text[: int(share * len(text))])
    with pytest.raises(Refused, match=rf"{JOB.key}.json: this is truncated or no file of a grid; delete it"):
        read(runs)


def test_an_altered_number_is_refused(runs):
    text = result(runs).read_text()
    assert text.count("0.3333333333333333") == 2
    result(runs).write_text(text.replace("0.3333333333333333", "0.9333333333333333", 1))
    with pytest.raises(Refused, match="do not match its checksum"):
        read(runs)


def test_another_jobs_result_under_this_name_is_refused(runs):
    other = replace(JOB, cells=JOB.cells[:1])
    result(runs).rename(runs / "results" / f"{other.key}.json")
    with pytest.raises(Refused, match="another job's result"):
        read(runs, job=other)


def test_whole_json_that_is_no_result_is_refused(runs):
    files.write(result(runs), {"job": JOB.key, "records": [{}], "seconds": 1})
    with pytest.raises(Refused, match="no result of a grid"):
        read(runs)


def test_a_foreign_file_among_the_results_is_refused(runs):
    (runs / "results" / "notes.txt").write_text("mine")
    with pytest.raises(Refused, match=r"notes\.txt: this is not a file of a grid"):
        read(runs)


def test_a_folder_of_something_else_is_not_written_to(tmp_path):
    (tmp_path / "thesis.tex").write_text("mine")
    with pytest.raises(Refused, match=r"holds thesis\.tex"):
        read(tmp_path)
    assert (tmp_path / "thesis.tex").read_text() == "mine"
    assert [each.name for each in tmp_path.iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize(
    ("field", "value"), [("schema", "downslope.grid/0"), ("downslope", "0.0.1"), ("torch", "1.0"), ("grid", "other")]
)
def test_a_folder_of_another_version_or_grid_is_refused(runs, field, value):
    said = files.read(runs / "folder.json")
    files.write(runs / "folder.json", said | {field: value})
    with pytest.raises(Refused, match=rf"not mixed: {field} '{value}' there"):
        read(runs)


def test_a_folder_from_before_records_held_chance_is_another_version_and_nothing_is_to_be_deleted(runs):
    """Records of layout 1 cannot be read; whoever made them keeps them."""
    said = files.read(result(runs))
    for record in said["records"]:
        del record["chance"]
    files.write(result(runs), said)
    files.write(runs / "folder.json", files.read(runs / "folder.json") | {"schema": "downslope.grid/1"})
    for look in (read, lambda path: folder.seen(path, "a-grid", other_code=True).read(JOB)):
        with pytest.raises(Refused, match=r"schema 'downslope.grid/1' there.*read this one with what wrote it") as told:
            look(runs)
        assert "delete" not in str(told.value)


def test_results_of_another_device_are_not_mixed(runs):
    with pytest.raises(Refused, match="device 'cpu' there, 'cuda' here"):
        read(runs, device="cuda")


def test_what_a_killed_process_left_is_swept_away(runs):
    half = [
        runs / "results" / f".{JOB.key}.json.{'0a' * 8}.unfinished",
        runs / f".curves.parquet.{'1b' * 8}.unfinished",
    ]
    for each in half:
        each.write_text("half")
    assert read(runs) == RECORDS
    assert [each.exists() for each in half] == [False, False]


def test_the_names_that_are_swept_are_those_of_files_being_written(tmp_path):
    with whole(tmp_path / "kept.json") as file:
        assert unfinished(Path(file.name).name)
    kept = ["kept.json", ".nfs0001", ".kept.json", "kept.json.bak", ".kept.json.unfinished"]
    assert [name for name in kept if unfinished(name)] == []


@pytest.mark.parametrize("name", [".folder.json.swp", ".notes.json.bak", ".kept.json.abc_1x2z"])
def test_a_hidden_file_of_the_users_is_not_swept(runs, name):
    mine = runs / name
    mine.write_text("mine")
    assert read(runs) == RECORDS
    assert mine.read_text() == "mine"


def test_others_may_read_what_is_kept_as_the_umask_says(tmp_path):
    before = os.umask(0o022)
    try:
        with folder.opened(tmp_path / "runs", "a-grid") as store:
            store.write(JOB, RECORDS, 1.5)
            store.note("a-call", {"command": []})
            store.publish({"table": []})
    finally:
        os.umask(before)
    kept = [file for file in (tmp_path / "runs").rglob("*.json")]
    assert len(kept) == 4
    assert {stat.filemode(file.stat().st_mode) for file in kept} == {"-rw-r--r--"}


def test_a_folder_is_read_while_another_process_writes_and_nothing_changes(runs):
    left = runs / "results" / f".{JOB.key}.json.{'0a' * 8}.unfinished"
    with folder.opened(runs, "a-grid"):
        left.write_text("half")
        before = {file: file.stat().st_mtime_ns for file in runs.rglob("*")}
        assert folder.seen(runs, "a-grid").read(JOB) == (RECORDS, 1.5)
        assert {file: file.stat().st_mtime_ns for file in runs.rglob("*")} == before
    assert folder.seen(runs / "none", "a-grid") is None


def test_results_of_other_code_at_the_same_version_are_not_mixed(runs):
    said = files.read(runs / "folder.json")
    files.write(runs / "folder.json", said | {"code": "0123456789abcdef"})
    for look in (read, lambda path: folder.seen(path, "a-grid")):
        with pytest.raises(Refused, match=r"other code are not mixed: .*\(digest 0123456789abcdef there, .* --check"):
            look(runs)
    assert folder.seen(runs, "a-grid", other_code=True).read(JOB)[0] == RECORDS


def test_the_digest_of_the_code_is_of_what_computes(tmp_path):
    for room in ("analysis", "experiments/grids/results", "experiments/stacked"):
        (tmp_path / room).mkdir(parents=True)
        (tmp_path / room / "one.py").write_text("x = 1\n")
    found = [digest(tmp_path)]
    for path in ("experiments/grids/results/one.py", "analysis/one.py", "experiments/stacked/two.py"):
        (tmp_path / path).write_text("x = 2\n")
        found.append(digest(tmp_path))
    assert found[0] == found[1]
    assert len(set(found)) == 3


CODE = """
def f(x, among={1, 2}):
    try:
        return [x + 1.5, x in {"a", "b", "c"}]
    finally:
        x += 1
"""


@pytest.fixture
def package(tmp_path):
    (tmp_path / "analysis").mkdir()
    (tmp_path / "analysis" / "one.py").write_text(CODE)
    return tmp_path


@pytest.mark.parametrize(
    ("before", "after", "same"),
    [
        ("", '"""What this is."""\n', True),
        ("    try", '    """What f is."""\n    # why\n\n    try', True),
        ("[x + 1.5, x", "[\n            x + 1.5,\n            x", True),
        ("1.5", "1.25", False),
        ("x + 1.5", "x - 1.5", False),
        ('"b"', '"d"', False),
        ("{1, 2}", "{1, 3}", False),
        ("x += 1", "x += 2", False),
        ("x + 1.5", "among + 1.5", False),
        ("def f", "def g", False),
    ],
)
def test_the_digest_is_of_code_not_of_what_is_said_about_it(package, before, after, same):
    found = digest(package)
    assert CODE.count(before) == 1 or not before
    (package / "analysis" / "one.py").write_text(CODE.replace(before, after, 1))
    assert (digest(package) == found) == same


def test_the_digest_is_that_of_another_process(package):
    code = f"import runpy; from pathlib import Path; print(runpy.run_path({numerics.__file__!r})['digest'](Path('.')))"
    for seed in ("1", "2", "3"):
        ran = subprocess.run(
            [sys.executable, "-c", code], cwd=package, env=os.environ | {"PYTHONHASHSEED": seed}, capture_output=True
        )
        assert ran.stdout.decode().strip() == digest(package), ran.stderr


def test_what_the_digest_leaves_out_is_there():
    """A folder that was renamed would be back in the digest, and nobody would know why folders are refused."""
    package = Path(numerics.__file__).parents[3]
    assert [name for name in numerics._BESIDE if not (package / name).exists()] == []


@pytest.mark.parametrize("text", ["", "{}", '{"checksum":"","contents":{}}'])
def test_a_damaged_identity_is_not_said_to_be_redone(runs, text):
    (runs / "folder.json").write_text(text)
    with pytest.raises(Refused, match=r"folder\.json: .*; without it nothing says which code.*move the folder away"):
        read(runs)


def test_a_second_process_is_told_who_holds_the_folder(runs):
    code = (
        "import sys; from pathlib import Path; from downslope.experiments.grids.store.folder import opened\n"
        "with opened(Path(sys.argv[1]), 'a-grid'): pass"
    )
    with folder.opened(runs, "a-grid"):
        second = subprocess.run([sys.executable, "-c", code, str(runs)], capture_output=True, text=True)
    assert second.returncode == 1
    assert f"another process is writing there (process {os.getpid()} on " in second.stderr
    free = subprocess.run([sys.executable, "-c", code, str(runs)], capture_output=True, text=True)
    assert free.returncode == 0, free.stderr


def test_a_lock_of_a_dead_process_blocks_no_one(runs):
    (runs / "lock").write_text("99999999 on elsewhere\n")
    assert read(runs) == RECORDS


@pytest.mark.parametrize("function", ["fsync", "replace"])
def test_a_full_disk_leaves_what_was_there_and_nothing_else(tmp_path, monkeypatch, function):
    def full(*args):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    file = tmp_path / "kept.json"
    files.write(file, {"before": 1})
    monkeypatch.setattr(os, function, full)
    with pytest.raises(Refused, match=r"kept\.json: cannot write: the disk is full.*run the same command again"):
        files.write(file, {"after": 2})
    monkeypatch.undo()
    assert files.read(file) == {"before": 1}
    assert list(tmp_path.iterdir()) == [file]


def test_a_writer_that_is_not_atomic_would_be_caught(tmp_path):
    """What a mutant that writes in place leaves when it is stopped half way is refused, never read."""
    file = tmp_path / "result.json"
    files.write(file, {"job": JOB.key})
    half = file.read_text()[:40]
    file.write_text(half)
    with pytest.raises(Refused, match="truncated"):
        files.read(file)
    with pytest.raises(json.JSONDecodeError):
        json.loads(half)


def test_numbers_that_json_cannot_hold_are_not_written(tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        files.write(tmp_path / "nan.json", {"loss": float("nan")})
    assert list(tmp_path.iterdir()) == []
