"""The graph of claims: what the theory says, what rests on what, and the verdicts."""

from __future__ import annotations

import json
from collections.abc import Iterable

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch, Patch

from ....analysis.errors import Refused
from ....proofs.chapters import CHAPTERS, CLAIMS
from ... import look, tables

NAME, TITLE = "claims", "The claims and what rests on what"
TABLE, ONE_RUN = "claims", False
COLUMNS = tables.columns(id="of the claim", verdict="PROVED, REFUTED, SUPPORTED or OPEN")
OPTIONAL = tables.columns(
    expected="the verdict in print; the table's own verdict where it is missing",
    uses="ids of the claims that it rests on, as a list or as JSON text; those in print where it is missing",
    decided="whether the verdict was computed; false where it is copied from print",
)
LOOKS = {
    "PROVED": ("✓", "#cfe8d5"),
    "SUPPORTED": ("≈", "#bcd4ee"),
    "OPEN": ("?", "#f6efc4"),
    "REFUTED": ("✗", "#e9a9a3"),
}
"""Sign and fill of each verdict: the sign tells them apart where colours do not."""
_ROW, _HEAD, _GAP, _TOP = 0.135, 0.19, 0.2, 0.22
_OF_CATALOGUE = "surrogate-"
_LONGEST = 23


def made() -> pd.DataFrame:
    """The claims with their verdicts in print: nothing is decided here."""
    claims = [(each.id, each.title, each.source, str(each.expected)) for each in CLAIMS.values()]
    table = pd.DataFrame(claims, columns=["id", "title", "source", "verdict"])
    return table.assign(expected=table["verdict"], decided=False)


def draw(table: pd.DataFrame) -> Figure:
    """The claims of the theory by chapter, each with its verdict: proved symbolically, supported (searched, no
    counterexample found), open or refuted by an exact witness. An arrow leads from a claim to one of its chapter that
    rests on it; a claim on which other chapters rest has a number, and "← 1" stands where a claim rests on number 1.
    The theorems of the catalogue, one for each surrogate, stand as one box a verdict. A thick frame: the verdict is not
    the one in print.

    Args:
        table: a row a claim, with the columns of `COLUMNS` and, where they are known, of `OPTIONAL`.

    Raises:
        Refused: a column is missing, or nothing is left to draw.
    """
    tables.require(table, COLUMNS, figure=NAME)
    blocks = _blocks(table)
    across = look.across(len(blocks), 1.3)
    columns = _balanced({title: len(entries) * _ROW + _HEAD for title, entries in blocks.items()}, across)
    height = max(sum(len(blocks[title]) * _ROW + _HEAD for title in column) for column in columns)
    wide = look.width() / across
    with look.house():
        figure = look.figure(height + _TOP)
        axes = figure.add_axes((0.0, 0.0, 1.0, height / (height + _TOP)))
        axes.set(xlim=(0, look.width()), ylim=(height, 0))
        axes.set_axis_off()
        near, far = _near_and_far(blocks, _edges(table))
        marks = _marks(far)
        places: dict[str, tuple[float, float]] = {}
        for number, column in enumerate(columns):
            top = 0.0
            for title in column:
                axes.text(
                    number * wide + 0.05, top + 0.12, title, fontweight="bold", fontsize=look.SMALLEST, va="center"
                )
                for line, entry in enumerate(blocks[title]):
                    places[entry[0]] = (number * wide + 0.05, top + _HEAD + (line + 0.5) * _ROW)
                    _box(axes, entry, *places[entry[0]], wide - _GAP, marks.get(entry[0], ""))
                top += _HEAD + len(blocks[title]) * _ROW
        for used, user in near:
            _arrow(axes, places[used], places[user], wide - _GAP)
        counts = table["verdict"].value_counts()
        handles = [
            Patch(facecolor=fill, edgecolor=look.MUTED, label=f"{sign} {verdict.lower()} ({counts[verdict]})")
            for verdict, (sign, fill) in LOOKS.items()
            if verdict in counts
        ]
        figure.legend(handles=handles, loc="upper center", ncols=len(handles), borderaxespad=0.1)
        figure.set_layout_engine("none")
    return figure


