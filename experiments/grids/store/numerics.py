"""The sources that a number depends on, as one digest: it tells code that computes otherwise, at one version too.

What only runs, keeps, tests, says or draws is left out: it may change, and results stay what they are.
"""

from __future__ import annotations

from functools import cache
from hashlib import blake2b
from pathlib import Path

_ROOMS = ("analysis", "experiments")
_BESIDE = (
    "experiments/benchmarks/",
    "experiments/studies/",
    "experiments/grids/command/",
    "experiments/grids/results/",
    "experiments/grids/running/",
    "experiments/grids/store/",
    "experiments/download.py",  # what it brings is checked by its sum
    "experiments/present.py",
    "experiments/study.py",
)


@cache
def numerics() -> str:
    """16 hexadecimal digits of the names and bytes of those sources, as they stood when they were first asked for."""
    return digest(Path(__file__).resolve().parents[3])


def digest(package: Path) -> str:
    """The digest of the package in this folder."""
    found = blake2b(digest_size=8)
    sources = (file.relative_to(package) for room in _ROOMS for file in (package / room).rglob("*.py"))
    for name in sorted(source.as_posix() for source in sources):
        if not name.startswith(_BESIDE):
            found.update(name.encode() + b"\0" + (package / name).read_bytes() + b"\0")
    return found.hexdigest()
