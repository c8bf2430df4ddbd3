"""Where evaluations go wrong: the points at which a plan is compared with the accurate values.

The grid of a dtype holds every magnitude, whole and half numbers, its neighbours, its largest and smallest numbers; for
a formula come the points where one of its comparisons or signs switches, its roots, and neighbourhoods of all these.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache, partial
from typing import Any, TypeAlias

import sympy as sp
import torch
from torch import Tensor

from ..arithmetic import plain
from ..steps.program import Program
from ..steps.writer import program

_Registers: TypeAlias = Sequence[Any]
_REACH = 20.0
_POINTS = 65  # a bracket is cut to 1/32 of its width in each of
_ROUNDS = 11  # so many rounds: from 0.02 to below a float64's spacing
_BRACKETS = 48


@lru_cache
def grid(dtype: torch.dtype) -> Tensor:
    """The points that every formula is checked at, infinities and NaN among them; all there are of a 16-bit dtype."""
    if dtype.itemsize == 2:
        return torch.arange(1 << 16, dtype=torch.int32).to(torch.uint16).view(dtype)
    kind = torch.finfo(dtype)
    generator = torch.Generator().manual_seed(0)
    low, high = (int(torch.frexp(torch.tensor(end, dtype=torch.float64)).exponent) for end in (kind.tiny, kind.max))
    # Above 2^50 every eighth magnitude will do: exponentials are saturated, the rest is powers.
    exponents = torch.cat([torch.arange(low - 24, 50), torch.arange(50, high, 8)]).to(torch.float64)
    magnitudes = torch.exp2(exponents) * (1 + torch.rand(len(exponents), generator=generator, dtype=torch.float64))
    powers = torch.exp2(torch.arange(-64, 65, dtype=torch.float64))
    halves = torch.arange(-40, 41, dtype=torch.float64) / 2
    # Odd numbers around the end of the dtype's whole and half numbers.
    odd = torch.exp2(torch.arange(-4, 3, dtype=torch.float64)) / kind.eps + torch.tensor([[-1.0], [1.0], [3.0], [0.5]])
    dense = torch.linspace(-_REACH, _REACH, 1601, dtype=torch.float64)
    inner = torch.randn(800, generator=generator, dtype=torch.float64)
    special = torch.tensor([0.0, kind.smallest_normal, kind.max, kind.max / 2, torch.inf], dtype=torch.float64)
    one_sided = torch.cat([magnitudes, odd.flatten(), special])
    points = torch.cat([one_sided, -one_sided, dense, inner]).to(dtype)
    near_powers = [plain.neighbour(sign * powers.to(dtype), steps) for sign in (-1, 1) for steps in (-1, 0, 1)]
    return torch.cat([points, *near_powers, *around(halves.to(dtype)), torch.tensor([torch.nan], dtype=dtype)])


def around(points: Tensor) -> Iterator[Tensor]:
    """Points, their next neighbours on both sides, and neighbourhoods at several distances."""
    for steps in (-2, -1, 0, 1, 2):
        yield plain.neighbour(points, steps)
    for distance in (3e-3, 1e-4, 1e-6, 1e-9, 1e-12):
        yield points * (1 + distance)
        yield points * (1 - distance)


def points(formula: sp.Expr, dtype: torch.dtype) -> Tensor:
    """The grid with the formula's own delicate points."""
    base = grid(dtype)
    if dtype.itemsize == 2:
        return base
    found = torch.tensor([*_bounds(program(formula)), *_roots(program(formula))], dtype=torch.float64)
    return torch.cat([base, *around(found.to(dtype))])


def _bounds(code: Program) -> Iterator[float]:
    """The numbers that ``u`` or ``|u|`` is compared with."""
    inputs = len(code.inputs)
    for step in code.steps:
        if step.operation == "compare":
            (register,), (_, bound) = step.arguments, step.setting
            if register == 0 or code.steps[register - inputs] == ("absolute", (0,), None):
                yield from (float(bound), -float(bound))


def _gaps(code: Program) -> Iterator[Callable[[_Registers], Any]]:
    """What is 0 where the result has a root or a step switches."""
    yield lambda registers: registers[-1]
    for step in code.steps:
        first, *rest = step.arguments or (0,)
        if step.operation == "compare":
            bound = float(step.setting[1])
            yield lambda registers, first=first, bound=bound: registers[first] - bound
        elif step.operation in ("maximum", "minimum"):
            yield lambda registers, first=first, second=rest[0]: registers[first] - registers[second]
        elif step.operation in ("absolute", "sign", "sqrt", "log"):
            yield lambda registers, first=first: registers[first]
        elif step.operation in ("floor", "ceiling"):
            yield lambda registers, first=first: registers[first] - registers[first].round()


def _roots(code: Program) -> list[float]:
    """The points of ``[-20, 20]`` where a gap is smallest, by repeated subdivision around each local minimum."""
    run = partial(code.trace, partial(plain.arithmetic, dtype=torch.float64))
    noise = [torch.tensor(0.5, dtype=torch.float64)] * (len(code.inputs) - 1)
    dense = torch.linspace(-_REACH, _REACH, 1601, dtype=torch.float64)
    registers = run([dense, *noise])
    found: list[tuple[float, float, Callable[[_Registers], Any]]] = []
    for gap in _gaps(code):
        size = torch.as_tensor(gap(registers)).abs().nan_to_num(torch.inf).broadcast_to(dense.shape)
        inside = (
            (size[1:-1] <= size[:-2])
            & (size[1:-1] <= size[2:])
            & ~((size[1:-1] == size[:-2]) & (size[1:-1] == size[2:]))
        )
        found += [(float(size[i + 1]), float(dense[i + 1]), gap) for i in inside.nonzero().flatten().tolist()]
    found = sorted(found, key=lambda entry: entry[0])[:_BRACKETS]
    if not found:
        return []
    centre = torch.tensor([entry[1] for entry in found], dtype=torch.float64)
    width = 2 * _REACH / 1600
    fractions = torch.linspace(-1, 1, _POINTS, dtype=torch.float64)
    for _ in range(_ROUNDS):
        tried = centre[:, None] + width * fractions
        registers = run([tried, *noise])
        sizes = [
            torch.as_tensor(gap(registers)).abs().broadcast_to(tried.shape)[row]
            for row, (_, _, gap) in enumerate(found)
        ]
        centre = tried.gather(1, torch.stack(sizes).nan_to_num(torch.inf).argmin(1, keepdim=True)).squeeze(1)
        width /= 32
    return centre.tolist()
