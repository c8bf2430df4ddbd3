"""Writes the tables of docs/figures.md anew from the gallery: each figure, what it shows, the columns that it reads.

Run by `make readme`; `tests/house/test_pages.py` holds the page equal to it.
"""

from __future__ import annotations

from collections.abc import Iterator
from inspect import cleandoc
from pathlib import Path

from downslope.paper_figures import drawing, stored
from downslope.paper_figures.paper.venues import VENUES
from marks import rewrite

PAGE = Path(__file__).with_suffix(".md")


def gallery() -> str:
    """Each figure with its table, whether it shows one run, and its title."""
    lines = ["| figure | shows | table | one figure a run |", "| --- | --- | --- | --- |"]
    for name, drawer in drawing.figures().items():
        files = ", ".join(f"`{stored.file(table)}`" for table in (drawer.TABLE, *getattr(drawer, "MORE", {})))
        source = f"none needed; or {files}" if hasattr(drawer, "made") else files
        lines.append(f"| `{name}` | {drawer.TITLE} | {source} | {'yes' if drawer.ONE_RUN else 'no'} |")
    return "\n".join(lines)


def contracts() -> str:
    """For each figure its caption and the columns that it reads."""
    return "\n\n".join("\n".join(_contract(name)) for name in drawing.figures())


def venues() -> str:
    """Each venue with its width and the height of its page."""
    lines = ["| venue | width (inches) | page (inches) |", "| --- | --- | --- |"]
    rows = [f"| `{name}` | {venue.width:.3f} | {venue.height:g} |" for name, venue in VENUES.items()]
    return "\n".join([*lines, *rows])


def _contract(name: str) -> Iterator[str]:
    drawer = drawing.figures()[name]
    yield f"### `{name}`"
    yield ""
    yield cleandoc(drawer.draw.__doc__ or "").split("\n\n")[0].replace("\n", " ")
    yield ""
    yield "| table | column | means |"
    yield "| --- | --- | --- |"
    for column, meaning in drawer.COLUMNS.items():
        yield _row(drawer.TABLE, column, meaning)
    for column, meaning in getattr(drawer, "OPTIONAL", {}).items():
        yield _row(drawer.TABLE, column, f"{meaning} (optional)")
    for table, columns in getattr(drawer, "MORE", {}).items():
        for column, meaning in columns.items():
            yield _row(table, column, f"{meaning} (the table is optional)")


def _row(table: str, column: str, meaning: str) -> str:
    escaped = meaning.replace("|", r"\|").replace("*", r"\*")
    return f"| `{table}` | `{column}` | {escaped} |"


TABLES = {"gallery": gallery, "venues": venues, "contracts": contracts}
"""Each part by the name in its marks, `<!-- name -->` and `<!-- /name -->`."""


if __name__ == "__main__":
    rewrite(PAGE, TABLES)
