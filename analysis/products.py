"""Float32 matrix products by the faster of torch's two libraries, where it computes them in full float32.

torch takes MKL for float32 products, and oneDNN only where a lower precision is allowed. On processors on which MKL
keeps to its 256-bit kernels (AMD's), oneDNN's 512-bit ones are twice as fast; and where the processor has no matrix
unit for bfloat16, oneDNN does not lower the precision that it may lower. Whether it does is tried, at the very shapes
that will be multiplied: where a product is less accurate than float32 can be, MKL stays.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import lru_cache

import torch

Shape = tuple[int, int, int, int]
"""How many products, and rows, inner length and columns of each."""

_WIDE = 32
"""Below so many rows, columns or inner length a product is too small for oneDNN's cost of a call."""


def faster(shapes: Iterable[Shape], device: torch.device, dtype: torch.dtype) -> bool:
    """Whether products of these shapes are worth `allowed`, and in it as accurate as outside.

    Args:
        shapes: of the products; the largest decides whether oneDNN is worth it.
        device, dtype: of the factors.
    """
    wanted = list(shapes)
    worth = device.type == "cpu" and dtype == torch.float32 and any(min(shape[1:]) >= _WIDE for shape in wanted)
    return worth and all(_accurate(shape) for shape in wanted)


@contextmanager
def allowed(yes: bool = True) -> Iterator[None]:
    """Inside, float32 products on the CPU run in oneDNN, if ``yes``."""
    if not yes:
        yield
        return
    settings = torch.backends.mkldnn.matmul  # type: ignore[attr-defined]
    before = settings.fp32_precision
    settings.fp32_precision = "bf16"
    try:
        yield
    finally:
        settings.fp32_precision = before


@lru_cache(maxsize=256)
def _accurate(shape: Shape) -> bool:
    """Whether oneDNN, allowed to lower the precision, does not: against float64, by the bound of a float32 sum."""
    if not hasattr(getattr(torch.backends.mkldnn, "matmul", None), "fp32_precision"):
        return False  # torch before 2.9
    count, rows, inner, columns = shape
    generator = torch.Generator().manual_seed(0)
    left = torch.rand(count, rows, inner, generator=generator)
    right = torch.rand(count, inner, columns, generator=generator)
    with allowed():
        found = torch.bmm(left, right)
    return full(found, left, right)


def full(product: torch.Tensor, left: torch.Tensor, right: torch.Tensor) -> bool:
    """Whether a product of positive factors has the accuracy of float32: bfloat16 factors are 2^-9 off, float32's 0.

    The error of a sum of n positive terms is at most n eps of it, in any order; of rounded factors it is 2^-8.
    """
    right_one = torch.bmm(left.double(), right.double())
    limit = min(left.shape[2] * torch.finfo(torch.float32).eps, 2.0**-14)
    return bool(((product - right_one).abs() <= limit * right_one).all())
