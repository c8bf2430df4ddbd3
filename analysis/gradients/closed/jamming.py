"""`jamming`: mean, second moment and signal-to-noise ratio of a random gradient, in closed form and from draws."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor, nn

from ...errors import Refused
from ...surrogates.catalogue import CONSTANT
from ...surrogates.surrogate import Surrogate
from ..deviation import deviation
from ..inputs import untouched
from ..layers import layers, observe
from ..measuring.choice import count, seeded, surrogates
from ..measuring.remarks import noted
from ..measuring.rows import places
from ..measuring.setting import Gradients, Loss, Setting
from ..measuring.taking import Native, inner, native, taken
from ..measuring.ways import backwards
from ..references.errors import Groups
from ..references.reference import flatness
from ..table import provenance
from .chain import chain
from .draws import Draws
from .moments import LIMIT, Moments, moments, operations

if TYPE_CHECKING:
    import pandas as pd

SCHEMA = "downslope.jamming/1"


def jamming(
    model: nn.Module,
    loss: Loss,
    batch: tuple[Any, Any],
    surrogate: str | Surrogate,
    *,
    activations: Sequence[Any] | None = None,
    draws: int = 256,
    seed: int = 0,
    network: str = "",
    stage: str = "",
) -> pd.DataFrame:
    r"""Mean, second moment and signal-to-noise ratio of a random surrogate's gradient: in closed form, and from draws.

    The closed forms hold because `untie` draws each factor anew for each unit, sample and call:

    - E g~ is the gradient under the backward E psi(u), on any network (THEORY `jamming-mean`); where psi does not
      depend on u, that is a constant mu, and where moreover every path from a layer to the loss crosses k activations,
      E g~ is mu^k times the gradient under the constant 1 (THEORY `jamming-equal-paths`): ``constant_cosine`` is 1
      then, and ``constant_log10_ratio`` is k log10 mu.
    - E\|g~\|^2 follows on a chain of linear maps on vectors and activations (THEORY `jamming-moments`), also on one
      that a longer forward ends in. Elsewhere (convolutions and what is below them, residual sums, shared weights), and
      where it is too costly, it is undefined, with the reason.
      The chain's own E g~ must be autograd's to 1e-6 of its length, or the chain is not believed.

    Args:
        model: as in `measure`.
        loss: as in `measure`.
        batch: as in `measure`.
        surrogate: a random one, by name or as a `Surrogate`.
        activations: which activations are untied, as in `measure`.
        draws: how many draws; at least 2.
        seed: of the draws and of the forward.
        network: coordinate, copied into each row.
        stage: coordinate, copied.

    Returns:
        A row for each layer and the whole. Coordinates as in `measure`, then

        - closed: ``mean_cosine`` (of E g~ with the exact gradient), ``mean_log10_ratio`` (log10 of their lengths),
          ``constant_cosine`` and ``constant_log10_ratio`` (with the gradient under the constant 1), ``second_moment``
          (E\|g~\|^2), ``snr`` (\|E g~\|^2 / (E\|g~\|^2 - \|E g~\|^2), a plain ratio);
        - from draws: ``mean_cosine_drawn``, ``second_moment_drawn``, ``snr_drawn``, each with ``_standard_error``; the
          mean's cosine is too near 0 by about a factor sqrt(1 + 1/(draws snr)). Of the single draws' cosines
          ``cosine_drawn`` (mean), ``cosine_drawn_deviation``, ``cosine_drawn_low`` and ``_high`` (5% and 95%);
        - ``state`` and ``reason`` of E\|g~\|^2; ``snr_reason``: why ``snr`` is undefined (also where there is no
          noise to divide by); ``cosine_reason``: why ``mean_cosine`` is.

    Raises:
        Refused: as for `measure`; the surrogate is not random, or there are fewer than 2 draws.
    """
    import pandas as pd

    ((name, chosen),) = surrogates([surrogate], "jamming").items()
    if not isinstance(chosen, Surrogate) or not chosen.random:
        raise Refused(
            f"jamming(surrogate={name!r}): it is not random, so its gradient is its own mean: use measure. Random ones "
            f"of the catalogue are full_jam, positive_jam and rectangular_jam."
        )
    if count(draws, "draws", "at least 2 draws are needed.", "jamming") < 2:
        raise Refused(f"jamming(draws={draws}): at least 2 draws are needed to tell a spread.")
    seeded(seed, "jamming")
    setting = Setting.of(model, loss, batch, "jamming")
    with untouched(model, setting.owned, seed) as again:
        observation = observe(model, setting.output)
        keys = observation.asked(activations, "jamming")
        known = native(setting, observation, again)
        mean, closed_reason = _mean(known, chosen, keys, seed)
        constant = taken(known, {"constant": CONSTANT}, keys, seed)[0]
        untied = frozenset(constant.activation.split("+"))
        known_moments, reason = _moments(known, chosen, untied, mean, closed_reason)
        rows = list(places(layers(model, observation.order), setting.parameters, known.exact, constant.gradient))
        drawn = _drawn(known, chosen, keys, seed, draws, [where for _, _, where, _ in rows])
    coordinates = {"network": network, "activation": constant.activation, "surrogate": name, "reference": "exact"}
    table = pd.DataFrame(
        coordinates
        | {"layer": path, "depth": depth, "stage": stage, "seed": seed, "sample": "batch", "draws": draws}
        | _row(known, where, mean, constant.gradient, known_moments, drawn, row, unused, reason, closed_reason)
        for row, (path, depth, where, unused) in enumerate(rows)
    )
    table = table.astype(dict.fromkeys((*_CLOSED, *_DRAWN), "float64"))
    table.attrs = provenance(
        seed=seed,
        device=str(setting.parameters[0].device),
        schema=SCHEMA,
        loss=known.loss,
        **noted(model, "jamming", activations, own=known.own),
    )
    return table


_CLOSED = ("mean_cosine", "mean_log10_ratio", "constant_cosine", "constant_log10_ratio", "second_moment", "snr")
_ERROR = "_standard_error"
_DRAWN = (
    *("mean_cosine_drawn", f"mean_cosine_drawn{_ERROR}", "second_moment_drawn", f"second_moment_drawn{_ERROR}"),
    *("snr_drawn", f"snr_drawn{_ERROR}"),
    *("cosine_drawn", "cosine_drawn_deviation", "cosine_drawn_low", "cosine_drawn_high"),
)


def _mean(known: Native, surrogate: Surrogate, keys: Sequence[Any], seed: int) -> tuple[Gradients | None, str]:
    """E g~, or why it has no closed form."""
    try:
        average = replace(surrogate, name="mean", factor=surrogate.mean, parameters={}, aliases=())
    except Refused as error:
        return None, str(error)
    return taken(known, {"mean": average}, keys, seed)[0].gradient, ""


def _moments(
    known: Native, surrogate: Surrogate, untied: frozenset[str], mean: Gradients | None, reason: str
) -> tuple[Moments | None, str]:
    """The second moment's parts, or why there are none."""
    if mean is None:
        return None, reason
    found = chain(known)
    if isinstance(found, str):
        return None, f"E|g~|^2 has a closed form on chains alone: {found}"
    cost = operations(found)
    if cost > LIMIT:
        return None, f"E|g~|^2 takes {cost:.1e} multiplications here, and at most {LIMIT:.0e} are made"
    try:
        result = moments(found, surrogate, untied)
    except Refused as error:
        return None, str(error)
    own = [part if i in result.mean or not found.below else None for i, part in enumerate(mean)]
    apart = [_minus(part, result.mean.get(i)) for i, part in enumerate(own)]
    if inner(apart, apart) > 1e-12 * inner(own, own):
        return None, "E|g~|^2 has a closed form on chains alone: E g~ by the chain of its calls is not autograd's"
    return result, f"E|g~|^2 has a closed form on chains alone: {found.below}" if found.below else ""


