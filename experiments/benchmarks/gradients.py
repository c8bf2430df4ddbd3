"""Speed of surrogate gradients: many of one batch, per sample, under training, and the margin; each against a peer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...analysis.gradients import chains
from ...analysis.gradients.margin.descent import descent_margin
from ...analysis.gradients.measurement import measure
from ...analysis.gradients.untie import untie
from .. import training
from ..networks.images import lenet
from ..networks.perceptrons import multilayer
from . import peer
from .rows import Begin, Call, Progress, Row, beginning, medians, operations, rate, silent

Batch = tuple[Tensor, Tensor]

PAPER = ("constant", "rectangle", "triangle")
"""The surrogates of the paper: a training step under `untie` is timed with each, and the slowest counts."""

_FORMED = "analysis.gradients.chains.gradients"
"""What forms the gradients; the public `measure` forms them by it, too, and keeps their deviations alone."""

ROWS = 10
"""How many rows there are."""


def rows(rounds: int = 7, progress: Progress = silent) -> list[dict[str, Any]]:
    """The rows of ``downslope benchmark gradients``.

    Args:
        rounds: how often ours and theirs take turns.
        progress: is told the number of a row, from 1, and its name, before the row is timed.

    Raises:
        Refused: the peer's library is not installed.
    """
    peer.demand()
    begin = beginning(progress)
    with training._one_thread():
        speed = rate()
        parts = (_many, _per_sample, _costs)
        return [asdict(row) for part in parts for row in part(rounds, speed, begin)]


def perceptron(hidden: Any, width: int = 512, depth: int = 2) -> nn.Sequential:
    """An MLP on 784 inputs, two layers of 512 unless told otherwise."""
    return multilayer((784, *(width,) * depth, 10), hidden)


def batch(samples: int, *shape: int) -> Batch:
    """Inputs and classes, from one seed."""
    generator = torch.Generator().manual_seed(0)
    return torch.randn(samples, *shape, generator=generator), torch.randint(10, (samples,), generator=generator)


def made(builder: Callable[[Any], nn.Module], hidden: type[nn.Module]) -> nn.Module:
    """A network of ours, from one seed; torch's random state stays."""
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(0)
        return builder(hidden)


def all_gradients(network: nn.Module, data: Batch, surrogates: Any, draws: int = 1) -> Call:
    """Every surrogate's gradient, one after the other."""
    parameters, replaced = list(network.parameters()), {"relu": surrogates}

    def call() -> None:
        generator = torch.Generator().manual_seed(0)
        found = chains.gradients(network, F.cross_entropy, data, replaced, parameters, draws=draws, generator=generator)
        assert found is not None
        for _ in found:
            pass

    return call


def all_metrics(network: nn.Module, data: Batch, surrogates: Any, draws: int = 1, *, signs: bool = False) -> Call:
    """The user's own call: the table of every surrogate's deviation from the exact gradient, by layer."""
    return lambda: measure(network, F.cross_entropy, data, surrogates, draws=draws, signs=signs)


