"""An estimate of L, the Lipschitz constant of the gradient, on a segment.

At points of the segment, power iteration from the segment's own direction seeks the Hessian's eigenvalue of largest
modulus; a product of the Hessian with a unit vector v is a central difference of the gradient, (g(theta + r v) -
g(theta - r v)) / (2 r). To these come the secants |g(a) - g(b)| / |a - b| between neighbouring points. The largest of
all is the estimate: it is local, and it is from below, since power iteration may not have arrived and the points are
few. Where the loss has kinks (ReLU) no L exists, and the estimate grows as a difference meets a kink.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..measuring.setting import Gradients
from ..measuring.taking import Native, inner

POINTS = 5
"""Of the segment, its ends included."""


def smoothness(native: Native, direction: Gradients, length: float, iterations: int = 8) -> float:
    """The estimate of L between theta and theta - length * direction.

    Args:
        native: the model as it is.
        direction: any gradient that is not zero.
        length: of the segment, in units of the direction.
        iterations: of the power method at each point; each takes two gradients.
    """
    norm = math.sqrt(inner(direction, direction))
    unit = [None if part is None else part.double() / norm for part in direction]
    found, before = 0.0, None
    for index in range(POINTS if length > 0 else 1):
        away = norm * length * index / (POINTS - 1)
        at = _plus([p.detach().double() for p in native.setting.parameters], unit, -away)
        found = max(found, _eigenvalue(native, at, unit, iterations))
        here = _gradient(native, at)
        if before is not None:
            apart = _plus(here, before, -1.0)
            found = max(found, math.sqrt(inner(apart, apart)) / (norm * length / (POINTS - 1)))
        before = here
    return found


def _eigenvalue(native: Native, at: list[Tensor], start: Gradients, iterations: int) -> float:
    coarsest = max(torch.finfo(parameter.dtype).eps for parameter in native.setting.parameters)
    reach = coarsest ** (1 / 3) * max(1.0, math.sqrt(inner(at, at)))
    v: list[Tensor] = _plus([torch.zeros_like(each) for each in at], start, 1.0)
    found = 0.0
    for _ in range(iterations):
        ahead, behind = (_gradient(native, _plus(at, v, side * reach)) for side in (1, -1))
        product = [each / (2 * reach) for each in _plus(ahead, behind, -1.0)]
        size = math.sqrt(inner(product, product))
        found = max(found, abs(inner(v, product)), size)
        if size == 0 or not math.isfinite(size):
            break
        v = [each / size for each in product]
    return found


def _gradient(native: Native, at: list[Tensor]) -> list[Tensor]:
    """The exact gradient at other values of the parameters; zero where the loss does not depend on one."""
    setting = native.setting
    native.again()
    there = [each.to(parameter.dtype).requires_grad_() for each, parameter in zip(at, setting.parameters, strict=True)]
    value = setting.loss(setting.output(there), setting.y)
    found = setting.gradient(value, there)
    return [torch.zeros_like(each) if part is None else part for part, each in zip(found, at, strict=True)]


def _plus(a: Gradients, b: Gradients, scale: float) -> list[Tensor]:
    """a + scale b; a missing part of b is zero."""
    return [x if y is None else x + scale * y for x, y in zip(a, b, strict=True) if x is not None]
