"""Certified ranges: between which numbers every value of an expression lies, when its symbols run over given ranges.

Interval arithmetic on mpmath's big floats with outward rounding. Beside its two ends a range knows whether an end is
*open*, that is, never attained: 1 + tanh(u) lies in (0, 2) and is therefore positive, not only nonnegative.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import reduce
from typing import Any

import sympy as sp
from mpmath import libmp
from sympy.core.relational import Relational
from sympy.logic.boolalg import Boolean, BooleanFalse, BooleanTrue

Float = tuple[Any, ...]
"""A raw big float of mpmath, a dyadic rational or an infinity."""

PRECISION = 64
"""Bits of a range's ends unless more are asked for."""

_ZERO: Float = libmp.fzero
_ONE: Float = libmp.fone
_INF: Float = libmp.finf
_NINF: Float = libmp.fninf


class Undefined(ArithmeticError):
    """The expression may be undefined somewhere in the range, or holds what we have no range for; says which."""


@dataclass(frozen=True, slots=True)
class Range:
    """All numbers between two ends; an infinite end is open."""

    low: Float
    high: Float
    low_open: bool = False
    high_open: bool = False

    @property
    def positive(self) -> bool:
        """Whether every value is above 0."""
        return bool(libmp.mpf_gt(self.low, _ZERO)) or (self.low == _ZERO and self.low_open)

    @property
    def nonnegative(self) -> bool:
        """Whether no value is below 0."""
        return bool(libmp.mpf_ge(self.low, _ZERO))

    @property
    def negative(self) -> bool:
        """Whether every value is below 0."""
        return bool(libmp.mpf_lt(self.high, _ZERO)) or (self.high == _ZERO and self.high_open)

    @property
    def nonpositive(self) -> bool:
        """Whether no value is above 0."""
        return bool(libmp.mpf_le(self.high, _ZERO))

    @property
    def zero(self) -> bool:
        """Whether 0 is the only value."""
        return bool(self.low == _ZERO == self.high)


REALS = Range(_NINF, _INF, True, True)


def between(low: sp.Expr, high: sp.Expr, precision: int = PRECISION) -> Range:
    """The open range between two exact numbers, or the one number where they are equal."""
    if low == high:
        return constant(low, precision)
    down = _NINF if low is sp.S.NegativeInfinity else constant(low, precision).low
    up = _INF if high is sp.S.Infinity else constant(high, precision).high
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
            return _widened(node._as_mpf_val(precision + 8), node._as_mpf_val(precision + 8), precision)
        if isinstance(node, sp.Add):
            total = Range(_ZERO, _ZERO)
            for term in node.args:
                total = _add(total, self(term), precision)
            return total
        if isinstance(node, sp.Mul):
            product = Range(_ONE, _ONE)
            for factor in node.args:
                product = _multiply(product, self(factor), precision)
            return product
        if isinstance(node, sp.Pow):
            return self._power(node.base, node.exp)
        if isinstance(node, sp.Piecewise):
            return self._piecewise(node)
        if isinstance(node, sp.Max | sp.Min):
            return _extreme([self(arg) for arg in node.args], largest=isinstance(node, sp.Max))
        for kind, bound in _FUNCTIONS.items():
            if isinstance(node, kind):
                return bound(self, self(node.args[0]), node)
        raise Undefined(f"no range is known for {node.func.__name__}")

    def _power(self, base: sp.Expr, exponent: sp.Expr) -> Range:
        precision = self.precision
        if isinstance(exponent, sp.Integer) and abs(int(exponent)) < 2**16:
            power = _integer_power(self(base), abs(int(exponent)), precision)
            return _reciprocal(power, precision, base) if exponent < 0 else power
        inner = self(base)
        if not inner.nonnegative:
            raise Undefined(f"{base} may be negative under the exponent {exponent}")
        power = self(exponent)
        if not inner.positive:
            if not power.positive:
                raise Undefined(f"{base} may be 0 under the exponent {exponent}")
            if inner.zero:
                return inner
        above_zero = inner if inner.positive else Range(_ZERO, inner.high, True, inner.high_open)
        result = _exp(_multiply(power, _logarithm(above_zero, precision, base), precision), precision)
        # The logarithm of a base that reaches 0 is open at minus infinity; the power does attain 0.
        return result if inner.positive else Range(_ZERO, result.high, False, result.high_open)

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


def _add(a: Range, b: Range, precision: int) -> Range:
    low = libmp.mpf_add(a.low, b.low, precision, "f")
    high = libmp.mpf_add(a.high, b.high, precision, "c")
    return Range(low, high, a.low_open or b.low_open, a.high_open or b.high_open)


