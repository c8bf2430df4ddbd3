"""Two factors, compared: whether they agree at every point, and where and how far they do not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from ..record import Record, note, passed, violation
from ..subject import Subject
from . import grids
from .shrink import least

FAR = 1e4
"""Beyond this no preactivation of a network lies, and what is compared there is mostly underflow."""

NEIGHBOURS = range(-6, 7)


@dataclass(frozen=True)
class Tolerance:
    """What two ways to compute a factor may differ by.

    Attributes:
        violation: relative difference from which on the two are not the same.
        note: relative difference from which on an epsilon, or a constant kept in float32, stands in one of them.
        floor: absolute difference, as a part of the supremum, that the dtype's arithmetic may leave anywhere.
        spacing: the numbers within so many ulps of a jump count as the jump.
        edge: how far from a break point of the formula, relative to 1 + |break|, rounding may put the jump.
    """

    violation: float
    note: float
    floor: float
    spacing: int = 8
    edge: float = 1e-15


TOLERANCES = {torch.float64: Tolerance(1e-4, 1e-6, 1e-12), torch.float32: Tolerance(1e-3, 1e-3, 1e-6, edge=1e-6)}


def agreement(
    subject: Subject,
    u: np.ndarray,
    factor: np.ndarray,
    wanted: np.ndarray,
    at: Callable[[float], float],
    what: str,
    *,
    breaks: Sequence[float] = (),
    dtype: torch.dtype = torch.float64,
) -> Record:
    """The factor against the values wanted, where both are finite; at a jump either one-sided value counts.

    Args:
        subject: whose factor it is.
        u: ascending points of ``dtype``.
        factor: psi at each.
        wanted: what it is meant to be at each.
        at: what it is meant to be at one point.
        what: how the message calls that.
        breaks: where the formula breaks, beyond what shows in ``wanted``.
        dtype: the dtype in which psi was computed.
    """
    keep = (abs(u) <= FAR) & np.isfinite(wanted) & np.isfinite(factor)
    u, factor, wanted = u[keep], factor[keep].astype(np.float64), wanted[keep]
    allowed, floor = TOLERANCES[dtype], TOLERANCES[dtype].floor * abs(wanted).max(initial=0.0)
    reach = allowed.spacing * np.spacing(np.maximum(abs(u), u.dtype.type(1e-30)))
    close = np.stack([abs(np.roll(u, shift) - u) <= reach for shift in NEIGHBOURS])
    near = np.stack([np.roll(wanted, shift) for shift in NEIGHBOURS])
    low, high = np.where(close, near, np.inf).min(0), np.where(close, near, -np.inf).max(0)
    edges = [(edge, allowed.edge * (1 + abs(edge))) for edge in breaks]
    for edge, width in edges:
        held, sides = abs(u - edge) <= width, [at(edge - 2 * width), at(edge + 2 * width)]
        low[held], high[held] = np.minimum(low[held], min(sides)), np.maximum(high[held], max(sides))
    with np.errstate(over="ignore"):  # two numbers of opposite sign near the largest are too far apart for a number
        gap = np.maximum(low - factor, factor - high) - floor
    for limit in sorted({allowed.violation, allowed.note}, reverse=True):
        bad = gap > limit * np.maximum(abs(low), abs(high))
        if not bad.any():
            continue

        def fails(point: torch.Tensor, limit: float = limit) -> torch.Tensor:
            sides = [at(side) for side in grids.around([float(point)], dtype).tolist()]
            for edge, width in edges:
                if abs(float(point) - edge) <= width:
                    sides += [at(edge - 2 * width), at(edge + 2 * width)]
            slack = limit * max(map(abs, sides)) + floor
            got = float(subject.respond(point).gradient)
            return torch.tensor([not min(sides) - slack <= got <= max(sides) + slack])

        found = least(torch.from_numpy(u), torch.from_numpy(bad), fails)
        assert found is not None
        example = {**subject.example(found, dtype), "expected": at(found), "share": float(bad.mean())}
        got, want = example["gradient"], example["expected"]
        if limit == allowed.note < allowed.violation:
            off = abs(got / want - 1) if want else float("inf")
            return note(f"agrees with {what} to {off:.1g} only, at {found:g}: an epsilon in one of them", **example)
        return violation(
            f"the backward at {found:g} is {got:.6g} and {what} {want:.6g}{_constant(factor[bad], wanted[bad])}: what "
            f"is trained is not what is described",
            **example,
        )
    return passed(f"equal to {what}")


def _constant(factor: np.ndarray, wanted: np.ndarray) -> str:
    """Says so where the one is a multiple of the other: a constant left out or put in twice."""
    ratios = (factor / np.where(wanted == 0, np.nan, wanted))[wanted != 0]
    if not len(ratios) or ratios.std() > 1e-6 * abs(ratios.mean()):
        return ""
    return f"; the ratio is {ratios.mean():.6g} throughout"
