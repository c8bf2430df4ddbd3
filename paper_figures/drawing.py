"""From stored tables to drawn figures: which figures there are, what each is drawn from, and what its caption says.

A figure is one file of `gallery`: it names the table that it reads (``TABLE``) and that table's columns, and says
whether it shows one run at a time (``ONE_RUN``), that is, one network trained in one way against one reference; then a
table of several runs gives a figure for each. Some figures take more tables where they are at hand (``MORE``), and some
make their table themselves from the theory (``made``).
"""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property, partial
from inspect import cleandoc
from pathlib import Path
from typing import Any, Protocol, cast

import pandas as pd
from matplotlib.figure import Figure

from ..analysis.errors import Refused, near
from . import gallery, look, stored, tables
from .marks import spread
from .paper import fitting, venues

TIED = "tied"
"""The control among the surrogates: figures show it only where it is asked for."""

FORMATS = ("png", "svg", "pdf", "tex")

ORDER = (
    "catalogue",
    "angle-depth",
    "layer-step",
    "per-sample",
    "signs",
    "along-the-step",
    "margin",
    "training",
    "jamming",
    "claims",
    "perceptron",
    "ste",
)
"""The gallery in reading order; other figures follow."""

TABLES = {"claims-table": "claims", "results-table": "deviations"}
"""The tables that are written as LaTeX beside the figures, and the stored table of each."""

Stored = Mapping[str, pd.DataFrame]


class Drawer(Protocol):
    """What a file of the gallery offers.

    It may offer more: ``OPTIONAL``, columns that are used where they are there; ``MORE``, further tables by name with
    their columns, handed to ``draw`` by name where they are at hand; ``CONTROL``, a surrogate whose rows are always
    kept; ``UNKNOWN``, columns that may be without any value; ``made()``, the table where none is stored, and
    ``DEFAULT``, the surrogates shown of that one where none are asked for;
    ``said(table)``, sentences with the data's numbers for the caption, instead of those of `facts`.
    """

    NAME: str
    TITLE: str
    TABLE: str
    ONE_RUN: bool
    COLUMNS: Mapping[str, str]

    def draw(self, table: pd.DataFrame, **more: Any) -> Figure:
        """The figure; the first paragraph of this docstring is its caption."""


@dataclass(frozen=True)
class Drawn:
    """A figure with its words.

    Attributes:
        name: for files and for ids in a page.
        title: a few words.
        caption: sentences, with what is to be said of the data.
        figure: as drawn, to save or to change.
        note: what it does not show and how to choose, a sentence that its name begins; "" where it shows all.
    """

    name: str
    title: str
    caption: str
    figure: Figure
    note: str = ""

    @cached_property
    def svg(self) -> str:
        """As an ``<svg>`` element for a page, title and caption its text alternative."""
        return look.svg(self.figure, self.name, label=f"{self.title}. {self.caption}")


@cache
def figures() -> Mapping[str, Drawer]:
    """Every figure of the gallery, by name."""
    modules = [
        importlib.import_module(each.name)
        for each in pkgutil.walk_packages(gallery.__path__, f"{gallery.__name__}.")
        if not each.ispkg
    ]
    found = {module.NAME: cast(Drawer, module) for module in modules}
    return {name: found[name] for name in tables.in_order(sorted(found), ORDER)}


def tables_wanted() -> list[str]:
    """The names of the stored tables that the gallery draws from."""
    names = [table for drawer in figures().values() for table in (drawer.TABLE, *getattr(drawer, "MORE", {}))]
    return list(dict.fromkeys([*names, *TABLES.values()]))


def read(folder: Path) -> dict[str, pd.DataFrame]:
    """The tables of a folder that the gallery draws from, by name.

    Raises:
        Refused: as `stored.read`.
    """
    return stored.read(folder, tables_wanted())


def drawable(at_hand: Stored) -> dict[str, str]:
    """Each figure and LaTeX table with the reason why it cannot be made of these tables; "" where it can."""
    wanted = {name: (drawer.TABLE, hasattr(drawer, "made")) for name, drawer in figures().items()}
    wanted |= {name: (table, table == "claims") for name, table in TABLES.items()}
    return {
        name: "" if made or table in at_hand else f"there is no table {table!r} ({stored.file(table)})"
        for name, (table, made) in wanted.items()
    }


