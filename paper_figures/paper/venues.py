"""The venues' own widths, from tueplots, and whether a figure of that width spans both columns of a page."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tueplots import figsizes

from ...analysis.errors import Refused, near

_LETTERS, _LINE, _AROUND = 14.0, 12 / 72, 0.2
"""Of a caption in 10 points: letters to an inch, inches to a line, and the space around it; on the cautious side."""


@dataclass(frozen=True)
class Venue:
    """A place to print in.

    Attributes:
        sizes: tueplots' function for it.
        spans: whether its figures span two columns (``figure*`` in LaTeX).
        columns: of its page.
        height: of its page's text in inches, as its style file says.
    """

    sizes: Callable[[], dict[str, Any]]
    spans: bool = False
    columns: int = 1
    height: float = 9.0

    @property
    def width(self) -> float:
        """In inches."""
        return float(self.sizes()["figure.figsize"][0])

    def room(self, caption: str) -> float:
        """The height in inches that is left for a figure on a page of its own, above a caption of this length."""
        lines = math.ceil(len(caption) / (_LETTERS * self.width))
        return self.height - _AROUND - lines * _LINE


VENUES = {
    "neurips": Venue(figsizes.neurips2024),
    "iclr": Venue(figsizes.iclr2024),
    "icml": Venue(figsizes.icml2024_full, spans=True, columns=2),
    "icml-column": Venue(figsizes.icml2024_half, columns=2),
    "jmlr": Venue(figsizes.jmlr2001, height=8.5),
    "tmlr": Venue(figsizes.tmlr2023),
    "aaai": Venue(figsizes.aaai2024_full, spans=True, columns=2),
    "aaai-column": Venue(figsizes.aaai2024_half, columns=2),
    "aistats": Venue(figsizes.aistats2023_full, spans=True, columns=2),
    "aistats-column": Venue(figsizes.aistats2023_half, columns=2),
    "uai": Venue(figsizes.uai2023_full, spans=True, columns=2),
    "uai-column": Venue(figsizes.uai2023_half, columns=2),
    "cvpr": Venue(figsizes.cvpr2024_full, spans=True, columns=2, height=8.875),
    "cvpr-column": Venue(figsizes.cvpr2024_half, columns=2, height=8.875),
    "eccv": Venue(figsizes.eccv2024, height=7.6),
}


def venue(name: str) -> Venue:
    """A venue by name.

    Raises:
        Refused: there is none of that name.

    >>> venue("icml-column").width, venue("icml").spans
    (3.25, True)
    """
    if name not in VENUES:
        raise Refused(f"--venue {name}: there is no venue {name!r}: {near(name, VENUES)}.")
    return VENUES[name]
