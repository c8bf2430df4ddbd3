"""A formula in other words: in few functions, and its derivative almost everywhere."""

from __future__ import annotations

import sympy as sp

from ...symbols import u
from .numbers import Undecided

_JUMPS = 64
_STEPS = (sp.floor, sp.ceiling, sp.sign, sp.Heaviside)

_PLAIN = {
    sp.sech: lambda x: 1 / sp.cosh(x),
    sp.csch: lambda x: 1 / sp.sinh(x),
    sp.coth: lambda x: 1 / sp.tanh(x),
    sp.tan: lambda x: sp.sin(x) / sp.cos(x),
    sp.cot: lambda x: sp.cos(x) / sp.sin(x),
    sp.sec: lambda x: 1 / sp.cos(x),
    sp.csc: lambda x: 1 / sp.sin(x),
    sp.Mod: lambda p, q: q * sp.frac(p / q),
}


def plain(formula: sp.Expr) -> sp.Expr:
    """The same formula in the functions that ranges are known for: no sech, no tan, no Mod.

    >>> plain(sp.sech(u) + sp.Mod(u, 2))
    2*frac(u/2) + 1/cosh(u)
    """
    for function, rule in _PLAIN.items():
        if formula.has(function):
            formula = formula.replace(function, rule)
    return formula


def derivative(formula: sp.Expr) -> sp.Expr:
    """d formula / du where it exists; a jump contributes 0, and at a kink the ``Piecewise`` decides.

    >>> derivative(sp.floor(u) + sp.sign(u) + u**2)
    2*u
    >>> derivative(sp.Mod(u, 2))
    1
    """
    formula = _in_floors(formula)
    # A step is constant between its jumps: it is held fixed while the rest is differentiated.
    steps = {step: sp.Dummy(real=True) for step in sorted(formula.atoms(*_STEPS), key=sp.count_ops, reverse=True)}
    slope = formula.xreplace(steps).diff(u)
    return slope.xreplace({held: step for step, held in steps.items()})


def _in_floors(formula: sp.Expr) -> sp.Expr:
    if formula.has(sp.Mod, sp.frac, sp.ceiling):
        formula = formula.replace(sp.Mod, lambda p, q: q * sp.frac(p / q))
        formula = formula.replace(sp.frac, lambda x: x - sp.floor(x)).replace(sp.ceiling, lambda x: -sp.floor(-x))
    return formula


def shifted(formula: sp.Expr, period: int) -> sp.Expr:
    """The formula at u + period, whole numbers taken out of every floor.

    >>> shifted(sp.floor(u / 2 + sp.Rational(3, 4)), 2) - sp.floor(u / 2 + sp.Rational(3, 4))
    1
    """

    def drawn(inner: sp.Expr) -> sp.Expr:
        constant, rest = inner.as_coeff_Add()
        whole = sp.floor(constant)
        return whole + sp.floor(rest + constant - whole)

    return sp.expand(_in_floors(formula).subs(u, u + period).replace(sp.floor, drawn))


def jumps(formula: sp.Expr, low: sp.Expr, high: sp.Expr) -> sp.Expr:
    """The formula for low <= u <= high, with floor and ceiling written as sums of Heaviside steps.

    Raises:
        Undecided: one of them is not of a linear expression in u, or jumps too often.

    >>> jumps(sp.floor(u), sp.Integer(0), sp.Integer(2))
    Heaviside(u - 2, 1) + Heaviside(u - 1, 1)
    """

    def steps(inner: sp.Expr) -> sp.Expr:
        first, last = (sp.floor(inner.subs(u, end)) for end in (low, high))
        if inner.diff(u).has(u) or not (first.is_Integer and last.is_Integer) or abs(first - last) > _JUMPS:
            raise Undecided(f"where floor({inner}) jumps")
        least, greatest = sorted((int(first), int(last)))
        return least + sp.Add(*(sp.Heaviside(inner - k, 1) for k in range(least + 1, greatest + 1)))

    return _in_floors(formula).replace(sp.floor, steps)
