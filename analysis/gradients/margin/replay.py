"""A witness replayed: a real backward pass in which chosen activations multiply their upstream gradient by factors.

psi = t phi' at an activation is the exact backward with the error at the activation's output multiplied by t, so a
replay needs no formula of the activation: it checks a margin against torch's own autograd.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from ...errors import Refused
from ..inputs import scalar
from .walk.inputs import Loss, check, run
from .walk.places import Place, visiting


@dataclass(frozen=True)
class Replay:
    """The surrogate gradient under given factors, against the true one, over chosen parameters P.

    Attributes:
        inner: <g_P, g~_P>, summed in float64.
        norm_squared: |g_P|^2.
        surrogate_norm_squared: |g~_P|^2.
        loss: before any step.
        surrogate: g~_P by parameter name.
    """

    inner: float
    norm_squared: float
    surrogate_norm_squared: float
    loss: float
    surrogate: Mapping[str, Tensor] = field(repr=False)
    _evaluate: Callable[[Mapping[str, Tensor]], float] = field(repr=False)

    def loss_after(self, step: float) -> float:
        """The loss at theta_P - step g~_P, every other parameter as it is."""
        return self._evaluate({name: -step * g for name, g in self.surrogate.items()})


def replay(
    model: nn.Module,
    loss: Loss,
    batch: tuple[Any, Any],
    factors: Mapping[str, Tensor],
    over: Iterable[str] | None = None,
) -> Replay:
    """<g_P, g~_P> by two real backward passes, one with ``factors``.

    Args:
        model: as in `descent_margin`.
        loss: ``loss(model(inputs), targets)``.
        batch: ``(inputs, targets)``.
        factors: t by ``str(place)``, each of the shape of the activation's output; every other activation keeps
            its own derivative. `Margin.factors` and `Certificate.factors` give them.
        over: names of the parameters P; all trainable ones where ``None``.

    Raises:
        Refused: bad input, or a name in ``factors`` or ``over`` that the model does not have.
    """
    inputs, targets = check(model, batch, "replay")
    named = {name: p for name, p in model.named_parameters() if p.requires_grad}
    chosen = list(named) if over is None else list(over)
    if unknown := sorted(set(chosen) - set(named)):
        raise Refused(f"replay(over={unknown}): no trainable parameter of the model; they are {', '.join(named)}.")
    used: set[str] = set()

    def scaled(place: Place, z: Tensor, compute: Callable[[], Tensor]) -> Tensor:
        output = compute()
        factor = factors.get(str(place))
        if factor is not None:
            used.add(str(place))
            if output.requires_grad:
                output.register_hook(lambda error: error * factor)  # type: ignore[no-untyped-call]
        return output

    def gradient(visit: Callable[[Place, Tensor, Callable[[], Tensor]], Tensor]) -> tuple[float, dict[str, Tensor]]:
        with torch.enable_grad(), visiting(model, visit):
            value = scalar(loss(run(model, inputs), targets), "replay")
        found: tuple[Tensor | None, ...] = torch.autograd.grad(
            value, [named[name] for name in chosen], allow_unused=True
        )
        zeros = (torch.zeros_like(named[name]) if g is None else g for name, g in zip(chosen, found, strict=True))
        return float(value.detach()), dict(zip(chosen, zeros, strict=True))

    def evaluate(moves: Mapping[str, Tensor]) -> float:
        moved = {name: named[name].detach() + move for name, move in moves.items()}
        with torch.no_grad():
            output = run(lambda *args: torch.func.functional_call(model, moved, args), inputs)
            return float(loss(output, targets))

    value, true = gradient(lambda place, z, compute: compute())
    _, surrogate = gradient(scaled)
    if missing := sorted(set(factors) - used):
        raise Refused(f"replay(factors={missing}): the model has no such activation place.")
    pairs = [(true[name].double().flatten(), surrogate[name].double().flatten()) for name in chosen]
    return Replay(
        inner=sum(float(a @ b) for a, b in pairs),
        norm_squared=sum(float(a @ a) for a, _ in pairs),
        surrogate_norm_squared=sum(float(b @ b) for _, b in pairs),
        loss=value,
        surrogate=surrogate,
        _evaluate=evaluate,
    )
