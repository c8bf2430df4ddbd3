"""The referee: each claim by both roads, and the verdict that follows from what they find.

A verdict is computed. PROVED: every step of the proof holds and the search finds nothing. REFUTED: an exact witness
replays, or the search finds an instance at which the statement fails. SUPPORTED: there is no proof and the search
finds nothing. OPEN: anything else, with the reason: a step that does not hold, a witness in print that does not
replay, roads that disagree, code that breaks, time that ran out.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from traceback import extract_tb
from typing import Any

from .claim import Claim, Hypothesis, Verdict
from .replay import replay
from .roads.game import Comparison, Instance
from .roads.search import Found, search
from .roads.steps import Step

QUICK = 0.15
"""The share of the full number of cases that a quick search tries."""


@dataclass(frozen=True)
class Need:
    """What becomes of a claim without one of its hypotheses: the counterexample, or None where none was found."""

    hypothesis: Hypothesis
    counterexample: dict[str, Any] | None
    cases: int

    @property
    def finding(self) -> bool:
        """Whether the hypothesis behaves otherwise than the claim says: needed where it says unneeded, or unneeded."""
        return (self.counterexample is None) != bool(self.hypothesis.unneeded)


@dataclass(frozen=True)
class Road:
    """What one road found: its own verdict, and a sentence about it."""

    verdict: Verdict
    text: str


@dataclass(frozen=True)
class Result:
    """What the referee found about one claim.

    Attributes:
        claim: the claim.
        verdict: as the module's docstring says.
        reason: why it is OPEN, or what refutes it.
        symbolic: the road of checked steps and exact witnesses; None where the claim has neither.
        search: the numeric road; None where the claim has neither game nor evaluation.
        counterexample: where the search saw the statement fail.
        steps: the proof's (or the refutation's) steps as far as they were checked.
        needs: per hypothesis, what becomes of the claim without it; empty in a quick run.
        comparisons: stated values beside their independent evaluations.
        seconds: the time taken.
    """

    claim: Claim
    verdict: Verdict
    reason: str
    symbolic: Road | None
    search: Road | None
    counterexample: dict[str, Any] | None
    steps: tuple[Step, ...]
    needs: tuple[Need, ...]
    comparisons: tuple[Comparison, ...]
    seconds: float

    @property
    def as_expected(self) -> bool:
        """Whether the verdict is the one in print and every hypothesis is as needed as the claim says."""
        return self.verdict == self.claim.expected and not any(need.finding for need in self.needs)


class _TimeUp(BaseException):
    """Not an `Exception`, so that no library on the way swallows it."""


@contextmanager
def _limited(seconds: float) -> Iterator[None]:
    """Raises `_TimeUp` after ``seconds``; only a main thread on a system with interval timers can be interrupted."""
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "setitimer"):
        yield
        return

    def ring(*_: object) -> None:
        raise _TimeUp

    previous = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)


def printable(value: Any) -> Any:
    """An instance as JSON values: exact fractions as strings, floats that are not finite as strings too."""
    if isinstance(value, dict):
        return {str(key): printable(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [printable(entry) for entry in value]
    if isinstance(value, Fraction):
        return str(value)
    if isinstance(value, bool | int | str) or value is None:
        return value
    number = float(value)
    return number if number - number == 0 else str(number)


def _told(error: Exception) -> str:
    """What went wrong, and in which line of code."""
    frames = extract_tb(error.__traceback__)
    place = f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {error}{place}"


def _shown(instance: Instance | None) -> dict[str, Any] | None:
    return None if instance is None else printable(dict(instance))


class _Hearing:
    """One claim before the referee; keeps what was found so far, for the case that time runs out."""

    def __init__(self, claim: Claim, effort: float) -> None:
        self.claim, self.effort = claim, effort
        self.steps: list[Step] = []
        self.faults: list[str] = []
        self.unreplayed: list[str] = []
        self.replayed = False
        self.complete = False
        self.found: Found | None = None
        self.needs: list[Need] = []

    def prove(self) -> None:
        """Checks the steps of the proof, or of the refutation, and replays the witnesses."""
        road = self.claim.proof or self.claim.refutation
        names = {hypothesis.name for hypothesis in self.claim.hypotheses}
        for number, step in enumerate(road(self.claim.stated) if road else (), start=1):
            if self.faults:
                break
            self.steps.append(step)
            if not step.holds:
                self.faults.append(f"step {number} does not hold: {step.text}")
            if step.hypothesis and step.hypothesis not in names:
                self.faults.append(f"step {number} takes up '{step.hypothesis}', which the claim does not assume")
            if step.claim and step.claim not in self.claim.uses:
                self.faults.append(f"step {number} uses the claim '{step.claim}', which `uses` does not name")
        for place, witness in enumerate(self.claim.witnesses, start=1):
            try:
                differences = replay(witness).differences
            except Exception as error:  # one broken replay must not silence the others; it is told, never passed
                differences = (_told(error),)
            self.unreplayed += [f"witness {place} does not replay: {difference}" for difference in differences]
            self.replayed |= witness.refutes and not differences
        self.complete = True

    def look(self) -> None:
        """Searches inside the scope, and at full effort once more without each hypothesis."""
        claim = self.claim
        if claim.game is not None or claim.evaluate is not None:
            self.found = search(claim, self.effort)
        if claim.game is not None and self.effort >= 1:
            for hypothesis in claim.hypotheses:
                wider = search(claim.without(hypothesis.name), 1.0)
                self.needs.append(Need(hypothesis, _shown(wider.counterexample), wider.cases))

    def _symbolic(self) -> Road | None:
        claim = self.claim
        if not (claim.proof or claim.refutation or claim.witnesses):
            return None
        if faults := [*self.faults, *self.unreplayed]:
            return Road(Verdict.OPEN, faults[0])
        if not self.complete:
            return Road(Verdict.OPEN, "not finished")
        if claim.proof:
            return Road(Verdict.PROVED, f"{len(self.steps)} steps hold")
        if self.replayed or self.steps:
            what = "witness replays exactly and in torch" if self.replayed else f"{len(self.steps)} steps hold"
            return Road(Verdict.REFUTED, what)
        return None

    def _searched(self) -> Road | None:
        if self.found is None:
            return None
        if self.found.counterexample is not None:
            return Road(Verdict.REFUTED, f"counterexample found by {self.found.searcher}")
        if not self.found.cases:
            return Road(Verdict.OPEN, "no instance lies inside the scope")
        return Road(Verdict.SUPPORTED, f"{self.found.cases} cases, none fails")

    def result(self, seconds: float, late: str = "") -> Result:
        """The verdict that follows from what both roads found."""
        symbolic, searched = self._symbolic(), self._searched()
        verdicts = {road.verdict for road in (symbolic, searched) if road}
        if late or self.unreplayed:  # what the search finds does not put a wrong witness in print right
            verdict, reason = Verdict.OPEN, late or self.unreplayed[0]
        elif Verdict.OPEN in verdicts and Verdict.REFUTED not in verdicts:
            verdict = Verdict.OPEN
            reason = "; ".join(road.text for road in (symbolic, searched) if road and road.verdict is Verdict.OPEN)
        elif {Verdict.PROVED, Verdict.REFUTED} <= verdicts:
            verdict, reason = Verdict.OPEN, "the roads disagree: the proof holds and the search finds a counterexample"
        elif Verdict.REFUTED in verdicts:
            verdict = Verdict.REFUTED
            reason = next(road.text for road in (symbolic, searched) if road and road.verdict is Verdict.REFUTED)
        elif verdicts:
            verdict = Verdict.PROVED if Verdict.PROVED in verdicts else Verdict.SUPPORTED
            reason = ""
        else:
            verdict, reason = Verdict.OPEN, "the claim has no proof, no witness, no game and no evaluation"
        return Result(
            claim=self.claim,
            verdict=verdict,
            reason=reason,
            symbolic=symbolic,
            search=searched,
            counterexample=_shown(self.found.counterexample) if self.found else None,
            steps=tuple(replace(step, fact=None) for step in self.steps),
            needs=tuple(self.needs),
            comparisons=self.found.comparisons if self.found else (),
            seconds=seconds,
        )


def decide(claim: Claim, quick: bool = False) -> Result:
    """The referee's result on one claim.

    Args:
        claim: any claim, a user's own too.
        quick: search with a share `QUICK` of the cases, and do not drop hypotheses.
    """
    hearing = _Hearing(claim, QUICK if quick else 1.0)
    start = time.perf_counter()
    late, road = "", "proof"
    try:
        with _limited(claim.seconds):
            hearing.prove()
            road = "search"
            hearing.look()
    except _TimeUp:
        late = f"not decided within {claim.seconds:g} seconds"
    except Exception as error:  # a claim's own functions may raise anything; it is then undecided, and told why
        late = f"the {road} breaks: {_told(error)}"
    return hearing.result(time.perf_counter() - start, late)


def undecided(claim: Claim, reason: str) -> Result:
    """The result on a claim that could not be heard."""
    return _Hearing(claim, 0.0).result(0.0, reason)
