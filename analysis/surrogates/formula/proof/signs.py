"""Which signs a smooth expression can have on an open interval: a set that holds every sign which it does have.

From the whole expression to its parts: certified ranges first, then root counting, then the rules for products, powers
and sums. The answer may hold a sign too many, never one too few, and implies that the expression is defined there.
"""

from __future__ import annotations

import sympy as sp

from ...symbols import u
from ..calculus.numbers import Undecided
from ..calculus.ranges import Range, Undefined, between, bounds
from .exact import as_fraction

Signs = frozenset[int]
"""A subset of {-1, 0, 1}."""

ANY: Signs = frozenset({-1, 0, 1})


def signs(expression: sp.Expr, low: sp.Expr, high: sp.Expr) -> tuple[Signs, str]:
    """The signs that an expression in u can have for low < u < high, and the reason in words.

    Raises:
        Undefined: the expression may be undefined somewhere on the interval, or holds what is not known here.
    """
    return _Rules(low, high)(expression)


def of_range(found: Range) -> Signs:
    """The signs of the numbers in a range."""
    return frozenset(
        sign
        for sign, held in (
            (-1, not found.nonnegative),
            (0, not (found.positive or found.negative)),
            (1, not found.nonpositive),
        )
        if held
    )


def product(a: Signs, b: Signs) -> Signs:
    """The signs of a product."""
    return frozenset(x * y for x in a for y in b)


def total(parts: list[Signs]) -> Signs:
    """The signs of a sum."""
    either = frozenset().union(*parts)
    if {-1, 1} <= either:
        return ANY
    # One term that is never 0 keeps the sum away from 0.
    return either - {0} if any(0 not in part for part in parts) else either


class _Rules:
    def __init__(self, low: sp.Expr, high: sp.Expr) -> None:
        self.low, self.high = low, high
        self.box = {u: between(low, high)}
        self.known: dict[sp.Expr, tuple[Signs, str]] = {}

    def __call__(self, expression: sp.Expr) -> tuple[Signs, str]:
        found = self.known.get(expression)
        if found is None:
            found = self.known[expression] = self._judge(expression)
        return found

    def _judge(self, expression: sp.Expr) -> tuple[Signs, str]:
        undefined: Undefined | None = None
        ranged, because = ANY, ""
        try:
            ranged = of_range(bounds(expression, self.box))
            because = "by the range of its parts"
        except Undefined as reason:
            undefined = reason
        if len(ranged) == 1 or not expression.has(u):
            return ranged, because
        counted = self._counted(expression)
        if counted is not None:
            return counted & ranged, "by counting the roots of its numerator and denominator"
        try:
            structural = self._structural(expression)
        except Undefined as reason:
            structural, undefined = None, undefined and reason
        if structural is not None:
            return structural & ranged, "factor by factor and term by term"
        if undefined is not None:
            raise undefined
        return ranged, because

    def _counted(self, expression: sp.Expr) -> Signs | None:
        try:
            fraction = as_fraction(expression)
            if fraction is None:
                return None
            if fraction.numerator.is_zero:
                return frozenset({0})
            if fraction.poles(self.low, self.high):
                return None
            gaps = fraction.gaps(self.low, self.high)
            return frozenset({sign for sign, _, _ in gaps} | ({0} if len(gaps) > 1 else set()))
        except Undecided:
            return None

    def _structural(self, expression: sp.Expr) -> Signs | None:
        if isinstance(expression, sp.Mul):
            found: Signs = frozenset({1})
            for factor in expression.args:
                found = product(found, self(factor)[0])
            return found
        if isinstance(expression, sp.Pow):
            return self._power(expression)
        if isinstance(expression, sp.Add):
            shared = sp.factor_terms(expression)
            if isinstance(shared, sp.Mul) and shared != expression:
                return self(shared)[0]
            return total([self(term)[0] for term in expression.args])
        return None

    def _power(self, expression: sp.Pow) -> Signs:
        base, exponent = self(expression.base)[0], expression.exp
        if 0 in base and not exponent.is_positive:
            raise Undefined(f"the denominator {expression.base} may be 0")
        if exponent.is_Integer:
            return frozenset(sign ** (abs(int(exponent)) % 2 or 2) for sign in base)
        if -1 in base:
            raise Undefined(f"{expression.base} may be negative under the exponent {exponent}")
        return base
