"""From the SymPy tree to steps: the tree is walked, never printed; equal subexpressions become one step."""

from __future__ import annotations

import operator
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, reduce
from typing import Any

import sympy as sp
from sympy.codegen.cfunctions import expm1, log1p
from sympy.stats.rv import RandomSymbol, random_symbols

from ....errors import Refused
from ...symbols import u
from .forms import erfc, sinpi
from .program import Program, Step


@lru_cache(maxsize=1024)
def noise_of(formula: sp.Expr) -> tuple[RandomSymbol, ...]:
    """The random symbols, by name."""
    return tuple(sorted(random_symbols(formula), key=lambda symbol: str(symbol.name)))


def checked(formula: sp.Expr) -> sp.Expr:
    """The formula, if every symbol in it has a value when ``u`` and the noise have.

    Raises:
        Refused: one has not.
    """
    noise = noise_of(formula)
    strangers = formula.free_symbols - {u, *noise, *(symbol.symbol for symbol in noise)}
    if strangers:
        names = ", ".join(sorted(str(symbol) for symbol in strangers))
        raise Refused(
            f"formula {formula}: the symbol {names} has no value; give it one, or write downslope.u for the "
            f"preactivation."
        )
    return formula


@lru_cache(maxsize=1024)
def program(formula: sp.Expr) -> Program:
    """The steps of a formula.

    Raises:
        Refused: it holds a function that has no code here, or a number that is not real.
    """
    inputs = (u, *noise_of(formula))
    writer = _Writer(formula, inputs)
    writer.value(formula)
    return Program(inputs, tuple(writer.written))


_FUNCTIONS: dict[type[sp.Basic], str] = {
    sp.exp: "exp",
    expm1: "expm1",
    sp.log: "log",
    log1p: "log1p",
    sp.sin: "sin",
    sinpi: "sinpi",
    sp.cos: "cos",
    sp.atan: "atan",
    sp.tanh: "tanh",
    sp.sinh: "sinh",
    sp.cosh: "cosh",
    sp.erf: "erf",
    erfc: "erfc",
    sp.erfc: "erfc",
    sp.Abs: "absolute",
    sp.sign: "sign",
    sp.floor: "floor",
    sp.ceiling: "ceiling",
    sp.Max: "maximum",
    sp.Min: "minimum",
}

_RELATIONS: dict[type[sp.Basic], Callable[[Any, Any], Any]] = {
    sp.StrictLessThan: operator.lt,
    sp.LessThan: operator.le,
    sp.StrictGreaterThan: operator.gt,
    sp.GreaterThan: operator.ge,
    sp.Equality: operator.eq,
    sp.Unequality: operator.ne,
}
_MIRRORED = {operator.lt: operator.gt, operator.le: operator.ge, operator.gt: operator.lt, operator.ge: operator.le}