def said(table: pd.DataFrame) -> str:
    """How many claims have which verdict, and whether these were computed."""
    counts = table["verdict"].value_counts()
    words = ", ".join(f"{counts[verdict]} {verdict.lower()}" for verdict in LOOKS if verdict in counts)
    other = table.loc[_unexpected(table), "id"].tolist()
    printed = "decided" in table.columns and not table["decided"].astype(bool).all()
    return (
        f"{len(table)} claims: {words}."
        + (f" Not as in print: {', '.join(other)}." if other else "")
        + (" Verdicts are those in print, not computed for this figure." if printed else "")
    )


def _unexpected(table: pd.DataFrame) -> pd.Series:
    if "expected" not in table.columns:
        return pd.Series(False, index=table.index)
    return table["expected"].astype(str) != table["verdict"].astype(str)


Entry = tuple[str, str, str, bool]
"""Id, label, verdict, whether it is not the one in print."""


def _blocks(table: pd.DataFrame) -> dict[str, list[Entry]]:
    """Each chapter's entries, in print's order; claims that no chapter knows come last."""
    chapter_of = {claim.id: chapter for chapter, claims in CHAPTERS.items() for claim in claims}
    order = {name: place for place, name in enumerate(CLAIMS)}
    unexpected = _unexpected(table)
    rows = sorted(
        zip(table["id"].astype(str), table["verdict"].astype(str), unexpected, strict=True),
        key=lambda row: order.get(row[0], len(order)),
    )
    blocks: dict[str, list[Entry]] = {}
    together: dict[tuple[str, bool], list[str]] = {}
    for name, verdict, wrong in rows:
        if verdict not in LOOKS:
            raise Refused(
                f"the figure {NAME!r}: claim {name} has the verdict {verdict!r}; known are {', '.join(LOOKS)}."
            )
        if name.startswith(_OF_CATALOGUE):
            together.setdefault((verdict, bool(wrong)), []).append(name)
        else:
            blocks.setdefault(chapter_of.get(name, "others"), []).append((name, _short(name), verdict, bool(wrong)))
    for (verdict, wrong), names in together.items():
        label = f"surrogate-NAME ({len(names)})" if len(names) > 1 else _short(names[0])
        blocks.setdefault("catalogue", []).append((_folded(verdict, wrong), label, verdict, wrong))
    return blocks


def _short(name: str, longest: int = _LONGEST) -> str:
    """An id that fits into its box: of a long one the first word, which is its chapter's, is left out.

    >>> _short("softmax"), _short("perceptron-compact-support")
    ('softmax', '…-compact-support')
    """
    if len(name) <= longest:
        return name
    tail = f"…{name[name.index('-') :]}" if "-" in name else ""
    return tail if 0 < len(tail) <= longest else f"{name[:longest]}…"


def _folded(verdict: str, wrong: bool) -> str:
    return f"{_OF_CATALOGUE}{verdict}{'!' * wrong}"


def _edges(table: pd.DataFrame) -> list[tuple[str, str]]:
    """(used, user) of the claims in the table, those of the catalogue folded."""
    verdicts = dict(zip(table["id"], zip(table["verdict"].astype(str), _unexpected(table), strict=True), strict=True))

    def box(name: str) -> str:
        verdict, wrong = verdicts[name]
        return _folded(verdict, bool(wrong)) if name.startswith(_OF_CATALOGUE) else name

    given = table["uses"] if "uses" in table.columns else [None] * len(table)
    found = [
        (box(used), box(name))
        for name, uses in zip(table["id"], given, strict=True)
        for used in _uses(name, uses)
        if used in verdicts
    ]
    return list(dict.fromkeys(found))


Edge = tuple[str, str]
"""A claim that is used, and the one that rests on it."""


