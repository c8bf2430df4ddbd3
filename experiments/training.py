"""One plain, seeded training loop: the forward is the network's, the backward tied or untied.

Same network, forward, backward and seed: same bits, whatever trained before. Everything runs on one thread, because the
sums of a matrix product depend on how it is shared out, and these networks are too small to gain from more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from ..analysis.errors import Refused
from ..analysis.gradients.untie.untied import untie
from ..analysis.surrogates.lookup import activation
from .data import Data
from .networks import Network, hidden
from .networks.entry import TIED as TIED

if TYPE_CHECKING:
    import pandas as pd

STAGES = ("initialisation", "first epoch", "middle", "end")

_PIECE = 4096
"""Samples scored in one forward."""

AtStage = Callable[[nn.Module, str, int], None]
"""Called with the model in evaluation mode, the stage's name and the number of steps taken; it must leave the
parameters as they are."""


def stages(epochs: int) -> dict[int, str]:
    """The epochs after which a run is measured, and what each is called; where two fall together the later name holds.

    >>> stages(100)
    {0: 'initialisation', 1: 'first epoch', 50: 'middle', 100: 'end'}
    >>> stages(1)
    {0: 'initialisation', 1: 'end'}
    """
    first, middle = ({1: STAGES[1]}, {epochs // 2: STAGES[2]} if epochs > 1 else {})
    return {0: STAGES[0], **first, **middle, epochs: STAGES[3]}


def train(
    network: Network,
    data: Data,
    *,
    backward: str | None = None,
    forward: str | None = None,
    seed: int = 0,
    epochs: int | None = None,
    at_stage: AtStage | None = None,
    at_epoch: Callable[[], None] | None = None,
) -> tuple[nn.Module, pd.DataFrame]:
    """Train one network from its own initialisation.

    Args:
        network: what to train and how.
        data: its samples.
        backward: "tied", or the name of the surrogate that stands for the derivative of the hidden activation; the
            network's own where ``None``.
        forward: name in ``ACTIVATIONS`` of another hidden activation than the network's own.
        seed: of the initialisation, the order of samples and the noise of a random surrogate.
        epochs: instead of the recipe's.
        at_stage: called at each of `stages`, outside ``untie``.
        at_epoch: called after each epoch, for a progress bar.

    Returns:
        The trained model, and its curves: a row per epoch (0 is the initialisation) and split with ``network``,
        ``activation``, ``trained``, ``seed``, ``epoch``, ``step``, ``split``, ``loss`` (the network's, the mean over
        the split) and ``accuracy`` (a fraction).

    Raises:
        Refused: ``epochs`` is below 1, ``seed`` is negative, there is no surrogate or activation of that name, or
            "tied" is asked for where the hidden activation is a step, whose own derivative is 0.
    """
    import pandas as pd

    forward = activation(network.activation if forward is None else forward).name
    backward = network.backward if backward is None else backward
    trainable(forward, backward)
    epochs = network.recipe.epochs if epochs is None else epochs
    if epochs < 1 or seed < 0:
        raise Refused(f"train(epochs={epochs}, seed={seed}): epochs is at least 1 and seed at least 0.")
    rows: list[dict[str, Any]] = []
    named = stages(epochs)
    with _one_thread():
        model = initialised(network, seed, forward)
        order, noise = _generator(seed, stream=1), _generator(seed, stream=2)
        optimizer = torch.optim.SGD(
            model.parameters(), lr=network.recipe.learning_rate, momentum=network.recipe.momentum
        )
        step = 0
        for epoch in range(epochs + 1):
            if epoch:
                # Entered anew each epoch: what is measured in between must not see the untied backward.
                with _backward(model.train(), forward, backward, noise):
                    step += _epoch(model, optimizer, network, data, order)
            model.eval()
            coordinates = {"network": network.name, "activation": forward, "trained": backward, "seed": seed}
            rows += [coordinates | {"epoch": epoch, "step": step} | row for row in _scores(model, network, data)]
            if at_stage is not None and epoch in named:
                at_stage(model, named[epoch], step)
            if at_epoch is not None and epoch:
                at_epoch()
    return model, pd.DataFrame(rows)


def initialised(network: Network, seed: int, forward: str | None = None) -> nn.Module:
    """The network at its initialisation under this seed; torch's global generator is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return network.build(forward)


def trainable(forward: str, backward: str) -> None:
    """Refuses to train a step with its own derivative.

    Raises:
        Refused: the activation's own derivative is 0 wherever it has one, and ``backward`` is "tied".

    >>> trainable("heaviside", "constant")
    """
    if backward == TIED and hidden.flat(forward):
        raise Refused(
            f"train(backward='tied'): the derivative of {forward} is 0 wherever it has one, so nothing below it would "
            f"learn. Name a surrogate to train it with, e.g. 'constant' or 'clipped'."
        )


def _backward(model: nn.Module, forward: str, backward: str, noise: torch.Generator) -> AbstractContextManager[object]:
    return nullcontext() if backward == TIED else untie(model, {hidden.key(forward): backward}, generator=noise)


def _epoch(
    model: nn.Module, optimizer: torch.optim.Optimizer, network: Network, data: Data, order: torch.Generator
) -> int:
    inputs, targets = data.train
    shuffled = torch.randperm(len(inputs), generator=order)
    starts = range(0, len(inputs), network.recipe.batch)
    for start in starts:
        chosen = shuffled[start : start + network.recipe.batch]
        optimizer.zero_grad()
        torch.autograd.backward(network.criterion(model(inputs[chosen]), targets[chosen]))
        optimizer.step()
    return len(starts)


@torch.no_grad()
def _scores(model: nn.Module, network: Network, data: Data) -> Iterator[dict[str, Any]]:
    for split, (inputs, targets) in (("train", data.train), ("test", data.test)):
        # In one piece where that is the usual size, else a large set of images would need gigabytes of activations.
        starts = range(0, len(inputs), _PIECE)
        pieces = [(model(inputs[at : at + _PIECE]), targets[at : at + _PIECE]) for at in starts]
        total = sum(network.criterion(output.double(), y, "sum").item() for output, y in pieces)
        yield {
            "split": split,
            "loss": total / len(targets),
            "accuracy": sum(network.right(output, y) for output, y in pieces) / len(targets),
        }


def _generator(seed: int, *, stream: int) -> torch.Generator:
    """A generator for one purpose: streams of one seed, and seeds of one stream, do not share their numbers."""
    import numpy as np

    state = np.random.SeedSequence([seed, stream]).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(state >> np.uint64(1)))


@contextmanager
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
