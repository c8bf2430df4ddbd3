"""The backward of a stacked activation: the upstream gradient times the rule's factor, in place.

The factor is the rule's one formula. Where it is zero outside an interval, one fused torch operation cuts the gradient
off there, and only what stands inside is evaluated, by the same plans as everywhere else; the derivative that a tied
run takes is torch's own, as in the plain loop.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import sympy as sp
import torch
from sympy.stats.rv import RandomSymbol
from torch import Tensor, nn

from ....analysis.surrogates.formula.numerics.plans import choose
from ....analysis.surrogates.formula.steps.writer import noise_of

_aten = torch.ops.aten


@dataclass(frozen=True)
class Factor:
    """psi, split into what a step has to do.

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
    def bare(self) -> bool:
        """Whether what stands inside is a random symbol and nothing else."""
        return isinstance(self.inner, RandomSymbol)

    def times(self, upstream: Tensor, u: Tensor, noise: Sequence[Tensor]) -> Tensor:
        """The upstream gradient times psi, written over it.

        Args:
            upstream: [seeds, runs, units, samples], overwritten.
            u: preactivation of that shape.
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
def split(formula: sp.Expr) -> Factor:
    """A formula as a window and what stands inside; the whole formula without a window where it has no such form.

    >>> from downslope import SURROGATES
    >>> split(SURROGATES["rectangle"].formula).low, split(SURROGATES["rectangle"].formula).inner
    (-1/2, 1)
    >>> split(SURROGATES["gaussian"].formula).low is None
    True
    """
    whole = Factor(formula)
    if not isinstance(formula, sp.Piecewise) or len(formula.args) != 2:
        return whole
    (first, condition), (second, otherwise) = formula.args
    if otherwise != sp.true or (first != 0) == (second != 0):
        return whole
    inner, region = (first, condition.as_set()) if second == 0 else (second, condition.as_set().complement(sp.S.Reals))
    if not isinstance(region, sp.Interval) or region.start == -sp.oo:
        return whole
    high = None if region.end == sp.oo else region.end
    return Factor(inner, region.start, high, not region.left_open, not region.right_open)


@lru_cache(maxsize=256)
def _bounds(factor: Factor, dtype: torch.dtype) -> tuple[float, float | None]:
    """Numbers of the dtype such that an entry x lies in the window if and only if low < x < high."""
    assert factor.low is not None
    below = _beside(factor.low, dtype, towards=-1, itself=not factor.low_in)
    return below, None if factor.high is None else _beside(factor.high, dtype, towards=1, itself=not factor.high_in)


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


Times = Callable[[Tensor, Tensor, Tensor, Sequence[Tensor]], Tensor]
"""From upstream gradient (may be overwritten), preactivation, value and noise to the gradient before the activation."""


def ruled(factor: Factor) -> Times:
    """The backward by a rule."""
    return lambda upstream, u, value, noise: factor.times(upstream, u, noise)


def native(activation: nn.Module) -> Times:
    """The backward that torch gives an activation."""
    direct = _NATIVE.get(type(activation))
    if direct is not None:
        return lambda upstream, u, value, noise: direct(activation, upstream, u, value)

    def times(upstream: Tensor, u: Tensor, value: Tensor, noise: Sequence[Tensor]) -> Tensor:
        with torch.enable_grad():
            watched = u.detach().requires_grad_()
            return torch.autograd.grad(activation(watched), watched, upstream)[0]

    return times


_NATIVE: dict[type[nn.Module], Callable[[Any, Tensor, Tensor, Tensor], Tensor]] = {
    nn.Sigmoid: lambda module, up, u, value: _aten.sigmoid_backward.grad_input(up, value, grad_input=up),
    nn.Tanh: lambda module, up, u, value: _aten.tanh_backward.grad_input(up, value, grad_input=up),
    nn.ReLU: lambda module, up, u, value: _aten.threshold_backward.grad_input(up, u, 0, grad_input=up),
    nn.LeakyReLU: lambda module, up, u, value: _aten.leaky_relu_backward.grad_input(
        up, u, module.negative_slope, False, grad_input=up
    ),
}
