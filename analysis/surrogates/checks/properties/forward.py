"""The forward: that it runs and passes a gradient on, that it is the declared one, what it does at the threshold."""

from __future__ import annotations

import torch

from ...activation import Activation
from ..check import check
from ..record import Record, note, passed, skipped, violation
from ..search import grids
from ..search.agreement import FAR
from ..search.shrink import least
from ..subject import Subject, TargetRaised, short

CLOSE = 1e-6
"""Difference, relative to 1 + |phi|, that two ways to compute a smooth forward may leave (torch's softplus: 2e-9)."""


@check()
def forward_runs(subject: Subject) -> Record:
    """phi(u) is defined: a tensor comes back for float32 and for float64 input."""
    for dtype in (torch.float32, torch.float64):
        try:
            subject.forward(grids.coarse(dtype))
        except TargetRaised as raised:
            then = "print(f(u))"
            return violation(
                f"the forward does not run on {short(dtype)} values between -16384 and 16384: {raised}",
                error=str(raised),
                python=subject.python(0.5, dtype, then),
            )
    return passed()


@check()
def backward_runs(subject: Subject) -> Record:
    """d(y . g)/du is defined and not identically zero: a gradient reaches the preactivation."""
    generator = subject.generator()
    lost = True
    for dtype in (torch.float32, torch.float64):
        u = grids.coarse(dtype)
        upstream = torch.randn(u.shape, generator=generator, dtype=torch.float64).to(dtype)
        try:
            y = subject.forward(u)
            if y.shape != u.shape:
                subject.respond(u)
                return passed("it runs; its shape is another check's")
            response = subject.respond(u, upstream.to(y.dtype))
        except TargetRaised as raised:
            return violation(
                f"the backward does not run, so nothing below this activation learns: {raised}",
                error=str(raised),
                python=subject.python(0.5, dtype),
            )
        lost &= bool((response.gradient == 0).all())
    if lost:
        return violation(
            f"the gradient is lost: 0 at each of {len(u)} preactivations between -16384 and 16384, so nothing "
            "below learns",
            u=0.5,
            gradient=0.0,
            python=subject.python(0.5),
        )
    return passed()


@check(declared="forward")
def forward_exact(subject: Subject) -> Record:
    """phi(u) is the declared forward: exactly where that is a step; where smooth, up to rounding and for |u| <= 1e4."""
    if subject.random_forward:
        return skipped("the forward draws")
    for dtype in (torch.float32, torch.float64):
        u = subject.grid(dtype)
        y = subject.on_grid(dtype).y
        expected = subject.expected_forward(u).double()
        stepped = len(torch.unique(expected)) <= 16
        where = (u != subject.adapted.centre) & (stepped | (u.abs() <= FAR))
        found = _first_difference(subject, u, y.double(), expected, where, 0.0 if stepped else CLOSE)
        if found is not None:
            point = torch.tensor([found], dtype=dtype)
            got, want = float(subject.forward(point)), float(subject.expected_forward(point))
            return violation(
                f"the forward at {found:g} is {got:g} and not the declared {want:g}: the network computes something "
                f"else than it says",
                u=found,
                dtype=short(dtype),
                value=got,
                expected=want,
                python=subject.python(found, dtype, "print(f(u))"),
            )
    return passed("the declared forward")


@check(declared="forward")
def forward_at_centre(subject: Subject) -> Record:
    """phi(c) is the declared value or, by convention, one of the one-sided limits; phi(+0) = phi(-0)."""
    if subject.random_forward:
        return skipped("the forward draws")
    for dtype in (torch.float32, torch.float64):
        centre = torch.tensor([subject.adapted.centre], dtype=dtype)
        below, above = (torch.nextafter(centre, torch.full_like(centre, side)) for side in (-torch.inf, torch.inf))
        left, at, right, negative = (float(subject.forward(point)) for point in (below, centre, above, -centre))
        example = {
            "u": subject.adapted.centre,
            "dtype": short(dtype),
            "value": at,
            "python": subject.python(subject.adapted.centre, dtype, "print(f(u))"),
        }
        if subject.adapted.centre == 0 and negative != at:
            return violation(f"phi(-0) = {negative:g} and phi(0) = {at:g}: one number, two answers", **example)
        want = float(subject.expected_forward(centre))
        if at == want or abs(at - want) <= CLOSE:
            continue
        limits = [float(subject.expected_forward(point)) for point in (below, above)]
        if at in limits:
            return note(
                f"at its threshold the forward gives {at:g} where {_called(subject)} gives {want:g}: a convention, "
                f"which decides whether a unit that starts at zero fires",
                **example,
            )
        return violation(
            f"at its threshold the forward gives {at:g}, neither {limits[0]:g} nor {limits[1]:g} nor the declared "
            f"{want:g} (it gives {left:g} below and {right:g} above)",
            **example,
        )
    return passed("the declared value at the threshold")


def _first_difference(
    subject: Subject, u: torch.Tensor, y: torch.Tensor, expected: torch.Tensor, where: torch.Tensor, tolerance: float
) -> float | None:
    def far(got: torch.Tensor, want: torch.Tensor) -> torch.Tensor:
        return ((got - want).abs() > tolerance * (1 + want.abs())) | (got.isnan() & ~want.isnan())

    def fails(point: torch.Tensor) -> torch.Tensor:
        return far(subject.forward(point).double(), subject.expected_forward(point).double())

    return least(u, far(y, expected) & where, fails)


def _called(subject: Subject) -> str:
    forward = subject.adapted.forward
    return forward.name if isinstance(forward, Activation) else "the declared forward"
