"""Strategies for tensors: preactivations that hurt, upstream gradients, dtypes, shapes, memory layouts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

AWKWARD = (0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 2.0, -3.5, 3.0, 10.0, -10.0, 88.8, -88.8, 1e4, -1e4)
"""Numbers at which formulas break: both zeros, usual thresholds and widths, where float32's exp overflows."""


def numbers(dtype: torch.dtype = torch.float32, *, awkward: bool = True) -> SearchStrategy[float]:
    """Finite numbers of a dtype; with ``awkward``, also both zeros, subnormals, the largest and usual break points."""
    from hypothesis import strategies as st

    facts = torch.finfo(dtype)
    width: Any = {torch.float64: 64, torch.float16: 16}.get(dtype, 32)
    limit = float(facts.max)
    plain = st.floats(-limit, limit, allow_nan=False, width=width) | st.floats(-10, 10, width=width)
    if not awkward:
        return plain.map(lambda value: _fit(value, dtype))
    extreme = [facts.tiny, -facts.tiny, facts.smallest_normal / 2, facts.max, -facts.max, facts.eps]
    return (st.sampled_from([*AWKWARD, *extreme]) | plain).map(lambda value: _fit(value, dtype))


def preactivations(
    dtype: torch.dtype = torch.float32,
    *,
    shape: Sequence[int] | None = None,
    max_side: int = 6,
    awkward: bool = True,
) -> SearchStrategy[torch.Tensor]:
    """Tensors of finite preactivations: of the shape given, or one-dimensional with 1 to ``max_side`` entries."""
    from hypothesis import strategies as st

    elements = numbers(dtype, awkward=awkward)
    if shape is None:
        return st.lists(elements, min_size=1, max_size=max_side).map(lambda values: torch.tensor(values, dtype=dtype))
    size = int(torch.Size(shape).numel())
    filled = st.lists(elements, min_size=size, max_size=size)
    return filled.map(lambda values: torch.tensor(values, dtype=dtype).reshape(tuple(shape)))


def upstream_gradients(
    dtype: torch.dtype = torch.float32, *, shape: Sequence[int] | None = None, max_side: int = 6
) -> SearchStrategy[torch.Tensor]:
    """Tensors of upstream gradients: of ordinary size, of both signs, zeros among them."""
    from hypothesis import strategies as st

    elements = st.floats(-100, 100, width=16, allow_subnormal=False) | st.sampled_from([0.0, 1.0, -1.0])
    size = None if shape is None else int(torch.Size(shape).numel())
    drawn = st.lists(elements, min_size=1 if size is None else size, max_size=max_side if size is None else size)
    return drawn.map(lambda values: torch.tensor(values, dtype=dtype).reshape((-1,) if shape is None else tuple(shape)))


def dtypes(*, half: bool = True) -> SearchStrategy[torch.dtype]:
    """Floating dtypes: float32 first (to which Hypothesis shrinks), float64, and the two half-precision formats."""
    from hypothesis import strategies as st

    return st.sampled_from([torch.float32, torch.float64, *([torch.bfloat16, torch.float16] if half else [])])


def shapes(*, max_dimensions: int = 4, max_side: int = 4) -> SearchStrategy[tuple[int, ...]]:
    """Shapes from zero dimensions on, empty ones among them."""
    from hypothesis import strategies as st

    return st.lists(st.integers(0, max_side), max_size=max_dimensions).map(tuple)


@dataclass(frozen=True)
class Layout:
    """A way to hold the same values: ``lay(tensor)`` equals the tensor and differs from it in strides or offset."""

    name: str
    lay: Callable[[torch.Tensor], torch.Tensor]


def transposed(tensor: torch.Tensor) -> torch.Tensor:
    """The same values, last dimension first in memory."""
    order = tuple(reversed(range(tensor.dim())))
    return tensor.permute(order).contiguous().permute(order)


def strided(tensor: torch.Tensor) -> torch.Tensor:
    """The same values, every second place of a memory twice as long."""
    return torch.stack([tensor, torch.full_like(tensor, 7.0)], dim=-1)[..., 0]


def offset(tensor: torch.Tensor) -> torch.Tensor:
    """The same values, beginning in the middle of a storage."""
    return torch.cat([torch.full((3,), 7.0, dtype=tensor.dtype), tensor.flatten()])[3:].view(tensor.shape)


LAYOUTS = (
    Layout("contiguous", torch.Tensor.contiguous),
    Layout("transposed", transposed),
    Layout("strided", strided),
    Layout("offset", offset),
)


def layouts() -> SearchStrategy[Layout]:
    """Ways to hold the same values in memory."""
    from hypothesis import strategies as st

    return st.sampled_from(LAYOUTS)


def _fit(value: float, dtype: torch.dtype) -> float:
    """The number as the dtype holds it, the largest where it would round to infinity."""
    limit = float(torch.finfo(dtype).max)
    return float(torch.tensor(min(max(value, -limit), limit), dtype=torch.float64).to(dtype))
