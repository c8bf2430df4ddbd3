"""Other ways to write a formula that mean the same and compute better.

`canonical` removes the cancellations that can be seen in the tree (``1 - tanh^2``, ``1 + erf``, ``exp - 1``); every
arithmetic starts from it. `bounded` writes quotients of exponentials in ``exp(-|x|)``, so that plain floats do not
overflow.
"""

from __future__ import annotations

from collections.abc import Callable

import sympy as sp
from sympy.codegen.cfunctions import expm1, log1p

_Rewrite = Callable[..., sp.Expr]


class erfc(sp.Function):  # type: ignore[misc]
    """erfc that stays: SymPy's own turns ``erfc(-x)`` into ``2 - erfc(x)``, which cancels."""


class sinpi(sp.Function):  # type: ignore[misc]
    """``sin(pi x)``: its argument is reduced before pi is rounded, so that it is exactly 0 at whole numbers."""


def _sin(x: sp.Expr) -> sp.Expr:
    return sinpi(x / sp.pi) if _in_turns(x) else sp.sin(x)


def _cos(x: sp.Expr) -> sp.Expr:
    return sinpi(x / sp.pi + sp.Rational(1, 2)) if _in_turns(x) else sp.cos(x)


def _in_turns(x: sp.Expr) -> bool:
    turns = x / sp.pi
    return bool(turns.free_symbols) and bool(turns.is_rational_function(*turns.free_symbols)) and not turns.has(sp.pi)


_SPELLED_OUT: dict[type[sp.Basic], _Rewrite] = {
    sp.Float: sp.Rational,
    sp.Mod: lambda x, y: x - y * sp.floor(x / y),
    sp.frac: lambda x: x - sp.floor(x),
    sp.Heaviside: lambda x, at_zero: sp.Piecewise((0, x < 0), (1, x > 0), (at_zero, True)),
    sp.tan: lambda x: sp.sin(x) / sp.cos(x),
    sp.cot: lambda x: sp.cos(x) / sp.sin(x),
    sp.sec: lambda x: 1 / sp.cos(x),
    sp.csc: lambda x: 1 / sp.sin(x),
    sp.sech: lambda x: 1 / sp.cosh(x),
    sp.csch: lambda x: 1 / sp.sinh(x),
    sp.coth: lambda x: 1 / sp.tanh(x),
    sp.sinc: lambda x: sp.Piecewise((sp.sin(x) / x, sp.Ne(x, 0)), (1, True)),
}

_ONE_PLUS: dict[type[sp.Basic], _Rewrite] = {
    sp.tanh: lambda x: 2 / (1 + sp.exp(-2 * x)),
    sp.erf: lambda x: erfc(-x),
    sp.cos: lambda x: 2 * sp.cos(x / 2) ** 2,
}
"""``1 + f(x)``, for the functions that reach -1."""

_ONE_MINUS: dict[type[sp.Basic], _Rewrite] = {
    sp.tanh: lambda x: 2 / (1 + sp.exp(2 * x)),
    sp.erf: erfc,
    sp.erfc: sp.erf,
    sp.cos: lambda x: 2 * sp.sin(x / 2) ** 2,
    sp.cosh: lambda x: -2 * sp.sinh(x / 2) ** 2,
    sp.exp: lambda x: -expm1(x),
}
"""``1 - f(x)``, for the functions that reach 1."""

_ONE_MINUS_SQUARE: dict[type[sp.Basic], _Rewrite] = {
    sp.tanh: lambda x: 1 / sp.cosh(x) ** 2,
    sp.sin: lambda x: sp.cos(x) ** 2,
    sp.cos: lambda x: sp.sin(x) ** 2,
}
"""``1 - f(x)^2``."""


def canonical(formula: sp.Expr) -> sp.Expr:
    """The formula without the cancellations that can be seen, in the functions that the arithmetics have."""
    return sp.bottom_up(formula, _rewritten, atoms=True).replace(sp.sin, _sin).replace(sp.cos, _cos)


def _rewritten(expr: sp.Expr) -> sp.Expr:
    if type(expr) in _SPELLED_OUT:
        return _SPELLED_OUT[type(expr)](*(expr.args or (expr,)))
    if isinstance(expr, sp.Add):
        expr = _without_cancellation(expr)
        fraction = _one_fraction(expr) if isinstance(expr, sp.Add) else expr
        return fraction if fraction == expr or isinstance(fraction, sp.Add) else canonical(fraction)
    if isinstance(expr, sp.log) and isinstance(expr.args[0], sp.Add) and 1 in expr.args[0].args:
        return log1p(expr.args[0] - 1)
    return _without_poison(_without_overflow(expr)) if isinstance(expr, sp.Mul) else expr


def _without_overflow(expr: sp.Mul) -> sp.Expr:
    """``sinh(x)^n / cosh(x)^m`` as ``tanh(x)^n / cosh(x)^(m - n)``: the tangent saturates."""
    powers = expr.as_powers_dict()
    for sinh in expr.atoms(sp.sinh):
        x, power = sinh.args[0], powers.get(sinh, sp.S.Zero)
        if power.is_positive and powers.get(sp.cosh(x), sp.S.Zero).is_negative:
            expr *= (sp.tanh(x) * sp.cosh(x) / sinh) ** power
    return expr


