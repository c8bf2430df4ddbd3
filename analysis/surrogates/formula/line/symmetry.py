"""Whether a formula is symmetric about a centre, proved by its mirror image or refuted by two values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import sympy as sp
from mpmath import libmp

from ...symbols import u
from ..calculus.cells import Cell
from ..calculus.numbers import Undecided, compare, sign_of
from ..calculus.ranges import Range, Undefined, bounds, constant
from ..proof.exact import as_fraction

_BITS = 128
_PROBES = [sp.Rational(p, q) for p, q in ((1, 3), (7, 5), (13, 29), (31, 11), (1, 50), (97, 10))]


def even_about(formula: sp.Expr, line: Sequence[Cell], centre: sp.Expr) -> bool | None:
    """Whether f(centre + v) = f(centre - v) for every v; ``None`` where it cannot be told."""
    mirrored = formula.subs(u, 2 * centre - u)
    if mirrored == formula:
        return True
    if _refuted(formula, line, centre):
        return False
    if len(line) % 2 == 0:
        return None
    try:
        image = [replace(cell, value=_mirrored(cell, centre)) for cell in reversed(line)]
        for cell, other in zip(line, image, strict=True):
            if compare(cell.low, _across(other.high, centre)) != 0 or not is_zero(cell.value - other.value):
                return None
        return True
    except (Undecided, Undefined):
        return None


def differ(one: sp.Expr, other: sp.Expr) -> bool:
    """Whether two numbers differ, with certainty.

    Raises:
        Undecided: it cannot be told.
    """
    return not is_zero(one - other) and sign_of(one - other) != 0


def is_zero(expression: sp.Expr) -> bool:
    """Whether an expression is proved to be 0 wherever it is defined; False where it is not proved."""
    if sp.expand(expression) == 0:
        return True
    if not expression.has(u):
        try:
            return sign_of(expression) == 0
        except Undecided:
            return False
    fraction = as_fraction(expression)
    return fraction is not None and bool(fraction.numerator.is_zero)


def _mirrored(cell: Cell, centre: sp.Expr) -> sp.Expr:
    return cell.value.subs(u, 2 * centre - u)


def _across(point: sp.Expr, centre: sp.Expr) -> sp.Expr:
    return -point if point.is_infinite else 2 * centre - point


def _refuted(formula: sp.Expr, line: Sequence[Cell], centre: sp.Expr) -> bool:
    """Whether two mirrored values differ for certain: near and far, at every break point and between them."""
    for distance in [*_PROBES, *(cell.sample - centre for cell in line)]:
        try:
            one, other = (_value(formula, centre + way * distance) for way in (1, -1))
        except Undefined:
            continue
        if libmp.mpf_gt(one.low, other.high) or libmp.mpf_gt(other.low, one.high):
            return True
    return False


def _value(formula: sp.Expr, point: sp.Expr) -> Range:
    """The formula at a point; at a rational every condition is decided exactly."""
    if point.is_Rational:
        return constant(formula.subs(u, point), _BITS)
    return bounds(formula, {u: constant(point, _BITS)}, _BITS)
