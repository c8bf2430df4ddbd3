"""What a user gives on the command line: a model, its weights, batches and a loss, each loaded or refused by name.

A Python file named here is imported: the user's own code runs. Weights load as tensors only (safetensors).
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import Refused, near
from .inputs import check

LOSSES: Mapping[str, Callable[[Any, Any], Tensor]] = {
    "cross-entropy": F.cross_entropy,
    "mean-squared-error": F.mse_loss,
    "binary-cross-entropy": F.binary_cross_entropy_with_logits,
    "negative-log-likelihood": F.nll_loss,
}
"""The losses that have a name; each takes (output, targets) and gives the mean over the batch."""


def model(target: str, weights: str | None = None) -> nn.Module:
    """The module that ``file.py:factory`` makes (or is), in evaluation mode, with the weights of a safetensors file.

    Raises:
        Refused: there is no such file or object, it makes no module, or the weights do not fit it.
    """
    found = object_at(target, "--model")
    with _own("--model", target):
        made = found() if callable(found) and not isinstance(found, nn.Module) else found
    if not isinstance(made, nn.Module):
        raise Refused(f"--model {target}: it gives a {type(made).__name__}, not a torch.nn.Module.")
    if weights is not None:
        _load(made, weights)
    return made.eval()


def batches(target: str) -> Iterator[tuple[Any, Any]]:
    """The batches (inputs, targets) that ``file.py:batches`` yields, holds or returns.

    Raises:
        Refused: there is no such file or object, it cannot be iterated over, or it holds no batch.
    """
    found = object_at(target, "--data")
    with _own("--data", target):
        made = found() if callable(found) and not isinstance(found, Iterable) else found
    if not isinstance(made, Iterable):
        raise Refused(f"--data {target}: it gives a {type(made).__name__}, not an iterable of (inputs, targets).")
    one = isinstance(made, tuple) and len(made) == 2 and isinstance(made[0], Tensor)
    with _own("--data", target):
        iterator = iter([made] if one else made)
        first = next(iterator, None)
    if first is None:
        raise Refused(f"--data {target}: it holds no batch.")
    yield first
    yield from iterator


def first(batch: tuple[Any, Any], samples: int | None) -> tuple[Any, Any]:
    """The first ``samples`` of a batch, or the whole where ``None``; inputs that are a tuple are each cut."""
    inputs, targets = batch
    cut = tuple(x[:samples] for x in inputs) if isinstance(inputs, tuple) else inputs[:samples]
    return cut, targets[:samples]


def loss(name: str) -> Callable[[Any, Any], Tensor]:
    """A loss by its name, or ``file.py:function``.

    Raises:
        Refused: the name is unknown.
    """
    if name in LOSSES:
        return LOSSES[name]
    if ".py:" not in name:
        raise Refused(f"--loss {name}: no loss of that name, nor file.py:function; {near(name, LOSSES)}")
    found: Callable[[Any, Any], Tensor] = object_at(name, "--loss")
    return found


def tried(model: nn.Module, loss: Callable[[Any, Any], Tensor], batch: tuple[Any, Any]) -> None:
    """Runs the loss once: what does not fit together is told as such, before any number is made of it.

    Raises:
        Refused: the batch is empty or not finite, or the model or the loss raises on it.
    """
    check(model, batch, "--data")
    inputs = batch[0] if isinstance(batch[0], tuple) else (batch[0],)
    with _own("--model, --data, --loss", "loss(model(x), y)"), torch.no_grad():
        loss(model(*inputs), batch[1])


@contextmanager
def _own(option: str, target: str) -> Iterator[None]:
    """What the user's own code raises is told as his, in one message."""
    try:
        yield
    except Refused:
        raise
    except Exception as error:
        said = (str(error) or type(error).__name__).splitlines()[0]
        raise Refused(f"{option} {target}: it raised {type(error).__name__}: {said}") from error


def object_at(target: str, option: str) -> Any:
    """The object that ``path/to/file.py:name`` names.

    Raises:
        Refused: it is not of that form, there is no such file, or the file has no such name.
    """
    where, _, path = target.rpartition(":")
    if not where.endswith(".py"):
        raise Refused(f"{option} {target}: give it as path/to/file.py:name.")
    file = Path(where)
    if not file.is_file():
        raise Refused(f"{option} {target}: there is no file {file}.")
    name = f"downslope_given_{file.stem}"
    specification = importlib.util.spec_from_file_location(name, file.resolve())
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    sys.modules[name] = module
    with _own(option, target):
        specification.loader.exec_module(module)
    found: Any = module
    for part in path.split("."):
        if not hasattr(found, part):
            raise Refused(f"{option} {target}: {where} has no {part!r}; {near(part, vars(found))}")
        found = getattr(found, part)
    return found


def _load(module: nn.Module, weights: str) -> None:
    from safetensors.torch import load_file  # here alone: a user's weights are rare

    if not Path(weights).is_file():
        raise Refused(f"--weights {weights}: there is no such file.")
    try:
        state = load_file(weights)
    except Exception as error:
        raise Refused(f"--weights {weights}: it is no safetensors file ({error}).") from error
    own = module.state_dict()
    wrong = [f"{n} is missing" for n in sorted(set(own) - set(state))]
    wrong += [f"{n} is not in the model" for n in sorted(set(state) - set(own))]
    wrong += [
        f"{n} has shape {tuple(state[n].shape)}, the model's is {tuple(own[n].shape)}"
        for n in sorted(set(own) & set(state))
        if own[n].shape != state[n].shape
    ]
    if wrong:
        raise Refused(f"--weights {weights}: they do not fit the model: {'; '.join(wrong)}.")
    module.load_state_dict(state)
