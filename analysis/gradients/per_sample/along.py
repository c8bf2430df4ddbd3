"""Along a chain: one forward, then the exact and the surrogates' error signals together, some samples at a time.

A model whose layers follow one another (`chains`) needs no autograd graph, keeps its samples apart for certain, and
its error signals stay in the cache. The exact ones take torch's own derivative of each activation and torch's own
products: they are those of the untouched model's backward to rounding.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.modules import module as hooks

from ... import products as faster
from ..chains.factors import Member, Place, drawn, multiplied, places
from ..chains.stages import Activating, Convolution, Layer, Stage
from ..chains.structure import chain, trained
from ..chains.walk import GROUP, inputs
from ..measuring.setting import Setting
from ..references.steps import FLAT
from ..untie.matching import rules
from .maps.map import windows
from .maps.products import Products, beside, formed, forms, numbers, prefers_pairs, products
from .maps.units import BUDGET

_SAMPLES = 256
_ENTRIES = 5 << 18
"""Of the largest stack of error signals: 5 MiB in float32. With more, memory is given back to the
system and asked for again; with less, the calls take longer than the products."""


class Chain:
    """A chain on a batch, after its forward.

    Attributes:
        stages: in the order in which they run.
        output: the model's.
    """

    def __init__(self, stages: tuple[Stage, ...], values: Sequence[Tensor]) -> None:
        self.stages, self._inputs, self.output = stages, values[:-1], values[-1]

    @classmethod
    def of(cls, setting: Setting, keys: Sequence[Any] | None) -> Chain | None:
        """The model of a setting, if it is one; ``None`` where it is none, or where an activation to untie is not.

        Args:
            setting: model and batch.
            keys: the activations that are to be untied; all that run, where ``None``.
        """
        stages, x = chain(setting.model), setting.x
        seen = hooks._global_forward_pre_hooks or hooks._global_forward_hooks or hooks._global_backward_hooks
        if stages is None or seen or not isinstance(x, Tensor) or x.requires_grad:
            return None
        ran = _ran(stages)
        asked = list(ran) if keys is None else keys
        plain = all(isinstance(key, str) and key in ran for key in asked) and FLAT.isdisjoint(ran)
        if not asked or not plain or torch.is_autocast_enabled(x.device.type):
            return None
        values = inputs(stages, x)
        fits = values is not None and all(v.dtype in (torch.float32, torch.float64) for v in values)
        return cls(stages, values) if values is not None and fits and trained(stages, _wanted(setting)) else None

    @property
    def activations(self) -> list[str]:
        """Those that run, in the order in which they do."""
        return list(_ran(self.stages))

    def products(
        self,
        setting: Setting,
        derivative: Tensor,
        mapping: Mapping[str, Sequence[Any]],
        draws: int,
        generator: torch.Generator,
    ) -> tuple[list[tuple[int, int]], dict[str, Products]]:
        """(surrogate, draw) of each backward, and the products of each layer with a trained parameter, by path."""
        asked = rules(mapping)
        found = places(self.stages, {rule.key: rule for rule in asked}, generator)
        choices = [
            (index, draw)
            for index in range(len(asked[0].choices))
            for draw in range(draws if any(place.factors[index].random for place in found.values()) else 1)
        ]
        layers = {layer.path: layer for layer in trained(self.stages, _wanted(setting))}
        kinds: dict[str, list[Products]] = {path: [] for path in layers}
        for start in range(0, len(choices), GROUP):
            some = choices[start : start + GROUP]
            group = [Member(None), *(Member(*each) for each in some)]
            parts: dict[str, list[Products]] = {path: [] for path in layers}
            for path, part in self._walk(group, derivative, found, layers):
                parts[path].append(part)
            for path, listed in parts.items():
                kinds[path].append(beside(listed, samples=True))
        return choices, {path: beside(listed, samples=False) for path, listed in kinds.items()}

    @torch.no_grad()
    def _walk(
        self, group: Sequence[Member], derivative: Tensor, found: Mapping[str, Place], layers: Mapping[str, Layer]
    ) -> list[tuple[str, Products]]:
        """The products of one layer and some samples after another, the first member's against the others'."""
        last = min(index for index, stage in enumerate(self.stages) if stage.path in layers)
        steps = list(zip(self.stages, self._inputs, strict=True))[: last - 1 if last else None : -1]
        random = {stage.path: drawn(group, found[stage.path], u) for stage, u in steps if stage.path in found}
        sizes = _sizes([x for _, x in steps], len(group))
        shapes = [
            shape
            for (stage, x), (_, y), size in zip(steps, [(None, derivative), *steps], sizes, strict=False)
            if isinstance(stage, Layer)
            for shape in _shapes(stage, x[:size], y[:1], len(group))
        ]
        listed = []

        def back(error: Tensor, at: int, start: int) -> None:
            """From the stage at this place on, for the samples from ``start`` on that the signals are of."""
            for place in range(at, len(steps)):
                if len(error) > sizes[place]:
                    for first in range(0, len(error), sizes[place]):
                        back(error[first : first + sizes[place]], place, start + first)
                    return
                stage, part = steps[place][0], slice(start, start + len(error))
                x = steps[place][1][part]
                if stage.path in layers:
                    spare = place == len(steps) - 1
                    listed.append((stage.path, _compared(layers[stage.path], x, error, len(group) - 1, spare)))
                if place == len(steps) - 1:
                    return
                if isinstance(stage, Activating):
                    here = {member: psi[part] for member, psi in random.get(stage.path, {}).items()}
                    error = multiplied(error, x, group, stage, found.get(stage.path), here)
                else:
                    error = stage.back(error, x)

        with faster.allowed(faster.faster(shapes, derivative.device, derivative.dtype)):
            back(derivative.unsqueeze(1), 0, 0)
        return listed


def _sizes(values: Sequence[Tensor], many: int) -> list[int]:
    """How many samples go through each stage at once, by its input's width: the further down, the fewer."""
    found, size = [], min(_SAMPLES, len(values[0]))
    for x in values:
        size = _even(size, max(1, _ENTRIES // (x[0].numel() * many)))
        found.append(size)
    return found


def _even(samples: int, most: int) -> int:
    """The size of the fewest parts of at most so many samples, all about as large."""
    return -(-samples // -(-samples // most))


def _shapes(layer: Layer, x: Tensor, y: Tensor, many: int) -> list[faster.Shape]:
    """Of all matrix products at a layer with the input x, y for one sample, and so many signals."""
    if not (isinstance(layer, Convolution) and layer.weight.requires_grad):
        return layer.products(x, many)
    one = layer.bias is not None and layer.bias.requires_grad
    positions, width, out = y[0, 0].numel(), layer.weight[0].numel() + one, len(layer.weight)
    if prefers_pairs(positions, width, out, many - 1):
        return []
    features, reference = (y.new_empty(()).expand(1, 1, positions, each) for each in (width, out))
    return [(_even(len(x), _at_once(features, reference, many - 1)), many * out, positions, width)]


def _at_once(features: Tensor | None, reference: Tensor, kinds: int) -> int:
    """How many samples are compared at once."""
    return max(1, BUDGET // numbers(features, reference, kinds))


def _compared(layer: Layer, x: Tensor, error: Tensor, kinds: int, spare: bool) -> Products:
    """Of the stacked error signals [B, K+1, ...] at one layer; [B, 1, ...] where all are the same.

    Where they are ``spare``, they may be written over.
    """
    weight, bias = layer.weight.requires_grad, layer.bias is not None and layer.bias.requires_grad
    one = bias and isinstance(layer, Convolution)
    signals = error.flatten(3) if error.ndim > 3 else error.unsqueeze(-1)  # [B, K+1, O, T]
    reference = signals[:, :1].mT  # [B, G = 1, T, O]
    same = error.shape[1] == 1
    others = reference[None] if same else signals[:, 1:].transpose(0, 1).mT.unsqueeze(2)
    first = _features(layer, x[:1], one) if weight else None

    def of(part: slice) -> Products:
        features = _features(layer, x[part], one) if weight else None
        if features is None or same or not forms(features, signals.shape[2], kinds):
            return products(features, reference[part], others[:, part], bias=bias and not (weight and one))
        stack = signals[part].unsqueeze(1)
        return formed(features, stack if spare else stack.clone(), bias=False)

    size = _even(len(x), _at_once(first, reference, len(others)))
    found = beside([of(slice(start, start + size)) for start in range(0, len(x), size)], samples=True)
    if not same:
        return found
    return Products(found.square, found.slope.expand(kinds, -1), found.rest.expand(kinds, -1))


def _features(layer: Layer, x: Tensor, one: bool) -> Tensor:
    """[B, G = 1, T, I], with ``one`` the bias's among them."""
    if not isinstance(layer, Convolution):
        return x[:, None, None]
    conv: Any = layer.module
    return windows(x, conv.kernel_size, conv.stride, conv.padding, conv.dilation, one=one).mT.unsqueeze(1)


def _ran(stages: Sequence[Stage]) -> dict[str, None]:
    return dict.fromkeys(stage.activation for stage in stages if isinstance(stage, Activating))


def _wanted(setting: Setting) -> set[int]:
    return {id(parameter) for parameter in setting.parameters}
