"""How the cost of surrogate gradients grows: with their number K, with draws, width, depth and batch."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

from torch import nn

from ...analysis.surrogates.catalogue import TRIANGLE
from .. import training
from .gradients import all_gradients, all_metrics, batch, made, perceptron
from .rows import Call, Progress, beginning, medians, silent

_SAMPLES, _MANY = 256, 8


ROWS = 5
"""How many series of sizes there are."""


def rows(rounds: int = 5, progress: Progress = silent) -> list[dict[str, Any]]:
    """One row for each size: what grows, its size, CPU seconds of the gradients and of `measure` without signs.

    ``slope`` is the exponent of the time against the size of the row before: 1 is proportional.

    Args:
        rounds: how often the sizes of one series take turns.
        progress: is told the number of a series, from 1, and what grows, before the series is timed.
    """
    begin = beginning(progress)
    with training._one_thread():
        return [row for what, sizes, calls in _series() for row in _measured(begin(what), sizes, calls, rounds)]


def _series() -> Iterator[tuple[str, Sequence[int], Callable[[int], tuple[Call, Call]]]]:
    yield "K, surrogates", (1, 2, 4, 8, 16, 32), lambda many: _pair(many=many)
    yield "draws", (1, 4, 16, 64), lambda draws: _pair(draws=draws)
    yield "width", (64, 128, 256, 512, 1024), lambda width: _pair(width=width)
    yield "depth, hidden layers", (1, 2, 4, 8), lambda depth: _pair(depth=depth)
    yield "batch", (32, 64, 128, 256, 512, 1024), lambda samples: _pair(samples=samples)


def _pair(
    *, many: int = _MANY, draws: int = 0, width: int = 512, depth: int = 2, samples: int = _SAMPLES
) -> tuple[Call, Call]:
    """Gradients and metrics of triangles of many widths, or of so many draws of full jamming."""
    network = made(partial(perceptron, width=width, depth=depth), nn.ReLU)
    data = batch(samples, 784)
    given = "full_jam" if draws else [TRIANGLE.at(width=1 + index / 8) for index in range(many)]
    return all_gradients(network, data, given, draws or 1), all_metrics(network, data, given, draws or 1)


def _measured(
    what: str, sizes: Sequence[int], calls: Callable[[int], tuple[Call, Call]], rounds: int
) -> Iterator[dict[str, Any]]:
    pairs = [calls(size) for size in sizes]
    taken = medians([call for pair in pairs for call in pair], rounds)
    before: tuple[int, float] | None = None
    for number, size in enumerate(sizes):
        formed, measured = taken[2 * number : 2 * number + 2]
        slope = None if before is None else math.log(formed / before[1]) / math.log(size / before[0])
        before = size, formed
        yield {"grows": what, "size": size, "gradients_seconds": formed, "metrics_seconds": measured, "slope": slope}
