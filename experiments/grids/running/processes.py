"""Jobs in one-thread processes of this machine; one that dies is replaced and its job tried again."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import connection, get_context, parent_process
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from typing import Any

from ....analysis.errors import Refused
from ..job import Epochs, Job, Record, run

ATTEMPTS = 3
"""How many workers may die over one job before the grid stops."""

Done = tuple[Job, tuple[Record, ...], float]
"""A job, its records and the seconds that it took."""

_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
_REPORT_EVERY = 0.2


def here(jobs: Sequence[Job], at_epoch: Epochs) -> Iterator[Done]:
    """One job after the other, in this process."""
    for job in jobs:
        yield timed(job, at_epoch)


def timed(job: Job, at_epoch: Epochs = lambda epochs: None) -> Done:
    """Run a job and take its wall time; in the end all its epochs are told, those of diverged runs too."""
    told, started = 0, time.perf_counter()

    def tell(epochs: int) -> None:
        nonlocal told
        told += epochs
        at_epoch(epochs)

    records = run(job, tell)
    at_epoch(job.epochs - told)
    return job, records, time.perf_counter() - started


@dataclass
class _Worker:
    process: SpawnProcess
    pipe: Connection
    job: Job | None = None


def workers(jobs: Sequence[Job], at_epoch: Epochs, *, number: int) -> Iterator[Done]:
    """Jobs as they are done by so many processes, in no fixed order.

    A worker that dies is replaced, and its job is given to another, at most `ATTEMPTS` times; only whole results are
    given back, each once.

    Raises:
        Refused: a job cannot be run, or every worker that had it died.
    """
    waiting, attempts = deque(jobs), dict.fromkeys(jobs, 0)
    started: list[_Worker] = []
    try:
        with _one_thread_each():
            started += [_start() for _ in range(min(number, len(jobs)))]
        while waiting or any(worker.job for worker in started):
            for worker in started:
                if worker.job is None and waiting:
                    worker.job = waiting.popleft()
                    with suppress(OSError):  # it died idle: it is found dead below
                        worker.pipe.send(worker.job)
            ready = connection.wait([each for worker in started for each in (worker.pipe, worker.process.sentinel)])
            for index, worker in enumerate(started):
                if worker.pipe not in ready and worker.process.sentinel not in ready:
                    continue
                try:
                    kind, said = worker.pipe.recv()
                except (EOFError, OSError):
                    lost = worker.job
                    started[index] = _replaced(worker)
                    if lost is not None:
                        attempts[lost] += 1
                        if attempts[lost] == ATTEMPTS:
                            raise Refused(
                                f"--workers: {ATTEMPTS} workers died over one job ({lost.title}), the last with exit "
                                f"code {worker.process.exitcode}; is there enough memory? What is done is kept."
                            ) from None
                        waiting.appendleft(lost)
                    continue
                if kind == "epochs":
                    at_epoch(said)
                elif kind == "refused":
                    raise Refused(said)
                elif kind == "failed":
                    raise RuntimeError(f"a worker failed over {worker.job}:\n{said}")
                else:
                    worker.job = None
                    yield said
    finally:
        for worker in started:
            worker.process.kill()
        for worker in started:
            worker.process.join()
            worker.pipe.close()


def _start() -> _Worker:
    context = get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_work, args=(theirs,), daemon=True)
    process.start()
    theirs.close()  # so that the pipe ends when the process does
    return _Worker(process, ours)


def _replaced(worker: _Worker) -> _Worker:
    worker.process.kill()
    worker.process.join()
    worker.pipe.close()
    with _one_thread_each():
        return _start()


@contextmanager
def _one_thread_each() -> Iterator[None]:
    """A new process reads its number of threads from the environment before it can be told otherwise."""
    before = {name: os.environ.get(name) for name in _THREADS}
    os.environ.update(dict.fromkeys(_THREADS, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _work(pipe: Connection) -> None:
    """What a worker does: a job, its result, the next job; until the pipe ends or its parent is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole terminal; the parent decides
    threading.Thread(target=_end_with_parent, daemon=True).start()
    import torch

    torch.set_num_threads(1)
    with suppress(EOFError, BrokenPipeError):
        while True:
            job = pipe.recv()
            pipe.send(_answer(job, pipe))


def _answer(job: Job, pipe: Connection) -> tuple[str, Any]:
    import traceback

    since, told = 0, time.monotonic()

    def at_epoch(epochs: int) -> None:
        nonlocal since, told
        since += epochs
        if time.monotonic() - told > _REPORT_EVERY:
            pipe.send(("epochs", since))
            since, told = 0, time.monotonic()

    try:
        done = timed(job, at_epoch)
    except Refused as refusal:
        return "refused", str(refusal)
    except Exception:
        return "failed", traceback.format_exc()
    pipe.send(("epochs", since))
    return "done", done


def _end_with_parent() -> None:
    """A worker whose parent was killed ends at once: it would train for no one."""
    parent = parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        sys.stderr.flush()
        os._exit(1)
