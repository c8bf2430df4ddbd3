"""The integral of a formula over the line: in closed form cell by cell, else by quadrature to thirty digits.

A closed form is an antiderivative that is differentiated back, with its limits at the ends; it is taken only where
quadrature gives the same number.
"""

from __future__ import annotations

from collections.abc import Sequence

import mpmath
import sympy as sp
from sympy.integrals.rationaltools import ratint

from ...symbols import u
from ..calculus.cells import Cell
from ..calculus.numbers import Undecided, compare, sign_of
from ..calculus.ranges import Undefined
from ..proof.exact import Fraction, as_fraction
from . import precise
from .extrema import tidy
from .growth import growth, integrable, limit, seen_from

_AGREE = mpmath.mpf(10) ** -15
_DEGREE = 6


def over_line(line: Sequence[Cell]) -> sp.Expr | None:
    """The integral over all cells: exact, infinite, a float of fifteen digits, or ``None`` where it cannot be told."""
    exact: list[sp.Expr] = []
    total: list[precise.Number] = []
    infinite: set[int] = set()
    for cell in line:
        if cell.is_point or cell.value == 0:
            continue
        if not cell.smooth:
            return None
        try:
            infinite |= {
                _sign_far_out(cell, end, side) for end, side in _ends(cell) if not integrable(cell.value, end, side)
            }
        except (Undecided, Undefined):
            return None
        if infinite:
            continue
        number = precise.integral(cell)
        if number is None:
            return None
        total.append(number)
        closed = _closed(cell)
        if closed is not None and abs(precise.number(closed) - number) <= _AGREE * max(1, abs(number)):
            exact.append(closed)
    if infinite:
        return infinite.pop() * sp.oo if len(infinite) == 1 else None
    if len(exact) == len(total):
        return tidy(sp.Add(*exact))
    return precise.shown(mpmath.fsum(total))


def _ends(cell: Cell) -> tuple[tuple[sp.Expr, int], tuple[sp.Expr, int]]:
    return (cell.low, 1), (cell.high, -1)


def _sign_far_out(cell: Cell, end: sp.Expr, side: int) -> int:
    far = limit(cell.value, end, side)
    return sign_of(far) if far != 0 else sign_of(growth(seen_from(cell.value, end, side)).c)


def _closed(cell: Cell) -> sp.Expr | None:
    """The integral over a cell by an antiderivative, or ``None`` where none of the known forms fits."""
    expression = cell.value
    if not expression.has(u):
        return expression * (cell.high - cell.low)
    try:
        for form in (expression, sp.expand(expression)):
            terms = [_term(term) for term in sp.Add.make_args(form)]
            if None not in terms:
                return _between(sp.Add(*terms), cell)
        fraction = as_fraction(expression)
        if fraction is not None and max(fraction.numerator.degree(), fraction.denominator.degree()) <= _DEGREE:
            return _of_fraction(fraction, cell)
        return None
    except (Undecided, Undefined, ValueError, NotImplementedError):
        return None


def _between(antiderivative: sp.Expr, cell: Cell) -> sp.Expr:
    return limit(antiderivative, cell.high, -1) - limit(antiderivative, cell.low, 1)


def _of_fraction(fraction: Fraction, cell: Cell) -> sp.Expr | None:
    """Rational functions of u, and those of t = exp(rate u), for which du = dt / (rate t)."""
    t = sp.Dummy("t", positive=True)
    rational = fraction.numerator.as_expr().subs(fraction.numerator.gen, t)
    rational /= fraction.denominator.as_expr().subs(fraction.denominator.gen, t)
    factor = fraction.scale if fraction.rate is None else fraction.scale / fraction.rate
    primitive = ratint(sp.cancel(rational if fraction.rate is None else rational / t), t, real=True).subs(t, u)
    if primitive.has(sp.RootSum, sp.I):
        return None
    low, high = fraction.t_of(cell.low), fraction.t_of(cell.high)
    side = compare(high, low)
    return sp.expand(factor * (limit(primitive, high, -side) - limit(primitive, low, side)))


def _term(term: sp.Expr) -> sp.Expr | None:
    """An antiderivative of a single term: a power of u, an exponential of a polynomial of degree one or two, a wave, or
    a power of a linear or of a quadratic polynomial without linear term."""
    constant, moving = term.as_independent(u, as_Add=False)
    if moving.is_polynomial(u):
        return constant * sp.Poly(moving, u).integrate().as_expr() if moving != 1 else constant * u
    if isinstance(moving, sp.exp):
        found = _exponential(moving.args[0])
        return None if found is None else constant * found
    if isinstance(moving, sp.sin | sp.cos):
        slope = moving.args[0].diff(u)
        if slope.has(u):
            return None
        wave = -sp.cos(moving.args[0]) if isinstance(moving, sp.sin) else sp.sin(moving.args[0])
        return constant * wave / slope
    if isinstance(moving, sp.Pow) and not moving.exp.has(u) and moving.base.is_polynomial(u):
        found = _power(sp.Poly(moving.base, u), moving.exp)
        return None if found is None else constant * found
    return None


def _exponential(exponent: sp.Expr) -> sp.Expr | None:
    if not exponent.is_polynomial(u):
        return None
    polynomial = sp.Poly(exponent, u)
    if polynomial.degree() == 1:
        return sp.exp(exponent) / polynomial.LC()
    if polynomial.degree() != 2 or sign_of(polynomial.LC()) > 0:
        return None
    a, b, c = polynomial.all_coeffs()
    root = sp.sqrt(-a)
    return sp.exp(c - b**2 / (4 * a)) * sp.sqrt(sp.pi) / (2 * root) * sp.erf(root * (u + b / (2 * a)))


def _power(base: sp.Poly, exponent: sp.Expr) -> sp.Expr | None:
    if base.degree() == 1:
        if exponent == -1:
            return sp.log(sp.Abs(base.as_expr())) / base.LC()
        return base.as_expr() ** (exponent + 1) / ((exponent + 1) * base.LC())
    if base.degree() == 2 and base.coeff_monomial(u) == 0:
        a, c = base.LC(), base.coeff_monomial(1)
        if sign_of(a) > 0 and sign_of(c) > 0:
            if exponent == -1:
                return sp.atan(sp.sqrt(a / c) * u) / sp.sqrt(a * c)
            if exponent == sp.Rational(-3, 2):
                return u / (c * sp.sqrt(base.as_expr()))
    return None
