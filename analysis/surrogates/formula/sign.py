"""The sign of a factor psi on the whole real line, for almost every value of its noise: proved, refuted, or not told.

The line is cut where the formula folds. On each open cell, the certified range of the formula, the roots of its
polynomials and the signs of its factors and terms are tried in this order; then the cell is cut up, with Taylor's
theorem at an end where the formula is 0 and its leading term at infinity. A witness is a rational number at which a
certified range lies below 0. What none of these decides is "cannot tell".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from functools import lru_cache
from itertools import pairwise

import sympy as sp
from mpmath import mp as mpmath

from ...errors import Refused
from ..symbols import u
from . import noise
from .calculus.cells import Cell, cells
from .calculus.numbers import Undecided, compare, sign_of
from .calculus.ranges import Undefined, constant
from .calculus.rewriting import derivative, jumps, plain, shifted
from .parameters import exact_decimals
from .proof import draws
from .proof.judge import Finding, judge, refute, work

_OPERATIONS = 3000
_BITS = 256


class Sign(Enum):
    """What is proved of psi over the real line and almost every noise."""

    STRICT = "strict"
    WEAK = "weak"
    INDEFINITE = "indefinite"
    CANNOT_TELL = "cannot tell"


@dataclass(frozen=True)
class SignProof:
    """The sign of psi, with what shows it.

    Attributes:
        sign: STRICT: psi > 0 for every u. WEAK: psi >= 0, and 0 somewhere. INDEFINITE: negative somewhere.
            CANNOT_TELL: none of these is proved.
        steps: the proof, a line for each cell of the real line; for CANNOT_TELL, what was missing.
        witness: where INDEFINITE, a value of ``u`` and of each noise symbol at which psi is certainly negative; where
            WEAK, a value of ``u`` at which it is 0.
    """

    sign: Sign
    steps: tuple[str, ...]
    witness: Mapping[sp.Expr, sp.Expr] | None = None


@lru_cache(maxsize=1024)
def prove(formula: sp.Expr) -> SignProof:
    """The sign of a formula in ``u`` and noise, for every real ``u`` and almost every value of the noise.

    Every answer but "cannot tell" is proved; the work is bounded, so that there is always an answer.

    >>> prove(1 - sp.tanh(u) ** 2).sign
    <Sign.STRICT: 'strict'>
    >>> prove(sp.Max(0, 1 - sp.Abs(u)) - sp.Rational(1, 100)).witness
    {u: -2}
    """
    try:
        formula = plain(exact_decimals(formula))
        if sp.count_ops(formula) > _OPERATIONS:
            return _untold(f"the formula has more than {_OPERATIONS} operations")
        proofs = [_prove(each) for each, _ in noise.outcomes(formula)]
    except (Refused, Undecided, Undefined, RecursionError) as reason:
        return _untold(str(reason) or type(reason).__name__)
    order = (Sign.INDEFINITE, Sign.CANNOT_TELL, Sign.WEAK, Sign.STRICT)
    worst = min(proofs, key=lambda proof: order.index(proof.sign))
    if len(proofs) == 1:
        return worst
    steps = tuple(f"outcome {i}: {step}" for i, proof in enumerate(proofs, 1) for step in proof.steps)
    return SignProof(worst.sign, steps, worst.witness)


def _untold(reason: str) -> SignProof:
    return SignProof(Sign.CANNOT_TELL, (f"cannot tell: {reason}",))


def _prove(formula: sp.Expr) -> SignProof:
    supports = {symbol: noise.support(symbol) for symbol in noise.symbols(formula)}
    return _prove_on(_cells(formula, supports), supports, formula)


def _prove_on(line: Sequence[Cell], supports: draws.Supports, whole: sp.Expr | None = None) -> SignProof:
    """The sign over some cells; a witness is certified on the whole formula, on its cell's where that is not given."""
    findings = [judge(cell, supports) for cell in line]
    for place, finding in enumerate(findings):
        findings[place] = finding = refute(finding, whole or finding.cell.value, supports)
        if finding.witness is not None:
            return _indefinite(finding, whole or finding.cell.value)
    if not all(_nonnegative(finding) for finding in findings) or not any(
        finding.zero is not None for finding in findings
    ):
        for place, finding in enumerate(findings):
            if finding.signs not in ({1}, {0}):
                findings[place] = finding = work(finding, whole or finding.cell.value)
                if finding.witness is not None:
                    return _indefinite(finding, whole or finding.cell.value)
    steps = tuple(_step(finding) for finding in findings)
    if all(finding.signs == {1} for finding in findings):
        return SignProof(Sign.STRICT, (*steps, "so psi > 0 everywhere"))
    zero = next((finding.zero for finding in findings if finding.zero is not None), None)
    if all(_nonnegative(finding) for finding in findings) and zero is not None:
        if all(finding.signs == {0} for finding in findings):
            return SignProof(Sign.WEAK, (*steps, "so psi is identically zero"), sp.Dict({u: zero}))
        return SignProof(Sign.WEAK, (*steps, f"so psi >= 0 everywhere, and psi = 0 at u = {zero}"), sp.Dict({u: zero}))
    return SignProof(Sign.CANNOT_TELL, steps)


