"""The descent margin of one replaced activation: how unequal its factors may be before the step stops descending.

Replace the derivative phi' of ONE activation place by psi = t phi', with a factor t_i > 0 for each unit and sample.
Over the parameters P that the place's preactivation z depends on ("at and below" it), with g the true gradient,

    <g_P, g~_P> = B + sum_i t_i c_i,     c_i = r_i phi'(z_i) dz_i(g),

r the error dLoss/d(activation's output), dz(g) the tangent of z along g, and B the part of |g_P|^2 that reaches P on
paths around the place (0 in a chain). All t = 1 gives |g_P|^2 = B + sum c. With C+ and C- the sums of the positive
and of the negative parts of c, the least value over t in [1, kappa] is B + C+ - kappa C-, attained at t = 1 where
c >= 0 and t = kappa where c < 0: descent for every such t iff

    kappa < kappa* = (B + C+)/C- = 1 + |g_P|^2 / C-                                  (THEORY `descent-margin`).

Where B = 0 only the ratio of largest to smallest factor matters: [1, kappa] stands for every [m, kappa m].
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from numbers import Real
from typing import Literal

import torch
from torch import Tensor

from ...errors import Refused
from ...surrogates.surrogate import Surrogate
from .replay import Replay
from .walk.places import Place

Standing = Literal["inside", "outside", "undecided"]
Side = Literal["descends", "ascends", "undecided"]

_STANDINGS: Mapping[Side, Standing] = {"descends": "inside", "ascends": "outside", "undecided": "undecided"}


def signed_sums(contributions: Tensor) -> tuple[float, float]:
    """(C+, C-): the sums of the positive and of the negative parts of c, in float64, of any shape.

    >>> signed_sums(torch.tensor([3.0, -1.0]))
    (3.0, 1.0)
    """
    c = contributions.double()
    return float(c.clamp_min(0).sum()), -float(c.clamp_max(0).sum())


def margin_of(positive: float, negative: float, around: float = 0.0) -> float:
    """kappa* = (B + C+)/C-; ``inf`` where C- = 0: no factors turn the step.

    Args:
        positive: C+.
        negative: C-, as a number >= 0.
        around: B, the part of |g_P|^2 from paths around the place.

    >>> margin_of(3.0, 1.0)
    3.0
    """
    return (around + positive) / negative if negative > 0 else math.inf


@dataclass(frozen=True)
class Spread:
    """The factors psi/phi' that a surrogate has at one place on one batch, against the place's margin.

    Attributes:
        least: smallest psi/phi' over the entries with phi' != 0 (0 where psi vanishes there, negative where it turns).
        most: largest psi/phi' over them; ``inf`` where psi acts on an entry with phi' = 0.
        kappa: most/least; ``inf`` where least <= 0; ``None`` where no entry has phi' != 0.
        appeared: entries with phi' = 0 and psi != 0: they receive a gradient that the true one does not have.
        worst: least <g_P, g~_P> over all factors in [least, most]; ``None`` where entries appeared.
        inner: <g_P, g~_P> = B + sum_i r_i psi_i dz_i(g) of this surrogate itself, in place of phi' at this place
            alone; defined where phi' = 0, too.
        standing: ``inside``: every factor in [least, most] descends; ``outside``: some do not (this surrogate may
            still, see ``itself``); ``undecided``: within rounding, or entries appeared, or the margin is undefined.
        itself: what this surrogate does on this batch: ``descends`` where ``inner`` > 0, ``ascends`` where it is
            negative, ``undecided`` within rounding.
    """

    least: float | None
    most: float | None
    kappa: float | None
    appeared: int
    worst: float | None
    inner: float
    standing: Standing
    itself: Side


@dataclass(frozen=True)
class Margin:
    """The descent margin of one activation place.

    Attributes:
        place: module path and call index.
        kappa_star: the margin; ``inf`` where no factors ever turn the step; ``None`` where it is undefined.
        reason: why ``kappa_star`` is ``None``; empty where it is defined.
        positive: C+.
        negative: C-.
        around: B, from paths around the place (residual connections, shared parameters); 0 where there are none.
            With B != 0 the margin is for factors in [1, kappa], not for every scale of them.
        norm_squared: |g_P|^2.
        below: names of the parameters P, those that the place's preactivation depends on; frozen ones do not count.
        contributions: c, the shape of the place's output, in the model's dtype.
        preactivation: z, of the same shape.
        error: r, of the same shape.
        tangent: dz(g), of the same shape.
        rounding: how far ``positive - negative + around`` may be from ``norm_squared`` by rounding.
    """

    place: Place
    kappa_star: float | None
    reason: str
    positive: float
    negative: float
    around: float
    norm_squared: float
    below: tuple[str, ...]
    contributions: Tensor = field(repr=False)
    preactivation: Tensor = field(repr=False)
    error: Tensor = field(repr=False)
    tangent: Tensor = field(repr=False)
    rounding: float = field(repr=False)
    _again: Callable[[Mapping[str, Tensor], Callable[[Replay], bool]], Replay] = field(repr=False, compare=False)

    def factors(self, kappa: float | None = None) -> Tensor:
        """The worst factors with ratio ``kappa`` (``kappa_star`` if not given): kappa where c < 0, 1 elsewhere.

        They act where phi' != 0 alone: at phi' = 0 a factor changes nothing (THEORY `zero-sets`).

        Raises:
            ValueError: no ``kappa`` is given and ``kappa_star`` is infinite or undefined.
        """
        chosen = self.kappa_star if kappa is None else kappa
        if chosen is None or not math.isfinite(chosen):
            raise ValueError(
                f"{self.place}: kappa_star is {self.reason or 'inf'}, so no factors reach it; give a finite kappa."
            )
        return torch.ones_like(self.contributions).masked_fill_(self.contributions < 0, chosen)

    def replay(self, kappa: float | None = None) -> Replay:
        """Real backward passes under `factors`: at kappa_star <g_P, g~_P> is zero, beyond it a step raises the loss.

        They run in float64, on copies; in their own dtype, which ``Replay.dtype`` names, where the model or the loss
        cannot, or where float64 has another |g|^2 (a preactivation that is 0 in float32, at the kink of a ReLU, is not
        in float64): in float32 rounding may hide a rise of the loss.

        Args:
            kappa: ratio of the factors; ``kappa_star`` if not given.

        Raises:
            ValueError: no ``kappa`` is given and ``kappa_star`` is infinite or undefined.
            Refused: ``kappa`` is not a finite number >= 1; the model, or the batch, is no longer what it was.

        >>> model = torch.nn.Sequential(torch.nn.Linear(1, 1, bias=False), torch.nn.LeakyReLU(0.5)).double()
        >>> _ = torch.nn.init.ones_(model[0].weight)
        >>> batch = torch.tensor([[1.0], [-1.0]]).double(), torch.tensor([[-1.0], [-3.5]]).double()
        >>> from downslope import descent_margin
        >>> (margin,) = descent_margin(model, lambda a, y: ((a - y) ** 2).sum() / 2, batch)
        >>> beyond = margin.replay(1.01 * margin.kappa_star)
        >>> step, after = beyond.rise()
        >>> abs(margin.replay().inner) < 1e-12, beyond.inner < 0, after > beyond.loss
        (True, True, True)
        """

        if kappa is not None and not (isinstance(kappa, Real) and 1 <= kappa < math.inf):
            raise Refused(
                f"replay(kappa={kappa!r}): the largest over the smallest factor is a finite number >= 1; give one, as "
                f"replay(2.0), or none for kappa_star."
            )

        def alike(found: Replay) -> bool:
            return abs(found.norm_squared - self.norm_squared) <= self.rounding

        found = self._again({str(self.place): self.factors(kappa)}, alike)
        if not alike(found):
            raise Refused(
                f"{self.place}: |g|^2 is {found.norm_squared:.9g}, and was {self.norm_squared:.9g} when the margin was "
                f"taken: the model or the batch has changed since. Take the margin again."
            )
        return found

    def worst(self, least: float, most: float) -> float:
        """The least <g_P, g~_P> over all factors in [least, most]: B + least C+ - most C-."""
        return self.around + least * self.positive - (most * self.negative if self.negative else 0.0)

    def spread(self, surrogate: Surrogate, generator: torch.Generator | None = None) -> Spread:
        """The factors that ``surrogate`` has here on this batch (one draw where it is random)."""
        z = self.preactivation.double()
        true, psi = self.place.derivative(z), surrogate(z, generator=generator)
        acts = true != 0
        appeared = int((~acts & (psi != 0)).sum())
        terms = self.error.double() * psi * self.tangent.double()
        inner = self.around + float(terms.sum())
        itself = _sign(inner, self.rounding + self._relative * float(terms.abs().sum()))
        if not acts.any():
            return Spread(None, None, None, appeared, None, inner, "undecided", itself)
        t = psi[acts] / true[acts]
        least, most = float(t.min()), float(t.max()) if not appeared else math.inf
        kappa = most / least if least > 0 else math.inf
        if appeared or not math.isfinite(most):
            return Spread(least, most, kappa, appeared, None, inner, "undecided", itself)
        worst = self.worst(least, most)
        side = _sign(worst, self.rounding * max(abs(least), abs(most), 1.0))
        standing: Standing = "undecided" if self.reason else _STANDINGS[side]
        return Spread(least, most, kappa, 0, worst, inner, standing, itself)

    @property
    def _relative(self) -> float:
        """The rounding of a sum, relative to its terms' moduli."""
        moduli = self.positive + self.negative + self.norm_squared
        return self.rounding / moduli if moduli else 0.0


def _sign(value: float, doubt: float) -> Side:
    return "descends" if value > doubt else "ascends" if value < -doubt else "undecided"
