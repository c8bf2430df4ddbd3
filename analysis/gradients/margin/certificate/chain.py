"""A network as a chain: linear maps with elementwise activations between them, at the numbers of one batch.

The certificates need nothing else of a network. With the factor t_l on activation l (the surrogate psi = t_l phi')

    <g, g~(t)> = sum over linear maps i of <delta~_i, s_i>,

where s_i is map i, with g's weights and bias in place of its own, at its input, and delta~_i is the error that the
surrogate backward delivers at its output: the loss's own error e at the end, then down through the transposed maps,
times phi' t at each activation. So <g, g~(t)> is linear in each t_l and separable over samples, and evaluated from
below it is a forward-mode pass along g in which every activation multiplies by phi' t. What the chain records
(weights, inputs, phi', e, in float64) is taken as exact; everything computed from it carries its rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from .rounded import Rounded, gamma, upward

Map = Callable[[Tensor, Tensor | None, Tensor | None], Tensor]


@dataclass(frozen=True)
class Link:
    """A linear map of the chain with its bias.

    Attributes:
        name: the module that computes it.
        call: ``call(input, weight, bias)``, linear in the input and in (weight, bias); a map without parameters
            (flatten, average pooling) passes over them.
        weight: float64, or ``None``.
        bias: float64, or ``None``.
        input: what entered it, float64, samples first.
        trained: the names of the weight and the bias as parameters, ``None`` where absent or frozen. One name in two
            links is one shared parameter.
    """

    name: str
    call: Map
    weight: Tensor | None
    bias: Tensor | None
    input: Tensor
    trained: tuple[str | None, str | None] = (None, None)

    def image(self, x: Tensor) -> Tensor:
        """The map without its bias, (samples, ...), in plain floating point."""
        return self.call(x, self.weight, None)

    def pullback(self, error: Tensor) -> Tensor:
        """The transposed map, (samples, ...), in plain floating point."""
        return self._transposed(error, self.weight)

    def forward(self, tangent: Rounded) -> Rounded:
        """The image of a tangent of shape (functionals, samples, ...), without the bias, with its rounding."""
        modulus = None if self.weight is None else self.weight.abs()
        return tangent.through(
            lambda x: rows(self.image, x),
            lambda x: rows(lambda r: self.call(r, modulus, None), x),
            self.input[0].numel(),
        )

    def backward(self, error: Rounded) -> Rounded:
        """The error at the map's input from that at its output, both (functionals, samples, ...), with its rounding."""
        modulus = None if self.weight is None else self.weight.abs()
        return error.through(
            lambda e: rows(self.pullback, e),
            lambda e: rows(lambda r: self._transposed(r, modulus), e),
            error.value[0, 0].numel(),
        )

    def _transposed(self, error: Tensor, weight: Tensor | None) -> Tensor:
        point = self.input.new_zeros((len(error), *self.input.shape[1:])).requires_grad_()
        with torch.enable_grad():
            image = self.call(point, weight, None)
        (result,) = torch.autograd.grad(image, point, error)
        return result

    def gradients(self, error: Rounded) -> tuple[Rounded | None, Rounded | None]:
        """The gradients of (weight, bias) from the error (samples, ...) at the output; ``None`` where frozen."""
        return self._gradient(0, error), self._gradient(1, error)

    def _gradient(self, which: int, error: Rounded) -> Rounded | None:
        if self.trained[which] is None:
            return None
        present = [self.weight, self.bias]

        def product(x: Tensor, e: Tensor) -> Tensor:
            points = [None if p is None else torch.zeros_like(p).requires_grad_() for p in present]
            with torch.enable_grad():
                image = self.call(x, *points)
            point: Any = points[which]
            result: Tensor = torch.autograd.grad(image, point, e)[0]
            return result

        return error.through(
            lambda e: product(self.input, e), lambda e: product(self.input.abs(), e), error.value.numel()
        )

    def own(self, gradients: dict[str, Rounded]) -> Rounded | None:
        """s_i: this map with gradients in place of its weight and bias, at its input; ``None`` without any."""
        held = [gradients.get(name) if name else None for name in self.trained]
        if held == [None, None]:
            return None
        weight, bias = (
            Rounded.exact(torch.zeros_like(p)) if g is None and p is not None else g
            for g, p in zip(held, (self.weight, self.bias), strict=True)
        )
        assert weight is not None  # a map with a bias has a weight

        def image(x: Tensor, part: Callable[[Rounded], Tensor]) -> Tensor:
            return self.call(x, part(weight), None if bias is None else part(bias))

        terms = self.input[0].numel() + 1
        spread = image(self.input.abs(), lambda g: g.radius + gamma(terms + 4) * g.value.abs())
        return Rounded(image(self.input, lambda g: g.value), upward(spread, terms))


