"""Every place's descent margin by one backward and one forward-mode pass.

The backward gives g and, at each place, the error r at the activation's output. The forward-mode pass along g gives
the tangent da(g) = phi'(z) dz(g) of each activation's output; as nothing above a place enters its tangent, ONE pass
along the whole of g serves all places, each with its own parameters P. Then c = r da(g). Which parameters a place
depends on, and whether a path leads around it, is read from the autograd graph.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.autograd.forward_ad as forward_ad
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge, get_gradient_edge

from ...errors import Refused
from ..inputs import scalar
from .margin import Margin, margin_of, signed_sums
from .walk.graph import below
from .walk.inputs import Loss, check, run
from .walk.places import Place, visiting
from .walk.reuse import Known, Recall, Remember, apart, differentiable, dual, prepare


@dataclass(frozen=True)
class DescentMargins:
    """The margins of a model's activation places on one batch, in the order of the forward pass.

    Attributes:
        margins: one for each place; iterate over this object, or index it by position or by ``str(place)``.
        loss: the loss's value.
        frozen: names of the parameters with ``requires_grad=False``; they take no step and do not count.
        unused: names of the trainable parameters that the loss does not depend on; their gradient is zero.
        unreached: paths of the modules whose own activations no torch call shows (fused recurrent layers, TorchScript):
            they keep their derivatives and have no margin here.
    """

    margins: tuple[Margin, ...]
    loss: float
    frozen: tuple[str, ...]
    unused: tuple[str, ...]
    unreached: tuple[str, ...]

    def __iter__(self) -> Iterator[Margin]:
        return iter(self.margins)

    def __len__(self) -> int:
        return len(self.margins)

    def __getitem__(self, key: int | str) -> Margin:
        if isinstance(key, int):
            return self.margins[key]
        for margin in self.margins:
            if str(margin.place) == key:
                return margin
        raise KeyError(f"{key!r} is no place; the places are {', '.join(str(m.place) for m in self.margins)}")


@dataclass
class _Visited:
    place: Place
    preactivation: Tensor
    edge: GradientEdge | None
    error: Tensor | None = None
    contributions: Tensor | None = None


def descent_margin(model: nn.Module, loss: Loss, batch: tuple[Any, Any]) -> DescentMargins:
    """kappa* of each activation place: how unequal its factors may be while the step still descends.

    Args:
        model: any module; its activations are found by the torch calls that it makes (``Activation.operations``).
        loss: ``loss(model(inputs), targets)``, one number.
        batch: ``(inputs, targets)``; a tuple of inputs is passed on as positional arguments.

    Returns:
        One `Margin` for each place, with its worst-case factors as a witness. Sums run in float64; the passes run in
        the model's own dtype, so kappa* is as accurate as its gradients are. Where no path leads around a place,
        sum(c) = |g_P|^2 is checked, and for the whole model that the loss's tangent along g is |g|^2, to `tolerance`.

    Raises:
        Refused: bad input (`inputs.check`), no activation of the catalogue, a loss that is not one finite number or
            that differs between two passes, an operation without a forward-mode derivative, or a failed check.
    """
    inputs, targets = check(model, batch, "descent_margin")
    named = {name: p for name, p in model.named_parameters() if p.requires_grad}
    visited: list[_Visited] = []
    with (
        torch.enable_grad(),
        differentiable(),
        Remember() as first,
        visiting(model, lambda *call: _record(visited, *call)),
    ):
        output = run(model, inputs)
    value = scalar(loss(output, targets), "descent_margin")
    if not visited:
        raise Refused(
            "descent_margin(model=...): it calls no activation of the catalogue (downslope.ACTIVATIONS), so there is "
            "nothing to replace."
        )
    if value.grad_fn is None:
        raise Refused("descent_margin(loss=...): it does not depend on any trainable parameter of the model.")
    gradients = _backward(value, named, visited)
    norms = {name: float(torch.linalg.vector_norm(g, dtype=torch.float64)) ** 2 for name, g in gradients.items()}
    again, tangent = _tangents(model, loss, (inputs, targets), gradients, visited, first.known)
    reached = below(value.grad_fn, [v.edge.node if v.edge else None for v in visited], named)
    margins = tuple(
        _margin(v, names, around, sum(norms.get(name, 0.0) for name in names), tolerance(value.dtype))
        for v, (names, around) in zip(visited, reached, strict=True)
    )
    _agree("the loss of a second forward pass", again, float(value.detach()), 0.0, value.dtype)
    moduli = max(margin.positive + margin.negative for margin in margins)
    _agree("the loss's tangent along g", tangent, sum(norms.values()), moduli, value.dtype)
    frozen = tuple(name for name, p in model.named_parameters() if not p.requires_grad)
    unused = tuple(name for name in named if name not in gradients)
    fused = nn.RNNBase | nn.RNNCellBase | torch.jit.ScriptModule
    unreached = tuple(path for path, module in model.named_modules() if isinstance(module, fused))
    return DescentMargins(margins, float(value.detach()), frozen, unused, unreached)


def tolerance(dtype: torch.dtype) -> float:
    """Largest accepted error of a checked sum, relative to its terms' moduli: 1024 epsilons of the model's dtype."""
    return 1024 * torch.finfo(dtype).eps


def _record(visited: list[_Visited], place: Place, z: Tensor, compute: Callable[[], Tensor]) -> Tensor:
    before = z.detach().clone()  # the call, or a later one, may overwrite it
    output = compute()
    # The edge, not the tensor: a later in-place operation on the output must not move the place.
    visited.append(_Visited(place, before, get_gradient_edge(output) if output.requires_grad else None))
    return output


def _backward(value: Tensor, named: Mapping[str, Tensor], visited: list[_Visited]) -> dict[str, Tensor]:
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
    batch: tuple[Any, Any],
    gradients: Mapping[str, Tensor],
    visited: list[_Visited],
    known: list[Known],
) -> tuple[float, float]:
    """One forward-mode pass along g: fills in each place's contributions; gives the loss and its tangent."""
    prepare()
    again = iter(visited)

    def multiply(place: Place, z: Tensor, compute: Callable[[], Tensor]) -> Tensor:
        output = compute()
        _, tangent = apart(output)
        v = next(again, None)
        if v is None or v.place != place:
            raise Refused(
                f"descent_margin(model=...): its second forward pass calls {place} where its first did not; a margin "
                f"needs a forward pass that repeats itself."
            )
        if v.error is not None and tangent is not None:
            v.contributions = v.error * tangent
        return output

    inputs, targets = batch
    with torch.no_grad(), forward_ad.dual_level(), differentiable(), Recall(known), visiting(model, multiply):
        duals = {name: dual(p.detach(), gradients[name]) for name, p in model.named_parameters() if name in gradients}
        try:
            output = run(lambda *args: torch.func.functional_call(model, duals, args), inputs)
            value, tangent = apart(loss(output, targets))
        except NotImplementedError as error:
            raise Refused(
                f"descent_margin(model=...): an operation of it or of the loss has no forward-mode derivative: {error}"
            ) from error
    return float(value), 0.0 if tangent is None else float(tangent)


