"""Which torch calls are which activation, and what each key and value of `untie`'s mapping means.

A key is an activation (a name, an `Activation`, or a module class of the user's own); a value is what stands in for its
derivative (a surrogate or its name, ``"tied"``, or a list of these for one forward with many backwards).
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, lru_cache
from typing import Any, NamedTuple

import torch
from torch import nn

from ...errors import Refused
from ...surrogates.activation import Activation, Operation
from ...surrogates.activations import ACTIVATIONS
from ...surrogates.catalogue import SURROGATES
from ...surrogates.lookup import activation as find_activation
from ...surrogates.lookup import surrogate as find_surrogate
from ...surrogates.surrogate import Surrogate
from .function import Factor, factor

TIED = "tied"


class Bound(NamedTuple):
    """The K factors of a call, and what they need of it."""

    factors: tuple[Factor, ...]
    needs_preactivation: bool
    random: bool
    needs_value: bool

    @classmethod
    def of(cls, factors: tuple[Factor, ...]) -> Bound:
        """These factors."""
        return cls(
            factors,
            any(each.constant is None for each in factors),
            any(each.random for each in factors),
            any(each.native is not None for each in factors),
        )


_NATIVE: Mapping[str, Callable[..., Any]] = {
    "logistic": torch.ops.aten.sigmoid_backward.default,
    "tanh": torch.ops.aten.tanh_backward.default,
}
"""torch's own steps back from the value of an activation; as accurate as the model's gradient without `untie`."""


@lru_cache(maxsize=256)
def _derivative(activation: str, parameters: tuple[tuple[str, Any], ...]) -> Surrogate:
    """The derivative of a catalogue entry: differentiating takes longer than a training step, hence the cache."""
    return ACTIVATIONS[activation].tied.at(**dict(parameters))


@dataclass(frozen=True)
class Rule:
    """One entry of the mapping: where, and the K surrogates to choose from (``"tied"`` waits for a call's parameters).

    Attributes:
        key: the activation's or module class's name, as tables print it.
        target: the activation or the module class.
        choices: K surrogates, or the word ``"tied"``.
    """

    key: str
    target: Activation | type[nn.Module]
    choices: tuple[Surrogate | str, ...]
    _bound: dict[tuple[Any, ...], Bound] = field(default_factory=dict, repr=False, compare=False)

    def bound(self, parameters: Mapping[str, Any]) -> Bound:
        """The K backward factors for a call with these activation parameters."""
        key = tuple(parameters.items())
        found = self._bound.get(key)
        if found is None:
            found = self._bound[key] = Bound.of(tuple(self._factor(choice, key) for choice in self.choices))
        return found

    def _factor(self, choice: Surrogate | str, parameters: tuple[Any, ...]) -> Factor:
        if not isinstance(choice, str):
            return factor(choice)
        tied = factor(self._tied(parameters))
        known = ACTIVATIONS.get(self.key) is self.target
        return replace(tied, native=_NATIVE.get(self.key)) if known else tied

    def _tied(self, parameters: tuple[Any, ...]) -> Surrogate:
        assert isinstance(self.target, Activation)
        if ACTIVATIONS.get(self.target.name) is self.target:
            return _derivative(self.target.name, parameters)
        return self.target.tied.at(**dict(parameters))

    @property
    def labels(self) -> tuple[str, ...]:
        """The K surrogates' names."""
        return tuple(label(choice) for choice in self.choices)


def label(choice: Surrogate | str) -> str:
    """A surrogate's name, with those parameters that are not the catalogue's; `lookup` reads it back.

    >>> from downslope import SURROGATES
    >>> label(SURROGATES["triangle"]), label(SURROGATES["triangle"].at(width=2))
    ('triangle', 'triangle(width=2)')
    """
    if isinstance(choice, str):
        return choice
    entry = SURROGATES.get(choice.name)
    usual = dict(entry.parameters.items()) if entry else {}
    given = {str(key): value for key, value in choice.parameters.items() if entry and usual.get(key) != value}
    return f"{choice.name}({', '.join(f'{key}={value}' for key, value in given.items())})" if given else choice.name


def rules(replacements: Any) -> tuple[Rule, ...]:
    """The mapping of `untie` with every name looked up and every list as long as the longest.

    Raises:
        Refused: the mapping is empty or no mapping, a name is unknown (near names are listed), two keys are one
            activation, an activation has no torch operation, or two lists have different lengths.
    """
    if not isinstance(replacements, Mapping) or not replacements:
        raise Refused(
            f"untie(model, {replacements!r}): say what replaces what, as a non-empty mapping from activations to "
            f'surrogates, e.g. untie(model, {{"relu": "constant"}}).'
        )
    targets = [_target(key) for key in replacements]
    choices = [_choices(target, value) for target, value in zip(targets, replacements.values(), strict=True)]
    names = [_name(target) for target in targets]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice:
        raise Refused(f"untie: two keys of the mapping are the activation {twice!r}; give it one value.")
    lengths = {name: len(listed) for name, listed in zip(names, choices, strict=True) if len(listed) > 1}
    if len(set(lengths.values())) > 1:
        raise Refused(
            f"untie: the lists of surrogates have different lengths "
            f"({', '.join(f'{key}: {count}' for key, count in lengths.items())}). "
            f"Backward k takes the k-th of every list, so give lists of one length, or a single surrogate."
        )
    count = max(lengths.values(), default=1)
    return tuple(
        Rule(name, target, listed * count if len(listed) == 1 else listed)
        for name, target, listed in zip(names, targets, choices, strict=True)
    )


def _target(key: Any) -> Activation | type[nn.Module]:
    if isinstance(key, type) and issubclass(key, nn.Module):
        return key
    found = find_activation(key)
    entry = ACTIVATIONS.get(found.name)
    if entry is not None and entry.operations == found.operations and entry.parameters != found.parameters:
        raise Refused(
            f"untie(model, {{{key!r}: ...}}): the parameters of an activation are those of each call in the model, so "
            f"they are no part of a key. Write {found.name!r}, which stands for all its calls."
        )
    if not found.operations:
        raise Refused(
            f"untie: no torch operation computes {found.name!r}, so there is nothing to replace. Give the key as a "
            f"module class of your own, or an Activation with operations."
        )
    return found


def _choices(target: Activation | type[nn.Module], value: Any) -> tuple[Surrogate | str, ...]:
    listed = list(value) if isinstance(value, Sequence) and not isinstance(value, str) else [value]
    if not listed:
        raise Refused(f"untie: the list of surrogates for {_name(target)!r} is empty.")
    return tuple(_choice(target, each) for each in listed)


def _choice(target: Activation | type[nn.Module], value: Any) -> Surrogate | str:
    tied = isinstance(value, str) and value.strip().casefold() == TIED
    if not tied:
        return find_surrogate(value, None if isinstance(target, type) else target)
    if isinstance(target, type):
        raise Refused(
            f'untie(model, {{{target.__name__}: "tied"}}): {target.__name__} has no formula to take a derivative of. '
            f"Leave it out of the mapping, and it keeps its own backward."
        )
    return TIED


def _name(target: Activation | type[nn.Module]) -> str:
    return target.__name__ if isinstance(target, type) else target.name


@dataclass(frozen=True)
class Known:
    """A torch callable that may be a call of an activation."""

    name: str
    operation: Operation
    inplace_at: int | None

    def in_place(self, rest: tuple[Any, ...], kwargs: Mapping[str, Any]) -> bool:
        """Whether a call with these arguments after the input overwrites the input."""
        if self.operation.in_place or (kwargs and kwargs.get("inplace")):
            return True
        return self.inplace_at is not None and len(rest) > self.inplace_at and bool(rest[self.inplace_at])

    @property
    def always(self) -> bool:
        """Whether the callable is this activation unless its arguments say otherwise (a clamp is not)."""
        return self.operation.parameters() is not None


Table = Mapping[Callable[..., Any], tuple[Known, ...]]


def known(activations: Sequence[Activation]) -> Table:
    """Every callable of the given activations and of the catalogue; the given ones come first."""
    if not activations:
        return _catalogue()
    return _table((*activations, *ACTIVATIONS.values()))


@cache
def _catalogue() -> Table:
    return _table(tuple(ACTIVATIONS.values()))


def _table(activations: tuple[Activation, ...]) -> Table:
    table: dict[Callable[..., Any], tuple[Known, ...]] = {}
    for activation in dict.fromkeys(activation.name for activation in activations):
        value = next(each for each in activations if each.name == activation)
        for operation in value.operations:
            entry = Known(value.name, operation, _inplace_position(operation.function))
            table[operation.function] = (*table.get(operation.function, ()), entry)
    return table


def _inplace_position(function: Callable[..., Any]) -> int | None:
    """Where ``inplace`` stands among the arguments after the input, for those functions written in Python."""
    if not inspect.isfunction(function):
        return None
    names = list(inspect.signature(function).parameters)
    return names.index("inplace") - 1 if "inplace" in names else None
