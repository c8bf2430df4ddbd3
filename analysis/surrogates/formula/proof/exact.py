"""Signs by counting roots: for rational functions of u, and of exponentials of u."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction as Rational
from functools import lru_cache, reduce
from math import gcd, lcm

import sympy as sp

from ...symbols import u
from ..calculus.numbers import Undecided, compare, rational_between, sign_of
from ..calculus.roots import degree_bound
from ..calculus.sturm import Root, real_roots

_DEGREE = 40
_SIZE = 250
_IRRATIONAL = 2
_REFINEMENTS = 300


@dataclass(frozen=True)
class Fraction:
    """A quotient of two polynomials with rational coefficients in a variable t: u itself, or exp(rate u).

    Attributes:
        numerator: in the variable, over the common factor ``scale``.
        denominator: in the variable.
        scale: a constant factor of the whole.
        rate: ``None`` where t = u.
    """

    numerator: sp.Poly
    denominator: sp.Poly
    scale: sp.Expr
    rate: sp.Expr | None

    def zeros(self, low: sp.Expr, high: sp.Expr) -> list[Root]:
        """The zeros for low < u < high, in the variable and in its order.

        Raises:
            Undecided: a zero cannot be told from an end.
        """
        return self._roots(self.numerator, low, high)

    def poles(self, low: sp.Expr, high: sp.Expr) -> list[Root]:
        """The zeros of the denominator for low < u < high."""
        return self._roots(self.denominator, low, high)

    def gaps(self, low: sp.Expr, high: sp.Expr) -> list[tuple[int, sp.Expr, sp.Expr]]:
        """(sign, left, right) on each interval between two neighbouring zeros: it has this sign for left < u < right.

        Only where there is no pole between the ends.
        """
        start, end = self.t_of(low), self.t_of(high)
        start, end = (start, end) if self._rising else (end, start)
        zeros = self.zeros(low, high)
        lefts = [start, *(_rational(zero.high) for zero in zeros)]
        rights = [*(_rational(zero.low) for zero in zeros), end]
        found = []
        for left, right in zip(lefts, rights, strict=True):
            t = rational_between(left, right)
            sign = sign_of(self.scale) * sign_of(self.numerator.eval(t)) * sign_of(self.denominator.eval(t))
            edges = self.u_of(left), self.u_of(right)
            found.append((sign, *(edges if self._rising else edges[::-1])))
        return found

    def u_of(self, t: sp.Expr) -> sp.Expr:
        """The u that a value of the variable belongs to."""
        if self.rate is None:
            return t
        if t == 0 or t is sp.oo:
            return sp.oo if (t == 0) != self._rising else -sp.oo
        return sp.log(t) / self.rate

    @property
    def _rising(self) -> bool:
        return self.rate is None or sign_of(self.rate) > 0

    def at(self, point: sp.Expr) -> sp.Expr:
        """The value at a point."""
        t = self.t_of(point)
        return (
            self.scale
            * self.numerator.as_expr().subs(self.numerator.gen, t)
            / self.denominator.as_expr().subs(self.denominator.gen, t)
        )

    def t_of(self, point: sp.Expr) -> sp.Expr:
        """The value of the variable at a point, which may be infinite."""
        if self.rate is None:
            return point
        if point.is_infinite:
            return sp.oo if (point is sp.oo) == self._rising else sp.S.Zero
        return sp.exp(self.rate * point)

    def _roots(self, polynomial: sp.Poly, low: sp.Expr, high: sp.Expr) -> list[Root]:
        if polynomial.is_zero or polynomial.degree() == 0:
            return []
        ends = (self.t_of(low), self.t_of(high)) if self._rising else (self.t_of(high), self.t_of(low))
        return [kept for root in real_roots(polynomial) if (kept := _within(root, *ends)) is not None]


@lru_cache(maxsize=4096)
def as_fraction(expression: sp.Expr) -> Fraction | None:
    """The expression as a quotient of polynomials, or ``None`` where it is not one."""
    if sp.count_ops(expression) > _SIZE:
        return None
    plain = in_exponentials(expression)
    rates = [_rate(node) for node in plain.atoms(sp.exp) if node.has(u)]
    t = sp.Dummy("t", positive=True)
    if not rates:
        return _of_polynomials(plain.xreplace({u: t}), t, None) if plain.is_rational_function(u) else None
    base = None if None in rates else _common(rates)
    if base is None:
        return None
    replaced = plain.replace(sp.exp, lambda x: _power(x, base, t) if x.has(u) else sp.exp(x))
    if replaced.has(u) or not replaced.is_rational_function(t):
        return None
    return _of_polynomials(replaced, t, base)


def in_exponentials(expression: sp.Expr) -> sp.Expr:
    """The expression with its hyperbolic functions and powers of numbers written as exponentials."""
    expression = expression.replace(
        lambda node: isinstance(node, sp.Pow) and node.base.is_positive and not node.base.has(u) and node.exp.has(u),
        lambda node: sp.exp(sp.log(node.base) * node.exp),
    )
    if not expression.has(sp.tanh, sp.cosh, sp.sinh):
        return expression
    return (
        expression.replace(sp.tanh, lambda x: (1 - sp.exp(-2 * x)) / (1 + sp.exp(-2 * x)))
        .replace(sp.cosh, lambda x: (sp.exp(x) + sp.exp(-x)) / 2)
        .replace(sp.sinh, lambda x: (sp.exp(x) - sp.exp(-x)) / 2)
    )


def _rate(node: sp.Expr) -> sp.Expr | None:
    """c where the node is exp(c u + d), else ``None``."""
    slope = node.args[0].diff(u)
    return None if slope.has(u) else slope


def _common(rates: list[sp.Expr]) -> sp.Expr | None:
    """The largest number that all rates are integer multiples of, if there is one."""
    ratios = [sp.cancel(rate / rates[0]) for rate in rates]
    if not all(ratio.is_Rational for ratio in ratios):
        return None
    whole = reduce(lcm, (int(ratio.q) for ratio in ratios))
    return rates[0] * sp.Rational(reduce(gcd, (int(ratio * whole) for ratio in ratios)), whole)


def _power(exponent: sp.Expr, base: sp.Expr, t: sp.Symbol) -> sp.Expr:
    slope = exponent.diff(u)
    return t ** sp.cancel(slope / base) * sp.exp(sp.expand(exponent - slope * u))


def _of_polynomials(expression: sp.Expr, variable: sp.Symbol, rate: sp.Expr | None) -> Fraction | None:
    # Many irrational constants hardly ever cancel to rational coefficients, and are slow to find out about.
    irrational = {node for node in expression.atoms(sp.Function, sp.Pow, sp.NumberSymbol) if not node.has(variable)}
    if not _small(expression, variable) or len(irrational) > _IRRATIONAL:
        return None
    numerator, denominator = sp.fraction(sp.together(expression))
    if not all(_small(part, variable) and part.is_polynomial(variable) for part in (numerator, denominator)):
        return None
    above, below = (_over_leader(sp.Poly(part, variable)) for part in (numerator, denominator))
    if above is None or below is None:
        return None
    found = Fraction(above[0], below[0], above[1] / below[1], rate)
    return found if rate is None or found.numerator.is_zero else _in_lowest_powers(found, rate)


def _over_leader(polynomial: sp.Poly) -> tuple[sp.Poly, sp.Expr] | None:
    """A polynomial over its leading coefficient, if the ratios are rational, and that coefficient."""
    if polynomial.is_zero:
        return polynomial, sp.S.One
    ratios = [sp.cancel(c / polynomial.LC()) if c else c for c in polynomial.all_coeffs()]
    if not all(ratio.is_Rational for ratio in ratios):
        return None
    return sp.Poly(ratios, polynomial.gen), polynomial.LC()


def _in_lowest_powers(fraction: Fraction, rate: sp.Expr) -> Fraction:
    """The quotient in the highest power of t that it is a quotient in."""
    parts = (fraction.numerator, fraction.denominator)
    above, below = ([power for (power,) in polynomial.monoms()] for polynomial in parts)
    gap = min(above) - min(below)
    step = gcd(gap, *(power - min(above) for power in above), *(power - min(below) for power in below))
    if step == 0:
        return fraction
    shifts = min(above) - max(gap, 0), min(below) - max(-gap, 0)
    numerator, denominator = (
        sp.Poly({((power - shift) // step,): c for (power,), c in polynomial.terms()}, polynomial.gen)
        for polynomial, shift in zip(parts, shifts, strict=True)
    )
    return Fraction(numerator, denominator, fraction.scale, rate * step)


def _small(expression: sp.Expr, variable: sp.Symbol) -> bool:
    return degree_bound(expression, variable) <= _DEGREE


def _within(root: Root, low: sp.Expr, high: sp.Expr) -> Root | None:
    """The root, refined until its interval lies between two numbers, or ``None`` where it does not lie there."""
    if root.exact is not None:
        inside = compare(low, root.exact) < 0 < compare(high, root.exact)
        if not inside:
            return None
    for _ in range(_REFINEMENTS):
        below, above = compare(low, _rational(root.low)), compare(high, _rational(root.high))
        if below < 0 < above:
            return root
        if compare(low, _rational(root.high)) >= 0 or compare(high, _rational(root.low)) <= 0:
            return None
        root = root.refined()
    raise Undecided(f"whether {root} lies between {low} and {high}")


def _rational(number: Rational) -> sp.Rational:
    return sp.Rational(number.numerator, number.denominator)
