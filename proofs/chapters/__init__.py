"""The chapters of the theory, and every claim in them, found by looking at module values."""

from __future__ import annotations

from types import ModuleType

from ..claim import Claim
from . import catalogue
from .angles import batch, depth, direction, published
from .bounds import certificate, conditioning, worst
from .dynamics import descent, field, margins, perceptron
from .expectations import jamming, meanfield, moments, smoothing, ste

_MODULES: dict[str, tuple[ModuleType, ...]] = {
    "direction": (direction, published),
    "batch": (batch, worst),
    "depth": (depth, conditioning),
    "jamming": (jamming, moments),
    "perceptron": (perceptron, margins),
    "field": (field,),
    "descent": (descent,),
    "smoothing": (smoothing,),
    "ste": (ste,),
    "meanfield": (meanfield,),
    "certificate": (certificate,),
    "catalogue": (catalogue,),
}


def _collected() -> dict[str, tuple[Claim, ...]]:
    """Each module's claims as they stand there, singly or in tuples; an imported one belongs to its own module."""
    seen: set[str] = set()
    chapters: dict[str, tuple[Claim, ...]] = {}
    for name, modules in _MODULES.items():
        values = [value for module in modules for value in vars(module).values()]
        groups = [value if isinstance(value, tuple) else (value,) for value in values]
        claims = {
            each.id: each for group in groups for each in group if isinstance(each, Claim) and each.id not in seen
        }
        seen |= claims.keys()
        chapters[name] = tuple(claims.values())
    return chapters


CHAPTERS: dict[str, tuple[Claim, ...]] = _collected()
"""Each chapter's claims, chapters in reading order."""

CLAIMS: dict[str, Claim] = {claim.id: claim for claims in CHAPTERS.values() for claim in claims}
"""Every claim, by id."""
