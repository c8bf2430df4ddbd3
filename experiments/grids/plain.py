"""The plain loop: one cell trained by torch's own optimiser, step by step, on one thread.

It is what every faster way of training is held against, so it stays obvious: the initialisation, the order of samples
and the noise come from the same streams of the seed as in `training`, and the backward is untied by `untie`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from functools import lru_cache

import torch
from torch import Tensor, nn

from ...analysis.errors import Refused
from ...analysis.gradients.untie.untied import untie
from ...analysis.surrogates.lookup import TIED, surrogate
from .. import data as sets
from .. import training
from ..networks import Network, hidden, network
from .cell import Cell, Outcome, Score

SCORED = 10_000
"""At most so many samples of the training split, its first ones, are scored after an epoch; the test split is whole."""

CHUNK = 128
"""Samples scored at once: the activations of a convolutional network then stay in the cache."""

AtEpoch = Callable[[nn.Module, int], None]
"""Called with the model and the number of epochs done, 0 included; it must leave the parameters as they are."""


def train(
    cell: Cell, *, device: str = "cpu", dtype: torch.dtype = torch.float32, at_epoch: AtEpoch | None = None
) -> Outcome:
    """Train one cell from its own initialisation.

    Args:
        cell: what to train and how.
        device: where; the streams of random numbers are drawn on the CPU, so that the order of samples and the
            initialisation are the same everywhere.
        dtype: of the weights and samples; the initialisation is drawn in float32 whatever it is.
        at_epoch: called after each epoch, and once before the first.

    Raises:
        Refused: the cell names a network, activation or surrogate that is not there, or `excluded` has a reason.
    """
    reason = excluded(cell)
    if reason:
        raise Refused(f"{cell.network}, {cell.forward} / {cell.rule}: {reason}.")
    entry = network(cell.network)
    data = samples(cell.data or entry.data, device, dtype)
    with training._one_thread():
        model, optimizer, (order, noise) = prepared(cell, device, dtype)
        scores = [score(entry, model, data, epoch=0, step=0)]
        step, diverged = 0, None
        for epoch in range(cell.epochs + 1):
            if epoch:
                with backward(model, cell, noise):
                    step += steps(entry, model, optimizer, data, cell.batch, order)
                found = score(entry, model, data, epoch=epoch, step=step)
                if not finite(model, found):
                    diverged = epoch
                    break
                scores.append(found)
            if at_epoch is not None:
                at_epoch(model, epoch)
    weights = {name: value.detach().cpu().clone() for name, value in model.state_dict().items()}
    return Outcome(cell, tuple(scores), diverged, weights)


def prepared(
    cell: Cell, device: str = "cpu", dtype: torch.dtype = torch.float32
) -> tuple[nn.Module, torch.optim.Optimizer, tuple[torch.Generator, torch.Generator]]:
    """The model at its initialisation, its optimiser, and the generators of the order of samples and of the noise."""
    # Convolutions and their pooling take two thirds of the time in this layout; the weights' values are the same.
    model = initialised(cell, network(cell.network)).to(device=device, dtype=dtype)
    model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.SGD(model.parameters(), lr=cell.learning_rate, momentum=cell.momentum)
    return model, optimizer, (training._generator(cell.seed, stream=1), training._generator(cell.seed, stream=2))


def excluded(cell: Cell) -> str:
    """Why this cell cannot be trained; empty where it can.

    >>> excluded(Cell("mlp-digits", "heaviside", "tied", 0.1, 64, 1, seed=0))
    'the derivative of heaviside is 0 wherever it has one: tied, nothing below it would learn'
    """
    if surrogate(cell.rule, cell.forward).formula == 0:
        return f"the derivative of {cell.forward} is 0 wherever it has one: tied, nothing below it would learn"
    return ""


def initialised(cell: Cell, entry: Network) -> nn.Module:
    """The cell's network at its initialisation; torch's global generator is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(cell.seed)
        return entry.build(cell.forward)


def backward(model: nn.Module, cell: Cell, noise: torch.Generator) -> AbstractContextManager[object]:
    """The block in which the model's backward is the cell's rule."""
    return nullcontext() if cell.rule == TIED else untie(model, {hidden.key(cell.forward): cell.rule}, generator=noise)


@lru_cache(maxsize=4)
def samples(name: str, device: str = "cpu", dtype: torch.dtype = torch.float32) -> sets.Data:
    """The data set of that name on a device; kept, because the cells of a grid share it.

    ``"mnist:2000"`` are the first 2,000 training samples and as many test samples, at most those that are there.

    Raises:
        Refused: there is none of that name, or the number is none.
    """
    whole, _, first = name.partition(":")
    if first and not (first.isdecimal() and int(first) > 0):
        raise Refused(f"data {name!r}: after the colon stands how many samples are taken, e.g. {whole}:2000.")
    loaded, number = sets.load(whole), int(first) if first else None
    x, x_test = (each[:number].to(device=device, dtype=dtype) for each in (loaded.train_inputs, loaded.test_inputs))
    y, y_test = (each[:number].to(device) for each in (loaded.train_targets, loaded.test_targets))
    return sets.Data(name, x, y, x_test, y_test, loaded.source)


def steps(
    entry: Network,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    data: sets.Data,
    batch: int,
    order: torch.Generator,
) -> int:
    """Train for one epoch in the given order; the number of steps that it took."""
    inputs, targets = data.train
    shuffled = torch.randperm(len(inputs), generator=order).to(inputs.device)
    starts = range(0, len(inputs), batch)
    for start in starts:
        chosen = shuffled[start : start + batch]
        optimizer.zero_grad()
        torch.autograd.backward(entry.criterion(model(inputs[chosen]), targets[chosen]))
        optimizer.step()
    return len(starts)


@torch.no_grad()
def score(entry: Network, model: nn.Module, data: sets.Data, *, epoch: int, step: int) -> Score:
    """Loss and accuracy on both splits; of the training split at most `SCORED` samples."""
    inputs, targets = data.train
    train_loss, train_accuracy = _means(entry, model, inputs[:SCORED], targets[:SCORED])
    test_loss, test_accuracy = _means(entry, model, *data.test)
    return Score(epoch, step, train_loss, train_accuracy, test_loss, test_accuracy)


def _means(entry: Network, model: nn.Module, inputs: Tensor, targets: Tensor) -> tuple[float, float]:
    loss, right = 0.0, 0
    model.eval()
    for x, y in _chunks(inputs, targets):
        outputs = model(x)
        loss += entry.criterion(outputs.double(), y).item() * len(x)
        right += entry.right(outputs, y)
    model.train()
    return loss / len(inputs), right / len(inputs)


def _chunks(inputs: Tensor, targets: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    return zip(torch.split(inputs, CHUNK), torch.split(targets, CHUNK), strict=True)


def finite(model: nn.Module, found: Score) -> bool:
    """Whether every weight and both losses are finite numbers."""
    losses = torch.tensor([found.train_loss, found.test_loss])
    return all(bool(torch.isfinite(each).all()) for each in (losses, *model.parameters()))
