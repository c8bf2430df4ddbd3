"""Training of one convolutional run, in less time than torch's own loop takes, with the same numbers.

Stacking such a network does not pay: its time goes into convolutions that fill a core by themselves. What pays is to
average pixels by slices, to cut the gradient off in place where the rule's factor is 0, and to draw noise part by part.
Initialisation, order of samples and noise are the plain loop's.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn

from ...analysis.errors import Refused
from ...analysis.gradients.untie.function import mix
from ...analysis.gradients.untie.mode import Seeds
from ...analysis.surrogates.formula.numerics.draws import draw
from ...analysis.surrogates.formula.numerics.window import Window, split
from ...analysis.surrogates.lookup import TIED, surrogate
from .. import training
from ..grids import plain
from ..grids.cell import Cell, Outcome, Score
from ..networks import Network, hidden, network

_PART = 1 << 15
"""Numbers that are drawn at once, so that they are still in the cache when they are converted."""


def fits(cell: Cell) -> bool:
    """Whether the cell's network is a chain of convolutions, poolings, linear layers and elementwise activations.

    Raises:
        Refused: there is no network or activation of that name.

    >>> fits(Cell("lenet-mnist", "relu", "tied", 0.01, 64, 1, seed=0))
    True
    """
    return _fits(cell.network, cell.forward)


@lru_cache(maxsize=64)
def _fits(name: str, forward: str) -> bool:
    with torch.random.fork_rng(devices=[]):
        model = network(name).build(forward)
    known = (nn.Conv2d, nn.AvgPool2d, nn.Flatten, nn.Linear, *{type(make()) for make in hidden.HIDDEN.values()})
    return type(model) is nn.Sequential and all(type(module) in known for module in model.children())


class Lean:
    """One run's forward, with the rule as the backward of its activations.

    Args:
        model: a chain that `fits`.
        cell: brings forward and rule.
        noise: the run's stream.
    """

    def __init__(self, model: nn.Module, cell: Cell, noise: torch.Generator) -> None:
        self._kind = type(hidden.factory(cell.forward)())
        self._factor = None if cell.rule == TIED else split(surrogate(cell.rule, cell.forward).formula)
        self._modules, self._noise = list(model.children()), noise
        self._places: list[torch.Generator] = []

    def __call__(self, inputs: Tensor) -> Tensor:
        """Outputs [samples, outputs] for images; each call takes the noise of one step."""
        if self._factor is None or not self._factor.symbols:
            return self._forward(inputs)
        seeds = Seeds(self._noise)
        count = sum(type(module) is self._kind for module in self._modules)
        places = [mix(seeds.next(), 0, 0) for _ in range(count)]
        self._places = [torch.Generator(device=inputs.device).manual_seed(place) for place in places]
        seeds.close()
        return self._forward(inputs)

    def _forward(self, inputs: Tensor) -> Tensor:
        value, place = inputs, 0
        for module in self._modules:
            if type(module) is self._kind and self._factor is not None:
                generator = self._places[place] if self._places else None
                value, place = _Ruled.apply(value, module, self._factor, generator), place + 1  # type: ignore[no-untyped-call]
            elif type(module) is nn.AvgPool2d and _halves(module, value):
                value = _Halved.apply(value)  # type: ignore[no-untyped-call]
            else:
                value = module(value)
        return value


def train(
    cell: Cell,
    *,
    device: str = "cpu",
    dtype: torch.dtype = torch.float32,
    at_epoch: Callable[[nn.Module, int], None] | None = None,
) -> Outcome:
    """Train one cell that `fits`; arguments and result are those of the plain loop.

    Raises:
        Refused: the cell names what is not there, cannot be trained, or does not fit.
    """
    reason = plain.excluded(cell) or ("" if fits(cell) else "it is no chain of convolutions and linear layers")
    if reason:
        raise Refused(f"{cell.network}, {cell.forward} / {cell.rule}: {reason}.")
    entry = network(cell.network)
    data = plain.samples(cell.data or entry.data, device, dtype)
    with training._one_thread():
        model = plain.initialised(cell, entry).to(device=device, dtype=dtype)
        order, noise = (training._generator(cell.seed, stream=stream) for stream in (1, 2))
        optimizer = torch.optim.SGD(model.parameters(), lr=cell.learning_rate, momentum=cell.momentum)
        lean = Lean(model, cell, noise)
        scores: list[Score] = []
        step, diverged = 0, None
        for number in range(cell.epochs + 1):
            step += epoch(entry, lean, optimizer, data.train, cell.batch, order) if number else 0
            found = plain.score(entry, model, data, epoch=number, step=step)
            if number and not plain.finite(model, found):
                diverged = number
                break
            scores.append(found)
            if at_epoch is not None:
                at_epoch(model, number)
    weights = {name: value.detach().cpu().clone() for name, value in model.state_dict().items()}
    return Outcome(cell, tuple(scores), diverged, weights)


def epoch(
    entry: Network,
    lean: Lean,
    optimizer: torch.optim.Optimizer,
    samples: tuple[Tensor, Tensor],
    batch: int,
    order: torch.Generator,
) -> int:
    """One pass over the training samples; the number of steps."""
    inputs, targets = samples
    shuffled = torch.randperm(len(inputs), generator=order).to(inputs.device)
    batches = torch.split(shuffled, batch)
    for chosen in batches:
        optimizer.zero_grad()
        x, y = inputs.index_select(0, chosen), targets.index_select(0, chosen)
        torch.autograd.backward(entry.criterion(lean(x), y))
        optimizer.step()
    return len(batches)


class _Ruled(torch.autograd.Function):
    """An activation with the rule as its backward."""

    @staticmethod
    def forward(ctx: Any, u: Tensor, module: nn.Module, factor: Window, generator: torch.Generator | None) -> Tensor:
        ctx.save_for_backward(u)
        ctx.factor, ctx.generator = factor, generator
        return module(u)  # type: ignore[no-any-return]

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> Any:
        (u,) = ctx.saved_tensors
        noise = _uniform(ctx.factor, u, ctx.generator) or [
            draw(each, u.shape, u.device, ctx.generator) for each in ctx.factor.symbols
        ]
        return ctx.factor.times(upstream[0], u, noise), None, None, None


def _uniform(factor: Window, u: Tensor, generator: torch.Generator | None) -> list[Tensor]:
    """The draws of a factor that is one uniform number, in the dtype of u; empty for another.

    Uniform numbers come off a CPU generator one by one, so that draws of parts are parts of the draws of the whole.
    """
    if not factor.uniform or u.device.type != "cpu":
        return []
    (symbol,) = factor.symbols
    drawn = torch.empty(u.numel(), dtype=u.dtype)
    for part in torch.split(drawn, _PART):
        part.copy_(draw(symbol, part.shape, u.device, generator))
    return [drawn.view(u.shape)]


class _Halved(torch.autograd.Function):
    """The mean of each 2 x 2 pixels."""

    @staticmethod
    def forward(ctx: Any, images: Tensor) -> Tensor:
        ctx.shape = images.shape
        rows = images[..., ::2, :] + images[..., 1::2, :]
        return (rows[..., ::2] + rows[..., 1::2]).mul_(0.25)

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> Any:
        spread = upstream[0].new_empty(ctx.shape)
        quarter = upstream[0] * 0.25
        for row, column in ((0, 0), (0, 1), (1, 0), (1, 1)):
            spread[..., row::2, column::2] = quarter
        return spread


def _halves(module: nn.AvgPool2d, images: Tensor) -> bool:
    plain = (module.kernel_size, module.stride, module.padding) == (2, 2, 0)
    return plain and images.device.type == "cpu" and images.shape[-1] % 2 == 0 and images.shape[-2] % 2 == 0
