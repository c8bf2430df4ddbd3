"""`meanfield`: the cosine and the length that wide random networks predict for a surrogate gradient.

On a chain of linear maps and activations, one sample, weights random and wide (THEORY `meanfield-cosine`,
`meanfield-magnitude`): the cosine of a layer's surrogate gradient with the exact one is the product of
rho = E[phi' psi]/sqrt(E phi'^2 E psi^2) over the activations above it, the ratio of their lengths the product of
sqrt(E psi^2/E phi'^2), with z ~ N(0, q) and q the mean square of each activation's preactivation as measured.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch import nn
from torch.nn.modules.conv import _ConvNd
from torch.nn.modules.pooling import _AdaptiveAvgPoolNd, _AdaptiveMaxPoolNd, _AvgPoolNd, _MaxPoolNd

from ...errors import Refused
from ...surrogates.lookup import activation
from ...surrogates.surrogate import Surrogate
from ..inputs import untouched
from ..layers import layers, observe
from ..measurement import measured
from ..measuring.choice import Given
from ..measuring.choice import surrogates as chosen_from
from ..measuring.rows import WHOLE
from ..measuring.setting import Loss, Setting
from ..measuring.taking import Native, native
from ..references.reference import flatness
from ..table import provenance
from .gaussian import overlap
from .preactivations import Above, Called, above

if TYPE_CHECKING:
    import pandas as pd

SCHEMA = "downslope.meanfield/1"


@dataclass(frozen=True)
class Prediction:
    """What mean-field theory says of one layer and surrogate.

    Attributes:
        cosine: product of rho over the activations above.
        ratio: product of sqrt(E psi^2/E phi'^2), the ratio of the two gradients' lengths.
        reason: why there is none; empty where there is one.
    """

    cosine: float = 1.0
    ratio: float = 1.0
    reason: str = ""


def predict(calls: Sequence[Called], surrogate: Surrogate | str, untied: frozenset[str] | None = None) -> Prediction:
    """The prediction for a layer below these calls.

    Args:
        calls: of activations.
        surrogate: what stands in for their derivatives, or ``"tied"``.
        untied: names of the activations that it stands in for; all where ``None``.
    """
    cosine = ratio = 1.0
    for call in calls:
        if untied is not None and call.place.activation not in untied:
            continue
        derivative = call.place.derivative
        psi = derivative if isinstance(surrogate, str) else surrogate
        if not call.mean_square > 0:
            return Prediction(reason=f"the preactivation of {call.place} is zero")
        try:
            found = overlap(derivative, psi, call.mean_square)
        except Refused as error:
            return Prediction(reason=str(error))
        if found.rho is None or found.ratio is None:
            what = "derivative of the activation" if found.derivative == 0 else "surrogate"
            return Prediction(reason=f"the {what} vanishes at {call.place}")
        cosine, ratio = cosine * found.rho, ratio * found.ratio
    return Prediction(cosine, ratio)


def meanfield(
    model: nn.Module,
    loss: Loss,
    batch: tuple[Any, Any],
    surrogates: Given,
    *,
    activations: Sequence[str] | None = None,
    draws: int = 1,
    seed: int = 0,
    network: str = "",
    stage: str = "",
) -> pd.DataFrame:
    """The mean-field prediction of each layer's cosine and length, beside what is measured on this batch.

    The prediction is for one sample and weights that are random, wide and independent of it; a batch, a trained network
    or a narrow one deviates from it, and the table shows by how much. Measured cosines have a floor of about
    1/sqrt(width).

    Args:
        model: as in `measure`.
        loss: as in `measure`.
        batch: as in `measure`.
        surrogates: as in `measure`.
        activations: names of the activations that are untied; all of the catalogue that run, where ``None``.
        draws: of each random surrogate, as in `measure`.
        seed: as in `measure`.
        network: coordinate, copied into each row.
        stage: coordinate, copied.

    Returns:
        The coordinates and rows of `measure`, with the columns ``crossed`` (activations from the layer to the loss),
        ``mean_squared_preactivation`` (q of the first of them), ``predicted_cosine``,
        ``predicted_log10_magnitude_ratio``, the measured ``cosine`` and ``log10_magnitude_ratio``, ``measured_reason``
        (why those are undefined), and ``state`` and ``reason`` of the prediction: it is undefined where a parameter is
        used at several places of the forward, where a path goes around an activation, below a step unit, and where a
        factor vanishes. ``remark`` says where its assumptions do not hold, though it is defined: the kernel of a
        convolution is shared by all places of an image, and pooling mixes their error signals, so the measured cosine
        may be far from the predicted one. The whole gradient's is put together from the layers' by the measured
        lengths of their exact gradients.

    Raises:
        Refused: as for `measure`.
    """
    chosen = chosen_from(surrogates, "meanfield")
    untied = _names(activations)
    setting = Setting.of(model, loss, batch, "meanfield")
    options: dict[str, Any] = {"activations": activations, "draws": draws, "seed": seed}
    options |= {"network": network, "stage": stage}
    table = measured(model, loss, batch, surrogates, **options, caller="meanfield")
    with untouched(model, setting.owned, seed) as again:
        observation = observe(model, setting.output)
        known = native(setting, observation, again)
        remarks = _remarks(model, observation.order)
        of_layer = layers(model, observation.order)
        chains = above(known, of_layer)
        positions = {id(parameter): index for index, parameter in enumerate(setting.parameters)}
        places = {layer.path: [positions[id(p)] for p in layer.parameters if id(p) in positions] for layer in of_layer}
    predictions = {name: _layers(known, chains, places, surrogate, untied) for name, surrogate in chosen.items()}
    return _joined(table, chains, predictions, remarks)


def _remarks(model: nn.Module, order: Sequence[nn.Module]) -> dict[str, str]:
    """By layer, and for the whole, which modules from it on share weights over places or pool them."""
    paths = {module: path for path, module in model.named_modules()}
    found: list[str] = []
    said: dict[str, str] = {}
    for module in reversed(order):
        if isinstance(module, _ConvNd | _MaxPoolNd | _AvgPoolNd | _AdaptiveAvgPoolNd | _AdaptiveMaxPoolNd):
            found.insert(0, f"{paths[module]} ({type(module).__name__})")
        if found:
            said[paths[module]] = said[WHOLE] = (
                f"wide dense layers are assumed, and {', '.join(found)} shares weights over places or pools them"
            )
    return said


def _names(activations: Any) -> frozenset[str] | None:
    """The activations of the catalogue that are untied.

    Raises:
        Refused: one is not in the catalogue: its derivative is not known as a formula.
    """
    if activations is None:
        return None
    if strange := [key for key in activations if not isinstance(key, str)]:
        raise Refused(
            f"meanfield(activations=[{strange[0]!r}, ...]): give names of the catalogue's activations; the prediction "
            f"needs the formula of each derivative."
        )
    return frozenset(activation(key).name for key in activations)


def _layers(
    known: Native,
    chains: Mapping[str, Above],
    places: Mapping[str, Sequence[int]],
    surrogate: Surrogate | str,
    untied: frozenset[str] | None,
) -> dict[str, Prediction]:
    """By layer, the whole included."""
    found: dict[str, Prediction] = {}
    for path, chain in chains.items():
        reason = chain.reason
        if not known.flat.isdisjoint(places[path]):
            reason = flatness(known.activations)
        found[path] = Prediction(reason=reason) if reason else predict(chain.calls, surrogate, untied)
    squares = {
        path: sum(float(part.square().sum()) for i in where if (part := known.exact[i]) is not None)
        for path, where in places.items()
    }
    moved = [path for path in found if squares[path] > 0]
    missing = [path for path in found if found[path].reason and (squares[path] > 0 or known.flat & set(places[path]))]
    if missing or not moved:
        reason = (
            f"it has no prediction at the layer {missing[0] or 'that the model itself is'}"
            if missing
            else "the exact gradient is zero"
        )
        return found | {WHOLE: Prediction(reason=reason)}
    inner = sum(found[path].cosine * found[path].ratio * squares[path] for path in moved)
    long = math.sqrt(sum(found[path].ratio ** 2 * squares[path] for path in moved) / sum(squares.values()))
    return found | {WHOLE: Prediction(inner / long / sum(squares.values()), long)}


def _joined(
    table: pd.DataFrame,
    chains: Mapping[str, Above],
    predictions: Mapping[str, Mapping[str, Prediction]],
    remarks: Mapping[str, str],
) -> pd.DataFrame:
    """The measured rows with their predictions."""
    import pandas as pd

    rows: list[dict[str, Any]] = []
    for row in table.to_dict("records"):
        layer = row["layer"]
        found = predictions[row["surrogate"]][layer]
        calls = chains[layer].calls if layer in chains else ()
        known = not found.reason
        rows.append(
            {name: row[name] for name in _COORDINATES}
            | {
                "crossed": len(calls) if layer in chains else None,
                "mean_squared_preactivation": calls[0].mean_square if calls else None,
                "predicted_cosine": found.cosine if known else None,
                "predicted_log10_magnitude_ratio": math.log10(found.ratio) if known else None,
                "cosine": row["cosine"],
                "log10_magnitude_ratio": row["log10_magnitude_ratio"],
                "measured_reason": row["reason"],
                "state": "defined" if known else "undefined",
                "reason": found.reason,
                "remark": remarks.get(layer, "") if known else "",
            }
        )
    numbers = ("mean_squared_preactivation", "predicted_cosine", "predicted_log10_magnitude_ratio")
    joined = pd.DataFrame(rows).astype(
        dict.fromkeys(("crossed", "step"), "Int64")
        | dict.fromkeys((*numbers, "cosine", "log10_magnitude_ratio"), "float64")
    )
    more = {key: table.attrs[key] for key in ("training", "remarks", "loss", "unreached")}
    joined.attrs = provenance(seed=table.attrs["seed"], device=table.attrs["device"], schema=SCHEMA, **more)
    return joined


_COORDINATES = (
    "network",
    "activation",
    "surrogate",
    "reference",
    "layer",
    "depth",
    "stage",
    "step",
    "seed",
    "sample",
    "draw",
)
