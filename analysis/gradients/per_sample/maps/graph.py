"""Which parameters of an autograd graph take part in recognised maps alone, and which are used in another way too."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor
from torch.autograd.graph import Node

from .apart import apart
from .map import Map, recognised


@dataclass
class Uses:
    """How the parameters reach some outputs.

    Attributes:
        maps: every recognised node, in the order in which the forward made them.
        elsewhere: parameters that (also) reach the outputs in another way, by id.
        apart: whether every node on the way is known to keep samples apart.
    """

    maps: list[Map] = field(default_factory=list)
    elsewhere: set[int] = field(default_factory=set)
    apart: bool = True

    def of(self, parameter: Tensor) -> tuple[tuple[int, bool], ...]:
        """Place of each map that the parameter takes part in, and whether as its bias; none where any use is another.

        The positions of all of them can stand side by side.
        """
        found = [
            (i, each.bias is parameter)
            for i, each in enumerate(self.maps)
            if parameter is each.weight or parameter is each.bias
        ]
        kinds = {(self.maps[i].key, as_bias) for i, as_bias in found}
        return tuple(found) if len(kinds) == 1 and id(parameter) not in self.elsewhere else ()

    def alike(self, other: Uses) -> bool:
        """Whether two forwards made the same maps of the same parameters."""
        mine, theirs = ([(m.key, id(m.weight), id(m.bias)) for m in each.maps] for each in (self, other))
        return mine == theirs

    def reached(self, parameter: Tensor) -> bool:
        """Whether the outputs depend on the parameter at all."""
        return id(parameter) in self.elsewhere or any(parameter is m.weight or parameter is m.bias for m in self.maps)


def uses(outputs: Iterable[Node | None], parameters: Sequence[Tensor], samples: int) -> Uses:
    """Walks the graph from the outputs, each with ``samples`` rows, to the parameters."""
    known = {id(parameter) for parameter in parameters}
    found = Uses()
    stack: list[Any] = [node for node in outputs if node is not None]
    seen = set(stack)
    while stack:
        node = stack.pop()
        own = getattr(node, "variable", None)
        if own is not None:
            if id(own) in known:
                found.elsewhere.add(id(own))
            continue
        edges = node.next_functions
        children = [child for child, _ in edges]
        taken: set[int] = set()

        def leaf(index: int, children: list[Any] = children, taken: set[int] = taken) -> Tensor | None:
            parameter = _leaf(children[index]) if index < len(children) else None
            if parameter is None or id(parameter) not in known or parameter._backward_hooks:
                return None  # a hook may change what arrives, so each sample's gradient has to go through it
            taken.add(index)
            return parameter

        each = recognised(node, leaf)
        if each is not None:
            found.maps.append(each)
        onward = [edge for i, edge in enumerate(edges) if edge[0] is not None and (each is None or i not in taken)]
        inputs = [edge for edge in onward if not hasattr(edge[0], "variable")]
        found.apart = found.apart and apart(node, inputs, samples)
        for child, _ in onward:
            if child not in seen:
                seen.add(child)
                stack.append(child)
    found.maps.sort(key=lambda one: one.node._sequence_nr())
    return found


def _leaf(node: Any) -> Tensor | None:
    """The leaf at this node, or the one that it transposes."""
    if node is not None and node.name() in ("TBackward0", "TransposeBackward0"):
        node = node.next_functions[0][0]
    return getattr(node, "variable", None) if node is not None else None
