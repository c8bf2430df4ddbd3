"""Sets of parameters that are compared by their maps, and the products of all samples at one such set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ...layers import Layer
from .graph import Uses
from .map import Layout, Map
from .products import Products, beside, numbers, products

BUDGET = 2**21
"""Numbers held at once while one unit is compared, a few MiB: they stay in the cache, or near it."""


@dataclass(frozen=True, eq=False)
class Unit:
    """Parameters of one layer that take part in the same maps.

    Attributes:
        layer: place of the layer.
        maps: places of the maps, in the order of the forward: the steps of a recurrence, or one.
        weight: the maps' weight, if it is among them.
        bias: their bias, if it is.
    """

    layer: int
    maps: tuple[int, ...]
    weight: Tensor | None
    bias: Tensor | None

    @property
    def parameters(self) -> list[Tensor]:
        """All of them."""
        return [each for each in (self.weight, self.bias) if each is not None]


def units(layers: Sequence[Layer], uses: Uses, other: Uses) -> tuple[list[Unit], list[tuple[int, list[Tensor]]]]:
    """The units, and by place of the layer the parameters that reach the loss in some other way.

    Args:
        layers: of the model.
        uses: of the reference's graph.
        other: of the surrogates' graph; the two must agree about a parameter.
    """
    found: list[Unit] = []
    rest: list[tuple[int, list[Tensor]]] = []
    for index, layer in enumerate(layers):
        roles: dict[tuple[int, ...], dict[bool, Tensor]] = {}
        left: list[Tensor] = []
        for parameter in layer.parameters:
            if not (uses.reached(parameter) or other.reached(parameter)):
                continue
            at = uses.of(parameter) if uses.alike(other) else ()
            if at and at == other.of(parameter):
                roles.setdefault(tuple(i for i, _ in at), {})[at[0][1]] = parameter
            else:
                left.append(parameter)
        found += [Unit(index, maps, each.get(False), each.get(True)) for maps, each in roles.items()]
        if left:
            rest.append((index, left))
    return found, rest


@dataclass(frozen=True)
class Call:
    """One map of a unit, with the error signals at it, one row after another.

    Attributes:
        map: the map.
        layout: how the rows belong to samples.
        given: what the map was applied to.
        reference: error signal.
        errors: the same under K surrogates.
    """

    map: Map
    layout: Layout | None
    given: Tensor | None
    reference: Tensor
    errors: tuple[Tensor, ...] = ()

    def under(self, errors: Sequence[Tensor]) -> Call:
        """With these error signals of surrogates."""
        return replace(self, errors=tuple(errors))

    def signals(self, rows: Tensor, here: slice) -> Tensor:
        """[B, G, T, O] of some samples."""
        assert self.layout is not None
        return self.map.signals(self.layout.split(rows)[here])

    def under_signals(self, here: slice) -> Tensor:
        """[K, B, G, T, O] of some samples; in memory as each surrogate's own."""
        if len(self.errors) == 1:
            return self.signals(self.errors[0], here).unsqueeze(0)
        assert self.layout is not None
        rows = torch.stack([self.layout.split(error)[here] for error in self.errors])
        return _split(self.map.signals(rows.flatten(0, 1)), rows.shape[:2])

    def features(self, here: slice) -> Tensor:
        """[B, G, T, I] of some samples."""
        assert self.layout is not None
        assert self.given is not None
        return self.map.features(self.layout.split(self.given)[here])


@torch.no_grad()
def products_of(unit: Unit, calls: Sequence[Call]) -> Products:
    """Of all samples, some at a time: the positions of all calls stand side by side."""

    def part(here: slice) -> tuple[Tensor | None, Tensor, Tensor]:
        features = [call.features(here) for call in calls] if unit.weight is not None else []
        return (
            _joined(features, 2) if features else None,
            _joined([call.signals(call.reference, here) for call in calls], 2),
            _joined([call.under_signals(here) for call in calls], 3),
        )

    assert calls[0].layout is not None
    samples = calls[0].layout.samples
    first = part(slice(0, 1))
    size = max(1, BUDGET // max(1, numbers(first[0], first[1], len(first[2]))))
    bias, one_hot = unit.bias is not None, calls[0].map.one_hot
    return beside(
        [products(*part(slice(at, at + size)), bias=bias, one_hot=one_hot) for at in range(0, samples, size)],
        samples=True,
    )


def _joined(parts: Sequence[Tensor], dim: int) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(list(parts), dim)


def _split(joined: Tensor, sizes: Sequence[int]) -> Tensor:
    return joined.reshape(*sizes, *joined.shape[1:])
