"""Proof steps that are checked, not asserted.

Each function builds one `Step` and decides at once whether it holds: an identity simplifies to zero, a sign follows
from the assumptions of the symbols, a sum of squares is expanded, a conclusion is a combination of earlier facts with
multipliers of known sign. A step that cannot be decided does not hold. A fact is an expression that the step has shown
to be >= 0 (> 0 where strict); `given` and `by` name the hypothesis or the claim that a fact comes from, and the
referee holds them against the claim.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import reduce
from typing import TYPE_CHECKING, Any

import sympy as sp

if TYPE_CHECKING:
    from ..claim import Claim


@dataclass(frozen=True)
class Step:
    """One checked line of a proof.

    Attributes:
        text: what the step says.
        latex: its formula.
        rule: how it was checked.
        holds: whether the check succeeded.
        fact: the expression shown to be nonnegative, for later steps.
        strict: whether it is shown to be positive.
        hypothesis: the hypothesis that it takes up.
        claim: the claim that it uses.
    """

    text: str
    latex: str
    rule: str
    holds: bool
    fact: sp.Expr | None = None
    strict: bool = False
    hypothesis: str = ""
    claim: str = ""


def expression_of(value: Any) -> Any:
    """A SymPy expression or matrix as it is, a number exactly; text is never read as a formula.

    Raises:
        TypeError: anything else.
    """
    if isinstance(value, sp.Basic | sp.MatrixBase):
        return value
    if isinstance(value, int | Fraction):
        return sp.Rational(value.numerator, value.denominator)
    raise TypeError(f"{value!r} is a {type(value).__name__}; a step takes SymPy expressions, integers and fractions.")


def _merged(expression: sp.Expr) -> sp.Expr:
    """Sums over the same range, with what multiplies them, as one sum."""
    expression = sp.expand(expression)
    merged: dict[Any, sp.Expr] = {}
    rest: list[sp.Expr] = []
    for term in sp.Add.make_args(expression):
        sums = [factor for factor in sp.Mul.make_args(term) if isinstance(factor, sp.Sum)]
        if len(sums) == 1:
            limits = sums[0].limits
            merged[limits] = merged.get(limits, sp.S.Zero) + term / sums[0] * sums[0].function
        else:
            rest.append(term)
    return sp.Add(*rest, *(sp.Sum(sp.simplify(summand), *limits) for limits, summand in merged.items()))


def vanishes(expression: sp.Expr) -> bool:
    """Whether the expression simplifies to zero."""
    expression = expression_of(expression)
    if expression == 0:
        return True
    if expression.has(sp.Sum):
        expression = _merged(expression).replace(
            lambda e: isinstance(e, sp.Sum) and e.function == 0, lambda e: sp.S.Zero
        )
        return bool(expression == 0)
    expanded = sp.expand(expression)
    if expanded.is_polynomial(*expanded.free_symbols) and expanded.is_commutative:
        return bool(expanded == 0) or (not expanded.free_symbols and bool(sp.simplify(expanded) == 0))
    for simplify in (lambda e: expanded, lambda e: sp.cancel(sp.together(e)), sp.simplify):
        if simplify(expression) == 0:
            return True
    return bool(sp.simplify(sp.expand(expression.rewrite(sp.exp))) == 0)


def _sign_known(expression: sp.Expr, strict: bool) -> bool:
    if isinstance(expression, sp.Sum):  # a sum over a range that may be empty is only known to be nonnegative
        return not strict and _sign_known(expression.function, False)
    for simplify in (lambda e: e, sp.factor, sp.expand, sp.simplify, lambda e: sp.factor(sp.together(e))):
        form = simplify(expression)
        if isinstance(form, sp.Sum):
            return not strict and _sign_known(form.function, False)
        if (form.is_positive if strict else form.is_nonnegative) is True:
            return True
    return False


def identity(text: str, left: Any, right: Any) -> Step:
    """``left`` = ``right``: the difference simplifies to zero (entry by entry for matrices)."""
    a, b = expression_of(left), expression_of(right)
    if isinstance(a, sp.MatrixBase):
        same = a.shape == b.shape and all(vanishes(entry) for entry in (a - b))
    else:
        same = vanishes(a - b)
    return Step(text, f"{sp.latex(a)} = {sp.latex(b)}", "the difference simplifies to zero", same)


def nonnegative(text: str, expression: sp.Expr) -> Step:
    """``expression`` >= 0 by the assumptions of its symbols, term by term in a sum."""
    expression = expression_of(expression)
    known = _sign_known(expression, False)
    return Step(text, rf"{sp.latex(expression)} \ge 0", "sign from the assumptions", known, expression)


def positive(text: str, expression: sp.Expr) -> Step:
    """``expression`` > 0 by the assumptions of its symbols (an explicit real number: by its digits)."""
    expression = expression_of(expression)
    known = _sign_known(expression, True)
    return Step(text, rf"{sp.latex(expression)} > 0", "sign from the assumptions", known, expression, True)


def squares(text: str, expression: sp.Expr, *terms: tuple[Any, Any]) -> Step:
    """``expression`` = sum of coefficient times square, over ``terms`` (coefficient >= 0, base)."""
    total = sp.Add(*(coefficient * base**2 for coefficient, base in terms))
    signs = all(_sign_known(expression_of(coefficient), False) for coefficient, _ in terms)
    real = all(expression_of(base).is_real for _, base in terms)
    shown = sp.Add(*(sp.Mul(c, sp.Pow(b, 2, evaluate=False), evaluate=False) for c, b in terms), evaluate=False)
    holds = signs and real and vanishes(expression_of(expression) - total)
    return Step(text, rf"{sp.latex(expression)} = {sp.latex(shown)} \ge 0", "sum of squares", holds, expression)


def follows(
    text: str,
    goal: sp.Expr,
    *terms: tuple[Any, Step],
    strict: bool = False,
    where: Mapping[Any, Any] | None = None,
) -> Step:
    """``goal`` >= 0, being a sum of multipliers >= 0 times earlier facts.

    Strict where one multiplier and its fact are both positive. ``where`` says what symbols of the facts stand for.
    """
    signs = all(step.holds and step.fact is not None and _sign_known(expression_of(c), False) for c, step in terms)
    total = sp.Add(*(c * step.fact for c, step in terms if step.fact is not None))
    firm = any(step.strict and _sign_known(expression_of(c), True) for c, step in terms)
    total = expression_of(total).subs(dict(where or {}), simultaneous=True)
    holds = signs and vanishes(goal - total) and (firm or not strict)
    relation = ">" if strict else r"\ge"
    return Step(text, rf"{sp.latex(goal)} {relation} 0", "combination of earlier facts", holds, goal, strict)


def tends(text: str, expression: sp.Expr, variable: sp.Symbol, target: Any, value: Any) -> Step:
    """The limit of ``expression`` as ``variable`` tends to ``target``."""
    holds = vanishes(sp.limit(expression, variable, target) - value)
    latex = rf"\lim_{{{sp.latex(variable)} \to {sp.latex(target)}}} {sp.latex(expression)} = {sp.latex(value)}"
    return Step(text, latex, "limit", holds)


def independent(text: str, expression: sp.Expr, *things: Any) -> Step:
    """``expression`` does not contain any of ``things``."""
    names = ", ".join(sp.latex(thing) for thing in things)
    absent = not any(expression_of(expression).has(thing) for thing in things)
    return Step(text, rf"{sp.latex(expression)} \text{{ is free of }} {names}", "read off the formula", absent)


def given(hypothesis: str, *expressions: sp.Expr, strict: bool = False) -> Step:
    """The hypothesis of that name, as the assumption that the symbols of ``expressions`` carry."""
    known = all(_sign_known(expression_of(expression), strict) for expression in expressions)
    relation = ">" if strict else r"\ge"
    latex = r",\quad ".join(rf"{sp.latex(expression)} {relation} 0" for expression in expressions)
    latex = latex or rf"\text{{{hypothesis}}}"
    fact = expressions[0] if expressions else None
    return Step(f"by the hypothesis '{hypothesis}'", latex, "hypothesis", known, fact, strict, hypothesis=hypothesis)


def by(
    claim: Claim, formula: str = "", values: Mapping[Any, Any] | None = None, text: str = "", inequality: bool = False
) -> Step:
    """A formula that ``claim`` states, at the given values of its symbols; without a formula the whole claim.

    Only an ``inequality``, a formula that the claim states to be >= 0, is a fact for later steps.
    """
    quoted = claim.stated[formula].subs(dict(values or {}), simultaneous=True) if formula else None
    latex = claim.latex if quoted is None else sp.latex(quoted) + (r" \ge 0" if inequality else "")
    text = text or f"by the claim '{claim.id}'"
    return Step(text, latex, f"claim {claim.id}", True, quoted if inequality else None, claim=claim.id)


def cauchy_schwarz(text: str, a: list[sp.Expr], b: list[sp.Expr]) -> Step:
    """|a|^2 |b|^2 - <a, b>^2 >= 0, by Lagrange's identity: it is a sum of squares."""
    inner = sp.Add(*(x * y for x, y in zip(a, b, strict=True)))
    gap = sp.Add(*(x**2 for x in a)) * sp.Add(*(y**2 for y in b)) - inner**2
    minors = [(1, a[i] * b[j] - a[j] * b[i]) for i in range(len(a)) for j in range(i)]
    return squares(text, gap, *minors)


