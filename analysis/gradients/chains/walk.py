"""One forward through a chain, then the error signals of a group of backwards together, a few samples at a time.

A few samples at a time the stack stays in the cache: 32 to 64 images, and up to ten backwards, were found to be best.
Without convolutions it is 256 samples: a product's result is read and written once for each part.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil

import torch
from torch import Tensor

from ... import products
from ..inputs import out_of_memory
from ..layers import Observation
from .factors import Member, Place, drawn, multiplied
from .stages import Activating, Convolution, Layer, Stage

GROUP = 10
"""So many backwards travel together at most."""
_AT_A_TIME = {True: (64, 5 << 18), False: (256, 5 << 19)}  # with convolutions or without: samples, entries of a stack
_ENTRIES = 1 << 27  # of the largest stack where there is no such cache


@dataclass(frozen=True)
class Forward:
    """What one forward left.

    Attributes:
        stages: the chain.
        inputs: of each stage.
        error: of the output: the gradient of the loss by it.
        places: the untied activations, by path.
        layers: those whose gradients are wanted.
        rows: for a linear layer, a lower triangular matrix (samples, samples) that stands for its input.
    """

    stages: tuple[Stage, ...]
    inputs: tuple[Tensor, ...]
    error: Tensor
    places: Mapping[str, Place]
    layers: tuple[Layer, ...]
    rows: Mapping[str, Tensor] = field(default_factory=dict)

    @property
    def above(self) -> dict[str, int]:
        """How many untied activations stand above each layer."""
        found, count = {}, 0
        for stage in reversed(self.stages):
            count += stage.path in self.places
            found[stage.path] = count
        return {layer.path: found[layer.path] for layer in self.layers}


@dataclass
class Sums:
    """The gradients of one layer, added up over samples; K is 1 where all members of the group have the same.

    Attributes:
        weight: (K, *weight.shape), or (K, outputs, samples) by ``rows``; ``None`` where it is not trained.
        bias: (K, outputs); ``None`` where it is not trained.
    """

    weight: Tensor | None = None
    bias: Tensor | None = None

    @property
    def count(self) -> int:
        """K."""
        return next((len(part) for part in (self.weight, self.bias) if part is not None), 1)


def inputs(stages: Sequence[Stage], x: Tensor | Observation) -> list[Tensor] | None:
    """The input of each stage and the output; ``None`` where a shape makes a stage something else.

    Args:
        stages: of the chain.
        x: the batch; or what the model's own forward ran, with the inputs kept, which spares another forward.
    """
    if isinstance(x, Observation):
        if [module for module, _ in x.calls] != [stage.module for stage in stages] or not isinstance(x.output, Tensor):
            return None
        seen = [value for _, value in x.calls]
        fitting = all(stage.fits(value) for stage, value in zip(stages, seen, strict=True))
        return [*seen, x.output] if fitting else None
    values = [x]
    with torch.no_grad():
        for stage in stages:
            if not stage.fits(values[-1]):
                return None
            values.append(stage.forward(values[-1]))
    return values


def sums(forward: Forward, group: Sequence[Member]) -> dict[str, Sums]:
    """The gradients of a group, by layer; where memory runs out, with fewer samples at a time.

    Raises:
        MemoryError, RuntimeError: as torch raises it where there is not enough for one sample, on a GPU or here.
    """
    samples = _at_a_time(forward, len(group))
    while True:
        try:
            with torch.no_grad(), products.allowed(_faster(forward, len(group), samples)):
                return _sums(forward, group, samples)
        except (MemoryError, RuntimeError) as error:
            if samples == 1 or not out_of_memory(error):
                raise
            samples = max(1, min(samples, len(forward.error)) // 2)


def _at_a_time(forward: Forward, many: int) -> int:
    """So many samples, in parts of one size, of ``many`` backwards."""
    count, widest = len(forward.error), max(value[0].numel() for value in forward.inputs)
    most, entries = _AT_A_TIME[any(isinstance(stage, Convolution) for stage in forward.stages)]
    if forward.error.device.type == "cuda":
        most, entries = count, _ENTRIES
    parts = ceil(count / max(1, min(most, entries // (widest * many))))
    return ceil(count / parts)


def _faster(forward: Forward, many: int, samples: int) -> bool:
    """Whether the products are as accurate, and faster, in torch's other library."""
    parts = [(stage, x[:samples]) for stage, x in zip(forward.stages, forward.inputs, strict=True)]
    shapes = [shape for stage, x in parts if isinstance(stage, Layer) for shape in stage.products(x, many)]
    return bool(shapes) and products.faster(shapes, forward.error.device, forward.error.dtype)


def _sums(forward: Forward, group: Sequence[Member], samples: int) -> dict[str, Sums]:
    indices = {stage.path: index for index, stage in enumerate(forward.stages)}
    last = min(indices[layer.path] for layer in forward.layers)
    random = {path: drawn(group, place, forward.inputs[indices[path]]) for path, place in forward.places.items()}
    found = {layer.path: Sums() for layer in forward.layers}
    # The last samples come first: by triangular rows they reach all columns, and the sums need no zeros to begin with.
    for start in reversed(range(0, len(forward.error), samples)):
        part = slice(start, start + samples)
        error = forward.error[part].unsqueeze(1)
        for index in range(len(forward.stages) - 1, last - 1, -1):
            stage, x = forward.stages[index], forward.inputs[index][part]
            if isinstance(stage, Layer) and stage.path in found:
                _add(found[stage.path], stage, error, forward.rows.get(stage.path), x, part)
            if index == last:
                break
            if isinstance(stage, Activating):
                place = forward.places.get(stage.path)
                here = {member: psi[part] for member, psi in random.get(stage.path, {}).items()}
                error = multiplied(error, x, group, stage, place, here)
            else:
                error = stage.back(error, x)
    return found


def _add(sums: Sums, layer: Layer, error: Tensor, rows: Tensor | None, x: Tensor, part: slice) -> None:
    if layer.weight.requires_grad:
        if rows is not None:
            x = rows[part, : part.stop]  # beyond the diagonal they are 0
        sums.weight = layer.weight_gradients(error, x, sums.weight)
    if layer.bias is not None and layer.bias.requires_grad:
        here = layer.bias_gradients(error)
        sums.bias = here if sums.bias is None else sums.bias.add_(here)
