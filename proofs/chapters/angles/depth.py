"""Chapter `depth`: what positive factors above do to the layers below, one sample."""

from __future__ import annotations

from typing import Any

from ...claim import Claim, Scope, Verdict
from ...roads import network as net
from ...roads.game import Draw, Game, fails_strictly
from .witnesses import DEPTH_ASCENT_LEAKY, DEPTH_ASCENT_RELU, DEPTH_FLIP_LEAKY, DEPTH_FLIP_RELU


def one_two_one(draw: Draw) -> dict[str, Any]:
    """A net 1-2-1 with a leaky hidden layer and one sample."""
    return {
        "w": draw.real(),
        "u": draw.reals(2),
        "v": draw.reals(2),
        "slope": 1 / (1 + draw.real() ** 2),
        "x": draw.real(),
        "y": draw.real(),
    }


def both_gradients(w: Any, u: list[Any], v: list[Any], slope: Any, x: Any, y: Any) -> tuple[Any, Any]:
    """The net's true gradient and its gradient under const-1, by the plain backward pass."""
    leaky = net.Activate("leaky_relu", {"slope": slope})
    network = (net.Linear([[w]]), net.Linear([[a] for a in u]), leaky, net.Linear([v]))
    loss = net.Loss("squared", [[y]])
    true = net.gradient(network, [[x]], loss)
    return true, net.gradient(network, [[x]], loss, net.backward_factor("constant", {}))


# ------------------------------------------------------------------------------------------------ depth-entry-flip
def _entry_excess(stated: Any, **instance: Any) -> Any:
    true, surrogate = both_gradients(**instance)
    a, b = true[0][0][0], surrogate[0][0][0]
    return None if a == 0 and b == 0 else fails_strictly(a * b)


DEPTH_ENTRY_FLIP = Claim(
    id="depth-entry-flip",
    title="Depth keeps signs",
    statement="One sample, positive factors above: a lower layer's gradient keeps its signs.",
    latex=r"\mathrm{sign}\,\partial\tilde L/\partial w = \mathrm{sign}\,\partial L/\partial w",
    expected=Verdict.REFUTED,
    source="ours, against Troiano et al. 2025, proposition 1",
    scope=Scope(network="net 1-2-1", gradient="the layer below"),
    game=Game(one_two_one, _entry_excess),
    witnesses=(DEPTH_FLIP_LEAKY, DEPTH_FLIP_RELU),
)


# ---------------------------------------------------------------------------------------------- depth-whole-ascent
def _whole_excess(stated: Any, **instance: Any) -> Any:
    true, surrogate = both_gradients(**instance)
    return fails_strictly(net.inner(true, surrogate)) if net.inner(true, true) else None


DEPTH_WHOLE_ASCENT = Claim(
    id="depth-whole-ascent",
    title="Depth keeps descent of the whole gradient",
    statement="One sample, positive factors: the whole gradient stays a descent direction.",
    latex=r"\langle g, \tilde g\rangle > 0",
    expected=Verdict.REFUTED,
    source="ours, against Troiano et al. 2025, proposition 1",
    scope=Scope(network="net 1-2-1", gradient="the whole gradient"),
    game=Game(one_two_one, _whole_excess),
    witnesses=(DEPTH_ASCENT_LEAKY, DEPTH_ASCENT_RELU),
)
