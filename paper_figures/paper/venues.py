"""The venues' own widths, from tueplots, and whether a figure of that width spans both columns of a page."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tueplots import figsizes

from ...analysis.errors import Refused, near


@dataclass(frozen=True)
class Venue:
    """A place to print in.

    Attributes:
        sizes: tueplots' function for it.
        spans: whether its figures span two columns (``figure*`` in LaTeX).
    """

    sizes: Callable[[], dict[str, Any]]
    spans: bool = False

    @property
    def width(self) -> float:
        """In inches."""
        return float(self.sizes()["figure.figsize"][0])


VENUES = {
    "neurips": Venue(figsizes.neurips2024),
    "iclr": Venue(figsizes.iclr2024),
    "icml": Venue(figsizes.icml2024_full, spans=True),
    "icml-column": Venue(figsizes.icml2024_half),
    "jmlr": Venue(figsizes.jmlr2001),
    "tmlr": Venue(figsizes.tmlr2023),
    "aaai": Venue(figsizes.aaai2024_full, spans=True),
    "aaai-column": Venue(figsizes.aaai2024_half),
    "aistats": Venue(figsizes.aistats2023_full, spans=True),
    "aistats-column": Venue(figsizes.aistats2023_half),
    "uai": Venue(figsizes.uai2023_full, spans=True),
    "uai-column": Venue(figsizes.uai2023_half),
    "cvpr": Venue(figsizes.cvpr2024_full, spans=True),
    "cvpr-column": Venue(figsizes.cvpr2024_half),
    "eccv": Venue(figsizes.eccv2024),
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
