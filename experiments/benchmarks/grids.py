"""Speed of training grids, as ratios against a loop over the peer's library: one process, one thread, CPU time.

Ours and theirs take turns, epoch by epoch, on the same samples; a ratio is of medians over the rounds. Beside it stands
the bound of the machine: the floating-point operations of the matrix products over the rate that a large product
reaches.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from functools import lru_cache
from itertools import product
from multiprocessing import get_context
from typing import Any

import torch
from torch import Tensor, nn

from .. import training
from ..grids import plain
from ..grids.cell import Cell
from ..networks import Network, network
from ..stacked import single
from ..stacked.engine import groups, one_epoch
from ..stacked.layers import stacked_layers
from ..stacked.stack import Stack
from . import peer
from .rows import Begin, Call, Progress, Row, beginning, medians, operations, rate, silent

FORWARDS = ("logistic", "tanh", "relu", "leaky_relu")
RULES = ("tied", "constant", "rectangle", "triangle", "full_jam", "rectangular_jam")

ROWS = 5
"""How many rows there are."""

_TURNS = 4
"""Epochs that two processes run beside one another."""

_THEIR_FORWARDS = {"logistic": "Logistic", "tanh": "Tanh", "relu": "ReLU", "leaky_relu": "LeakyReLU"}
_THEIR_RULES = {
    "constant": "d(Linear)",
    "rectangle": "rectangular",
    "triangle": "triangular",
    "full_jam": "full_jam",
    "rectangular_jam": "rectangular_jam",
}


def rows(rounds: int = 7, progress: Progress = silent) -> list[dict[str, Any]]:
    """The rows of ``downslope benchmark grids``.

    Args:
        rounds: how often ours and theirs take turns.
        progress: is told the number of a row, from 1, and its name, before the row is timed.

    Raises:
        Refused: the peer's library is not installed.
    """
    peer.demand()
    begin = beginning(progress)
    with training._one_thread():
        given = rounds, rate(), begin
        found = [_perceptrons(*given), _units(*given), *_lenets(*given), _two(*given)]
    return [asdict(row) for row in found]


def _perceptrons(rounds: int, speed: float, begin: Begin) -> Row:
    what = begin("digits MLP 64-64-10, batch 64: 4 forwards x 6 rules x 3 learning rates x 5 seeds")
    cells = [
        Cell("mlp-digits", forward, rule, rate, batch=64, epochs=1, seed=seed)
        for forward, rule, rate, seed in product(FORWARDS, RULES, (0.05, 0.1, 0.2), range(5))
    ]
    ratio, bound = _stacked(cells, rounds, speed)
    return Row(what, ratio, at_least=10, aim=20, bound_ratio=bound)


def _units(rounds: int, speed: float, begin: Begin) -> Row:
    what = begin("1,000 single units, batch 32: 2 rules x 10 learning rates x 50 seeds")
    cells = [
        Cell("unit-ones", "logistic", rule, rate / 100, batch=32, epochs=1, seed=seed)
        for rule, rate, seed in product(("tied", "constant"), range(1, 11), range(50))
    ]
    ratio, bound = _stacked(cells, rounds, speed)
    return Row(what, ratio, at_least=300, aim=800, bound_ratio=bound)


def _lenets(rounds: int, speed: float, begin: Begin) -> Iterator[Row]:
    for name, forward, batch, momentum in (("lenet-mnist", "logistic", 256, 0.9), ("lenet-fashion", "relu", 64, 0.0)):
        what = begin(f"LeNet-5 {forward}, batch {batch}: a run a process, 6 rules")
        cells = [Cell(name, forward, rule, 0.01, batch, 1, seed=0, momentum=momentum) for rule in RULES]
        ours, theirs = [_lean(cell) for cell in cells], [_theirs(cell, _images()) for cell in cells]
        mine, other = medians([_all(ours), _all(theirs)], rounds)
        bound = sum(_operations_of_lenet(cell) for cell in cells) / speed
        yield Row(what, other / mine, at_least=1.1, aim=1.3, bound_ratio=mine / bound)


def _two(rounds: int, speed: float, begin: Begin) -> Row:
    """Runs a second of two processes of ours over those of one of theirs; wall time, which alone shows it."""
    what = begin("LeNet-5 logistic, batch 256: two one-thread processes, runs a second of wall time")
    cell = Cell("lenet-mnist", "logistic", "rectangle", 0.01, 256, 1, seed=0, momentum=0.9)
    theirs = _theirs(cell, _images())
    ratios, spent = [], []
    with ProcessPoolExecutor(2, get_context("spawn"), initializer=torch.set_num_threads, initargs=(1,)) as pool:
        for number in range(max(2, rounds // 2) + 1):
            started = time.perf_counter()
            for _ in range(_TURNS):
                theirs()
            other = time.perf_counter() - started
            spans = list(pool.map(_span, [cell, cell]))
            both = max(end for _, end in spans) - min(start for start, _ in spans)
            if number:  # the first round warms all of them up
                ratios.append(2 * other / both)
                spent.append(both)
    bound = _TURNS * _operations_of_lenet(cell) / speed
    return Row(what, statistics.median(ratios), at_least=1.4, aim=2.0, bound_ratio=statistics.median(spent) / bound)


def _span(cell: Cell) -> tuple[float, float]:
    """When a process of its own began and ended some epochs."""
    run = _lean(cell)
    run()
    started = time.perf_counter()
    for _ in range(_TURNS):
        run()
    return started, time.perf_counter()


@lru_cache(maxsize=1)
def _images() -> tuple[Tensor, Tensor]:
    """Images of MNIST's size: the time of a step does not depend on what they show."""
    generator = torch.Generator().manual_seed(0)
    return torch.rand(1024, 1, 28, 28, generator=generator), torch.randint(0, 10, (1024,), generator=generator)


