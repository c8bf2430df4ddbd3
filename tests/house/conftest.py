"""The sources of the package, as text: what the house's rules are read from."""

from __future__ import annotations

import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository's root, which is the folder of the package `downslope`."""
    return Path(__file__).parents[2]


@pytest.fixture(scope="session")
def script(root: Path) -> Callable[[str], dict[str, Any]]:
    """Gives a script of docs/ by its name, as a namespace; its neighbours can be imported, as when Python runs it."""

    def loaded(name: str) -> dict[str, Any]:
        with pytest.MonkeyPatch.context() as patch:
            patch.syspath_prepend(root / "docs")
            return runpy.run_path(str(root / "docs" / f"{name}.py"))

    return loaded


@pytest.fixture(scope="session")
def rooms() -> tuple[str, ...]:
    """The folders at the root that belong to the package."""
    return ("analysis", "experiments", "paper_figures", "proofs")


@pytest.fixture(scope="session")
def sources(root: Path, rooms: tuple[str, ...]) -> dict[str, str]:
    """Every Python file of the package: path from the root, with slashes -> text."""
    files = [*root.glob("*.py"), *(path for room in rooms for path in (root / room).rglob("*.py"))]
    return {path.relative_to(root).as_posix(): path.read_text(encoding="utf-8") for path in sorted(files)}
