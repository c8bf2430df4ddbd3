"""One backward and one forward-mode pass: at every activation place, c = (error at its output) (tangent of its output).

The backward gives g and, at each place, the error r at the activation's output. The forward-mode pass along g gives
the tangent da(g) = phi'(z) dz(g) of each activation's output; as nothing above a place enters its tangent, ONE pass
along the whole of g serves all places, each with its own parameters.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.autograd.forward_ad as forward_ad
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge, get_gradient_edge

from ...errors import Refused
from ..inputs import scalar
from .walk.forward_mode import apart, comparable, dual
from .walk.inputs import Loss, culprit, no_step, run
from .walk.places import Place, visiting
from .walk.reuse import Known, Recall, Remember


@dataclass
class Visited:
    """What the two passes leave at one place; the later fields are filled in as the passes go.

    Attributes:
        place: module path, call, activation.
        preactivation: z, as it was when the call was made.
        edge: of the activation's output in the autograd graph; ``None`` where no trainable parameter leads to it.
        error: r; ``None`` where the loss does not depend on the place.
        tangent: dz(g); ``None`` where no parameter that takes a step leads to it.
        contributions: c; ``None`` where the tangent or the error is.
    """

    place: Place
    preactivation: Tensor
    edge: GradientEdge | None
    error: Tensor | None = None
    tangent: Tensor | None = None
    contributions: Tensor | None = None


@dataclass(frozen=True)
class Passes:
    """Both passes of one model on one batch.

    Attributes:
        value: the loss, on its graph.
        visited: the places, in the order of the forward pass.
        gradients: g by parameter name, where the loss depends on the parameter.
        again: the loss of the second forward pass.
        tangent: of the loss along g, which is |g|^2.
    """

    value: Tensor
    visited: tuple[Visited, ...]
    gradients: Mapping[str, Tensor]
    again: float
    tangent: float


def take(model: nn.Module, loss: Loss, inputs: Any, targets: Any) -> Passes:
    """Both passes.

    Raises:
        Refused: no activation of the catalogue, or one that is flat; a loss that is not one finite number or depends on
            no parameter; places that differ between the passes; an operation without a forward-mode derivative.
    """
    named = {name: p for name, p in model.named_parameters() if p.requires_grad}
    visited: list[Visited] = []
    with comparable(model):
        with torch.enable_grad():
            with Remember() as first, visiting(model, lambda *call: _record(visited, *call)):
                output = run(model, inputs)
            value = scalar(loss(output, targets), "descent_margin")
        if not visited:
            raise Refused(
                "descent_margin(model=...): it calls no activation of the catalogue (downslope.ACTIVATIONS), so there "
                "is nothing to replace."
            )
        if value.grad_fn is None:
            raise Refused("descent_margin(loss=...): it does not depend on any trainable parameter of the model.")
        gradients = _backward(value, named, visited)
        again, tangent = _tangents(model, loss, inputs, targets, gradients, visited, first.known)
    return Passes(value, tuple(visited), gradients, again, tangent)


def _record(visited: list[Visited], place: Place, z: Tensor, compute: Callable[[], Tensor]) -> Tensor:
    if z.requires_grad:  # a step on the data alone, as when inputs are made binary, turns no gradient
        no_step(place, "descent_margin")
    before = z.detach().clone()  # the call, or a later one, may overwrite it
    output = compute()
    # The edge, not the tensor: a later in-place operation on the output must not move the place.
    visited.append(Visited(place, before, get_gradient_edge(output) if output.requires_grad else None))
    return output


def _backward(value: Tensor, named: Mapping[str, Tensor], visited: list[Visited]) -> dict[str, Tensor]:
    """One backward pass: the gradients that there are, by name; fills in the error at each place's output."""
    reached = [v for v in visited if v.edge is not None]
    targets: Any = [*named.values(), *(v.edge for v in reached)]
    found: tuple[Tensor | None, ...] = torch.autograd.grad(value, targets, allow_unused=True)
    for v, error in zip(reached, found[len(named) :], strict=True):
        v.error = error
    pairs = zip(named, found, strict=False)
    return {name: gradient for name, gradient in pairs if gradient is not None}


def _tangents(
    model: nn.Module,
    loss: Loss,
    inputs: Any,
    targets: Any,
    gradients: Mapping[str, Tensor],
    visited: list[Visited],
    known: list[Known],
) -> tuple[float, float]:
    """One forward-mode pass along g: fills in each place's contributions; gives the loss and its tangent."""
    again = iter(visited)

    def multiply(place: Place, z: Tensor, compute: Callable[[], Tensor]) -> Tensor:
        _, below = apart(z)
        below = None if below is None else below.clone()  # the call, or a later one, may overwrite it
        output = compute()
        _, tangent = apart(output)
        v = next(again, None)
        if v is None or v.place != place:
            raise Refused(
                f"descent_margin(model=...): its second forward pass calls {place} where its first did not; a margin "
                f"needs a forward pass that repeats itself."
            )
        if v.error is not None and tangent is not None:
            v.contributions, v.tangent = v.error * tangent, below
        return output

    with torch.no_grad(), forward_ad.dual_level(), Recall(known), visiting(model, multiply):
        duals = {name: dual(p.detach(), gradients[name]) for name, p in model.named_parameters() if name in gradients}
        try:
            output = run(lambda *a, **k: torch.func.functional_call(model, duals, a, k), inputs)
            value, tangent = apart(loss(output, targets))
        except NotImplementedError as error:
            where = culprit(model, error) or "the loss, or the model outside of its modules,"
            raise Refused(
                f"descent_margin(model=...): {where} calls an operation that has no forward-mode derivative, which a "
                f"margin needs: {str(error).splitlines()[0]}"
            ) from error
    return float(value), 0.0 if tangent is None else float(tangent)
