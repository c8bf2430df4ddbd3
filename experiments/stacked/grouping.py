"""Which runs are stacked: a group is the unit of work, and follows from the cells alone.

The runs of a group share network, forward, batch, epochs, momentum and data; they differ in seed, rule and learning
rate. The rule plays a part in one elementwise operation of a step alone, so that runs of several rules share the
products. Runs of one seed see the same samples in the same order, so a group is a block: so many seeds, and for each
the same rules. A batched product may round differently with another number of runs; what is already done must therefore
never change a group.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

from ..grids.cell import Cell
from .layers import layers, stacked_layers

_CACHE = 8 << 20
"""Bytes of parameters and activations in a group. One for every machine, so that every machine makes the same groups.
Larger than an L2 cache: up to some MiB, what is lost by outgrowing it is less than what fewer calls save."""

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
    """What the runs of a group have in common: the cell with neither seed nor rule nor learning rate."""
    return replace(cell, seed=0, rule="", learning_rate=0.0)


def arranged(cells: Iterable[Cell]) -> list[Cell]:
    """The cells seed by seed, and for each seed rule by rule."""
    return sorted(cells, key=lambda cell: (cell.seed, cell.rule, cell.learning_rate))


def rules(cells: Iterable[Cell]) -> dict[int, tuple[str, ...]]:
    """The rule of each run of each seed."""
    found: dict[int, tuple[str, ...]] = {}
    for cell in cells:
        found[cell.seed] = (*found.get(cell.seed, ()), cell.rule)
    return found


def most(cell: Cell) -> int:
    """How many runs of such a cell are stacked at most, by the bytes that a float32 step of each touches."""
    widths = [(layer.inputs, layer.outputs) for layer in stacked_layers(cell.network, cell.forward)]
    floats = sum(wide * narrow + 3 * narrow * cell.batch for wide, narrow in widths)
    return max(1, min(_RUNS, _CACHE // (4 * floats)))


def _blocks(cells: Sequence[Cell], limit: int) -> Iterator[list[Cell]]:
    """Groups in which each seed has the same rules, seed by seed."""
    seeds: dict[int, list[Cell]] = {}
    for cell in arranged(cells):
        seeds.setdefault(cell.seed, []).append(cell)
    alike: dict[tuple[str, ...], list[Sequence[Cell]]] = {}
    for runs in seeds.values():
        for part in _parts(runs, limit):
            alike.setdefault(tuple(cell.rule for cell in part), []).append(part)
    for equal in alike.values():
        for block in _parts(equal, max(1, limit // len(equal[0]))):
            yield [cell for part in block for cell in part]


def _parts(items: Sequence[Any], most: int) -> Iterator[Sequence[Any]]:
    """The items in as few parts as have at most so many, of nearly equal sizes."""
    count = -(-len(items) // most)
    ends = [len(items) * number // count for number in range(count + 1)]
    return (items[start:end] for start, end in pairwise(ends))
