"""Which surrogates a measurement takes, by name or as objects."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ...errors import Refused
from ...surrogates.lookup import surrogate
from ...surrogates.surrogate import Surrogate
from ..untie.matching import TIED, label

Given = Iterable[str | Surrogate] | str | Surrogate


def surrogates(given: Given, caller: str) -> dict[str, Surrogate | str]:
    """The surrogates by the names that tell rows apart; ``"tied"`` stays a word, being each activation's own.

    Raises:
        Refused: nothing is named, a name is unknown or given twice, or it is neither a name nor a `Surrogate`.
    """
    usage = f"name at least one surrogate, e.g. {caller}(..., surrogates=['constant'])"
    if isinstance(given, str | Surrogate):
        listed: list[Any] = [given]
    elif isinstance(given, Iterable):
        listed = list(given)
    else:
        raise Refused(
            f"{caller}(surrogates={given!r}): a {type(given).__name__} is neither a surrogate nor a list of them; "
            f"{usage}."
        )
    if not listed:
        raise Refused(f"{caller}(surrogates=[]): {usage}.")
    found = [each if each == TIED else surrogate(each) for each in listed]
    labels = [label(each) for each in found]
    twice = sorted({each for each in labels if labels.count(each) > 1})
    if twice:
        raise Refused(
            f"{caller}(surrogates=...): {', '.join(twice)} is given twice, and rows are told apart by the name."
        )
    return dict(zip(labels, found, strict=True))


def count(value: object, name: str, why: str, caller: str) -> int:
    """A whole number of at least 1.

    Raises:
        Refused: it is none.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise Refused(f"{caller}({name}={value!r}): {why}")
    return value


def seeded(value: object, caller: str) -> int:
    """A seed that torch takes.

    Raises:
        Refused: it is none.
    """
    if isinstance(value, bool) or not isinstance(value, int):
        raise Refused(f"{caller}(seed={value!r}): a seed is a whole number.")
    return value
