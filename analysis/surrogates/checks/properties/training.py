"""The theory's scope: one unit under one sample descends, and no unit is stuck for ever."""

from __future__ import annotations

import torch

from ..check import check
from ..record import Record, note, passed, violation
from ..search.shrink import roundest
from ..subject import Subject

STEPS = 50
RATE = 0.5


@check()
def descent_one_unit(subject: Subject) -> Record:
    """One unit z = w.x, one sample, loss (phi(z) - t)^2/2: <g~, s(z) (phi(z) - t) x> >= 0, so it steps downhill."""
    generator = subject.generator()
    still = 0
    starts = (-8.0, -3.0, -1.5, -0.75, -0.25, 0.25, 0.75, 1.5, 3.0, 8.0)
    cases = [(z, side) for z in starts for side in (-1.0, -0.01, 0.01, 1.0)]
    for z, side in cases:
        x = torch.randn(3, generator=generator, dtype=torch.float64)
        w = x * (z + subject.adapted.centre) / (x @ x)
        preactivation = (w @ x).reshape(1)
        y = subject.forward(preactivation)
        gap = torch.full_like(y, side)
        gradient = subject.respond(preactivation, gap).gradient
        product = float((gradient * x) @ (subject.orientation(preactivation) * gap.double() * x))
        still += product == 0
        if product < 0:
            at = float(preactivation)
            then = f"print(torch.autograd.grad(f(u), u, torch.tensor([{side}], dtype=torch.float64))[0])"
            return violation(
                f"one unit under one sample is moved uphill at the preactivation {at:.4g}: not even the case that the "
                f"theory grants every positive factor holds",
                u=at,
                upstream=side,
                gradient=float(gradient),
                inner_product=product,
                python=subject.python(at, torch.float64, then),
            )
    if still:
        return note(f"downhill or still: in {still} of {len(cases)} cases the unit gets no step at all", still=still)
    return passed(f"downhill in {len(cases)} cases")


@check()
def stuck(subject: Subject) -> Record:
    """No z in [-10, 10] with a wrong output stays where it is for ever: w = z, x = 1, squared error, plain descent."""
    inside = torch.arange(1, 641, dtype=torch.float64) / 64
    points = subject.adapted.centre + torch.stack([inside, -inside], 1).flatten()
    factor = subject.respond(points).gradient
    candidates = points[factor == 0]
    for seed in range(1, 4):
        kept = subject.respond(candidates, seed=seed).gradient == 0 if len(candidates) else candidates.bool()
        candidates = candidates[kept]
    if not len(candidates):
        return passed("every unit on [-10, 10] moves when its output is wrong")
    start = float(candidates[(candidates - subject.adapted.centre).abs().argmin()])
    start = roundest(start, torch.float64, lambda u: subject.respond(u).gradient == 0)
    moved = _train(subject, start)
    if moved:
        return passed("a zero factor at single points only: units move on")
    example = {**subject.example(start, torch.float64), "steps": STEPS, "w": start, "x": 1.0}
    formula = subject.adapted.formula
    if formula is not None and subject.documented is not None:
        expected = subject.documented_at(start)
        if abs(expected) > 1e-6 * float(abs(subject.documented).max()):
            return violation(
                f"a unit at {start:g} never moves again, though the formula gives {expected:.3g} there: it is "
                "dead by mistake",
                **example,
                expected=expected,
            )
    share = float((factor == 0).double().mean())
    return note(
        f"a unit at {start:g} with a wrong output never moves again, as at {share:.0%} of [-10, 10]: a compact or "
        f"one-sided support leaves such units to the bias and to other samples",
        **example,
    )


def _train(subject: Subject, start: float) -> bool:
    """Whether plain descent on one sample ever moves a unit that starts at ``start`` and has a wrong output."""
    w = torch.tensor([start], dtype=torch.float64)
    target = float(subject.forward(w)) + (1.0 if start < subject.adapted.centre else -1.0)
    for step in range(STEPS):
        response = subject.respond(w, seed=step)
        w = w - RATE * response.gradient * (response.y.double() - target)
        if float(w) != start:
            return True
    return False
