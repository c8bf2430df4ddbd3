"""Chapter `direction`, continued: the published propositions as they read, and where they end."""

from __future__ import annotations

from typing import Any

from ...claim import Claim, Scope, Verdict
from ...roads.game import Draw, Game
from .batch import mixing_excess
from .depth import both_gradients, one_two_one
from .direction import SOFTMAX_DIAGONAL
from .witnesses import DEPTH_FLIP_LEAKY, LEAKY_MIXING, SHARED_KERNEL, SOFTMAX

_ONE_LAYER = "one layer: a linear map, then an elementwise scaling"


# -------------------------------------------------------------------------------------------------- shared-weights
def _positions(draw: Draw) -> dict[str, Any]:
    return {"w": draw.real(), "slope": 1 / (1 + draw.real() ** 2), "x": draw.reals(2), "y": draw.reals(2)}


SHARED_WEIGHTS = Claim(
    id="shared-weights",
    title="A shared kernel keeps signs",
    statement="One sample, an elementwise activation nearest the loss, positive factors, a shared (convolution) "
    "kernel: every entry of the kernel's gradient keeps its sign.",
    latex=r"\Big(\sum_p \phi'(z_p) r_p x_p\Big)\Big(\sum_p \psi(z_p) r_p x_p\Big) > 0",
    expected=Verdict.REFUTED,
    source="ours, against Troiano et al. 2025, proposition 2",
    scope=Scope(network="a convolution nearest the loss", gradient="the kernel"),
    # Positions of one sample add up in the kernel's gradient exactly as samples do in a batch's.
    game=Game(_positions, mixing_excess),
    witnesses=(SHARED_KERNEL,),
)


# ------------------------------------------------------------------------------------------------------- troiano-1
def _flip_excess(stated: Any, **instance: Any) -> Any:
    true, surrogate = both_gradients(**instance)
    a, b = true[0][0][0], surrogate[0][0][0]
    return -(a * b) if a and b else None


TROIANO_1 = Claim(
    id="troiano-1",
    title="Proposition 1 as it reads",
    statement="The elementwise derivative only scales components, so replacing it by any positive factor keeps the "
    "direction of every weight update.",
    latex=r"\psi > 0 \implies \mathrm{sign}\,\tilde g = \mathrm{sign}\, g",
    expected=Verdict.REFUTED,
    source="Troiano et al. 2025, proposition 1; true in the scope of last-layer",
    scope=Scope(network="any", samples="any", gradient="every weight"),
    uses=("batch-mixing", "depth-entry-flip", "last-layer"),
    game=Game(one_two_one, _flip_excess),
    witnesses=(DEPTH_FLIP_LEAKY, LEAKY_MIXING),
)


# ------------------------------------------------------------------------------------------------------- troiano-2
TROIANO_2 = Claim(
    id="troiano-2",
    title="Proposition 2 as it reads",
    statement="The same for any layer that is a linear map followed by an elementwise scaling.",
    latex=r"\tilde g = \Lambda g,\ \Lambda > 0 \implies \mathrm{sign}\,\tilde g = \mathrm{sign}\, g",
    expected=Verdict.REFUTED,
    source="Troiano et al. 2025, proposition 2; refuted beyond elementwise layers and with weight sharing",
    scope=Scope(network=_ONE_LAYER, gradient="that layer's weights"),
    uses=("softmax", "shared-weights"),
    game=SOFTMAX_DIAGONAL.game,
    witnesses=(SOFTMAX, SHARED_KERNEL),
)
