"""A witness replayed: a real backward pass in which chosen activations multiply their upstream gradient by factors.

psi = t phi' at an activation is the exact backward with the error at the activation's output multiplied by t, so a
replay needs no formula of the activation: it checks a margin against torch's own autograd, and the sign of
<g_P, g~_P> against the loss after a real step.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from ...errors import Refused
from ..inputs import scalar
from .walk.inputs import Loss, check, double, run, whole_in_memory
from .walk.places import Place, visiting


@dataclass(frozen=True)
class Replay:
    """The surrogate gradient under given factors, against the true one, over chosen parameters P.

    Attributes:
        inner: <g_P, g~_P>, summed in float64.
        norm_squared: |g_P|^2.
        surrogate_norm_squared: |g~_P|^2.
        loss: before any step.
        dtype: of the loss, in which the passes ran.
        surrogate: g~_P by parameter name.
    """

    inner: float
    norm_squared: float
    surrogate_norm_squared: float
    loss: float
    dtype: torch.dtype
    surrogate: Mapping[str, Tensor] = field(repr=False)
    _size: float = field(repr=False)
    _evaluate: Callable[[Mapping[str, Tensor]], float] = field(repr=False)

    def loss_after(self, step: float) -> float:
        """The loss at theta_P - step g~_P, every other parameter as it is."""
        return self._evaluate({name: -step * g for name, g in self.surrogate.items()})

    def rise(self) -> tuple[float, float] | None:
        """(step, the loss after it) of a step along -g~_P that raises the loss as <g_P, g~_P> < 0 says it must.

        To first order the loss changes by -step <g_P, g~_P>; too long a step raises it whatever the direction, and one
        too short is lost in rounding. The step is the longest, of one that moves P by its own norm and its quarters,
        after which the loss has risen by what the first order says, to a factor of 2, and by more than its rounding;
        ``None`` where there is none: always where the inner product is not negative.
        """
        step = self._size / math.sqrt(self.surrogate_norm_squared) if self.surrogate_norm_squared else 0.0
        rounding = 64 * torch.finfo(self.dtype).eps * abs(self.loss)
        while (expected := -step * self.inner) > rounding:
            after = self.loss_after(step)
            if max(expected / 2, rounding) < after - self.loss < 2 * expected:
                return step, after
            step /= 4
        return None


def replay(
    model: nn.Module,
    loss: Loss,
    batch: tuple[Any, Any],
    factors: Mapping[str, Tensor],
    over: Iterable[str] | None = None,
    *,
    precise: bool = False,
) -> Replay:
    """<g_P, g~_P> by two real backward passes, one with ``factors``.

    Args:
        model: as in `descent_margin`.
        loss: ``loss(model(inputs), targets)``.
        batch: ``(inputs, targets)``.
        factors: t by ``str(place)``, each of the shape of the activation's output; every other activation keeps
            its own derivative. `Margin.factors` and `Bounds.factors` give them.
        over: names of the parameters P; all trainable ones where ``None``.
        precise: in float64, on copies of the parameters, buffers and batch.

    Raises:
        Refused: bad input, or a name in ``factors`` or ``over`` that the model does not have.
    """
    inputs, targets = check(model, batch, "replay")
    if precise:
        inputs, targets = double((inputs, targets))
        loss = copy.deepcopy(loss).double() if isinstance(loss, nn.Module) else loss
    kept: Callable[[Tensor], Tensor] = double if precise else lambda tensor: tensor
    parameters = {n: kept(p.detach()).requires_grad_(p.requires_grad) for n, p in model.named_parameters()}
    state = parameters | {name: kept(buffer) for name, buffer in model.named_buffers()}
    named = {name: p for name, p in parameters.items() if p.requires_grad}
    chosen = list(named) if over is None else list(over)
    if unknown := sorted(set(chosen) - set(named)):
        raise Refused(f"replay(over={unknown}): no trainable parameter of the model; they are {', '.join(named)}.")
    used: set[str] = set()

    def value(at: Mapping[str, Tensor]) -> Tensor:
        output = run(lambda *args, **kwargs: torch.func.functional_call(model, dict(at), args, kwargs), inputs)
        return loss(output, targets)

    def scaled(place: Place, z: Tensor, compute: Callable[[], Tensor]) -> Tensor:
        output = compute()
        found = factors.get(str(place))
        if found is not None:
            used.add(str(place))
            factor = found.to(output)  # a certificate's factors are on the CPU, in float64
            if output.requires_grad:
                output.register_hook(lambda error: error * factor)  # type: ignore[no-untyped-call]
        return output

    def gradient(visit: Callable[[Place, Tensor, Callable[[], Tensor]], Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        with torch.enable_grad(), visiting(model, visit):
            found = scalar(value(state), "replay")
        parts: tuple[Tensor | None, ...] = torch.autograd.grad(found, [named[n] for n in chosen], allow_unused=True)
        zeros = (torch.zeros_like(named[name]) if g is None else g for name, g in zip(chosen, parts, strict=True))
        return found.detach(), dict(zip(chosen, zeros, strict=True))

    def evaluate(moves: Mapping[str, Tensor]) -> float:
        with torch.no_grad():
            return float(value(state | {name: named[name].detach() + move for name, move in moves.items()}))

    with whole_in_memory("replay"):
        before, true = gradient(lambda place, z, compute: compute())
        _, surrogate = gradient(scaled)
    if missing := sorted(set(factors) - used):
        raise Refused(f"replay(factors={missing}): the model has no such activation place.")
    pairs = [(true[name].double().flatten(), surrogate[name].double().flatten()) for name in chosen]
    return Replay(
        inner=sum(float(a @ b) for a, b in pairs),
        norm_squared=sum(float(a @ a) for a, _ in pairs),
        surrogate_norm_squared=sum(float(b @ b) for _, b in pairs),
        loss=float(before),
        dtype=before.dtype,
        surrogate=surrogate,
        _size=math.sqrt(
            sum(float(torch.linalg.vector_norm(named[name].detach(), dtype=torch.float64)) ** 2 for name in chosen)
        ),
        _evaluate=evaluate,
    )


def replay_precisely(
    model: nn.Module,
    loss: Loss,
    batch: tuple[Any, Any],
    over: Iterable[str] | None,
    factors: Mapping[str, Tensor],
    alike: Callable[[Replay], bool] = lambda found: True,
) -> Replay:
    """`replay` in float64; in the model's own dtype where its forward or its loss cannot run in another.

    In its own dtype, too, where what float64 gives is not ``alike`` what was measured: a preactivation that rounds to
    0 is not 0 in float64, so at a kink the two dtypes have different derivatives.
    """
    try:
        found = replay(model, loss, batch, factors, over, precise=True)
    except RuntimeError:  # a tensor that the code makes itself, or holds outside of its buffers, is of its own dtype
        return replay(model, loss, batch, factors, over)
    return found if alike(found) else replay(model, loss, batch, factors, over)