def _many(rounds: int, speed: float, begin: Begin) -> Iterator[Row]:
    eight, rules = [ours for ours, _ in peer.EIGHT], [theirs for _, theirs in peer.EIGHT]
    ours, data = made(perceptron, nn.ReLU), batch(256, 784)
    theirs = peer.model(perceptron, nn.ReLU, ours)
    calls = [
        all_gradients(ours, data, eight),
        all_metrics(ours, data, eight),
        all_metrics(ours, data, eight, signs=True),
        lambda: peer.gradients(theirs, data, rules),
    ]
    name = "MLP 784-512-512-10, batch 256"
    what = begin(f"8 surrogate gradients, {name} ({_FORMED})")
    formed, measured, signed, other = medians(calls, rounds)
    bounds = [operations(call) / speed for call in calls]
    yield Row(what, other / formed, 1.5, 2.0, formed / bounds[0])
    # These two are timed with the row before, in the same turns.
    what = begin(f"8 surrogates, only the metrics, {name} (measure, signs=False)")
    yield Row(what, other / measured, 2.0, 3.0, measured / bounds[1])
    what = begin(f"8 surrogates, metrics and counts of signs, {name} (measure)")
    yield Row(what, other / signed, 1.0, 1.5, signed / bounds[2])
    what = begin(f"8 surrogate gradients, LeNet-5, batch 256 ({_FORMED})")
    small, images = made(lenet, nn.ReLU), batch(256, 1, 28, 28)
    small_theirs = peer.model(lenet, nn.ReLU, small)
    calls = [all_gradients(small, images, eight), lambda: peer.gradients(small_theirs, images, rules)]
    formed, other = medians(calls, rounds)
    bound = operations(calls[0]) / speed
    yield Row(what, other / formed, 1.4, 2.0, formed / bound)
    what = begin(f"jamming, 100 draws, metrics, {name} (measure, signs=False)")
    calls = [
        all_metrics(ours, data, "full_jam", draws=100),
        lambda: [peer.gradients(theirs, data, [peer.JAM]) for _ in range(100)],
    ]
    measured, other = medians(calls, max(1, rounds // 2))
    bound = operations(calls[0]) / speed
    yield Row(what, other / measured, 2.2, 3.0, measured / bound)


def _per_sample(rounds: int, speed: float, begin: Begin) -> Iterator[Row]:
    from .per_sample import pairs

    for what, ours, theirs, at_least, aim, count in pairs():
        begin(what)
        mine, other = medians([ours, theirs], max(1, rounds // 2))
        yield Row(what, other / mine, at_least, aim, mine / (count / speed))


def _costs(rounds: int, speed: float, begin: Begin) -> Iterator[Row]:
    shown = "untie overhead on a training step, the slowest of " + ", ".join(PAPER)
    small = made(lambda hidden: multilayer((64, 64, 10), hidden), nn.Sigmoid)
    what = begin(f"{shown}: LeNet-5, batch 64")
    yield _overhead(what, made(lenet, nn.Sigmoid), batch(64, 1, 28, 28), 1.15, 1.05, 8, speed)
    what = begin(f"{shown}: MLP 64-64-10, batch 64")
    yield _overhead(what, small, batch(64, 64), 1.5, 1.2, 200, speed)
    network, data = made(perceptron, nn.ReLU), batch(256, 784)
    value = F.cross_entropy(network(data[0]), data[1])

    def backward() -> None:
        torch.autograd.grad(value, list(network.parameters()), retain_graph=True)

    margins = lambda: descent_margin(network, F.cross_entropy, data)  # noqa: E731
    what = begin(
        "kappa* of all layers, against one backward pass alone, MLP 784-512-512-10, batch 256 (descent_margin)"
    )
    ours, other = medians([margins, backward], rounds)
    yield Row(what, ours / other, None, 3.0, ours / (operations(margins) / speed), at_most=4.0)


def overheads(network: nn.Module, data: Batch, steps: int, rounds: int = 15) -> tuple[list[float], float]:
    """CPU seconds of ``steps`` training steps under `untie` with each of `PAPER` and ``"tied"``, and as they are.

    The steps are those of one block, as in training; opening it and judging its first run are in the time.
    """
    optimizer = torch.optim.SGD(network.parameters(), lr=0.0)

    def step() -> None:
        for _ in range(steps):
            optimizer.zero_grad()
            torch.autograd.backward(F.cross_entropy(network(data[0]), data[1]))
            optimizer.step()

    def under(surrogate: str) -> Call:
        def call() -> None:
            with untie(network, {"logistic": surrogate}):
                step()

        return call

    *ours, native = medians([*(under(name) for name in (*PAPER, "tied")), step], rounds)
    return ours, native


def _overhead(what: str, network: nn.Module, data: Batch, at_most: float, aim: float, steps: int, speed: float) -> Row:
    ours, native = overheads(network, data, steps)
    slowest = max(ours[: len(PAPER)])

    def step() -> None:
        torch.autograd.grad(F.cross_entropy(network(data[0]), data[1]), list(network.parameters()))

    return Row(what, slowest / native, None, aim, slowest / (steps * operations(step) / speed), at_most=at_most)
