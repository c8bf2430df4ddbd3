"""`slice_of`: the loss on the plane that the exact gradient and a surrogate gradient span, for a figure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from ...errors import Refused
from ...surrogates.surrogate import Surrogate
from ..deviation import deviation
from ..inputs import untouched
from ..layers import observe
from ..measuring.choice import count, seeded, surrogates
from ..measuring.setting import Gradients, Loss, Setting
from ..measuring.taking import Native, inner, native, taken
from ..references.reference import flatness
from ..table import provenance
from .line import Line
from .smoothness import smoothness

if TYPE_CHECKING:
    import pandas as pd

SCHEMA = "downslope.slice/1"


def slice_of(
    model: nn.Module,
    loss: Loss,
    batch: tuple[Any, Any],
    surrogate: str | Surrogate,
    *,
    points: int = 21,
    extent: float | None = None,
    activations: Sequence[Any] | None = None,
    seed: int = 0,
) -> pd.DataFrame:
    r"""The loss at theta + a e1 + b e2, with e1 = -g/\|g\| and e2 the unit vector of -g~'s part orthogonal to it.

    The model is left as it was, to the last bit.

    Args:
        model: as in `measure`.
        loss: as in `measure`.
        batch: as in `measure`.
        surrogate: one name or `Surrogate`; draw number 0 where it is random.
        points: of the grid, along each axis; at least 2.
        extent: a and b run from -extent to extent, in the units of the parameters; where ``None``, 4 \|g\|/L, twice the
            distance at which the exact step stops to descend on a quadratic of curvature L (an estimate, see `along`).
        activations: as in `measure`.
        seed: of the surrogate's noise and of the forward's.

    Returns:
        A row for each point: ``surrogate``, ``along_gradient`` (a), ``along_surrogate`` (b), ``loss``, ``state`` and
        ``reason``. One undefined row where a gradient vanished or is undefined, or the two are parallel.
        ``attrs["surrogate_direction"]`` is (cos, sin) of the angle from e1 to -g~; ``attrs["gradient_norm"]``, \|g\|.

    Raises:
        Refused: as for `measure`; points or extent are out of their range.
    """
    import pandas as pd

    chosen = surrogates([surrogate], "slice_of")
    if count(points, "points", "a grid needs at least 2 points along each axis.", "slice_of") < 2:
        raise Refused(f"slice_of(points={points}): a grid needs at least 2 points along each axis.")
    if extent is not None and not 0 < extent < math.inf:
        raise Refused(f"slice_of(extent={extent!r}): give a finite length above 0.")
    seeded(seed, "slice_of")
    setting = Setting.of(model, loss, batch, "slice_of")
    with untouched(model, setting.owned, seed) as again:
        observation = observe(model, setting.output)
        keys = observation.asked(activations, "slice_of")
        known = native(setting, observation, again)
        gradient = taken(known, chosen, keys, seed)[0].gradient
        exact = Line.of(known, known.exact)
        compared = deviation(list(gradient), list(known.exact))
        reason = flatness(known.activations) if known.flat else compared.reason
        angle = math.radians(compared.angle_degrees or 0.0)
        if not reason and math.sin(angle) < 1e-7:
            reason = "the two gradients are parallel, so they span a line and no plane: see along()"
        if reason:
            rows = [{"along_gradient": None, "along_surrogate": None, "loss": None}]
        else:
            reach = extent or 4 * exact.norm / (smoothness(known, known.exact, 0.0) or 4 * exact.norm)
            ticks = torch.linspace(-reach, reach, points, dtype=torch.float64).tolist()
            first, second = _axes(known.exact, gradient, exact.norm, angle)
            rows = [_at(known, first, second, a, b) for a in ticks for b in ticks]
    table = pd.DataFrame(rows).astype("float64")
    table.insert(0, "surrogate", next(iter(chosen)))
    table["state"], table["reason"] = "undefined" if reason else "defined", reason
    table.attrs = provenance(
        seed=seed,
        device=str(setting.parameters[0].device),
        schema=SCHEMA,
        training=model.training,
        loss=known.loss,
        gradient_norm=exact.norm,
        surrogate_direction=None if reason else [math.cos(angle), math.sin(angle)],
    )
    return table


def _axes(exact: Gradients, gradient: Gradients, norm: float, angle: float) -> tuple[Gradients, Gradients]:
    """e1 and e2; a parameter that the loss does not depend on has no part in either."""
    length = math.sqrt(inner(gradient, gradient))
    first = [None if part is None else -part / norm for part in exact]
    second = [
        None if part is None or axis is None else (-part / length - math.cos(angle) * axis) / math.sin(angle)
        for part, axis in zip(gradient, first, strict=True)
    ]
    return first, second


def _at(known: Native, first: Gradients, second: Gradients, a: float, b: float) -> dict[str, Any]:
    setting = known.setting
    direction = [None if x is None else a * x + (0 if y is None else b * y) for x, y in zip(first, second, strict=True)]
    known.again()
    with torch.no_grad():
        value = setting.loss(setting.output(setting.moved(direction, 1.0)), setting.y)
    return {"along_gradient": a, "along_surrogate": b, "loss": float(value.double())}
