"""A check: one function from a subject to a record, its docstring the mathematical sentence."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, replace

from .record import Record, skipped, violation
from .subject import Subject, TargetRaised, Undefined

Judge = Callable[[Subject], Record]


@dataclass(frozen=True)
class Check:
    """A named property.

    Attributes:
        name: the function's name with hyphens.
        sentence: the property, as mathematics.
        judge: the function.
        declared: the declaration of `Adapted` without which the check does not apply, if any.
    """

    name: str
    sentence: str
    judge: Judge
    declared: str | None = None

    def __call__(self, subject: Subject) -> Record:
        """The record of this check. What the user's code raises on the way is a violation, quoted."""
        if self.declared and not getattr(subject.adapted, self.declared):
            return replace(skipped(f"no {self.declared} is declared"), name=self.name)
        try:
            record = self.judge(subject)
        except Undefined as reason:
            record = skipped(str(reason))
        except TargetRaised as raised:
            record = violation(f"the {raised.stage} raises where it should answer: {raised}", error=str(raised))
        return replace(record, name=self.name)


def check(*, declared: str | None = None, name: str | None = None) -> Callable[[Judge], Check]:
    """Makes a check of a function, by its name unless another is given."""

    def make(judge: Judge) -> Check:
        return Check(name or judge.__name__.replace("_", "-"), inspect.getdoc(judge) or "", judge, declared)

    return make
