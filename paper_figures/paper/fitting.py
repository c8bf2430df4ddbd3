"""What of a figure goes onto a page: fewer surrogates where all of them would make it higher than the page."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

from matplotlib.figure import Figure

from ...analysis.surrogates.catalogue import SURROGATES, USUAL
from .. import tables
from .venues import Venue

_FEWER = (12, 8, 6, 4, 3, 2, 1)


class _Captioned(Protocol):
    @property
    def figure(self) -> Figure: ...

    @property
    def caption(self) -> str: ...


_T = TypeVar("_T", bound=_Captioned)


def fitted(attempt: Callable[[Sequence[str] | None], _T], names: Sequence[str], venue: Venue) -> tuple[_T, str]:
    """The figure with as many surrogates as the page holds above its caption, and a sentence on what was left out.

    Args:
        attempt: draws it of these surrogates, of all where it is called with ``None``.
        names: of the surrogates that may be left out, the usual ones last and those of the user's own before them; none
            where they were asked for by name.
        venue: whose page it is.

    Returns:
        The figure, and "" where it is whole and fits, else what follows its name in a sentence. One that does not fit
        with a single surrogate is given whole.
    """
    whole = attempt(None)
    room = venue.room(whole.caption)
    if _high(whole) <= room:
        return whole, ""
    order = tables.in_order(names, [*USUAL, *(name for name in names if name not in SURROGATES)])
    for many in (many for many in _FEWER if many < len(order)):
        fewer = attempt(order[:many])
        if _high(fewer) <= venue.room(fewer.caption):
            return fewer, (
                f"shows {many} of {len(order)} surrogates, as with all of them it would be {_high(whole):.1f} in high, "
                f"and the page leaves {room:.1f} in above the caption; --surrogates chooses others."
            )
    return whole, (
        f"is {_high(whole):.1f} in high, and the page leaves {room:.1f} in above the caption: choose less of its "
        f"table (--surrogates, --layers, --stages) or a wider --venue."
    )


def _high(drawn: _Captioned) -> float:
    return float(drawn.figure.get_figheight())
