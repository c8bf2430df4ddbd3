"""Which runs are stacked: a group is the unit of work, and follows from the cells alone.

The runs of a group share network, forward, rule, batch, epochs, momentum and data; they differ in the seed and the
learning rate. Runs of one seed see the same samples in the same order, so a group is a block: so many seeds, and so
many runs for each. A batched product may round differently with another number of runs; what is already done must
therefore never change a group.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

from ..grids.cell import Cell
from .layers import layers, stacked_layers

_CACHE = 3 << 19
"""Bytes of parameters and activations in a group. One for every machine, so that every machine makes the same groups;
an L2 cache has 1 to 2 MiB, and a step touches the layers one after another."""

_RUNS = 1000
"""At most so many runs a group: the cost of a call is then spread over enough of them, and progress still shows."""


def stackable(cell: Cell) -> bool:
    """Whether the cell's network is a chain of linear layers and elementwise activations.

    Raises:
        Refused: there is no network or activation of that name.

    >>> stackable(Cell("mlp-digits", "tanh", "constant", 0.1, 64, 1, seed=0))
    True
    """
    return layers(cell.network, cell.forward) is not None


def groups(cells: Sequence[Cell]) -> list[list[Cell]]:
    """The cells in groups that are trained together, in an order that does not depend on theirs.

    Raises:
        Refused: a cell cannot be stacked.
    """
    together: dict[Cell, list[Cell]] = {}
    for cell in dict.fromkeys(cells):
        together.setdefault(shared(cell), []).append(cell)
    return [group for kind in sorted(together, key=repr) for group in _blocks(together[kind], most(kind))]


def shared(cell: Cell) -> Cell:
    """What the runs of a group have in common: the cell with neither seed nor learning rate."""
    return replace(cell, seed=0, learning_rate=0.0)


def most(cell: Cell) -> int:
    """How many runs of such a cell are stacked at most, by the bytes that a float32 step of each touches."""
    widths = [(layer.inputs, layer.outputs) for layer in stacked_layers(cell.network, cell.forward)]
    floats = sum(wide * narrow + 3 * narrow * cell.batch for wide, narrow in widths)
    return max(1, min(_RUNS, _CACHE // (4 * floats)))


def _blocks(cells: Sequence[Cell], limit: int) -> Iterator[list[Cell]]:
    """Groups in which each seed has equally many runs, seed by seed, rates in order."""
    seeds: dict[int, list[Cell]] = {}
    for cell in sorted(cells, key=lambda cell: (cell.seed, cell.learning_rate)):
        seeds.setdefault(cell.seed, []).append(cell)
    parts = [part for runs in seeds.values() for part in _parts(runs, limit)]
    for count in sorted({len(part) for part in parts}, reverse=True):
        equal = [part for part in parts if len(part) == count]
        for block in _parts(equal, max(1, limit // count)):
            yield [cell for part in block for cell in part]


def _parts(items: Sequence[Any], most: int) -> Iterator[Sequence[Any]]:
    """The items in as few parts as have at most so many, of nearly equal sizes."""
    count = -(-len(items) // most)
    ends = [len(items) * number // count for number in range(count + 1)]
    return (items[start:end] for start, end in pairwise(ends))
