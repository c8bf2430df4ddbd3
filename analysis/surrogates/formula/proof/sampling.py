"""Where to look: points at every scale that an expression has, and a simple rational beside a point of them.

Nothing is decided here. A value that looks negative becomes a witness only when a certified range at a rational says
so.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping
from fractions import Fraction
from functools import lru_cache
from typing import Any

import numpy as np
import sympy as sp

from ...symbols import u
from ..calculus.ranges import Range, Undefined, bounds, constant

Array = np.ndarray[Any, np.dtype[np.float64]]

_OFFSETS = np.concatenate([[0.0], np.logspace(-4, 3, 85)])
_PRECISIONS = (64, 256)


@lru_cache(maxsize=256)
def values(expression: sp.Expr) -> Callable[[Array], Array]:
    """The expression as plain float64 code: fast, and not to be trusted."""
    special = {"erf": np.vectorize(math.erf, otypes=[float]), "erfc": np.vectorize(math.erfc, otypes=[float])}
    code = sp.lambdify(u, expression, [special, "numpy"])

    def at(points: Array) -> Array:
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                found = np.asarray(code(points))
            except (TypeError, ValueError, NameError, OverflowError, ZeroDivisionError, AttributeError):
                return np.full(points.shape, np.nan)
        if found.dtype == object or np.iscomplexobj(found):
            return np.full(points.shape, np.nan)
        return np.broadcast_to(found.astype(float), points.shape)

    return at


def points(expression: sp.Expr, low: sp.Expr, high: sp.Expr) -> Array:
    """Points strictly inside an interval, ascending: about each centre of the expression, at each of its scales."""
    left, right = float(low), float(high)
    finite = [end for end in (left, right) if math.isfinite(end)]
    about = {(0.0, 1.0), *((end, 1.0) for end in finite)}
    if len(finite) == 2:
        about |= {(left, right - left), (right, right - left)}
    about |= places(expression)
    grids = [centre + sign * scale * _OFFSETS for centre, scale in sorted(about)[:40] for sign in (-1.0, 1.0)]
    if len(finite) == 2:
        grids.append(np.linspace(left, right, 259))
    found = np.unique(np.concatenate(grids))
    return found[(found > left) & (found < right)]


def places(expression: sp.Expr) -> set[tuple[float, float]]:
    """(centre, scale) of each polynomial of degree one or two in an expression: where it is 0 or turns, how fast."""
    inner = (node for node in sp.preorder_traversal(expression) if isinstance(node, sp.Expr) and node.has(u))
    return {place for node in inner if node.is_polynomial(u) for place in _place(node)}


def negative_witness(expression: sp.Expr, low: sp.Expr, high: sp.Expr) -> sp.Rational | None:
    """A short rational inside an open interval at which the expression is certified to be negative, if one is seen."""
    candidates = points(expression, low, high)
    seen = values(expression)(candidates)
    quarters = np.unique(np.round(candidates[seen < 0] * 4) / 4)
    quarters = quarters[(quarters > float(low)) & (quarters < float(high)) & (np.abs(quarters) < 1e6)]
    at_quarters = values(expression)(quarters)
    for place in np.argsort(np.where(at_quarters < 0, at_quarters, np.inf))[:2]:
        number = sp.Rational(float(quarters[place]))
        if at_quarters[place] < 0 and certified_negative(expression, {u: constant(number)}):
            return number
    order = np.argsort(np.where(np.isfinite(seen), seen, np.inf))
    for place in order[:4]:
        if not seen[place] < 0:
            return None
        room = min(abs(candidates[place] - other) for other in _neighbours(candidates, place, float(low), float(high)))
        witness = _short(expression, float(candidates[place]), room)
        if witness is not None:
            return witness
    return None


def certified_negative(expression: sp.Expr, box: Mapping[sp.Basic, Range]) -> bool:
    """Whether the expression is negative at a point (given by ranges of one value), with certainty."""
    for precision in _PRECISIONS:
        try:
            if bounds(expression, box, precision).negative:
                return True
        except Undefined:
            return False
    return False


def _neighbours(candidates: Array, place: int, low: float, high: float) -> list[float]:
    left = candidates[place - 1] if place else max(low, candidates[place] - 1)
    right = candidates[place + 1] if place + 1 < len(candidates) else min(high, candidates[place] + 1)
    return [float(left), float(right)]


def _short(expression: sp.Expr, point: float, room: float) -> sp.Rational | None:
    for digits in range(0, 17, 2):
        near = Fraction(point).limit_denominator(10**digits)
        if abs(float(near) - point) < room:
            number = sp.Rational(near.numerator, near.denominator)
            if certified_negative(expression, {u: constant(number, _PRECISIONS[-1])}):
                return number
    return None


def _place(polynomial: sp.Expr) -> set[tuple[float, float]]:
    try:
        slope = float(polynomial.diff(u).subs(u, 0))
        bend = float(polynomial.diff(u, 2).subs(u, 0)) / 2
        level = float(polynomial.subs(u, 0))
    except (TypeError, ValueError, OverflowError):
        return set()
    if not all(map(math.isfinite, (slope, bend, level))):
        return set()
    if bend == 0:
        return {(-level / slope, 1 / abs(slope))} if slope else set()
    centre, scale = -slope / (2 * bend), 1 / math.sqrt(abs(bend))
    return {(centre, scale)}
