"""`along`: does the step really descend, how far, and what does the theory guarantee?"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from torch import nn

from ...errors import Refused
from ..inputs import untouched
from ..layers import observe
from ..measuring.choice import Given, count, seeded
from ..measuring.choice import surrogates as chosen_from
from ..measuring.remarks import noted
from ..measuring.setting import Loss, Setting
from ..measuring.taking import Native, Taken, inner, native, taken
from ..references.reference import flatness
from ..table import provenance
from .line import Line
from .smoothness import smoothness

if TYPE_CHECKING:
    import pandas as pd

SCHEMA = "downslope.along/1"
EXACT = "exact"
"""The name of the exact gradient in the column ``surrogate``."""

_SCAN = [10 ** (exponent / 6) for exponent in range(-18, 13)]
"""The usual steps, in units of the exact gradient's own bound 2/L: 1/1000 to 100, six a decade."""


def along(
    model: nn.Module,
    loss: Loss,
    batch: tuple[Any, Any],
    surrogates: Given,
    steps: Iterable[float] | None = None,
    *,
    activations: Sequence[Any] | None = None,
    seed: int = 0,
    iterations: int = 8,
    network: str = "",
    stage: str = "",
) -> pd.DataFrame:
    r"""The loss along minus each surrogate gradient, and along minus the exact one, over step sizes.

    All trained parameters move at once, theta - eta g~. The model is left as it was, to the last bit; losses are those
    of its own dtype and mode, and a decrease below that dtype's rounding of the loss is not seen.

    Args:
        model: as in `measure`.
        loss: as in `measure`.
        batch: as in `measure`.
        surrogates: as in `measure`; of a random one, draw number 0.
        steps: step sizes above 0; where ``None``, 31 of them from 1/1000 to 100 times 2/L, L the estimate at theta (in
            a network that is flat for the exact gradient: of \|theta\| / \|g~\| of the first surrogate).
        activations: as in `measure`.
        seed: of the surrogates' noise and of the forward's.
        iterations: of the power method in the estimate of L (see below); each takes ten gradients a surrogate.
        network: coordinate, copied into each row.
        stage: coordinate, copied.

    Returns:
        A row for each gradient ("exact" and each surrogate), scale and step. Columns: the coordinates ``network``,
        ``activation``, ``surrogate``, ``layer`` ("whole"), ``stage``, ``seed``, ``draw``, and

        - ``scale``: ``"raw"``: eta is the step as given, so a longer gradient goes further; ``"normalised"``: each
          gradient goes the distance that the exact one goes at the step, eta \|g~\| = step \|g\| (the first
          surrogate's distance, where the exact one is undefined).
        - ``step_size``: eta, the factor of g~. ``distance``: eta \|g~\|.
        - ``loss`` there; ``change``: minus the loss at theta; ``descends``: whether that is below 0.

        and, the same in each row of a gradient:

        - ``largest_descending``: eta up to which every step descends, by the raw steps and halving; 0 where the
          smallest does not descend, infinite where every one does.
        - ``inner_product``: <g, g~>. ``c``: <g, g~>/\|g\|^2. ``C``: \|g~\|/\|g\|.
        - ``smoothness``: the estimate of L on the segment up to ``largest_descending`` (see
          `downslope.analysis.gradients.descent.smoothness`: largest Hessian eigenvalue at five points by power
          iteration on differences of the gradient, and secants). It is local and an estimate from below.
        - ``bound``: 2 c/(L C^2): with a true L every smaller step descends (THEORY `step-size`).
        - ``bound_reason``: why there is no bound; ``state`` and ``reason``: why there is no line.

    Raises:
        Refused: as for `measure`; a step is no finite number above 0.
    """
    import pandas as pd

    chosen = chosen_from(surrogates, "along")
    count(iterations, "iterations", "at least one iteration of the power method is needed.", "along")
    seeded(seed, "along")
    given = None if steps is None else _steps(steps)
    setting = Setting.of(model, loss, batch, "along")
    with untouched(model, setting.owned, seed) as again:
        observation = observe(model, setting.output)
        keys = observation.asked(activations, "along")
        known = native(setting, observation, again)
        found = taken(known, chosen, keys, seed)
        exact = Taken(EXACT, 0, found[0].activation, list(known.exact))
        flat = flatness(known.activations) if known.flat else ""
        lines = {each.surrogate: Line.of(known, each.gradient) for each in (exact, *found)}
        scan = given or _usual(known, flat, lines, iterations)
        unit = lines[EXACT].norm if not flat and not lines[EXACT].nowhere else _first(lines)
        rows = [
            {"network": network, "activation": each.activation, "surrogate": each.surrogate, "layer": "whole"}
            | {"stage": stage, "seed": seed, "draw": each.draw}
            | columns
            for each in (exact, *found)
            for columns in _rows(lines[each.surrogate], lines[EXACT], scan, unit, flat, iterations)
        ]
    table = pd.DataFrame(rows).astype(dict.fromkeys(_NUMBERS, "float64") | {"descends": "boolean"})
    table.attrs = provenance(
        seed=seed,
        device=str(setting.parameters[0].device),
        schema=SCHEMA,
        loss=known.loss,
        normalised_length=unit,
        **noted(model, "along", activations, own=known.own),
    )
    return table