def _without_cancellation(expr: sp.Add) -> sp.Expr:
    """``c + k f(x) + ...`` with ``k = c`` or ``k = -c``, by the tables above."""
    constant, rest = expr.as_coeff_Add() if expr.args[0].is_Rational else (sp.S.Zero, expr)
    constant += sum(term for term in sp.Add.make_args(rest) if term.is_number)
    for term in sp.Add.make_args(expr):
        factor, function = term.as_independent(*expr.free_symbols, as_Add=False)
        base, power = function.as_base_exp() if isinstance(function, sp.Pow) else (function, 1)
        sign = 1 if factor == constant else -1 if factor == -constant else 0
        table = {(1, 1): _ONE_PLUS, (1, -1): _ONE_MINUS, (2, -1): _ONE_MINUS_SQUARE}.get((power, sign), {})
        if isinstance(function, sp.atan) and abs(2 * constant) == abs(sp.pi * factor) != 0:
            return expr - constant - term + _arctangent(constant, factor, function.args[0])
        if isinstance(function, sp.erfc) and 2 * factor == -constant != 0:
            return expr - constant - term + constant / 2 * erfc(-function.args[0])
        if constant != 0 and type(base) in table:
            return expr - constant - term + constant * table[type(base)](base.args[0])
    return expr


def _arctangent(constant: sp.Expr, factor: sp.Expr, x: sp.Expr) -> sp.Expr:
    """``factor (pi / 2 + atan(x))``, which is ``-factor atan(1 / x)`` on the side where the sum would cancel."""
    cancels = x < 0 if constant * factor > 0 else x > 0
    return sp.Piecewise((-factor * sp.atan(1 / x), cancels), (constant + factor * sp.atan(x), True))


def _without_poison(expr: sp.Mul) -> sp.Expr:
    """A product with a ``Piecewise`` that is 0 somewhere, by cases: there the other factors may overflow."""
    cases = [part for part in expr.args if isinstance(part, sp.Piecewise) and any(value == 0 for value, _ in part.args)]
    if not cases:
        return expr
    rest = sp.Mul(*(part for part in expr.args if part != cases[0]))
    return sp.Piecewise(*((value * rest, condition) for value, condition in cases[0].args))


def _as_powers(formula: sp.Expr, power: sp.Symbol, done: frozenset[sp.Expr] = frozenset()) -> tuple[sp.Expr, sp.Expr]:
    """An ``x`` whose exponential can grow, and the formula with its powers as those of a symbol; 0 if there is none."""
    growing = [part.args[0] for part in formula.atoms(sp.exp) if not part.args[0].is_nonpositive]
    growing = [x for x in growing if x not in done]
    if not growing:
        return sp.S.Zero, formula
    first = min(growing, key=lambda x: (sp.count_ops(x), sp.default_sort_key(x)))
    exponent = first * sp.gcd([x / first for x in growing if (x / first).is_Rational])
    powers = {sp.exp(x): power ** (x / exponent) for x in growing if (x / exponent).is_Rational}
    return exponent, formula.xreplace(powers)


def _one_fraction(expr: sp.Add) -> sp.Expr:
    """``e / (1 + e) - e^2 / (1 + e)^2`` as ``e / (1 + e)^2``: in the tail the terms would cancel."""
    power = sp.Dummy(positive=True)
    exponent, rational = _as_powers(expr, power)
    quotients = sum(term.as_numer_denom()[1].has(power) for term in rational.args)
    if quotients < 2 or not rational.is_rational_function(power):
        return expr
    return sp.factor(rational).xreplace({power: sp.exp(exponent)})


def positive_part(formula: sp.Expr) -> sp.Expr:
    """``a - b |v|`` where it is positive, else 0, as its maximum with 0: without a comparison."""
    if not (isinstance(formula, sp.Piecewise) and len(formula.args) == 2 and formula.args[1] == (0, True)):
        return formula
    value, condition = formula.args[0]
    if not (isinstance(condition, sp.LessThan | sp.StrictLessThan) and isinstance(condition.lhs, sp.Abs)):
        return formula
    size = sp.Dummy(nonnegative=True)
    line = value.xreplace({condition.lhs: size})
    falling = line.free_symbols == {size} and line.diff(size).is_negative and not line.diff(size).free_symbols
    return sp.Max(value, 0) if falling and line.subs(size, condition.rhs) == 0 else formula


def bounded(formula: sp.Expr, done: frozenset[sp.Expr] = frozenset()) -> sp.Expr:
    """The formula with each ``exp(x)`` that grows written in ``exp(-|x|)``, by cases of the sign of ``x``."""
    if isinstance(formula, sp.Piecewise):
        return sp.Piecewise(*((bounded(branch, done), condition) for branch, condition in formula.args))
    if isinstance(formula, sp.Add):
        return sp.Add(*(bounded(term, done) for term in formula.args))
    formula = formula.replace(
        lambda part: isinstance(part, log1p) and isinstance(part.args[0], sp.exp),
        lambda part: sp.Max(part.args[0].args[0], 0) + log1p(sp.exp(-sp.Abs(part.args[0].args[0]))),
    )
    small = sp.Dummy(positive=True)
    exponent, powers = _as_powers(formula.replace(expm1, lambda x: sp.exp(x) - 1), small, done)
    if exponent == 0:
        return formula
    done |= {exponent, -exponent, sp.Abs(exponent)}

    def case(power: sp.Expr) -> sp.Expr:
        written = sp.together(powers.subs(small, power)).xreplace({small: sp.exp(-sp.Abs(exponent))})
        return canonical(bounded(written, done))

    return sp.Piecewise((case(small), exponent < 0), (case(1 / small), True))


def saturating(formula: sp.Expr) -> sp.Expr:
    """The bounded form, sinh and cosh in exponentials too: no intermediate value is far beyond the result."""
    return bounded(formula.replace(sp.cosh, lambda x: (sp.exp(x) + sp.exp(-x)) / 2).replace(sp.sinh, _sinh))


def _sinh(x: sp.Expr) -> sp.Expr:
    return (sp.exp(x) - sp.exp(-x)) / 2
