"""Run by a test: forks a grid, kills it with SIGKILL again and again, and then lets it finish.

usage: python killing.py FOLDER KILLS SEED. Prints how many results stood in the folder after each kill.
"""

import json
import os
import random
import signal
import sys
import time
from pathlib import Path

from downslope.experiments.grids.grid import Block, Grid
from downslope.experiments.grids.job import jobs
from downslope.experiments.grids.running.run import complete

BLOCK = Block(
    ("unit-ones",), ("logistic", "tanh", "relu"), ("tied", "full_jam"), (0.1,), tuple(range(16, 24)), epochs=2
)
GRID = Grid("killed", "a grid that is killed", (BLOCK,), seeds=(0, 1), source="a test")


def forked(work):
    """The process id of a child that does this work and ends."""
    child = os.fork()
    if child:
        return child
    try:
        work()
    finally:
        os._exit(0)


def kill_at(function, calls):
    """After so many calls of a function of `os`, this process kills itself just before the next."""
    native, left = getattr(os, function), iter(range(calls))

    def counted(*args, **kwargs):
        if next(left, None) is None:
            os.kill(os.getpid(), signal.SIGKILL)
        return native(*args, **kwargs)

    setattr(os, function, counted)


def main(folder, kills, seed):
    random.seed(seed)
    complete(GRID, folder / "warm")  # so that its children need no second of their own
    started = time.perf_counter()
    complete(GRID, folder / "whole")  # never interrupted
    longest = (time.perf_counter() - started) / 4
    broken, stood, killed = folder / "broken", [], 0

    def results():
        return len(list((broken / "results").glob("*.json"))) if broken.exists() else 0

    # In the middle of writing: before the bytes are on the disk, before the file has its name, and just after.
    for function, calls in (("fsync", 0), ("fsync", 3), ("replace", 0), ("replace", 2), ("fsync", 5)):
        child = forked(lambda function=function, calls=calls: (kill_at(function, calls), complete(GRID, broken)))
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
        stood.append(results())
    while killed < kills:
        if results() == len(jobs(GRID)):  # done before all kills: it starts anew
            complete(GRID, broken)
            yield broken, stood
            broken = broken.with_name(broken.name + "+")
        child = forked(lambda broken=broken: complete(GRID, broken))
        time.sleep(random.uniform(0.0, longest))
        os.kill(child, signal.SIGKILL)
        killed += os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
        stood.append(results())
    complete(GRID, broken)
    yield broken, stood


if __name__ == "__main__":
    ended = [
        (str(broken), list(stood)) for broken, stood in main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
    ]
    print(json.dumps({"folders": [folder for folder, _ in ended], "stood": ended[-1][1], "jobs": len(jobs(GRID))}))
