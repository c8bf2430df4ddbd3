"""One surrogate over its forward, or one activation with its derivative: what `downslope show NAME --plot` draws."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..analysis.errors import Refused
from ..analysis.surrogates.activation import Activation
from ..analysis.surrogates.activations import ACTIVATIONS
from ..analysis.surrogates.formula.evaluation import evaluate
from ..analysis.surrogates.formula.profile import breaks
from ..analysis.surrogates.formula.sign import Sign
from ..analysis.surrogates.surrogate import Surrogate
from . import look

Array = np.ndarray[Any, np.dtype[np.float64]]

_POINTS = 801
_SPANS = (0.25, 0.5, 1.0, 2.0, 3.0, 5.0, 10.0, 20.0, 50.0, 100.0)
_FAINT = 0.05
_FORWARD = "#b0b0b0"


def draw(entry: Surrogate | Activation) -> Figure:
    """A surrogate's factor psi(u) over the forward that it usually stands under (grey, on the right axis), with gaps
    where psi jumps and dots for its values there. A random surrogate is drawn as its mean, the band one standard
    deviation to each side; where psi is proved negative somewhere its negative area is hatched. An activation is drawn
    the same way, as the forward over which its own derivative stands.
    """
    surrogate = entry if isinstance(entry, Surrogate) else entry.tied
    forward = ACTIVATIONS.get(surrogate.forward) if isinstance(entry, Surrogate) else entry
    centre, span = _window(surrogate)
    with look.house():
        figure = look.figure(2.3, "icml-column")
        axes = figure.subplots()
        _factor(axes, surrogate, _colour(entry), centre - span, centre + span)
        if forward is not None:
            _forward(axes, forward, centre - span, centre + span)
        axes.set(xlim=(centre - span, centre + span), xlabel="preactivation u", ylabel="factor ψ(u)")
        values = ", ".join(f"{symbol} = {float(value):g}" for symbol, value in entry.parameters.items())
        axes.set_title(f"{look.words(entry.name)}{f' ({values})' if values else ''}")
    return figure


def _factor(axes: Axes, surrogate: Surrogate, colour: str, low: float, high: float) -> None:
    deviation = _deviation(surrogate)
    lowest, highest = np.inf, -np.inf
    for u, psi in _pieces(_mean(surrogate), low, high):
        axes.plot(u, psi, "." if len(u) == 1 else "-", color=colour, zorder=3)
        lowest, highest = min(lowest, float(psi.min())), max(highest, float(psi.max()))
        if surrogate.sign.sign is Sign.INDEFINITE and len(u) > 1:
            hatched = axes.fill_between(u, psi, 0, where=(psi < 0).tolist(), facecolor="none", linewidth=0)
            hatched.set(hatch="////////", edgecolor=look.ALARM)
        if deviation is not None and len(u) > 1:
            band = np.sqrt(np.maximum(evaluate(deviation, u), 0))
            axes.fill_between(u, psi - band, psi + band, color=colour, alpha=0.25, linewidth=0)
    axes.axhline(0, color=look.MUTED, linewidth=0.5, zorder=1)
    if lowest >= 0:
        top = axes.get_ylim()[1] if highest > 0 else 1.0
        axes.set_ylim(-0.04 * top, top)


def _forward(axes: Axes, forward: Activation, low: float, high: float) -> None:
    """The forward in grey, behind, on an axis of its own; where it is never negative both zeros are at one height."""
    behind = axes.twinx()
    axes.set_zorder(behind.get_zorder() + 1)
    axes.patch.set_visible(False)
    lowest = np.inf
    for u, phi in _pieces(forward.value, low, high):
        behind.plot(u, phi, "." if len(u) == 1 else "-", color=_FORWARD)
        lowest = min(lowest, float(phi.min()))
    bottom, top = axes.get_ylim()
    if lowest >= 0 and top > 0:
        behind.set_ylim(bottom=behind.get_ylim()[1] * bottom / top)
    behind.spines["right"].set_visible(True)
    behind.spines["right"].set_color(_FORWARD)
    behind.tick_params(axis="y", colors=look.MUTED)
    behind.set_ylabel(f"forward: {look.words(forward.name)}", color=look.MUTED)


def _pieces(formula: Any, low: float, high: float) -> Iterator[tuple[Array, Array]]:
    """(u, value) between neighbouring break points, and at each of them: no line is drawn across a jump."""
    inner = breaks(formula, low, high)
    edges = [low, *inner, high]
    tallest = float(np.abs(evaluate(formula, np.linspace(low, high, _POINTS))).max())
    for left, right in itertools.pairwise(edges):
        u = np.linspace(left, right, max(3, round(_POINTS * (right - left) / (high - low))))
        u[0] += (u[1] - u[0]) * 1e-6 * (left in inner)
        u[-1] -= (u[-1] - u[-2]) * 1e-6 * (right in inner)
        yield u, evaluate(formula, u)
    for point in inner:
        # A fold needs no dot: the formula goes through it.
        u = point + (high - low) * np.array([-1e-9, 0.0, 1e-9])
        left, at, right = evaluate(formula, u)
        if max(abs(left - at), abs(right - at)) > 1e-6 * tallest:
            yield np.array([point]), np.array([at])


def _mean(surrogate: Surrogate) -> Any:
    try:
        return surrogate.mean
    except Refused as refusal:
        raise Refused(f"--plot: {surrogate.name} is random and its mean cannot be drawn: {refusal}") from None


def _deviation(surrogate: Surrogate) -> Any:
    return surrogate.variance if surrogate.random else None


def _colour(entry: Surrogate | Activation) -> str:
    return look.style(entry.name).colour if isinstance(entry, Surrogate) else look.INK


def _window(surrogate: Surrogate) -> tuple[float, float]:
    """Centre and half-width of the part of the line that shows the factor."""
    profile, mean = surrogate.profile, _mean(surrogate)
    if profile.support and all(end.is_finite for end in (profile.support[0][0], profile.support[-1][1])):
        left, right = float(profile.support[0][0]), float(profile.support[-1][1])
        return (left + right) / 2, max(0.75 * (right - left), 1e-9)
    centre = float(profile.centre) if profile.centre is not None else 0.0
    offsets = np.array([1.0, 1.5, 2.0, 4.0])
    top = float(np.abs(evaluate(mean, centre + np.linspace(-1, 1, 201))).max())
    for span in _SPANS if top > 0 else ():
        tail = evaluate(mean, centre + span * np.concatenate([-offsets, offsets]))
        if np.abs(tail).max() <= _FAINT * top:
            return centre, span * 1.2
    return centre, 3.0
