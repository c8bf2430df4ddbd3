"""The networks that are trained and measured, one entry each: an architecture, its data and the recipe to train it."""

from __future__ import annotations

from collections.abc import Iterator
from types import ModuleType

from ...analysis.errors import Refused, near
from . import discrete, images, perceptrons, sequences
from .entry import LOSSES as LOSSES
from .entry import Network as Network
from .entry import Recipe as Recipe
from .perceptrons import MLP_DIGITS as MLP_DIGITS
from .perceptrons import multilayer as multilayer


def _entries(*families: ModuleType) -> Iterator[Network]:
    """The entries that these modules hold, by themselves or in tuples."""
    for family in families:
        for value in vars(family).values():
            listed = value if isinstance(value, tuple) else (value,)
            yield from (each for each in listed if isinstance(each, Network))


NETWORKS: dict[str, Network] = {entry.name: entry for entry in _entries(perceptrons, discrete, images, sequences)}
"""Every network, by name."""


def network(name: str) -> Network:
    """The entry of that name.

    Raises:
        Refused: there is none of that name.
    """
    if name not in NETWORKS:
        raise Refused(f"there is no network {name!r}: {near(name, NETWORKS)}.")
    return NETWORKS[name]
