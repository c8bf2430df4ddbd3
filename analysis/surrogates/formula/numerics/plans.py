"""The cheapest way to compute a formula in a dtype that agrees with the accurate values.

The ladder: torch's operations in the dtype; the same in float64, rounded once; in pairs of float64; and, where all of
these fail, the accurate values themselves. For a 16-bit dtype the accurate values of all 65536 inputs are a table. A
rung is taken if at every point of the probe it is within `LIMITS` units in the last place (a difference below the
smallest normal number counts as agreement).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import product
from typing import Any

import sympy as sp
import torch
from torch import Tensor

from ..arithmetic import masked, paired, plain
from ..arithmetic.wide.pairs import Pair
from ..steps.forms import bounded, canonical, positive_part, saturating
from ..steps.program import Program
from ..steps.writer import checked, noise_of, program
from . import accurate, probe
from .draws import draw

LIMITS = {torch.float64: 2.5, torch.float32: 1.5, torch.bfloat16: 0.5, torch.float16: 0.5}
"""Units in the last place that a plan may be off the rounded right value at the probe's points."""

_PARTS = {8: 48 << 10, 4: 96 << 10, 2: 192 << 10}
"""Entries of so many bytes that are worked on at a time: 384 KiB, as a core has about 1 MiB of its own."""
_WHOLE = 1 << 62
"""A plan that makes no tensor but its value goes at once: parts would only put another beside it."""

_WITHIN = 2.0**-20  # of the dtype's largest number
_EXCEPTIONS = 3  # so many single inputs may be looked up, e.g. 0 for sin(u) / u

Plan = Callable[..., Tensor]
"""From the preactivation and the noise (float64) to the values, in the preactivation's dtype; a tensor of its own."""


@dataclass(frozen=True)
class InParts:
    """A plan has temporary tensors: on a CPU it goes part by part, so that they stay in the cache and are small."""

    plan: Plan
    size: int

    def __call__(self, u: Tensor, *noise: Tensor) -> Tensor:
        """The values."""
        return self.plan(u, *noise) if self._whole(u, *noise) else self._in_parts(None, u, *noise)

    def times(self, upstream: Tensor, u: Tensor, *noise: Tensor) -> Tensor:
        """The values times a tensor of the same shape and dtype."""
        if self._whole(u, *noise):
            return self.plan(u, *noise).mul_(upstream)
        return self._in_parts(upstream, u, *noise)

    def multiply(self, u: Tensor, upstream: Tensor) -> Tensor:
        """As `times`, without noise."""
        if u.numel() <= self.size or self._whole(u):
            return self.plan(u).mul_(upstream)
        return self._in_parts(upstream, u)

    def multiplier(self, dtype: torch.dtype) -> Callable[[Tensor, Tensor], Tensor]:
        """`multiply`, by the shortest way for a dtype."""
        plan = self.plan
        if self.size < _WHOLE or not isinstance(plan, InOneDtype) or not plan.chain or plan.dtype is not dtype:
            return self.multiply
        chain = plan.chain

        def chained(u: Tensor, upstream: Tensor) -> Tensor:
            for function in chain:
                u = function(u)
            return u.mul_(upstream)

        return chained

    def _whole(self, u: Tensor, *noise: Tensor) -> bool:
        if u.numel() <= 2 * self.size * torch.get_num_threads() or u.device.type != "cpu":
            return True
        return any(number.shape != u.shape for number in noise)

    def _in_parts(self, upstream: Tensor | None, *inputs: Tensor) -> Tensor:
        result = torch.empty(inputs[0].shape, dtype=inputs[0].dtype)
        size = self.size * torch.get_num_threads()
        pieces = zip(*(torch.split(each.reshape(-1), size) for each in inputs), strict=True)
        factors = () if upstream is None else torch.split(upstream.reshape(-1), size)
        for number, (into, piece) in enumerate(zip(torch.split(result.view(-1), size), pieces, strict=True)):
            if factors:
                torch.mul(self.plan(*piece), factors[number], out=into)
            else:
                into.copy_(self.plan(*piece))
        return result


