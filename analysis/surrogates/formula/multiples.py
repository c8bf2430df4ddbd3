"""Which surrogates are multiples of one another: their gradients are, too, and need no pass of their own."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..surrogate import Surrogate


@lru_cache(maxsize=4096)
def ratio(first: Surrogate, second: Surrogate) -> float | None:
    """The number by which one deterministic surrogate is the other, at every preactivation; ``None`` where none shows.

    It shows where SymPy cancels the quotient, or where the two differ in one parameter that is linear in the factor.

    >>> from downslope import SURROGATES
    >>> triangle = SURROGATES["triangle"]
    >>> ratio(triangle.at(height=0.5), triangle), ratio(triangle.at(width=2), triangle)
    (0.5, None)
    """
    if first.random or second.random or 0 in (first.formula, second.formula):
        return None
    quotient = first.formula / second.formula
    if quotient.is_number:
        return float(quotient)
    mine, other = dict(first.parameters.items()), dict(second.parameters.items())
    apart = [symbol for symbol in mine if mine[symbol] != other.get(symbol)]
    if first.factor != second.factor or mine.keys() != other.keys() or len(apart) != 1:
        return None
    (height,) = apart
    if height in first.factor.diff(height).free_symbols or first.factor.subs(height, 0) != 0:
        return None
    return float(mine[height] / other[height])