@dataclass
class _Writer:
    """Writes steps; each method returns the register of what it was given."""

    formula: sp.Expr
    inputs: Sequence[sp.Expr]
    written: dict[Step, int] = field(default_factory=dict)

    def step(self, operation: str, *arguments: int, setting: Hashable = None) -> int:
        # A step that is there already keeps its register: equal subexpressions are computed once.
        return self.written.setdefault(Step(operation, arguments, setting), len(self.inputs) + len(self.written))

    def refuse(self, part: object, why: str) -> Refused:
        return Refused(f"formula {self.formula}: {part} {why}")

    def value(self, expr: sp.Expr) -> int:
        if expr in self.inputs:
            return self.inputs.index(expr)
        if not expr.has(*self.inputs) and expr.is_number:
            return self.number(expr)
        if isinstance(expr, sp.Add):
            return self.sum(expr)
        if isinstance(expr, sp.Mul):
            return self.product(expr)
        if isinstance(expr, sp.Pow):
            return self.power(*expr.as_base_exp())
        if isinstance(expr, sp.Piecewise):
            return self.piecewise(expr)
        if type(expr) in _FUNCTIONS:
            name, arguments = _FUNCTIONS[type(expr)], [self.value(part) for part in expr.args]
            if len(arguments) == 1:
                return self.step(name, *arguments)
            return reduce(lambda a, b: self.step(name, a, b), arguments)
        known = ", ".join(sorted({kind.__name__ for kind in _FUNCTIONS}))
        raise self.refuse(
            f"the function {type(expr).__name__}",
            f"cannot be evaluated. Write it with + - * / powers, Piecewise and {known}.",
        )

    def number(self, expr: sp.Expr) -> int:
        value = expr.evalf(20)
        if expr is not sp.nan and not (value.is_Float or value.is_Integer or value.is_Rational):
            raise self.refuse(f"the constant {expr}", "is not a finite real number.")
        return self.step("number", setting=expr)

    def sum(self, expr: sp.Add) -> int:
        constant, terms = expr.as_independent(*self.inputs, as_Add=True)
        plus = [term for term in terms.as_ordered_terms() if not term.could_extract_minus_sign()]
        minus = [-term for term in terms.as_ordered_terms() if term.could_extract_minus_sign()]
        if constant != 0:
            (plus if plus or constant.is_positive else minus).append(
                constant if plus or constant.is_positive else -constant
            )
        if not plus:
            return self.step("negative", self.value(-expr))
        total = reduce(lambda a, b: self.step("add", a, b), map(self.value, plus))
        return reduce(lambda a, b: self.step("subtract", a, b), map(self.value, minus), total)

    def product(self, expr: sp.Mul) -> int:
        constant, rest = expr.as_independent(*self.inputs, as_Add=False)
        if constant == -1:
            return self.step("negative", self.value(rest))
        above: list[int] = []
        below: list[int] = []
        for factor in sp.Mul.make_args(rest):
            base, exponent = factor.as_base_exp() if isinstance(factor, sp.Pow) else (factor, sp.S.One)
            inverse = exponent.is_number and exponent.is_negative
            (below if inverse else above).append(self.power(base, -exponent if inverse else exponent))
        if constant != 1 or not above:
            # A constant below 1 comes first: the product of the others may be too large without it.
            above.insert(0 if abs(constant) < 1 else len(above), self.number(constant))
        value = reduce(lambda a, b: self.step("multiply", a, b), above)
        return self.step("divide", value, reduce(lambda a, b: self.step("multiply", a, b), below)) if below else value

    def power(self, base: sp.Expr, exponent: sp.Expr) -> int:
        if exponent == 1:
            return self.value(base)
        if exponent.is_number and exponent.is_negative:
            return self.step("divide", self.number(sp.S.One), self.power(base, -exponent))
        if exponent.is_Integer:
            return self.step("power", self.value(base), setting=int(exponent))
        if (2 * exponent).is_Integer:
            root = self.step("sqrt", self.value(base))
            whole = exponent - sp.Rational(1, 2)
            return self.step("multiply", self.power(base, whole), root) if whole else root
        if exponent.is_number:
            return self.step("real_power", self.value(base), setting=exponent)
        return self.step("exp", self.step("multiply", self.value(exponent), self.value(sp.log(base))))

    def piecewise(self, expr: sp.Piecewise) -> int:
        *first, (last, condition) = expr.args
        pairs = first if condition == sp.true else expr.args
        value = self.value(last if condition == sp.true else sp.nan)
        for branch, condition in reversed(pairs):
            value = self.step("choose", self.condition(condition), self.value(branch), value)
        return value

    def condition(self, condition: sp.Basic) -> int:
        if isinstance(condition, sp.And | sp.Or):
            name = "both" if isinstance(condition, sp.And) else "either"
            return reduce(lambda a, b: self.step(name, a, b), map(self.condition, condition.args))
        if isinstance(condition, sp.Not):
            return self.step("negated", self.condition(condition.args[0]))
        if type(condition) not in _RELATIONS:
            raise self.refuse(f"the condition {condition}", "cannot be evaluated. Write it with < <= > >= == != & | ~.")
        left, right = condition.args
        relation = _RELATIONS[type(condition)]
        if left.is_number:
            left, right, relation = right, left, _MIRRORED.get(relation, relation)
        if not right.is_number:
            left, right = left - right, sp.S.Zero
        return self.comparison(left, relation, right)

    def comparison(self, left: sp.Expr, relation: Callable[[Any, Any], Any], bound: sp.Expr) -> int:
        """``left relation bound``, as a comparison of ``u`` or ``|u|`` with a number where that is possible."""
        if left.is_number:
            return self.step("number", setting=bool(relation(left, bound)))
        inner = left.args[0] if isinstance(left, sp.Abs) else left
        slope = inner.diff(u) if inner.free_symbols == {u} and not inner.has(sp.Piecewise) else sp.S.Zero
        if not slope.is_number or slope == 0 or inner.has(sp.Abs, sp.floor, sp.Max, sp.Min):
            return self.step("compare", self.value(left), setting=(relation, bound))
        shift = inner.subs(u, 0)
        if inner is left:
            mirrored = _MIRRORED.get(relation, relation) if slope.is_negative else relation
            return self.step("compare", self.value(u), setting=(mirrored, (bound - shift) / slope))
        if shift == 0:
            return self.step("compare", self.value(sp.Abs(u)), setting=(relation, bound / abs(slope)))
        inside = relation in (operator.lt, operator.le, operator.ne)
        opposite = _MIRRORED.get(relation, relation)
        return self.step(
            "both" if inside else "either",
            self.comparison(inner, relation, bound),
            self.comparison(inner, opposite, -bound),
        )
