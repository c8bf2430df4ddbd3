"""The chapters of the theory, and every claim in them, found by looking at module values."""

from __future__ import annotations

from types import ModuleType

from ..claim import Claim
from .angles import batch, depth, direction

_MODULES: dict[str, ModuleType] = {
    "direction": direction,
    "batch": batch,
    "depth": depth,
}


def _collected() -> dict[str, tuple[Claim, ...]]:
    """Each module's claims as they stand there; a claim imported from an earlier chapter belongs to that one."""
    seen: set[str] = set()
    chapters: dict[str, tuple[Claim, ...]] = {}
    for name, module in _MODULES.items():
        claims = tuple(value for value in vars(module).values() if isinstance(value, Claim) and value.id not in seen)
        seen |= {claim.id for claim in claims}
        chapters[name] = claims
    return chapters


CHAPTERS: dict[str, tuple[Claim, ...]] = _collected()
"""Each chapter's claims, chapters in reading order."""

CLAIMS: dict[str, Claim] = {claim.id: claim for claims in CHAPTERS.values() for claim in claims}
"""Every claim, by id."""
