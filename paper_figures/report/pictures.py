"""The gallery as the page shows it: each figure with its text alternative, what it is drawn from and the command that
draws it; and of those that could not be drawn, why."""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import pandas as pd

from ...analysis.errors import Refused
from .. import drawing, look, stored

Progress = Callable[[str, int], None]
"""Is told what is running and how much of it is done."""


def quiet(running: str, done: int) -> None:
    """Tells nobody."""


@dataclass(frozen=True)
class Picture:
    """One figure of the page.

    Attributes:
        id: of its element; the caption's is ``caption-`` and this.
        title, caption: its words.
        svg: an element named by the title and described by the caption.
        data: what it was drawn from and how much of that there is.
        command: what draws it again.
    """

    id: str
    title: str
    caption: str
    svg: str
    data: str
    command: str


@dataclass(frozen=True)
class Absent:
    """A figure that was not drawn."""

    name: str
    title: str
    reason: str


@dataclass(frozen=True)
class Pictures:
    """The figures of a page by their name in the gallery, and those that are not on it."""

    drawn: Mapping[str, list[Picture]]
    absent: tuple[Absent, ...]


def pictures(
    at_hand: Mapping[str, pd.DataFrame],
    *,
    folder: str = "report",
    quick: Mapping[str, str] = MappingProxyType({}),
    progress: Progress = quiet,
) -> Pictures:
    """Every figure of the gallery for which there is a table.

    Args:
        at_hand: tables by name.
        folder: where the tables will stand, for the commands.
        quick: how the work behind a table was cut short, in a sentence, by the table's name; what is drawn from it is
            then marked.
        progress: called with each figure's name and the number of figures done.
    """
    found: dict[str, list[Picture]] = {}
    absent = []
    reasons = drawing.drawable(at_hand)
    for done, (name, drawer) in enumerate(drawing.figures().items(), start=1):
        try:
            if reasons[name]:
                raise Refused(reasons[name])
            every = drawing.drawn(name, at_hand, quick=quick.get(drawer.TABLE, "") if drawer.TABLE in at_hand else "")
            for each in every:
                found.setdefault(name, []).append(_picture(each, *_source(name, drawer, at_hand, folder)))
        except Refused as refusal:
            absent.append(Absent(name, drawer.TITLE, str(refusal)))
        progress(f"figure {name}", done)
    return Pictures(found, tuple(absent))


def size(table: pd.DataFrame) -> str:
    """How much a table holds, in words.

    >>> size(pd.DataFrame({"seed": [0, 0, 1], "network": "a"}))
    '3 rows, 2 seeds'
    """
    counted = [(name, table[name].nunique()) for name in ("network", "seed", "draw") if name in table.columns]
    several = [f"{number} {name}s" for name, number in counted if number > 1]
    return ", ".join([f"{len(table):,} rows", *several])


def _source(name: str, drawer: drawing.Drawer, at_hand: Mapping[str, pd.DataFrame], folder: str) -> tuple[str, str]:
    """What a figure is drawn from, and the command."""
    used = [each for each in (drawer.TABLE, *getattr(drawer, "MORE", {})) if each in at_hand]
    if drawer.TABLE not in at_hand:
        return "computed from the theory, no measurement", f"downslope figures {name}"
    return "; ".join(f"{stored.file(each)}: {size(at_hand[each])}" for each in used), (
        f"downslope figures {name} --data {folder}"
    )


def _picture(drawn: drawing.Drawn, data: str, command: str) -> Picture:
    name = re.sub(r"[^\w-]+", "-", drawn.name)
    svg = look.svg(drawn.figure, f"svg-{name}", label=drawn.title)
    title = f"<title>{html.escape(drawn.title)}</title>"
    svg = re.sub(r"<svg ([^>]*)>", rf'<svg aria-describedby="caption-{name}" \1>{title}', svg, count=1)
    return Picture(name, drawn.title, drawn.caption, svg, data, command)
