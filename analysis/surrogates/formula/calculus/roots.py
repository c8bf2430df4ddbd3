"""All real roots of a smooth expression, exactly, for the expressions that break points are made of."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import sympy as sp

from ...symbols import u
from .numbers import Undecided, compare, sign_of
from .sturm import closed_roots, real_roots

_DEGREE = 24
"""Polynomials of a higher degree are left alone."""

_INVERSES: dict[type[sp.Function], tuple[Callable[[sp.Expr], sp.Expr], Any, Any]] = {
    sp.exp: (sp.log, 0, sp.oo),
    sp.log: (sp.exp, -sp.oo, sp.oo),
    sp.tanh: (sp.atanh, -1, 1),
    sp.sinh: (sp.asinh, -sp.oo, sp.oo),
    sp.asinh: (sp.sinh, -sp.oo, sp.oo),
    sp.atan: (sp.tan, -sp.pi / 2, sp.pi / 2),
}
"""Injective functions with their inverses, and the open interval that they take their values in."""


def roots(expression: sp.Expr) -> tuple[sp.Expr, ...]:
    """Every real u at which the expression is 0 or has a pole, ascending; none for an expression that has no u.

    Between two neighbouring ones an expression that is defined keeps its sign.

    Raises:
        Undecided: they have no closed form that is sure to be found.
    """
    return tuple(ascending(_roots(expression)))


def ascending(points: set[sp.Expr]) -> list[sp.Expr]:
    """Numbers in order, equal ones once."""
    ordered: list[sp.Expr] = []
    for point in points:
        place = 0
        while place < len(ordered) and compare(ordered[place], point) < 0:
            place += 1
        if place == len(ordered) or compare(ordered[place], point) != 0:
            ordered.insert(place, point)
    return ordered


def _roots(expression: sp.Expr) -> set[sp.Expr]:
    if not expression.has(u):
        return set()
    if isinstance(expression, sp.Mul):
        return set().union(*(_roots(factor) for factor in expression.args))
    if isinstance(expression, sp.Pow) and expression.base.has(u):
        if expression.exp.is_number:
            return _roots(expression.base)
        raise Undecided(f"the roots of {expression}")
    if isinstance(expression, sp.exp) or (isinstance(expression, sp.Pow) and sign_of(expression.base) > 0):
        return set()
    if expression.is_polynomial(u):
        return _polynomial(expression)
    shared = sp.factor_terms(expression)
    if isinstance(shared, sp.Mul) and shared != expression:
        return _roots(shared)
    if expression.is_rational_function(u) and degree_bound(expression) <= _DEGREE:
        numerator, denominator = sp.fraction(sp.together(expression))
        return _roots(numerator) | _roots(denominator)
    balanced = _two_exponentials(expression)
    return _inverted(expression) if balanced is None else _roots(balanced)


def _two_exponentials(expression: sp.Expr) -> sp.Expr | None:
    """log(-a/b) + p - q for a exp(p) + b exp(q) with a and b of opposite signs: 0 where that is 0."""
    parts: list[tuple[sp.Expr, sp.Expr]] = []
    for term in sp.Add.make_args(expression):
        constant, moving = term.as_independent(u, as_Add=False)
        if not (moving == 1 or isinstance(moving, sp.exp)):
            return None
        parts.append((constant, sp.S.Zero if moving == 1 else moving.args[0]))
    if len(parts) != 2 or sign_of(parts[0][0]) == sign_of(parts[1][0]):
        return None
    (a, p), (b, q) = parts
    return sp.expand(p - q) + sp.log(-a / b)


def _polynomial(expression: sp.Expr) -> set[sp.Expr]:
    if degree_bound(expression) > _DEGREE:
        raise Undecided(f"the roots of a polynomial of degree above {_DEGREE}")
    polynomial = sp.Poly(expression, u)
    if polynomial.is_zero:
        return set()
    if all(coefficient.is_Rational for coefficient in polynomial.all_coeffs()):
        found = {root.exact for root in real_roots(polynomial)}
        if None in found:
            raise Undecided(f"the roots of {expression} in closed form")
        return found
    if polynomial.degree() > 2:
        raise Undecided(f"the roots of {expression}")
    sign_of(polynomial.LC())
    return set(closed_roots(polynomial))


def _inverted(expression: sp.Expr) -> set[sp.Expr]:
    """Roots of a polynomial in one injective function of u."""
    inner = {node for node in expression.atoms(sp.Function, sp.Pow) if node.has(u) and not _whole_power(node)}
    outer = [node for node in inner if not any(other.args[0].has(node) for other in inner - {node})]
    if len(outer) != 1 or not (type(outer[0]) in _INVERSES or isinstance(outer[0], sp.Pow)):
        raise Undecided(f"the roots of {expression}")
    node = outer[0]
    value = sp.Dummy("t", real=True)
    reduced = expression.xreplace({node: value})
    if reduced.has(u) or not reduced.is_polynomial(value):
        raise Undecided(f"the roots of {expression}")
    found: set[sp.Expr] = set()
    for root in _polynomial(reduced.xreplace({value: u})):
        inner_value = _preimage(node, root)
        if inner_value is not None:
            found |= _roots(node.args[0] - inner_value)
    return found


def _preimage(node: sp.Expr, value: sp.Expr) -> sp.Expr | None:
    """The argument at which an injective function, or a power of a nonnegative base, takes a value; if there is one."""
    if isinstance(node, sp.Pow):
        if value == 0:
            return sp.S.Zero if sign_of(node.exp) > 0 else None
        return value ** (1 / node.exp) if sign_of(value) > 0 else None
    inverse, low, high = _INVERSES[type(node)]
    inside = compare(sp.sympify(low, strict=True), value) < 0 < compare(sp.sympify(high, strict=True), value)
    return inverse(value) if inside else None


def _whole_power(node: sp.Expr) -> bool:
    return isinstance(node, sp.Pow) and (node.exp.is_Integer or node.exp.has(u))


def degree_bound(expression: sp.Expr, variable: sp.Symbol = u) -> int:
    """A bound on the degree of a rational function and of its parts, without expanding it."""
    if isinstance(expression, sp.Add):
        return max(degree_bound(term, variable) for term in expression.args)
    if isinstance(expression, sp.Mul):
        return sum(degree_bound(factor, variable) for factor in expression.args)
    if isinstance(expression, sp.Pow) and expression.exp.is_Integer:
        return abs(int(expression.exp)) * degree_bound(expression.base, variable)
    return int(expression.has(variable))
