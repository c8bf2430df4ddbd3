"""Where a program is delicate: its comparisons switch, its values vanish, something on the way over- or underflows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, TypeAlias

import torch
from torch import Tensor

from ..arithmetic import plain
from ..steps.program import Program

REACH = 20.0
"""Roots are looked for between minus this and this."""

_Gap: TypeAlias = Callable[[Sequence[Any]], Any]
_POINTS = 65  # a bracket is cut to 1/32 of its width in each of
_ROUNDS = 11  # so many rounds: from 0.02 to below a float64's spacing
_BRACKETS = 48
_HALVINGS = 24


def bounds(code: Program) -> Iterator[float]:
    """The numbers that ``u`` or ``|u|`` is compared with."""
    inputs = len(code.inputs)
    for step in code.steps:
        if step.operation == "compare":
            (register,), (_, bound) = step.arguments, step.setting
            if register == 0 or code.steps[register - inputs] == ("absolute", (0,), None):
                yield from (float(bound), -float(bound))


def _gaps(code: Program) -> Iterator[_Gap]:
    """What is 0 where the result has a root or a step switches."""
    yield _from_number(-1, 0.0)
    for step in code.steps:
        if step.operation == "compare":
            yield _from_number(step.arguments[0], float(step.setting[1]))
        elif step.operation in ("absolute", "sign", "sqrt", "log"):
            yield _from_number(step.arguments[0], 0.0)
        elif step.operation in ("maximum", "minimum"):
            yield _from_register(*step.arguments)
        elif step.operation in ("floor", "ceiling"):
            yield _from_whole(step.arguments[0])


def _from_number(register: int, number: float) -> _Gap:
    return lambda registers: registers[register] - number


def _from_register(register: int, other: int) -> _Gap:
    return lambda registers: registers[register] - registers[other]


def _from_whole(register: int) -> _Gap:
    return lambda registers: registers[register] - registers[register].round()


def roots(code: Program) -> list[float]:
    """The points of ``[-20, 20]`` where a gap is smallest, by repeated subdivision around each local minimum."""
    run = partial(code.trace, partial(plain.arithmetic, dtype=torch.float64))
    noise = _noise(code, torch.float64)
    dense = torch.linspace(-REACH, REACH, 1601, dtype=torch.float64)
    try:
        registers = run([dense, *noise])
    except plain.Unfit:
        return []
    found: list[tuple[float, float, _Gap]] = []
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
    width = 2 * REACH / 1600
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


def edges(code: Program, dtype: torch.dtype, points: Tensor) -> list[float]:
    """Where a value on the way leaves the dtype's good range, given increasing points: by bisection between two."""
    run = partial(code.trace, partial(plain.arithmetic, dtype=dtype))
    try:
        registers = run([points.to(dtype), *_noise(code, dtype)])
    except plain.Unfit:
        return []
    states = {slot: _state(value) for slot, value in enumerate(registers) if _varies(value, points)}
    found = {
        (float(points[i]), float(points[i + 1])): slot
        for slot, state in states.items()
        for i in (state[1:] != state[:-1]).nonzero().flatten().tolist()
    }
    if not found:
        return []
    slots = list(found.values())
    left, right = torch.tensor(list(found), dtype=torch.float64).unbind(1)

    def state_at(x: Tensor) -> Tensor:
        registers = run([x.to(dtype), *_noise(code, dtype)])
        return torch.stack([_state(registers[slot])[row] for row, slot in enumerate(slots)])

    start = state_at(left)
    for _ in range(_HALVINGS):
        middle = (left + right) / 2
        same = state_at(middle) == start
        left, right = torch.where(same, middle, left), torch.where(same, right, middle)
    return left.tolist()


def _state(value: Tensor) -> Tensor:
    """Which of its dtype's ranges a value is in: 0, tiny, middling, large, beyond."""
    kind = torch.finfo(value.dtype)
    levels = [0.0, kind.tiny, kind.tiny / kind.eps**2, kind.max * kind.eps**2, kind.max]
    return torch.bucketize(value.abs().double(), torch.tensor(levels, dtype=torch.float64))


def _varies(value: Any, points: Tensor) -> bool:
    return isinstance(value, Tensor) and value.is_floating_point() and value.shape == points.shape


def _noise(code: Program, dtype: torch.dtype) -> list[Tensor]:
    return [torch.tensor(0.5, dtype=dtype)] * (len(code.inputs) - 1)