def _near_and_far(blocks: dict[str, list[Entry]], edges: list[Edge]) -> tuple[list[Edge], list[Edge]]:
    """The edges within a chapter, which an arrow can follow, and those between chapters, which would cross boxes."""
    chapter = {entry[0]: title for title, entries in blocks.items() for entry in entries}
    near = [edge for edge in edges if chapter[edge[0]] == chapter[edge[1]]]
    return near, [edge for edge in edges if edge not in near]


def _marks(far: list[Edge]) -> dict[str, str]:
    """What stands at the right of a box: its number where other chapters rest on it, and the numbers that it rests on.

    >>> _marks([("a", "b"), ("c", "b"), ("b", "d")])
    {'a': '1', 'b': '← 1, 2; 3', 'c': '2', 'd': '← 3'}
    """
    numbers = {used: str(place) for place, used in enumerate(dict.fromkeys(used for used, _ in far), start=1)}
    found = {}
    for name in dict.fromkeys(each for edge in far for each in edge):
        rests = ", ".join(numbers[used] for used, user in far if user == name)
        found[name] = "; ".join(filter(None, (f"← {rests}" if rests else "", numbers.get(name, ""))))
    return dict(sorted(found.items()))


def _uses(name: str, given: object) -> Iterable[str]:
    if isinstance(given, str):
        return [str(each) for each in json.loads(given)]
    if given is None or (isinstance(given, float) and given != given):
        return CLAIMS[name].uses if name in CLAIMS else ()
    return [str(each) for each in given]  # type: ignore[attr-defined]


def _balanced(heights: dict[str, float], columns: int) -> list[list[str]]:
    """Chapters in order over columns, the tallest column as low as it can be."""
    titles = list(heights)
    limit = max(max(heights.values()), sum(heights.values()) / columns)
    while True:
        filled: list[list[str]] = [[]]
        for title in titles:
            if filled[-1] and sum(heights[each] for each in filled[-1]) + heights[title] > limit + 1e-9:
                filled.append([])
            filled[-1].append(title)
        if len(filled) <= columns:
            return filled
        limit += _ROW / 2


def _box(axes: Axes, entry: Entry, x: float, y: float, wide: float, mark: str) -> None:
    name, label, verdict, wrong = entry
    sign, fill = LOOKS[verdict]
    frame = {"edgecolor": look.ALARM if wrong else look.MUTED, "linewidth": 1.2 if wrong else 0.3}
    tall = _ROW - 0.025
    shape = FancyBboxPatch((x, y - tall / 2), wide, tall, boxstyle="round,pad=0,rounding_size=0.02", zorder=2)
    shape.set(facecolor=fill, gid=f"claim-{name}", **frame)
    axes.add_patch(shape)
    axes.text(x + 0.03, y, sign, va="center", fontsize=look.SMALLEST, zorder=4)
    if mark:
        label = (
            _short(label.removeprefix("…-"), _LONGEST - len(mark) - 2)
            if len(label) + len(mark) + 2 > _LONGEST
            else label
        )
        axes.text(
            x + wide - 0.03, y, mark, va="center", ha="right", fontsize=look.SMALLEST, fontweight="bold", zorder=4
        )
    axes.text(x + 0.13, y, label, va="center", fontsize=look.SMALLEST, zorder=4)


def _arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float], wide: float) -> None:
    """An arc in the gap right of a column."""
    (x, y), (to_x, to_y) = start, end
    bend = (-0.5 if to_y > y else 0.5) * min(1.0, 0.4 / max(abs(to_y - y), 1e-9))
    arrow = FancyArrowPatch((x + wide, y), (to_x + wide, to_y), arrowstyle="-|>", mutation_scale=4, linewidth=0.5)
    arrow.set(color=look.INK, zorder=1.5)
    arrow.shrinkA = arrow.shrinkB = 0
    arrow.set_connectionstyle("arc3", rad=bend)
    axes.add_patch(arrow)
