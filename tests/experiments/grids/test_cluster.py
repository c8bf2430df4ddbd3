"""A real Dask scheduler with real workers: one is killed, and the table is that of one process, bit for bit."""

import json
import os
import re
import signal
import subprocess
import sys
import time

import pytest
from downslope.analysis.errors import Refused
from downslope.experiments.grids.grid import Block, Grid
from downslope.experiments.grids.job import jobs
from downslope.experiments.grids.running import cluster
from downslope.experiments.grids.running.run import complete

pytest.importorskip("distributed", reason="the extra `cluster` is not installed")

ARGUMENTS = ("suc-ones", "--quick", "--epochs", "2", *(part for n in range(8, 20) for part in ("--batch", str(n))))


@pytest.fixture
def scheduler(tmp_path):
    """The address of a scheduler and its two workers, each a process of its own."""
    file, quiet = tmp_path / "scheduler.json", {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    dask = [sys.executable, "-m", "dask"]
    started = [
        subprocess.Popen(
            [*dask, "scheduler", "--port", "0", "--no-dashboard", "--host", "127.0.0.1", "--scheduler-file", str(file)],
            **quiet,
        )
    ]
    worker = [*dask, "worker", "--scheduler-file", str(file), "--nthreads", "1", "--no-nanny", "--no-dashboard"]
    try:
        deadline = time.monotonic() + 60
        while not file.exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        started += [subprocess.Popen(worker, cwd=tmp_path, **quiet) for _ in range(2)]
        yield json.loads(file.read_text())["address"], started
    finally:
        for process in started:
            process.kill()
            process.wait()


def begun(address, tmp_path):
    """A grid of which something is done but not all, and the folder of its results."""
    command = [sys.executable, "-m", "downslope", "grid", *ARGUMENTS, "--cluster", address]
    command += ["--out", str(tmp_path / "far")]
    running = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, cwd=tmp_path)
    results = tmp_path / "far/suc-ones-quick/results"
    while not (results.exists() and any(results.glob("*.json"))) and running.poll() is None:
        time.sleep(0.01)
    return running, results


def test_a_scheduler_that_is_killed_is_one_message(scheduler, tmp_path):
    address, processes = scheduler
    running, results = begun(address, tmp_path)
    os.kill(processes[0].pid, signal.SIGKILL)
    _, said = running.communicate(timeout=120)
    assert running.returncode == 2, said
    assert f"--cluster {address}: the scheduler is gone; what is done is kept." in said
    assert "Traceback" not in said
    assert 0 < len(list(results.glob("*.json"))) < 12


def test_a_worker_that_is_killed_costs_nothing_but_time(scheduler, tmp_path):
    address, (_, worker, _) = scheduler
    running, results = begun(address, tmp_path)
    os.kill(worker.pid, signal.SIGKILL)
    stood = len(list(results.glob("*.json")))
    _, said = running.communicate(timeout=120)
    assert running.returncode == 0, said
    assert stood < 12
    near = subprocess.run(
        [sys.executable, "-m", "downslope", "grid", *ARGUMENTS, "--out", str(tmp_path / "near")],
        capture_output=True,
        cwd=tmp_path,
    )
    assert near.returncode == 0
    tables = [(tmp_path / place / "suc-ones-quick/table.json").read_bytes() for place in ("far", "near")]
    assert tables[0] == tables[1]
    assert len(list(results.iterdir())) == 12


BLOCK = Block(("unit-ones",), ("logistic",), ("tied",), (0.1,), (16,), epochs=1)
GRID = Grid("far", "a job", (BLOCK,), seeds=(0,), source="a test")


def test_a_worker_of_another_version_is_refused():
    with pytest.raises(Refused, match="install the same on both"):
        cluster.elsewhere(jobs(GRID)[0], cluster.versions() | {"torch": "1.0"})


def test_a_worker_of_other_code_at_the_same_version_is_refused():
    with pytest.raises(Refused, match="install the same on both"):
        cluster.elsewhere(jobs(GRID)[0], cluster.versions() | {"code": "0123456789abcdef"})


def test_a_job_elsewhere_is_the_job_here(tmp_path):
    job, records, seconds = cluster.elsewhere(jobs(GRID)[0], cluster.versions())
    assert records == complete(GRID, tmp_path / "here").records
    assert seconds > 0
    assert job == jobs(GRID)[0]


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:9", "foo", "tcp://"])
def test_no_scheduler_is_one_message_and_no_client_is_left_trying(monkeypatch, address):
    import distributed

    monkeypatch.setattr(cluster, "CONNECT", 0.3)
    monkeypatch.setattr(distributed, "Client", lambda *given, **more: pytest.fail("a client was made"))
    with pytest.raises(Refused, match=f"--cluster {re.escape(address)}: no Dask scheduler answers there"):
        list(cluster.cluster(jobs(GRID), lambda epochs: None, address=address, number=1))


def test_without_dask_the_message_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(Refused, match=r"pip install 'downslope\[cluster\]'"):
        list(cluster.cluster(jobs(GRID), lambda epochs: None, address="local", number=1))
