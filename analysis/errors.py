"""The one exception that means 'cannot do that': bad input, named as the user typed it."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

_MANY = 40
"""A list of more names hides the guess that stands before it."""


class Refused(ValueError):
    """Input that downslope cannot work with; the message names the argument, the value, the reason and the remedy.

    The command line prints the message on stderr and exits with 2. Any other exception is a defect of ours.
    """


def near(name: str, known: Iterable[str]) -> str:
    """A hint at the known names nearest to a misspelt one.

    >>> near("trinagle", ["triangle", "constant"])
    "did you mean 'triangle'? Known: constant, triangle"
    """
    names = sorted(known)
    close = get_close_matches(name, names, n=3, cutoff=0.5)
    guess = f"did you mean {' or '.join(map(repr, close))}? " if close else ""
    if close and len(names) > _MANY:
        return f"{guess}({len(names)} names are known)"
    return f"{guess}Known: {', '.join(names)}"
