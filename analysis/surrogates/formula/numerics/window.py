"""A formula as a window and what stands inside, so that it can multiply a gradient in place.

Where a formula is zero outside an interval, one fused torch operation cuts the gradient off there, and only what stands
inside is evaluated, by the same plans as everywhere else. The values are those of the formula's evaluation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import sympy as sp
import torch
from sympy.stats.rv import RandomSymbol
from torch import Tensor

from ..steps.writer import noise_of
from .plans import choose

_aten = torch.ops.aten


@dataclass(frozen=True)
class Window:
    """A formula, split into what multiplying by it has to do.

    Attributes:
        inner: the formula inside the window.
        low, high: the window's ends, as the formula has them; ``None`` where that side is open to infinity.
        low_in, high_in: whether the ends belong to it.
    """

    inner: sp.Expr
    low: sp.Expr | None = None
    high: sp.Expr | None = None
    low_in: bool = True
    high_in: bool = True

    @property
    def symbols(self) -> tuple[RandomSymbol, ...]:
        """The noise, by name."""
        return tuple(noise_of(self.inner))

    @property
    def uniform(self) -> bool:
        """Whether what stands inside is a uniform number and nothing else."""
        return self.bare and type(self.inner.pspace.distribution).__name__ == "UniformDistribution"

    @property
    def bare(self) -> bool:
        """Whether what stands inside is a random symbol and nothing else."""
        return isinstance(self.inner, RandomSymbol)

    def times(self, upstream: Tensor, u: Tensor, noise: Sequence[Tensor]) -> Tensor:
        """The upstream gradient times the formula, written over it.

        Args:
            upstream: of any shape; overwritten.
            u: preactivation, of that shape.
            noise: draws that broadcast to it.
        """
        if self.bare:
            upstream.mul_(noise[0])
        elif not self.inner.is_number:
            upstream.mul_(choose(self.inner, u.dtype).plan(u, *(each.expand_as(u) for each in noise)))
        elif self.inner != 1:
            upstream.mul_(float(self.inner))
        if self.low is None:
            return upstream
        below, above = _bounds(self, u.dtype)
        if above is None:
            return _aten.threshold_backward.grad_input(upstream, u, below, grad_input=upstream)  # type: ignore[no-any-return]
        return _aten.hardtanh_backward.grad_input(upstream, u, below, above, grad_input=upstream)  # type: ignore[no-any-return]


@lru_cache(maxsize=256)
def split(formula: sp.Expr) -> Window:
    """A formula as a window and what stands inside; the whole formula without a window where it has no such form.

    >>> from downslope import SURROGATES
    >>> split(SURROGATES["rectangle"].formula).low, split(SURROGATES["rectangle"].formula).inner
    (-1/2, 1)
    >>> split(SURROGATES["gaussian"].formula).low is None
    True
    """
    whole = Window(formula)
    if not isinstance(formula, sp.Piecewise) or len(formula.args) != 2:
        return whole
    (first, condition), (second, otherwise) = formula.args
    if otherwise != sp.true or (first != 0) == (second != 0):
        return whole
    inner, region = (first, condition.as_set()) if second == 0 else (second, condition.as_set().complement(sp.S.Reals))
    if not isinstance(region, sp.Interval) or region.start == -sp.oo:
        return whole
    high = None if region.end == sp.oo else region.end
    return Window(inner, region.start, high, not region.left_open, not region.right_open)


@lru_cache(maxsize=256)
def _bounds(window: Window, dtype: torch.dtype) -> tuple[float, float | None]:
    """Numbers of the dtype such that an entry x lies in the window if and only if low < x < high."""
    assert window.low is not None
    below = _beside(window.low, dtype, towards=-1, itself=not window.low_in)
    return below, None if window.high is None else _beside(window.high, dtype, towards=1, itself=not window.high_in)


def _beside(end: sp.Expr, dtype: torch.dtype, *, towards: int, itself: bool) -> float:
    """The number of the dtype nearest to an end among those beyond it; the end itself counts if ``itself``."""
    number = torch.tensor(float(end), dtype=dtype)
    far = torch.tensor(towards * torch.inf, dtype=dtype)
    number = torch.nextafter(number, -far)  # the rounding of the end may lie on either side
    while True:
        beyond = (sp.Rational(number.item()) - end) * towards
        if beyond > 0 or (itself and beyond == 0):
            return number.item()
        number = torch.nextafter(number, far)
