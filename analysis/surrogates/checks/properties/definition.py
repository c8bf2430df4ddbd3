"""Word and deed: the backward against its formula, its primitive, its parameters, its declared randomness."""

from __future__ import annotations

import math
from typing import Any

import torch

from ...formula import noise
from ..check import check
from ..record import Outcome, Record, note, passed, skipped, violation
from ..search import grids, reference
from ..search.agreement import FAR, agreement
from ..subject import Response, Subject, TargetRaised

DRAWS = 200


@check(declared="formula")
def matches_formula(subject: Subject) -> Record:
    """psi(u) is the documented formula at every u, either one-sided value counting at a jump."""
    if subject.random or subject.documented is None:
        return skipped("the formula or the backward is random: its mean is compared, see noise-mean")
    what, formula = "the documented formula", subject.adapted.formula
    breaks = grids.breaks(formula)
    record = agreement(subject, *subject.nodes, subject.documented, subject.documented_at, what, breaks=breaks)
    if record.outcome is not Outcome.PASSED or formula is None:
        return record
    single = subject.on_grid(torch.float32)
    u = single.u[single.u.abs() <= FAR]
    factor = single.gradient[single.u.abs() <= FAR].numpy()
    wanted = reference.values(formula, u.double().numpy())
    return agreement(
        subject, u.numpy(), factor, wanted, subject.documented_at, what, breaks=breaks, dtype=torch.float32
    )


@check(declared="primitive")
def matches_primitive(subject: Subject) -> Record:
    """psi = dP/du for the declared primitive P, either one-sided value counting at a kink."""
    if subject.random:
        return skipped("the backward is random")
    primitive = subject.adapted.primitive
    assert primitive is not None
    try:
        u, factor = subject.nodes
        derivative = subject.respond(torch.from_numpy(u), apply=primitive).gradient.numpy()
    except TargetRaised as raised:
        return violation(f"the primitive itself does not run: {raised}", error=str(raised))

    def at(point: float) -> float:
        return float(subject.respond(torch.tensor([point], dtype=torch.float64), apply=primitive).gradient)

    return agreement(subject, u, factor, derivative, at, "its primitive's derivative")


@check(declared="parameters")
def parameters_matter(subject: Subject) -> Record:
    """For each declared parameter p there are values p, p' and a u with phi or psi different."""
    points = grids.coarse(torch.float64)
    base = subject.respond(points)
    frozen: dict[str, list[Any]] = {}
    for name, value in subject.adapted.parameters.items():
        tried = []
        for other in _others(value):
            answer = _with(subject, points, name, other)
            if answer is not None:
                tried.append(other)
                if _moved(base, answer):
                    break
        else:
            frozen |= {name: tried} if tried else {}
    if not frozen:
        return passed(f"each of {', '.join(map(str, subject.adapted.parameters))} changes something")
    name, tried = next(iter(frozen.items()))
    value = subject.adapted.parameters[name]
    return violation(
        f"{' and '.join(frozen)} changes nothing: whoever tunes it tunes nothing, and a published "
        f"value of it means nothing",
        parameter=str(name),
        value=value,
        tried=tried,
        python=subject.python(
            0.5, torch.float64, f"print(torch.equal(f.at({name}={value!r})(u), f.at({name}={tried[0]!r})(u)))"
        ),
    )


@check()
def reproducible(subject: Subject) -> Record:
    """Equal seeds of torch's generator give equal draws; what is declared random varies, what is fixed does not."""
    declared = subject.adapted.random
    if not subject.seeded:
        return violation(
            "two runs from the same seed of torch's generator differ: no training run with it can be repeated",
            seed=subject.seed,
            python=subject.python(
                0.5,
                torch.float32,
                "print([(torch.manual_seed(0), torch.autograd.grad(f(u).sum(), u))[1] for _ in range(2)])",
            ),
        )
    if declared is True and not subject.random:
        return violation("declared random, and every seed gives the same: nothing is drawn", seeds=[0, 1, 2, 3])
    if declared is False and subject.random:
        return violation(
            "declared not random, and two seeds give different answers: it draws behind its user's back",
            python=subject.python(0.5, torch.float32),
        )
    if declared is None and subject.random:
        return note("draws anew at each call (from torch's generator, so a seed repeats it): declare random=True")
    return passed("draws follow the seed" if subject.random else "the same at every call")


@check(declared="formula")
def noise_mean(subject: Subject) -> Record:
    """E psi(u, xi) is the formula's mean at each u: |average - mean| < 5 standard errors over 200 seeds."""
    formula = subject.adapted.formula
    assert formula is not None
    if not subject.random and not reference.is_random(formula):
        return skipped("neither the backward nor its formula is random")
    if not subject.seeded:
        return skipped("the same seed gives different draws: see reproducible")
    points = torch.tensor([-7.0, -2.0, -0.75, -0.25, 0.25, 0.75, 2.0, 7.0], dtype=torch.float64)
    block = points.repeat(64, 1)
    means = torch.stack([subject.respond(block, seed=seed).gradient.mean(0) for seed in range(DRAWS)])
    average, error = means.mean(0), means.std(0) / math.sqrt(DRAWS)
    expected = torch.from_numpy(reference.values(noise.mean(formula), points.numpy()))
    off = (average - expected).abs() - 5 * error - 1e-9 * (1 + expected.abs())
    worst = int(off.argmax())
    if float(off[worst]) <= 0:
        return passed(f"the mean of {64 * DRAWS} draws is the formula's at 8 points")
    return violation(
        f"the mean factor at {float(points[worst]):g} is {float(average[worst]):.4g} and the formula's mean "
        f"{float(expected[worst]):.4g}: the expected step is not the one documented",
        u=float(points[worst]),
        mean=float(average[worst]),
        standard_error=float(error[worst]),
        expected=float(expected[worst]),
        python=subject.python(points[worst : worst + 1].repeat(4), torch.float64),
    )


def _others(value: Any) -> list[Any]:
    """Values to try in place of one: larger, smaller, shifted; whole numbers stay whole."""
    number = float(value)
    tried = [2 * number, number / 2, number + 1, number - 1, number + 0.25]
    if isinstance(value, int):
        tried = [2 * value, value + 1, value - 1, *tried]
    return [other for other in tried if other != value]


def _with(subject: Subject, points: torch.Tensor, name: str, value: Any) -> Response | None:
    """The response at another value of a parameter; ``None`` where the surrogate refuses that value."""
    try:
        return subject.respond(points, apply=subject.adapted.at(**{name: value}))
    except Exception:  # a constructor may refuse a value with any error it likes; that is no finding
        return None


def _moved(base: Response, other: Response | None) -> bool:
    return other is not None and not (
        torch.equal(base.y.nan_to_num(), other.y.nan_to_num())
        and torch.equal(base.gradient.nan_to_num(), other.gradient.nan_to_num())
    )
