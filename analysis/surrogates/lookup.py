"""From what a user names to an object of the catalogue.

A name is a catalogue name or one of its aliases, whatever its case, ``-`` and ``_``, and may carry parameters:
``"triangle"``, ``"Piecewise-Quadratic"``, ``"triangle(width=2, height=1/3)"``. Text is matched and never evaluated.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from difflib import get_close_matches
from fractions import Fraction
from functools import cache
from typing import Any, TypeVar

from ..errors import Refused, near
from .activation import Activation
from .activations import ACTIVATIONS
from .catalogue import SURROGATES
from .surrogate import Surrogate

TIED = "tied"
"""The name of every activation's own derivative."""

_CALL = re.compile(r"\s*([\w\-]+)\s*(?:\((.*)\)\s*)?")
_ARGUMENT = re.compile(r"\s*(\w+)\s*=\s*([+-]?[\d.]{1,40}(?:[eE][+-]?\d{1,3}|/\d{1,40})?)\s*")

Entry = TypeVar("Entry", Activation, Surrogate)


def surrogate(name: object, activation: object = None) -> Surrogate:
    """The surrogate of a name, or the `Surrogate` itself.

    Args:
        name: a `Surrogate`, or a catalogue name or alias, with parameters in brackets where others than the defaults
            are meant; or ``"tied"``, the derivative of ``activation``.
        activation: the forward that ``"tied"`` is tied to, as a name or an `Activation`.

    Raises:
        Refused: the name or a parameter is unknown (near names are listed), a parameter's value is no number or
            contradicts what the parameter is declared to be, or ``"tied"`` is asked for without an activation.

    >>> surrogate("Triangular(width=2)")
    Surrogate('triangle', height=1, width=2, centre=0)
    >>> surrogate("tied", activation="leaky-relu").factor
    Piecewise((1, u > 0), (slope, True))
    """
    if isinstance(name, Surrogate):
        return name
    if not isinstance(name, str):
        raise Refused(
            f"surrogate={name!r} is a {type(name).__name__}: give a catalogue name (downslope show lists them), or "
            f"Surrogate('name', factor=...) with a SymPy factor in downslope.u."
        )
    word, values = parsed(name)
    if _key(word) == TIED:
        if activation is None:
            raise Refused(
                "surrogate='tied' is the derivative of a forward, and there is no activation here to be tied to: say "
                "which, e.g. surrogate('tied', activation='relu') or ACTIVATIONS['relu'].tied."
            )
        return _at(_activation(activation).tied, values)
    return _at(_found(word, SURROGATES, "surrogate"), values)


def activation(name: object) -> Activation:
    """The activation of a name, or the `Activation` itself.

    Raises:
        Refused: as for `surrogate`.

    >>> activation("Sigmoid").name
    'logistic'
    """
    if isinstance(name, Activation):
        return name
    if not isinstance(name, str):
        raise Refused(
            f"activation={name!r} is a {type(name).__name__}: give a catalogue name, e.g. 'relu', or "
            f"Activation('name', formula) with a SymPy formula in downslope.u."
        )
    word, values = parsed(name)
    return _at(_found(word, ACTIVATIONS, "activation"), values)


_activation = activation  # `surrogate` has an argument of this name


def parsed(text: str) -> tuple[str, dict[str, Fraction]]:
    """The name in front of the brackets and the numbers in them.

    Raises:
        Refused: the text is no name, or its brackets hold something else than numbers by name.
    """
    call = _CALL.fullmatch(text)
    if call is None:
        raise Refused(f"{text!r} is no name: write e.g. 'triangle' or 'triangle(width=2)'.")
    values: dict[str, Fraction] = {}
    for part in (call[2] or "").split(",") if (call[2] or "").strip() else []:
        argument = _ARGUMENT.fullmatch(part)
        try:
            key, value = argument[1], Fraction(argument[2])  # type: ignore[index]
        except (TypeError, ValueError, ZeroDivisionError):
            raise Refused(
                f"{text!r}: {part.strip()!r} is not parameter=number, such as width=2, width=1e-3 or width=1/3."
            ) from None
        if key in values:
            raise Refused(f"{text!r} gives {key} twice.")
        values[key] = value
    return call[1], values


def base_name(text: str) -> str:
    """A name without its parameters.

    Raises:
        Refused: the text is no name, or its brackets hold something else than numbers by name.
    """
    return parsed(text)[0]


def spells(text: str, kind: str) -> bool:
    """Whether a name, its parameters aside, is one of the catalogue's of a kind ("surrogate" or "activation")."""
    word = _key(base_name(text))
    return word in _spellings(kind) or (word == TIED and kind == "surrogate")


def _at(entry: Entry, values: Mapping[str, Any]) -> Entry:
    return entry.at(**values) if values else entry


def _key(word: str) -> str:
    return re.sub(r"[-_]", "", word).casefold()


@cache
def _spellings(kind: str) -> dict[str, str]:
    """Each name and alias without case, ``-`` and ``_`` -> the entry's name."""
    entries: Mapping[str, Activation | Surrogate] = ACTIVATIONS if kind == "activation" else SURROGATES
    return {_key(word): name for name, entry in entries.items() for word in (*entry.aliases, name)}


def _found(word: str, entries: Mapping[str, Entry], kind: str) -> Entry:
    spellings = _spellings(kind)
    name = spellings.get(_key(word))
    if name is None:
        # A misspelt alias is answered with the name that it stands for.
        close = get_close_matches(_key(word), spellings, n=1)
        raise Refused(
            f"{kind} {word!r} is not in the catalogue; {near(spellings[close[0]] if close else word, entries)}"
        )
    return entries[name]
