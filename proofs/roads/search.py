"""The numeric road: two adversaries look for an instance in the scope where the statement fails.

The first is Hypothesis, on small exact fractions, so that what it finds is exact and shrunk; the second is an
optimiser, on floats, that climbs the excess from many starts. Both have fixed seeds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any
from zlib import crc32

from .game import Comparison, Draw, Game, Instance, Number

if TYPE_CHECKING:
    from ..claim import Claim

_LARGEST = 8
_DENOMINATOR = 3


@dataclass(frozen=True)
class Found:
    """What the search did.

    Attributes:
        cases: how many instances and comparisons were tried.
        worst: the largest excess seen (relative difference over what is allowed, for comparisons).
        counterexample: the instance at which the statement fails, None where none was found.
        searcher: which searcher found it.
        comparisons: the stated values beside their independent evaluations.
    """

    cases: int
    worst: float
    counterexample: Instance | None = None
    searcher: str = ""
    comparisons: tuple[Comparison, ...] = ()


class _Arena:
    """One claim's game as a function of the adversary's vector; counts the cases and keeps the worst."""

    def __init__(self, claim: Claim, game: Game) -> None:
        self.claim, self.game = claim, game
        self.held = frozenset(hypothesis.name for hypothesis in claim.hypotheses)
        self.cases, self.worst = 0, -float("inf")
        self.free = max(self._used([Fraction(k)] * 400) for k in (-_LARGEST, 0, 1, _LARGEST))

    def _used(self, values: list[Fraction]) -> int:
        draw = Draw([float(v) for v in values] if not self.game.exact else values, self.held)
        self.game.instance(draw)
        return draw.used

    def instance(self, values: Sequence[Number]) -> Instance:
        return self.game.instance(Draw(values, self.held))

    def excess(self, values: Sequence[Number]) -> float:
        """The excess; minus infinity outside the scope, where a division by zero is outside too.

        Where fractions decide, a suspicion in floats is heard again with the same numbers as fractions.
        """
        numbers = list(values) if self.game.exact else [float(value) for value in values]
        try:
            excess = self.game.excess(self.claim.stated, **self.instance(numbers))
            if self.game.exact and isinstance(excess, float) and excess > 0:
                numbers = [Fraction(value) for value in numbers]
                excess = self.game.excess(self.claim.stated, **self.instance(numbers))
        except (ZeroDivisionError, OverflowError):
            return -float("inf")
        if excess is None or excess != excess:
            return -float("inf")
        self.cases += 1
        exact = isinstance(excess, Fraction | int)
        excess = float(excess) if exact or excess > self.game.tolerance else min(float(excess), 0.0)
        self.worst = max(self.worst, excess)
        return excess


def _with_hypothesis(arena: _Arena, examples: int) -> list[Fraction] | None:
    """The smallest vector of fractions at which the statement fails, as Hypothesis finds and shrinks it."""
    from hypothesis import HealthCheck, Phase, find, settings
    from hypothesis import strategies as st
    from hypothesis.errors import NoSuchExample

    numbers = st.builds(Fraction, st.integers(-_LARGEST, _LARGEST), st.integers(1, _DENOMINATOR))
    vectors = st.lists(numbers, min_size=arena.free, max_size=arena.free)
    plan = settings(
        max_examples=examples,
        database=None,
        deadline=None,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )
    try:
        return find(vectors, lambda values: arena.excess(values) > 0, settings=plan, random=_seeded(arena.claim.id))
    except NoSuchExample:
        return None


def _seeded(name: str) -> Any:
    from random import Random

    return Random(crc32(name.encode()))


def _with_optimiser(arena: _Arena, budget: int) -> list[float] | None:
    """A vector at which the statement fails, by climbing the excess from the best of many random starts."""
    import numpy as np
    from scipy.optimize import minimize

    generator = np.random.default_rng(crc32(arena.claim.id.encode()))
    spread = generator.choice([0.3, 1.0, 3.0, 10.0], size=(budget, 1))
    starts = spread * generator.standard_normal((budget, arena.free))
    scores = np.array([arena.excess([float(x) for x in start]) for start in starts])
    if scores.max() > 0:
        return [float(x) for x in starts[scores.argmax()]]

    def loss(values: Any) -> float:
        excess = arena.excess([float(x) for x in values])
        if excess > 0:
            raise _Caught([float(x) for x in values])
        return 1e6 if excess == -float("inf") else -excess

    try:
        for start in starts[np.argsort(-scores)[:3]]:
            if arena.free:
                minimize(loss, start, method="Powell", options={"maxfev": budget, "xtol": 1e-10, "ftol": 1e-14})
    except _Caught as caught:
        return caught.values
    return None


class _Caught(Exception):
    def __init__(self, values: list[float]) -> None:
        self.values = values


def _rounded(arena: _Arena, values: list[float]) -> list[Number]:
    """The nearest vector of small fractions at which the statement still fails; the floats where none does."""
    for denominator in (1, 2, 3, 6, 12, 100, 10_000):
        fractions = [Fraction(value).limit_denominator(denominator) for value in values]
        if arena.excess(fractions) > 0:
            return list(fractions)
    return list(values)


def search(claim: Claim, effort: float = 1.0, first_only: bool = False) -> Found:
    """Plays the claim's game with both searchers and makes its comparisons.

    Args:
        claim: the claim; hypotheses that it does not have are not assumed.
        effort: share of the full number of cases.
        first_only: leave out the comparisons.
    """
    cases, worst = 0, -float("inf")
    if claim.game is not None:
        arena = _Arena(claim, claim.game)
        budget = max(20, int(claim.game.cases * effort))
        searchers: list[tuple[str, Callable[[_Arena, int], Sequence[Number] | None]]] = [
            ("Hypothesis", _with_hypothesis),
            ("optimiser", _with_optimiser),
        ]
        for name, searcher in searchers:
            values = searcher(arena, budget)
            if values is not None:
                if name == "optimiser":
                    values = _rounded(arena, list(values))
                numbers = list(values) if claim.game.exact else [float(value) for value in values]
                return Found(arena.cases, arena.worst, arena.instance(numbers), name)
        cases, worst = arena.cases, arena.worst
    made: list[Comparison] = []
    if claim.evaluate is not None and not first_only:
        for comparison in claim.evaluate(claim.stated, effort):
            made.append(comparison)
            if not comparison.agrees:
                wrong = _disagreement(comparison)
                return Found(cases + len(made), worst, wrong, comparison.method, tuple(made))
    return Found(cases + len(made), worst, comparisons=tuple(made))


def _disagreement(comparison: Comparison) -> Instance:
    return {
        "quantity": comparison.what,
        "stated": comparison.stated,
        comparison.method: comparison.found,
        "allowed difference": comparison.allowed,
    }
