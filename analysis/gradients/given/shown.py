"""What a reader is shown: tables that fit the terminal, and why numbers are missing, in the words that he typed."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..references.difference import REASON as NO_DIRECTION
from .options import reworded

_EDGES, _BORDER = 3, 1  # what a table adds to each column, and to itself
_NUMBER = 6  # of "-179.9"


def sheets(first: str, names: Sequence[str], columns: Mapping[str, Sequence[str]], title: str = "") -> Iterator[Table]:
    """A table of these names with a column each, told by its heading; several, one below the other, where it is wider
    than the terminal, so that every number can be read.

    Args:
        first: the names' heading.
        names: a row each.
        columns: cells by heading, as many as names.
        title: of each table.
    """
    room = Console().width - _BORDER - max(map(len, (first, *names))) - _EDGES
    parts: list[list[str]] = [[]]
    left = room
    for heading in columns:
        wide = max(len(heading), _NUMBER, *map(len, columns[heading])) + _EDGES
        if parts[-1] and wide > left:
            parts.append([])
            left = room
        parts[-1].append(heading)
        left -= wide
    for part in parts:
        table = Table(title=Text(title) if title else None)
        table.add_column(first, no_wrap=True)
        for heading in part:
            table.add_column(Text(heading), justify="right", min_width=_NUMBER)
        for row, name in enumerate(names):
            table.add_row(Text(name), *(columns[heading][row] for heading in part))
        yield table


def undefined(reasons: Mapping[str, int], rows: int) -> Iterator[Text]:
    """How many of the rows are undefined, and why: reasons that differ in a percentage are one, with its range.

    >>> [str(each) for each in undefined({"noise is 61% of it": 1, "noise is 93% of it": 2}, 9)]
    ['3 of 9 rows undefined: noise is 61% to 93% of it']
    """
    alike: dict[str, dict[str, int]] = {}
    for reason, times in reasons.items():
        alike.setdefault(re.sub(r"\d+%", "%", reason), {})[reason] = times
    for found in alike.values():
        shares = sorted({int(share) for reason in found for share in re.findall(r"(\d+)%", reason)})
        said = next(iter(found))
        if len(found) > 1 and shares:
            said = re.sub(r"\d+%", f"{shares[0]}% to {shares[-1]}%", said)
        if said == NO_DIRECTION:
            yield Text(
                "angles are undefined, as they are for finite differences, which have a slope along the step and no "
                "direction of their own"
            )
            continue
        yield Text(f"{sum(found.values())} of {rows} rows undefined: {reworded(said)}")
