"""`downslope grid` as a user meets it: what it prints, keeps, skips, refuses, and how it stops."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time

import pytest
import torch
from downslope.__main__ import app, main
from downslope.experiments.grids.catalogue import GRIDS
from downslope.experiments.grids.command.progress import Rate
from downslope.experiments.grids.running import run as running
from downslope.experiments.grids.running.check import SAMPLE
from downslope.experiments.grids.store import files
from typer.testing import CliRunner

SMALL = ("suc-ones", "--quick", "--epochs", "1", "--batch", "64", "--rule", "tied", "--rule", "constant")


def grid(*arguments):
    return CliRunner().invoke(app, ["grid", *map(str, arguments)], catch_exceptions=False)


def refused(capsys, monkeypatch, *arguments):
    """The one message of a call that ends with exit code 2."""
    monkeypatch.setattr(sys, "argv", ["downslope", "grid", *map(str, arguments)])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 2
    said = capsys.readouterr().err
    assert "Traceback" not in said
    return said


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    runs = tmp_path_factory.mktemp("runs")
    return runs, grid(*SMALL, "--out", runs, "--json")


@pytest.fixture(scope="module")
def kept_measured(tmp_path_factory):
    runs = tmp_path_factory.mktemp("measured")
    assert grid(*SMALL, "--measure", "0,end", "--out", runs).exit_code == 0
    return runs


@pytest.fixture
def measured_runs(kept_measured, tmp_path):
    shutil.copytree(kept_measured, tmp_path / "measured")
    return tmp_path / "measured"


@pytest.fixture
def runs(kept, tmp_path):
    shutil.copytree(kept[0], tmp_path / "runs")
    return tmp_path / "runs"


def test_json_is_the_cells_and_the_table_with_the_times_apart(kept):
    said = json.loads(kept[1].stdout)
    assert [(each["cell"]["rule"], each["cell"]["seed"]) for each in said["cells"]] == [
        ("tied", 0),
        ("tied", 1),
        ("constant", 0),
        ("constant", 1),
    ]
    assert [row["rule"] for row in said["table"]] == ["tied", "constant"]
    assert all(seconds > 0 for seconds in said["times"].values())
    assert "downslope: 4 runs in 1 job, in " in kept[1].stderr


def test_a_second_call_skips_what_is_done_and_says_the_same(kept, runs):
    again = grid(*SMALL, "--out", runs, "--json")
    assert again.stdout == kept[1].stdout
    assert "downslope: all 4 runs were done before; nothing was trained; " in again.stderr
    assert "skipped" not in again.stderr
    assert len(list((runs / "suc-ones-quick/provenance").iterdir())) == 1


def test_other_settings_add_to_the_folder_and_are_told_apart(runs):
    more = grid(*SMALL, "--seeds", "3", "--out", runs, "--json")
    assert [row["runs"] for row in json.loads(more.stdout)["table"]] == [3, 3]
    assert "1 result of other settings left alone" in more.stderr


def test_the_folder_says_where_its_results_come_from(kept):
    folder = kept[0] / "suc-ones-quick"
    (note,) = (folder / "provenance").iterdir()
    said = files.read(note)
    assert {"versions", "commit", "device", "threads", "command", "seeds", "created", "grid"} <= set(said)
    assert (said["device"], said["threads"], said["seeds"]) == ("cpu", 1, [0, 1])
    assert said["versions"]["torch"]
    assert json.loads((folder / "table.json").read_text())["table"] == json.loads(kept[1].stdout)["table"]


def test_the_table_is_printed_with_its_sentence():
    said = grid(*SMALL)
    assert "unit-ones, logistic, lr 0.1, batch 64, 1 epoch: mean ± 95% interval over seeds" in said.stdout
    assert "constant" in said.stdout
    assert "quick: supports no sentence" in said.stdout
    assert "tied reaches" not in said.stdout
    assert "kept in" not in said.stderr


def test_a_dry_run_counts_and_writes_nothing(runs, tmp_path):
    said = grid(*SMALL, "--dry-run", "--out", tmp_path / "none")
    assert "suc-ones-quick: 4 runs in 1 job." in said.stdout
    assert "Expected, by a short calibration:" in said.stdout
    assert not (tmp_path / "none").exists()
    done = json.loads(grid(*SMALL, "--dry-run", "--out", runs, "--json").stdout)
    assert (done["done"], done["seconds"]) == (1, 0)


def test_a_check_repeats_the_runs_to_the_bit(runs):
    said = grid(*SMALL, "--check", runs)
    assert said.exit_code == 0
    assert "4 runs of a random sample" in said.stdout
    assert "4 give the same bits" in said.stdout


def test_a_check_notices_a_number_that_no_run_gives(runs):
    (file,) = (runs / "suc-ones-quick/results").iterdir()
    said = files.read(file)
    (altered,) = [each for each in said["records"] if (each["cell"]["rule"], each["cell"]["seed"]) == ("constant", 0)]
    altered["curve"]["test_loss"][-1] += 0.1
    files.write(file, said)
    found = grid(*SMALL, "--check", runs)
    assert found.exit_code == 1
    assert "3 give the same bits" in found.stdout
    assert "NOT REPRODUCED: unit-ones logistic / constant, lr 0.1, seed 0" in found.stdout


@pytest.mark.parametrize(
    ("alter", "said"),
    [
        (
            lambda record: record["measured"][0].update(angle_degrees=170.0, cosine=-0.98),
            "measurements differ by up to 2 ",
        ),
        (lambda record: record["measured"][0].update(cosine=None), "measurements are not of one form"),
        (lambda record: record["measured"].pop(), "measurements are not of one form"),
        (lambda record: record["curve"]["test_loss"].pop(), "scores are not of one form"),
        (lambda record: record["curve"]["step"].__setitem__(-1, 1), "scores differ by up to"),
    ],
    ids=("an angle", "no cosine", "a row", "a shorter curve", "a step"),
)
def test_a_check_notices_what_else_no_run_gives(measured_runs, alter, said):
    (file,) = (measured_runs / "suc-ones-quick/results").iterdir()
    contents = files.read(file)
    alter(contents["records"][-1])
    files.write(file, contents)
    found = grid(*SMALL, "--measure", "0,end", "--check", measured_runs)
    assert found.exit_code == 1
    assert f"NOT REPRODUCED: unit-ones logistic / tied, lr 0.1, seed 1: {said}" in found.stdout


def test_a_check_says_what_it_compares(measured_runs):
    found = json.loads(grid(*SMALL, "--measure", "0,end", "--check", measured_runs, "--json").stdout)
    assert found["agrees"]
    assert {tuple(run["largest_difference"].items()) for run in found["runs"]} == {(("scores", 0), ("measurements", 0))}


def test_a_check_of_nothing_is_refused(capsys, monkeypatch, tmp_path):
    said = refused(capsys, monkeypatch, *SMALL, "--check", tmp_path)
    assert "there is no run folder" in said
    assert "`downslope grid suc-ones --quick --out ...` makes one" in said


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("mlp-digit",), "there is no grid 'mlp-digit': did you mean 'mlp-digits'"),
        (("suc-ones", "--rule", "trinagle"), "surrogate 'trinagle' is not in the catalogue; did you mean 'triangle'"),
        (("suc-ones", "--forward", "relux"), "activation 'relux'"),
        (("suc-ones", "--learning-rate", "-1"), "--learning-rate -1.0: give a number above 0"),
        (("suc-ones", "--device", "abacus"), "--device abacus: grids run on cpu, cuda, or one of several as cuda:0"),
        (("suc-ones", "--device", "meta"), "--device meta: grids run on cpu, cuda, or one of several as cuda:0"),
        (("suc-ones", "--quick", "--measure", "7"), "epoch 7 lies beyond the last, 5"),
        (("depth-digits", "--epochs", "3", "--measure", "0,4"), "epoch 4 lies beyond the last, 3"),
        (("maximise-lenet", "--measure", "0"), "--measure 0: maximise-lenet trains tied and climbs by each rule"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
@pytest.mark.parametrize("dry", [(), ("--dry-run",)], ids=["run", "dry run"])
def test_bad_input_is_one_message_and_leaves_no_folder(capsys, monkeypatch, tmp_path, arguments, said, dry):
    assert said in refused(capsys, monkeypatch, *arguments, *dry, "--out", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_grid_of_nothing_says_why(capsys, monkeypatch, tmp_path):
    said = refused(capsys, monkeypatch, "bnn-ones", "--rule", "tied", "--out", tmp_path)
    assert "nothing can be run: the derivative of heaviside is 0" in said


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
@pytest.mark.parametrize("more", [("--dry-run",), ("--check",), ("--out",)], ids=" ".join)
def test_a_device_that_is_not_there_is_one_message(capsys, monkeypatch, tmp_path, more):
    arguments = (*more, *([] if more == ("--dry-run",) else [tmp_path]))
    assert "--device cuda: torch cannot use it" in refused(capsys, monkeypatch, *SMALL, "--device", "cuda", *arguments)
    assert list(tmp_path.iterdir()) == []


def test_a_learning_rate_that_diverges_is_recorded_and_counted():
    said = grid("suc-ones", "--quick", "--forward", "relu", "--rule", "tied", "--rule", "constant", "--epochs", "3",
                "--learning-rate", "1e30", "--json")  # fmt: skip
    found = json.loads(said.stdout)
    assert all(each["diverged"] for each in found["cells"])
    assert [(row["runs"], row["diverged"], row["mean"]) for row in found["table"]] == [(0, 2, None)] * 2
    assert "4 diverged" in said.stderr
    assert "diverged and left out: tied 2 of 2, constant 2 of 2" in found["sentences"][0]
    assert [row["verdict"] for row in found["table"]] == ["", "diverged"]


def test_a_loss_that_is_large_but_finite_is_an_ordinary_run():
    found = json.loads(
        grid("mlp-digits", "--quick", "--epochs", "2", "--rule", "tied", "--learning-rate", "1e6", "--json").stdout
    )
    assert {each["diverged"] for each in found["cells"]} == {None}
    assert max(found["cells"][0]["curve"]["train_loss"]) > 1000


def test_workers_without_a_job_are_told(tmp_path):
    two = grid(*SMALL, "--dry-run", "--workers", "2")
    assert "1 job: a second worker has nothing to do." in two.stderr
    five = grid(*SMALL, "--batch", "32", "--dry-run", "--workers", "5")
    assert "2 jobs: more than 2 workers have nothing to do." in five.stderr
    assert "nothing to do" not in grid(*SMALL, "--batch", "32", "--dry-run", "--workers", "2").stderr
    assert "1 job: a second worker has nothing to do." in grid(*SMALL, "--workers", "2", "--out", tmp_path).stderr
    assert "nothing to do" not in grid(*SMALL, "--workers", "2", "--out", tmp_path).stderr


def test_the_help_names_every_grid_and_the_size_of_the_sample():
    said = " ".join(re.sub("[│╭╮╰╯─]", " ", grid("--help").stdout).split())
    assert [name for name in GRIDS if f"{name}," not in said and f"{name}." not in said] == []
    assert f"Train {SAMPLE} random jobs" in said


def test_a_truncated_result_is_named_before_anything_runs(capsys, monkeypatch, runs):
    (file,) = (runs / "suc-ones-quick/results").iterdir()
    file.write_text(file.read_text()[:100])
    assert f"{file}: this is truncated" in refused(capsys, monkeypatch, *SMALL, "--out", runs)
    file.unlink()
    assert grid(*SMALL, "--out", runs).exit_code == 0


LIMIT = """
import resource, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # the write then fails, as on a disk that is full
from downslope.__main__ import main
from downslope.experiments.grids.store.folder import Folder
native = Folder.write
def write(self, job, records, seconds):
    if any(self.results.iterdir()):
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
    native(self, job, records, seconds)
