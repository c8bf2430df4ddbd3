"""Training of a group of runs, each with the numbers that the plain loop would give it.

Initialisation, order of samples and noise are the plain loop's, bit for bit; the arithmetic is the same up to the order
of sums. The bits of a result may depend on the group a run is in, and on nothing else: a group is trained as a whole.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn

from ...analysis.errors import Refused
from .. import training
from ..data import Data
from ..grids import plain
from ..grids.cell import Cell, Outcome, Score
from ..networks import network
from .grouping import arranged, rules, shared
from .grouping import groups as groups
from .grouping import stackable as stackable
from .losses import sums
from .stack import Stack

_CHUNK = 128
"""Samples scored at once, so that the activations of a group stay in the cache."""


class Runs(Mapping[Cell, nn.Module]):
    """The runs of a group that have not diverged: each as a module of its own, copied when it is asked for."""

    def __init__(self, stack: Stack, diverged: Mapping[int, int]) -> None:
        self._stack = stack
        self._places = {cell: run for run, cell in enumerate(stack.cells) if run not in diverged}

    def __getitem__(self, cell: Cell) -> nn.Module:
        return self._stack.model(self._places[cell])

    def __iter__(self) -> Iterator[Cell]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)


At = Callable[[Runs, int], None]
"""Called with the runs and the number of epochs, or of steps, done; 0 is the initialisation."""


@torch.no_grad()
def train(
    cells: Sequence[Cell],
    *,
    device: str | torch.device = "cpu",
    dtype: torch.dtype = torch.float32,
    at_epoch: At | None = None,
    at_step: At | None = None,
    scored: Collection[int] | None = None,
) -> list[Outcome]:
    """Train the runs of one group.

    Args:
        cells: one of the `groups`; other cells are taken too if they make a block of seeds and runs.
        device: where; the streams of the seeds are those of the plain loop on that device.
        dtype: of parameters and samples; the initialisation is drawn in float32 whatever it is.
        at_epoch: called after each epoch, and once before the first.
        at_step: called after each step, and once before the first.
        scored: epochs after which the runs are scored, and their losses checked; the last always is. ``None``: all.

    Returns:
        An outcome for each cell, in the order given.

    Raises:
        Refused: the cells are not of one group, or one of them cannot be trained or stacked.
    """
    ordered = _checked(cells)
    first = ordered[0]
    entry = network(first.network)
    data = plain.samples(first.data or entry.data, str(device), dtype)
    inputs, targets = data.train[0].flatten(1), data.train[1]
    with training._one_thread():
        stack = Stack(ordered, torch.device(device), dtype)
        orders = [training._generator(seed, stream=1) for seed in stack.seeds]
        scores: list[list[Score]] = [[] for _ in ordered]
        diverged: dict[int, int] = {}
        final: dict[int, Mapping[str, Tensor]] = {}
        step = 0
        for epoch in range(first.epochs + 1):
            for _ in one_epoch(stack, inputs, targets, orders) if epoch else ():
                step += 1
                if at_step is not None:
                    at_step(Runs(stack, diverged), step)
            wanted = scored is None or epoch in scored or epoch == first.epochs
            found = _scores(stack, data, epoch, step) if wanted else None
            for run in _failed(stack, found, diverged):
                diverged[run] = epoch
                final[run] = stack.weights(run)
                stack.freeze(run)
            for run, score in enumerate(found or ()):
                if run not in diverged:
                    scores[run].append(score)
            if at_epoch is not None:
                at_epoch(Runs(stack, diverged), epoch)
            if not epoch and at_step is not None:
                at_step(Runs(stack, diverged), 0)
            if len(diverged) == len(ordered):
                break
    outcomes = {
        cell: Outcome(
            cell,
            tuple(scores[run]),
            diverged.get(run),
            {name: value.cpu() for name, value in final.get(run, stack.weights(run)).items()},
        )
        for run, cell in enumerate(ordered)
    }
    return [outcomes[cell] for cell in cells]


def one_epoch(stack: Stack, inputs: Tensor, targets: Tensor, orders: Sequence[torch.Generator]) -> Iterator[None]:
    """Takes the steps of one epoch, and stops after each; the last takes the samples that are left.

    Args:
        stack: the runs.
        inputs: training samples [samples, features].
        targets: their labels [samples].
        orders: draw the order of samples, a generator a seed.
    """
    shuffled = torch.stack([torch.randperm(len(inputs), generator=order) for order in orders]).to(inputs.device)
    for chosen in torch.split(shuffled, stack.cells[0].batch, dim=1):
        rows = chosen.reshape(-1)
        with stack.fast(chosen.shape[1]):
            stack.step(
                inputs.index_select(0, rows).view(*chosen.shape, -1), targets.index_select(0, rows).view(chosen.shape)
            )
        yield


def _scores(stack: Stack, data: Data, epoch: int, step: int) -> list[Score]:
    train = tuple(each[: plain.SCORED] for each in data.train)
    columns = [each for split in (train, data.test) for each in _means(stack, *split)]
    return [
        Score(epoch, step, train_loss=row[0], train_accuracy=row[1], test_loss=row[2], test_accuracy=row[3])
        for row in torch.stack(columns, dim=1).tolist()
    ]


def _means(stack: Stack, inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Mean loss and share of right predictions of each run, float64 [runs]."""
    entry = network(stack.cells[0].network)
    loss = right = torch.zeros(len(stack.cells), dtype=torch.float64, device=inputs.device)
    for x, y in zip(torch.split(inputs.flatten(1), _CHUNK), torch.split(targets, _CHUNK), strict=True):
        more, hits = sums(entry, stack.outputs(x), y)
        loss, right = loss + more, right + hits
    return loss / len(inputs), right / len(inputs)


def _failed(stack: Stack, found: Sequence[Score] | None, diverged: Mapping[int, int]) -> list[int]:
    """The runs that are no longer finite, in parameters or in losses, as `plain.finite` has it."""
    finite = stack.finite().tolist()
    if found is not None:
        losses = torch.tensor([[score.train_loss, score.test_loss] for score in found], dtype=torch.float64)
        finite = [fine and bool(kept) for fine, kept in zip(finite, losses.isfinite().all(dim=1), strict=True)]
    return [run for run, fine in enumerate(finite) if not fine and run not in diverged]


def _checked(cells: Sequence[Cell]) -> list[Cell]:
    """The cells, seed by seed.

    Raises:
        Refused: they are not one block of seeds and runs.
    """
    if not cells or len(set(cells)) < len(cells) or len({shared(cell) for cell in cells}) > 1:
        raise Refused(
            f"train(cells=...): {len(cells)} cells that are not of one group. Runs that are stacked are different, and "
            f"differ in seed, rule and learning rate alone: take groups(cells)."
        )
    for cell in cells:
        reason = plain.excluded(cell)
        if reason:
            raise Refused(f"{cell.network}, {cell.forward} / {cell.rule}: {reason}.")
    ordered = arranged(cells)
    if len(set(rules(ordered).values())) > 1:
        raise Refused(
            f"train(cells=...): the seeds {list(rules(ordered))} have not the same rules, each for equally many runs. "
            f"Take groups(cells)."
        )
    return ordered