def schwarz(text: str, aa: Any, bb: Any, ab: Any) -> Step:
    """|a|^2 |b|^2 - <a, b>^2 >= 0 in any dimension, of the squared lengths and the inner product of real vectors.

    The inequality of Cauchy and Schwarz: |b|^2 times it is the squared length of |b|^2 a - <a, b> b.
    """
    first, second, inner = (expression_of(value) for value in (aa, bb, ab))
    known = _sign_known(first, False) and _sign_known(second, False) and bool(inner.is_real)
    gap = first * second - inner**2
    length = second**2 * first - 2 * second * inner * inner + inner**2 * second
    holds = known and vanishes(length - second * gap)
    return Step(text, rf"{sp.latex(gap)} \ge 0", "Cauchy and Schwarz", holds, gap)


def variance(text: str, square: Any, mean: Any) -> Step:
    """E X^2 - (E X)^2 >= 0, of the second moment and the mean of a real X: it is E(X - E X)^2."""
    second, first = expression_of(square), expression_of(mean)
    spread = second - 2 * first * first + first**2
    gap = second - first**2
    holds = bool(first.is_real) and bool(second.is_real) and vanishes(spread - gap)
    return Step(text, rf"{sp.latex(gap)} \ge 0", "a variance", holds, gap)


def roots(text: str, large: Any, small: Any, squared: Step) -> Step:
    """``large`` >= ``small``, as ``large`` >= 0 and the earlier fact ``squared`` is large^2 - small^2 >= 0."""
    big, little = expression_of(large), expression_of(small)
    fits = squared.fact is not None and vanishes(squared.fact - (big**2 - little**2))
    holds = squared.holds and fits and _sign_known(big, False) and bool(little.is_real)
    gap = big - little
    return Step(text, rf"{sp.latex(gap)} \ge 0", "a square root of an earlier fact", holds, gap)


def all_of(text: str, *steps: Step) -> Step:
    """Several checks of one kind as one step."""
    latex = r" \\ ".join(step.latex for step in steps)
    rules = reduce(lambda seen, rule: seen if rule in seen else [*seen, rule], (s.rule for s in steps), list[str]())
    return Step(text, latex, ", ".join(rules), all(step.holds for step in steps))