def drawn(
    name: str,
    at_hand: Stored,
    *,
    surrogates: Sequence[str] | None = None,
    layers: Sequence[str] | None = None,
    stages: Sequence[str] | None = None,
    quick: str | Mapping[str, str] = "",
    fit: bool = False,
) -> Iterator[Drawn]:
    """One figure, or one for each run in the table.

    Args:
        name: of the figure.
        at_hand: tables by name.
        surrogates: which to show; all but the control where it is ``None``.
        layers: paths of the layers to show; all where it is ``None``.
        stages: which to show; all where it is ``None``.
        quick: how the measurement was cut short, in a sentence, or one for each table; a figure of a table at hand is
            then marked and its caption says so.
        fit: whether the figure has to fit a page of the venue with its caption. Where it would not, and no surrogates
            are asked for, it shows fewer; the caption says so and the note says how to choose.

    Raises:
        Refused: there is no such figure, its table is not at hand, lacks a column, or has nothing of what was asked
            for. A run that cannot be drawn is refused after the others were given.
    """
    if name not in figures():
        raise Refused(f"there is no figure {name!r}: {near(name, figures())}.")
    drawer = figures()[name]
    shorter = quick if isinstance(quick, str) else quick.get(drawer.TABLE, "")
    shorter = shorter if drawer.TABLE in at_hand else ""
    table = table_of(drawer.NAME, drawer.TABLE, at_hand, drawer)
    tables.require(table, drawer.COLUMNS, figure=name, unknown=getattr(drawer, "UNKNOWN", ()))
    asked = {"surrogate": surrogates, "layer": layers, "stage": stages}
    table = selected(table, name, asked, control=getattr(drawer, "CONTROL", None))
    further = {
        other: selected(at_hand[other], name, asked) for other in getattr(drawer, "MORE", {}) if other in at_hand
    }
    refused: list[str] = []
    for run, rows in tables.runs(table) if drawer.ONE_RUN else [({}, table)]:
        of_run = {other.replace("-", "_"): _of_run(each, run) for other, each in further.items()}
        control = getattr(drawer, "CONTROL", None)
        names = [each for each in rows["surrogate"].unique() if each != control] if "surrogate" in rows.columns else []
        usual = None if surrogates is not None or drawer.TABLE in at_hand else getattr(drawer, "DEFAULT", None)
        attempt = partial(_attempt, drawer, run, rows, of_run, shorter, names, usual)
        try:
            if fit:
                free = names if surrogates is None and usual is None else []
                one, note = fitting.fitted(attempt, free, venues.venue(look.venue()))
            else:
                one, note = attempt(None), ""
        except Refused as refusal:
            words = _words(run)
            refused.append(f"{words}: {refusal}" if words else str(refusal))
            continue
        if usual is not None and not note:
            note = f"shows {len(usual)} of {len(names)} surrogates; --surrogates chooses others."
        yield replace(one, note=note)
    if refused:
        raise Refused(" ".join(refused))


def _attempt(
    drawer: Drawer,
    run: Mapping[str, str],
    rows: pd.DataFrame,
    further: Mapping[str, pd.DataFrame],
    shorter: str,
    names: Sequence[str],
    usual: Sequence[str] | None,
    chosen: Sequence[str] | None,
) -> Drawn:
    """The figure of one run with the chosen surrogates, else the usual ones of the figure, else all."""
    chosen = chosen or usual
    if chosen is not None:
        kept = [*chosen, getattr(drawer, "CONTROL", None)]
        rows = rows[rows["surrogate"].isin(kept)]
        further = {name: _among(table, kept) for name, table in further.items()}
    more = {name: table for name, table in further.items() if len(table)}
    figure = drawer.draw(rows, **more)
    # After the drawing, which checks the columns.
    numbers = getattr(drawer, "said", facts)(rows, **more)
    if shorter:
        look.mark(figure, "quick run")
    said = cleandoc(drawer.draw.__doc__ or "").split("\n\n")[0].replace("\n", " ")
    fewer = f"Shown are {len(chosen)} of {len(names)} surrogates." if chosen is not None else ""
    caption = " ".join(filter(None, (said, numbers, fewer, f"Quick run: {shorter}" if shorter else "")))
    words = _words(run)
    slug = re.sub(r"[^\w.-]+", "-", "-".join([drawer.NAME, *run.values()])).strip("-")
    return Drawn(slug, f"{drawer.TITLE}: {words}" if words else drawer.TITLE, caption, figure)


