"""The catalogue's entries as the page shows them: formula, what the profile says, source."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ...analysis.surrogates.formula.mathml import mathml
from ...analysis.surrogates.formula.sign import Sign
from ...analysis.surrogates.surrogate import Surrogate


@dataclass(frozen=True)
class Entry:
    """One surrogate: its name, its formula as MathML and named facts."""

    name: str
    mathml: str
    facts: tuple[tuple[str, str], ...]


def entries(surrogates: Iterable[Surrogate]) -> list[Entry]:
    """An entry for each surrogate."""
    return [Entry(each.name, mathml(each.factor), tuple(_facts(each))) for each in surrogates]


_SIGNS = {
    Sign.STRICT: "positive everywhere",
    Sign.WEAK: "never negative, zero somewhere",
    Sign.INDEFINITE: "negative somewhere",
    Sign.CANNOT_TELL: "not decided",
}


def _sign(surrogate: Surrogate) -> str:
    proof = surrogate.sign
    where = ", ".join(f"{symbol} = {value}" for symbol, value in (proof.witness or {}).items())
    return f"{_SIGNS[proof.sign]}{f', as at {where}' if where else ''}"


def _facts(surrogate: Surrogate) -> list[tuple[str, str]]:
    parameters = ", ".join(f"{symbol} = {value}" for symbol, value in surrogate.parameters.items())
    facts = [
        ("parameters", parameters or "none"),
        ("sign", _sign(surrogate)),
        ("usual forward", surrogate.forward),
        ("source", surrogate.source),
        ("other names", ", ".join(surrogate.aliases)),
        ("note", surrogate.note),
    ]
    return [(term, value) for term, value in facts if value]
