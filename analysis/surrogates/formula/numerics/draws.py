"""Draws of a random symbol, one for each entry: float64, from a generator, on its device's own terms.

A draw of a continuous distribution is never an end of its support by rounding alone: a factor that is positive with
probability one is positive in every draw.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache

import torch
from sympy.stats.rv import RandomSymbol
from torch import Tensor

from ....errors import Refused

_Draw = Callable[..., Tensor]


class _Source:
    """Uniform and normal numbers of one shape, from one generator, on one device."""

    def __init__(self, shape: Sequence[int], device: torch.device, generator: torch.Generator | None) -> None:
        self._shape, self._device, self._generator = tuple(shape), device, generator

    def _empty(self) -> Tensor:
        return torch.empty(self._shape, dtype=torch.float64, device=self._device)

    def uniform(self) -> Tensor:
        """U(0, 1) without 0."""
        return self._empty().uniform_(generator=self._generator).add_(2.0**-54)

    def normal(self) -> Tensor:
        """N(0, 1)."""
        return self._empty().normal_(generator=self._generator)

    def gamma(self, shape: float) -> Tensor:
        """Gamma of this shape and scale 1."""
        return torch._standard_gamma(self._empty().fill_(shape), generator=self._generator)


def _triangular(source: _Source, low: float, high: float, mode: float) -> Tensor:
    uniform = source.uniform()
    rising, falling = (high - low) * (mode - low), (high - low) * (high - mode)
    return torch.where(
        uniform < (mode - low) / (high - low),
        low + (uniform * rising).sqrt(),
        high - ((1 - uniform) * falling).sqrt(),
    )


def _beta(source: _Source, first: float, second: float) -> Tensor:
    a, b = source.gamma(first), source.gamma(second)
    return a / (a + b)


def _laplace(source: _Source, centre: float, width: float) -> Tensor:
    return centre + width * (source.uniform().log() - source.uniform().log())


def _logistic(source: _Source, centre: float, width: float) -> Tensor:
    uniform = source.uniform().mul_(1 - 2.0**-52)
    return centre + width * (uniform.log() - (-uniform).log1p())


def _scaled(drawn: Tensor, centre: float, width: float) -> Tensor:
    return drawn if (centre, width) == (0, 1) else drawn.mul_(width).add_(centre)


_DRAWS: dict[str, _Draw] = {
    "Uniform": lambda source, low, high: _scaled(source.uniform(), low, high - low),
    "Normal": lambda source, mean, deviation: mean + deviation * source.normal(),
    "LogNormal": lambda source, mean, deviation: (mean + deviation * source.normal()).exp(),
    "Exponential": lambda source, rate: -source.uniform().log() / rate,
    "Laplace": _laplace,
    "Logistic": _logistic,
    "Triangular": _triangular,
    "Gamma": lambda source, shape, scale: scale * source.gamma(shape),
    "Beta": _beta,
    "Bernoulli": lambda source, chance, one, zero: zero + (one - zero) * (source.uniform() <= chance).double(),
    "Rademacher": lambda source: 2 * (source.uniform() <= 0.5).double() - 1,
}


def draw(symbol: RandomSymbol, shape: Sequence[int], device: torch.device, generator: torch.Generator | None) -> Tensor:
    """Independent draws of a random symbol.

    Raises:
        Refused: we have no draws of its distribution, or a parameter of it is not a number, or the generator is on
            another device.
    """
    if generator is not None and generator.device.type != device.type:
        raise Refused(
            f"generator is on {generator.device}, the preactivation on {device}; pass torch.Generator({device.type!r})."
        )
    drawn, parameters = _distribution(symbol)
    return drawn(_Source(shape, device, generator), *parameters)


@lru_cache(maxsize=256)
def _distribution(symbol: RandomSymbol) -> tuple[_Draw, tuple[float, ...]]:
    distribution = symbol.pspace.distribution
    name = type(distribution).__name__.removesuffix("Distribution")
    if name not in _DRAWS:
        raise Refused(f"the noise {symbol} is {name}, which cannot be drawn; use one of {', '.join(sorted(_DRAWS))}.")
    if not all(parameter.is_number for parameter in distribution.args):
        raise Refused(
            f"the noise {symbol} is {name}{distribution.args}: its parameters have to be numbers. Draw a standard "
            f"{name} and scale it in the formula."
        )
    return _DRAWS[name], tuple(float(parameter) for parameter in distribution.args)
