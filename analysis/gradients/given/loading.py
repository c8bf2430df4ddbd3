"""From what a user types to objects: a model with its weights, batches, a loss.

A Python file named here is imported: the user's own code runs. Weights load as tensors only (safetensors).
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import Tensor, nn

from ...errors import Refused, near
from ...importing import module_at
from ..inputs import check_weights, out_of_memory


def model(target: str, weights: str | None = None, *, training: bool = False) -> nn.Module:
    """The module that ``file.py:factory`` makes (or is), with the weights of a safetensors file.

    Args:
        target: ``file.py:factory``.
        weights: path of the file; the factory's own where ``None``.
        training: the mode it is put into; evaluation where false.

    Raises:
        Refused: there is no such file or object, it makes no module, or the weights do not fit it or are not finite.
    """
    found = object_at(target, "--model")
    with own("--model", target):
        made = found() if callable(found) and not isinstance(found, nn.Module) else found
    if not isinstance(made, nn.Module):
        raise Refused(f"--model {target}: it gives a {type(made).__name__}, not a torch.nn.Module.")
    if weights is not None:
        _load(made, weights)
    check_weights(made, f"--model {target}" if weights is None else f"--weights {weights}")
    return made.train(training)


def batches(target: str) -> Iterator[tuple[Any, Any]]:
    """The batches (inputs, targets) that ``file.py:batches`` yields, holds or returns.

    Raises:
        Refused: there is no such file or object, it cannot be iterated over, or it holds no batch.
    """
    found = object_at(target, "--data")
    with own("--data", target):
        made = found() if callable(found) and not isinstance(found, Iterable) else found
    if not isinstance(made, Iterable):
        raise Refused(f"--data {target}: it gives a {type(made).__name__}, not an iterable of (inputs, targets).")
    one = isinstance(made, tuple) and len(made) == 2 and isinstance(made[1], Tensor)
    with own("--data", target):
        iterator = iter([made] if one else made)
        first = next(iterator, None)
    if first is None:
        raise Refused(f"--data {target}: it holds no batch.")
    while first is not None:
        yield first
        with own("--data", target):
            first = next(iterator, None)


@contextmanager
def own(option: str, target: str, given: Callable[[], str] = lambda: "") -> Iterator[None]:
    """What the user's own code raises is told as his, in one message, which ends with what his code was ``given``."""
    try:
        yield
    except Refused:
        raise
    except Exception as error:
        if out_of_memory(error):
            raise
        said = (str(error) or type(error).__name__).splitlines()[0].rstrip(".")
        noted = "".join(f" {note}" for note in getattr(error, "__notes__", ()))  # which module it was
        raise Refused(f"{option} {target}: it raised {type(error).__name__}: {said}{given()}.{noted}") from error


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
    with own(option, target):
        found: Any = module_at(file)
    for part in path.split("."):
        if not hasattr(found, part):
            raise Refused(f"{option} {target}: {where} has no {part!r}; {near(part, _offered(found))}")
        found = getattr(found, part)
    return found


def _offered(found: Any) -> list[str]:
    """The names that a user would mean: of a file those that it defines itself, neither imported nor private."""
    named = {name: getattr(found, name) for name in dir(found) if not name.startswith("_")}
    return [name for name, value in named.items() if not isinstance(found, ModuleType) or _defined(value, found)]


def _defined(value: Any, module: ModuleType) -> bool:
    if isinstance(value, ModuleType) or type(value).__module__ in ("__future__", "typing"):
        return False
    made_elsewhere = isinstance(value, type) or inspect.isroutine(value)
    return not made_elsewhere or getattr(value, "__module__", None) == module.__name__


def _load(module: nn.Module, weights: str) -> None:
    from safetensors.torch import load_file  # here alone: a user's weights are rare

    if not Path(weights).is_file():
        raise Refused(f"--weights {weights}: there is no such file.")
    try:
        state = load_file(weights)
    except Exception as error:
        raise Refused(
            f"--weights {weights}: it is no safetensors file ({error}). A file of torch.save is turned into one by "
            f'safetensors.torch.save_file(torch.load("w.pt", weights_only=True), "w.safetensors").'
        ) from error
    own = module.state_dict()
    # Of tensors that share their memory, safetensors keeps one.
    kept = {own[n].data_ptr() for n in set(own) & set(state)}
    wrong = [f"{n} is missing" for n in sorted(set(own) - set(state)) if own[n].data_ptr() not in kept]
    wrong += [f"{n} is not in the model" for n in sorted(set(state) - set(own))]
    for n in sorted(set(own) & set(state)):
        if own[n].shape != state[n].shape:
            wrong.append(f"{n} has shape {tuple(state[n].shape)}, the model's is {tuple(own[n].shape)}")
        elif own[n].is_floating_point() != state[n].is_floating_point():
            wrong.append(f"{n} is {state[n].dtype}, the model's is {own[n].dtype}")
    if wrong:
        raise Refused(f"--weights {weights}: they do not fit the model: {'; '.join(wrong)}.")
    module.load_state_dict(state, strict=False)
