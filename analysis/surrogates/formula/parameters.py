"""Parameters of a formula: symbols with exact values, each true to what its symbol is declared to be."""

from __future__ import annotations

import math
import numbers
from collections.abc import Mapping
from decimal import Decimal
from fractions import Fraction
from typing import Any

import sympy as sp
from sympy.stats.rv import RandomSymbol, random_symbols

from ...errors import Refused, near
from ..symbols import u

_WORTH_SAYING = ("positive", "nonnegative", "negative", "nonpositive", "integer", "even", "odd", "rational", "real")


def exact(value: object) -> sp.Expr:
    """A number as an exact one: a float means the decimal that it prints as.

    Raises:
        Refused: it is no finite number. Text is refused too: it would have to be evaluated.

    >>> exact(0.1), exact(25), exact(sp.pi)
    (1/10, 25, pi)
    """
    if isinstance(value, sp.Expr) and value.is_number and value.is_finite is not False:
        return exact_decimals(value)
    if isinstance(value, bool) or not isinstance(value, numbers.Real | Decimal) or not math.isfinite(value):
        raise Refused(f"{value!r} is not a finite number.")
    if isinstance(value, numbers.Integral):
        return sp.Integer(int(value))
    return sp.Rational(value) if isinstance(value, Fraction) else sp.Rational(str(value))


def exact_decimals(expression: sp.Expr) -> sp.Expr:
    """The expression with each float in it as the decimal that it prints as.

    >>> exact_decimals(0.5 * u)
    u/2
    """
    floats = {value: sp.Rational(repr(float(value))) for value in expression.atoms(sp.Float)}
    return expression.xreplace(floats) if floats else expression


def checked(owner: str, formula: sp.Expr, parameters: Mapping[Any, Any]) -> sp.Dict:
    """The parameters with exact values, after a check that formula and parameters belong together.

    Args:
        owner: how messages call it, e.g. ``Surrogate('mine'``.
        formula: an expression in ``downslope.u``, the parameters' symbols and random symbols.
        parameters: symbol -> number.

    Raises:
        Refused: the formula is no finite real one or holds a stranger; a parameter is no symbol of its own, or its
            value no number or not what its symbol is declared to be.
    """
    unfit = formula.atoms(sp.core.numbers.ImaginaryUnit) or formula.atoms(sp.oo, -sp.oo, sp.zoo, sp.nan) & {
        *(sp.oo, -sp.oo, sp.zoo, sp.nan)
    }
    if unfit:
        raise Refused(f"{owner}, {formula}): it holds {', '.join(map(str, unfit))}; a formula is real and finite.")
    values = {symbol: _value(owner, symbol, value) for symbol, value in parameters.items()}
    names = [str(symbol) for symbol in values]
    if len(set(names)) < len(names) or str(u) in names:
        raise Refused(f"{owner}, parameters={parameters}): give each parameter a name of its own, and none the name u.")
    noise = random_symbols(formula)
    strangers = formula.free_symbols - set(values) - {u, *noise, *(each.symbol for each in noise)}
    for each in noise:
        strangers |= each.pspace.free_symbols - set(values) - {each, each.symbol}
    if strangers:
        raise Refused(f"{owner}, {formula}): {_strangers(strangers, names)}")
    return sp.Dict(values)


def merged(owner: str, old: Mapping[sp.Symbol, Any], values: Mapping[str, Any]) -> dict[sp.Symbol, Any]:
    """The parameters with some of them changed, by name.

    Raises:
        Refused: no parameter has that name.
    """
    by_name = {str(symbol): symbol for symbol in old}
    for name in values:
        if name not in by_name:
            hint = near(name, by_name) if by_name else "it has none"
            raise Refused(f"{owner} has no parameter {name!r}; {hint}.")
    return {**dict(old.items()), **{by_name[name]: value for name, value in values.items()}}


def _value(owner: str, symbol: object, value: object) -> sp.Expr:
    if not isinstance(symbol, sp.Symbol) or isinstance(symbol, RandomSymbol):
        raise Refused(
            f"{owner}, parameters={{{symbol!r}: {value!r}}}): a key is the sympy.Symbol that stands in the formula, "
            f"e.g. sympy.Symbol('width', positive=True)."
        )
    try:
        number = exact(value)
    except Refused as refusal:
        raise Refused(f"{owner}, parameters={{{symbol}: {value!r}}}): {refusal}") from None
    broken = [key for key, held in symbol.assumptions0.items() if getattr(number, f"is_{key}") is not held]
    if broken or not number.is_extended_real:
        said = [key for key in _WORTH_SAYING if key in broken] or broken or ["real"]
        raise Refused(
            f"{owner}, parameters={{{symbol}: {value}}}): {symbol} is declared {said[0]}, which {value} is not."
        )
    return number


def _strangers(strangers: set[sp.Basic], names: list[str]) -> str:
    listed = ", ".join(sorted(str(each) for each in strangers))
    if str(u) in map(str, strangers):
        return "its u is not downslope.u: import that symbol, which is declared real, instead of making one."
    twins = sorted(set(map(str, strangers)) & set(names))
    if twins:
        return (
            f"the {twins[0]} of the formula and that of the parameters are declared differently: use one sympy.Symbol."
        )
    return (
        f"{listed} is neither downslope.u nor in parameters. Use downslope.u for the preactivation and give each other "
        f"symbol a value in parameters."
    )