def _minus(a: Tensor | None, b: Tensor | None) -> Tensor | None:
    return b if a is None else a if b is None else a - b


def _drawn(
    known: Native, surrogate: Surrogate, keys: Sequence[Any], seed: int, draws: int, where: Sequence[Sequence[int]]
) -> Draws:
    """The draws, one backward each through one forward."""
    setting = known.setting
    found = Draws(Groups.of(draws, setting.parameters), where, known.exact)
    with backwards(known, {key: [surrogate] for key in keys}, seed, draws) as each:
        for choice, gradients in each.gradients:
            found.take(choice.draw, gradients)
    return found


def _row(
    known: Native,
    where: Sequence[int],
    mean: Gradients | None,
    constant: Gradients,
    closed: Moments | None,
    drawn: Draws,
    row: int,
    unused: str,
    reason: str,
    mean_reason: str,
) -> dict[str, Any]:
    found: dict[str, Any] = dict.fromkeys((*_CLOSED, *_DRAWN))
    snr_reason = ""
    if unused:
        return found | {"cosine_reason": unused, "snr_reason": unused, "state": "undefined", "reason": unused}
    exact = [known.exact[i] for i in where]
    flat = not known.flat.isdisjoint(where)
    cosine_reason = flatness(known.activations) if flat else mean_reason
    if mean is not None:
        own = [mean[i] for i in where]
        compared, other = deviation(own, exact), deviation(own, [constant[i] for i in where])
        if not flat:
            cosine_reason = compared.reason
            found |= {"mean_cosine": compared.cosine, "mean_log10_ratio": compared.log10_magnitude_ratio}
        found |= {"constant_cosine": other.cosine, "constant_log10_ratio": other.log10_magnitude_ratio}
        variance = None if closed is None else closed.variance(where)
        if closed is not None and variance is None and not reason:
            reason = "its parameters are not those of linear maps of the chain"
        if variance is not None:
            square = inner(own, own)
            found["second_moment"] = square + variance
            found["snr"] = square / variance if variance > 0 else None
            reason = ""
            snr_reason = "" if variance > 0 else "no random factor acts on this layer, so there is no noise"
    found |= _statistics(drawn, row, where, None if flat else exact)
    state = "undefined" if reason else "defined"
    return found | {
        "cosine_reason": cosine_reason,
        "snr_reason": snr_reason or reason,
        "state": state,
        "reason": reason,
    }


def _statistics(drawn: Draws, row: int, where: Sequence[int], exact: Gradients | None) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, (value, error) in (("second_moment", drawn.second_moment(row)), ("snr", drawn.snr(row))):
        found |= {f"{name}_drawn": value, f"{name}_drawn{_ERROR}": error}
    if exact is None:
        return found
    mean = drawn.groups.mean
    cosine = deviation([mean[i] for i in where], exact).cosine
    if cosine is None:
        return found
    found |= {
        "mean_cosine_drawn": cosine,
        f"mean_cosine_drawn{_ERROR}": drawn.groups.cosine_error(where, drawn.reference),
    }
    each = np.array([cosines[row] for cosines in drawn.cosines])
    low, high = np.quantile(each, [0.05, 0.95])
    found |= {"cosine_drawn": each.mean(), "cosine_drawn_deviation": each.std(ddof=1)}
    return found | {"cosine_drawn_low": low, "cosine_drawn_high": high}
