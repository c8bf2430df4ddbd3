"""The shape of the factor over the line: where it is zero, whether it is even about its centre, its integral."""

from __future__ import annotations

import math

import numpy as np
import torch

from ..check import check
from ..record import Record, note, passed, skipped, violation
from ..search import grids
from ..subject import Subject

TOLERANCE = 1e-3
"""Relative difference of two integrals, or of two sides, that counts as a difference."""


@check()
def support(subject: Subject) -> Record:
    """{u in [-10, 10] : psi(u) = 0} is that of the formula; the share of a N(0, 1) preactivation in it is told."""
    u, factor = subject.nodes
    zero = factor == 0
    share = gaussian_share(u, zero)
    edges = [float(u[i]) for i in np.flatnonzero(np.diff(zero.astype(int))) if abs(u[i]) <= grids.REACH]
    if subject.documented is not None:
        height = float(abs(subject.documented).max())
        differs = (zero != (subject.documented == 0)) & (abs(u) <= grids.REACH)
        differs &= np.maximum(abs(factor), abs(subject.documented)) > 1e-6 * height
        off = gaussian_share(u, differs)
        if off > TOLERANCE:
            at = float(u[differs][abs(u[differs]).argmin()])
            return violation(
                f"zero where the formula is not, or the other way round, for {off:.2%} of unit-variance "
                f"preactivations, first at {at:g}: other units learn than those documented",
                **subject.example(at, torch.float64),
                expected=subject.documented_at(at),
            )
    if share == 0:
        return passed("zero nowhere that a unit-variance preactivation falls")
    where = ", ".join(f"{edge:.4g}" for edge in edges[:4])
    return note(
        f"zero for {share:.1%} of unit-variance preactivations (edges {where or 'none on [-10, 10]'}): those units get "
        f"no gradient on that sample",
        fraction=share,
        edges=edges[:4],
    )


@check()
def symmetric(subject: Subject) -> Record:
    """psi(c + v) = psi(c - v) for the centre c; where a formula is given, exactly if the formula is."""
    if subject.random:
        return skipped("a random factor is not compared pointwise")
    gap, at = asymmetry(subject)
    if subject.adapted.formula is not None:
        documented = asymmetry_of_formula(subject)
        if (gap > TOLERANCE) != (documented > TOLERANCE):
            here, there = ("one-sided", "even") if gap > TOLERANCE else ("even", "one-sided")
            return violation(
                f"{here} about {subject.adapted.centre:g}, while the formula is {there}: one side learns at another "
                f"rate than documented",
                **subject.example(at, torch.float64),
                mirrored=float(
                    subject.respond(torch.tensor([2 * subject.adapted.centre - at], dtype=torch.float64)).gradient
                ),
            )
    if gap <= TOLERANCE:
        return passed(f"even about {subject.adapted.centre:g}")
    return note(
        f"not even about {subject.adapted.centre:g}: units on one side of the threshold learn faster than "
        "their mirror image",
        **subject.example(at, torch.float64),
        mirrored=float(subject.respond(torch.tensor([2 * subject.adapted.centre - at], dtype=torch.float64)).gradient),
    )


@check()
def mass(subject: Subject) -> Record:
    """integral psi du over the line is the formula's; where none is given, it is compared with the forward's rise."""
    if subject.random:
        return skipped("the integral of a random factor is that of its mean: see noise-mean")
    u, factor = subject.nodes
    found = integral(u, factor)
    if subject.documented is not None:
        expected = integral(u, subject.documented)
        if math.isnan(found + expected) or math.isinf(found) != math.isinf(expected):
            return skipped("values at finitely many points do not tell whether the integral over the line exists")
        if not math.isclose(found, expected, rel_tol=TOLERANCE, abs_tol=1e-9):
            return violation(
                f"the integral is {found:.4g} and the formula's is {expected:.4g} (ratio {found / expected:.5g}): "
                f"learning rates tuned for one do not suit the other",
                integral=found,
                expected=expected,
                python=subject.python(subject.adapted.centre, torch.float64),
            )
        return passed(f"integral {found:.4g}, as the formula's")
    y = subject.expected_forward(torch.tensor([-1e6, -1e3, 1e3, 1e6], dtype=torch.float64)).double()
    rise = math.copysign(math.inf, float(y[3] - y[0])) if float(y.diff().abs().max()) > 1e4 else float(y[3] - y[0])
    if math.isnan(found):
        return skipped("values at finitely many points do not tell whether the integral over the line exists")
    if math.isclose(found, rise, rel_tol=TOLERANCE):
        return passed(f"integral {found:.4g}, the forward's rise")
    return note(
        f"integral {found:.4g} where the forward rises by {rise:.4g}: the backward's overall scale is not the "
        "forward's",
        integral=found,
        rise=rise,
    )


def integral(u: np.ndarray, factor: np.ndarray) -> float:
    """The trapezoidal integral over ascending nodes; infinite where the outer decades do not fade and have one sign,
    NaN where they do not fade and change it: an oscillation between the nodes has no integral that they could show."""
    with np.errstate(over="ignore", invalid="ignore"):
        parts = np.diff(u) * (factor[1:] / 2 + factor[:-1] / 2)
        reach = np.maximum(abs(u[1:]), abs(u[:-1]))
        inner, outer = float(parts[reach <= 1e9].sum()), parts[reach > 1e9]
    gained, lost = float(outer[outer > 0].sum()), -float(outer[outer < 0].sum())
    if gained + lost <= TOLERANCE * max(abs(inner), 1e-300):
        return inner
    if min(gained, lost) > TOLERANCE * max(gained, lost):
        return math.nan
    return math.inf if gained > lost else -math.inf


def gaussian_share(u: np.ndarray, where: np.ndarray) -> float:
    """The N(0, 1) measure of the cells between nodes whose both ends are in ``where``."""
    cdf = np.array([math.erf(x) for x in (u / math.sqrt(2)).tolist()]) / 2
    return float((np.diff(cdf) * (where[1:] & where[:-1])).sum())


def asymmetry(subject: Subject) -> tuple[float, float]:
    """The largest |psi(c + v) - psi(c - v)| relative to sup |psi|, and u = c + v where it is."""
    v, right, left = _mirrored(subject)
    height = max(float(right.abs().max()), float(left.abs().max()), 1e-300)
    worst = int((right - left).abs().argmax())
    return float((right - left).abs()[worst]) / height, float(subject.adapted.centre + v[worst])


def asymmetry_of_formula(subject: Subject) -> float:
    """The same of the formula."""
    from ..search.reference import values

    v, _, _ = _mirrored(subject)
    assert subject.adapted.formula is not None
    right, left = (values(subject.adapted.formula, (subject.adapted.centre + side * v).numpy()) for side in (1, -1))
    return float(abs(right - left).max() / max(abs(right).max(), abs(left).max(), 1e-300))


def _mirrored(subject: Subject) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """v > 0 on (0, 10], away from jumps, and the factor on both sides."""
    v = torch.arange(1, 20_000, dtype=torch.float64) / 2000 + 1 / 7919
    c = subject.adapted.centre
    right, left = (subject.respond(c + side * v).gradient.nan_to_num() for side in (1, -1))
    return v, right, left
