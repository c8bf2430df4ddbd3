"""Several replaced layers at once: how unequal may all factors be? Certified from below, attacked from above.

Between the two bounds nothing is claimed. Below: backward CROWN at any depth, and with two activations the better of
it and the semidefinite bound, sample by sample. Above: a vertex of the box that the attack found, which a real
backward pass replays. Both carry their rounding, so certified <= attacked holds on every input.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal, overload

import torch
from torch import Tensor, nn

from ....errors import Refused
from ..replay import Replay, replay_precisely
from ..walk.inputs import Loss, whole_in_memory
from .attack import Factors, attack
from .chain import Chain, Slope
from .crown import crown
from .rounded import Rounded
from .semidefinite import Bilinear, bilinear, semidefinite
from .trace import trace

WIDEST = 1024
"""Most units of both layers together for which the semidefinite bound is computed (a dense matrix for each sample)."""

LIMIT = 1e6
"""Largest kappa that is tried: a certificate or an attack that would go beyond it stops there."""


@dataclass(frozen=True)
class Bounds:
    """The least <g, g~(t)> over every t in [1, kappa], enclosed.

    Attributes:
        kappa: the box is [1, kappa] for every factor of every activation.
        lower: certified: no factors in the box give less.
        upper: attained, up to rounding, by ``factors``.
        norm_squared: |g|^2 over the parameters that are counted, for scale.
        verdict: ``descends`` where lower > 0, ``ascends`` where upper < 0, else ``undecided``.
        factors: the attack's vertex, t by ``str(place)``, each 1 or kappa, of the activation's shape, float64.
    """

    kappa: float
    lower: float
    upper: float
    norm_squared: float
    factors: Mapping[str, Tensor] = field(repr=False)

    @property
    def verdict(self) -> Literal["descends", "ascends", "undecided"]:
        """What the two bounds say of the box."""
        return "descends" if self.lower > 0 else "ascends" if self.upper < 0 else "undecided"


@dataclass(frozen=True)
class Certificate:
    """Two bounds on the largest kappa for which every replacement in [1, kappa] descends.

    Attributes:
        certified: every replacement with factors in [1, certified] descends (at least this; `LIMIT` at most).
        attacked: some replacement with factors in [1, attacked] does not; ``inf`` where none was found up to `LIMIT`.
        below: the bounds at ``certified``.
        above: the bounds at ``attacked``, with the witness; ``None`` where ``attacked`` is ``inf``.
        method: ``crown``, or ``crown and semidefinite``.
        places: the activations replaced, from the lowest.
    """

    certified: float
    attacked: float
    below: Bounds
    above: Bounds | None
    method: str
    places: tuple[str, ...]
    _again: Callable[[Mapping[str, Tensor]], Replay] = field(repr=False, compare=False)

    def replay(self) -> Replay:
        """Real backward passes under the witness, ``above.factors``, in float64: their <g, g~> is negative.

        Where the model or the loss cannot run in float64 they run in their own dtype, which ``Replay.dtype`` names.

        Raises:
            ValueError: no witness was found: ``above`` is ``None``.
        """
        if self.above is None:
            raise ValueError(f"no replacement that ascends was found up to kappa {LIMIT:g}, so there is no witness.")
        return self._again(self.above.factors)


@overload
def certify(
    model: nn.Module,
    loss: Loss,
    batch: tuple[Any, Any],
    kappa: None = None,
    *,
    over: Iterable[str] | None = ...,
    restarts: int = ...,
    seed: int = ...,
    tolerance: float = ...,
) -> Certificate: ...
@overload
def certify(
    model: nn.Module,
    loss: Loss,
    batch: tuple[Any, Any],
    kappa: float,
    *,
    over: Iterable[str] | None = ...,
    restarts: int = ...,
    seed: int = ...,
    tolerance: float = ...,
) -> Bounds: ...
def certify(
    model: nn.Module,
    loss: Loss,
    batch: tuple[Any, Any],
    kappa: float | None = None,
    *,
    over: Iterable[str] | None = None,
    restarts: int = 8,
    seed: int = 0,
    tolerance: float = 1e-3,
) -> Certificate | Bounds:
    """Bounds on <g, g~> when the derivative of EVERY activation is replaced by t phi', each t in [1, kappa].

    Args:
        model: a chain of linear, convolution, batch norm, average-pool and flatten layers and elementwise activations,
            in evaluation mode; computed in float64 on the CPU whatever its dtype and device.
        loss: ``loss(model(inputs), targets)``, one number.
        batch: ``(inputs, targets)``.
        kappa: bound <g, g~> at this kappa; ``None`` searches for the largest certified and the least attacked kappa.
        over: names of the parameters that the inner product runs over; all trainable ones where ``None``.
        restarts: of the attack.
        seed: of its generator.
        tolerance: relative accuracy in kappa - 1 at which both searches stop.

    Raises:
        Refused: as `trace.trace`; kappa outside of [1, `LIMIT`], ``over`` that is no list of names or an empty one,
            restarts below 0, tolerance outside of (0, 1); a gradient that is zero or overflows; memory that runs out.

    The numbers of the backward pass (weights, activations, phi', the loss's error at the output, as float64) are
    taken as exact; all arithmetic on them is enclosed (`rounded`). The scale of the factors counts: layers near the
    loss are multiplied by fewer of them, so [1, kappa] does not stand for [m, m kappa], except over the parameters
    of the lowest layer alone. The cost of a bound at one kappa is that of two forward passes for every unit of every
    activation but the highest, for each sample; the search takes some ten.

    >>> import torch
    >>> _ = torch.manual_seed(0)
    >>> model = torch.nn.Sequential(torch.nn.Linear(3, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1))
    >>> batch = torch.randn(16, 3), torch.randn(16, 1)
    >>> bounds = certify(model, torch.nn.functional.mse_loss, batch, kappa=1.5)
    >>> bounds.verdict, 0 < bounds.lower <= bounds.upper
    ('descends', True)
    """
    names = _checked(kappa, over, restarts, seed, tolerance)
    with whole_in_memory("certify"):
        return _certified(model, loss, batch, kappa, names, restarts, seed, tolerance)


def _certified(
    model: nn.Module,
    loss: Loss,
    batch: tuple[Any, Any],
    kappa: float | None,
    names: frozenset[str] | None,
    restarts: int,
    seed: int,
    tolerance: float,
) -> Certificate | Bounds:
    chain = trace(model, loss, batch, names)
    if not math.isfinite(chain.norm_squared):
        raise Refused("certify(model=...): |g|^2 overflows float64, so no bound can be computed; scale the loss down.")
    if chain.norm_squared == 0:
        raise Refused(
            "certify(model=...): the true gradient is zero, so no step descends to first order: nothing to certify."
        )
    lower = lower_bound(chain)
    if kappa is not None:
        return _bounds(chain, kappa, lower, restarts, seed)
    return _search(chain, lower, restarts, seed, tolerance, partial(replay_precisely, model, loss, batch, names))


def _checked(kappa: Any, over: Any, restarts: Any, seed: Any, tolerance: Any) -> frozenset[str] | None:
    """The names in ``over``, once every argument but model, loss and batch is what it must be."""
    if kappa is not None and not (_number(kappa) and 1 <= kappa <= LIMIT):
        raise Refused(
            f"certify(kappa={kappa!r}): the ratio of the largest to the smallest factor is a number in [1, {LIMIT:g}]; "
            f"leave it out to search for the largest."
        )
    if isinstance(over, str):
        raise Refused(f"certify(over={over!r}): a list of names of parameters is needed; write over=[{over!r}].")
    names = None if over is None else frozenset(over)
    if names is not None and not names:
        raise Refused("certify(over=[]): no parameter is named, and over none there is no inner product.")
    if isinstance(restarts, bool) or not isinstance(restarts, int) or restarts < 0:
        raise Refused(f"certify(restarts={restarts!r}): a whole number, 0 or more, is needed.")
    if isinstance(seed, bool) or not isinstance(seed, int):
        raise Refused(f"certify(seed={seed!r}): a whole number is needed.")
    if not (_number(tolerance) and 0 < tolerance < 1):
        raise Refused(
            f"certify(tolerance={tolerance!r}): the accuracy, relative to kappa - 1, is a number between 0 and 1; at 1 "
            f"or more the search would stop before it starts, at kappa = 1."
        )
    return names


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def lower_bound(chain: Chain) -> Callable[[float], float]:
    """The best certified lower bound on <g, g~> as a function of kappa, each sample by its better method."""
    form: Bilinear | None = None
    if _two_layers(chain):
        form = bilinear(chain)

    def bound(kappa: float) -> float:
        parts = crown(chain, kappa)
        if form is not None:
            parts = torch.maximum(parts, semidefinite(form, kappa))
        return float(Rounded.exact(parts).total().low)

    return bound


def _two_layers(chain: Chain) -> bool:
    units = [step.derivative[0].numel() for step in chain.steps if isinstance(step, Slope)]
    return len(units) == 2 and sum(units) <= WIDEST


def _bounds(
    chain: Chain, kappa: float, lower: Callable[[float], float], restarts: int, seed: int, start: Factors | None = None
) -> Bounds:
    parts, vertex = attack(chain, kappa, restarts, seed, start)
    names = {position: step.place for position, step in enumerate(chain.steps) if isinstance(step, Slope)}
    return Bounds(
        kappa,
        lower(kappa),
        float(Rounded.exact(parts).total().high),
        chain.norm_squared,
        {names[position]: t for position, t in vertex.items()},
    )


def _search(
    chain: Chain,
    lower: Callable[[float], float],
    restarts: int,
    seed: int,
    tolerance: float,
    again: Callable[[Mapping[str, Tensor]], Replay],
) -> Certificate:
    best: Factors | None = None

    def survives(kappa: float) -> bool:
        nonlocal best
        parts, vertex = attack(chain, kappa, restarts, seed, best)
        if float(Rounded.exact(parts).total().high) >= 0:
            return True
        best = {position: t > 1 for position, t in vertex.items()}
        return False

    # The attack is cheap and comes first: no certificate lies beyond what it finds.
    _, attacked = _bisect(survives, math.inf, tolerance)
    certified, _ = _bisect(lambda kappa: lower(kappa) > 0, attacked, tolerance)
    places = tuple(step.place for step in chain.steps if isinstance(step, Slope))
    below = _bounds(chain, certified, lower, restarts, seed)
    above = None if math.isinf(attacked) else _bounds(chain, attacked, lower, restarts, seed, best)
    method = "crown and semidefinite" if _two_layers(chain) else "crown"
    return Certificate(certified, attacked, below, above, method, places, again)


def _bisect(holds: Callable[[float], bool], most: float, tolerance: float) -> tuple[float, float]:
    """(a kappa where ``holds``, or 1; one where it does not, or ``most``), by the logarithm of their excess over 1.

    They end within ``tolerance`` of one another, relative to the excess; (`LIMIT`, inf) where it holds throughout.
    """
    good, bad = 1.0, most
    if math.isinf(most):
        trial = 1.1
        while trial < LIMIT and holds(trial):
            good, trial = trial, 1 + 4 * (trial - 1)
        bad = min(trial, LIMIT)
        if bad == LIMIT and holds(LIMIT):
            return LIMIT, math.inf
    while bad - good > tolerance * (bad - 1) and bad - 1 > 1e-12:
        middle = 1 + math.sqrt((good - 1) * (bad - 1)) if good > 1 else 1 + (bad - 1) / 4
        if not good < middle < bad:  # neighbours among floating-point numbers
            break
        if holds(middle):
            good = middle
        else:
            bad = middle
    return good, bad
