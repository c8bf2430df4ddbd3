"""Descent margins of a network's layers: exact for one replaced activation, bounded for all, and what surrogates need.

Two ideas: the *margin* of a layer is how unequal the factors of ALL activations above it may be before its gradient can
stop descending, bounded from below by `certify` and from above by its attack; the *spread* of a surrogate is how
unequal its factors psi/phi' are on this batch. For the gradient of one layer only ratios matter (claim
`layer-scalar`), so the two can be compared.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from ...analysis.gradients.margin.certificate.certificate import certify
from ...analysis.gradients.margin.descent import descent_margin
from ...analysis.gradients.margin.margin import Margin
from ...analysis.gradients.table import provenance
from ...analysis.surrogates.lookup import surrogate

if TYPE_CHECKING:
    import pandas as pd

SCHEMA = "downslope.margins/1"


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
        A row for each activation place and surrogate: ``network``, ``trained``, ``place``, ``layer`` (the module right
        below the place), ``depth`` (1 for the lowest), ``surrogate``, ``kappa_star`` (exact: this activation alone
        replaced, the gradient of all parameters at and below it), ``certified`` and ``attacked`` (all activations from
        this place up replaced, the gradient of the layer's own parameters),
        ``kappa`` (the surrogate's largest spread among those activations), ``inner`` (its <g, g~>/|g|^2 with this
        activation alone replaced) and ``standing``: "inside" where ``kappa`` is at most ``certified``, "outside" where
        its spread at each of those activations is at least ``attacked``, else "undecided". Infinite numbers are
        infinite, undefined ones missing.

    Raises:
        Refused: as for `certify` and `descent_margin`.
    """
    import pandas as pd

    found = list(descent_margin(model, loss, batch))
    rows: list[dict[str, Any]] = []
    for place, margin in enumerate(found):
        here = set(margin.below) - {name for lower in found[:place] for name in lower.below}
        bounds = certify(model, loss, batch, over=sorted(here), restarts=restarts, seed=seed)
        shared = {
            "network": network,
            "trained": trained,
            "place": str(margin.place),
            "layer": next(iter(sorted(here))).rpartition(".")[0],
            "depth": place + 1,
            "kappa_star": margin.kappa_star,
            "certified": bounds.certified,
            "attacked": bounds.attacked,
        }
        rows += [shared | row for row in _spreads(found[place:], surrogates, bounds.certified, bounds.attacked, seed)]
    table = pd.DataFrame(rows)
    table.attrs = provenance(seed=seed, schema=SCHEMA, samples=len(batch[1]), restarts=restarts)
    return table


def _spreads(
    above: Sequence[Margin], surrogates: Sequence[str], certified: float, attacked: float, seed: int
) -> Iterator[dict[str, Any]]:
    for name in surrogates:
        spreads = [margin.spread(surrogate(name), torch.Generator().manual_seed(seed)) for margin in above]
        kappas = [math.inf if spread.kappa is None else spread.kappa for spread in spreads]
        inner, norm = spreads[0].inner, above[0].norm_squared
        yield {
            "surrogate": name,
            "kappa": max(kappas),
            "inner": inner / norm if inner is not None and norm else None,
            "standing": standing(kappas, certified, attacked),
        }


def standing(kappas: Sequence[float], certified: float, attacked: float) -> str:
    """Where spreads lie against the two bounds.

    >>> standing([1.2, 1.4], 1.5, 2.0), standing([1.2, 1.7], 1.5, 2.0), standing([2.5, 2.0], 1.5, 2.0)
    ('inside', 'undecided', 'outside')
    """
    if max(kappas) <= certified:
        return "inside"
    return "outside" if min(kappas) >= attacked else "undecided"
