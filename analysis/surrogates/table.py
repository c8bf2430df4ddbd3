"""The catalogue as a Markdown table: a row a surrogate, computed from the catalogue."""

from __future__ import annotations

from collections.abc import Iterable

from .catalogue import SURROGATES
from .showing.facts import short, words
from .surrogate import Surrogate

COLUMNS = ("name", "formula", "sign", "supremum", "integral", "source")


def markdown(surrogates: Iterable[Surrogate] = tuple(SURROGATES.values())) -> str:
    """Name, formula, sign, supremum, integral and source of each surrogate; of the mean where it is random.

    >>> print(markdown([SURROGATES["triangle"].at(width=2)]).splitlines()[2])
    | `triangle` | `{height*(1 - abs(centre - u)/width) if abs(centre - u) <= width; 0 otherwise}` | weak | 1 | 2 | \
Esser et al. 2016; Bellec et al. 2018 |
    """
    lines = [COLUMNS, ["---"] * len(COLUMNS), *(_row(each) for each in surrogates)]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)


def _row(entry: Surrogate) -> list[str]:
    known = entry.profile
    numbers = short(known.supremum), short(known.integral)
    return [f"`{entry.name}`", f"`{words(entry.factor)}`", entry.sign.sign.value, *numbers, entry.source]
