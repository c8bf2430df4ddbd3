"""Where evaluations go wrong: the points at which a plan is compared with the accurate values.

The grid of a dtype holds every size, whole and half numbers, its largest and smallest numbers; a formula adds the
points where it is delicate; and the neighbourhoods of all these.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache

import torch
from torch import Tensor

from ..arithmetic import plain
from ..steps.program import Program
from .delicate import REACH, bounds, edges, roots


@lru_cache
def grid(dtype: torch.dtype) -> Tensor:
    """The points that every formula is checked at, infinities and NaN among them; all there are of a 16-bit dtype."""
    if dtype.itemsize == 2:
        return torch.arange(1 << 16, dtype=torch.int32).to(torch.uint16).view(dtype)
    kind = torch.finfo(dtype)
    generator = torch.Generator().manual_seed(0)
    low, high = (int(torch.frexp(torch.tensor(end, dtype=torch.float64)).exponent) for end in (kind.tiny, kind.max))
    # Far out every eighth magnitude will do: there a formula is its leading term, or saturated.
    ranges = (range(low - 24, low), range(low, -64, 8), range(-64, 50), range(50, high, 8))
    exponents = torch.tensor([exponent for part in ranges for exponent in part], dtype=torch.float64)
    magnitudes = torch.exp2(exponents) * (1 + torch.rand(len(exponents), generator=generator, dtype=torch.float64))
    powers = torch.exp2(torch.arange(-64, 65, dtype=torch.float64))
    halves = torch.arange(-40, 41, dtype=torch.float64) / 2
    # Odd numbers around the end of the dtype's whole and half numbers.
    odd = torch.exp2(torch.arange(-4, 3, dtype=torch.float64)) / kind.eps + torch.tensor([[-1.0], [1.0], [3.0], [0.5]])
    dense = torch.linspace(-REACH, REACH, 1601, dtype=torch.float64)
    inner = torch.randn(800, generator=generator, dtype=torch.float64)
    large = kind.max * torch.tensor([1.0, 0.9, 0.75, 0.6, 0.51, 0.5, 0.4, 0.3, 0.1], dtype=torch.float64)
    special = torch.cat([torch.tensor([0.0, kind.smallest_normal, torch.inf], dtype=torch.float64), large])
    one_sided = torch.cat([magnitudes, odd.flatten(), special])
    points = torch.cat([one_sided, -one_sided, dense, inner]).to(dtype)
    near_powers = [plain.neighbour(sign * powers.to(dtype), steps) for sign in (-1, 1) for steps in (-1, 0, 1)]
    return torch.cat([points, *near_powers, *around(halves.to(dtype)), torch.tensor([torch.nan], dtype=dtype)])


def around(points: Tensor) -> Iterator[Tensor]:
    """Points, their next neighbours on both sides, and neighbourhoods at several distances."""
    for steps in (-2, -1, 0, 1, 2):
        yield plain.neighbour(points, steps)
    for distance in (0.1, 0.03, 0.01, 3e-3, 1e-4, 1e-6, 1e-9, 1e-12):
        yield points * (1 + distance)
        yield points * (1 - distance)


def points(codes: Sequence[Program], dtype: torch.dtype) -> Tensor:
    """The grid with the delicate points of a formula, given its programs in all its forms."""
    base = grid(dtype)
    if dtype.itemsize == 2:
        return base
    finite = torch.unique(base[base.isfinite()])
    found = [*bounds(codes[0]), *roots(codes[0])]
    for computed_in in {dtype, torch.float64}:
        for code in codes:
            found += edges(code, computed_in, finite)
    return torch.cat([base, *around(torch.tensor(sorted(set(found)), dtype=torch.float64).to(dtype))])
