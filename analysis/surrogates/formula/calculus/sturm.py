"""Real roots of polynomials with rational coefficients, isolated by Sturm's theorem and bisection: bounded work.

SymPy's own refinement of real roots (1.14) may take a step for each unit of a continued fraction, for ever in practice.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

import sympy as sp

from .numbers import Undecided, sign_of

_STEPS = 400

Coefficients = tuple[int, ...]


@dataclass(frozen=True)
class Root:
    """The one root of a squarefree polynomial in an open interval between two rationals, or the rational at both.

    Attributes:
        factor: the squarefree polynomial.
        multiplicity: of the root in the polynomial that it is a factor of.
        low: not above the root.
        high: not below the root; equal to ``low`` where that is the root.
    """

    factor: sp.Poly
    multiplicity: int
    low: Fraction
    high: Fraction

    @property
    def exact(self) -> sp.Expr | None:
        """The root in closed form where it is rational or of degree two."""
        if self.low == self.high:
            return _sympy(self.low)
        for part, _ in self.factor.factor_list()[1]:
            if part.degree() <= 2 and _changes(_whole(part), self.low, self.high):
                return closed_roots(part)[0] if part.degree() == 1 else self._of_two(closed_roots(part))
        return None

    def _of_two(self, both: list[sp.Expr]) -> sp.Expr | None:
        inside = [root for root in both if sign_of(root - _sympy(self.low)) > 0 > sign_of(root - _sympy(self.high))]
        return inside[0] if len(inside) == 1 else None

    def refined(self) -> Root:
        """The same root in half the interval."""
        if self.low == self.high:
            return self
        middle = (self.low + self.high) / 2
        sign = _sign(_whole(self.factor), middle)
        if sign == 0:
            return Root(self.factor, self.multiplicity, middle, middle)
        left = sign != _sign(_whole(self.factor), self.low)
        return Root(self.factor, self.multiplicity, *((self.low, middle) if left else (middle, self.high)))

    def __str__(self) -> str:
        return f"a root of {self.factor.as_expr()} in ({float(self.low):.6g}, {float(self.high):.6g})"


def real_roots(polynomial: sp.Poly) -> list[Root]:
    """Every real root, ascending, in disjoint intervals whose ends are no roots.

    Raises:
        Undecided: two roots lie nearer than 2^-400 of the range.
    """
    found: list[Root] = []
    for factor, multiplicity in polynomial.sqf_list()[1]:
        if factor.degree() > 0:
            found += [Root(factor, multiplicity, low, high) for low, high in _isolated(factor)]
    for _ in range(_STEPS):
        found.sort(key=lambda root: (root.low, root.high))
        near = {place for i in range(1, len(found)) if found[i - 1].high >= found[i].low for place in (i - 1, i)}
        if not near:
            return found
        found = [root.refined() if place in near else root for place, root in enumerate(found)]
    raise Undecided(f"in which order the roots of {polynomial.as_expr()} lie")


def closed_roots(polynomial: sp.Poly) -> list[sp.Expr]:
    """The real roots of a polynomial of degree one or two, ascending."""
    if polynomial.degree() == 1:
        a, b = polynomial.all_coeffs()
        return [-b / a]
    a, b, c = polynomial.all_coeffs()
    square = sp.sqrt(b**2 - 4 * a * c)
    if sign_of(b**2 - 4 * a * c) < 0:
        return []
    side = sign_of(a)
    return [(-b - side * square) / (2 * a), (-b + side * square) / (2 * a)]


def _isolated(factor: sp.Poly) -> Iterator[tuple[Fraction, Fraction]]:
    chain = [_whole(each) for each in factor.sturm()]
    coefficients = chain[0]
    bound = Fraction(1 + max(abs(c) for c in coefficients) // abs(coefficients[0]) + 1)
    waiting = [(-bound, bound, _variations(chain, -bound) - _variations(chain, bound), 0)]
    while waiting:
        low, high, count, depth = waiting.pop()
        if count == 0:
            continue
        if count == 1 and _sign(coefficients, low) and _sign(coefficients, high):
            yield low, high
            continue
        if depth > _STEPS:
            raise Undecided(f"how many roots {factor.as_expr()} has")
        middle = (low + high) / 2
        at_middle, at_low = _variations(chain, middle), _variations(chain, low)
        root = _sign(coefficients, middle) == 0
        if root:
            yield middle, middle
        # Sturm counts the roots in (low, high]; those at a middle have been given already.
        left = at_low - at_middle - root
        waiting += [(low, middle, left, depth + 1), (middle, high, count - left - root, depth + 1)]


def _whole(polynomial: sp.Poly) -> Coefficients:
    return tuple(int(c) for c in polynomial.clear_denoms(convert=True)[1].all_coeffs())


def _sign(coefficients: Coefficients, point: Fraction) -> int:
    value, scale = 0, 1
    for coefficient in coefficients:
        value = value * point.numerator + coefficient * scale
        scale *= point.denominator
    return (value > 0) - (value < 0)


def _changes(coefficients: Coefficients, low: Fraction, high: Fraction) -> bool:
    return _sign(coefficients, low) * _sign(coefficients, high) < 0


def _variations(chain: list[Coefficients], point: Fraction) -> int:
    signs = [sign for each in chain if (sign := _sign(each, point))]
    return sum(a != b for a, b in itertools.pairwise(signs))


def _sympy(number: Fraction) -> sp.Rational:
    return sp.Rational(number.numerator, number.denominator)
