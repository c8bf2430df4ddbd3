"""Figures into files: which are written, in which formats, and what becomes of those that are refused."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, TypeVar

from ..analysis.errors import Refused, near
from . import drawing, files, look, tables
from .paper import latex, venues

_T = TypeVar("_T")


def save(
    names: Sequence[str],
    at_hand: drawing.Stored,
    out: Path,
    *,
    surrogates: Sequence[str] | None = None,
    layers: Sequence[str] | None = None,
    stages: Sequence[str] | None = None,
    formats: Sequence[str] = drawing.FORMATS,
    venue: str = "neurips",
    latex_text: bool = False,
    quick: str | Mapping[str, str] = "",
    left_out: Callable[[str, str], None] | None = None,
    noted: Callable[[str, str], None] | None = None,
) -> list[Path]:
    """Draw figures and write each in each format into a folder.

    Args:
        names: of figures, and of LaTeX tables (`drawing.TABLES`); all that the tables at hand allow where it is empty.
        at_hand: tables by name.
        out: the folder, made where it is missing.
        surrogates, layers, stages: which to show, as in `drawing.drawn`.
        formats: of `drawing.FORMATS`; "tex" is the snippet that a paper includes, with the caption.
        venue: whose width the figures have.
        latex_text: whether LaTeX sets the text in the figures; it must be installed.
        quick: as in `drawing.drawn`.
        left_out: is told the name of a figure that is refused, and why; the others are drawn all the same. Where it is
            ``None`` the refusal is raised.
        noted: is told the name of a figure that does not show every surrogate, or that the page does not hold, and why.

    Raises:
        Refused: as `drawing.drawn`, a value that is asked for is in none of the figures' tables, ``out`` cannot be
            written to, a format or venue is unknown, or a selection is of no use to any of the figures.
    """
    drawing.check(names, formats, venue)
    chosen = list(names) or [name for name, reason in drawing.drawable(at_hand).items() if not reason]
    asked = {"surrogate": surrogates, "layer": layers, "stage": stages}
    _useful(chosen, at_hand, asked)
    if left_out is not None:
        _known(chosen, at_hand, asked)
    place, folder = venues.venue(venue), files.folder(out)
    written: list[Path] = []
    for name in chosen:
        if name in drawing.TABLES:
            for said in (
                _unless_refused(name, _tex_tables(name, at_hand, asked, place), left_out) if "tex" in formats else ()
            ):
                written.append(files.text(folder / f"{name}.tex", said))
            continue
        with look.at(venue):
            every = drawing.drawn(
                name, at_hand, surrogates=surrogates, layers=layers, stages=stages, quick=quick, fit=True
            )
            for each in _unless_refused(name, every, left_out):
                if each.note and noted is not None:
                    noted(each.name, each.note)
                if set(formats) != {"tex"}:
                    look.settle(each.figure)
                with look.latex_text(each.figure, latex.set_by_latex) if latex_text else nullcontext():
                    for suffix in (suffix for suffix in formats if suffix != "tex"):
                        written.append(look.save(each.figure, folder / f"{each.name}.{suffix}"))
                if "tex" in formats:
                    said = latex.snippet(_graphic(folder, each.name, formats), each.title, each.caption, place)
                    written.append(files.text(folder / f"{each.name}.tex", said))
    return written


def _useful(names: Sequence[str], at_hand: drawing.Stored, asked: Mapping[str, Sequence[str] | None]) -> None:
    """Refuse a selection by a coordinate that none of the figures' tables has: it would be ignored in silence."""
    for column, values in asked.items():
        having = [name for name in names if column in _columns(name, at_hand)]
        if values is not None and not having:
            raise Refused(
                f"--{column} {', '.join(values)}: nothing to select, as none of {', '.join(names)} has a {column}."
            )


def _known(names: Sequence[str], at_hand: drawing.Stored, asked: Mapping[str, Sequence[str] | None]) -> None:
    """Refuse a value that none of the figures' tables holds: where all are drawn, each would only be left out."""
    for column, values in asked.items():
        found = {str(value) for name in names for value in _values(name, column, at_hand)}
        for value in values or ():
            if value not in found:
                raise Refused(f"--{column} {value}: no table has it: {near(value, sorted(found))}.")


def _values(name: str, column: str, at_hand: drawing.Stored) -> Iterator[Any]:
    """What a figure could show of a coordinate; the theory's own tables hold the catalogue."""
    drawer: Any = drawing.figures().get(name)
    wanted = [drawing.TABLES[name]] if drawer is None else [drawer.TABLE, *getattr(drawer, "MORE", {})]
    for table in wanted:
        if table in at_hand:
            yield from at_hand[table][column].unique() if column in at_hand[table].columns else ()
            if column == "surrogate" and "trained" in at_hand[table].columns and column not in at_hand[table].columns:
                yield from at_hand[table]["trained"].unique()
        elif drawer is not None and column == "surrogate" and column in drawer.COLUMNS and hasattr(drawer, "made"):
            yield from tables.catalogue()


def _unless_refused(name: str, every: Iterator[_T], left_out: Callable[[str, str], None] | None) -> Iterator[_T]:
    try:
        yield from every
    except Refused as refusal:
        if left_out is None:
            raise
        left_out(name, str(refusal))


def _graphic(folder: Path, name: str, formats: Sequence[str]) -> str:
    """The file that a snippet includes: the one written with it, else one that is there, PDF before PNG."""
    usual = [f"{name}.{suffix}" for suffix in ("pdf", "png")]
    written = [file for file in usual if file.rpartition(".")[2] in formats]
    there = [file for file in usual if (folder / file).is_file()]
    return (written or there or usual)[0]


def _columns(name: str, at_hand: drawing.Stored) -> set[str]:
    if name in drawing.TABLES:
        return set(at_hand[drawing.TABLES[name]].columns) if drawing.TABLES[name] in at_hand else set()
    drawer = drawing.figures()[name]
    wanted = [drawer.TABLE, *getattr(drawer, "MORE", {})]
    found = {*drawer.COLUMNS, *(column for table in wanted if table in at_hand for column in at_hand[table].columns)}
    return found | {"surrogate"} if "trained" in found else found  # one that trained is one, too


def _tex_tables(
    name: str, at_hand: drawing.Stored, asked: Mapping[str, Sequence[str] | None], venue: venues.Venue
) -> Iterator[str]:
    stored = drawing.TABLES[name]
    table = drawing.table_of(name, stored, at_hand, drawing.figures().get(stored))
    if name == "claims-table":
        yield latex.claims(table, wide=venue.columns > 1)
    else:
        yield latex.results(drawing.selected(table, name, asked), wide=venue.columns > 1)
