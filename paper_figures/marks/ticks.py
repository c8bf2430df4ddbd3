"""Tick labels: only where they are needed among small multiples, and in plain digits."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.ticker import FuncFormatter, NullFormatter


def foot(panel: Axes, place: int, across: int, panels: int) -> None:
    """Tick labels along x for the lowest panel of each column alone. In a row above a short last one they hang into the
    empty place below, where the layout need make no room: rows stay evenly apart.

    Args:
        panel: one of a grid of small multiples.
        place: its number, row by row.
        across: panels in a row.
        panels: how many there are.
    """
    lowest = place + across >= panels
    panel.tick_params(axis="x", labelbottom=lowest, which="both")
    panel.xaxis.set_in_layout(not lowest or place // across == (panels - 1) // across)


def decades(axis: Axis) -> None:
    """Label a logarithmic axis in plain digits: the exponent of a power of ten would be smaller than text may be."""
    axis.set_major_formatter(FuncFormatter(plain))
    axis.set_minor_formatter(NullFormatter())


def plain(value: float, place: int | None = None) -> str:
    """A number as a short tick label without a superscript.

    >>> [plain(value) for value in (1e-5, 0.01, 1, 1000, 20_000, 1e6)]
    ['1e−5', '0.01', '1', '1000', '20k', '1M']
    """
    size = abs(value)
    if size >= 1e9 or 0 < size < 1e-4:
        digits, power = f"{value:.0e}".split("e")
        return f"{digits}e{int(power)}".replace("-", "−")
    if size >= 1e6:
        return f"{value / 1e6:g}M"
    return f"{value / 1e3:g}k" if size >= 1e4 else f"{value:g}"
