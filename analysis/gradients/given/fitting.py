"""A loss by name, a batch cut and moved, and whether model, loss and batch fit together at all."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map_only

from ...errors import Refused, near
from ..inputs import check_batch, scalar, untouched
from .loading import object_at, own

Loss = Callable[[Any, Any], Tensor]
Batch = tuple[Any, Any]


def mean_squared_error(output: Tensor, targets: Tensor) -> Tensor:
    """The mean of (output - targets)^2 over all entries.

    Raises:
        Refused: their shapes differ: [64, 1] and [64] would be taken for each other's rows, 64 x 64 differences.
    """
    if output.shape != targets.shape:
        raise Refused(
            f"--loss mean-squared-error: the output has shape {tuple(output.shape)} and the targets "
            f"{tuple(targets.shape)}. Give targets of the output's shape, e.g. with .unsqueeze(1)."
        )
    return F.mse_loss(output, targets)


LOSSES: Mapping[str, Loss] = {
    "cross-entropy": F.cross_entropy,
    "mean-squared-error": mean_squared_error,
    "binary-cross-entropy": F.binary_cross_entropy_with_logits,
    "negative-log-likelihood": F.nll_loss,
}
"""The losses that have a name; each takes (output, targets) and gives the mean over the batch."""


def loss(name: str) -> Loss:
    """A loss by its name, or ``file.py:function``.

    Raises:
        Refused: the name is unknown.
    """
    if name in LOSSES:
        return LOSSES[name]
    if ".py:" not in name:
        raise Refused(f"--loss {name}: no loss of that name, nor file.py:function; {near(name, LOSSES)}")
    found: Loss = object_at(name, "--loss")
    return found


def first(batch: Any, samples: int | None) -> Batch:
    """The first ``samples`` of a batch, or the whole where ``None``: of every tensor in inputs and targets.

    Raises:
        Refused: it is no pair.
    """
    if not isinstance(batch, tuple | list) or len(batch) != 2:
        raise Refused(f"--data: a batch is a {type(batch).__name__}, not a pair (inputs, targets).")
    inputs, targets = tree_map_only(Tensor, lambda tensor: tensor[:samples], tuple(batch))
    return inputs, targets


def moved(batch: Batch, model: nn.Module) -> Batch:
    """The batch where the model is."""
    homes = [parameter.device for parameter in model.parameters()]
    inputs, targets = tree_map_only(Tensor, lambda tensor: tensor.to(homes[0]) if homes else tensor, batch)
    return inputs, targets


def placed(model: nn.Module, device: str) -> nn.Module:
    """The model on a device.

    Raises:
        Refused: there is no such device.
    """
    try:
        return model.to(device)
    except (RuntimeError, AssertionError) as error:
        raise Refused(f"--device {device}: {str(error).splitlines()[0]}") from error


def tried(model: nn.Module, loss: Loss, batch: Batch) -> None:
    """Runs the loss once: what does not fit together is told as such, before any number is made of it.

    Raises:
        Refused: the batch is empty or not finite, the model or the loss raises on it, or the loss is no finite scalar.
    """
    check_batch(batch, "--data")
    inputs, targets = batch
    args = () if isinstance(inputs, Mapping) else inputs if isinstance(inputs, tuple) else (inputs,)
    kwargs = inputs if isinstance(inputs, Mapping) else {}
    # A refusal of `untouched` names the module at fault, so it stands inside of `own`, which lets refusals pass.
    ran = own("--model, --data:", "model(x)", lambda: f"; x is {described(inputs)}")
    with ran, untouched(model, list(model.parameters()), 0), torch.no_grad():
        output = model(*args, **kwargs)
    fitted = lambda: f"; the output is {described(output)}, y is {described(targets)}"  # noqa: E731
    judged = own("--loss, --data:", "loss(model(x), y)", fitted)
    with judged, untouched(model, list(model.parameters()), 0), torch.no_grad():
        scalar(loss(output, targets))


def described(value: Any) -> str:
    """Dtype and shape of a tensor, and the range of whole numbers; of what holds tensors, those of each.

    >>> described(torch.tensor([2, 0, 7])), described({"a": torch.zeros(4, 2)})
    ('int64 [3] from 0 to 7', 'a dict of float32 [4, 2]')
    """
    if isinstance(value, Tensor):
        said = f"{str(value.dtype).removeprefix('torch.')} {list(value.shape)}"
        whole = value.numel() and not (value.is_floating_point() or value.is_complex() or value.dtype == torch.bool)
        return f"{said} from {int(value.min())} to {int(value.max())}" if whole else said
    tensors = [leaf for leaf in tree_leaves(value) if isinstance(leaf, Tensor)]
    return f"a {type(value).__name__}" + (f" of {', '.join(map(described, tensors))}" if tensors else "")
