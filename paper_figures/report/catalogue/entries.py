"""The catalogue's entries as the page shows them: formula, what the profile says, source."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ....analysis.surrogates.formula.mathml import mathml
from ....analysis.surrogates.formula.profile import Profile
from ....analysis.surrogates.formula.sign import Sign
from ....analysis.surrogates.surrogate import Surrogate

_LONG = 32
"""A closed form of more characters is no help to a reader: its decimals stand alone."""


@dataclass(frozen=True)
class Entry:
    """One surrogate: its name, its formula as MathML, named facts, and as floats those that a table sorts by."""

    name: str
    mathml: str
    facts: tuple[tuple[str, str], ...]
    numbers: Mapping[str, float]

    def fact(self, term: str) -> str:
        """What is said under a term; empty where nothing is."""
        return dict(self.facts).get(term, "")


def entries(surrogates: Iterable[Surrogate]) -> list[Entry]:
    """An entry for each surrogate."""
    return [Entry(each.name, mathml(each.factor), tuple(_facts(each)), _numbers(each)) for each in surrogates]


PROFILE = {
    "sign": False,
    "largest value": True,
    "smallest value": True,
    "support": False,
    "integral": True,
    "symmetry": False,
    "Lipschitz constant": True,
}
"""The facts that a table of the catalogue shows, and whether they are numbers."""


def _numbers(surrogate: Surrogate) -> dict[str, float]:
    profile = surrogate.profile
    known = {
        "largest value": profile.supremum,
        "smallest value": profile.infimum,
        "integral": profile.integral,
        "Lipschitz constant": profile.lipschitz,
    }
    return {term: float(value) for term, value in known.items() if value is not None}


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


def _profile(surrogate: Surrogate) -> list[tuple[str, str]]:
    profile = surrogate.profile
    return [
        *([("profile", "of its mean over the noise")] if surrogate.random else []),
        ("largest value", _at(profile.supremum, profile.supremum_at)),
        ("smallest value", _at(profile.infimum, profile.infimum_at)),
        ("support", _support(profile.support)),
        ("integral", _number(profile.integral)),
        ("symmetry", _symmetry(profile)),
        ("Lipschitz constant", _at(profile.lipschitz, profile.lipschitz_at)),
    ]


def _number(value: Any) -> str:
    """A number as it is known: exact, exact with its decimals, computed (≈), infinite or not told."""
    if value is None:
        return "cannot tell"
    if value.is_infinite:
        return "−∞" if value.is_extended_negative else "∞"
    if value.is_Rational:
        return str(value)
    decimals = f"≈ {float(value):.4g}"
    return decimals if value.is_Float or len(str(value)) > _LONG else f"{value} {decimals}"


def _at(value: Any, where: Any) -> str:
    """A number and where it is reached, or approached."""
    if value is None or where is None:
        return _number(value)
    place = f"u = {_number(where)}".replace("= ≈", "≈")
    return f"{_number(value)}, {'towards' if where.is_infinite else 'at'} {place}"


def _support(intervals: Sequence[tuple[Any, Any]] | None) -> str:
    if intervals is None:
        return "cannot tell"
    said = [f"[{_number(low)}, {_number(high)}]" for low, high in intervals]
    return " and ".join(said).replace("[−∞, ∞]", "the whole line").replace("[−∞", "(−∞").replace("∞]", "∞)") or "empty"


def _symmetry(profile: Profile) -> str:
    if profile.even:
        return "even"
    if profile.symmetric:
        return f"about u = {_number(profile.centre)}"
    return "none" if profile.symmetric is False else "cannot tell"


def _facts(surrogate: Surrogate) -> list[tuple[str, str]]:
    parameters = ", ".join(f"{symbol} = {value}" for symbol, value in surrogate.parameters.items())
    facts = [
        ("parameters", parameters or "none"),
        ("sign", _sign(surrogate)),
        *_profile(surrogate),
        ("usual forward", surrogate.forward),
        ("source", surrogate.source),
        ("other names", ", ".join(surrogate.aliases)),
        ("note", surrogate.note),
    ]
    return [(term, value) for term, value in facts if value]
