"""Installing: the wheel is one import package that runs anywhere; versions are pinned; an old Python is refused."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import zipfile
from importlib.metadata import requires
from pathlib import Path

import downslope as ds
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name


def run(*command: str | Path, cwd: Path, **environment: str) -> str:
    done = subprocess.run(
        list(map(str, command)), cwd=cwd, env=os.environ | environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(root: Path, rooms: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy: setuptools leaves its scratch folders beside the sources."""
    source, dist = tmp_path_factory.mktemp("source") / "downslope", tmp_path_factory.mktemp("dist")
    source.mkdir()
    for file in [path for path in root.iterdir() if path.is_file()]:
        shutil.copy(file, source)
    for room in rooms:
        shutil.copytree(root / room, source / room, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    pip = (sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-index", "--no-build-isolation")
    run(*pip, "--wheel-dir", dist, ".", cwd=source)
    (built,) = dist.iterdir()
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder into which the wheel alone is installed."""
    target = tmp_path_factory.mktemp("installed")
    pip = (sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index")
    run(*pip, "--target", target, wheel, cwd=target)
    return target


def test_the_wheel_holds_one_import_package(wheel: Path) -> None:
    tops = {Path(name).parts[0] for name in zipfile.ZipFile(wheel).namelist()}
    assert tops == {"downslope", f"downslope-{ds.__version__}.dist-info"}


def test_the_wheel_holds_the_rooms_whole_and_nothing_else(wheel: Path, root: Path, rooms: tuple[str, ...]) -> None:
    files = [path for room in rooms for path in (root / room).rglob("*") if path.is_file()]
    kept = [path for path in files if path.suffix != ".pyc" and not path.name.startswith(".")]
    wanted = {path.relative_to(root).as_posix() for path in [*kept, *root.glob("*.py"), root / "py.typed"]}
    held = {name.removeprefix("downslope/") for name in zipfile.ZipFile(wheel).namelist() if "dist-info" not in name}
    assert held == wanted


def test_it_runs_as_a_module_outside_the_repository(installed: Path, tmp_path: Path) -> None:
    where = "import downslope; print(downslope.__file__)"
    assert str(installed) in run(sys.executable, "-c", where, cwd=tmp_path, PYTHONPATH=str(installed))
    shown = run(sys.executable, "-m", "downslope", "--help", cwd=tmp_path, PYTHONPATH=str(installed))
    assert "Usage:" in shown


def test_the_console_script_is_the_same(installed: Path, tmp_path: Path) -> None:
    script = run(installed / "bin" / "downslope", "--help", cwd=tmp_path, PYTHONPATH=str(installed))
    module = run(sys.executable, "-m", "downslope", "--help", cwd=tmp_path, PYTHONPATH=str(installed))
    assert script.split() == module.replace("python -m downslope", "downslope").split()


def needed(name: str, extra: str = "") -> set[str]:
    """The names of all installed distributions that one needs, directly or not; torch's CUDA libraries aside."""
    found: set[str] = set()
    asked = [(name, extra)]
    while asked:
        name, extra = asked.pop()
        for line in requires(name) or []:
            wanted = Requirement(line)
            here = wanted.marker is None or wanted.marker.evaluate({"extra": extra})
            if here and canonicalize_name(wanted.name) not in found and not re.match("nvidia|cuda|triton", wanted.name):
                found.add(canonicalize_name(wanted.name))
                asked += [(wanted.name, inner) for inner in {"", *wanted.extras}]
    return found


def test_every_dependency_is_pinned(root: Path) -> None:
    lines = [line for line in (root / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+==[0-9][^ ]*", line) for line in lines)
    pinned = {canonicalize_name(line.split("==")[0]) for line in lines}
    assert needed("downslope", "dev") | {"pip", "setuptools"} <= pinned


def test_an_old_python_is_refused_by_name(root: Path, tmp_path: Path) -> None:
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(root / name, tmp_path)
    old = tmp_path / "python3.10"
    old.write_text(
        f"#!/bin/sh\nexec {sys.executable} -c 'import sys; sys.version_info = (3, 10, 13); exec(sys.argv[1])' \"$2\"\n"
    )
    old.chmod(0o755)
    done = subprocess.run(["make", f"PYTHON={old}", "test"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode != 0
    assert f"downslope needs Python 3.11 or newer, and {old} is 3.10." in done.stderr
    assert not (tmp_path / ".venv").exists()