def _words(run: Mapping[str, str]) -> str:
    return ", trained ".join(map(str, run.values()))


def _among(table: pd.DataFrame, surrogates: Sequence[str | None]) -> pd.DataFrame:
    return table[table["surrogate"].isin(surrogates)] if "surrogate" in table.columns else table


def table_of(name: str, wanted: str, at_hand: Stored, drawer: Any = None) -> pd.DataFrame:
    """The table of a figure: the one at hand, else the one that the figure makes itself.

    Raises:
        Refused: there is neither.
    """
    if wanted in at_hand:
        return at_hand[wanted]
    if hasattr(drawer, "made"):
        return cast(pd.DataFrame, drawer.made())
    raise Refused(
        f"the figure {name!r} is drawn from the table {wanted!r} ({stored.file(wanted)}), which is not at hand."
    )


def selected(
    table: pd.DataFrame, figure: str, asked: Mapping[str, Sequence[str] | None], *, control: str | None = None
) -> pd.DataFrame:
    """The rows asked for, of the coordinates that the table has; the control where it is asked for, or the figure's.

    Raises:
        Refused: as `tables.select`.
    """
    chosen = {column: values for column, values in asked.items() if values is not None and column in table.columns}
    if "surrogate" not in table.columns and {"trained", "rule"} & set(table.columns) and asked.get("surrogate"):
        table = tables.trained_by(table, asked["surrogate"] or (), figure=figure)
    if control is not None and "surrogate" in chosen:
        chosen["surrogate"] = [*chosen["surrogate"], control]
    elif control is None and "surrogate" in table.columns and "surrogate" not in chosen:
        table = table[table["surrogate"] != TIED]
    return tables.select(table, figure=figure, **chosen)


def _of_run(table: pd.DataFrame, run: Mapping[str, str]) -> pd.DataFrame:
    for column, value in run.items():
        table = table[table[column].astype(str) == value] if column in table.columns else table
    return table


def facts(table: pd.DataFrame, **more: pd.DataFrame) -> str:
    """What a caption has to say of its data: how many runs, and how many angles are undefined."""
    said = []
    if "seed" in table.columns:
        draws = table["draw"].nunique() if "draw" in table.columns else 1
        said.append(spread.runs(table) + (f", up to {draws} draws of a random surrogate" * (draws > 1)))
    if "angle_degrees" in table.columns:
        rows = tables.layers(table)
        said.append(f"{int(rows['angle_degrees'].isna().sum()):,} of {len(rows):,} angles undefined")
    return f"({'; '.join(said)}.)" if said else ""


def check(names: Sequence[str], formats: Sequence[str] = FORMATS, venue: str = "neurips") -> None:
    """Check what was asked for before any work is done for it.

    Raises:
        Refused: a figure, format or venue is unknown.
    """
    for name in names:
        if name not in figures() and name not in TABLES:
            raise Refused(f"there is no figure {name!r}: {near(name, [*figures(), *TABLES])}.")
    unknown = [each for each in formats if each not in FORMATS]
    if unknown:
        raise Refused(f"--format {unknown[0]}: figures are written as {', '.join(FORMATS)}.")
    venues.venue(venue)


def measured(names: Sequence[str]) -> bool:
    """Whether one of the figures needs a stored table; all figures are meant where there is no name.

    >>> measured(["ste", "claims-table"]), measured(["ste", "margin"]), measured([])
    (False, True, True)
    """
    reasons = drawable({})
    return any(reasons[name] for name in names or reasons)
