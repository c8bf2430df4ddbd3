"""Which parameters an activation place depends on, and which of them also reach the loss around it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor
from torch.autograd.graph import Node


def below(
    root: Node, places: Sequence[Node | None], parameters: Mapping[str, Tensor]
) -> list[tuple[tuple[str, ...], bool]]:
    """For each place, the names of the parameters it depends on, and whether some path from them avoids it.

    Two walks over the autograd graph with one bit for each parameter, and one for each place: upward, what each node
    depends on; downward, which places have all of the loss's paths to a node run through them.

    Args:
        root: ``loss.grad_fn``.
        places: the node of each place's output, ``None`` where no trainable parameter leads to it.
        parameters: by name.
    """
    order = _from_the_loss(root)
    names = {id(parameter): name for name, parameter in parameters.items()}
    bits = {name: 1 << i for i, name in enumerate(parameters)}
    depends: dict[Node, int] = {}
    leaves: dict[Node, str] = {}
    for node in reversed(order):
        depends[node] = 0
        if (name := names.get(id(getattr(node, "variable", None)))) is not None:
            leaves[node], depends[node] = name, bits[name]
        for child in _children(node):
            depends[node] |= depends[child]
    through = {node: 1 << i for i, node in enumerate(places) if node is not None}
    avoided = dict.fromkeys(order, 0)
    avoided[root] = (1 << len(places)) - 1
    for node in order:
        passed = avoided[node] & ~through.get(node, 0)
        for child in _children(node):
            avoided[child] |= passed
    found = []
    for i, place in enumerate(places):
        mask = depends.get(place, 0) if place is not None else 0
        reached = [(leaf, name) for leaf, name in leaves.items() if mask & bits[name]]
        kept = {name for _, name in reached}
        around = any(avoided[leaf] >> i & 1 for leaf, _ in reached)
        found.append((tuple(name for name in parameters if name in kept), around))
    return found


def _from_the_loss(root: Node) -> list[Node]:
    """Every node before all nodes that it leads to."""
    finished: list[Node] = []
    seen: set[Node] = {root}
    stack = [(root, iter(_children(root)))]
    while stack:
        node, children = stack[-1]
        for child in children:
            if child not in seen:
                seen.add(child)
                stack.append((child, iter(_children(child))))
                break
        else:
            finished.append(node)
            stack.pop()
    return finished[::-1]


def _children(node: Node) -> list[Node]:
    pairs: Any = node.next_functions  # torch types the nodes as never None
    return [child for child, _ in pairs if child is not None]
