"""Values of the factor psi: finite, of the forward's sign, not zero, bounded."""

from __future__ import annotations

import torch

from ... import strategies
from ..check import check
from ..record import Record, note, passed, violation
from ..search import grids
from ..search.shrink import hunt, least
from ..subject import Subject, TargetRaised, short

GROWS = 1e3
"""A factor is unbounded where it grows by this much beyond any scale that a network meets, or towards one point."""

SMALL = 1e-6
"""A factor below this part of its supremum may round to zero: no defect, but worth a note."""


@check()
def finite(subject: Subject) -> Record:
    """psi(u) is finite and phi(u) a number for every finite u of float32 and float64; at +-infinity it is a note."""
    for dtype in (torch.float32, torch.float64):
        found = _not_finite(subject, dtype)
        if found is not None:
            value = subject.respond(torch.tensor([found], dtype=dtype))
            lost = not bool(value.gradient.isfinite().all())
            what, number = ("gradient", float(value.gradient)) if lost else ("value", float(value.y))
            return violation(
                f"the {what} at the finite preactivation {found:g} is {number:g}: one such unit turns "
                f"every weight below it into NaN in a single step",
                **subject.example(found, dtype),
            )
    infinite = torch.tensor([float("inf"), -float("inf")])
    gradient = subject.respond(infinite).gradient
    if not bool(gradient.isfinite().all()):
        at = float(infinite[~gradient.isfinite()][0])
        return note(
            f"finite everywhere but at {at:g}: an overflowing layer below yields NaN here instead of saturating",
            **subject.example(at, torch.float32),
        )
    return passed("finite at every finite preactivation searched, and at both infinities")


@check()
def finite_low_precision(subject: Subject) -> Record:
    """psi(u) is finite for every one of the finite values u of bfloat16 and of float16."""
    refused = []
    for dtype in grids.WHOLE:
        try:
            response = subject.on_grid(dtype)
        except TargetRaised as raised:
            refused.append(f"{short(dtype)} ({raised})")
            continue
        bad = ~response.gradient.isfinite() | response.y.isnan()
        found = least(response.u, bad, lambda u: ~subject.respond(u).gradient.isfinite())
        if found is not None:
            return violation(
                f"the gradient at {found:g} is not finite in {short(dtype)}: mixed-precision training breaks there",
                **subject.example(found, dtype),
            )
    if refused:
        return note(f"refuses {'; '.join(refused)}: it cannot be trained in that precision")
    return passed("finite at all values of both half-precision formats")


@check()
def sign_preserving(subject: Subject) -> Record:
    """psi(u) * s(u) >= 0, s = the sign of the forward's slope: +1 where it never falls, -1 where it never rises."""
    for dtype in (torch.float32, torch.float64):
        found = _wrong_sign(subject, dtype)
        if found is not None:
            direction = "rises" if float(subject.orientation(torch.tensor([found], dtype=dtype))) > 0 else "falls"
            response = subject.on_grid(dtype)
            against = (response.gradient.double() * subject.orientation(response.u)).nan_to_num()
            worst = int(against.argmin())
            return violation(
                f"the factor has the wrong sign at {found:g} (the forward {direction}): a unit there is moved against "
                f"its own gradient, uphill; so is {grids.share(response.u, against < 0):.1%} of [-10, 10]",
                **subject.example(found, dtype),
                worst_u=float(response.u[worst]),
                worst_gradient=float(response.gradient[worst]),
            )
    pair = _against_upstream(subject) if subject.seeded else None
    if pair is not None:
        u, g = pair
        then = f"print(torch.autograd.grad(f(u), u, torch.tensor({g.tolist()}, dtype=torch.float64))[0])"
        return violation(
            "the gradient that comes back has not the sign of the one sent: what is added or subtracted on the way "
            "moves units uphill",
            u=u,
            upstream=g,
            gradient=subject.respond(u, g).gradient,
            python=subject.python(u.tolist(), torch.float64, then),
        )
    if subject.direction == 0:
        return passed("of the sign of the forward's own slope, which changes")
    return passed("never of the wrong sign")


@check()
def strictly_positive(subject: Subject) -> Record:
    """|psi(u)| > 0 on [-10, 10]; a formula that is strictly positive must be met by a backward that is."""
    response = subject.on_grid(torch.float64)
    inside = response.u.abs() <= grids.REACH
    zero = inside & (response.gradient == 0)
    formula = subject.adapted.formula
    if not bool(zero.any()):
        found = _leaks(subject)
        if found is None:
            return passed("no factor on [-10, 10] is zero")
        return violation(
            f"the formula is zero at {found:g} and the backward is zero nowhere: units that should rest are moved",
            **subject.example(found, torch.float64),
            expected=0.0,
        )
    found = least(response.u, zero, lambda u: subject.respond(u).gradient == 0)
    assert found is not None
    example = subject.example(found, torch.float64)
    if formula is not None and subject.documented is not None:
        expected = subject.documented_at(found)
        if abs(expected) > SMALL * subject.height:
            return violation(
                f"the gradient is lost at {found:g}, where the formula gives {expected:.3g}: units there never learn",
                **example,
                expected=expected,
            )
        if expected != 0:
            return note(
                f"rounds to zero from {found:g} on, where the formula is {expected:.2g}: too small to matter", **example
            )
    share = grids.share(response.u, zero)
    return note(f"zero at {found:g}, and on {share:.0%} of [-10, 10]: a unit there gets no gradient", **example)


