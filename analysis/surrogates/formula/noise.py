"""Noise: the support of each random symbol, and mean and variance of a formula over it.

Exact by the moments of xi where psi is a polynomial in it, and by enumeration where xi takes finitely many values.
Whatever else is refused by name: an integral that may not end, or that may be wrong, is not tried.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from itertools import product
from math import comb

import sympy as sp
from sympy import stats
from sympy.stats import crv_types, drv_types
from sympy.stats.crv import SingleContinuousPSpace
from sympy.stats.drv import SingleDiscretePSpace
from sympy.stats.frv import SingleFinitePSpace
from sympy.stats.rv import RandomSymbol, random_symbols

from ...errors import Refused
from ..symbols import u

_OUTCOMES = 256
_POWER = 16


@dataclass(frozen=True)
class Support:
    """The values that a random symbol takes.

    Attributes:
        low: least value, or -oo.
        high: greatest value, or oo.
        outcomes: each value with its probability, where they are finitely many; else empty.
        continuous: whether every open part of the interval between the ends has positive probability.
    """

    low: sp.Expr
    high: sp.Expr
    outcomes: tuple[tuple[sp.Expr, sp.Expr], ...]
    continuous: bool


def symbols(formula: sp.Expr) -> tuple[RandomSymbol, ...]:
    """The random symbols of a formula, by name."""
    return tuple(sorted(random_symbols(formula), key=lambda symbol: str(symbol.name)))


@cache
def support(symbol: RandomSymbol) -> Support:
    """The support of a random symbol.

    Raises:
        Refused: it is not one independent random number with a distribution that is the same for every u.
    """
    space = symbol.pspace
    kinds = SingleContinuousPSpace | SingleDiscretePSpace | SingleFinitePSpace
    if not isinstance(space, kinds):
        raise Refused(f"noise {symbol}: it is no single independent random number of sympy.stats.")
    if space.distribution.has(u) or space.distribution.free_symbols:
        raise Refused(f"noise {symbol}: its distribution {space.distribution} depends on u or on an unset symbol.")
    if isinstance(space, SingleFinitePSpace):
        chances = {value: chance for value, chance in space.distribution.dict.items() if chance != 0}
        return Support(
            min(chances), max(chances), tuple(sorted(chances.items(), key=lambda pair: float(pair[0]))), False
        )
    values = space.set
    if type(space.distribution).__module__ not in (crv_types.__name__, drv_types.__name__) or not isinstance(
        values, sp.Interval | sp.Range | type(sp.S.Naturals0) | type(sp.S.Naturals)
    ):
        raise Refused(f"noise {symbol}: the support of {space.distribution} is not known.")
    return Support(values.inf, values.sup, (), isinstance(space, SingleContinuousPSpace))


def outcomes(formula: sp.Expr) -> Iterator[tuple[sp.Expr, sp.Expr]]:
    """(formula, probability) for each combination of values of the random symbols that take finitely many.

    Raises:
        Refused: there are more than 256 combinations, or as for `support`.
    """
    finite = [symbol for symbol in symbols(formula) if support(symbol).outcomes]
    tables = [support(symbol).outcomes for symbol in finite]
    count = int(sp.prod([len(table) for table in tables]))
    if count > _OUTCOMES:
        raise Refused(f"the noise takes {count} combinations of values; at most {_OUTCOMES} are enumerated.")
    for values in product(*tables):
        replaced = {symbol: value for symbol, (value, _) in zip(finite, values, strict=True)}
        yield formula.xreplace(replaced), sp.prod([chance for _, chance in values])


def mean(formula: sp.Expr) -> sp.Expr:
    """E psi(u, xi) over the noise, an expression in ``u``.

    Raises:
        Refused: psi is no polynomial in noise that takes infinitely many values, or a moment of it is not known.

    >>> xi = stats.Uniform("xi", 0, 1)
    >>> mean(xi**2 * sp.exp(u)), variance(xi + u)
    (exp(u)/3, 1/12)
    """
    return sp.Add(*(chance * _by_branch(each, _mean) for each, chance in outcomes(formula)))


def variance(formula: sp.Expr) -> sp.Expr:
    """Var psi(u, xi) over the noise, an expression in ``u``; zero where psi is not random.

    Raises:
        Refused: as for `mean`.
    """
    if any(support(symbol).outcomes for symbol in symbols(formula)):
        return sp.expand(mean(formula**2) - mean(formula) ** 2)
    return _by_branch(formula, lambda branch: sp.expand(_mean(branch**2) - _mean(branch) ** 2))


def _by_branch(formula: sp.Expr, rule: Callable[[sp.Expr], sp.Expr]) -> sp.Expr:
    """The rule on each branch of the formula's Piecewise, whose conditions hold no noise."""
    folded = sp.piecewise_fold(formula) if formula.has(sp.Piecewise) else formula
    if not isinstance(folded, sp.Piecewise):
        return rule(folded)
    for _, condition in folded.args:
        if random_symbols(condition):
            raise Refused(f"mean: the condition {condition} is random; moments are known for polynomials in the noise.")
    return sp.Piecewise(*((rule(branch), condition) for branch, condition in folded.args))