Folder.write = write
main()
"""


def test_a_disk_that_is_full_stops_cleanly_and_is_gone_on_from(tmp_path):
    arguments = (*SMALL, "--batch", "16", "--batch", "32", "--out", str(tmp_path))
    full = subprocess.run([sys.executable, "-c", LIMIT, "grid", *arguments], capture_output=True, text=True)
    assert full.returncode == 2
    assert "cannot write" in full.stderr
    assert "Traceback" not in full.stderr
    assert len(list((tmp_path / "suc-ones-quick/results").iterdir())) == 1
    resumed, whole = grid(*arguments, "--json"), grid(*arguments[:-2], "--json")
    assert "1 of 3 jobs is done already and skipped" in resumed.stderr
    assert json.loads(resumed.stdout)["cells"] == json.loads(whole.stdout)["cells"]


def test_ctrl_c_leaves_a_folder_that_is_gone_on_from(tmp_path):
    arguments = ("suc-ones", "--quick", "--epochs", "1", *(part for n in range(8, 40) for part in ("--batch", str(n))))
    command = [sys.executable, "-m", "downslope", "grid", *arguments, "--out", str(tmp_path)]
    # A shell starts what it puts in the background with interrupts ignored, and so would these tests' children be.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        started = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=tmp_path)
    finally:
        signal.signal(signal.SIGINT, before)
    results = tmp_path / "suc-ones-quick/results"
    while not (results.exists() and len(list(results.glob("*.json"))) > 2) and started.poll() is None:
        time.sleep(0.01)
    started.send_signal(signal.SIGINT)
    _, said = started.communicate(timeout=60)
    assert started.returncode == 130, said
    assert f"the same command goes on from there ({tmp_path / 'suc-ones-quick'})" in said
    assert "Traceback" not in said
    stood = len(list(results.glob("*.json")))
    assert 2 < stood < 32
    resumed = grid(*arguments, "--out", tmp_path).stderr
    assert f"{stood} of 32 jobs are done already and skipped" in resumed
    assert f"448 runs; {32 - stood} of 32 jobs done now, in " in resumed


def test_the_rate_counts_from_where_this_call_began(monkeypatch):
    clock = iter([10.0, 12.0])
    monkeypatch.setattr(time, "monotonic", lambda: next(clock))
    rate = Rate()
    assert (rate(100), rate(150)) == (0.0, 25.0)


def test_progress_reaches_the_end_even_if_runs_diverge(tmp_path):
    from downslope.experiments.grids.grid import grid as named

    wanted = named("suc-ones").quick().varied(forwards=["relu"], learning_rates=[1e30, 0.1], epochs=4, rules=["tied"])
    seen = []
    running.complete(wanted, tmp_path / "runs", progress=lambda what, epochs: seen.append(epochs))
    assert seen == sorted(seen)
    assert seen[-1] == sum(cell.epochs for cell in wanted.cells())


def test_nothing_is_written_without_out(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert grid(*SMALL).exit_code == 0
    assert os.listdir(tmp_path) == []
