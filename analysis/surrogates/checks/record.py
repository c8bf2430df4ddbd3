"""What a check says: its outcome, one sentence on what that means for training, and a counterexample."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import torch


class Outcome(StrEnum):
    """How a check ended: a bug is a violation, a choice worth knowing is a note."""

    PASSED = "passed"
    VIOLATION = "violation"
    NOTE = "note"
    EXPECTED = "expected"
    SKIPPED = "skipped"


@dataclass(frozen=True)
class Record:
    """One check of one surrogate.

    Attributes:
        name: the check's name.
        outcome: passed, violation, note, expected (a violation that was announced with its reason) or skipped.
        message: one sentence; of a violation or a note, what it means for training.
        counterexample: the smallest input found, as plain values, with a line of ``python`` that reproduces it.
    """

    name: str
    outcome: Outcome
    message: str = ""
    counterexample: Mapping[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """The record in plain values, strictly JSON: a number that is not finite is written as text."""
        return {
            "name": self.name,
            "outcome": str(self.outcome),
            "message": self.message,
            "counterexample": plain(self.counterexample),
        }


class CheckFailed(AssertionError):
    """A violation, raised where a check runs as a test."""


def passed(message: str = "") -> Record:
    """The property holds wherever it was looked for."""
    return Record("", Outcome.PASSED, message)


def violation(message: str, **counterexample: Any) -> Record:
    """A bug."""
    return Record("", Outcome.VIOLATION, message, counterexample)


def note(message: str, **counterexample: Any) -> Record:
    """A choice, or a limit that announces itself: worth knowing, no bug."""
    return Record("", Outcome.NOTE, message, counterexample)


def skipped(reason: str) -> Record:
    """The check does not apply."""
    return Record("", Outcome.SKIPPED, reason)


def plain(value: Any) -> Any:
    """A value as strict JSON takes it.

    >>> plain({"u": -3.5, "gradient": float("nan"), "shape": (2, 3)})
    {'u': -3.5, 'gradient': 'nan', 'shape': [2, 3]}
    """
    if isinstance(value, torch.Tensor):
        return plain(value.detach().tolist())
    if isinstance(value, Mapping):
        return {str(key): plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [plain(part) for part in value]
    if isinstance(value, bool | int | str) or value is None:
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    return str(value)
