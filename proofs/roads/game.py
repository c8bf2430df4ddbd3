"""A game against a claim: what the adversary chooses, and by how much the statement then fails.

The adversary's numbers come as one vector of reals: exact fractions from Hypothesis, floats from the optimiser. A
`Draw` reads them off and turns them into an instance *inside the scope*: a positive factor, a vector that is not zero.
Every restriction is named after the hypothesis that asks for it, so that dropping the hypothesis lifts it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import lru_cache
from itertools import product
from math import atan2, hypot, sqrt
from typing import Any, TypeVar

import sympy as sp

Number = Any
"""`fractions.Fraction` where the game is exact, `float` under the optimiser; games use field operations on either."""

Option = TypeVar("Option")


def positive(x: Number) -> Number:
    """A bijection of the reals onto the positive numbers that keeps fractions exact.

    >>> [str(positive(Fraction(k))) for k in (-2, 0, 2)]
    ['1/3', '1', '3']
    """
    return 1 + x if x >= 0 else 1 / (1 - x)


def dot(a: Sequence[Number], b: Sequence[Number]) -> Number:
    """The inner product."""
    return sum(x * y for x, y in zip(a, b, strict=True))


def times(matrix: Sequence[Sequence[Number]], vector: Sequence[Number]) -> list[Number]:
    """The product of a matrix, given by rows, and a vector."""
    return [dot(row, vector) for row in matrix]


def transposed(matrix: Sequence[Sequence[Number]]) -> list[list[Number]]:
    """The rows of the transpose."""
    return [list(column) for column in zip(*matrix, strict=True)]


def vertices(count: int, low: Number, high: Number) -> Iterator[tuple[Number, ...]]:
    """The corners of the box [low, high]^count."""
    return product((low, high), repeat=count)


def angle(a: Sequence[Number], b: Sequence[Number]) -> float:
    """The angle of two vectors in radians, accurate near 0 and pi (Kahan's formula)."""
    lengths = [sqrt(float(dot(v, v))) for v in (a, b)]
    pairs = [(float(x) / lengths[0], float(y) / lengths[1]) for x, y in zip(a, b, strict=True)]
    return 2 * atan2(hypot(*(x - y for x, y in pairs)), hypot(*(x + y for x, y in pairs)))


def fails_strictly(value: Number) -> Number:
    """The excess of the statement ``value > 0``: positive exactly where ``value`` is zero or negative."""
    return -value if value > 0 else 1 - value


@dataclass
class Draw:
    """Reads an instance off a vector of reals; past its end every number is 0.

    Attributes:
        values: the adversary's numbers.
        held: the hypotheses that are assumed, by name.
    """

    values: Sequence[Number]
    held: Collection[str]
    used: int = 0
    asked: set[str] = field(default_factory=set)

    def holds(self, hypothesis: str) -> bool:
        """Whether ``hypothesis`` is assumed in this game."""
        self.asked.add(hypothesis)
        return hypothesis in self.held

    def real(self) -> Number:
        """Any real number."""
        self.used += 1
        return self.values[self.used - 1] if self.used <= len(self.values) else Fraction(0)

    def reals(self, count: int) -> list[Number]:
        """Any vector."""
        return [self.real() for _ in range(count)]

    def matrix(self, rows: int, columns: int) -> list[list[Number]]:
        """Any matrix, by rows."""
        return [self.reals(columns) for _ in range(rows)]

    def positives(self, count: int, hypothesis: str) -> list[Number]:
        """Positive numbers; any numbers where ``hypothesis`` is dropped."""
        return [positive(x) if self.holds(hypothesis) else x for x in self.reals(count)]

    def nonzero(self, count: int, hypothesis: str) -> list[Number]:
        """A vector other than zero; any vector where ``hypothesis`` is dropped."""
        vector = self.reals(count)
        if self.holds(hypothesis) and not any(vector):
            vector[0] = 1 + vector[0]
        return vector

    def share(self) -> Number:
        """A number in [0, 1], ends attained."""
        return min(max((self.real() + 1) / 2, 0), 1)

    def box(self, count: int, low: Number, high: Number) -> list[Number]:
        """Numbers in [low, high], ends attained."""
        return [low + (high - low) * self.share() for _ in range(count)]

    def option(self, *options: Option) -> Option:
        """One of the options."""
        return options[min(int(self.share() * len(options)), len(options) - 1)]


Instance = Mapping[str, Any]


@dataclass(frozen=True)
class Game:
    """What the adversary may choose, and when he wins.

    Attributes:
        instance: builds an instance inside the scope from a `Draw`.
        excess: by how much the statement fails at the instance (given by name, after the claim's stated formulas);
            None where the instance lies outside the scope.
        exact: whether the game can be played with fractions; a game that needs floats gets floats.
        tolerance: an excess up to this is rounding; not used where the excess is a fraction.
        cases: how many instances each of the two searchers tries at full effort.
    """

    instance: Callable[[Draw], Instance]
    excess: Callable[..., Number | None]
    exact: bool = True
    tolerance: float = 1e-9
    cases: int = 400


@dataclass(frozen=True)
class Comparison:
    """A stated value beside an independent evaluation of the same quantity.

    Attributes:
        what: the quantity and its parameters.
        stated: the value by the claim's formula.
        found: the value by ``method``.
        allowed: the largest difference that the method explains (a quadrature error, 4 standard errors).
        method: quadrature, enumeration, Monte Carlo, a wide random network, draws.
    """

    what: str
    stated: float
    found: float
    allowed: float
    method: str

    @property
    def agrees(self) -> bool:
        """Whether the two values agree within what the method allows; NaN never does."""
        return abs(self.stated - self.found) <= self.allowed


@lru_cache(maxsize=512)
def _compiled(formula: sp.Expr, names: tuple[str, ...]) -> Callable[..., Number]:
    symbols = {symbol.name: symbol for symbol in formula.free_symbols}
    code: Callable[..., Number] = sp.lambdify([symbols.get(name, sp.Dummy()) for name in names], formula, "math")
    return code


def number(formula: sp.Expr, **values: Number) -> Number:
    """A stated formula at the given values of its symbols: a fraction where field operations suffice, else a float.

    >>> kappa = sp.Symbol("kappa")
    >>> number(sp.sqrt(kappa) + 1, kappa=Fraction(9, 4)), number(1 / (kappa + 1), kappa=Fraction(9, 4))
    (2.5, Fraction(4, 13))
    """
    names = tuple(sorted(values))
    return _compiled(formula, names)(*(values[name] for name in names))