@dataclass(frozen=True)
class Choice:
    """A plan and its rung: ``plain``, ``float64``, ``paired``, ``accurate`` or ``table``."""

    rung: str
    plan: InParts


@lru_cache(maxsize=512)
def choose(formula: sp.Expr, dtype: torch.dtype) -> Choice:
    """The plan for a formula in a dtype.

    Raises:
        Refused: the formula holds what cannot be evaluated, or has no real value somewhere on the line.
    """
    formula = canonical(checked(formula))
    forms = (formula, bounded(formula), saturating(formula))
    codes = list(dict.fromkeys(program(form) for form in forms))
    points = probe.points(codes, dtype)
    generator = torch.Generator().manual_seed(1)
    noise = [draw(symbol, points.shape, points.device, generator) for symbol in noise_of(formula)]
    right = accurate.values(formula, dtype, [points.to(torch.float64), *noise])
    first = program(positive_part(formula))
    for rung, plan, variants in _rungs(list(dict.fromkeys((first, *codes))), dtype):
        for variant in variants(plan, points, noise, right):
            if bool(near(variant(points, *noise), right).all()):
                lean = rung == "plain" and isinstance(variant, InOneDtype) and variant.chain
                return Choice(
                    rung, InParts(variant, _WHOLE if lean else _PARTS[dtype.itemsize if rung == "plain" else 8])
                )
    if dtype.itemsize == 2 and not noise:
        return Choice("table", InParts(_in_table(right), _PARTS[2]))
    right_values = partial(accurate.values, formula, dtype)
    return Choice("accurate", InParts(lambda u, *noise: right_values([u.to(torch.float64), *noise]), _PARTS[8]))


def near(value: Tensor, right: Tensor) -> Tensor:
    """Where values are as near to the right ones as `LIMITS` says, and as finite as they are."""
    kind = torch.finfo(right.dtype)
    given, wanted = value.to(torch.float64), right.to(torch.float64)
    unit = torch.ldexp(kind.eps * (wanted != 0).to(torch.float64), torch.frexp(wanted).exponent - 1)
    close = (given - wanted).abs() <= (LIMITS[right.dtype] * unit).clamp(min=kind.tiny)
    return close | (given == wanted) | (given.isnan() & wanted.isnan())


_Rung = tuple[str, Plan, Callable[..., Iterator[Plan]]]


def _rungs(codes: Sequence[Program], dtype: torch.dtype) -> Iterator[_Rung]:
    """Rung, plan, and what is tried of the plan."""
    if dtype.itemsize == 2:
        same = [code for code in codes[:2] if all(step.operation in plain.SAME_EVERYWHERE for step in code.steps)]
        yield from _in_floats("plain", same, dtype)
        if len(codes[0].inputs) == 1:
            return  # a table is as fast, and every entry of it is right
    if dtype == torch.float32:
        yield from _in_floats("plain", codes, dtype)
    yield from _in_floats("float64", codes, torch.float64)
    for code in codes:
        yield "paired", _in_pairs(code), _variants


def _in_floats(rung: str, codes: Sequence[Program], dtype: torch.dtype) -> Iterator[_Rung]:
    """torch's operations in one dtype; where there is a choice, first without branches."""
    for code in codes:
        try:
            if any(step.operation == "compare" for step in code.steps):
                branchless = partial(masked.arithmetic, dtype=dtype)
                run = code.bind(branchless, plain.OVERWRITING)
                for within, guarded in product((False, True), (False, True)):
                    yield rung, InOneDtype(run, dtype, guarded, within), _as_it_is
            arithmetic = partial(plain.arithmetic, dtype=dtype)
            run = code.bind(arithmetic, plain.OVERWRITING)
            if code.steps and code.steps[-1].operation != "number":  # else the value is an input, or no tensor
                chain = code.chain(arithmetic, plain.OVERWRITING)
                yield rung, InOneDtype(run, dtype, guarded=False, chain=chain), _as_it_is
            yield rung, InOneDtype(run, dtype), _variants
        except plain.Unfit:
            continue


