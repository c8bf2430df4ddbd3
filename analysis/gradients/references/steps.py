"""The step units of a model: where they are, what lies below them, and the same model with other values for them.

A step unit is a call of Heaviside (values 0 and 1) or sign (-1 and 1) that the model makes; `round` has more values and
is flat all the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import Node

from ..margin.walk.places import Place, visiting

TWO_VALUED = {"heaviside": (0.0, 1.0), "sign": (-1.0, 1.0)}
"""The steps that noise turns into Bernoulli units: their values below and above the threshold."""

FLAT = frozenset({*TWO_VALUED, "round"})
"""The activations whose derivative is 0 wherever it exists."""

Rule = Callable[[Place, Tensor, Callable[[], Tensor]], Tensor]
"""``rule(place, preactivation, compute) -> value``: what stands in for a step unit; ``compute()`` is its own value."""


@contextmanager
def stepping(model: nn.Module, rule: Rule) -> Iterator[None]:
    """While this is open, ``rule`` stands in for each call of a flat activation that the model makes, in order."""

    def visit(place: Place, z: Tensor, compute: Callable[[], Tensor]) -> Tensor:
        if place.activation not in FLAT:
            return compute()
        before = z.clone()  # on the graph; the call may overwrite z
        with torch.no_grad():  # Heaviside has no derivative in torch, and none is wanted here
            in_place = (own := compute()) is z
            if in_place:
                own, _ = own.clone(), z.copy_(before)
        value = rule(place, before, lambda: own)
        return z.copy_(value) if in_place else value

    with visiting(model, visit):
        yield


class _Through(torch.autograd.Function):
    """The step's own value, with its input on the graph: the nodes that this leaves are found again in the graph."""

    @staticmethod
    def forward(ctx: Any, z: Tensor, value: Tensor) -> Tensor:
        """The value."""
        return value.clone()

    @staticmethod
    def backward(ctx: Any, *upstream: Any) -> Any:
        """Zero, as the step's derivative."""
        return torch.zeros_like(upstream[0]), None


def marking(_: Place, z: Tensor, compute: Callable[[], Tensor]) -> Tensor:
    """The rule that changes nothing and leaves a mark on the graph."""
    value: Tensor = _Through.apply(z, compute())  # type: ignore[no-untyped-call]
    return value


def below(value: Tensor, parameters: Sequence[Tensor]) -> frozenset[int]:
    """The positions of the parameters from which some path to ``value`` runs through a step marked by `marking`."""
    steps = [node for node in _from(value.grad_fn) if type(node).__name__ == "_ThroughBackward"]
    under = {id(getattr(node, "variable", None)) for step in steps for node in _from(step)}
    return frozenset(index for index, parameter in enumerate(parameters) if id(parameter) in under)


def _from(root: Node | None) -> list[Node]:
    """Every node of the graph below one, itself included."""
    if root is None:
        return []
    met, waiting = {root: None}, [root]
    while waiting:
        pairs: Any = waiting.pop().next_functions
        for child, _ in pairs:
            if child is not None and child not in met:
                met[child] = None
                waiting.append(child)
    return list(met)
