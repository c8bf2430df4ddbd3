"""What is refused before a measurement, because its number would mean nothing; and the state that it gives back."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from traceback import walk_tb
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _NormBase
from torch.utils._pytree import tree_leaves

from ..errors import Refused


def check(model: nn.Module, batch: Any, caller: str = "measure") -> None:
    """Refuses what would give a number that means nothing; ``caller`` is the function that the user called."""
    check_batch(batch, f"{caller}(batch=...)")
    check_weights(model, f"{caller}(model=...)")


def check_batch(batch: Any, said: str) -> None:
    """Refuses what is no pair, empty or not finite; ``said`` is the argument as the user typed it."""
    if not isinstance(batch, tuple | list) or len(batch) != 2:
        raise Refused(f"{said}: a {type(batch).__name__} is no pair (x, y) of inputs and targets.")
    for name, part in zip(("x", "y"), batch, strict=True):
        for tensor in (leaf for leaf in tree_leaves(part) if isinstance(leaf, torch.Tensor)):
            if tensor.numel() == 0:
                raise Refused(f"{said}: {name} has shape {tuple(tensor.shape)}: there is no sample in it.")
            _finite(f"{said}: {name}", tensor)


def check_weights(model: nn.Module, said: str) -> None:
    """Refuses parameters and buffers that are not finite; ``said`` is the argument as the user typed it."""
    for name, parameter in model.named_parameters():
        _finite(f"{said}: the parameter {name}", parameter)
    for name, buffer in model.named_buffers():
        _finite(f"{said}: the buffer {name}", buffer)


def _finite(name: str, tensor: torch.Tensor) -> None:
    # A sum shows every NaN and infinity and is read first, being quick; a large one may also overflow by itself.
    if not tensor.is_floating_point() or torch.isfinite(tensor.detach().sum()):
        return
    if not (finite := torch.isfinite(tensor)).all():
        bad = tensor.numel() - int(finite.count_nonzero())
        raise Refused(f"{name} has {bad} entries of {tensor.numel()} that are NaN or infinite.")


@contextmanager
def untouched(model: nn.Module, owned: Sequence[nn.Parameter], seed: int) -> Iterator[Callable[[], None]]:
    """Gives buffers and random state back at the end; the function that it yields starts a run from the same state.

    An exception that one of the model's modules raises passes through with a note that names the module.

    Raises:
        Refused: a batch norm in training mode got one value per channel, of which there is no variance.
    """
    buffers = {name: (buffer, buffer.detach().clone()) for name, buffer in model.named_buffers()}
    devices = sorted({parameter.device.index for parameter in owned if parameter.device.type == "cuda"})

    def again() -> None:
        with torch.no_grad():
            for buffer, held in buffers.values():
                if not torch.equal(buffer, held):  # a write would void the graph of an earlier run
                    buffer.copy_(held)
        # torch.manual_seed would also note, with a traceback each time, to seed the devices that are not in use.
        torch.default_generator.manual_seed(seed)
        if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
            torch.cuda.manual_seed_all(seed)

    with torch.random.fork_rng(devices=devices), torch.enable_grad():
        again()
        try:
            yield again
        except Exception as error:
            _blame(model, error)
            raise
        finally:
            again()


def _blame(model: nn.Module, error: Exception) -> None:
    """Notes which of the model's modules raised, the innermost; a mistake that is known by its words is refused."""
    paths = {id(module): path or "the model itself" for path, module in model.named_modules()}
    frames = [frame for frame, _ in walk_tb(error.__traceback__)]
    owners = [frame.f_locals.get("self") for frame in frames]
    module = next((each for each in reversed(owners) if id(each) in paths), None)
    if module is None or isinstance(error, Refused):
        return
    where = f"{paths[id(module)]} ({type(module).__name__})"
    if isinstance(module, _NormBase) and "more than 1 value per channel" in str(error):
        raise Refused(
            f"model=...: {where} is in training mode, where it norms by the batch's own statistics, and got one value "
            f"per channel, of which there is no variance. Give a batch of at least two samples, or call model.eval()."
        ) from error
    error.add_note(f"It was raised in the model's own forward, by {where}.")


def scalar(value: Any, caller: str = "measure") -> torch.Tensor:
    """The loss, if it has a gradient at all; ``caller`` is the function that the user called."""
    if not isinstance(value, torch.Tensor) or value.numel() != 1 or not value.is_floating_point():
        got = f"a tensor of shape {tuple(value.shape)}" if isinstance(value, torch.Tensor) else type(value).__name__
        raise Refused(
            f"{caller}(loss=...): loss(model(x), y) returned {got}, and only a scalar has a gradient. Reduce it, e.g. "
            f"with .mean()."
        )
    if not torch.isfinite(value).all():
        raise Refused(f"{caller}(loss=...): the loss is {value.item()}, so no gradient of it is defined.")
    return value


def out_of_memory(error: BaseException) -> bool:
    """Whether an exception says that memory ran out, on a GPU or here.

    >>> out_of_memory(MemoryError()), out_of_memory(RuntimeError("shapes do not match"))
    (True, False)
    """
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and "can't allocate memory" in str(error)
