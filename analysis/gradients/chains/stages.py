"""The stages of a chain: what each does to a batch, and to a stack of error signals on the way back.

Error signals are stacked beside the samples: (samples, K, features...), with K = 1 as long as all surrogates have the
same. So a linear layer passes all of them on in one product, and its K weight gradients are one product, too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...products import Shape

_aten = torch.ops.aten
_UNFOLDED = 64  # with so many entries under its kernel, a convolution's weight gradient is faster as a matrix product


@dataclass(frozen=True)
class Stage:
    """One module of the chain.

    Attributes:
        path: as in ``named_modules``.
        module: itself.
    """

    path: str
    module: nn.Module

    def forward(self, x: Tensor) -> Tensor:
        """The module's own value; ``x`` keeps its."""
        value: Tensor = self.module.forward(x.clone() if getattr(self.module, "inplace", False) else x)
        return value

    def fits(self, x: Tensor) -> bool:
        """Whether the stage is one on inputs of this shape."""
        return True

    def back(self, error: Tensor, x: Tensor) -> Tensor:
        """The stacked error signals at the input, from those at the output; ``x`` is the input."""
        raise NotImplementedError


@dataclass(frozen=True)
class Flattening(Stage):
    """nn.Flatten of all but the samples; nn.Identity and a dropout that drops nothing are one that keeps the shape."""

    def back(self, error: Tensor, x: Tensor) -> Tensor:
        """The same numbers in the input's shape."""
        return error.reshape(*error.shape[:2], *x.shape[1:])


@dataclass(frozen=True)
class Pooling(Stage):
    """nn.AvgPool2d or nn.MaxPool2d."""

    def forward(self, x: Tensor) -> Tensor:
        """The module's own value, to the last bit; of tiles of 2 x 2 three times as fast, by the same sums."""
        pool: Any = self.module
        if not (isinstance(pool, nn.AvgPool2d) and self.fits(x) and _tiles(pool, x.shape[-2:]) and _sums_alike(x)):
            return super().forward(x)
        (a, b), (c, d) = ((x[..., row::2, 0::2], x[..., row::2, 1::2]) for row in (0, 1))
        return torch.add(a, b).add_(c).add_(d).div_(4)

    def fits(self, x: Tensor) -> bool:
        """On a batch of images."""
        return x.ndim == 4

    def back(self, error: Tensor, x: Tensor) -> Tensor:
        """An average's error is spread over its window; a maximum's goes where the maximum is."""
        pool: Any = self.module
        many = error.shape[1]
        if isinstance(pool, nn.AvgPool2d):
            return _spread(pool, error, x)
        _, places = F.max_pool2d(
            x, pool.kernel_size, pool.stride, pool.padding, pool.dilation, pool.ceil_mode, return_indices=True
        )
        places = places.flatten(2).unsqueeze(1).expand(-1, many, -1, -1)
        found = error.new_zeros(len(x), many, x.shape[1], x.shape[2] * x.shape[3])
        return found.scatter_add_(3, places, error.flatten(3)).view(len(x), many, *x.shape[1:])


def _spread(pool: Any, error: Tensor, x: Tensor) -> Tensor:
    if _tiles(pool, x.shape[-2:]):
        # Each number twice, beside itself: a complex number is written faster than two copies of a real one.
        share = error / 4
        pairs = torch.complex(share, share)
        return torch.view_as_real(torch.stack([pairs, pairs], -2)).view(*error.shape[:2], *x.shape[1:])
    kernel, stride, padding = map(_pair, (pool.kernel_size, pool.stride, pool.padding))
    flat = error.flatten(0, 1)
    like = x.new_empty(()).expand(len(flat), *x.shape[1:])
    found = _aten.avg_pool2d_backward(
        flat, like, kernel, stride, padding, pool.ceil_mode, pool.count_include_pad, pool.divisor_override
    )
    return found.view(*error.shape[:2], *x.shape[1:])  # type: ignore[no-any-return]


def _tiles(pool: Any, size: Sequence[int]) -> bool:
    """Whether the windows are tiles of 2 x 2 that cover images of this size."""
    kernel, stride, padding = map(_pair, (pool.kernel_size, pool.stride, pool.padding))
    even = all(each % 2 == 0 for each in size)
    return kernel == stride == [2, 2] and padding == [0, 0] and even and pool.divisor_override is None


def _sums_alike(x: Tensor) -> bool:
    """Whether torch's average is surely a plain sum in the order of the window: on the CPU, not in channels-last."""
    return x.device.type == "cpu" and x.is_contiguous() and x.dtype in (torch.float32, torch.float64)


