"""The backward of a stacked activation: the upstream gradient times the rule's factor, in place.

The factor is the rule's one formula; the derivative that a tied run takes is torch's own, as in the plain loop.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ....analysis.surrogates.formula.numerics.window import Window

_aten = torch.ops.aten


Times = Callable[[Tensor, Tensor, Tensor, Sequence[Tensor]], Tensor]
"""From upstream gradient (may be overwritten), preactivation, value and noise to the gradient before the activation."""


def ruled(factor: Window) -> Times:
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
