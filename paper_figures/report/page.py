"""The page: figures, tables and sentences set into the template. It is one file that asks for nothing else."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from ...analysis.surrogates.catalogue import SURROGATES
from .. import drawing, tables
from ..drawing import TIED, Drawn
from . import answers, entries, grids, verdicts

TITLE = "Does a surrogate gradient still point downslope?"
CONTENTS = (
    ("answer", "The answer"),
    ("claims", "Claims"),
    ("angles", "Deviation"),
    ("signs", "Signs"),
    ("training", "Training"),
    ("catalogue", "Catalogue"),
    ("method", "Method"),
    ("provenance", "Provenance"),
)


Progress = Callable[[str, int], None]
"""Is told what is running and how much of it is done."""


def quiet(running: str, done: int) -> None:
    """Tells nobody."""


@dataclass(frozen=True)
class Contents:
    """What a report is made of, as stored tables.

    Attributes:
        deviations: a measurement with a column ``trained``.
        curves: training curves.
        claims: a mapping for each claim with ``id``, ``title``, ``source``, ``verdict``, ``expected``, ``scope``,
            ``witness`` and ``seconds``.
        provenance: how the measurement came about, as `provenance` of the measurement's table gives it, with the
            ``command`` that did it.
        quick: how the run was cut short, in a sentence; empty for a whole run.
    """

    deviations: pd.DataFrame
    curves: pd.DataFrame
    claims: Sequence[Mapping[str, Any]]
    provenance: Mapping[Any, Any]
    quick: str = ""


def render(contents: Contents, *, files: Sequence[str], version: str, progress: Progress = quiet) -> str:
    """The whole page as text.

    Args:
        contents: what it is made of.
        files: names of the tables that stand beside it.
        version: of downslope.
        progress: called with each figure's name and the number of figures done.

    Raises:
        Refused: a table lacks columns that a figure needs, or has nothing to draw.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader(__package__, "."), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    table, curves = contents.deviations, contents.curves
    comparisons = answers.compare(curves)
    drawn = figures(table, curves, progress)
    command = contents.provenance.get("command", "downslope report")
    return environment.get_template("report.html.j2").render(
        title=TITLE,
        version=version,
        created=contents.provenance.get("created", ""),
        quick=contents.quick,
        contents=CONTENTS,
        question=_question(table),
        answer=_answer(table, contents.claims),
        claims=verdicts.chapters(contents.claims),
        claims_said=verdicts.said(contents.claims),
        figures=drawn,
        more=[figure for name, found in drawn.items() if name not in PLACED for figure in found],
        grids=grids.grids(table),
        comparisons=[_comparison(row) for row in comparisons],
        training_said=[answers.said_of(row) for row in comparisons],
        catalogue=entries.entries(SURROGATES.values()),
        method=_METHOD,
        provenance=[
            (str(key).replace("_", " "), verdicts.flat(value))
            for key, value in contents.provenance.items()
            if value is not None or key == "commit"
        ],
        files=files,
        commands={"report": command, "verify": "downslope verify", "show": "downslope show NAME"},
    )


PLACED = ("angles", "catalogue", "ranking", "signs", "training")
"""The figures with a section of their own; any other of the gallery follows them."""

_METHOD = (
    (
        "angle",
        "Between surrogate and exact gradient, a layer's entries taken as one vector, sums in float64, in degrees. "
        "Below 90 a small enough step of that layer alone descends on this batch; above 90 it climbs.",
    ),
    ("magnitude ratio", "Norm of the surrogate gradient over the norm of the exact one, as log10."),
    (
        "signs",
        "Entry by entry against the exact gradient: kept, flipped, vanished (zero only in the surrogate gradient), "
        "appeared (zero only in the exact one).",
    ),
    ("undefined", "Where a gradient is zero or not finite an angle is undefined: counted and shown, never a number."),
    (
        "tied, untied",
        "Tied: the backward is the forward's own derivative, so that the gradient is exact. Untied: it is a surrogate. "
        "The forward keeps its bits in both.",
    ),
    ("random surrogates", "Drawn anew for each unit and sample, several times a stage, from a recorded seed."),
)


def _answer(table: pd.DataFrame, claims: Sequence[Mapping[str, Any]]) -> list[str]:
    said = [*answers.answer(table), answers.flips(table), *answers.with_depth(table)]
    if any(str(claim["verdict"]) == "REFUTED" for claim in claims):
        said.append("No guarantee follows: the refuted claims below name networks on which such a gradient climbs.")
    return [*said, *filter(None, [answers.control(table)])]


def _question(table: pd.DataFrame) -> list[str]:
    networks = ", ".join(
        f"{network} ({rows['activation'].iloc[0]} hidden units)"
        for network, rows in table.groupby("network", sort=False)
    )
    surrogates = table.loc[table["surrogate"] != TIED, "surrogate"].nunique()
    return [
        "When the derivative of an activation is replaced by something else in the backward pass, does a step along "
        "the resulting gradient still decrease the loss, in every layer?",
        f"{surrogates} surrogates from the literature were put to this on networks trained on DIGITS: {networks}, "
        f"each trained tied and untied, at the stages {', '.join(tables.stages(table))}, on "
        f"{table['seed'].nunique()} seeds. The theory's claims about the same question were decided beside them.",
    ]


def figures(table: pd.DataFrame, curves: pd.DataFrame, progress: Progress = quiet) -> dict[str, list[Drawn]]:
    """The page's figures, by name in the gallery."""
    stored = {"deviations": table, "curves": curves}
    found = {}
    for done, name in enumerate(PLACED, start=1):
        found[name] = list(drawing.drawn(name, stored))
        progress(f"figure {name}", done)
    return found


def _comparison(row: answers.Comparison) -> dict[str, Any]:
    shown = f"{row.difference:+.2f}"
    half = "" if row.half_width != row.half_width else f" ± {row.half_width:.2f}"
    return {**vars(row), "interval": shown + half, "verdict": row.verdict}
