"""Activation maximisation: how far a class's output rises when the input climbs its gradient, tied or untied.

A network is trained tied, once for each seed. Then every class's output is raised by gradient ascent on the input, in
a fixed number of steps from the same starts, with the tied backward and with each untied one; only the backward of
the ascent differs. Where ReLUs are dead for an input, the exact gradient says nothing of them; a leaky backward does
(Linse, Barth and Martinetz 2024, arXiv 2410.16958).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from .. import training
from . import plain
from .cell import Cell
from .grid import own_data
from .job import Record, digest

STEPS = 100
"""Steps of ascent."""

STARTS = 4
"""Inputs from which each class's output is raised."""

LENGTH = 0.1
"""Euclidean length of a step on each input: directions are compared, whatever the gradients' magnitudes."""


def maximise(cells: Sequence[Cell], *, device: str, at_epoch: Callable[[int], None]) -> tuple[Record, ...]:
    """Train once for all these cells, which differ in their rule alone, and climb with each rule.

    Returns:
        For each cell the mean over classes and starts of the best output so far, at each step of the ascent
        (``activation``), and the share of starts whose gradient is 0 (``stuck``); nothing where the training diverged.
        The digest is of the final inputs.
    """
    first = replace(cells[0], rule=training.TIED)
    with training._one_thread():
        model, diverged = _trained(first, device, at_epoch, len(cells))
        if diverged is not None:
            return tuple(Record(cell, {"step": (), "activation": (), "stuck": ()}, diverged, "") for cell in cells)
        inputs = starts(first, device)
        return tuple(climbed(cell, model, inputs, steps=STEPS) for cell in cells)


def _trained(cell: Cell, device: str, at_epoch: Callable[[int], None], cells: int) -> tuple[nn.Module, int | None]:
    """The trained network, and the epoch in which it diverged, if it did."""
    kept: list[nn.Module] = []

    def watch(model: nn.Module, epoch: int) -> None:
        kept[:] = [model]
        at_epoch(cells if epoch else 0)

    outcome = plain.train(cell, device=device, at_epoch=watch)
    return kept[0].eval().requires_grad_(False), outcome.diverged


def starts(cell: Cell, device: str) -> Tensor:
    """The inputs that each class's output is raised from, in [0, 1]; shape [STARTS, channels, height, width]."""
    data = plain.samples(own_data(cell), device, torch.float32)
    shape = (STARTS, *data.train_inputs.shape[1:])
    return torch.rand(shape, generator=training._generator(cell.seed, stream=3)).to(device)


def climbed(cell: Cell, model: nn.Module, starts: Tensor, *, steps: int) -> Record:
    """So many steps from these starts. Pixels stay in [0, 1], the range of the images that it was trained on."""
    with torch.no_grad():
        classes = model(starts).shape[1]
    wanted = torch.arange(classes, device=starts.device).repeat_interleave(len(starts))
    inputs = starts.repeat(classes, 1, 1, 1)
    best = torch.full((len(inputs),), -torch.inf, dtype=torch.float64, device=starts.device)
    noise = training._generator(cell.seed, stream=2)
    reached: list[float] = []
    stuck: list[float] = []
    with plain.backward(model, cell, noise):
        for _ in range(steps + 1):
            inputs = inputs.detach().requires_grad_()
            outputs = model(inputs)[torch.arange(len(inputs)), wanted]
            (gradient,) = torch.autograd.grad(outputs.sum(), inputs)
            best = torch.maximum(best, outputs.detach().double())
            norms = gradient.flatten(1).norm(dim=1)
            reached.append(best.mean().item())
            stuck.append((norms == 0).double().mean().item())
            unit = gradient / norms.clamp_min(torch.finfo(norms.dtype).tiny).view(-1, 1, 1, 1)
            inputs = (inputs.detach() + LENGTH * unit).clamp(0, 1)
    curve = {"step": tuple(range(steps + 1)), "activation": tuple(reached), "stuck": tuple(stuck)}
    return Record(cell, curve, None, digest({"inputs": inputs}))
