"""Averaged draws of a random surrogate gradient: how the average of n of them turns towards the exact gradient."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ...analysis.errors import Refused
from ...analysis.gradients.closed.jamming import jamming
from ...analysis.gradients.deviation import deviation
from ...analysis.gradients.layers import Layer, layers, observe
from ...analysis.gradients.table import provenance
from ...analysis.gradients.untie.untied import untie

if TYPE_CHECKING:
    import pandas as pd

SCHEMA = "downslope.averaging/1"


def averages(
    model: nn.Module,
    loss: Callable[[Any, Any], Tensor],
    batch: tuple[Any, Any],
    surrogate: str,
    activation: str,
    *,
    averaged: Sequence[int] = (1, 2, 4, 8, 16, 32),
    draws: int = 64,
    seed: int = 0,
    network: str = "",
    trained: str = "tied",
) -> pd.DataFrame:
    """Cosine and signal-to-noise ratio of averages of independent draws, beside their closed forms.

    Args:
        model: as in `measure`; called as ``model(x)``.
        loss: as in `measure`.
        batch: as in `measure`.
        surrogate: name of a random one.
        activation: what is untied, as `untie` takes its keys.
        averaged: sizes n of the averages; each divides ``draws``.
        draws: how many draws there are in all.
        seed: of the draws.
        network: coordinate, copied into each row.
        trained: coordinate, copied.

    Returns:
        A row for each layer that the noise reaches, n and average: the coordinates ``network``, ``trained``,
        ``surrogate``, ``reference``, ``layer``, ``depth``, ``seed``, and

        - ``averaged`` (n), ``draw`` (number of the average);
        - ``cosine`` of the average and the exact gradient;
        - ``snr`` of averages of n: squared length of the mean, less the part of it that is noise, over their variance;
          missing where only one average stands;
        - where they are known, ``predicted_snr`` (n times that of one draw) and ``predicted_cosine`` (the mean's cosine
          times sqrt(SNR/(1 + SNR)), to first order in the noise).

    Raises:
        Refused: as for `jamming`; an n does not divide the number of draws.
    """
    import pandas as pd

    wrong = [n for n in averaged if n < 1 or draws % n]
    if wrong or not averaged:
        raise Refused(f"averages(averaged={tuple(averaged)}, draws={draws}): each n has to divide the number of draws.")
    closed = jamming(model, loss, batch, surrogate, activations=[activation], draws=2, seed=seed)
    known = closed.set_index("layer")[["mean_cosine", "snr"]]
    of_layer = layers(model, observe(model, lambda: model(batch[0])).order)
    exact = torch.autograd.grad(loss(model(batch[0]), batch[1]), list(model.parameters()))
    drawn: list[list[Tensor]] = []
    with untie(model, {activation: surrogate}, torch.Generator().manual_seed(seed)) as untied:
        value = loss(model(batch[0]), batch[1])
        for _, gradients in untied.replay(value, list(model.parameters()), draws=draws):
            drawn.append([torch.zeros_like(p) if g is None else g for p, g in zip(exact, gradients, strict=True)])
    rows = []
    for depth, layer in enumerate(of_layer, start=1):
        stacked, reference = _of(layer, model, drawn), _of(layer, model, [exact])[0]
        if bool((stacked == stacked[0]).all()):
            continue  # no jammed activation lies above it
        coordinates: dict[str, Any] = {"network": network, "trained": trained, "surrogate": surrogate}
        coordinates |= {"reference": "exact", "layer": layer.path, "depth": depth, "seed": seed}
        mean_cosine, snr = known.to_dict("index")[layer.path].values()
        rows += [coordinates | row for row in _rows(stacked, reference, averaged, mean_cosine, snr)]
    table = pd.DataFrame(rows)
    table.attrs = provenance(seed=seed, schema=SCHEMA, draws=draws)
    return table


def _of(layer: Layer, model: nn.Module, gradients: Sequence[Sequence[Tensor]]) -> Tensor:
    """A layer's gradients as rows, float64."""
    own = {id(parameter) for parameter in layer.parameters}
    kept = [place for place, parameter in enumerate(model.parameters()) if id(parameter) in own]
    return torch.stack([torch.cat([each[place].flatten() for place in kept]).double() for each in gradients])


def _rows(
    drawn: Tensor, exact: Tensor, averaged: Sequence[int], mean_cosine: float, snr: float
) -> Iterator[dict[str, Any]]:
    for n in averaged:
        groups = drawn.reshape(-1, n, drawn.shape[1]).mean(1)
        ratio = signal_to_noise(groups)
        predicted = n * snr
        turned = mean_cosine * math.sqrt(predicted / (1 + predicted)) if math.isfinite(predicted) else mean_cosine
        for place, average in enumerate(groups):
            yield {
                "averaged": n,
                "draw": place,
                "cosine": deviation(average, exact).cosine,
                "snr": ratio,
                "predicted_snr": predicted,
                "predicted_cosine": turned,
            }


def signal_to_noise(averages: Tensor) -> float:
    """Squared length of the mean over the total variance, of independent vectors in rows; NaN of a single one.

    The squared length of their average is too large by its own variance, which is taken off.

    >>> signal_to_noise(torch.tensor([[1.0, 0.0], [3.0, 0.0]]))
    1.5
    """
    count = len(averages)
    if count < 2:
        return math.nan
    mean = averages.mean(0)
    variance = float((averages - mean).square().sum()) / (count - 1)
    return (float(mean.square().sum()) - variance / count) / variance if variance else math.inf
