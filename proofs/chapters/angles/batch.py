"""Chapter `batch`: what happens once the gradients of several samples are summed."""

from __future__ import annotations

from typing import Any

from ...claim import Claim, Scope, Verdict
from ...roads import network as net
from ...roads.game import Draw, Game, fails_strictly
from .witnesses import LEAKY_MIXING, LOGISTIC_MIXING, RELU_MIXING


# ---------------------------------------------------------------------------------------------------- batch-mixing
def _one_weight(draw: Draw) -> dict[str, Any]:
    return {"w": draw.real(), "slope": 1 / (1 + draw.real() ** 2), "x": draw.reals(2), "y": draw.reals(2)}


def mixing_excess(stated: Any, w: Any, slope: Any, x: list[Any], y: list[Any]) -> Any:
    """One unit, leaky slope over const-1: the excess of <g, g~> > 0, by the plain backward pass."""
    network = (net.Linear([[w]]), net.Activate("leaky_relu", {"slope": slope}))
    loss, inputs = net.Loss("squared", [[t] for t in y]), [[a] for a in x]
    true = net.gradient(network, inputs, loss)
    surrogate = net.gradient(network, inputs, loss, net.backward_factor("constant", {}))
    return fails_strictly(net.inner(true, surrogate)) if true[0][0][0] else None


BATCH_MIXING = Claim(
    id="batch-mixing",
    title="A batch keeps descent",
    statement="One unit, one layer, positive factors: the gradient of a batch stays a descent direction.",
    latex=r"\Big\langle \sum_k \phi'(z_k) r_k x_k, \sum_k \psi(z_k) r_k x_k\Big\rangle > 0",
    expected=Verdict.REFUTED,
    source="ours, against Troiano et al. 2025, proposition 1",
    scope=Scope(network="one unit", samples="two or more", gradient="the unit's weight"),
    game=Game(_one_weight, mixing_excess),
    witnesses=(LEAKY_MIXING, RELU_MIXING, LOGISTIC_MIXING),
)
