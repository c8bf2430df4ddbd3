"""What a paper includes: a snippet for each figure, booktabs tables, and texts that LaTeX can set."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.ticker import FixedFormatter, FixedLocator

from ...proofs.show.latex import escaped as escape_ascii
from .. import tables
from .venues import Venue

PACKAGES = ("graphicx", "booktabs")
"""What a document needs to load for the snippets and tables to compile."""

_LETTERS = {
    "−": "$-$",
    "±": r"$\pm$",
    "′": r"$'$",
    "≥": r"$\ge$",
    "≤": r"$\le$",
    "∞": r"$\infty$",
    "·": r"$\cdot$",
    "ψ": r"$\psi$",
    "φ": r"$\phi$",
    "κ": r"$\kappa$",
    "θ": r"$\theta$",
    "η": r"$\eta$",
    "γ": r"$\gamma$",
    "∇": r"$\nabla$",
    "⟨": r"$\langle$",
    "⟩": r"$\rangle$",
    "²": r"$^2$",
    "–": "--",
    "←": r"$\leftarrow$",
    "g\u0303": r"$\tilde{g}$",
}


def escaped(text: str) -> str:
    r"""Text as LaTeX; formulas between dollar signs stay, Greek letters and signs become formulas.

    >>> print(escaped("κ of 3_layers is 5% ($n_1$)"))
    $\kappa$ of 3\_layers is 5\% ($n_1$)
    """
    parts = re.split(r"(\$[^$]*\$)", text)
    return "".join(part if place % 2 else _plain(part) for place, part in enumerate(parts))


def _plain(text: str) -> str:
    letters = re.findall(".\u0303?", text, re.DOTALL)  # a letter and the tilde over it are one
    return "".join(_LETTERS.get(letter, escape_ascii(letter)) for letter in letters)


def snippet(graphic: str, title: str, caption: str, venue: Venue) -> str:
    r"""A figure environment: ``\includegraphics`` at the venue's width, caption and label.

    Args:
        graphic: file of the figure, as ``NAME.pdf``; the label is ``fig:NAME``.
        title: set in bold at the caption's beginning.
        caption: as plain text.
        venue: whose width it has; a figure that spans two columns stands in ``figure*``.
    """
    name = graphic.rpartition(".")[0]
    environment = "figure*" if venue.spans else "figure"
    return "\n".join(
        [
            f"% needs \\usepackage{{{','.join(PACKAGES)}}}",
            rf"\begin{{{environment}}}[t]",
            r"  \centering",
            rf"  \includegraphics[width={venue.width:.4f}in]{{{graphic}}}",
            rf"  \caption{{\textbf{{{escaped(title)}.}} {escaped(caption)}}}",
            rf"  \label{{fig:{name}}}",
            rf"\end{{{environment}}}",
            "",
        ]
    )


def booktabs(
    name: str, caption: str, header: Sequence[str], rows: Iterable[Sequence[str]], columns: str, *, wide: bool = False
) -> str:
    """A table with booktabs rules, its caption above it, labelled ``tab:NAME``; cells are plain text.

    Args:
        name: of the label.
        caption: as plain text.
        header, rows: as plain text.
        columns: their alignment, as LaTeX takes it.
        wide: whether it spans both columns of a page. Where it is wider still, it is scaled down to the line.
    """
    lines = [" & ".join(escaped(cell) for cell in row) + r" \\" for row in rows]
    environment = "table*" if wide else "table"
    return "\n".join(
        [
            f"% needs \\usepackage{{{','.join(PACKAGES)}}}",
            rf"\begin{{{environment}}}[t]",
            r"  \centering\footnotesize",
            rf"  \caption{{{escaped(caption)}}}",
            rf"  \label{{tab:{name}}}",
            r"  \resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%",
            rf"  \begin{{tabular}}{{{columns}}}",
            r"    \toprule",
            "    " + " & ".join(escaped(cell) for cell in header) + r" \\",
            r"    \midrule",
            *(f"    {line}" for line in lines),
            r"    \bottomrule",
            r"  \end{tabular}}",
            rf"\end{{{environment}}}",
            "",
        ]
    )


def results(table: pd.DataFrame, *, wide: bool = False) -> str:
    """The results of a measurement: each surrogate's median angle and full range in each layer, a table a run, each
    ``wide`` as in `booktabs`.

    Raises:
        Refused: a column is missing, or there is no row of a layer.
    """
    tables.require(table, ("network", "surrogate", "layer", "depth", "angle_degrees"), figure="results-table")
    table = tables.layers(table)
    tables.require(table, (), figure="results-table")
    said = []
    for run, rows in tables.runs(table):
        labels = {int(depth): str(name) for depth, name in zip(rows["depth"], rows["layer"], strict=True)}
        labels = dict(sorted(labels.items()))
        cells = rows.groupby(["surrogate", "depth"])["angle_degrees"]
        body = [
            [name.replace("_", " "), *(_cell(cells, (name, depth)) for depth in labels)]
            for name in rows["surrogate"].unique()
        ]
        caption = (
            f"Angle to the {tables.reference(rows)} gradient in degrees, {', trained '.join(map(str, run.values()))}: "
            "median over stages, seeds and draws, in brackets the full range; undefined angles are counted."
        )
        header = ["surrogate", *(tables.layer(depth, label) for depth, label in labels.items())]
        slug = "-".join(["results", *map(str, run.values())])
        said.append(booktabs(slug, caption, header, body, "@{}l" + "r" * len(labels) + "@{}", wide=wide))
    return "\n".join(said)


def _cell(cells: Any, key: tuple[str, int]) -> str:
    values = cells.get_group(key) if key in cells.groups else pd.Series(dtype=float)
    defined, missing = values.dropna(), int(values.isna().sum())
    undefined = f"{missing} of {len(values)} undefined" if missing else ""
    if defined.empty:
        return undefined or "not measured"
    shown = f"{defined.median():.1f} ({defined.min():.1f} to {defined.max():.1f})"
    return f"{shown}, {undefined}" if undefined else shown


def claims(table: pd.DataFrame, *, wide: bool = False) -> str:
    """The claims with their verdicts and sources, longest chapters broken over several tables of a page each, each
    ``wide`` as in `booktabs`.

    Raises:
        Refused: a column is missing, or there is no row.
    """
    tables.require(table, ("id", "title", "source", "verdict"), figure="claims-table")
    rows = table[~table["id"].str.startswith("surrogate-")]
    pages = [rows.iloc[start : start + 45] for start in range(0, len(rows), 45)]
    return "\n".join(
        booktabs(
            "claims" if len(pages) == 1 else f"claims-{place}",
            "Claims of the theory and their verdicts.",
            ("claim", "says", "verdict"),
            list(zip(page["id"], page["title"], page["verdict"].astype(str).str.lower(), strict=True)),
            "@{}lll@{}",
            wide=wide,
        )
        for place, page in enumerate(pages, start=1)
    )


def set_by_latex(figure: Figure) -> None:
    """Make every text of a figure one that LaTeX sets, tick labels included, as they are now."""
    figure.draw_without_rendering()
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            places, labels = axis.get_majorticklocs(), [label.get_text() for label in axis.get_majorticklabels()]
            if any(labels):
                low, high = axis.get_view_interval()
                axis.set_major_locator(FixedLocator(list(places)))
                axis.set_major_formatter(FixedFormatter([escaped(label) for label in labels]))
                axis.set_view_interval(low, high, ignore=True)
    ticks = {label for axes in figure.axes for axis in (axes.xaxis, axes.yaxis) for label in axis.get_majorticklabels()}
    for text in figure.findobj(Text):
        text.set_usetex(True)
        if text not in ticks:
            text.set_text(escaped(text.get_text()))