def _multiply(a: Range, b: Range, precision: int) -> Range:
    corners = []
    for x, x_open in ((a.low, a.low_open), (a.high, a.high_open)):
        for y, y_open in ((b.low, b.low_open), (b.high, b.high_open)):
            if _ZERO in (x, y):  # 0 times an infinite end is 0: every value of the other range is finite
                attained = (x == _ZERO and not x_open) or (y == _ZERO and not y_open)
                corners.append((_ZERO, _ZERO, not attained))
            else:
                exact = libmp.mpf_mul(x, y)
                down, up = (libmp.mpf_pos(exact, precision, way) for way in ("f", "c"))
                corners.append((down, up, x_open or y_open))
    low = _least(corner[0] for corner in corners)
    high = _greatest(corner[1] for corner in corners)
    return Range(
        low,
        high,
        all(is_open for down, _, is_open in corners if down == low),
        all(is_open for _, up, is_open in corners if up == high),
    )


def _integer_power(a: Range, power: int, precision: int) -> Range:
    if power == 0:
        return Range(_ONE, _ONE)
    if power % 2 == 0:
        a = _absolute(a)
    low = _signed_power(a.low, power, precision, "f")
    high = _signed_power(a.high, power, precision, "c")
    return Range(low, high, a.low_open, a.high_open)


def _signed_power(x: Float, power: int, precision: int, way: str) -> Float:
    if x in (_INF, _NINF):
        return _NINF if x == _NINF and power % 2 else _INF
    found: Float = libmp.mpf_pow_int(x, power, precision, way)
    return found


def _reciprocal(a: Range, precision: int, what: sp.Basic) -> Range:
    if not (a.positive or a.negative):
        raise Undefined(f"the denominator {what} may be 0")
    ends = []
    for end, sign, way in ((a.high, a.negative, "f"), (a.low, a.negative, "c")):
        if end in (_INF, _NINF):
            ends.append(_ZERO)
        elif end == _ZERO:
            ends.append(_NINF if sign else _INF)
        else:
            ends.append(libmp.mpf_div(_ONE, end, precision, way))
    return Range(ends[0], ends[1], a.high_open, a.low_open)


def _absolute(a: Range) -> Range:
    if a.nonnegative:
        return a
    if a.nonpositive:
        return _negated(a)
    left = Range(_ZERO, libmp.mpf_neg(a.low), False, a.low_open)
    right = Range(_ZERO, a.high, False, a.high_open)
    return _extreme([left, right], largest=True)


def _extreme(ranges: list[Range], *, largest: bool) -> Range:
    """The range of Max (or Min) over independent values."""
    pick = _greatest if largest else _least
    low, high = pick(each.low for each in ranges), pick(each.high for each in ranges)
    # The largest value attains the greatest of the lower ends only if each range that has it attains it.
    at_low = [each.low_open for each in ranges if each.low == low]
    at_high = [each.high_open for each in ranges if each.high == high]
    return Range(low, high, any(at_low) if largest else all(at_low), all(at_high) if largest else any(at_high))


def hull(ranges: list[Range]) -> Range:
    """The narrowest range that holds some ranges."""
    low, high = _least(each.low for each in ranges), _greatest(each.high for each in ranges)
    return Range(
        low,
        high,
        all(each.low_open for each in ranges if each.low == low),
        all(each.high_open for each in ranges if each.high == high),
    )


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
        low, high = _greatest((down, self.at_minus_infinity)), _least((up, self.at_infinity))
        return Range(low, high, a.low_open or low == self.at_minus_infinity, a.high_open or high == self.at_infinity)

    def _end(self, x: Float, precision: int, *, upper: bool) -> Float:
        far = libmp.mpf_shift(_ONE, self.reach)
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
        wide = _widened(value, value, precision)
        return wide.high if upper else wide.low


def _widened(low: Float, high: Float, precision: int) -> Range:
    """The ends moved outwards by more than the error of mpmath's last digit."""
    slack = libmp.mpf_shift(_ONE, -precision - 4)
    down = libmp.mpf_sub(low, libmp.mpf_mul(libmp.mpf_abs(low), slack), precision, "f")
    up = libmp.mpf_add(high, libmp.mpf_mul(libmp.mpf_abs(high), slack), precision, "c")
    return Range(down, up)


def _least(ends: Iterable[Float]) -> Float:
    return reduce(lambda x, y: y if libmp.mpf_lt(y, x) else x, ends)


def _greatest(ends: Iterable[Float]) -> Float:
    return reduce(lambda x, y: y if libmp.mpf_gt(y, x) else x, ends)


def _negated(a: Range) -> Range:
    return Range(libmp.mpf_neg(a.high), libmp.mpf_neg(a.low), a.high_open, a.low_open)


