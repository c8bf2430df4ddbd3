"""The parameters of a group of runs, stacked, and one step of gradient descent on all of them.

Activations lie as [runs, units, samples]: the samples are contiguous, weights multiply from the left, and the runs of
one seed, which see the same samples, are one taller product in the first layer. The learning rate is folded into the
gradient of the outputs, in which everything after it is linear.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ...analysis import products
from ..grids import plain
from ..grids.cell import Cell
from ..networks import network
from .backward.rules import backwards
from .layers import stacked_layers
from .losses import Gradient


@dataclass
class Parameters:
    """Weights [runs, outputs, inputs] and biases [runs, outputs, 1] of one layer, and their momentum."""

    weight: Tensor
    bias: Tensor | None
    weight_velocity: Tensor | None
    bias_velocity: Tensor | None


class Stack:
    """A group of runs.

    Args:
        cells: of one group, seed by seed.
        device: where they are trained.
        dtype: of the parameters.
    """

    def __init__(self, cells: Sequence[Cell], device: torch.device, dtype: torch.dtype) -> None:
        first = cells[0]
        self.cells, self.device, self.dtype = tuple(cells), device, dtype
        self.seeds = tuple(dict.fromkeys(cell.seed for cell in cells))
        self.layers = stacked_layers(first.network, first.forward)
        self._network = network(first.network)
        self._momentum = first.momentum
        self._gradient = Gradient(self._network)
        starts = {cell.seed: plain.initialised(cell, self._network).state_dict() for cell in cells}
        self.parameters = tuple(self._stacked(layer.name, starts) for layer in self.layers)
        rates = [cell.learning_rate for cell in cells]
        self._rates = torch.tensor(rates, dtype=dtype, device=device).view(len(self.seeds), -1, 1, 1)
        self._rules, self._noises = backwards(self.cells, self.layers, device, dtype)
        self._spaces: dict[int, list[Space]] = {}
        self._fast: dict[int, bool] = {}

    def step(self, inputs: Tensor, targets: Tensor) -> None:
        """One step of gradient descent of every run.

        Args:
            inputs: [seeds, samples, features].
            targets: int64 labels [seeds, samples].
        """
        samples = inputs.shape[1]
        spaces = self._spaces.get(samples)
        if spaces is None:
            spaces = self._spaces[samples] = [self._space(layer.outputs, samples) for layer in self.layers]
        below = inputs.transpose(1, 2)
        for layer, held, space in zip(self.layers, self.parameters, spaces, strict=True):
            torch.bmm(held.weight.view(len(below), -1, layer.inputs), below, out=space.u.view(len(below), -1, samples))
            if held.bias is not None:
                space.u.add_(held.bias)
            space.value = below = layer.value(space.u, space.out)
        for noise in self._noises:
            noise.draw(samples)
        grid = (len(self.seeds), -1, self.layers[-1].outputs, samples)
        upstream = self._gradient(spaces[-1].value.view(grid), targets).mul_(self._rates / samples)
        for depth in range(len(self.layers) - 1, -1, -1):
            layer, held, space = self.layers[depth], self.parameters[depth], spaces[depth]
            grid = (len(self.seeds), -1, layer.outputs, samples)
            upstream, u, value = (each.view(grid) for each in (upstream, space.u, space.value))
            for rule in self._rules[depth]:
                rule(upstream, u, value)
            delta = upstream.view(-1, layer.outputs, samples)
            if depth:
                upstream = torch.bmm(held.weight.mT, delta, out=spaces[depth - 1].upstream)
                self._descend(held, delta, spaces[depth - 1].value.mT)
            else:
                self._descend(held, delta, inputs)

    def fast(self, samples: int) -> AbstractContextManager[None]:
        """A block in which steps of so many samples take the faster products; see `products`."""
        if samples not in self._fast:
            self._fast[samples] = products.faster(self._shapes(samples), self.device, self.dtype)
        return products.allowed(self._fast[samples])

    def _shapes(self, samples: int) -> Iterator[products.Shape]:
        runs = len(self.cells)
        for depth, layer in enumerate(self.layers):
            count = runs if depth else len(self.seeds)
            rows = layer.outputs * runs // count
            yield count, rows, layer.inputs, samples
            yield count, rows, samples, layer.inputs
            if depth:
                yield runs, layer.inputs, layer.outputs, samples

    def outputs(self, inputs: Tensor) -> Tensor:
        """Outputs [runs, outputs, samples] of every run for the same inputs [samples, features]."""
        first, *rest = zip(self.layers, self.parameters, strict=True)
        layer, held = first
        u = torch.mm(held.weight.view(-1, layer.inputs), inputs.T).view(len(self.cells), layer.outputs, len(inputs))
        value = u
        for number, (layer, held) in enumerate((first, *rest)):
            u = torch.bmm(held.weight, value) if number else u
            if held.bias is not None:
                u.add_(held.bias)
            value = layer.value(u, u)
        return value

    def weights(self, run: int) -> dict[str, Tensor]:
        """A copy of one run's parameters, as ``state_dict`` names them."""
        found: dict[str, Tensor] = {}
        for layer, held in zip(self.layers, self.parameters, strict=True):
            found[f"{layer.name}.weight"] = held.weight[run].clone()
            if held.bias is not None:
                found[f"{layer.name}.bias"] = held.bias[run, :, 0].clone()
        return found

    def model(self, run: int) -> nn.Module:
        """A copy of one run as the module that the plain loop would have."""
        module = plain.initialised(self.cells[run], self._network).to(device=self.device, dtype=self.dtype)
        module.load_state_dict(self.weights(run))
        return module

    def finite(self) -> Tensor:
        """Which runs have finite parameters, [runs], on the CPU."""
        every = [torch.isfinite(each).flatten(1).all(dim=1) for held in self.parameters for each in _tensors(held)]
        return torch.stack(every).all(dim=0).cpu()

    def freeze(self, run: int) -> None:
        """Puts a run to rest: at zero, with a rate of zero, it takes no part in anything."""
        for held in self.parameters:
            for each in _tensors(held):
                each[run] = 0
            for velocity in (held.weight_velocity, held.bias_velocity):
                if velocity is not None:
                    velocity[run] = 0
        self._rates.view(-1)[run] = 0

    def _descend(self, held: Parameters, delta: Tensor, below: Tensor) -> None:
        """Moves one layer against its gradient: delta [runs, outputs, samples] times below [.., samples, inputs]."""
        slopes = delta if held.bias is None else delta.sum(dim=2, keepdim=True)
        shared = (len(below), -1)
        if held.weight_velocity is None:
            held.weight.view(*shared, below.shape[2]).baddbmm_(delta.view(*shared, delta.shape[2]), below, alpha=-1)
            if held.bias is not None:
                held.bias.sub_(slopes)
            return
        velocity = held.weight_velocity.view(*shared, below.shape[2])
        velocity.baddbmm_(delta.view(*shared, delta.shape[2]), below, beta=self._momentum)
        held.weight.sub_(held.weight_velocity)
        if held.bias is not None and held.bias_velocity is not None:
            held.bias.sub_(held.bias_velocity.mul_(self._momentum).add_(slopes))

    def _stacked(self, name: str, starts: dict[int, dict[str, Tensor]]) -> Parameters:
        def gathered(key: str) -> Tensor:
            return torch.stack([starts[cell.seed][key] for cell in self.cells]).to(device=self.device, dtype=self.dtype)

        weight = gathered(f"{name}.weight")
        bias = gathered(f"{name}.bias")[:, :, None] if f"{name}.bias" in next(iter(starts.values())) else None
        if not self._momentum:
            return Parameters(weight, bias, None, None)
        return Parameters(weight, bias, torch.zeros_like(weight), None if bias is None else torch.zeros_like(bias))

    def _space(self, units: int, samples: int) -> Space:
        u = torch.empty(len(self.cells), units, samples, dtype=self.dtype, device=self.device)
        out, upstream = torch.empty_like(u), torch.empty_like(u)
        return Space(u, out, upstream, value=out)


@dataclass
class Space:
    """Room for one layer and so many samples: preactivation, value and upstream gradient, each [runs, units, samples].

    Attributes:
        u: the preactivation.
        out: where the activation may be written.
        upstream: where the layer above writes.
        value: the activation of this step, in ``out`` or not.
    """

    u: Tensor
    out: Tensor
    upstream: Tensor
    value: Tensor


def _tensors(held: Parameters) -> tuple[Tensor, ...]:
    return (held.weight,) if held.bias is None else (held.weight, held.bias)