_NUMBERS = (
    *("step_size", "distance", "loss", "change"),
    *("largest_descending", "inner_product", "c", "C", "smoothness", "bound"),
)


def _rows(
    line: Line, exact: Line, scan: list[float], unit: float, flat: str, iterations: int
) -> Iterable[dict[str, Any]]:
    """The rows of one gradient."""
    nowhere = flat if line is exact and flat else line.nowhere
    if nowhere:
        none = dict.fromkeys((*_NUMBERS, "descends"))
        yield {"scale": "raw"} | none | {"bound_reason": nowhere, "state": "undefined", "reason": nowhere}
        return
    raw = [line.loss(step) for step in scan]
    largest = line.largest(scan, raw)
    shared = _facts(line, exact, scan[-1] if largest is None else largest, flat, iterations)
    shared |= {"largest_descending": math.inf if largest is None else largest, "state": "defined", "reason": ""}
    scaled = [step * unit / line.norm for step in scan]
    for scale, steps, losses in (("raw", scan, raw), ("normalised", scaled, [line.loss(step) for step in scaled])):
        for step, value in zip(steps, losses, strict=True):
            change = value - line.native.loss
            here = {"scale": scale, "step_size": step, "distance": step * line.norm, "loss": value}
            yield here | {"change": change, "descends": change < 0} | shared


def _facts(line: Line, exact: Line, reach: float, flat: str, iterations: int) -> dict[str, Any]:
    """What the theory says of one gradient, with an estimated L."""
    reason = flat or ("the exact gradient is zero" if exact.norm == 0 else "")
    if reason:
        return dict.fromkeys(("inner_product", "c", "C", "smoothness", "bound")) | {"bound_reason": reason}
    product = inner(line.gradient, exact.gradient)
    c, long = product / exact.norm**2, line.norm / exact.norm
    found = smoothness(line.native, line.gradient, reach, iterations)
    facts = {"inner_product": product, "c": c, "C": long, "smoothness": found}
    if c <= 0:
        return facts | {"bound": None, "bound_reason": "<g, g~> is not positive: the step is no descent direction"}
    return facts | {"bound": 2 * c / (found * long**2) if found else math.inf, "bound_reason": ""}


def _usual(known: Native, flat: str, lines: Mapping[str, Line], iterations: int) -> list[float]:
    """The usual steps in the scale of this model."""
    exact = lines[EXACT]
    if not flat and not exact.nowhere:
        found = smoothness(known, exact.gradient, 0.0, iterations)
        if found:
            return [each * 2 / found for each in _SCAN]
    size = math.sqrt(sum(float(p.detach().double().square().sum()) for p in known.setting.parameters))
    return [each * max(size, 1.0) / 100 / _first(lines) for each in _SCAN]


def _first(lines: Mapping[str, Line]) -> float:
    """The length of the first gradient that has one."""
    return next((line.norm for line in lines.values() if not line.nowhere), 1.0)


def _steps(steps: Any) -> list[float]:
    listed = list(steps) if isinstance(steps, Iterable) and not isinstance(steps, str) else [steps]
    for step in listed:
        numeric = isinstance(step, int | float) and not isinstance(step, bool)
        if not numeric or not 0 < float(step) < math.inf:
            raise Refused(f"along(steps=...): {step!r} is no step size: give finite numbers above 0.")
    if not listed:
        raise Refused("along(steps=[]): give at least one step size, or leave it out.")
    return sorted(map(float, listed))