def _lean(cell: Cell) -> Call:
    """An epoch of one run of ours."""
    entry = network(cell.network)
    model = plain.initialised(cell, entry)
    optimizer = torch.optim.SGD(model.parameters(), lr=cell.learning_rate, momentum=cell.momentum)
    order, noise = (training._generator(cell.seed, stream=stream) for stream in (1, 2))
    lean = single.Lean(model, cell, noise)
    return lambda: single.epoch(entry, lean, optimizer, _images(), cell.batch, order)


def _operations_of_lenet(cell: Cell) -> int:
    """Of the products and convolutions of an epoch, as the plain loop makes them."""
    model, entry = plain.initialised(cell, network(cell.network)), network(cell.network)
    inputs, targets = (each[:64] for each in _images())
    parts = len(_images()[0]) // 64
    return parts * operations(lambda: torch.autograd.backward(entry.criterion(model(inputs), targets)))


def _all(calls: Sequence[Call]) -> Call:
    return lambda: [call() for call in calls]


def _stacked(cells: Sequence[Cell], rounds: int, speed: float) -> tuple[float, float]:
    """Ratio of an epoch of every cell in their loop to one in ours; and ours to the bound."""
    ours = [_Ours(group) for group in groups(cells)]
    pairs = {(cell.forward, cell.rule): cell for cell in cells}
    data = plain.samples(network(cells[0].network).data).train
    theirs = [_theirs(cell, data) for cell in pairs.values()]
    mine, other = medians([_all([each.epoch for each in ours]), _all(theirs)], rounds)
    other *= len(cells) / len(pairs)  # they train one run of each forward and rule; the others take as long
    return other / mine, mine / (sum(each.operations for each in ours) / speed)


class _Ours:
    """A group of ours, an epoch at a time."""

    def __init__(self, cells: Sequence[Cell]) -> None:
        self._stack = Stack(cells, torch.device("cpu"), torch.float32)
        self._data = plain.samples(network(cells[0].network).data)
        self._orders = [training._generator(seed, stream=1) for seed in self._stack.seeds]
        samples = len(self._data.train_inputs)
        self.operations = samples * len(cells) * _operations(cells[0])

    @torch.no_grad()
    def epoch(self) -> None:
        """One epoch of every run."""
        for _ in one_epoch(self._stack, *self._data.train, self._orders):
            pass


def _operations(cell: Cell) -> int:
    """Floating-point operations of the matrix products of one run and sample: forward, weights, and inputs but the
    first layer's."""
    sizes = [layer.inputs * layer.outputs for layer in stacked_layers(cell.network, cell.forward)]
    return 2 * (3 * sum(sizes) - sizes[0])


def _theirs(cell: Cell, data: tuple[Tensor, Tensor]) -> Call:
    """An epoch of one run, written as a user of the peer's library writes it."""
    from freegrad import Activation

    entry = network(cell.network)
    torch.manual_seed(cell.seed)
    model = entry.builder(lambda: Activation(forward=_THEIR_FORWARDS[cell.forward]))
    optimizer = torch.optim.SGD(model.parameters(), lr=cell.learning_rate, momentum=cell.momentum)
    order = torch.Generator().manual_seed(cell.seed)
    return lambda: _their_epoch(entry, cell, model, optimizer, data, order)


def _their_epoch(
    entry: Network,
    cell: Cell,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    data: tuple[Tensor, Tensor],
    order: torch.Generator,
) -> None:
    from freegrad import use

    inputs, targets = data
    for chosen in torch.split(torch.randperm(len(inputs), generator=order), cell.batch):
        optimizer.zero_grad()
        x, y = inputs[chosen], targets[chosen]
        if cell.rule == "tied":
            torch.autograd.backward(entry.criterion(model(x), y))
        else:
            with use(rule=_THEIR_RULES[cell.rule], scope="activations"):
                torch.autograd.backward(entry.criterion(model(x), y))
        optimizer.step()
