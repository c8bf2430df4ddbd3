"""Numbers that carry a bound on their own rounding: a float64 value and a radius.

Every operation returns the value that floating point gives and a radius within which the exact result lies, for
every operand within its own radius. The bounds are a priori: a sum of n products, evaluated in ANY order with or
without fused multiply-add, errs by at most gamma_n times the sum of the absolute products, where
gamma_n = n u / (1 - n u) and u = 2**-53 (Higham 2002, Accuracy and Stability of Numerical Algorithms, section 3.1;
value-and-radius arithmetic: Rump 1999, Fast and parallel interval arithmetic). A radius is itself computed in
floating point, from non-negative terms only, and enlarged by the relative error of that computation; `TINY` covers
underflow. Valid for IEEE arithmetic rounding to nearest and kernels that form ordinary sums of products (torch on
the CPU in float64; not Winograd's or Strassen's algorithms).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

UNIT = 2.0**-53
"""The unit roundoff of float64."""

TINY = 1e-300
"""More than all underflow errors of one operation together (each is below 2**-1022, flushed to zero or not)."""


def gamma(terms: int) -> float:
    """gamma_n = n u / (1 - n u), rounded up."""
    return terms * UNIT / (1 - terms * UNIT) * (1 + 4 * UNIT)


def upward(radius: Tensor, terms: int = 1) -> Tensor:
    """At least the exact value of a radius that was computed from non-negative terms, ``terms`` of them to a sum."""
    return radius * (1 + 2 * gamma(terms + 8)) + TINY


@dataclass(frozen=True)
class Rounded:
    """Numbers known up to rounding: each lies within ``radius`` of ``value`` (float64 tensors of one shape)."""

    value: Tensor
    radius: Tensor

    @staticmethod
    def exact(value: Tensor) -> Rounded:
        """Numbers taken as they stand."""
        return Rounded(value, torch.zeros_like(value))

    @property
    def low(self) -> Tensor:
        """At most each exact number."""
        return torch.nextafter(self.value - self.radius, torch.full_like(self.value, -torch.inf))

    @property
    def high(self) -> Tensor:
        """At least each exact number."""
        return torch.nextafter(self.value + self.radius, torch.full_like(self.value, torch.inf))

    @property
    def reach(self) -> Tensor:
        """At least each exact number's absolute value."""
        return upward(self.value.abs() + self.radius)

    def __add__(self, other: Rounded) -> Rounded:
        value = self.value + other.value
        return Rounded(value, upward(self.radius + other.radius + UNIT * value.abs()))

    def times(self, factor: Tensor) -> Rounded:
        """The products with exact factors of a broadcastable shape."""
        value = self.value * factor
        return Rounded(value, upward(self.radius * factor.abs() + UNIT * value.abs()))

    def through(self, linear: Callable[[Tensor], Tensor], modulus: Callable[[Tensor], Tensor], terms: int) -> Rounded:
        """The image under a linear map with exact coefficients.

        Args:
            linear: the map; each entry of its result is a sum of at most ``terms`` products.
            modulus: the map whose coefficients are the absolute values of ``linear``'s.
            terms: as above.
        """
        spread = modulus(self.radius + gamma(terms + 4) * self.value.abs())
        return Rounded(linear(self.value), upward(spread, terms))

    def total(self, keep: int = 0) -> Rounded:
        """The sum over all dimensions but the first ``keep``."""
        value, radius = self.value.flatten(keep), self.radius.flatten(keep)
        terms = value.shape[-1]
        return Rounded(value.sum(-1), upward(radius.sum(-1) + gamma(terms) * value.abs().sum(-1), terms))