def _pair(value: int | tuple[int, int]) -> list[int]:
    return [value, value] if isinstance(value, int) else list(value)


@dataclass(frozen=True)
class Activating(Stage):
    """An elementwise activation of the catalogue.

    Attributes:
        activation: its name.
        parameters: those of the call, by name.
    """

    activation: str
    parameters: Mapping[str, Any]

    def derivative(self, u: Tensor) -> Tensor:
        """torch's own derivative at the preactivation."""
        with torch.enable_grad():
            leaf = u.detach().requires_grad_()
            value = self.forward(leaf)
            (slope,) = torch.autograd.grad(value, leaf, value.new_ones(()).expand_as(value))
        return slope


@dataclass(frozen=True)
class Layer(Stage):
    """A stage with parameters; ``rows`` is what it keeps of its input, one row a sample."""

    @property
    def weight(self) -> nn.Parameter:
        """Its weight."""
        return self.module.weight  # type: ignore[return-value]

    @property
    def bias(self) -> nn.Parameter | None:
        """Its bias."""
        return self.module.bias  # type: ignore[return-value]

    def weight_gradients(self, error: Tensor, rows: Tensor, into: Tensor | None) -> Tensor:
        """The K weight gradients of some samples, shape (K, outputs, ...), added to ``into``."""
        raise NotImplementedError

    def products(self, x: Tensor, many: int) -> list[Shape]:
        """The shapes of the matrix products of a step back, for ``many`` signals of each sample of ``x``."""
        return []

    def bias_gradients(self, error: Tensor) -> Tensor:
        """The K bias gradients of some samples, shape (K, outputs)."""
        return error.flatten(3).sum((0, 3)) if error.ndim > 3 else error.sum(0)


@dataclass(frozen=True)
class Linear(Layer):
    """nn.Linear."""

    def fits(self, x: Tensor) -> bool:
        """On a batch of vectors."""
        return x.ndim == 2

    def back(self, error: Tensor, x: Tensor) -> Tensor:
        """All samples and surrogates in one product."""
        return (error.flatten(0, 1) @ self.weight).view(*error.shape[:2], -1)

    def products(self, x: Tensor, many: int) -> list[Shape]:
        """The step back, and the weight gradients."""
        outputs, ins = self.weight.shape
        return [(1, len(x) * many, outputs, ins), (1, outputs * many, len(x), ins)]

    def weight_gradients(self, error: Tensor, rows: Tensor, into: Tensor | None) -> Tensor:
        """All surrogates in one product. ``rows`` may be any matrix with a row for each sample."""
        stacked = error.flatten(1).T
        if into is None:
            return (stacked @ rows).view(*error.shape[1:], -1)
        columns = into.flatten(0, 1)[:, : rows.shape[1]]
        torch.addmm(columns, stacked, rows, out=columns)
        return into


@dataclass(frozen=True)
class Convolution(Layer):
    """nn.Conv2d in one group, padded with zeros."""

    def fits(self, x: Tensor) -> bool:
        """On a batch of images."""
        return x.ndim == 4

    def back(self, error: Tensor, x: Tensor) -> Tensor:
        """All samples and surrogates in one transposed convolution."""
        flat = error.flatten(0, 1)
        like = x.new_empty(()).expand(len(flat), *x.shape[1:])
        return self._backward(flat, like, self.weight, 0).reshape(*error.shape[:2], *x.shape[1:])

    def weight_gradients(self, error: Tensor, rows: Tensor, into: Tensor | None) -> Tensor:
        """The K surrogates' signals are the output channels of one convolution, or one product with the patches."""
        many, outputs = error.shape[1:3]
        if self.weight[0].numel() < _UNFOLDED:
            channels = error.flatten(1, 2)
            like = self.weight.new_empty(()).expand(many * outputs, *self.weight.shape[1:])
            found = self._backward(channels, rows, like, 1)
        else:
            conv: Any = self.module
            patches = F.unfold(rows, conv.kernel_size, conv.dilation, conv.padding, conv.stride)
            found = torch.bmm(error.flatten(3).flatten(1, 2), patches.transpose(1, 2)).sum(0)
        found = found.reshape(many, *self.weight.shape)
        return found if into is None else into.add_(found)

    def _backward(self, error: Tensor, x: Tensor, weight: Tensor, which: int) -> Tensor:
        conv: Any = self.module
        mask = [which == 0, which == 1, False]
        geometry = (conv.stride, conv.padding, conv.dilation, False, [0, 0], 1)
        return _aten.convolution_backward(error, x, weight, None, *geometry, mask)[which]  # type: ignore[no-any-return]
