"""Gradient and value of a network's loss for stacked outputs [runs, outputs, samples].

The fast forms are those of the common losses, numerically safe; any other loss of a network goes through autograd.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ..networks import Network


class Gradient:
    """The gradient of the summed loss by the outputs.

    Args:
        network: brings the loss.
    """

    def __init__(self, network: Network) -> None:
        self._network = network
        self._direct = _DIRECT.get(network.loss)

    def __call__(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """[seeds, runs, outputs, samples], in memory of its own: a backward may still need the outputs.

        Args:
            outputs: [seeds, runs, outputs, samples].
            targets: int64 labels [seeds, samples].
        """
        if self._direct is not None:
            return self._direct(outputs, targets)
        seeds, runs, width, samples = outputs.shape
        labels = targets[:, None].expand(seeds, runs, samples).reshape(seeds * runs, samples)
        with torch.enable_grad():
            watched = outputs.detach().view(seeds * runs, width, samples).requires_grad_()
            loss = self._network.criterion(watched, labels, "sum")
            return torch.autograd.grad(loss, watched)[0].view_as(outputs)


def _cross_entropy(outputs: Tensor, targets: Tensor) -> Tensor:
    """softmax - onehot; torch's softmax subtracts the largest output first, so that no exponential overflows."""
    seeds, runs, _, samples = outputs.shape
    shares = torch.softmax(outputs, dim=2)
    chosen = targets[:, None, None].expand(seeds, runs, 1, samples)
    return shares.scatter_add_(2, chosen, shares.new_full((), -1.0).expand(chosen.shape))


def _squared_error(outputs: Tensor, targets: Tensor) -> Tensor:
    """2 (output - label)."""
    return outputs.sub(targets[:, None, None]).mul_(2)


_DIRECT: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "cross-entropy": _cross_entropy,
    "mean-squared-error": _squared_error,
}


def sums(network: Network, outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Summed loss (float64) and number of right predictions of each run, both [runs].

    Args:
        network: brings the loss.
        outputs: [runs, outputs, samples].
        targets: int64 labels [samples].
    """
    labels = targets.expand(len(outputs), -1)
    losses = network.criterion(outputs, labels, "none")
    return losses.sum(dim=1, dtype=torch.float64), (network.predicted(outputs) == labels).sum(dim=1)
