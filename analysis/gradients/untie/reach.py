"""What `untie` cannot reach: kernels that hold an activation inside, scripted code, native nodes left on the graph."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import cache
from typing import Any

import torch
from torch import nn
from torch.utils._pytree import tree_leaves

from ...surrogates.activation import Activation
from .ledger import Unreached
from .matching import Rule

_OPAQUE = ("CompiledFunctionBackward", "DifferentiableGraphBackward", "CheckpointFunctionBackward")


def hidden(model: nn.Module, rules: Iterable[Rule]) -> Iterator[Unreached]:
    """Asked activations inside modules that compute them in one fused call, or in TorchScript."""
    asked = {rule.key: rule.target for rule in rules if isinstance(rule.target, Activation)}
    for path, module in model.named_modules():
        if isinstance(module, torch.jit.ScriptModule):
            for key, target in asked.items():
                if _scripted(module, target):
                    yield Unreached(path, key, "TorchScript, which no torch function mode sees")
        elif isinstance(module, nn.RNNBase | nn.RNNCellBase):
            gates = {getattr(module, "nonlinearity", "tanh")} if _is_plain(module) else {"tanh", "logistic"}
            for key in asked.keys() & gates:
                yield Unreached(path, key, f"inside the fused kernel of nn.{type(module).__name__}")


def _is_plain(module: nn.Module) -> bool:
    return isinstance(module, nn.RNN | nn.RNNCell)


def _scripted(module: Any, target: Activation) -> bool:
    kinds = {str(operation.function).removeprefix("aten.") for operation in target.operations}
    try:
        nodes = module.inlined_graph.nodes()
    except RuntimeError:  # no forward method, so nothing runs by itself
        return False
    return any(node.kind().removeprefix("aten::") in kinds for node in nodes)


def left(output: Any, since: int, rules: Iterable[Rule], seen: Iterable[Any]) -> Iterator[Unreached]:
    """Native nodes of asked activations among the nodes that the model put on the autograd graph.

    Args:
        output: what the model returned.
        since: sequence number below which a node is older than the model's run.
        rules: the mapping.
        seen: nodes of calls that `untie` saw and left alone on purpose.
    """
    names = {node: rule.key for rule in rules if isinstance(rule.target, Activation) for node in nodes(rule.target)}
    known = {id(node) for node in seen}
    found: Counter[tuple[str, str]] = Counter()
    opaque: Counter[str] = Counter()
    for node in graph(output, since):
        kind = type(node).__name__
        if kind in names and id(node) not in known:
            found[names[kind], kind] += 1
        elif kind.startswith(_OPAQUE):
            opaque[kind] += 1
    for (key, kind), times in found.items():
        yield Unreached(
            "", key, f"{times} native {kind} on its graph: called inside another torch function or from C++"
        )
    for kind, times in opaque.items():
        for key in dict.fromkeys(names.values()):
            yield Unreached("", key, f"{times} {kind} on its graph: what it holds runs where it cannot be seen")


def graph(output: Any, since: int) -> Iterator[Any]:
    """The autograd nodes behind the output that are not older than ``since``."""
    waiting = [
        leaf.grad_fn for leaf in tree_leaves(output) if isinstance(leaf, torch.Tensor) and leaf.grad_fn is not None
    ]
    met = {id(node): node for node in waiting}
    while waiting:
        node = waiting.pop()
        yield node
        for after, _ in node.next_functions:
            if after is not None and id(after) not in met and since <= after._sequence_nr() < 2**63:
                met[id(after)] = after
                waiting.append(after)


def functions(output: Any, since: int) -> tuple[str, ...]:
    """Names of the custom autograd functions that the model put on the graph."""
    kinds = [type(node) for node in graph(output, since)]
    own = [kind.__name__ for kind in kinds if issubclass(kind, torch.autograd.function.BackwardCFunction)]
    return tuple(dict.fromkeys(name.removesuffix("Backward") for name in own))


def clock() -> int:
    """The sequence number that the next autograd node of this thread gets, or a smaller one."""
    with torch.enable_grad():
        node = torch.empty(0, requires_grad=True).view(0).grad_fn
    assert node is not None
    return node._sequence_nr()


@cache
def _probe() -> torch.Tensor:
    return torch.zeros(1, requires_grad=True)


def nodes(activation: Activation) -> frozenset[str]:
    """The names of the autograd nodes that torch's own operations leave, found by running each of them once."""
    return _nodes(activation.name, activation.operations)


@cache
def _nodes(_: str, operations: tuple[Any, ...]) -> frozenset[str]:
    names = set()
    with torch.enable_grad(), torch._C.DisableTorchFunction(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for operation in operations:
            try:
                if operation.parameters() is None:
                    continue
                output = operation.function(_probe().clone())
            except (TypeError, RuntimeError):  # needs more arguments than the input
                continue
            node = getattr(output, "grad_fn", None)
            if node is not None and type(node).__name__.endswith(tuple("0123456789")):
                names.add(type(node).__name__)
    return frozenset(names)
