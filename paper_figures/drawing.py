"""From stored tables to drawn figures: which figures there are, what each is drawn from, and what its caption says.

A figure is one file of `gallery`: it names the table that it reads (``TABLE``) and says whether it shows one run at a
time (``ONE_RUN``), that is, one network trained in one way; then a table of several runs gives a figure for each.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from inspect import cleandoc
from pathlib import Path
from typing import Protocol, cast

import pandas as pd
from matplotlib.figure import Figure

from ..analysis.errors import Refused, near
from ..analysis.gradients import table as measurement
from . import files, gallery, look, tables
from .gallery import catalogue

TIED = "tied"
"""The control among the surrogates: figures show it only where it is asked for."""


FORMATS = ("png", "svg", "pdf")


class Drawer(Protocol):
    """What a file of the gallery offers."""

    NAME: str
    TITLE: str
    TABLE: str
    ONE_RUN: bool

    def draw(self, table: pd.DataFrame) -> Figure:
        """The figure; the first paragraph of this docstring is its caption."""


@dataclass(frozen=True)
class Drawn:
    """A figure with its words.

    Attributes:
        name: for files and for ids in a page.
        title: a few words.
        caption: sentences, with what is to be said of the data.
        figure: as drawn, to save or to change.
    """

    name: str
    title: str
    caption: str
    figure: Figure

    @cached_property
    def svg(self) -> str:
        """As an ``<svg>`` element for a page, title and caption its text alternative."""
        return look.svg(self.figure, self.name, label=f"{self.title}. {self.caption}")


@cache
def figures() -> Mapping[str, Drawer]:
    """Every figure of the gallery, by name."""
    found = [
        importlib.import_module(f"{gallery.__name__}.{each.name}") for each in pkgutil.iter_modules(gallery.__path__)
    ]
    return {module.NAME: cast(Drawer, module) for module in found}


def stored(folder: Path) -> dict[str, pd.DataFrame]:
    """The tables that `downslope report` left in a folder, by name.

    Raises:
        Refused: there are none, or one is damaged or of another version.
    """
    if not (folder / "deviations.parquet").is_file() or not (folder / "curves.parquet").is_file():
        raise Refused(
            f"--data {folder} does not hold deviations.parquet and curves.parquet: run `downslope report` first."
        )
    try:
        curves = pd.read_parquet(folder / "curves.parquet")
    except (OSError, ValueError) as error:
        raise Refused(f"--data {folder}: curves.parquet is no whole Parquet file ({error}).") from error
    return {"deviations": measurement.read(folder / "deviations.parquet"), "curves": curves}


def drawn(name: str, stored: Mapping[str, pd.DataFrame], *, surrogates: Sequence[str] | None = None) -> Iterator[Drawn]:
    """One figure, or one for each run in the table.

    Args:
        name: of the figure.
        stored: tables by name ("deviations", "curves").
        surrogates: which to show; all where it is ``None``.

    Raises:
        Refused: there is no such figure, its table is not at hand, or has nothing of what was asked for.
    """
    if name not in figures():
        raise Refused(f"there is no figure {name!r}: {near(name, figures())}.")
    drawer = figures()[name]
    table = catalogue.shapes() if drawer.TABLE == "shapes" else stored.get(drawer.TABLE)
    if table is None:
        raise Refused(f"the figure {name!r} is drawn from the table {drawer.TABLE!r}, which is not at hand.")
    if "surrogate" in table.columns:
        chosen = [each for each in table["surrogate"].unique() if each != TIED] if surrogates is None else surrogates
        table = tables.select(table, figure=name, surrogate=list(chosen))
    run = [column for column in ("network", "trained") if drawer.ONE_RUN and column in table.columns]
    said = cleandoc(drawer.draw.__doc__ or "").split("\n\n")[0].replace("\n", " ")
    for key, rows in table.groupby(run, sort=False) if run else [((), table)]:
        words = ", trained ".join(map(str, key))
        title = f"{drawer.TITLE}: {words}" if words else drawer.TITLE
        yield Drawn("-".join(map(str, (name, *key))), title, f"{said} {facts(rows)}".strip(), drawer.draw(rows))


def facts(table: pd.DataFrame) -> str:
    """What a caption has to say of its data: how many runs, and how many angles are undefined."""
    said = []
    if "seed" in table.columns:
        draws = table["draw"].nunique() if "draw" in table.columns else 1
        said.append(
            f"n = {table['seed'].nunique()} seeds" + (f", up to {draws} draws of a random surrogate" * (draws > 1))
        )
    if "angle_degrees" in table.columns:
        rows = tables.layers(table)
        said.append(f"{int(rows['angle_degrees'].isna().sum()):,} of {len(rows):,} angles undefined")
    return f"({'; '.join(said)}.)" if said else ""


def save(
    names: Sequence[str],
    stored: Mapping[str, pd.DataFrame],
    out: Path,
    *,
    surrogates: Sequence[str] | None = None,
    formats: Sequence[str] = FORMATS,
) -> list[Path]:
    """Draw figures (all where ``names`` is empty) and write each in each format into a folder.

    Raises:
        Refused: as `drawn`, ``out`` cannot be written to, or a format is not one of `FORMATS`.
    """
    unknown = [each for each in formats if each not in FORMATS]
    if unknown:
        raise Refused(f"--format {unknown[0]}: figures are written as {', '.join(FORMATS)}.")
    folder = files.folder(out)
    return [
        look.save(each.figure, folder / f"{each.name}.{suffix}")
        for name in names or figures()
        for each in drawn(name, stored, surrogates=surrogates)
        for suffix in formats
    ]
