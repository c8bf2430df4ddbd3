"""The activations of a model's forward, in order: what enters them, and which of them stand above which layer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor
from torch.autograd.graph import Node

from ..layers import Layer
from ..margin.walk.graph import below
from ..margin.walk.places import Place, visiting
from ..measuring.taking import Native


@dataclass(frozen=True)
class Called:
    """One call of an activation.

    Attributes:
        place: module path, number of the call, activation and its derivative.
        mean_square: q, the mean of z^2 over all entries of the call.
    """

    place: Place
    mean_square: float


@dataclass(frozen=True)
class Above:
    """The calls between a layer and the loss, in order, and why they are no chain; empty where they are."""

    calls: tuple[Called, ...]
    reason: str


def above(native: Native, of_layer: Sequence[Layer]) -> dict[str, Above]:
    """For each layer, the calls that the paths from it to the loss cross."""
    setting = native.setting
    calls: list[Called] = []
    nodes: list[Node | None] = []

    def note(place: Place, z: Tensor, compute: Callable[[], Tensor]) -> Tensor:
        square = float(z.detach().double().square().mean())  # before the call, which may overwrite it
        output = compute()
        calls.append(Called(place, square))
        nodes.append(output.grad_fn)
        return output

    native.again()
    with visiting(setting.model, note):
        output = setting.output()
    root = setting.loss(output, setting.y).grad_fn
    assert root is not None
    uses = _uses(root)
    found = {}
    for layer in of_layer:
        own = {str(index): p for index, p in enumerate(layer.parameters) if p.requires_grad}
        crossed = [
            (call, around) for call, (names, around) in zip(calls, below(root, nodes, own), strict=True) if names
        ]
        reason = ""
        if any(uses[id(parameter)] > 1 for parameter in own.values()):
            reason = "its weights are used more than once in the forward, so paths share them"
        elif beside := [call.place for call, around in crossed if around]:
            reason = f"a path from it to the loss goes around {beside[0]}, so paths cross unequal activations"
        found[layer.path] = Above(tuple(call for call, _ in crossed), reason)
    return found


def _uses(root: Node) -> Counter[int]:
    """At how many places each leaf enters the forward, by the leaf's id."""
    met, waiting = {root}, [root]
    uses: Counter[int] = Counter()
    while waiting:
        pairs: Any = waiting.pop().next_functions
        for child in (child for child, _ in pairs if child is not None):
            uses[id(getattr(child, "variable", None))] += 1
            if child not in met:
                met.add(child)
                waiting.append(child)
    return uses
