"""A cell of a grid: one training run, named by everything that its result depends on; and what came of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from hashlib import blake2b

from torch import Tensor


@dataclass(frozen=True)
class Cell:
    """One run. Two cells that are equal give the same result, bit for bit, on the same machine.

    Attributes:
        network: name in ``NETWORKS``; it brings the architecture, the loss and its own data.
        forward: name in ``ACTIVATIONS`` of the hidden activation.
        rule: "tied", or the backward that stands for the forward's derivative, as ``surrogate()`` reads it, e.g.
            "rectangle(width=1)".
        learning_rate: step size of SGD.
        batch: samples a step; the last step of an epoch takes what is left.
        epochs: passes over the training samples.
        seed: of the initialisation, the order of samples and the noise of a random rule, each a stream of its own.
        momentum: as in ``torch.optim.SGD``.
        data: name in ``DATASETS``, and ``NAME:2000`` for its first 2,000 samples; the network's own where empty.
    """

    network: str
    forward: str
    rule: str
    learning_rate: float
    batch: int
    epochs: int
    seed: int
    momentum: float = 0.0
    data: str = ""

    @property
    def key(self) -> str:
        """32 hexadecimal digits that depend on every field and on nothing else."""
        said = json.dumps(asdict(self), sort_keys=True, allow_nan=False)
        return blake2b(said.encode(), digest_size=16).hexdigest()


@dataclass(frozen=True)
class Score:
    """Loss and accuracy on both splits after an epoch; epoch 0 is the initialisation.

    Attributes:
        epoch, step: passes and steps done.
        train_loss, test_loss: means in the loss's own unit, summed in float64.
        train_accuracy, test_accuracy: fractions.
    """

    epoch: int
    step: int
    train_loss: float
    train_accuracy: float
    test_loss: float
    test_accuracy: float


@dataclass(frozen=True)
class Outcome:
    """What came of a cell.

    Attributes:
        cell: the run.
        scores: in the order of epochs; a diverged run ends with the last epoch at which all numbers were finite.
        diverged: the epoch in which a weight or the loss stopped being finite; ``None`` where none did.
        weights: the final parameters by name, as ``state_dict`` names them.
    """

    cell: Cell
    scores: tuple[Score, ...]
    diverged: int | None
    weights: Mapping[str, Tensor] = field(repr=False, compare=False)
