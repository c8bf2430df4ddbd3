"""How a smooth expression behaves as u goes to infinity, or to a finite end: f ~ c u^a exp(q(u)), or no answer.

From the parts to the whole by the rules for sums, products, powers and the functions of the catalogue. Where leading
terms cancel, the expression is written as a quotient of exponential sums, whose terms are collected exactly.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import sympy as sp

from ...symbols import u
from ..calculus.numbers import Undecided, sign_of
from ..calculus.ranges import Undefined
from ..proof.exact import in_exponentials
from ..proof.tails import exponential_sum

_OPERATIONS = 250


@dataclass(frozen=True)
class Growth:
    """f ~ c u^a exp(q(u)) as u -> oo; c = 0 for f = 0, and q is a polynomial without constant term."""

    c: sp.Expr
    a: sp.Expr = sp.S.Zero
    q: sp.Expr = sp.S.Zero

    @property
    def speed(self) -> tuple[int, int]:
        """Signs of q and a far out: (0, 0) for a nonzero limit, negative for limit 0, positive for an infinite one."""
        if self.q != 0:
            return sign_of(sp.Poly(self.q, u).LC()), 0
        return 0, sign_of(self.a)

    @property
    def limit(self) -> sp.Expr:
        """The limit, which may be infinite."""
        if self.c == 0 or self.speed < (0, 0):
            return sp.S.Zero
        return self.c if self.speed == (0, 0) else sign_of(self.c) * sp.oo


def growth(expression: sp.Expr) -> Growth:
    """The leading behaviour for u -> oo.

    Raises:
        Undecided: it is not of this form, or not found.
    """
    if sp.count_ops(expression) > _OPERATIONS:
        raise Undecided("how an expression of this size grows")
    try:
        return _growth(_far(expression))
    except (Undecided, Undefined):
        return _of_sums(_far(expression))


def limit(expression: sp.Expr, end: sp.Expr, side: int) -> sp.Expr:
    """The limit at an end, from the side +1 (above it) or -1; by its value there where it has one.

    Raises:
        Undecided: it is not found.
    """
    if end.is_finite:
        value = expression.subs(u, end)
        if value.is_number and not value.has(sp.nan, sp.zoo, sp.oo, sp.I):
            return value
    return _limit(seen_from(expression, end, side))


def _limit(expression: sp.Expr) -> sp.Expr:
    """The limit for u -> oo: that of the leading term, else the limits of the parts, where they are finite."""
    calm = _without_waves(expression)
    if calm != expression and _limit(calm) == 0:
        return sp.S.Zero
    try:
        return growth(expression).limit
    except (Undecided, Undefined):
        if not isinstance(expression, sp.Add | sp.Mul | sp.log | sp.atan | sp.erf):
            raise
    parts = [_limit(part) for part in expression.args]
    if isinstance(expression, sp.log) and (parts[0] is sp.oo or parts[0] == 0):
        return sp.oo if parts[0] is sp.oo else -sp.oo
    found = expression.func(*parts)
    if any(part.is_infinite for part in parts) or not found.is_finite:
        raise Undecided(f"the limit of {expression}")
    return found


def seen_from(expression: sp.Expr, end: sp.Expr, side: int) -> sp.Expr:
    """The expression in a variable that goes to +oo as u goes to the end."""
    if end.is_infinite:
        return expression if end is sp.oo else expression.subs(u, -u)
    return expression.subs(u, end + side / u)


def integrable(expression: sp.Expr, end: sp.Expr, side: int) -> bool:
    """Whether the integral of a smooth expression up to an end converges there.

    Raises:
        Undecided: the behaviour at the end is not found.
    """
    if end.is_finite:
        value = expression.subs(u, end)
        if value.is_number and not value.has(sp.nan, sp.zoo, sp.oo, sp.I):
            return True
    calm = _without_waves(expression)
    if calm != expression:
        if integrable(calm, end, side):
            return True
        raise Undecided(f"whether the integral of {expression} converges")
    if end.is_infinite and limit(expression, end, side) != 0:
        return False
    found = growth(seen_from(expression, end, side))
    if found.c == 0 or found.speed[0] < 0:
        return True
    # At a finite end u = end + 1/v, and du = dv / v^2.
    return found.speed[0] == 0 and sign_of(found.a + 1 - (2 if end.is_finite else 0)) < 0


def _without_waves(expression: sp.Expr) -> sp.Expr:
    """A product without its sines and cosines, which are bounded by 1: no smaller in magnitude."""
    waves = [factor for factor in sp.Mul.make_args(expression) if isinstance(factor.as_base_exp()[0], sp.sin | sp.cos)]
    bounded = [wave for wave in waves if wave.has(u) and wave.as_base_exp()[1].is_nonnegative]
    if not bounded or not isinstance(expression, sp.Mul):
        return expression
    return sp.Mul(*(factor for factor in expression.args if factor not in bounded))


def _far(expression: sp.Expr) -> sp.Expr:
    """tanh by its exponentials, erf(x) by the erfc that vanishes."""
    expression = in_exponentials(expression)
    for node in sorted(expression.atoms(sp.erf), key=str):
        x = node.args[0]
        if x.is_polynomial(u) and x.has(u):
            side = sign_of(sp.Poly(x, u).LC())
            expression = expression.xreplace({node: side * (1 - sp.erfc(side * x))})
    return expression


def _growth(expression: sp.Expr) -> Growth:
    if not expression.has(u):
        sign_of(expression)
        return Growth(expression)
    if expression == u:
        return Growth(sp.S.One, sp.S.One)
    if isinstance(expression, sp.Add):
        return _sum([_growth(term) for term in expression.args])
    if isinstance(expression, sp.Mul):
        parts = [_growth(factor) for factor in expression.args]
        return Growth(
            sp.Mul(*(part.c for part in parts)),
            sp.Add(*(part.a for part in parts)),
            sp.expand(sp.Add(*(part.q for part in parts))),
        )
    if isinstance(expression, sp.Pow) and not expression.exp.has(u):
        base, power = _growth(expression.base), expression.exp
        if base.c == 0 or (sign_of(base.c) < 0 and not power.is_Integer):
            raise Undecided(f"how {expression} grows")
        return Growth(base.c**power, base.a * power, sp.expand(base.q * power))
    if isinstance(expression, sp.Function) and type(expression) in _FUNCTIONS:
        return _FUNCTIONS[type(expression)](expression.args[0])
    raise Undecided(f"how {expression} grows")


def _sum(parts: list[Growth]) -> Growth:
    leading = [parts[0]]
    for part in parts[1:]:
        order = _compare(part, leading[0])
        if order > 0:
            leading = [part]
        elif order == 0:
            leading.append(part)
    c = sp.Add(*(part.c for part in leading))
    if sign_of(c) == 0:
        raise Undecided("a sum whose leading terms cancel")
    return Growth(c, leading[0].a, leading[0].q)


def _compare(one: Growth, other: Growth) -> int:
    if one.c == 0 or other.c == 0:
        return int(one.c != 0) - int(other.c != 0)
    gap = sp.expand(one.q - other.q)
    return sign_of(sp.Poly(gap, u).LC()) if gap != 0 else sign_of(one.a - other.a)


def _exp(x: sp.Expr) -> Growth:
    if x.is_polynomial(u):
        x = sp.expand(x)
        constant = x.subs(u, 0)
        return Growth(sp.exp(constant), q=x - constant)
    inner = growth(x).limit
    if inner.is_infinite:
        raise Undecided(f"how exp({x}) grows")
    return Growth(sp.exp(inner))


def _erfc(x: sp.Expr) -> Growth:
    found = growth(x)
    if found.limit is sp.oo and x.is_polynomial(u):
        square = _exp(-(x**2))
        return Growth(square.c / (found.c * sp.sqrt(sp.pi)), -found.a, square.q)
    return _settling(sp.erfc, x, 2, 0)


def _settling(function: type[sp.Function], x: sp.Expr, left: sp.Expr | int, right: sp.Expr | int) -> Growth:
    """A function that has limits at both infinities, and is its argument to first order where it is 0 at 0."""
    inner = growth(x)
    found = inner.limit
    if found.is_infinite:
        value = sp.sympify(right if found is sp.oo else left, strict=True)
    else:
        value = sp.sympify(function(found), strict=True)
    if value == 0 or value is sp.nan:
        raise Undecided(f"how {function.__name__}({x}) behaves")
    return Growth(value)


def _logarithm(x: sp.Expr) -> Growth:
    inner = growth(x).limit
    if inner.is_infinite or sign_of(inner) <= 0 or inner == 1:
        raise Undecided(f"how log({x}) grows")
    return Growth(sp.log(inner))


_FUNCTIONS: dict[type[sp.Function], Callable[[sp.Expr], Growth]] = {
    sp.exp: _exp,
    sp.erfc: _erfc,
    sp.log: _logarithm,
    sp.erf: lambda x: _settling(sp.erf, x, -1, 1),
    sp.atan: lambda x: _settling(sp.atan, x, -sp.pi / 2, sp.pi / 2),
    sp.sin: lambda x: _settling(sp.sin, x, sp.nan, sp.nan),
    sp.cos: lambda x: _settling(sp.cos, x, sp.nan, sp.nan),
}


def _of_sums(expression: sp.Expr) -> Growth:
    """The leading term of a quotient of exponential sums, those of equal growth collected."""
    found = Growth(sp.S.One)
    for part, power in zip(sp.fraction(sp.together(expression)), (1, -1), strict=True):
        terms = [Growth(term.c, term.a, term.q) for term in exponential_sum(part, {})]
        if not terms:
            return Growth(sp.S.Zero)
        leader = _sum(terms)
        found = Growth(found.c * leader.c**power, found.a + power * leader.a, sp.expand(found.q + power * leader.q))
    return found
