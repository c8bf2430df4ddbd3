"""Direct labels: names beside the lines that they name, moved apart where they would cover each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes

from .. import look

_SLANTED, _ENDS = 0.7, 0.9
"""Where a leader has reached its label's height and where it ends, as shares of the way to the label: a slanted line
that went on to the label would run through the first letters of those that it passes."""


def apart(heights: Sequence[float], gap: float) -> list[float]:
    """The heights moved as little as it takes to lie ``gap`` apart, order kept (least squares, pooling neighbours).

    >>> apart([0.0, 0.0, 5.0], 1.0)
    [-0.5, 0.5, 5.0]
    """
    order = sorted(range(len(heights)), key=lambda place: heights[place])
    # With y_i = h_i - i gap the constraint is that y increases: pool adjacent violators.
    pools: list[tuple[float, int]] = []
    for rank, place in enumerate(order):
        mean, count = heights[place] - rank * gap, 1
        while pools and pools[-1][0] > mean:
            before, many = pools.pop()
            mean, count = (mean * count + before * many) / (count + many), count + many
        pools.append((mean, count))
    levels = [mean for mean, count in pools for _ in range(count)]
    moved = [0.0] * len(order)
    for rank, (place, level) in enumerate(zip(order, levels, strict=True)):
        moved[place] = level + rank * gap
    return moved


def beside(axes: Axes, ends: Mapping[str, tuple[float, str]], *, height: float, reach: float = 0.1) -> None:
    """Names at the right edge of a panel, each tied to the height where its line ends by a thin leader.

    Args:
        axes: with its limits set; the labels stand right of it.
        ends: for each label the height of its line's end in data, and its colour.
        height: of the panel in inches, roughly; labels are set `look.SMALLEST` points apart.
        reach: how far right of the panel they stand, in widths of the panel.
    """
    low, high = axes.get_ylim()
    at = axes.transScale.transform
    bottom, top = at((1.0, low))[1], at((1.0, high))[1]
    heights = [float((at((1.0, np.clip(y, low, high)))[1] - bottom) / (top - bottom)) for y, _ in ends.values()]
    gap = 1.15 * look.SMALLEST / 72 / height
    moved = np.array(apart(heights, gap))
    if len(moved):
        # A block that would leave the panel is shifted back into it as a whole.
        moved = moved - max(0.0, float(moved.max()) - 1.0)
        moved = moved + max(0.0, -float(moved.min()))
    for (label, (_, colour)), start, end in zip(ends.items(), heights, moved, strict=True):
        axes.plot(
            [1.0, 1.0 + _SLANTED * reach, 1.0 + _ENDS * reach],
            [start, float(end), float(end)],
            transform=axes.transAxes,
            color=colour,
            linewidth=0.4,
            clip_on=False,
            label=f"leader of {label}",
        )
        axes.text(
            1.0 + reach,
            float(end),
            label,
            transform=axes.transAxes,
            color=colour,
            fontsize=look.SMALLEST,
            va="center_baseline",
            ha="left",
        )
