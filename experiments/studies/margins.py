"""Descent margins of a network's layers: exact for one replaced activation, bounded for all, and what surrogates need.

Two ideas: the *margin* of a layer is how unequal the factors of ALL activations above it may be before its gradient can
stop descending, bounded from below by `certify` and from above by its attack; the *spread* of a surrogate is how
unequal its factors psi/phi' are on this batch, at each of those activations. For the gradient of one layer only ratios
matter (claim `layer-scalar`), so the two can be compared. Every number of a row is for the parameters of that layer
alone.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from ...analysis.gradients.margin.certificate.certificate import certify
from ...analysis.gradients.margin.descent import descent_margin
from ...analysis.gradients.margin.margin import Margin
from ...analysis.gradients.margin.walk.inputs import double
from ...analysis.gradients.table import provenance
from ...analysis.surrogates.lookup import surrogate

if TYPE_CHECKING:
    import pandas as pd

SCHEMA = "downslope.margins/2"


def margins(
    model: nn.Module,
    loss: Callable[[Any, Any], torch.Tensor],
    batch: tuple[Any, Any],
    surrogates: Sequence[str],
    *,
    network: str = "",
    trained: str = "tied",
    restarts: int = 4,
    seed: int = 0,
) -> pd.DataFrame:
    """Margins of every layer below an activation, and each surrogate's spread on them.

    Args:
        model: a chain, as `certify` takes it.
        loss: ``loss(model(x), y)``.
        batch: ``(x, y)``.
        surrogates: names; of a random one, one draw.
        network: coordinate, copied into each row.
        trained: coordinate, copied.
        restarts: of the attack.
        seed: of the attack and of the noise.

    Returns:
        A row for each layer below an activation and surrogate, float64 throughout: ``network``, ``trained``, ``seed``,
        ``samples``, ``place`` (the activation right above the layer), ``layer``, ``depth`` (1 for the lowest),
        ``surrogate``; of the gradient of the layer's own parameters ``certified`` and ``attacked`` (all activations
        from the place up replaced) and ``kappa_star`` (exact: the place's alone replaced, so never below
        ``certified``; never above ``attacked`` where no other activation follows); ``kappa`` (the surrogate's spread at
        the place), ``least_kappa`` and ``most_kappa`` (its spreads at the place and all later ones), ``inner`` (its
        <g, g~>/|g|^2 with the place's activation alone replaced). Infinite numbers are infinite, undefined ones are
        missing.

    Raises:
        Refused: as for `certify` and `descent_margin`.
    """
    import pandas as pd

    precise, (inputs, targets) = copy.deepcopy(model).double(), double(batch)
    found = list(descent_margin(precise, loss, (inputs, targets)))
    rows: list[dict[str, Any]] = []
    seen: set[str] = set()
    for position, margin in enumerate(found):
        here, seen = sorted(set(margin.below) - seen), seen | set(margin.below)
        if not here:  # two activations in a row: there is no layer between them
            continue
        bounds = certify(model, loss, batch, over=here, restarts=restarts, seed=seed)
        own = descent_margin(_alone(precise, here), loss, (inputs, targets))[position]
        shared = {
            "network": network,
            "trained": trained,
            "seed": seed,
            "samples": len(batch[1]),
            "place": str(margin.place),
            "layer": here[0].rpartition(".")[0],
            "depth": len({row["layer"] for row in rows}) + 1,
            "kappa_star": own.kappa_star,
            "certified": bounds.certified,
            "attacked": bounds.attacked,
        }
        rows += [shared | row for row in _spreads(own, found[position + 1 :], surrogates, seed)]
    table = pd.DataFrame(rows)
    table.attrs = provenance(seed=seed, schema=SCHEMA, samples=len(batch[1]), restarts=restarts)
    return table


def _alone(model: nn.Module, names: Sequence[str]) -> nn.Module:
    """A copy of the model in which these parameters alone take a step: all others are frozen and do not count."""
    only = copy.deepcopy(model)
    for name, parameter in only.named_parameters():
        parameter.requires_grad_(name in names)
    return only


def _spreads(own: Margin, later: Sequence[Margin], surrogates: Sequence[str], seed: int) -> Iterator[dict[str, Any]]:
    for name in surrogates:
        spreads = [margin.spread(surrogate(name), torch.Generator().manual_seed(seed)) for margin in (own, *later)]
        kappas = [math.inf if spread.kappa is None else spread.kappa for spread in spreads]
        inner, norm = spreads[0].inner, own.norm_squared
        yield {
            "surrogate": name,
            "kappa": kappas[0],
            "least_kappa": min(kappas),
            "most_kappa": max(kappas),
            "inner": inner / norm if norm else None,
        }
