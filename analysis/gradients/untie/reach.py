"""What became of the model's first run: what was not reached, and why nothing was replaced where nothing was.

Out of reach are kernels that hold an activation inside, scripted code, and torch functions that call one in C++. They
are found in the list of modules and by the native nodes that they leave on the autograd graph.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any

import torch
from torch import nn
from torch.utils._pytree import tree_leaves

from ...errors import Refused
from ...surrogates.activation import Activation
from ...surrogates.activations import ACTIVATIONS
from .ledger import Ledger
from .matching import Rule


class UnreachedWarning(UserWarning):
    """A part of the model keeps the derivative of an activation that was asked for."""


def judge(ledger: Ledger, rules: Sequence[Rule], output: Any, since: int, seen: Iterable[Any]) -> None:
    """Notes in the ledger, and warns of, what the model's run left as it was.

    Args:
        ledger: of the run.
        rules: the mapping.
        output: what the model returned.
        since: autograd's sequence number when the run began; older nodes are not the model's.
        seen: nodes of calls that were seen and left alone on purpose.

    Raises:
        Refused: nothing was replaced, or a part of the model runs again inside its own backward.
    """
    made = graph(output, since)
    asked = {rule.key: rule.target for rule in rules if isinstance(rule.target, Activation)}
    if isinstance(ledger.model, nn.Module):
        for module in ledger.model.modules():
            for key, reason in hidden(module, asked):
                ledger.note(module, key, reason)
    for key, reason in _left(made, asked, {id(node) for node in seen}):
        ledger.note(None, key, reason)
    if any(type(node).__name__ == "CheckpointFunctionBackward" for node in made):
        raise Refused(
            "untie: a part of the model is checkpointed with use_reentrant=True: its own backward runs it again, where "
            "it may not be seen. Use torch.utils.checkpoint.checkpoint(..., use_reentrant=False)."
        )
    if not ledger.tallies:
        keys = ", ".join(repr(rule.key) for rule in rules)
        raise Refused(f"untie: nothing was replaced: the model ran and called none of {keys}. {instead(ledger, made)}")
    if ledger.unreached:
        listed = "; ".join(map(str, ledger.unreached))
        warnings.warn(f"untie: these keep their own derivative: {listed}", UnreachedWarning, stacklevel=2)


def demand(ledger: Ledger, rules: Sequence[Rule]) -> None:
    """Refuses a key of the mapping that matched nothing.

    Raises:
        Refused: there is one.
    """
    met = {key for _, _, key in ledger.tallies}
    missing = [repr(rule.key) for rule in rules if rule.key not in met]
    if missing:
        raise Refused(
            f"untie: {' and '.join(missing)} matched nothing in the model's run, so its gradient is not the one that "
            f"was asked for. {instead(ledger, ())}"
        )


def instead(ledger: Ledger, made: Iterable[Any]) -> str:
    """What the model ran in place of what was asked for."""
    ran = ", ".join(f"{key!r} ({times} times)" for key, times in ledger.native.most_common())
    text = f"It called {ran}: use these as keys." if ran else "It called no other activation of the catalogue."
    custom = [type(node).__name__ for node in made if isinstance(node, torch.autograd.function.BackwardCFunction)]
    own = ", ".join(dict.fromkeys(name.removesuffix("Backward") for name in custom))
    if own:
        text += f" Autograd functions of its own are on its graph ({own}): key the module class that calls one."
    return text + "".join(f" Not reached: {each}." for each in ledger.unreached)


def hidden(module: nn.Module, asked: Mapping[str, Activation]) -> Iterable[tuple[str, str]]:
    """Asked activations that a module computes in one fused call, or in TorchScript."""
    if isinstance(module, nn.RNNBase | nn.RNNCellBase):
        plain = isinstance(module, nn.RNN | nn.RNNCell)
        gates = {module.nonlinearity} if plain else {"tanh", "logistic"}
        for key in sorted(asked.keys() & gates):
            yield key, f"inside the fused kernel of nn.{type(module).__name__}"
    elif isinstance(module, torch.jit.ScriptModule):
        for key, target in asked.items():
            if _scripted(module, target):
                yield key, "TorchScript, which no torch function mode sees"


def _scripted(module: Any, target: Activation) -> bool:
    kinds = {str(operation.function).removeprefix("aten.") for operation in target.operations}
    try:
        nodes = module.inlined_graph.nodes()
    except RuntimeError:  # no forward method, so nothing runs by itself
        return False
    return any(node.kind().removeprefix("aten::") in kinds for node in nodes)


def _left(made: Iterable[Any], asked: dict[str, Activation], seen: set[int]) -> Iterable[tuple[str, str]]:
    """Asked activations whose native node is on the graph though no call of them was seen."""
    names = {name: key for key, target in asked.items() for name in nodes(target)}
    found: Counter[tuple[str, str]] = Counter()
    for node in made:
        kind = type(node).__name__
        if kind in names and id(node) not in seen:
            found[names[kind], kind] += 1
        elif kind == "CppFunction" and "jit" in node.name():
            found.update((key, "TorchScript function") for key in asked)
    for (key, kind), times in found.items():
        yield key, f"{times} native {kind} on its graph, called from inside another torch function"


def graph(output: Any, since: int) -> list[Any]:
    """The autograd nodes behind the output that are not older than ``since``, a number from `clock`."""
    waiting = [leaf.grad_fn for leaf in tree_leaves(output) if isinstance(leaf, torch.Tensor) and leaf.grad_fn]
    met = {id(node): node for node in waiting}
    while waiting:
        for node, _ in waiting.pop().next_functions:
            if node is not None and id(node) not in met and since <= node._sequence_nr() < 2**63:
                met[id(node)] = node
                waiting.append(node)
    return list(met.values())


def clock() -> int:
    """The sequence number that the next autograd node of this thread gets."""
    return torch.autograd._get_sequence_nr()  # type: ignore[attr-defined]


def nodes(activation: Activation) -> frozenset[str]:
    """The names of the autograd nodes that torch's own operations leave, found by running each of them once."""
    if ACTIVATIONS.get(activation.name) is activation:
        return _catalogue_nodes(activation.name)
    return _nodes(activation)


@cache
def _catalogue_nodes(name: str) -> frozenset[str]:
    return _nodes(ACTIVATIONS[name])


def _nodes(activation: Activation) -> frozenset[str]:
    probe = torch.zeros(1, requires_grad=True)
    names = set()
    with torch.enable_grad(), torch._C.DisableTorchFunction():
        for operation in activation.operations:
            try:
                if operation.parameters() is None:
                    continue
                output = operation.function(probe.clone())
            except (TypeError, RuntimeError):  # needs more arguments than the input
                continue
            node = getattr(output, "grad_fn", None)
            if node is not None and type(node).__name__[-1].isdigit():  # a native node is numbered: ReluBackward0
                names.add(type(node).__name__)
    return frozenset(names)
