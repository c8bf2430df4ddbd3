"""What a measurement says of the model beside its numbers: its mode, and the activations that no call shows.

A model that is measured in training mode, or a part of which keeps its own derivative, is measured all the same; but
the number is then one of something else than a reader may think, so it is said with each table, and warned of.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterable, Sequence
from itertools import takewhile
from traceback import walk_stack
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd

from ...surrogates.activations import ACTIVATIONS
from ...surrogates.lookup import activation
from ..untie.ledger import Ledger
from ..untie.reach import UnreachedWarning, graph, hidden

_PACKAGE = __name__.partition(".")[0]


class OwnBackwardWarning(UserWarning):
    """The model has a backward of its own writing, and "exact" is the gradient through that one."""


class ModeWarning(UserWarning):
    """Batch norm is in training mode, where the function measured is not the one that is deployed."""


def remarks(model: nn.Module) -> list[str]:
    """What the mode that the model's modules are in does to a measurement."""
    return [*_norms(model), *_drops(model)]


def _norms(model: nn.Module) -> list[str]:
    found = [path for path, each in model.named_modules() if isinstance(each, _BatchNorm) and each.training]
    said = (
        f"batch norm in training mode ({', '.join(found)}): each batch is normed by its own statistics, so its samples "
        f"share a gradient that none has in evaluation mode."
    )
    return [said] if found else []


def _drops(model: nn.Module) -> list[str]:
    found = [path for path, each in model.named_modules() if isinstance(each, _DropoutNd) and each.training and each.p]
    said = f"dropout in training mode ({', '.join(found)}): one mask, from the seed, for every gradient."
    return [said] if found else []


def written(loss: torch.Tensor) -> tuple[str, ...]:
    """The names of the user's own autograd functions on the graph of a loss; torch's and ours are left out."""
    found = (getattr(node, "_forward_cls", None) for node in graph(loss, 0))
    theirs = [each for each in found if each and each.__module__.partition(".")[0] not in ("torch", _PACKAGE)]
    return tuple(sorted({each.__name__ for each in theirs}))


def concealed(model: nn.Module, activations: Sequence[Any] | None = None) -> list[str]:
    """Each of these activations, all of the catalogue where ``None``, that a module computes where no call is seen.

    >>> concealed(nn.Sequential(nn.LSTM(2, 3), nn.Tanh()))[0]
    'logistic in 0: inside the fused kernel of nn.LSTM'
    """
    names = (
        ACTIVATIONS if activations is None else {activation(key).name for key in activations if isinstance(key, str)}
    )
    ledger = Ledger(model)
    for module in model.modules():
        for key, reason in hidden(module, {name: ACTIVATIONS[name] for name in names}):
            ledger.note(module, key, reason)
    return [str(each) for each in ledger.unreached]


def _own(names: Sequence[str]) -> str:
    return (
        f"{', '.join(names)}: an autograd.Function with a backward of its own, so the exact gradient here is the one "
        f"through that backward. Where its forward is a step, that is itself a surrogate's: write the step as "
        f"torch.heaviside or torch.sign for the references that steps have, or take the finite difference."
    )


def _level() -> int:
    """The stacklevel at which the caller of this function warns at the user's line, outside of this package."""
    names = (frame.f_globals.get("__name__", "") for frame, _ in walk_stack(sys._getframe(1)))
    return 1 + sum(1 for _ in takewhile(lambda name: name.partition(".")[0] == _PACKAGE, names))


def noted(
    model: nn.Module,
    caller: str,
    activations: Sequence[Any] | None,
    unreached: Iterable[str] = (),
    own: Sequence[str] = (),
) -> dict[str, Any]:
    """The mode, what was not reached and backwards of the user's own, as provenance; warns of batch norm and of the
    latter two, at the user's line.

    Args:
        model: as it was measured.
        caller: the function that the user called.
        activations: as the caller takes them. Where ``None``, every one of the catalogue was meant; `untie`, asked for
            those that were seen to run, has not missed the others, so they are warned of here.
        unreached: what `untie` could not reach, and has warned of.
        own: the user's autograd functions in the model as it is, from `written`.

    Returns:
        ``training`` (whether any module is in training mode), ``remarks`` (what that changes) and ``unreached``.
    """
    known = list(unreached)
    level = _level()
    more = [each for each in concealed(model, activations) if each not in known]
    for remark in _norms(model):
        warnings.warn(f"{caller}: {remark} Call model.eval() where that is not meant.", ModeWarning, stacklevel=level)
    if more and activations is None:
        warnings.warn(
            f"{caller}: these keep their own derivative: {'; '.join(more)}", UnreachedWarning, stacklevel=level
        )
    if own:
        warnings.warn(f"{caller}: {_own(own)}", OwnBackwardWarning, stacklevel=level)
    training = any(module.training for module in model.modules())
    return {
        "training": training,
        "remarks": [*remarks(model), *([_own(own)] if own else [])],
        "unreached": known + more,
    }
