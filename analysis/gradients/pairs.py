"""Sums over the entries of a gradient and of its reference, part by part and a block at a time.

A block stays in the processor's cache while all that is asked of it is computed, so a gradient is read from memory once
for its products and once for its signs, and no float64 copy of a whole one is made. Products of two float32 numbers are
exact in float64, and their sums are taken there; signs are read in the gradient's own dtype, where none underflows.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

_BLOCK = 1 << 16
"""Entries a block and thread: so few that it stays in the cache, and enough to make up for the calls."""
_LARGEST = 1 << 24
"""Entries of a block at most: up to here a float32 counts, and one block is enough for a GPU."""


@dataclass(frozen=True)
class Signs:
    """How many entries there are, and of which kinds.

    Attributes:
        entries: all of them.
        moved: where the gradient is not zero.
        due: where the reference is not zero.
        shared: where neither is.
        kept: where neither is and the signs are equal.
    """

    entries: int
    moved: int
    due: int
    shared: int
    kept: int


class Part:
    """One part of a reference gradient; what is summed over it alone is summed once for all that are compared with it.

    Args:
        values: its entries, flat.
    """

    def __init__(self, values: Tensor) -> None:
        self.values = values

    @cached_property
    def square(self) -> float:
        """The sum of the squares."""
        scratch = _scratch(self.values, torch.float64)
        return total([float(block @ block) for block in (_copied(part, scratch) for part in _blocks(self.values))])

    @cached_property
    def signs(self) -> Tensor:
        """-1, 0 or 1 for each entry, int8."""
        return self.values.sign().to(torch.int8)

    @cached_property
    def due(self) -> int:
        """How many entries are not zero."""
        return int(self.values.count_nonzero())


class Pair(tuple[Tensor, Tensor]):
    """One part of a gradient beside the same part of its reference, both flat; a sum is taken when first asked for.

    Args:
        gradient: entries of g~.
        reference: the same ones of g, on the same device.
    """

    reference: Part

    def __new__(cls, gradient: Tensor, reference: Part) -> Pair:
        """Of two flat tensors."""
        made = super().__new__(cls, (gradient, reference.values))
        made.reference = reference
        return made

    @property
    def square(self) -> float:
        """<g~, g~>; by the same steps as for the reference, so that equal gradients have equal norms to the bit."""
        return self._products[0]

    @property
    def inner(self) -> float:
        """<g~, g>."""
        return self._products[1]

    @cached_property
    def _products(self) -> tuple[float, float]:
        a, b = self
        scratch, other = _scratch(a, torch.float64), _scratch(b, torch.float64)
        squares, inners = [], []
        for part, reference in zip(_blocks(a), _blocks(b), strict=True):
            block = _copied(part, scratch)
            squares.append(float(block @ block))
            double = reference if reference.dtype == torch.float64 else _copied(reference, other)
            inners.append(float(block @ double))
        return total(squares), total(inners)

    def chord(self, norm: float, norm_reference: float) -> float:
        """The squared length of g~/``norm`` - g/``norm_reference``, entry by entry: accurate where it is small."""
        a, b = self
        scratch, other = _scratch(a, torch.float64), _scratch(b, torch.float64)
        squares = []
        for part, reference in zip(_blocks(a), _blocks(b), strict=True):
            block = _copied(part, scratch).div_(norm).sub_(_copied(reference, other).div_(norm_reference))
            squares.append(float(block @ block))
        return total(squares)

    @cached_property
    def signs(self) -> Signs:
        """The kinds of entries, by products of -1, 0 and 1: of such numbers a float32 holds every sum in a block."""
        a, due = self[0], self.reference.due
        own, other = _scratch(a, torch.float32), _scratch(a, torch.float32)
        full = due == a.numel()  # then both are non-zero wherever the gradient is
        moved = shared = agreeing = 0
        for part, reference in zip(_blocks(a), _blocks(self.reference.signs), strict=True):
            s, r = own[: len(part)], _copied(reference, other)
            if part.dtype == torch.float32:
                torch.sign(part, out=s)
            else:
                s.copy_(part.sign())
            moved += int(s @ s)
            agreeing += int(s @ r)  # kept less flipped
            if not full:
                shared += int(s.abs_() @ r.abs_())
        shared = moved if full else shared
        return Signs(a.numel(), moved, due, shared, (shared + agreeing) // 2)


def total(values: Sequence[float]) -> float:
    """The sum, rounded once; an infinity or NaN where there is none.

    >>> total([1e308, 1e308]), total([math.inf, -math.inf])
    (inf, nan)
    """
    try:
        return math.fsum(values)
    except (OverflowError, ValueError):  # it raises where a running sum overflows, and at infinities of both signs
        return sum(values)


def scaled(pairs: Sequence[Pair]) -> tuple[list[Pair], float, float]:
    """The same directions with largest entries of 1, and what each side was divided by; neither may be zero."""
    peak, peak_reference = (max(float(part.abs().max().double()) for part in side) for side in zip(*pairs, strict=True))
    return [Pair(a.double() / peak, Part(b.double() / peak_reference)) for a, b in pairs], peak, peak_reference


def _blocks(values: Tensor) -> Iterator[Tensor]:
    return iter(torch.split(values, _size(values)))


def _size(values: Tensor) -> int:
    return min(_LARGEST, _BLOCK * torch.get_num_threads() if values.device.type == "cpu" else _LARGEST)


def _scratch(like: Tensor, dtype: torch.dtype) -> Tensor:
    """Memory for one block."""
    return like.new_empty(min(len(like), _size(like)), dtype=dtype)


def _copied(block: Tensor, scratch: Tensor) -> Tensor:
    return scratch[: len(block)].copy_(block)
