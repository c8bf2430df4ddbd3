"""What an entry of the networks is: an architecture, its data, its loss and the recipe to train it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from . import hidden

TIED = "tied"

Reduction = Literal["mean", "sum", "none"]
Hidden = Callable[[], nn.Module]
"""A factory of hidden activations: each call makes a new module."""


@dataclass(frozen=True)
class Recipe:
    """How a network is trained: plain SGD on the mean loss of mini-batches.

    Attributes:
        epochs: passes over the training samples.
        batch: samples a step; the last step of an epoch takes what is left.
        learning_rate: step size.
        momentum: as in ``torch.optim.SGD``.
    """

    epochs: int
    batch: int
    learning_rate: float
    momentum: float = 0.0


def cross_entropy(output: Tensor, targets: Tensor, reduction: Reduction = "mean") -> Tensor:
    """Cross-entropy in nats of outputs [samples, classes] against int64 labels [samples]."""
    return F.cross_entropy(output, targets, reduction=reduction)


def mean_squared_error(output: Tensor, targets: Tensor, reduction: Reduction = "mean") -> Tensor:
    """Squared error of outputs [samples, 1] against labels 0 and 1 [samples], without a factor 1/2."""
    return F.mse_loss(output.squeeze(1), targets.to(output.dtype), reduction=reduction)


LOSSES: Mapping[str, Callable[[Tensor, Tensor, Reduction], Tensor]] = {
    "cross-entropy": cross_entropy,
    "mean-squared-error": mean_squared_error,
}
"""The losses by name; each computes in the dtype of the output."""


@dataclass(frozen=True)
class Network:
    """One entry.

    Attributes:
        name: how the command line and the tables call it.
        title: what it is, for captions.
        activation: name of its hidden activation in ``ACTIVATIONS``: the one that a study unties.
        builder: makes the module with hidden activations from the given factory; every random number of it comes from
            torch's global generator, which the caller seeds.
        data: name of its data set in ``DATASETS``.
        recipe: how it is trained.
        source: where it is taken from.
        loss: name of its loss in ``LOSSES``.
        backward: what trains it: "tied", or for a step, whose own derivative is 0, the surrogate's name.
    """

    name: str
    title: str
    activation: str
    builder: Callable[[Hidden], nn.Module]
    data: str
    recipe: Recipe
    source: str
    loss: str = "cross-entropy"
    backward: str = TIED

    def build(self, forward: str | None = None) -> nn.Module:
        """The module at torch's global random state.

        Args:
            forward: name in ``ACTIVATIONS`` of another hidden activation than its own.

        Raises:
            Refused: there is no activation of that name.
        """
        return self.builder(hidden.factory(forward or self.activation))

    def criterion(self, output: Tensor, targets: Tensor, reduction: Reduction = "mean") -> Tensor:
        """The loss in the output's dtype: its mean over the samples, their sum, or with ``"none"`` each [samples]."""
        return LOSSES[self.loss](output, targets, reduction)

    def predicted(self, output: Tensor) -> Tensor:
        """The labels that outputs [samples, outputs, ...] say: the largest; of one unit, output > 1/2 says 1."""
        return output[:, 0] > 0.5 if output.shape[1] == 1 else output.argmax(dim=1)

    def right(self, output: Tensor, targets: Tensor) -> int:
        """How many predictions are right."""
        return int((self.predicted(output) == targets).sum())
