"""Jobs in other processes: the same bits as here; a worker that dies is replaced, one without a parent ends."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time

import pytest
from downslope.analysis.errors import Refused
from downslope.experiments.grids.cell import Cell
from downslope.experiments.grids.grid import Block, Grid
from downslope.experiments.grids.job import Job, jobs
from downslope.experiments.grids.running import processes
from downslope.experiments.grids.running.run import How, complete

GRID = Grid(
    "small",
    "a small grid",
    (Block(("unit-ones",), ("logistic", "tanh"), ("tied", "full_jam"), (0.1,), (16, 32, 64), epochs=2),),
    seeds=(0, 1),
    source="a test",
)
ALL = jobs(GRID)


def children():
    return [child.pid for child in multiprocessing.active_children()]


def test_processes_give_the_bits_of_this_one_though_one_is_killed(tmp_path):
    killed, counted = [], 0

    def kill_one(running, epochs):
        nonlocal counted
        counted = epochs
        if len(list((tmp_path / "there/results").glob("*.json"))) == 1 and not killed:
            killed.append(children()[0])
            os.kill(killed[0], signal.SIGKILL)

    here = complete(GRID, tmp_path / "here")
    there = complete(GRID, tmp_path / "there", How(workers=2), progress=kill_one)
    assert len(killed) == 1
    assert here.records == there.records
    assert len(list((tmp_path / "there/results").iterdir())) == there.fresh == len(ALL)
    assert (tmp_path / "here/table.json").read_bytes() == (tmp_path / "there/table.json").read_bytes()
    assert counted >= sum(job.epochs for job in ALL)
    assert children() == []


def test_a_job_that_kills_every_worker_stops_the_grid(monkeypatch):
    monkeypatch.setattr(processes, "ATTEMPTS", 2)
    start = processes._start

    def doomed():
        worker = start()
        worker.process.kill()
        return worker

    monkeypatch.setattr(processes, "_start", doomed)
    with pytest.raises(Refused, match=r"2 workers died over one job .*exit code -9"):
        list(processes.workers(ALL[:1], lambda epochs: None, number=1))
    assert children() == []


def test_what_a_worker_refuses_is_refused_here():
    bad = Job("train", (Cell("residual-digits", "heaviside", "tied", 0.1, 64, 1, seed=0),))
    with pytest.raises(Refused, match="residual-digits, heaviside / tied"):
        list(processes.workers([bad], lambda epochs: None, number=1))


def test_workers_have_one_thread_and_the_environment_is_left_alone(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    with processes._one_thread_each():
        assert (os.environ["OMP_NUM_THREADS"], os.environ["MKL_NUM_THREADS"]) == ("1", "1")
    assert os.environ["OMP_NUM_THREADS"] == "7"
    assert "MKL_NUM_THREADS" not in os.environ


ORPHANS = """
import sys
from downslope.experiments.grids.cell import Cell
from downslope.experiments.grids.job import Job
from downslope.experiments.grids.running import processes
if __name__ == "__main__":
    job = Job("train", (Cell("residual-digits", "relu", "tied", 0.1, 8, 1000, seed=0),))
    list(processes.workers([job], lambda epochs: print("going", flush=True), number=1))
"""


def test_a_worker_whose_parent_is_killed_ends(tmp_path):
    script = tmp_path / "orphans.py"
    script.write_text(ORPHANS)
    parent = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True)
    assert parent.stdout.readline() == "going\n"
    listed = subprocess.run(["ps", "-o", "pid=", "--ppid", str(parent.pid)], capture_output=True, text=True).stdout
    orphans = [int(pid) for pid in listed.split()]
    parent.kill()
    parent.wait()
    parent.stdout.close()
    deadline = time.monotonic() + 20
    while any(os.path.exists(f"/proc/{pid}") and _runs(pid) for pid in orphans) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert orphans
    assert not [pid for pid in orphans if _runs(pid)]


def _runs(pid):
    """Whether a process is there and is no zombie."""
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
