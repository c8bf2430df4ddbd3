"""The rooms are the packages: each listed, each small, each imported once, all of one version."""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path

import downslope as ds
import pytest

LINES = 350
MODULES = 7
NOT_THE_PACKAGE = {"tests", "docs", "build", "dist"}


@pytest.fixture(scope="module")
def listed(root: Path) -> list[str]:
    return tomllib.loads((root / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]


def packages_of(files: Iterable[str]) -> list[str]:
    """The dotted name of each folder that holds a Python file."""
    return sorted({".".join(("downslope", *Path(file).parent.parts)) for file in files})


def too_long(sources: Mapping[str, str]) -> list[str]:
    return [file for file, text in sources.items() if len(text.splitlines()) > LINES]


def too_full(sources: Mapping[str, str]) -> list[str]:
    """The folders with more than `MODULES` modules, their `__init__.py` aside."""
    folders = [Path(file).parent.as_posix() for file in sources if not file.endswith("__init__.py")]
    return sorted({folder for folder in folders if folders.count(folder) > MODULES})


def test_the_list_in_pyproject_is_the_folders(listed: list[str], sources: dict[str, str]) -> None:
    assert sorted(listed) == packages_of(sources)


def test_a_forgotten_folder_is_noticed(listed: list[str], sources: dict[str, str]) -> None:
    assert packages_of([*sources, "analysis/planted/module.py"]) != sorted(listed)


def test_every_package_has_its_init(listed: list[str], sources: dict[str, str]) -> None:
    inits = {"/".join((*package.split(".")[1:], "__init__.py")) for package in listed}
    assert inits <= set(sources)


def test_no_python_stands_outside_the_rooms(root: Path, rooms: tuple[str, ...]) -> None:
    folders = {path.name for path in root.iterdir() if path.is_dir() and not path.name.startswith((".", "_"))}
    strays = folders - set(rooms) - NOT_THE_PACKAGE
    assert [name for name in strays if any((root / name).rglob("*.py"))] == []


def test_tests_are_no_package(root: Path) -> None:
    assert list((root / "tests").rglob("__init__.py")) == []


def test_the_root_is_imported_once(root: Path) -> None:
    face = (root / "__init__.py").resolve()
    loaded = {
        name
        for name, module in list(sys.modules.items())
        if getattr(module, "__file__", None) and Path(str(module.__file__)).resolve() == face
    }
    assert loaded == {"downslope"}


def test_no_file_is_long(sources: dict[str, str]) -> None:
    assert too_long(sources) == []


def test_no_folder_is_full(sources: dict[str, str]) -> None:
    assert too_full(sources) == []


def test_a_long_file_and_a_full_folder_are_noticed() -> None:
    assert too_long({"analysis/a.py": "\n" * 351, "analysis/b.py": "\n" * 350}) == ["analysis/a.py"]
    assert too_full({f"proofs/m{i}.py": "" for i in range(8)} | {"analysis/a.py": ""}) == ["proofs"]


def test_the_version_is_said_once(root: Path) -> None:
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    assert "version" not in project
    assert "version" in project["dynamic"]
    assert f"\nversion: {ds.__version__}\n" in (root / "CITATION.cff").read_text()
    assert f"## {ds.__version__}" in (root / "CHANGELOG.md").read_text()


def test_the_package_is_typed(root: Path) -> None:
    assert (root / "py.typed").is_file()
