"""Per-sample angles of each layer: ours against ``torch.func``'s ``vmap(grad)``, for one surrogate, on one batch.

The peer's activation has no vmap rule, so ``vmap(grad)`` fails through it; in its place stands a plain
``torch.autograd.Function`` with the same backward and a vmap rule, which is how a user of the peer's way would go on.
Both sides return the same thing, the angle in degrees of each layer and of the whole, for each sample: ours the
tensors from which `per_sample` makes its table, theirs float32 sums over the gradients that they form.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from ...analysis.gradients.per_sample.measurement import comparison
from ..networks.images import lenet
from ..networks.perceptrons import multilayer

SAMPLES = 256
CHUNKS = (8, 16, 32, 64, 128, 256)

Angles = dict[str, Tensor]
"""Degrees of each sample, by layer."""


class _Triangle(torch.autograd.Function):
    """The logistic function with the catalogue's ``triangle`` in its backward."""

    generate_vmap_rule = True

    @staticmethod
    def forward(u: Tensor) -> Tensor:
        """1 / (1 + exp(-u))."""
        return torch.sigmoid(u)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        """Keeps u."""
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> Tensor:
        """Times max(0, 1 - |u|)."""
        u: Tensor = ctx.saved_tensors[0]
        return upstream * (1 - u.abs()).clamp_min(0)


class _Surrogate(nn.Module):
    def forward(self, u: Tensor) -> Tensor:
        return _Triangle.apply(u)  # type: ignore[no-any-return, no-untyped-call]


@dataclass(frozen=True)
class Problem:
    """One network on one batch.

    Attributes:
        what: which.
        native: the model as it is.
        surrogate: the same with the stand-in's activations; it shares no parameter with the other, but all values.
        x: inputs.
        y: labels.
        floating_point: the operations that the angles need: one forward, two backwards to the layers' outputs, and the
            formed gradients of the convolutions, twice.
    """

    what: str
    native: nn.Module
    surrogate: nn.Module
    x: Tensor
    y: Tensor
    floating_point: float

    @classmethod
    def of(cls, what: str, build: Callable[[Any], nn.Module], shape: tuple[int, ...], samples: int) -> Problem:
        """Weights and batch from the seed 0."""
        generator = torch.Generator().manual_seed(0)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            native, surrogate = build(nn.Sigmoid), build(_Surrogate)
        surrogate.load_state_dict(native.state_dict())
        x = torch.randn(samples, *shape, generator=generator)
        y = torch.randint(10, (samples,), generator=generator)
        return cls(what, native, surrogate, x, y, _operations(native, x))

    def ours(self) -> Angles:
        """By products of error signals and features."""
        found, _ = comparison(self.native, F.cross_entropy, (self.x, self.y), "triangle")
        return {each.path: each.products.angle_degrees[0] for each in found.groups if each.products is not None}

    def peers(self, chunk: int) -> Angles:
        """By gradients formed for ``chunk`` samples at a time."""
        exact, turned = _per_sample(self.native), _per_sample(self.surrogate)
        parts = []
        for x, y in zip(torch.split(self.x, chunk), torch.split(self.y, chunk), strict=True):
            parts.append(_angles(turned(x, y), exact(x, y)))
        return {layer: torch.cat([part[layer] for part in parts]) for layer in parts[0]}

    def best_chunk(self) -> int:
        """Of those in `CHUNKS`, the one that takes the peer's way the least CPU time."""

        def seconds(chunk: int) -> float:
            self.peers(chunk)
            start = time.process_time()
            self.peers(chunk)
            return time.process_time() - start

        return min((chunk for chunk in CHUNKS if chunk <= len(self.x)), key=seconds)


def mlp(samples: int = SAMPLES) -> Problem:
    """784-512-512-10, logistic."""
    return Problem.of(
        "per-sample angles, MLP 784-512-512-10", lambda hidden: multilayer((784, 512, 512, 10), hidden), (784,), samples
    )


def images(samples: int = SAMPLES) -> Problem:
    """LeNet-5, logistic."""
    return Problem.of("per-sample angles, LeNet-5", lenet, (1, 28, 28), samples)


def pairs() -> Iterator[tuple[str, Callable[[], object], Callable[[], object], float, float, float]]:
    """What is compared: (what, ours, the peer's, ratio at least, ratio aimed at, floating-point operations).

    What comes before the timed calls is done here: models, batches, and the best chunk of the peer's way on LeNet-5.
    """
    one = mlp()
    what = f"{one.what}, batch {SAMPLES}, against vmap(grad)"
    yield what, one.ours, lambda: one.peers(SAMPLES), 100, 250, one.floating_point
    two = images()
    chunk = two.best_chunk()
    what = f"{two.what}, batch {SAMPLES}, against vmap(grad) in chunks of {chunk}"
    yield what, two.ours, lambda: two.peers(chunk), 3, 4, two.floating_point


def _per_sample(model: nn.Module) -> Callable[[Tensor, Tensor], dict[str, Tensor]]:
    parameters = {name: each.detach() for name, each in model.named_parameters()}

    def loss(parameters: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
        return F.cross_entropy(functional_call(model, parameters, (x[None],)), y[None])

    gradients = vmap(grad(loss), in_dims=(None, 0, 0))
    return lambda x, y: gradients(parameters, x, y)


def _angles(turned: dict[str, Tensor], exact: dict[str, Tensor]) -> Angles:
    sums: dict[str, Tensor] = {}
    for name in turned:
        g, r = turned[name].flatten(1), exact[name].flatten(1)
        products = torch.stack([(g * r).sum(1), (g * g).sum(1), (r * r).sum(1)])
        for layer in (name.rpartition(".")[0], "whole"):
            sums[layer] = sums[layer] + products if layer in sums else products
    return {
        layer: torch.rad2deg(torch.acos((inner / (square * exact_square).sqrt()).clamp(-1, 1)))
        for layer, (inner, square, exact_square) in sums.items()
    }


def _operations(model: nn.Module, x: Tensor) -> float:
    """Of the matrix products; see `Problem`."""
    total, first = 0.0, True
    with torch.no_grad():
        for layer in model.children():
            y = layer(x)
            weight = getattr(layer, "weight", None)
            if isinstance(weight, Tensor):
                each = 2.0 * y.numel() * weight[0].numel()
                total += each * ((1 if first else 3) + (2 if isinstance(layer, nn.Conv2d) else 0))
                first = False
            x = y
    return total
