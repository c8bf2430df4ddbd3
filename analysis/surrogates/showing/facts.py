"""The facts of a surrogate or an activation: as words for a reader, and as one JSON object for scripts.

Every number comes from the formula's sign proof and profile; what these cannot tell stays untold.
"""

from __future__ import annotations

from typing import Any

import sympy as sp
from sympy.printing.str import StrPrinter

from ...errors import Refused, near
from ..activation import Activation
from ..activations import ACTIVATIONS
from ..catalogue import SURROGATES
from ..formula import profile, sign
from ..lookup import activation, base_name, spells, surrogate
from ..surrogate import Surrogate
from ..symbols import u

UNTOLD = "cannot tell"


class _Words(StrPrinter):  # type: ignore[misc]
    """Formulas on one line, a Piecewise as ``1 if abs(u) <= width; 0 otherwise``."""

    def _print_Piecewise(self, expression: sp.Piecewise) -> str:
        branches = []
        for value, condition in expression.args:
            said = "otherwise" if condition == sp.true else f"if {self._print(condition)}"
            branches.append(f"{self._print(value)} {said}")
        return "{" + "; ".join(branches) + "}"

    def _print_Relational(self, expression: sp.core.relational.Relational) -> str:
        # SymPy orders the sides by name; a reader looks for u on the left.
        relation = expression if expression.lhs.has(u) or not expression.rhs.has(u) else expression.reversed
        return f"{self._print(relation.lhs)} {relation.rel_op} {self._print(relation.rhs)}"

    def _print_Abs(self, expression: sp.Abs) -> str:
        return f"abs({self._print(expression.args[0])})"

    def _print_And(self, expression: sp.And) -> str:
        return " and ".join(self._print(arg) for arg in sorted(expression.args, key=str))

    def _print_Or(self, expression: sp.Or) -> str:
        return " or ".join(self._print(arg) for arg in sorted(expression.args, key=str))


def words(formula: sp.Expr) -> str:
    """A formula on one line.

    >>> words(SURROGATES["clipped"].factor)
    '{1 if abs(centre - u) <= width; 0 otherwise}'
    """
    return str(_Words().doprint(formula))


def number(value: sp.Expr | None) -> str:
    """A number as it is known: exact, exact with its decimals, computed (``~``), or not told.

    >>> number(sp.Rational(1, 2)), number(sp.pi / 2), number(sp.Float("0.25", 15)), number(sp.oo), number(None)
    ('1/2', 'pi/2 = 1.5708', '~0.25', 'inf', 'cannot tell')
    """
    if value is None:
        return UNTOLD
    if value.is_infinite:
        return "inf" if value is sp.oo else "-inf"
    if value.is_Rational:
        return str(value)
    return f"~{float(value):.10g}" if value.has(sp.Float) else f"{value} = {float(value):.5g}"


def short(value: sp.Expr | None) -> str:
    """A number in few characters: a short rational as it is, any other by four digits."""
    if value is None or value.is_infinite or (value.is_Rational and len(str(value)) < 8):
        return number(value)
    return f"{float(value):.4g}"


def intervals(support: tuple[tuple[sp.Expr, sp.Expr], ...] | None) -> str:
    """Closed intervals; an infinite end is open."""
    if support is None:
        return UNTOLD
    ends = [(low is -sp.oo, number(low), number(high), high is sp.oo) for low, high in support]
    return " and ".join(f"{'(['[not left]}{low}, {high}{'])'[right]}" for left, low, high, right in ends) or "empty"


def named(name: object) -> Surrogate | Activation:
    """The surrogate of a name, else the activation; a name of both is the surrogate's.

    Raises:
        Refused: it is neither (near names of both are listed), or a parameter does not fit.
    """
    if isinstance(name, Activation):
        return name
    if not isinstance(name, str) or spells(name, "surrogate"):
        return surrogate(name)
    if spells(name, "activation"):
        return activation(name)
    word = base_name(name)
    raise Refused(f"{word!r} is neither a surrogate nor an activation; {near(word, {**SURROGATES, **ACTIVATIONS})}.")


def record(entry: Surrogate | Activation) -> dict[str, Any]:
    """Everything as JSON: numbers as floats, infinities as the strings "inf" and "-inf", what is not told as null.

    The first eleven keys are the same for both kinds and speak of ``formula``; an activation has its derivative's
    record beside them.
    """
    formula, proof, known = _parts(entry)
    found: dict[str, Any] = {
        "name": entry.name,
        "formula": str(_expression(entry)),
        "latex": entry.latex,
        "parameters": {str(symbol): plain(value) for symbol, value in entry.parameters.items()},
        "sign": proof.sign.value,
        "supremum": plain(known.supremum),
        "support": None if known.support is None else [[plain(low), plain(high)] for low, high in known.support],
        "integral": plain(known.integral),
        "even": known.even,
        "random": isinstance(entry, Surrogate) and entry.random,
        "source": entry.source,
        "kind": "surrogate" if isinstance(entry, Surrogate) else "activation",
        "value": str(formula),
        "proof": list(proof.steps),
        "witness": None if proof.witness is None else {str(at): str(value) for at, value in proof.witness.items()},
        "infimum": plain(known.infimum),
        "symmetric": known.symmetric,
        "centre": plain(known.centre),
        "lipschitz": plain(known.lipschitz),
        "exact": {name: known.exact(name) for name in ("supremum", "infimum", "integral", "lipschitz")},
        "aliases": list(entry.aliases),
    }
    if isinstance(entry, Activation):
        return found | {"increasing": entry.increasing, "derivative": record(entry.tied)}
    mean, variance = moments(entry)
    return found | {"forward": entry.forward, "note": entry.note, "mean": mean, "variance": variance}


def moments(entry: Surrogate) -> tuple[str | None, str | None]:
    """Mean and variance of a random surrogate as text; ``None`` where it is not random, or has none in closed form."""
    if not entry.random:
        return None, None
    try:
        return words(entry.mean), words(entry.variance)
    except Refused:
        return None, None


def plain(value: sp.Expr | None) -> float | str | None:
    """A number for JSON."""
    if value is None:
        return None
    if value.is_infinite:
        return number(value)
    try:
        return float(value)
    except OverflowError:
        return str(sp.N(value, 17))


def _expression(entry: Surrogate | Activation) -> sp.Expr:
    return entry.factor if isinstance(entry, Surrogate) else entry.formula


def _parts(entry: Surrogate | Activation) -> tuple[sp.Expr, sign.SignProof, profile.Profile]:
    formula = entry.formula if isinstance(entry, Surrogate) else entry.value
    return formula, sign.prove(formula), profile.of(formula)
