"""What a benchmark is made of: CPU times taken in turns, their medians, and the rate of the machine's products."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from ...analysis import products

Call = Callable[[], object]
Progress = Callable[[int, str], None]
"""Is told the number of what is timed next, from 1, and its name."""
Begin = Callable[[str], str]
"""Says that what has this name is timed next, and gives the name back."""


def silent(number: int, name: str) -> None:
    """Tells nobody."""


def beginning(progress: Progress) -> Begin:
    """Numbers what begins."""
    numbers = count(1)

    def begin(name: str) -> str:
        progress(next(numbers), name)
        return name

    return begin


@dataclass(frozen=True)
class Row:
    """One comparison.

    Attributes:
        what: what was computed.
        ratio: how many times ours is as fast as the other way; where `at_most` is given, a cost: how many times the
            other way's time ours takes.
        at_least: what the ratio has to reach; ``None`` where it is a cost.
        aim: what it is meant to be.
        bound_ratio: our time over the floating-point bound: the operations of our matrix products and convolutions
            over the machine's measured rate of products.
        at_most: what the ratio, a cost, may be; ``None`` where it is not one.
    """

    what: str
    ratio: float
    at_least: float | None
    aim: float
    bound_ratio: float
    at_most: float | None = None


def medians(calls: Sequence[Call], rounds: int) -> list[float]:
    """CPU seconds of each call, medians over rounds in which all take their turn; one round more warms them up."""
    taken: list[list[float]] = [[] for _ in calls]
    for number in range(rounds + 1):
        for call, times in zip(calls, taken, strict=True):
            start = time.process_time()
            call()
            if number:
                times.append(time.process_time() - start)
    return [statistics.median(times) for times in taken]


def operations(call: Call) -> int:
    """Floating-point operations of the matrix products and convolutions of a call, by torch's own formulas."""
    counted = _Counted()  # type: ignore[no-untyped-call]
    with counted:
        call()
    return counted.total


class _Counted(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """As torch's ``FlopCounterMode``, which also hooks every module of the process: a model with hooks is no chain."""

    total: int = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        formula = flop_registry.get(func._overloadpacket)
        if formula is not None:
            self.total += int(formula(*args, **(kwargs or {}), out_val=result))
        return result


def rate() -> float:
    """Floating-point operations a second of a product of two 512 x 512 float32 matrices, by the faster library."""
    one, other, result = (torch.rand(512, 512) for _ in range(3))
    found = []
    for yes in {False, products.faster([(1, 512, 512, 512)], one.device, one.dtype)}:
        with products.allowed(yes):
            (taken,) = medians([lambda: [torch.mm(one, other, out=result) for _ in range(8)]], 5)
        found.append(8 * 2 * 512**3 / taken)
    return max(found)
