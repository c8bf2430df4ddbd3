"""The doors in Python: `check_surrogate` for records, `parametrize_with_checks` for pytest."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from types import ModuleType
from typing import TYPE_CHECKING, Any

from ...errors import Refused, near
from ..adapters.adapted import Adapted
from ..adapters.load import as_adapted
from .check import Check
from .properties import contract, definition, forward, shape, training, transforms, values
from .record import CheckFailed, Outcome, Record, skipped, violation
from .subject import Subject

if TYPE_CHECKING:
    import pytest

Expected = Mapping[str, str]


def collected(*modules: ModuleType) -> dict[str, Check]:
    """The checks among the values of modules, by name, in the order in which they are written."""
    return {value.name: value for module in modules for value in vars(module).values() if isinstance(value, Check)}


CHECKS: dict[str, Check] = collected(forward, values, shape, contract, definition, transforms, training)
"""Every check, by name. The two that say whether it runs come first: without them the others have nothing to ask."""

RUNS = ("forward-runs", "backward-runs")


def check_surrogate(
    surrogate: Any,
    *,
    expected_failed_checks: Expected | None = None,
    seed: int = 0,
    backend: str = "aot_eager",
) -> list[Record]:
    """Every check of one surrogate.

    Args:
        surrogate: a `Surrogate`, what `adapt`, `adapt_factor` or `adapt_rule` gave, a catalogue name, or anything that
            `adapt` takes.
        expected_failed_checks: ``{name: reason}`` of the checks that it fails by design. Their violations and notes
            become ``expected``; one that passes is a violation, so that no excuse outlives its cause.
        seed: of every random number used; the same seed gives the same records.
        backend: what ``torch.compile`` is asked for; ``"inductor"`` generates code and takes half a minute.

    Raises:
        Refused: ``expected_failed_checks`` names no check, or the catalogue has no such name.

    >>> import downslope as ds
    >>> {record.name: str(record.outcome) for record in ds.check_surrogate("rectangle")}["stuck"]
    'note'
    """
    adapted = as_adapted(surrogate)
    return records(Subject(adapted, seed, backend), _expected(adapted, expected_failed_checks))


def records(subject: Subject, expected: Expected) -> list[Record]:
    """Every check of a subject; where forward or backward do not run, the others are skipped."""
    return [one(name, subject, expected) for name in CHECKS]


def one(name: str, subject: Subject, expected: Expected) -> Record:
    """One check of a subject, an announced failure counted as expected."""
    before = RUNS[: RUNS.index(name)] if name in RUNS else RUNS
    broken = next((run for run in before if _record(run, subject).outcome is Outcome.VIOLATION), None)
    if broken is None and name not in (*RUNS, "shape-preserved") and not subject.keeps_shape:
        broken = "shape-preserved"
    if broken is not None:
        return replace(skipped(f"see {broken}"), name=name)
    record = _record(name, subject)
    if name not in expected:
        return record
    if record.outcome in (Outcome.VIOLATION, Outcome.NOTE):
        return replace(record, outcome=Outcome.EXPECTED, message=f"{record.message} [expected: {expected[name]}]")
    if record.outcome is Outcome.SKIPPED:
        return record
    told = violation(f"was expected to fail ({expected[name]}) and did not: take it out of expected_failed_checks")
    return replace(told, name=name)


def _record(name: str, subject: Subject) -> Record:
    return subject.remember(name, lambda: CHECKS[name](subject))


@dataclass(frozen=True)
class BoundCheck:
    """One check of one surrogate, to be called in a test: raises `CheckFailed` on a violation.

    >>> import downslope as ds
    >>> BoundCheck("finite", ds.adapt(ds.SURROGATES["triangle"]))()
    """

    name: str
    adapted: Adapted
    seed: int = 0
    announced: bool = False

    @cached_property
    def record(self) -> Record:
        """What the check says."""
        return one(self.name, _subject(self.adapted, self.seed), {})

    def __call__(self) -> None:
        """Runs the check.

        Raises:
            CheckFailed: on a violation, or on a note that was announced as a failure, with its message and the line
                that reproduces it.
        """
        if self.record.outcome is Outcome.VIOLATION or (self.announced and self.record.outcome is Outcome.NOTE):
            shown = "\n".join(f"  {key}: {value}" for key, value in self.record.counterexample.items())
            raise CheckFailed(f"{self.adapted.name}: {self.name}: {self.record.message}\n{shown}")


def parametrize_with_checks(
    surrogates: Iterable[Any],
    *,
    expected_failed_checks: Mapping[str, Any] | Callable[[Adapted], Expected] | None = None,
    seed: int = 0,
) -> pytest.MarkDecorator:
    """A pytest decorator: the test's argument ``check`` is each check of each surrogate in turn, to be called.

    Args:
        surrogates: each as `check_surrogate` takes it.
        expected_failed_checks: ``{check: reason}`` for all of them, ``{surrogate's name: {check: reason}}``, or a
            function from the adapted surrogate to the first form. Those become strict xfails with the reason in print.
        seed: as in `check_surrogate`.

    Test ids read ``name-check``, as in ``test_surrogate[triangle-sign-preserving]``.

    >>> import downslope as ds
    >>> @ds.parametrize_with_checks(["triangle", "constant"])
    ... def test_surrogate(check): check()
    """
    import pytest

    cases = []
    for adapted in map(as_adapted, surrogates):
        expected = _expected(adapted, _chosen(adapted, expected_failed_checks))
        for name in CHECKS:
            announced = name in expected
            strict = pytest.mark.xfail(reason=expected.get(name, ""), raises=CheckFailed, strict=True)
            bound = BoundCheck(name, adapted, seed, announced)
            cases.append(pytest.param(bound, id=f"{adapted.name}-{name}", marks=[strict] if announced else []))
    return pytest.mark.parametrize("check", cases)


def _subject(adapted: Adapted, seed: int) -> Subject:
    """The subject of an adapted surrogate, one for all of its checks: it rides on the object and goes with it."""
    known: dict[int, Subject] = adapted.__dict__.setdefault("_subjects", {})
    return known.setdefault(seed, Subject(adapted, seed))


def _expected(adapted: Adapted, given: Expected | None) -> Expected:
    """What the surrogate itself announces, and what the caller does."""
    expected = {**adapted.expected_failed_checks, **(given or {})}
    for name in expected:
        if name not in CHECKS:
            raise Refused(f"expected_failed_checks names {name!r}, which is no check: {near(name, CHECKS)}")
    return expected


def _chosen(adapted: Adapted, given: Mapping[str, Any] | Callable[[Adapted], Expected] | None) -> Expected:
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        return given(adapted)
    if any(isinstance(value, Mapping) for value in given.values()):
        chosen = given.get(adapted.name, {})
        assert isinstance(chosen, Mapping)
        return chosen
    return given
