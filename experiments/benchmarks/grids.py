"""Speed of training grids, as ratios against a loop over the peer's library: one process, one thread, CPU time.

Ours and theirs take turns, epoch by epoch, on the same samples; a ratio is the median over the rounds. Beside it stands
the bound of the machine: the floating-point operations of the matrix products over the rate that a large product
reaches.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import product
from typing import Any

import torch
from torch import Tensor, nn

from ...analysis import products
from ...analysis.errors import Refused
from .. import training
from ..grids import plain
from ..grids.cell import Cell
from ..networks import Network, network
from ..stacked.engine import groups, one_epoch
from ..stacked.layers import stacked_layers
from ..stacked.stack import Stack

FORWARDS = ("logistic", "tanh", "relu", "leaky_relu")
RULES = ("tied", "constant", "rectangle", "triangle", "full_jam", "rectangular_jam")

_THEIR_FORWARDS = {"logistic": "Logistic", "tanh": "Tanh", "relu": "ReLU", "leaky_relu": "LeakyReLU"}
_THEIR_RULES = {
    "constant": "d(Linear)",
    "rectangle": "rectangular",
    "triangle": "triangular",
    "full_jam": "full_jam",
    "rectangular_jam": "rectangular_jam",
}


@dataclass(frozen=True)
class Row:
    """One comparison.

    Attributes:
        what: what was trained.
        ratio: their time over ours.
        at_least: what the ratio has to reach.
        aim: what it is meant to reach.
        bound_ratio: our time over the floating-point bound.
    """

    what: str
    ratio: float
    at_least: float
    aim: float
    bound_ratio: float


def rows(rounds: int = 7) -> list[dict[str, Any]]:
    """The rows of ``downslope benchmark grids``.

    Args:
        rounds: how often ours and theirs take turns.

    Raises:
        Refused: the peer's library is not installed.
    """
    try:
        import freegrad as freegrad
    except ImportError:
        raise Refused(
            "benchmark grids compares with the library freegrad, which is not installed: pip install --no-deps freegrad"
        ) from None
    with training._one_thread():
        return [asdict(row) for row in (_perceptrons(rounds), _units(rounds))]


def _perceptrons(rounds: int) -> Row:
    cells = [
        Cell("mlp-digits", forward, rule, rate, batch=64, epochs=1, seed=seed)
        for forward, rule, rate, seed in product(FORWARDS, RULES, (0.05, 0.1, 0.2), range(5))
    ]
    ratio, bound = _stacked(cells, rounds)
    what = "digits MLP 64-64-10, batch 64: 4 forwards x 6 rules x 3 learning rates x 5 seeds"
    return Row(what, ratio, at_least=10, aim=20, bound_ratio=bound)


def _units(rounds: int) -> Row:
    cells = [
        Cell("unit-ones", "logistic", rule, rate / 100, batch=32, epochs=1, seed=seed)
        for rule, rate, seed in product(("tied", "constant"), range(1, 11), range(50))
    ]
    ratio, bound = _stacked(cells, rounds)
    what = "1,000 single units, batch 32: 2 rules x 10 learning rates x 50 seeds"
    return Row(what, ratio, at_least=300, aim=800, bound_ratio=bound)


def _stacked(cells: Sequence[Cell], rounds: int) -> tuple[float, float]:
    """Ratio of an epoch of every cell in their loop to one in ours; and ours to the bound."""
    ours = [_Ours(group) for group in groups(cells)]
    pairs = {(cell.forward, cell.rule): cell for cell in cells}
    theirs = [
        (_peer(cell), sum((other.forward, other.rule) == pair for other in cells)) for pair, cell in pairs.items()
    ]
    ratios, spent = [], []
    for number in range(rounds + 1):
        mine = sum(_seconds(each.epoch) for each in ours)
        other = sum(_seconds(epoch) * runs for epoch, runs in theirs)
        if number:  # the first round warms both up
            ratios.append(other / mine)
            spent.append(mine)
    operations = sum(each.operations for each in ours)
    return statistics.median(ratios), statistics.median(spent) / (operations / rate())


class _Ours:
    """A group of ours, an epoch at a time."""

    def __init__(self, cells: Sequence[Cell]) -> None:
        self._stack = Stack(cells, torch.device("cpu"), torch.float32)
        self._data = plain.samples(network(cells[0].network).data)
        self._orders = [training._generator(seed, stream=1) for seed in self._stack.seeds]
        samples = len(self._data.train_inputs)
        self.operations = samples * len(cells) * operations(cells[0])

    @torch.no_grad()
    def epoch(self) -> None:
        """One epoch of every run."""
        for _ in one_epoch(self._stack, *self._data.train, self._orders):
            pass


def operations(cell: Cell) -> int:
    """Floating-point operations of the matrix products of one run and sample: forward, weights, and inputs but the
    first layer's."""
    sizes = [layer.inputs * layer.outputs for layer in stacked_layers(cell.network, cell.forward)]
    return 2 * (3 * sum(sizes) - sizes[0])


def rate() -> float:
    """Floating-point operations a second of a product of two 512 x 512 float32 matrices, by the faster library."""
    one, other, result = (torch.rand(512, 512) for _ in range(3))
    found = []
    for yes in {False, products.faster([(1, 512, 512, 512)], one.device, one.dtype)}:
        with products.allowed(yes):
            times = [_seconds(lambda: [torch.mm(one, other, out=result) for _ in range(8)]) for _ in range(5)]
        found.append(8 * 2 * 512**3 / statistics.median(times))
    return max(found)


def _peer(cell: Cell) -> Callable[[], None]:
    """An epoch of one run, written as a user of the peer's library writes it."""
    from freegrad import Activation

    entry = network(cell.network)
    inputs, targets = plain.samples(entry.data).train
    torch.manual_seed(cell.seed)
    model = entry.builder(lambda: Activation(forward=_THEIR_FORWARDS[cell.forward]))
    optimizer = torch.optim.SGD(model.parameters(), lr=cell.learning_rate, momentum=cell.momentum)
    order = torch.Generator().manual_seed(cell.seed)
    return lambda: _their_epoch(entry, cell, model, optimizer, inputs, targets, order)


def _their_epoch(
    entry: Network,
    cell: Cell,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    inputs: Tensor,
    targets: Tensor,
    order: torch.Generator,
) -> None:
    from freegrad import use

    for chosen in torch.randperm(len(inputs), generator=order).split(cell.batch):
        optimizer.zero_grad()
        x, y = inputs[chosen], targets[chosen]
        if cell.rule == "tied":
            torch.autograd.backward(entry.criterion(model(x), y))
        else:
            with use(rule=_THEIR_RULES[cell.rule], scope="activations"):
                torch.autograd.backward(entry.criterion(model(x), y))
        optimizer.step()


def _seconds(function: Callable[[], object]) -> float:
    """CPU time of one call."""
    start = time.process_time()
    function()
    return time.process_time() - start