def _cells(formula: sp.Expr, supports: draws.Supports) -> tuple[Cell, ...]:
    try:
        return cells(formula, draws.box(supports))
    except Undecided:
        return (Cell(-sp.oo, sp.oo, formula),)


def _nonnegative(finding: Finding) -> bool:
    return -1 not in finding.signs


def _indefinite(finding: Finding, formula: sp.Expr) -> SignProof:
    assert finding.witness is not None
    at = ", ".join(f"{symbol} = {value}" for symbol, value in finding.witness.items())
    ceiling = sp.Float(mpmath.make_mpf(constant(formula.subs(finding.witness), _BITS).high), 4)
    step = f"psi < 0 at {at}: a certified range of its value there ends at {ceiling}"
    return SignProof(Sign.INDEFINITE, (step,), sp.Dict(finding.witness))


def _step(finding: Finding) -> str:
    said = {frozenset({1}): " > 0", frozenset({0}): "", frozenset({0, 1}): " >= 0"}
    claim = f"psi = {finding.cell.value}{said.get(finding.signs, ', its sign not told')}"
    return f"{finding.cell}: {claim}{', ' * bool(finding.because)}{finding.because}"


def increasing(formula: sp.Expr) -> bool | None:
    """Whether a noise-free formula never falls as ``u`` grows: on each cell by its derivative, and at each break point.

    ``None`` where it cannot be told.

    >>> increasing(sp.sign(u)), increasing(u**2), increasing(sp.floor(u + sp.Rational(1, 2)))
    (True, False, True)
    """
    try:
        return _increasing(plain(exact_decimals(formula)))
    except (Refused, Undecided, Undefined, RecursionError):
        return None


def _increasing(formula: sp.Expr) -> bool | None:
    period = next((p for p in (1, 2) if not (shifted(formula, p) - shifted(formula, 0)).has(u)), None)
    if formula.has(sp.floor, sp.ceiling, sp.frac):
        if period is None:
            return None
        # It repeats itself but for a constant: one closed period, steps written as jumps, shows the whole line.
        if sign_of(shifted(formula, period) - shifted(formula, 0)) < 0:
            return False
        end = sp.Integer(period)
        formula = jumps(formula, sp.S.Zero, end)
        line = [cell for cell in cells(formula) if compare(cell.high, sp.S.Zero) >= 0 <= compare(end, cell.low)]
    else:
        line = list(cells(formula))
    for left, right in pairwise(line):
        step = sign_of(right.value.subs(u, left.high) - left.value.subs(u, left.high))
        if step < 0:
            return False
    slopes = [_prove_on([replace(cell, value=derivative(cell.value))], {}) for cell in line if not cell.is_point]
    if any(slope.sign is Sign.INDEFINITE for slope in slopes):
        return False
    return None if any(slope.sign is Sign.CANNOT_TELL for slope in slopes) else True
