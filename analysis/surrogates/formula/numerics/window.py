"""A formula as a window and what stands inside, so that it can multiply a gradient in place.

Where a formula is zero outside an interval, one fused torch operation cuts the gradient off there, and only what stands
inside is evaluated, by the same plans as everywhere else. The values are those of the formula's evaluation.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import sympy as sp
import torch
from sympy.stats.rv import RandomSymbol
from torch import Tensor

from ..steps.forms import positive_part
from ..steps.writer import noise_of
from .plans import InParts, choose

_aten = torch.ops.aten
_hardtanh_backward = torch.ops.aten.hardtanh_backward.default
_PAYS = 1 << 15, 1 << 20  # entries: fewer cost as much as the calls, more leave the cache


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


@lru_cache(maxsize=512)
def multiplier(formula: sp.Expr, dtype: torch.dtype) -> Callable[[Tensor, Tensor], Tensor]:
    """A function of the preactivation u and an upstream gradient: the gradient times the formula, which has no noise.

    Both are of one shape and of the given dtype.

    >>> from downslope import SURROGATES
    >>> times = multiplier(SURROGATES["rectangle"].formula, torch.float32)
    >>> times(torch.tensor([-1.0, 0.1, 1.0]), torch.tensor([2.0, 3.0, 4.0]))
    tensor([0., 3., 0.])
    """
    plan, window = choose(formula, dtype).plan, split(formula)
    # Where the formula is a maximum one of the plans is as short, and needs no look at the numbers.
    if window.low is None or dtype.itemsize < 4 or positive_part(formula) is not formula:
        return plan.multiplier(dtype)
    factor = float(window.inner) if window.inner.is_number else None
    return _Cut(window.inner, factor, *_bounds(window, dtype), plan)


@dataclass(frozen=True)
class _Cut:
    """Multiplies by a window in a dtype; ``factor`` is what stands inside, where that is a number."""

    inner: sp.Expr
    factor: float | None
    low: float
    high: float | None
    plan: InParts

    def __call__(self, u: Tensor, upstream: Tensor) -> Tensor:
        """The upstream gradient times the formula; by the whole formula where the cut would be slower or wrong."""
        factor, low, high = self.factor, self.low, self.high
        if (
            not (u.is_cpu and u.is_contiguous() and upstream.is_contiguous())
            or (factor is None and not _PAYS[0] <= u.numel() <= _PAYS[1])
            or not _finite(u, upstream)
        ):
            return self.plan.multiply(u, upstream)
        if factor == 1:
            if high is None:
                return _aten.threshold_backward.default(upstream, u, low)  # type: ignore[no-any-return]
            return _hardtanh_backward(upstream, u, low, high)  # type: ignore[no-any-return]
        inside = choose(self.inner, u.dtype).plan.plan(u).mul_(upstream) if factor is None else upstream * factor
        if high is None:
            return _aten.threshold_backward.grad_input(inside, u, low, grad_input=inside)  # type: ignore[no-any-return]
        return _aten.hardtanh_backward.grad_input(inside, u, low, high, grad_input=inside)  # type: ignore[no-any-return]


def _finite(u: Tensor, upstream: Tensor) -> bool:
    """Whether all numbers are finite; else a cut would put 0 where a product has NaN.

    A number that is not finite leaves the inner product without one, and the product reads both tensors once; finite
    numbers may overflow in it: that costs time and no figure.
    """
    return math.isfinite(u.ravel().dot(upstream.ravel()).item())


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
