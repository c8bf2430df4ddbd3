"""The gradient of the expected loss under noise: every pattern of the step units, or antithetic Monte Carlo.

`Smoothed` and `Expected` mean one gradient, that of J = E[loss], h_i ~ Bernoulli(Phi(z_i / sigma)) (see `noisy`), whose
entries are dJ/dW_ij = E[p_sigma(z_i) h_j (E[loss | h_i = 1] - E[loss | h_i = 0])], p_sigma the density of N(0, sigma^2)
(THEORY `expected-gradient`). The first is exact or refused, the second may be estimated, and then says how well.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ...errors import Refused
from ..deviation import Deviation, deviation
from ..measuring.setting import Gradients
from ..measuring.taking import Native
from ..untie.function import mix
from .errors import Groups
from .noisy import Noisy
from .reference import Judge, Numbers, added, labelled, positive, undirected, whole

MOST = 16
"""Step units per sample beyond which their patterns are not enumerated on any account: 65536 runs of the model."""


@dataclass(frozen=True)
class Smoothed:
    """The exact gradient of the loss smoothed by Gaussian noise at every step unit's preactivation, by enumeration.

    Attributes:
        sigma: standard deviation of the noise, in the units of the preactivations.

    Raises:
        Refused: sigma is no finite number above 0; when prepared: a sample has more than 16 step units.
    """

    sigma: float = 1.0

    def __post_init__(self) -> None:
        positive("Smoothed", "sigma", self.sigma)

    @property
    def label(self) -> str:
        """As in the tables."""
        return labelled("smoothed", self)

    def prepare(self, native: Native) -> Judge:
        """Runs the model once for each pattern."""
        noisy = Noisy.of(native, self.sigma, self.label)
        if noisy.units > MOST:
            raise Refused(
                f"{native.setting.caller}(reference={self.label!r}): {noisy.units} step units have 2^{noisy.units} "
                f"patterns, and at most 2^{MOST} are enumerated; use reference='expected', which estimates it and "
                f"gives the standard error."
            )
        return enumerated(noisy)


@dataclass(frozen=True)
class Expected:
    """The same gradient, enumerated where a sample has few step units, else estimated with its standard error.

    The estimate is by antithetic pairs (Dong, Mnih and Tucker 2020, DisARM, for any threshold noise): at one call a
    uniform number is replaced by its complement, and the difference of the two losses is credited to the units that
    differ. It is unbiased. Each sample of it runs the model once for each call of step units, and once more; 20 group
    means of the gradient's size are held for the error.

    Attributes:
        sigma: standard deviation of the noise, in the units of the preactivations.
        samples: how many antithetic samples; at least 2.
        enumerate: up to how many step units per sample all patterns are run instead; at most 16.
        seed: of the noise.

    Raises:
        Refused: one of them is out of its range.
    """

    sigma: float = 1.0
    samples: int = 256
    enumerate: int = 8
    seed: int = 0

    def __post_init__(self) -> None:
        positive("Expected", "sigma", self.sigma)
        whole("Expected", "samples", self.samples, 2)
        whole("Expected", "enumerate", self.enumerate, 0)
        whole("Expected", "seed", self.seed, 0)
        if self.enumerate > MOST:
            raise Refused(f"Expected(enumerate={self.enumerate}): at most {MOST} units, 2^{MOST} patterns.")

    @property
    def label(self) -> str:
        """As in the tables."""
        return labelled("expected", self)

    def prepare(self, native: Native) -> Judge:
        """Enumerates or draws."""
        noisy = Noisy.of(native, self.sigma, self.label)
        return enumerated(noisy) if noisy.units <= self.enumerate else estimated(noisy, self.samples, self.seed)


COLUMNS = ("cosine_standard_error", "corrected_cosine", "reference_relative_error")
"""What the table has of these references beside the comparison."""


@dataclass(frozen=True)
class _Known:
    """A reference gradient without error."""

    gradient: Gradients
    facts: Mapping[str, Any]
    reruns = False

    def __call__(self, where: Sequence[int], gradient: Gradients) -> tuple[Deviation, Numbers]:
        compared = deviation([gradient[i] for i in where], [self.gradient[i] for i in where])
        zero = None if compared.cosine is None else 0.0
        return compared, dict(zip(COLUMNS, (zero, compared.cosine, zero), strict=True))


@dataclass(frozen=True)
class _Estimated:
    """A reference gradient with its Monte Carlo error."""

    groups: Groups
    facts: Mapping[str, Any]
    reruns = False

    def __call__(self, where: Sequence[int], gradient: Gradients) -> tuple[Deviation, Numbers]:
        mean = self.groups.mean
        compared = deviation([gradient[i] for i in where], [mean[i] for i in where])
        relative = self.groups.relative_error(where)
        numbers = dict(zip(COLUMNS, (None, None, relative), strict=True))
        if compared.cosine is None or relative is None:
            return compared, numbers
        if relative**2 >= 0.5:  # pure noise has a relative error of about 1
            reason = (
                f"the estimate of the expected gradient is lost in its own noise, which makes up "
                f"{min(relative, 1.0) ** 2:.0%} of its squared length; raise samples"
            )
            return undirected(compared, reason), numbers
        error = self.groups.cosine_error(where, gradient)
        # <g~, mean> is unbiased, and |mean|^2 is too long by the noise's share.
        corrected = compared.cosine / math.sqrt(1 - relative**2)
        return compared, dict(zip(COLUMNS, (error, max(-1.0, min(1.0, corrected)), relative), strict=True))


def enumerated(noisy: Noisy) -> _Known:
    """J and its gradient, the sum over every pattern of P(pattern) loss(pattern); both are differentiated."""
    setting, total, mean = noisy.native.setting, [None] * len(noisy.native.setting.parameters), 0.0
    gradient: list[Tensor | None] = list(total)
    for pattern in range(2**noisy.units):
        held = _Pattern(noisy, pattern)
        losses, preactivations = noisy.losses(held)
        chance = torch.zeros_like(losses, dtype=torch.float64)
        for call, z in enumerate(preactivations):
            towards = torch.where(held(call, z), z, -z).double() / noisy.sigma
            chance = chance + noisy.samples.summed(torch.special.log_ndtr(towards))
        value = noisy.samples.weight * (chance.exp() * losses.double()).sum()
        mean += float(value.detach())
        added(gradient, setting.gradient(value))
    facts = {"method": "enumerated", "patterns": 2**noisy.units, "expected_loss": mean, "sigma": noisy.sigma}
    return _Known(gradient, facts)


class _Pattern:
    """The bits of one pattern, the same in every part of the batch."""

    def __init__(self, noisy: Noisy, pattern: int) -> None:
        bits = torch.tensor([bool(pattern >> i & 1) for i in range(noisy.units)])
        count = noisy.samples.count
        sizes = [shape.numel() // count for shape in noisy.shapes]
        each = torch.split(bits, sizes)
        self._bits = [part.repeat(count).reshape(shape) for part, shape in zip(each, noisy.shapes, strict=True)]

    def __call__(self, call: int, z: Tensor) -> Tensor:
        """Of one call."""
        return self._bits[call].to(z.device)


def estimated(noisy: Noisy, draws: int, seed: int) -> _Estimated:
    """J's gradient by antithetic Monte Carlo, kept in groups of draws for its standard error."""
    groups = Groups.of(draws, noisy.native.setting.parameters)
    values = []
    for draw, (value, gradient) in enumerate(_draws(noisy, draws, seed)):
        groups.take(draw, gradient)
        values.append(value)
    mean = math.fsum(values) / draws
    spread = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (draws - 1) / draws)
    facts = {"method": "antithetic Monte Carlo", "samples": draws, "groups": groups.count, "sigma": noisy.sigma}
    return _Estimated(groups, facts | {"expected_loss": mean, "expected_loss_standard_error": spread})


