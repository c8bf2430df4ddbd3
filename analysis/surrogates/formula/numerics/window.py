"""A formula as a window and what stands inside, so that it can multiply a gradient in place.

Where a formula is zero outside an interval, one fused torch operation cuts the gradient off there, and only what stands
inside is evaluated, by the same plans as everywhere else. The values are those of the formula's evaluation.
"""

from __future__ import annotations

import math
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

    def inside(self, upstream: Tensor, u: Tensor) -> Tensor:
        """The upstream gradient times what stands inside, everywhere; itself where that is 1."""
        if not self.inner.is_number:
            return choose(self.inner, u.dtype).plan.plan(u).mul_(upstream)
        return upstream if self.inner == 1 else upstream * float(self.inner)

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


def windowed(formula: sp.Expr, u: Tensor, upstream: Tensor) -> Tensor | None:
    """The upstream gradient times a formula without noise, on a CPU; ``None`` where another way is faster, or where a
    number is not finite: the cut would put 0 where a product has NaN.

    >>> from downslope import SURROGATES
    >>> windowed(SURROGATES["rectangle"].formula, torch.tensor([-1.0, 0.1, 1.0]), torch.tensor([2.0, 3.0, 4.0]))
    tensor([0., 3., 0.])
    """
    window = split(formula)
    if window.low is None or u.device.type != "cpu" or u.itemsize < 4:
        return None
    if not window.inner.is_number and not _PAYS[0] <= u.numel() <= _PAYS[1]:
        return None
    if not (u.is_contiguous() and upstream.is_contiguous()):
        return None
    if not math.isfinite(u.sum() + upstream.sum()):  # finite numbers may overflow: that costs time and no figure
        return None
    low, high = _bounds(window, u.dtype)
    inside = window.inside(upstream, u)
    into = {} if inside is upstream else {"grad_input": inside}
    if high is None:
        cut = _aten.threshold_backward.grad_input if into else _aten.threshold_backward
        return cut(inside, u, low, **into)  # type: ignore[no-any-return]
    cut = _aten.hardtanh_backward.grad_input if into else _aten.hardtanh_backward
    return cut(inside, u, low, high, **into)  # type: ignore[no-any-return]


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
