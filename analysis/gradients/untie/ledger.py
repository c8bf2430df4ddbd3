"""What an untied model did: the places replaced, the activations that ran as they are, and what was not reached."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import nn
from torch.overrides import resolve_name

from .function import Tally
from .matching import Rule


@dataclass(frozen=True)
class Place:
    """One kind of call that was replaced.

    Attributes:
        module: path of the innermost module that makes the call, as in ``named_modules`` ("" for the model itself).
        operation: the torch callable, e.g. ``torch.nn.functional.relu``, or the user's module class.
        activation: the key of the mapping.
        surrogates: the names of the surrogates that stand in for its derivative.
        forward: how many calls were replaced.
        backward: how many times a gradient (or a tangent) went through them.
    """

    module: str
    operation: str
    activation: str
    surrogates: tuple[str, ...]
    forward: int
    backward: int


@dataclass(frozen=True)
class Unreached:
    """An activation that was asked for and kept its own derivative.

    Attributes:
        module: path of the module, where it is known.
        activation: the key of the mapping.
        reason: what hides it.
    """

    module: str
    activation: str
    reason: str

    def __str__(self) -> str:
        return f"{self.activation} in {self.module or 'the model'}: {self.reason}"


@dataclass
class Ledger:
    """Counts by place, in the order in which the places were first met.

    Attributes:
        model: the model; a plain callable has no paths, and its modules go by their types.
        tallies: by module, operation and key.
        native: how often each activation of the catalogue ran that was not asked for.
        unreached: what kept its own derivative, each once, in order.
    """

    model: Any
    tallies: dict[tuple[nn.Module | None, Any, str], tuple[Rule, Tally]] = field(default_factory=dict)
    native: Counter[str] = field(default_factory=Counter)
    unreached: dict[Unreached, None] = field(default_factory=dict)

    def tally(self, module: nn.Module | None, operation: Any, rule: Rule) -> Tally:
        """The counter of one place."""
        key = (module, operation, rule.key)
        if key not in self.tallies:
            self.tallies[key] = (rule, Tally())
        return self.tallies[key][1]

    def note(self, module: nn.Module | None, activation: str, reason: str) -> None:
        """Remembers what kept its own derivative."""
        self.unreached.setdefault(Unreached(self._path(module), activation, reason))

    @property
    def places(self) -> tuple[Place, ...]:
        """What was replaced so far."""
        return tuple(
            Place(self._path(module), name(operation), key, rule.labels, tally.forward, tally.backward)
            for (module, operation, key), (rule, tally) in self.tallies.items()
        )

    def _path(self, module: nn.Module | None) -> str:
        if module is None:
            return ""
        members = self.model.named_modules() if isinstance(self.model, nn.Module) else ()
        return next((path for path, member in members if member is module), type(module).__name__)

    def missing(self, rules: Iterable[Rule]) -> list[str]:
        """Keys that matched no call so far."""
        met = {key for _, _, key in self.tallies}
        return [rule.key for rule in rules if rule.key not in met]


def name(operation: Any) -> str:
    """A torch callable as its users write it.

    >>> import torch
    >>> name(torch.nn.functional.relu), name(torch.Tensor.relu_), name(torch.ops.aten.relu)
    ('torch.nn.functional.relu', 'torch.Tensor.relu_', 'torch.ops.aten.relu')
    """
    if isinstance(operation, type):
        return operation.__name__
    text = resolve_name(operation) or str(operation)
    if text.startswith("aten."):
        return f"torch.ops.{text}"
    return text if "<" not in text else getattr(operation, "__name__", text)


def table(places: Sequence[Place]) -> str:
    """The places as aligned text."""
    rows = [("module", "operation", "activation", "surrogate", "forward", "backward")]
    for place in places:
        surrogates = ", ".join(dict.fromkeys(place.surrogates))
        shown = (place.module or "(model)", place.operation, place.activation, surrogates)
        rows.append((*shown, str(place.forward), str(place.backward)))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)