def _margin(v: _Visited, names: tuple[str, ...], around: bool, norm_squared: float, relative: float) -> Margin:
    c = torch.zeros_like(v.preactivation) if v.contributions is None else v.contributions
    positive, negative = signed_sums(c)
    rounding = relative * (positive + negative + norm_squared)
    rest = norm_squared - (positive - negative) if around else 0.0
    reason = ""
    if not names:
        reason = "no trainable parameter that the loss depends on lies below it"
    elif v.error is None:
        reason = "the loss does not depend on it"
    elif norm_squared == 0:
        reason = "the true gradient of the parameters below it is zero"
    elif not around and abs(positive - negative - norm_squared) > rounding:
        raise Refused(
            f"descent_margin(model=...): at {v.place} the contributions sum to {positive - negative:.9g}, but |g|^2 of "
            f"the parameters below it is {norm_squared:.9g}. The forward pass is random (dropout?), its backward is "
            f"not the derivative of its forward, or its dtype is too coarse; try model.double()."
        )
    kappa_star = None if reason else margin_of(positive, negative, rest)
    return Margin(
        v.place, kappa_star, reason, positive, negative, rest, norm_squared, names, c, v.preactivation, rounding
    )


def _agree(what: str, found: float, expected: float, moduli: float, dtype: torch.dtype) -> None:
    if not abs(found - expected) <= tolerance(dtype) * (moduli + abs(found) + abs(expected)):
        raise Refused(
            f"descent_margin(model=...): {what} is {found:.9g}, not {expected:.9g}. The forward pass is random "
            f"(dropout?), or its backward is not the derivative of its forward; a margin needs the true gradient."
        )