def _draws(noisy: Noisy, draws: int, seed: int) -> Iterator[tuple[float, list[Tensor | None]]]:
    setting, parts = noisy.native.setting, noisy.samples
    for draw in range(draws):
        uniform = _Uniform(noisy, mix(seed, draw))
        with torch.no_grad():  # first, since a run resets the buffers, which the graph of an earlier one may hold
            others = [noisy.losses(uniform.turned(call))[0] for call in range(len(noisy.shapes))]
        losses, preactivations = noisy.losses(uniform)
        total = parts.weight * losses.sum()
        value = float(total.detach())
        for call, (z, other) in enumerate(zip(preactivations, others, strict=True)):
            with torch.no_grad():
                up, down = uniform(call, z), uniform.turned(call)(call, z)
                difference = parts.along(losses.detach() - other, z)
                s = z.double() / noisy.sigma
                # p_sigma(z) / min(Phi, 1 - Phi): finite however far out the unit is
                hazard = torch.exp(-(s**2) / 2 - torch.special.log_ndtr(-s.abs())) / math.sqrt(2 * math.pi)
                credit = (up.double() - down.double()) * difference * hazard / (2 * noisy.sigma) * parts.weight
            total = total + (z * credit.to(z.dtype)).sum()
        yield value, setting.gradient(total)


class _Uniform:
    """Uniform numbers for every unit of every call; a unit is up where its number is below Phi(z / sigma)."""

    def __init__(self, noisy: Noisy, seed: int, turned: int | None = None) -> None:
        self._noisy, self._seed, self._turned = noisy, seed, turned

    def turned(self, call: int) -> _Uniform:
        """The same numbers, at one call their complements."""
        return _Uniform(self._noisy, self._seed, call)

    def __call__(self, call: int, z: Tensor) -> Tensor:
        """Which units of a call are up."""
        generator = torch.Generator().manual_seed(mix(self._seed, call))  # on the CPU: the same numbers on any device
        uniform = torch.rand(z.shape, generator=generator, dtype=torch.float64).to(z.device)
        chance = torch.special.ndtr(z.detach().double() / self._noisy.sigma)
        up: Tensor = (1 - uniform if call == self._turned else uniform) < chance
        return up
