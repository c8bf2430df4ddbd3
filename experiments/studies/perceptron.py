"""Mistakes of one Heaviside unit on "Ones", trained through a surrogate, one sample a step.

With squared error the update is (y - h(w x)) psi(w x) x: nothing moves unless the unit errs, and with a constant psi it
is the perceptron rule. A separable set is then learnt after finitely many mistakes, with a bounded or an independent
random factor too (claims `perceptron-rule`, `perceptron-bounded-factor`, `perceptron-random-factor`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ...analysis.gradients.table import provenance
from ...analysis.surrogates.lookup import surrogate
from ...analysis.surrogates.surrogate import Surrogate
from ..data import ones

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Plan:
    """What is trained; the same plan gives the same table, bit for bit.

    Attributes:
        features: the dimensions d of "Ones"; the unit has a bias feature beside them.
        surrogates: the factors, as `surrogate` reads them.
        seeds: one order of the samples (and one stream of noise) each.
        samples: of the data set; four fifths of them train.
        passes: over the samples at most; a run that still errs in the last one has not converged.
    """

    features: tuple[int, ...] = (2, 4, 8, 16, 32)
    surrogates: tuple[str, ...] = ("constant", "leaky_rectangle", "full_jam")
    seeds: tuple[int, ...] = tuple(range(20))
    samples: int = 500
    passes: int = 200


QUICK = Plan(features=(2, 4, 8, 16), seeds=tuple(range(10)), samples=250)


def perceptron(plan: Plan = Plan()) -> pd.DataFrame:
    """Trains them all.

    Returns:
        A row for each dimension, surrogate and seed: ``features`` (d), ``threshold`` (tau), ``surrogate``, ``kappa``
        (supremum over infimum of psi; missing where psi is random or its infimum is 0), ``second_moment``
        (E psi^2/(E psi)^2, of a random psi that does not depend on u; 1 for a constant; else missing), ``seed``,
        ``mistakes`` (updates made), ``passes`` (over the samples) and ``converged`` (a pass without a mistake).
    """
    import pandas as pd

    table = pd.DataFrame([row for features in plan.features for row in _rows(plan, features)])
    table.attrs = provenance(seed=None, plan={**vars(plan)})
    return table


def _rows(plan: Plan, features: int) -> Iterator[dict[str, Any]]:
    threshold = 0.5
    inputs, targets = ones(features, threshold, plan.samples).train
    inputs = torch.cat([inputs, torch.ones(len(inputs), 1)], 1).double()
    for name in plan.surrogates:
        chosen = surrogate(name)
        mistakes, passes, converged = train(inputs, targets.double(), chosen, plan.seeds, plan.passes)
        kappa, second_moment = spread(chosen)
        for place, seed in enumerate(plan.seeds):
            yield {
                "features": features,
                "threshold": threshold,
                "surrogate": name,
                "kappa": kappa,
                "second_moment": second_moment,
                "seed": seed,
                "mistakes": int(mistakes[place]),
                "passes": int(passes[place]),
                "converged": bool(converged[place]),
            }


def spread(chosen: Surrogate) -> tuple[float | None, float | None]:
    """(kappa, second moment ratio): what the bounds on the number of mistakes depend on, ``None`` where undefined.

    >>> spread(surrogate("constant")), spread(surrogate("full_jam"))
    ((1.0, 1.0), (None, 1.3333333333333333))
    """
    if chosen.random:
        mean, variance = chosen.mean, chosen.variance
        return None, float(1 + variance / mean**2) if mean.is_number and variance.is_number else None
    profile = chosen.profile
    least, most = profile.infimum, profile.supremum
    if least is None or most is None or not least.is_positive:
        return None, None
    kappa = float(most / least)
    return kappa, 1.0 if kappa == 1 else None


def train(
    inputs: Tensor, targets: Tensor, chosen: Surrogate, seeds: Sequence[int], passes: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Mistakes, passes and whether it converged, for each seed; all seeds side by side, each in its own order.

    Args:
        inputs: float64 [samples, features], the bias feature among them.
        targets: 0 or 1, float64 [samples].
        chosen: psi.
        seeds: of the order of the samples; the noise has one stream for all.
        passes: at most so many.
    """
    orders = [torch.Generator().manual_seed(seed) for seed in seeds]
    noise = torch.Generator().manual_seed(2**32 + seeds[0])  # not the state of any order
    weights = inputs.new_zeros(len(seeds), inputs.shape[1])
    mistakes, spent = torch.zeros(len(seeds), dtype=torch.int64), torch.zeros(len(seeds), dtype=torch.int64)
    converged = torch.zeros(len(seeds), dtype=torch.bool)
    for _ in range(passes):
        before = mistakes.clone()
        for chosen_samples in torch.stack([torch.randperm(len(inputs), generator=order) for order in orders], 1):
            x, y = inputs[chosen_samples], targets[chosen_samples]
            z = (weights * x).sum(1)
            error = y - (z > 0).double()
            wrong = (error != 0) & ~converged
            if wrong.any():
                weights[wrong] += (error * chosen(z, generator=noise))[wrong, None] * x[wrong]
                mistakes += wrong
        spent += ~converged
        converged |= mistakes == before
        if converged.all():
            break
    return mistakes, spent, converged
