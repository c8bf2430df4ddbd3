"""The page: figures, tables and sentences set into the template. It is one file that asks for nothing else."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from ...analysis.surrogates.catalogue import SURROGATES
from .. import stored, tables
from ..drawing import TIED
from . import answers, grids, verdicts
from .catalogue import conformance, entries
from .pictures import Pictures, size

TITLE = "Does a surrogate gradient still point downslope?"
SECTIONS = {
    "answer": "The answer",
    "claims": "The claims",
    "angles": "Deviation from the exact gradient",
    "signs": "Sign agreement",
    "training": "Training, tied against untied",
    "catalogue": "The catalogue",
    "checks": "Conformance checks",
    "more": "More figures",
    "absent": "Figures that were not drawn",
    "method": "How it was measured",
    "provenance": "Provenance",
}
PLACES = {
    "answer": ("ranking",),
    "claims": ("claims",),
    "angles": ("angles", "angle-depth", "layer-step", "per-sample", "along-the-step"),
    "signs": ("signs",),
    "training": ("training",),
    "catalogue": ("catalogue",),
}
"""The figures of each section; any other of the gallery stands among "more"."""


@dataclass(frozen=True)
class Contents:
    """What a report is made of.

    Attributes:
        tables: by name; "deviations", a measurement with a column ``trained``, "curves", training curves, and
            "checks", the records of the conformance checks, are always there. All of them are written beside the page.
        claims: a mapping for each claim, as `downslope verify --json` prints them.
        pictures: the figures.
        provenance: how the measurement came about, as `provenance` of the measurement's table gives it, with the
            ``command`` that did it.
        quick: how the run was cut short, in a sentence; empty for a whole run.
    """

    tables: Mapping[str, pd.DataFrame]
    claims: Sequence[Mapping[str, Any]]
    pictures: Pictures
    provenance: Mapping[Any, Any] = field(default_factory=dict)
    quick: str = ""


def render(contents: Contents, *, version: str) -> str:
    """The whole page as text.

    Args:
        contents: what it is made of.
        version: of downslope.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    loader = PackageLoader(__package__, ".")
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    table = exact(contents.tables[stored.DEVIATIONS])
    checks = contents.tables["checks"]
    comparisons = answers.compare(contents.tables["curves"])
    script = environment.get_template("script.js.j2").render()
    return environment.get_template("report.html.j2").render(
        title=TITLE,
        version=version,
        created=contents.provenance.get("created", ""),
        quick=contents.quick,
        sections=_sections(contents.pictures),
        pictures=_placed(contents.pictures),
        absent=contents.pictures.absent,
        question=_question(table),
        answer=_answer(table, contents.claims),
        stages=tables.stages(table),
        measured=stored.file(stored.DEVIATIONS),
        claims=verdicts.chapters(contents.claims),
        claims_said=verdicts.said(contents.claims),
        grids=grids.grids(table, contents.provenance.get("plan") or {}),
        comparisons=[_comparison(row) for row in comparisons],
        training_said=[answers.said_of(row) for row in comparisons],
        catalogue=entries.entries(SURROGATES.values()),
        profile=entries.PROFILE,
        checks=conformance.rows(checks),
        checks_said=conformance.said(checks),
        outcomes=[(str(outcome), conformance.MEANING[outcome]) for outcome in conformance.OUTCOMES],
        sentences=conformance.sentences(checks),
        method=_METHOD,
        provenance=[
            (str(key).replace("_", " "), verdicts.flat(value))
            for key, value in contents.provenance.items()
            if value is not None or key == "commit"
        ],
        files=[(stored.file(name), size(each)) for name, each in contents.tables.items()],
        command_line=contents.provenance.get("command", "downslope report"),
        script=Markup(script),
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )


def exact(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of a measurement that the page speaks of: whole batches against the exact gradient."""
    rows = tables.batches(table)
    return rows[rows["reference"] == "exact"] if "reference" in rows.columns else rows


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


def _sections(pictures: Pictures) -> dict[str, str]:
    """The sections that have something to show."""
    there = {"more": bool(_placed(pictures)["more"]), "absent": bool(pictures.absent)}
    return {section: title for section, title in SECTIONS.items() if there.get(section, True)}


def _placed(pictures: Pictures) -> dict[str, list[Any]]:
    """Each section's figures, the pictures of one figure together."""
    elsewhere = {name for names in PLACES.values() for name in names}
    places = PLACES | {"more": tuple(name for name in pictures.drawn if name not in elsewhere)}
    return {
        section: [pictures.drawn[name] for name in names if name in pictures.drawn] for section, names in places.items()
    }


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
        f"{table['seed'].nunique()} seeds. The theory's claims about the same question were decided beside them, and "
        "the definitions themselves were property-tested.",
    ]


def _comparison(row: answers.Comparison) -> dict[str, Any]:
    half = "" if row.half_width != row.half_width else f" ± {row.half_width:.2f}"
    return {**vars(row), "interval": f"{row.difference:+.2f}{half}", "verdict": row.verdict}