@dataclass(frozen=True)
class Slope:
    """An activation of the chain.

    Attributes:
        place: its name, module path and call.
        derivative: phi' at the batch's preactivations, float64, samples first.
    """

    place: str
    derivative: Tensor


@dataclass(frozen=True)
class Chain:
    """Links and slopes in forward order, the loss's error at the last output, and the tangents of the weights along g.

    Attributes:
        steps: links and slopes.
        error: dLoss/d(output), float64, samples first.
        own: s_i of each step, (samples, ...); ``None`` at slopes and at maps without trained parameters.
        norm_squared: |g|^2 over the parameters that are counted.
    """

    steps: tuple[Link | Slope, ...]
    error: Tensor
    own: tuple[Rounded | None, ...]
    norm_squared: float

    @property
    def slopes(self) -> tuple[int, ...]:
        """The positions of the activations, from the lowest."""
        return tuple(i for i, step in enumerate(self.steps) if isinstance(step, Slope))

    @property
    def still(self) -> Tensor:
        """The tangent of the chain's input along g, zero, as one functional: (1, samples, ...)."""
        first = self.steps[0]
        return torch.zeros_like(first.derivative if isinstance(first, Slope) else first.input)[None]

    @property
    def samples(self) -> int:
        """The batch size."""
        return len(self.error)


def complete(steps: Sequence[Link | Slope], error: Tensor, over: frozenset[str] | None = None) -> Chain:
    """The chain with its gradient: one exact backward, then s_i of each map.

    Args:
        steps: links and slopes in forward order.
        error: dLoss/d(output), float64, samples first.
        over: the parameters whose gradient <g, g~> is taken over; ``None`` for all that are trained.
    """
    gradients: dict[str, Rounded] = {}
    delta = Rounded.exact(error[None])
    for step in reversed(steps):
        if isinstance(step, Slope):
            delta = delta.times(step.derivative)
            continue
        found = step.gradients(Rounded(delta.value[0], delta.radius[0]))
        for name, gradient in zip(step.trained, found, strict=True):
            if name is not None and gradient is not None and (over is None or name in over):
                gradients[name] = gradients[name] + gradient if name in gradients else gradient
        delta = step.backward(delta)
    norm_squared = sum(float(gradient.value.square().sum()) for gradient in gradients.values())
    own = tuple(step.own(gradients) if isinstance(step, Link) else None for step in steps)
    return Chain(tuple(steps), error, own, norm_squared)


def dense(weights: Sequence[Tensor], slopes: Sequence[Tensor], inputs: Sequence[Tensor], error: Tensor) -> Chain:
    """The chain of a fully connected network, from plain arrays.

    Args:
        weights: W_1 ... W_L, each (outputs, inputs); append a column for a bias and a 1 to its input.
        slopes: phi' at the L - 1 hidden layers, each (samples, width).
        inputs: what enters each W_i, each (samples, width), of the same length as ``weights``.
        error: dLoss/d(output), (samples, outputs).
    """
    steps: list[Link | Slope] = []
    for i, (weight, value) in enumerate(zip(weights, inputs, strict=True)):
        steps.append(Link(f"{i}", _linear, weight.double(), None, value.double(), (f"{i}.weight", None)))
        if i < len(slopes):
            steps.append(Slope(f"{i}.activation", slopes[i].double()))
    return complete(steps, error.double())


def rows(call: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """A map of (samples, ...) over a stack (functionals, samples, ...)."""
    image = call(x.flatten(0, 1))
    return image.reshape(*x.shape[:2], *image.shape[1:])


def _linear(x: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
    assert weight is not None
    return torch.nn.functional.linear(x, weight, bias)
