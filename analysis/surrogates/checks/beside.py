"""The checks in a second process, beside other work: two cores are used, and nobody waits for the first to end."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from multiprocessing import get_context

import torch

from ..catalogue import SURROGATES
from .present import Checked, check_target
from .record import violation

SEED, BACKEND = 0, "aot_eager"
"""As `downslope check` has them."""

_LOST = "the process of the checks ended without an answer: it was killed, or ran out of memory"


@contextmanager
def checking(
    targets: Sequence[str] = tuple(SURROGATES), *, progress: Callable[[str, int], None] = lambda running, done: None
) -> Iterator[Callable[[], list[Checked]]]:
    """Starts the checks of some targets; within it, calling what it gives waits for them.

    Left by an exception, it starts no further target. What a target's process was killed in is a violation, no gap.

    Args:
        targets: as `downslope check` takes them; the catalogue where none are named.
        progress: called with each target that is done and their number, from another thread.
    """
    pool = ProcessPoolExecutor(1, get_context("spawn"), initializer=torch.set_num_threads, initargs=(1,))
    futures: dict[str, Future[Checked]] = {}
    done: list[str] = []

    def tell(name: str, future: Future[Checked]) -> None:
        if not future.cancelled():
            done.append(name)
            progress(f"checks of {name}", len(done))

    def found() -> list[Checked]:
        return [_result(name, future) for name, future in futures.items()]

    try:
        for target in targets:
            futures[target] = pool.submit(check_target, target, SEED, BACKEND)
            futures[target].add_done_callback(partial(tell, target))
        yield found
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _result(target: str, future: Future[Checked]) -> Checked:
    from concurrent.futures.process import BrokenProcessPool

    try:
        return future.result()
    except BrokenProcessPool:
        return Checked(target, [replace(violation(_LOST), name="forward-runs")], {})