@dataclass(frozen=True)
class InOneDtype:
    """A bound program as a plan.

    Attributes:
        run: the program.
        dtype: what it works in.
        guarded: whether NaN is put in where u is NaN.
        within: whether u is first brought within a reach where it can be doubled twenty times without overflow.
        chain: the program as functions, where it makes no tensor but its value.
    """

    run: Callable[[Sequence[Any]], Any]
    dtype: torch.dtype
    guarded: bool = True
    within: bool = False
    chain: tuple[Callable[[Tensor], Tensor], ...] | None = None

    def __call__(self, u: Tensor, *noise: Tensor) -> Tensor:
        """The values."""
        if self.chain and u.dtype is self.dtype:
            for function in self.chain:
                u = function(u)
            return u
        given = u if u.dtype is self.dtype else u.to(self.dtype)
        if self.within:
            reach = torch.finfo(self.dtype).max * _WITHIN
            given = given.clamp(-reach, reach)
        value = self.run([given, *(number.to(self.dtype) for number in noise)] if noise else (given,))
        if value.__class__ is Tensor and value.dtype is not u.dtype:
            value = value.to(u.dtype)
        return torch.clamp(u, value, value) if self.guarded else value


def _in_pairs(code: Program) -> Plan:
    """Pairs of float64."""

    @lru_cache
    def bound(device: torch.device) -> Callable[[Sequence[Pair]], Any]:
        return code.bind(partial(paired.arithmetic, device=device))

    def plan(u: Tensor, *noise: Tensor) -> Tensor:
        highs = [number.to(torch.float64) for number in (u, *noise)]
        value = bound(u.device)([Pair(high, torch.zeros_like(high)) for high in highs]).hi.to(u.dtype)
        return torch.clamp(u, value, value)

    return plan


def _in_table(right: Tensor) -> Plan:
    """All values of a 16-bit dtype, in the order of their bits."""

    @lru_cache
    def on(device: torch.device) -> Tensor:
        return right.to(device)

    def plan(u: Tensor) -> Tensor:
        bits = u.reshape(-1).view(torch.int16).to(torch.int32).bitwise_and_(0xFFFF)
        return on(u.device).index_select(0, bits).view(u.shape)

    return plan


def _as_it_is(plan: Plan, *_: Any) -> Iterator[Plan]:
    """The plan alone."""
    yield plan


def _variants(plan: Plan, points: Tensor, noise: Sequence[Tensor], right: Tensor) -> Iterator[Plan]:
    """A plan as it is; at the largest number in place of infinity; saturated, with a few inputs looked up."""
    yield plan

    def clamped(u: Tensor, *noise: Tensor) -> Tensor:
        largest = torch.finfo(u.dtype).max
        return plan(u.clamp(-largest, largest), *noise)

    yield clamped

    def saturated(u: Tensor) -> Tensor:
        largest = torch.finfo(u.dtype).max
        return clamped(u).clamp(-largest, largest)

    if noise:
        return
    found = saturated(points)
    wrong = ~near(found, right)
    exceptions = dict(zip(points[wrong].tolist(), right[wrong].tolist(), strict=True))
    missed_root = (right == 0) & (found.abs() < torch.finfo(torch.float64).eps)
    singled_out = points.isinf() | found.isnan() | missed_root
    if len(exceptions) > _EXCEPTIONS or bool((wrong & ~singled_out).any()):
        return

    def corrected(u: Tensor) -> Tensor:
        value = saturated(u)
        for exception, its_value in exceptions.items():
            value = torch.where(u == exception, its_value, value)
        return value

    yield corrected
