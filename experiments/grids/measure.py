"""Deviation beside accuracy: angle, magnitude and margin of the rule's gradient, at chosen epochs of a run.

What is measured is the rule that trains the run, on the first samples of its training split, against torch's own
gradient at the same weights. Measuring leaves the run as it is: its weights are the same bits with it and without.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ...analysis.errors import Refused
from ...analysis.gradients.margin.descent import descent_margin
from ...analysis.gradients.measurement import measure
from ..networks import hidden, network
from .cell import Cell
from .plain import samples

Loss = Callable[[Tensor, Tensor], Tensor]

BATCH = 64
"""Samples on which gradients are taken, the first of the training split."""

DRAWS = 4
"""Draws of a random rule; the row holds their mean."""


def epochs(stages: Sequence[str], last: int) -> tuple[int, ...]:
    """The epochs of these stages in a run of so many.

    >>> epochs(("0", "1", "middle", "end"), 100)
    (0, 1, 50, 100)

    Raises:
        Refused: a stage lies beyond the end.
    """
    named = {"middle": last // 2, "end": last}
    found = [named[stage] if stage in named else int(stage) for stage in stages]
    beyond = [epoch for epoch in found if epoch > last]
    if beyond:
        raise Refused(f"--measure {','.join(stages)}: epoch {beyond[0]} lies beyond the last, {last}.")
    return tuple(sorted(set(found)))


class Watch:
    """What is measured of the runs of a job as they train."""

    def __init__(self, stages: Sequence[str], last: int) -> None:
        self._epochs = epochs(stages, last)
        self._rows: dict[Cell, list[dict[str, Any]]] = {}

    def __call__(self, runs: Mapping[Cell, nn.Module], epoch: int) -> None:
        """Measure these runs, where this epoch is one of the stages'."""
        if epoch in self._epochs:
            for cell, model in runs.items():
                model.eval()  # with the batch's own statistics, a sample would not have a gradient of its own
                self._rows.setdefault(cell, []).append({"epoch": epoch} | measured(cell, model))
                model.train()

    def found(self, cell: Cell) -> Sequence[Mapping[str, Any]]:
        """The rows of a run, one for each stage that it reached."""
        return self._rows.get(cell, ())


def measured(cell: Cell, model: nn.Module) -> dict[str, Any]:
    """One row: how the rule's gradient stands to the exact one on this model.

    Returns:
        ``cosine``, ``angle_degrees`` and ``log10_magnitude_ratio`` of the whole gradient, ``worst_angle_degrees`` of
        the layer that it is largest in, and ``log10_margin``, the least log10 of kappa* over the activations. What is
        undefined is ``None``, and ``reason`` says why.
    """
    entry = network(cell.network)
    device = next(model.parameters()).device
    inputs, targets = samples(cell.data or entry.data, str(device), torch.float32).train
    batch = (inputs[:BATCH], targets[:BATCH])
    key = hidden.key(cell.forward)

    def loss(outputs: Tensor, labels: Tensor) -> Tensor:
        return entry.criterion(outputs, labels)

    table = measure(model, loss, batch, [cell.rule], activations=[key], draws=DRAWS, seed=cell.seed)
    whole = table[table["depth"] == 0]
    layers = table[table["depth"] > 0].groupby("layer")["angle_degrees"].mean()
    said = {name: _number(whole[name].mean()) for name in ("cosine", "angle_degrees", "log10_magnitude_ratio")}
    reasons = [reason for reason in whole["reason"] if isinstance(reason, str) and reason]
    margin, unknown = _margin(cell, model, loss, batch)
    return said | {
        "worst_angle_degrees": _number(layers.max()),
        "log10_margin": margin,
        "reason": "; ".join([*reasons[:1], *([unknown] if unknown else [])]),
    }


def _margin(cell: Cell, model: nn.Module, loss: Loss, batch: tuple[Tensor, Tensor]) -> tuple[float | None, str]:
    """The least log10 of kappa* over the activations, or why there is none."""
    if hidden.flat(cell.forward):
        return None, "below a step there is no exact gradient to have a margin"
    try:
        margins = [each.kappa_star for each in descent_margin(model, loss, batch)]
    except Refused as refusal:
        return None, str(refusal)
    known = [math.log10(each) for each in margins if each is not None and 0 < each < math.inf]
    return min(known, default=None), "" if known else "every activation's margin is unbounded or undefined"


def _number(value: Any) -> float | None:
    return None if value is None or not math.isfinite(value) else float(value)
