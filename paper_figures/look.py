"""The house look: one colour, marker and line for each surrogate in every figure, and files that are the same bytes
for the same data.

Colours are seaborn's colour-blind-safe palette without its two palest; the usual surrogates have one each, the others
share them. Markers and lines tell surrogates apart in greyscale. Widths are the venues' own, from tueplots. No text is
below `SMALLEST` points.
"""

from __future__ import annotations

import html
import io
import re
import shutil
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import matplotlib as mpl
import seaborn as sns
from matplotlib.figure import Figure, SubFigure

from ..analysis.errors import Refused
from ..analysis.surrogates.catalogue import SURROGATES, USUAL
from . import files
from .paper import venues

SMALLEST = 6
INK, MUTED, ALARM = "#222222", "#8a8a8a", "#b3261e"
_SALT = "downslope"
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">")
_LINES: tuple[Any, ...] = ("-", (0, (4, 1.2)), (0, (1, 1)), (0, (4, 1, 1, 1)), (0, (6, 1, 1, 1, 1, 1)))
_PALETTE = (0, 2, 3, 4, 7, 1, 9, 5)
"""Places in the palette, in the order in which they are given out: of the first eight, those that share a line differ
in luminance. Left out are 6 and 8, pink and yellow: too little contrast with white paper."""
_venue: ContextVar[str] = ContextVar("venue", default="neurips")


@dataclass(frozen=True)
class Style:
    """How one surrogate is drawn, in every figure."""

    colour: str
    marker: str
    line: Any