@check()
def bounded(subject: Subject) -> Record:
    """sup |psi| < infinity, unless the forward itself grows faster than linearly; and sup |psi| is the formula's."""
    u, _, factor = subject.on_grid(torch.float64)
    size = factor.abs().nan_to_num(nan=0.0)
    documented = subject.documented
    if documented is not None:
        at, seen = subject.nodes
        expected = float(abs(documented).max())
        top = int(abs(seen).argmax())
        if abs(seen[top]) > expected * (1 + 1e-3) + 1e-12:
            return violation(
                f"the factor reaches {seen[top]:.4g} at {at[top]:g}, above the formula's supremum {expected:.4g}: "
                f"steps are longer than documented",
                **subject.example(float(at[top]), torch.float64),
                supremum=expected,
            )
    near = size[(u.abs() <= 1e3) & (u.abs() >= 1e-3)].max()
    worst = int(size.argmax())
    if float(size[worst]) <= GROWS * float(near):
        return passed(f"at most {float(size[worst]):.4g}")
    found = float(u[worst])
    example = subject.example(found, torch.float64)
    y = subject.expected_forward(u).double()
    grows = bool((y.abs() > GROWS * (1 + u.abs())).any())
    if grows or (documented is not None and abs(documented).max() > GROWS * float(near)):
        return note(
            "unbounded by design, as its forward or its formula is: large preactivations blow the gradient up",
            **example,
        )
    return violation(
        f"unbounded: {float(size[worst]):.3g} at {found:.3g}, though the forward grows at most linearly; "
        "gradients explode",
        **example,
    )


def _not_finite(subject: Subject, dtype: torch.dtype) -> float | None:
    def fails(u: torch.Tensor) -> torch.Tensor:
        response = subject.respond(u)
        return ~response.gradient.isfinite() | response.y.isnan()

    response = subject.on_grid(dtype)
    found = least(response.u, ~response.gradient.isfinite() | response.y.isnan(), fails)
    if found is None:
        drawn = hunt(
            subject.seed, strategies.preactivations(dtype, max_side=8), lambda u: bool(fails(u).any()), subject.examples
        )
        found = None if drawn is None else least(drawn, fails(drawn), fails)
    return found


def _wrong_sign(subject: Subject, dtype: torch.dtype) -> float | None:
    seen = subject.on_grid(dtype)
    noise = torch.finfo(dtype).eps * float(seen.gradient.double().nan_to_num(0.0, 0.0, 0.0).abs().max())

    def against(u: torch.Tensor, factor: torch.Tensor) -> torch.Tensor:
        product = factor.double() * subject.orientation(u)
        # Far out, a sign that rounding leaves on what is next to nothing is no finding; on [-10, 10] every one is.
        return product < -noise * (u.abs() > grids.REACH).double()

    def fails(u: torch.Tensor) -> torch.Tensor:
        return against(u, subject.respond(u).gradient)

    found = least(seen.u, against(seen.u, seen.gradient), fails)
    if found is None and subject.random:
        points = grids.coarse(dtype)
        for seed in range(1, 9):
            bad = against(points, subject.respond(points, seed=seed).gradient)
            found = least(points, bad, torch.zeros_like) if found is None else found
    if found is None:
        drawn = hunt(
            subject.seed, strategies.preactivations(dtype, max_side=8), lambda u: bool(fails(u).any()), subject.examples
        )
        found = None if drawn is None else least(drawn, fails(drawn), fails)
    return found


def _against_upstream(subject: Subject) -> tuple[torch.Tensor, torch.Tensor] | None:
    """The fewest (u, g), of 1, 2 or all points, at which the gradient's sign is not that of g times the forward's."""
    generator = subject.generator()
    u = grids.coarse(torch.float64)
    g = torch.randn(u.shape, generator=generator, dtype=torch.float64)
    g = g * 10 ** (-3 * torch.rand(u.shape, generator=generator, dtype=torch.float64))

    def flips(keep: slice) -> bool:
        product = subject.respond(u[keep], g[keep]).gradient * g[keep] * subject.orientation(u[keep])
        return bool((product < 0).any())

    if not flips(slice(None)):
        return None
    few = (slice(i, i + size) for size in (1, 2) for i in range(len(u) - size))
    keep = next((part for part in few if flips(part)), slice(None))
    return u[keep], g[keep]


def _leaks(subject: Subject) -> float | None:
    """Where on [-10, 10] the formula is zero and the backward clearly is not."""
    u, factor = subject.nodes
    if subject.documented is None:
        return None
    clear = (abs(u) <= grids.REACH) & (subject.documented == 0) & (abs(factor) > SMALL * abs(factor).max())
    return float(u[clear][abs(u[clear]).argmin()]) if clear.sum() > 100 else None
