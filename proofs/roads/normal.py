"""Means over z ~ N(0, 1) in closed form, of factors that are polynomials times exponentials between their kinks.

On each cell of the line a term c u^n exp(p u^2 + r u + s) with p < 1/2 is a moment of another normal law, cut at the
cell's ends; those follow from Phi and the density by integration by parts.
"""

from __future__ import annotations

from functools import lru_cache

import sympy as sp

from ...analysis.errors import Refused
from ...analysis.surrogates.formula.calculus.cells import cells
from ...analysis.surrogates.formula.calculus.numbers import Undecided
from ...analysis.surrogates.formula.calculus.ranges import Undefined
from ...analysis.surrogates.symbols import u

_DEGREE = 8


def _density(x: sp.Expr) -> sp.Expr:
    return sp.exp(-(x**2) / 2) / sp.sqrt(2 * sp.pi) if x.is_finite else sp.S.Zero


def _cut_moments(count: int, low: sp.Expr, high: sp.Expr) -> list[sp.Expr]:
    """E x^n 1{low < x < high} of a standard normal x, n = 0 ... count."""
    moments = [(sp.erf(high / sp.sqrt(2)) - sp.erf(low / sp.sqrt(2))) / 2]
    for n in range(1, count + 1):
        edges = [end ** (n - 1) * _density(end) if end.is_finite else sp.S.Zero for end in (low, high)]
        moments.append((n - 1) * (moments[n - 2] if n > 1 else sp.S.Zero) + edges[0] - edges[1])
    return moments


def _term(term: sp.Expr, low: sp.Expr, high: sp.Expr) -> sp.Expr | None:
    """E of one term on a cell; None where it has another form."""
    if term == 0:
        return sp.S.Zero
    exponent, rest = sp.S.Zero, sp.S.One
    for factor in sp.Mul.make_args(term):
        if isinstance(factor, sp.exp):
            exponent += factor.exp
        else:
            rest *= factor
    if not (rest.is_polynomial(u) and sp.expand(exponent).is_polynomial(u)):
        return None
    bend, powers = sp.Poly(exponent, u), sp.Poly(rest, u)
    if bend.degree() > 2 or powers.degree() > _DEGREE:
        return None
    p, r, s = (bend.coeff_monomial(u**n) for n in (2, 1, 0))
    if (sp.Rational(1, 2) - p).is_positive is not True:
        return None
    width = 1 / sp.sqrt(1 - 2 * p)
    centre = r * width**2
    x = sp.Symbol("x", real=True)
    moved = sp.Poly(rest.subs(u, centre + width * x), x)
    ends = [(end - centre) / width if end.is_finite else end for end in (low, high)]
    moments = _cut_moments(moved.degree(), *ends)
    total = sp.Add(*(coefficient * moments[power[0]] for power, coefficient in moved.terms()))
    return width * sp.exp(s + r**2 * width**2 / 2) * total


@lru_cache(maxsize=1024)
def closed_mean(formula: sp.Expr) -> sp.Expr | None:
    """E of a formula in ``u`` over N(0, 1), exactly; None where a cell of it is of another form.

    >>> closed_mean(sp.Max(0, u))
    sqrt(2)/(2*sqrt(pi))
    >>> closed_mean(sp.tanh(u)) is None
    True
    """
    try:
        line = cells(formula)
    except (Refused, Undecided, Undefined, RecursionError):
        return None
    total = sp.S.Zero
    for cell in line:
        if cell.is_point:
            continue
        if not cell.smooth:
            return None
        for term in sp.Add.make_args(sp.expand(cell.value)):
            part = _term(term, cell.low, cell.high)
            if part is None:
                return None
            total += part
    return total