_MINUS_ONE, _TWO = libmp.mpf_neg(_ONE), libmp.from_int(2)
_NIL = {_ZERO: _ZERO}
_QUARTER = libmp.mpf_shift(libmp.mpf_pi(80, "c"), -1)
_exp = _Increasing(libmp.mpf_exp, _ZERO, _INF, {_ZERO: _ONE})
_tanh = _Increasing(libmp.mpf_tanh, _MINUS_ONE, _ONE, _NIL)
_erf = _Increasing(libmp.mpf_erf, _MINUS_ONE, _ONE, _NIL)
_sinh = _Increasing(libmp.mpf_sinh, _NINF, _INF, _NIL)
_asinh = _Increasing(libmp.mpf_asinh, _NINF, _INF, _NIL)
_atan = _Increasing(libmp.mpf_atan, libmp.mpf_neg(_QUARTER), _QUARTER, _NIL)
_cosh = _Increasing(libmp.mpf_cosh, _NINF, _INF, {_ZERO: _ONE})
_erfc_of_minus = _Increasing(lambda x, p: libmp.mpf_erfc(libmp.mpf_neg(x), p), _ZERO, _TWO, {_ZERO: _ONE}, reach=20)
_log = _Increasing(libmp.mpf_log, _NINF, _INF, {_ONE: _ZERO})


def _logarithm(a: Range, precision: int, what: sp.Basic) -> Range:
    if not a.positive:
        raise Undefined(f"the logarithm of {what}, which may be 0 or negative")
    if a.low != _ZERO:
        return _log(a, precision)
    return Range(_NINF, _log(Range(a.high, a.high), precision).high, True, a.high_open)


def _wave(name: str) -> Callable[..., Range]:
    def wave(walk: _Walk, a: Range, node: sp.Basic) -> Range:
        within = all(libmp.mpf_le(libmp.mpf_abs(end), libmp.mpf_shift(_ONE, 64)) for end in (a.low, a.high))
        if not within:
            return Range(_MINUS_ONE, _ONE)
        low, high = getattr(libmp.libmpi, f"mpi_{name}")((a.low, a.high), walk.precision)
        return Range(_greatest((low, _MINUS_ONE)), _least((high, _ONE)))

    return wave


def _step(walk: _Walk, a: Range, node: sp.Basic) -> Range:
    below, at, above = (
        (_MINUS_ONE, _ZERO, _ONE)
        if isinstance(node, sp.sign)
        else (_ZERO, walk(node.args[1] if len(node.args) > 1 else sp.S.Half), _ONE)
    )
    found = [Range(below, below)] * (not a.nonnegative) + [Range(above, above)] * (not a.nonpositive)
    if not (a.positive or a.negative):
        found.append(at if isinstance(at, Range) else Range(at, at))
    return hull(found)


def _fractional(a: Range, precision: int) -> Range:
    if a.low not in (_INF, _NINF) and libmp.mpf_floor(a.low) == libmp.mpf_floor(a.high):
        return _add(a, Range(*(libmp.mpf_neg(libmp.mpf_floor(a.low)),) * 2), precision)
    return Range(_ZERO, _ONE, False, True)


_FUNCTIONS: dict[type[sp.Basic], Callable[[_Walk, Range, sp.Basic], Range]] = {
    sp.exp: lambda walk, a, _: _exp(a, walk.precision),
    sp.log: lambda walk, a, node: _logarithm(a, walk.precision, node.args[0]),
    sp.tanh: lambda walk, a, _: _tanh(a, walk.precision),
    sp.erf: lambda walk, a, _: _erf(a, walk.precision),
    sp.erfc: lambda walk, a, _: _erfc_of_minus(_negated(a), walk.precision),
    sp.sinh: lambda walk, a, _: _sinh(a, walk.precision),
    sp.asinh: lambda walk, a, _: _asinh(a, walk.precision),
    sp.atan: lambda walk, a, _: _atan(a, walk.precision),
    sp.cosh: lambda walk, a, _: _cosh(_absolute(a), walk.precision),
    sp.sin: _wave("sin"),
    sp.cos: _wave("cos"),
    sp.Abs: lambda walk, a, _: _absolute(a),
    sp.sign: _step,
    sp.Heaviside: _step,
    sp.floor: lambda walk, a, _: Range(libmp.mpf_floor(a.low), libmp.mpf_floor(a.high), a.low == _NINF, a.high == _INF),
    sp.frac: lambda walk, a, _: _fractional(a, walk.precision),
    sp.ceiling: lambda walk, a, _: Range(libmp.mpf_ceil(a.low), libmp.mpf_ceil(a.high), a.low == _NINF, a.high == _INF),
}
