"""The sign of an expression far out on the line, with the place from which on it holds.

An exponential sum, sum c u^a exp(q(u)) with polynomials q, is led by one term as u grows. The ratio of each other term
to the leading one falls from some L on; where the ratios at L sum to less than 1, the leading term's sign is the sum's.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import sympy as sp

from ...symbols import u
from ..calculus.numbers import Undecided, sign_of
from ..calculus.ranges import Undefined, constant
from ..calculus.roots import degree_bound
from .exact import in_exponentials

_TERMS = 60
_DEGREE = 40
_SIZE = 250


@dataclass(frozen=True)
class Term:
    """c u^a exp(q(u)), with c constant and q a polynomial without constant term; or a number no larger in magnitude."""

    c: sp.Expr
    a: sp.Expr
    q: sp.Expr
    bounded: bool = False


@lru_cache(maxsize=1024)
def eventual_sign(expression: sp.Expr, *, towards: int) -> tuple[int, sp.Integer] | None:
    """(sign, L): the sign of the expression for every u >= L (u <= -L, where ``towards`` is -1); None where not told.

    The expression may be undefined nearer to 0, where nothing is said about it.
    """
    try:
        plain = in_exponentials(expression.subs(u, -u) if towards < 0 else expression)
        if degree_bound(plain) > _DEGREE or sp.count_ops(plain) > _SIZE:
            return None
        plain, remainders, start = _without_erf(plain)
        parts = [exponential_sum(part, remainders) for part in sp.fraction(sp.together(plain))]
        sign = 1
        for terms in parts:
            if not terms:
                return None
            part_sign, start = _led(terms, start)
            sign *= part_sign
        return sign, start
    except (Undecided, Undefined):
        return None


def _without_erf(expression: sp.Expr) -> tuple[sp.Expr, dict[sp.Expr, sp.Expr], sp.Integer]:
    """The expression with erf(x) = 1 - r for x >= 0 and the bound r <= exp(-x^2) of each r, and where it holds."""
    remainders: dict[sp.Expr, sp.Expr] = {}
    start = sp.Integer(1)
    expression = expression.replace(sp.erfc, lambda x: 1 - sp.erf(x))
    for node in sorted(expression.atoms(sp.erf), key=str):
        slope = node.args[0].diff(u)
        if slope.has(u):
            raise Undecided(f"how {node} grows")
        side, rest = sign_of(slope), sp.Dummy("r", positive=True)
        remainders[rest] = -(node.args[0] ** 2)
        expression = expression.xreplace({node: side * (1 - rest)})
        # side * x >= 0 from here on
        while sign_of(side * node.args[0].subs(u, start)) < 0:
            start *= 2
    return expression, remainders, start


def exponential_sum(expression: sp.Expr, remainders: dict[sp.Expr, sp.Expr]) -> list[Term]:
    """The terms of an exponential sum, those of one growth collected.

    Raises:
        Undecided: it is none.
    """
    collected: dict[tuple[sp.Expr, sp.Expr, bool], sp.Expr] = {}
    listed = sp.Add.make_args(sp.expand(expression))
    if len(listed) > _TERMS:
        raise Undecided("a sum of so many terms")
    for term in listed:
        c, a, q, bounded = sp.Integer(1), sp.Integer(0), sp.Integer(0), False
        for factor in sp.Mul.make_args(term):
            base, power = factor.as_base_exp()
            exponent: sp.Expr | None = None
            if base in remainders and power.is_Integer and power > 0:
                exponent, bounded = power * remainders[base], True
            elif isinstance(factor, sp.exp) and factor.args[0].is_polynomial(u):
                exponent = factor.args[0]
            if exponent is not None:
                exponent = sp.expand(exponent)
                at_zero = exponent.subs(u, 0)
                c, q = c * sp.exp(at_zero), q + exponent - at_zero
            elif not factor.has(u):
                c *= factor
            elif factor == u or (isinstance(factor, sp.Pow) and factor.base == u and factor.exp.is_Rational):
                a += factor.as_base_exp()[1]
            else:
                raise Undecided(f"how {factor} grows")
        key = (a, sp.expand(q), bounded)
        collected[key] = collected.get(key, sp.Integer(0)) + (sp.Abs(c) if bounded else c)
    return [Term(c, a, q, bounded) for (a, q, bounded), c in collected.items() if sign_of(c) != 0]


def _led(terms: list[Term], start: sp.Integer) -> tuple[int, sp.Integer]:
    """The sign of the leading term, and from where on, not before start, it outweighs the others."""
    leader = terms[0]
    for term in terms[1:]:
        if _grows_faster(term, leader):
            leader = term
    if leader.bounded:
        raise Undecided("the sign of a leading term of which only the size is known")
    others = [term for term in terms if term is not leader]
    for _ in range(16):
        if all(_falls(term, leader, start) for term in others):
            ratios = [_ratio(term, leader, start) for term in others]
            if constant(1 - sp.Add(*ratios)).positive:
                return sign_of(leader.c), start
        start *= 2
    raise Undecided("where the leading term outweighs the others")


def _grows_faster(one: Term, other: Term) -> bool:
    gap = sp.Poly(one.q - other.q, u)
    return sign_of(gap.LC()) > 0 if not gap.is_zero else sign_of(one.a - other.a) > 0


def _falls(term: Term, leader: Term, start: sp.Integer) -> bool:
    """Whether u^(a - A) exp(q - Q) falls for all u >= start.

    Its logarithm's slope times u is (a - A) + u (q - Q)'; shifted to start, all of its coefficients are nonpositive.
    """
    slope = sp.Poly(sp.expand((term.a - leader.a + u * (term.q - leader.q).diff(u)).subs(u, u + start)), u)
    return all(sign_of(coefficient) <= 0 for coefficient in slope.all_coeffs())


def _ratio(term: Term, leader: Term, start: sp.Integer) -> sp.Expr:
    return sp.Abs(term.c / leader.c) * start ** (term.a - leader.a) * sp.exp((term.q - leader.q).subs(u, start))