def _mean(expression: sp.Expr) -> sp.Expr:
    noise = symbols(expression)
    if not noise:
        return expression
    if isinstance(expression, sp.Add):
        return sp.Add(*(_mean(term) for term in expression.args))
    fixed, drawn = expression.as_independent(*noise, as_Add=False)
    powers = [factor.as_base_exp() for factor in sp.Mul.make_args(drawn)]
    if all(base in noise and power.is_Integer and power > 0 for base, power in powers):
        return fixed * sp.prod([moment(base, int(power)) for base, power in powers])
    if all(power.is_Integer and 0 < power <= _POWER for _, power in powers):
        expanded = sp.expand(drawn, deep=False)
        if expanded != drawn:
            return _mean(sp.expand_mul(fixed * expanded))
    raise Refused(
        f"mean: {drawn} is no polynomial in the noise {', '.join(map(str, noise))}, and no closed form is known."
    )


@cache
def moment(symbol: RandomSymbol, power: int) -> sp.Expr:
    """E xi^power.

    Raises:
        Refused: it is not known, or infinite.
    """
    support(symbol)
    distribution = symbol.pspace.distribution
    known = _MOMENTS.get(type(distribution).__name__)
    if known is not None:
        return known(power, *distribution.args)
    if type(distribution).__name__ in _INTEGRATED:
        return sp.simplify(stats.E(symbol**power))
    raise Refused(f"mean: the moments of {distribution} are not known here; known: {', '.join(_names())}.")


def _names() -> list[str]:
    return sorted(name.removesuffix("Distribution") for name in {*_MOMENTS, *_INTEGRATED})


_INTEGRATED = {"LogisticDistribution", "TriangularDistribution", "RayleighDistribution", "PoissonDistribution"}
"""Distributions whose moments sympy.stats integrates in well under a second."""

_MOMENTS: dict[str, Callable[..., sp.Expr]] = {
    "UniformDistribution": lambda k, a, b: sp.Add(*(a**i * b ** (k - i) for i in range(k + 1))) / (k + 1),
    "NormalDistribution": lambda k, m, s: sp.Add(
        *(comb(k, i) * m ** (k - i) * s**i * sp.factorial2(i - 1) for i in range(0, k + 1, 2))
    ),
    "ExponentialDistribution": lambda k, rate: sp.factorial(k) / rate**k,
    "GammaDistribution": lambda k, shape, scale: scale**k * sp.rf(shape, k),
    "BetaDistribution": lambda k, a, b: sp.rf(a, k) / sp.rf(a + b, k),
    "LogNormalDistribution": lambda k, m, s: sp.exp(k * m + k**2 * s**2 / 2),
    "LaplaceDistribution": lambda k, m, scale: sp.Add(
        *(comb(k, i) * m ** (k - i) * scale**i * sp.factorial(i) for i in range(0, k + 1, 2))
    ),
}
"""E xi^k of a distribution with sympy.stats' own parameters."""