def style(surrogate: str) -> Style:
    """The style of a surrogate by its place in the catalogue, the usual ones first; a name outside it gets one from the
    name alone.

    >>> style("constant") == style("constant") != style("triangle")
    True
    """
    names = _positions()
    place = names.get(surrogate, len(names) + zlib.crc32(surrogate.encode()) % 1009)
    colours = _colours()
    return Style(
        colours[place % len(colours)],
        _MARKERS[place % len(_MARKERS)],
        # A colour comes round after len(colours) places, and then with the next line.
        _LINES[(place + place // len(colours)) % len(_LINES)],
    )


def depth_colours(layers: int) -> list[str]:
    """A colour for each layer, from the first (dark) to the last (light): ordered, and ordered in greyscale too."""
    return [mpl.colors.to_hex(colour) for colour in sns.color_palette("viridis", layers + 1)[:layers]]


def words(name: str) -> str:
    """A catalogue name as a label; a prime stands for "derivative", which is too long for a small panel.

    >>> words("fast_sigmoid"), words("leaky_relu_derivative")
    ('fast sigmoid', 'leaky relu′')
    """
    return name.replace("_derivative", "′").replace("_", " ")


def initials(stages: Sequence[str]) -> list[str]:
    """Short tick labels: first letters where these differ, else numbers.

    >>> initials(["initialisation", "end"]), initials(["early", "end"])
    (['I', 'E'], ['1', '2'])
    """
    letters = [stage[:1].upper() for stage in stages]
    return letters if len(set(letters)) == len(letters) else [str(place + 1) for place in range(len(stages))]


def width(venue: str | None = None) -> float:
    """A venue's text width in inches; of the venue that figures are drawn `at` where it is ``None``.

    Raises:
        Refused: the venue is unknown.
    """
    return venues.venue(venue or _venue.get()).width


def venue() -> str:
    """The venue that figures are drawn `at`."""
    return _venue.get()


@contextmanager
def at(venue: str) -> Iterator[None]:
    """Within it, figures are made as wide as the venue wants them ("neurips" elsewhere).

    Raises:
        Refused: the venue is unknown.
    """
    venues.venue(venue)
    token = _venue.set(venue)
    try:
        yield
    finally:
        _venue.reset(token)


def across(panels: int, inches: float) -> int:
    """How many panels of at least that width stand in one row of the venue's width, at least one: no more than it takes
    to fill as few rows evenly.

    >>> across(28, 0.9), across(2, 0.9), across(8, 0.9)
    (6, 2, 4)
    """
    most = max(1, int(width() / inches))
    rows = -(-panels // most)
    return max(1, -(-panels // max(1, rows)))


@contextmanager
def house() -> Iterator[None]:
    """Within it, figures are made and saved in the house look."""
    settings: Any = sns.axes_style("ticks") | _RC
    with mpl.rc_context(settings):
        yield


_RC: dict[str, Any] = {
    "font.family": "DejaVu Sans",
    "mathtext.fontset": "dejavusans",
    "font.size": 7,
    "axes.titlesize": 7,
    "axes.labelsize": 7,
    "legend.fontsize": SMALLEST,
    "legend.title_fontsize": SMALLEST,
    "xtick.labelsize": SMALLEST,
    "ytick.labelsize": SMALLEST,
    "figure.titlesize": 8,
    "text.color": INK,
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.edgecolor": MUTED,
    "axes.linewidth": 0.6,
    "axes.titlepad": 3,
    "axes.labelpad": 2,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "lines.linewidth": 1.0,
    "lines.markersize": 3,
    "patch.linewidth": 0.5,
    "xtick.major.size": 2,
    "ytick.major.size": 2,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.pad": 1.5,
    "ytick.major.pad": 1.5,
    "legend.frameon": False,
    "figure.dpi": 100,
    "savefig.dpi": 300,
    "pdf.fonttype": 42,
    "ps.fonttype": 42,
    "svg.fonttype": "path",
    "svg.hashsalt": _SALT,
}


def figure(height: float, venue: str | None = None) -> Figure:
    """An empty figure of the venue's width and this height, both in inches; call it inside `house`."""
    return Figure(figsize=(width(venue), height), layout="constrained")


def bands(drawn: Figure, heights: Sequence[float]) -> list[Any]:
    """The figure cut into bands of these heights, one above the other; those of height 0 are left out."""
    kept = [height for height in heights if height]
    found: Any = drawn.subfigures(len(kept), 1, height_ratios=kept, squeeze=False)
    return list(found[:, 0])


def mark(drawn: Figure, word: str) -> None:
    """Write a word into the figure's lower right corner: what it shows is not what a paper should print."""
    drawn.text(0.998, 0.004, word, ha="right", va="bottom", fontsize=SMALLEST, color=ALARM, in_layout=False)


def settle(drawn: Figure) -> None:
    """Lay the figure out once: every file of it then has the same layout, and none pays for it again."""
    with house():
        drawn.draw_without_rendering()
    drawn.set_layout_engine("none")


@contextmanager
def latex_text(drawn: Figure, convert: Callable[[Figure], None]) -> Iterator[None]:
    """Within it, the figure's texts are set by LaTeX.

    Args:
        drawn: the figure.
        convert: makes its texts LaTeX's.

    Raises:
        Refused: LaTeX is not installed, or could not set a text.
    """
    if shutil.which("latex") is None:
        raise Refused("--latex-text: there is no `latex` on the path; install LaTeX, or leave the option out.")
    with mpl.rc_context({"text.latex.preamble": r"\usepackage{amsmath,amssymb}", "font.family": "serif"}):
        try:
            convert(drawn)
            yield
        except RuntimeError as error:
            raise Refused(f"--latex-text: LaTeX could not set a text: {_complaint(str(error))}") from error


def _complaint(log: str) -> str:
    """The first error in a log of LaTeX, whole: TeX breaks its lines at 79 letters, in the middle of words.

    >>> _complaint("This is pdfTeX\\n! Font " + 72 * "x" + "\\nyz not found.\\n<to be read again>")[-14:]
    'xyz not found.'
    """
    lines = log.splitlines() or [""]
    at = next((place for place, line in enumerate(lines) if line.startswith("!")), 0)
    said = lines[at]
    while len(lines[at]) >= 79 and at + 1 < len(lines):
        at += 1
        said += lines[at]
    return said.lstrip("! ")


def legend(drawn: Figure | SubFigure, handles: Sequence[Any]) -> None:
    """A legend over the panels, in as many columns as the figure's width holds."""
    drawn.legend(handles=list(handles), loc="outside upper center", ncols=_columns(handles), columnspacing=1.2)


def room(handles: Sequence[Any]) -> float:
    """The height in inches that `legend` takes for these."""
    return 0.06 + 0.125 * -(-len(handles) // _columns(handles))


def _columns(handles: Sequence[Any]) -> int:
    """As many columns as the venue's width holds, evenly filled."""
    lengths = [(30 + 0.56 * SMALLEST * len(str(handle.get_label()))) / 72 for handle in handles]

    def wide(columns: int) -> float:
        rows = -(-len(lengths) // columns)
        return sum(max(lengths[start : start + rows]) for start in range(0, len(lengths), rows))

    most = next((n for n in range(len(handles), 1, -1) if wide(n) <= width()), 1)
    return -(-len(handles) // -(-len(handles) // most))


def svg(drawn: Figure, name: str, *, label: str) -> str:
    """The figure as an ``<svg>`` element to set into a page.

    Args:
        drawn: the figure.
        name: every id in the element begins with it, so that figures on one page do not share ids.
        label: the text alternative.
    """
    buffer = io.StringIO()
    with house():
        drawn.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r"<!--.*?-->", "", text, flags=re.DOTALL)
    text = re.sub(
        r' xmlns(:xlink)?="[^"]*"', "", text
    )  # a page's <svg> needs none, and it then names no address at all
    text = re.sub(r'\bid="', f'id="{name}-', text)
    text = re.sub(r'(xlink:href|href)="#', rf'\1="#{name}-', text).replace("url(#", f"url(#{name}-")
    return text.replace("<svg ", f'<svg role="img" aria-label="{html.escape(label)}" ', 1)


def save(drawn: Figure, path: Path) -> Path:
    """Write the figure whole or not at all; the suffix (.pdf, .svg, .png) chooses the format.

    Raises:
        Refused: the suffix is another one.
    """
    dateless = {".pdf": {"CreationDate": None}, ".svg": {"Date": None}, ".png": {"Software": None}}
    if path.suffix not in dateless:
        raise Refused(f"a figure cannot be written to {path.name}: its suffix is one of {', '.join(dateless)}.")
    with files.whole(path) as beside, house():
        drawn.savefig(beside, format=path.suffix[1:], metadata=dateless[path.suffix])
    return path


@cache
def _positions() -> dict[str, int]:
    return {name: place for place, name in enumerate(dict.fromkeys([*USUAL, *SURROGATES]))}


@cache
def _colours() -> tuple[str, ...]:
    palette = sns.color_palette("colorblind")
    return tuple(mpl.colors.to_hex(palette[place]) for place in _PALETTE)
