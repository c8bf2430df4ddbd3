"""The chapters of the theory, and every claim in them, found by looking at module values."""

from __future__ import annotations

from types import ModuleType

from ..claim import Claim
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
}


def _collected() -> dict[str, tuple[Claim, ...]]:
    """Each module's claims as they stand there; a claim imported from an earlier module belongs to that one."""
    seen: set[str] = set()
    chapters: dict[str, tuple[Claim, ...]] = {}
    for name, modules in _MODULES.items():
        values = [value for module in modules for value in vars(module).values()]
        claims = {value.id: value for value in values if isinstance(value, Claim) and value.id not in seen}
        seen |= claims.keys()
        chapters[name] = tuple(claims.values())
    return chapters


CHAPTERS: dict[str, tuple[Claim, ...]] = _collected()
"""Each chapter's claims, chapters in reading order."""

CLAIMS: dict[str, Claim] = {claim.id: claim for claims in CHAPTERS.values() for claim in claims}
"""Every claim, by id."""
