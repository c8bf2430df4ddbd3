"""What a margin takes in: a model that repeats itself, in a dtype fine enough, with something to train."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from traceback import walk_tb
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only

from ....errors import Refused
from ...inputs import check as check_finite
from ...inputs import out_of_memory
from .places import Place

Loss = Callable[[Any, Any], Tensor]

COARSEST = 1e-6
"""Largest epsilon of a parameter's dtype: float32 passes, bfloat16 and float16 do not."""


def check(model: nn.Module, batch: Any, caller: str) -> tuple[Any, Any]:
    """The batch as (inputs, targets).

    Raises:
        Refused: not a pair, empty, NaN or infinite in parameters, buffers or data; no trainable parameter; a dtype too
            coarse; a module in training mode whose forward pass couples the samples or is random (batch norm, dropout).
    """
    check_finite(model, batch, caller)
    for path, module in model.named_modules():
        changing = nn.modules.batchnorm._NormBase | nn.modules.dropout._DropoutNd | nn.RReLU
        if module.training and isinstance(module, changing):
            raise Refused(
                f"{caller}(model=...): {path or 'the model'} ({type(module).__name__}) is in training mode, where its "
                f"forward pass couples the samples, changes running statistics or is random, so a margin would be "
                f"that of another function than the one you use. Call model.eval() first."
            )
    trained = [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]
    if not trained:
        raise Refused(f"{caller}(model=...): no parameter has requires_grad, so there is no gradient to descend along.")
    for name, parameter in trained:
        if torch.finfo(parameter.dtype).eps > COARSEST:
            raise Refused(
                f"{caller}(model=...): the parameter {name} is {parameter.dtype}, too coarse to check a margin; "
                f"use model.float(), or model.double()."
            )
    return batch[0], batch[1]


def no_step(place: Place, caller: str) -> None:
    """Refuses an activation whose derivative is zero: no gradient passes it, so no factor on it turns or scales a step.

    Raises:
        Refused: the activation is flat (Heaviside, sign, round).
    """
    if place.derivative.factor == 0:
        raise Refused(
            f"{caller}(model=...): undefined: the exact derivative is zero through {place.activation} ({place}), so "
            f"below it there is no exact gradient to descend along, and no factor of it. Compare with measure instead, "
            f"against what a step does have: reference='smoothed', reference='expected' or "
            f"reference='finite-difference' (round: the last alone); or put a smooth activation, such as tanh, in its "
            f"place."
        )


def double(value: Any, device: torch.device | str | None = None) -> Any:
    """A copy, off its graph, of each tensor in ``value``, those of floats in float64.

    Args:
        value: a tensor, or tuples, lists and mappings of them; any other tensor keeps its dtype, and what is no tensor
            stays as it is.
        device: where all tensors go; each stays where it is, where ``None``.

    >>> double((torch.ones(1), torch.tensor([2]), "mean"))
    (tensor([1.], dtype=torch.float64), tensor([2]), 'mean')
    """

    def one(tensor: Tensor) -> Tensor:
        dtype = torch.float64 if tensor.is_floating_point() else tensor.dtype
        return tensor.detach().to(device, dtype, copy=True)

    return tree_map_only(Tensor, one, value)


def run(model: Callable[..., Any], inputs: Any) -> Any:
    """The model's output: ``model(*inputs)`` of a tuple, ``model(**inputs)`` of a mapping, else ``model(inputs)``."""
    if isinstance(inputs, Mapping):
        return model(**inputs)
    return model(*inputs) if isinstance(inputs, tuple) else model(inputs)


@contextmanager
def whole_in_memory(caller: str) -> Iterator[None]:
    """Passes of the whole batch, which cannot be taken in parts: where memory ends, that is refused.

    Raises:
        Refused: memory ran out.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not out_of_memory(error):
            raise
        raise Refused(
            f"{caller}(batch=...): it does not fit into memory ({(str(error) or 'MemoryError').splitlines()[0]}). The "
            f"passes are those of the whole batch and cannot be taken in parts: give a smaller batch."
        ) from error


def culprit(model: nn.Module, error: BaseException) -> str:
    """Path and class of the innermost module that was running when an exception was raised; empty where none was."""
    paths = {id(module): path or "the model itself" for path, module in model.named_modules()}
    owners = [frame.f_locals.get("self") for frame, _ in walk_tb(error.__traceback__)]
    module = next((each for each in reversed(owners) if id(each) in paths), None)
    return "" if module is None else f"{paths[id(module)]} ({type(module).__name__})"
