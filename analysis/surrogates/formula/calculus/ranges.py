"""Certified ranges: between which numbers every value of an expression lies, when its symbols run over given ranges.

The expression is walked once, each node by the arithmetic of `intervals` or by what is known of its function.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import sympy as sp
from mpmath import libmp
from sympy.core.relational import Relational
from sympy.logic.boolalg import Boolean, BooleanFalse, BooleanTrue

from .intervals import (
    INF,
    NINF,
    ONE,
    PRECISION,
    ZERO,
    Float,
    absolute,
    add,
    extreme,
    greatest,
    integer_power,
    least,
    multiply,
    negated,
    reciprocal,
    widened,
)
from .intervals import Range as Range
from .intervals import Undefined as Undefined
from .intervals import hull as hull


def between(low: sp.Expr, high: sp.Expr, precision: int = PRECISION) -> Range:
    """The open range between two exact numbers, or the one number where they are equal."""
    if low == high:
        return constant(low, precision)
    down = NINF if low is sp.S.NegativeInfinity else constant(low, precision).low
    up = INF if high is sp.S.Infinity else constant(high, precision).high
    return Range(down, up, True, True)


def constant(number: sp.Expr, precision: int = PRECISION) -> Range:
    """An exact number, as tightly as the precision allows."""
    return bounds(number, {}, precision)


def bounds(expression: sp.Expr, box: Mapping[sp.Basic, Range], precision: int = PRECISION) -> Range:
    """A range that holds every value of an expression, each symbol in its range of the box.

    Raises:
        Undefined: the expression may be undefined there (a zero denominator, the logarithm of 0), or holds a function
            that is not known here.
    """
    return _Walk(box, precision)(expression)


class _Walk:
    """One evaluation: a node of the expression is bounded once."""

    def __init__(self, box: Mapping[sp.Basic, Range], precision: int) -> None:
        self.box = box
        self.precision = precision
        self.known: dict[sp.Basic, Range] = {}

    def __call__(self, node: sp.Basic) -> Range:
        found = self.known.get(node)
        if found is None:
            found = self.known[node] = self.box[node] if node in self.box else self._bound(node)
        return found

    def _bound(self, node: sp.Basic) -> Range:
        precision = self.precision
        if isinstance(node, sp.Rational):
            return Range(*(libmp.from_rational(node.p, node.q, precision, way) for way in ("f", "c")))
        if isinstance(node, sp.NumberSymbol):
            return widened(node._as_mpf_val(precision + 8), node._as_mpf_val(precision + 8), precision)
        if isinstance(node, sp.Add):
            total = Range(ZERO, ZERO)
            for term in node.args:
                total = add(total, self(term), precision)
            return total
        if isinstance(node, sp.Mul):
            product = Range(ONE, ONE)
            for factor in node.args:
                product = multiply(product, self(factor), precision)
            return product
        if isinstance(node, sp.Pow):
            return self._power(node.base, node.exp)
        if isinstance(node, sp.Piecewise):
            return self._piecewise(node)
        if isinstance(node, sp.Max | sp.Min):
            return extreme([self(arg) for arg in node.args], largest=isinstance(node, sp.Max))
        for kind, bound in _FUNCTIONS.items():
            if isinstance(node, kind):
                return bound(self, self(node.args[0]), node)
        raise Undefined(f"no range is known for {node.func.__name__}")

    def _power(self, base: sp.Expr, exponent: sp.Expr) -> Range:
        precision = self.precision
        if isinstance(exponent, sp.Integer) and abs(int(exponent)) < 2**16:
            power = integer_power(self(base), abs(int(exponent)), precision)
            return reciprocal(power, precision, base) if exponent < 0 else power
        inner = self(base)
        if not inner.nonnegative:
            raise Undefined(f"{base} may be negative under the exponent {exponent}")
        power = self(exponent)
        if not inner.positive:
            if not power.positive:
                raise Undefined(f"{base} may be 0 under the exponent {exponent}")
            if inner.zero:
                return inner
        above_zero = inner if inner.positive else Range(ZERO, inner.high, True, inner.high_open)
        result = _exp(multiply(power, _logarithm(above_zero, precision, base), precision), precision)
        # The logarithm of a base that reaches 0 is open at minus infinity; the power does attain 0.
        return result if inner.positive else Range(ZERO, result.high, False, result.high_open)

    def _piecewise(self, node: sp.Piecewise) -> Range:
        found: list[Range] = []
        for value, condition in node.args:
            holds = self.truth(condition)
            if holds is not False:
                found.append(self(value))
            if holds:
                return hull(found)
        raise Undefined("a Piecewise may have no branch that applies")

    def truth(self, condition: Boolean) -> bool | None:
        """Whether a condition holds on the whole box (True), nowhere (False), or cannot be told."""
        if isinstance(condition, BooleanTrue | BooleanFalse):
            return bool(condition)
        if isinstance(condition, sp.Not):
            inner = self.truth(condition.args[0])
            return None if inner is None else not inner
        if isinstance(condition, sp.And | sp.Or):
            answers = [self.truth(arg) for arg in condition.args]
            decisive = isinstance(condition, sp.Or)
            if decisive in answers:
                return decisive
            return None if None in answers else not decisive
        if isinstance(condition, Relational):
            gap = self(condition.lhs - condition.rhs)
            return _HOLDS[condition.rel_op](gap)
        return None


def _yes_no(yes: bool, no: bool) -> bool | None:
    return True if yes else False if no else None


_HOLDS: dict[str, Callable[[Range], bool | None]] = {
    ">": lambda gap: _yes_no(gap.positive, gap.nonpositive),
    ">=": lambda gap: _yes_no(gap.nonnegative, gap.negative),
    "<": lambda gap: _yes_no(gap.negative, gap.nonnegative),
    "<=": lambda gap: _yes_no(gap.nonpositive, gap.positive),
    "==": lambda gap: _yes_no(gap.zero, gap.positive or gap.negative),
    "!=": lambda gap: _yes_no(gap.positive or gap.negative, gap.zero),
}


@dataclass(frozen=True, slots=True)
class _Increasing:
    """A strictly increasing function of mpmath: its limits at both infinities, and where it has an exact value."""

    function: Callable[..., Float]
    at_minus_infinity: Float
    at_infinity: Float
    exact: Mapping[Float, Float]
    reach: int = 64  # beyond 2^reach an end is moved inwards or to infinity, whichever widens the range

    def __call__(self, a: Range, precision: int) -> Range:
        down, up = self._end(a.low, precision, upper=False), self._end(a.high, precision, upper=True)
        low, high = greatest((down, self.at_minus_infinity)), least((up, self.at_infinity))
        return Range(low, high, a.low_open or low == self.at_minus_infinity, a.high_open or high == self.at_infinity)

    def _end(self, x: Float, precision: int, *, upper: bool) -> Float:
        far = libmp.mpf_shift(ONE, self.reach)
        if libmp.mpf_gt(x, far):
            if upper:
                return self.at_infinity
            x = far
        elif libmp.mpf_lt(x, libmp.mpf_neg(far)):
            if not upper:
                return self.at_minus_infinity
            x = libmp.mpf_neg(far)
        if x in self.exact:
            return self.exact[x]
        value = self.function(x, precision + 8)
        wide = widened(value, value, precision)
        return wide.high if upper else wide.low


_MINUS_ONE, _TWO = libmp.mpf_neg(ONE), libmp.from_int(2)
_NIL = {ZERO: ZERO}
_QUARTER = libmp.mpf_shift(libmp.mpf_pi(80, "c"), -1)
_exp = _Increasing(libmp.mpf_exp, ZERO, INF, {ZERO: ONE})
_tanh = _Increasing(libmp.mpf_tanh, _MINUS_ONE, ONE, _NIL)
_erf = _Increasing(libmp.mpf_erf, _MINUS_ONE, ONE, _NIL)
_sinh = _Increasing(libmp.mpf_sinh, NINF, INF, _NIL)
_asinh = _Increasing(libmp.mpf_asinh, NINF, INF, _NIL)
_atan = _Increasing(libmp.mpf_atan, libmp.mpf_neg(_QUARTER), _QUARTER, _NIL)
_cosh = _Increasing(libmp.mpf_cosh, NINF, INF, {ZERO: ONE})
_erfc_of_minus = _Increasing(lambda x, p: libmp.mpf_erfc(libmp.mpf_neg(x), p), ZERO, _TWO, {ZERO: ONE}, reach=20)
_log = _Increasing(libmp.mpf_log, NINF, INF, {ONE: ZERO})


def _logarithm(a: Range, precision: int, what: sp.Basic) -> Range:
    if not a.positive:
        raise Undefined(f"the logarithm of {what}, which may be 0 or negative")
    if a.low != ZERO:
        return _log(a, precision)
    return Range(NINF, _log(Range(a.high, a.high), precision).high, True, a.high_open)


def _wave(name: str) -> Callable[..., Range]:
    def wave(walk: _Walk, a: Range, node: sp.Basic) -> Range:
        within = all(libmp.mpf_le(libmp.mpf_abs(end), libmp.mpf_shift(ONE, 64)) for end in (a.low, a.high))
        if not within:
            return Range(_MINUS_ONE, ONE)
        low, high = getattr(libmp.libmpi, f"mpi_{name}")((a.low, a.high), walk.precision)
        return Range(greatest((low, _MINUS_ONE)), least((high, ONE)))

    return wave


def _step(walk: _Walk, a: Range, node: sp.Basic) -> Range:
    below, at, above = (
        (_MINUS_ONE, ZERO, ONE)
        if isinstance(node, sp.sign)
        else (ZERO, walk(node.args[1] if len(node.args) > 1 else sp.S.Half), ONE)
    )
    found = [Range(below, below)] * (not a.nonnegative) + [Range(above, above)] * (not a.nonpositive)
    if not (a.positive or a.negative):
        found.append(at if isinstance(at, Range) else Range(at, at))
    return hull(found)


def _fractional(a: Range, precision: int) -> Range:
    if a.low not in (INF, NINF) and libmp.mpf_floor(a.low) == libmp.mpf_floor(a.high):
        return add(a, Range(*(libmp.mpf_neg(libmp.mpf_floor(a.low)),) * 2), precision)
    return Range(ZERO, ONE, False, True)


_FUNCTIONS: dict[type[sp.Basic], Callable[[_Walk, Range, sp.Basic], Range]] = {
    sp.exp: lambda walk, a, _: _exp(a, walk.precision),
    sp.log: lambda walk, a, node: _logarithm(a, walk.precision, node.args[0]),
    sp.tanh: lambda walk, a, _: _tanh(a, walk.precision),
    sp.erf: lambda walk, a, _: _erf(a, walk.precision),
    sp.erfc: lambda walk, a, _: _erfc_of_minus(negated(a), walk.precision),
    sp.sinh: lambda walk, a, _: _sinh(a, walk.precision),
    sp.asinh: lambda walk, a, _: _asinh(a, walk.precision),
    sp.atan: lambda walk, a, _: _atan(a, walk.precision),
    sp.cosh: lambda walk, a, _: _cosh(absolute(a), walk.precision),
    sp.atanh: lambda walk, _, node: walk(sp.log((1 + node.args[0]) / (1 - node.args[0])) / 2),
    sp.tan: lambda walk, _, node: walk(sp.sin(node.args[0]) / sp.cos(node.args[0])),
    sp.sin: _wave("sin"),
    sp.cos: _wave("cos"),
    sp.Abs: lambda walk, a, _: absolute(a),
    sp.sign: _step,
    sp.Heaviside: _step,
    sp.floor: lambda walk, a, _: Range(libmp.mpf_floor(a.low), libmp.mpf_floor(a.high), a.low == NINF, a.high == INF),
    sp.frac: lambda walk, a, _: _fractional(a, walk.precision),
    sp.ceiling: lambda walk, a, _: Range(libmp.mpf_ceil(a.low), libmp.mpf_ceil(a.high), a.low == NINF, a.high == INF),
}
