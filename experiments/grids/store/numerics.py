"""The code that a number depends on, as one digest: it tells code that computes otherwise, at one version too.

In it is all of `analysis` and `experiments` that may enter a run: data, networks, engines, surrogates, gradients and
what is measured of them. Left out is what only runs, keeps, tests, says or draws, and the catalogue of grids: which
cells a grid has stands in the keys of its jobs. That may change, and results stay what they are.

What is hashed of a file is its syntax tree, so comments, docstrings and line breaks do not count. Another minor version
of Python may give another digest, as it may give other numbers: `sum` of floats rounds otherwise from 3.12 on.
"""

from __future__ import annotations

import ast
from functools import cache
from hashlib import blake2b
from pathlib import Path
from typing import Any

_ROOMS = ("analysis", "experiments")
_BESIDE = (
    "analysis/files.py",
    "analysis/gradients/given/",
    "analysis/gradients/margin/table.py",
    "analysis/gradients/streaming.py",
    "analysis/importing.py",
    "analysis/surrogates/checks/",
    "analysis/surrogates/showing/",
    "analysis/surrogates/strategies/",
    "experiments/benchmarks/",
    "experiments/studies/",
    "experiments/grids/catalogue.py",
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
    """16 hexadecimal digits of the names and code of those sources, as they stood when they were first asked for."""
    return digest(Path(__file__).resolve().parents[3])


def digest(package: Path) -> str:
    """The digest of the package in this folder."""
    found = blake2b(digest_size=8)
    sources = (file.relative_to(package) for room in _ROOMS for file in (package / room).rglob("*.py"))
    for name in sorted(source.as_posix() for source in sources):
        if not name.startswith(_BESIDE):
            tree = ast.parse((package / name).read_bytes())
            _strip(tree)
            found.update(name.encode() + b"\0" + ast.dump(tree).encode() + b"\0")
    return found.hexdigest()


def _strip(block: Any) -> None:
    """Take the docstrings out of a module, class or function, of attributes too, and of what is defined in it."""
    if isinstance(getattr(block, "body", None), list):
        block.body = [each for each in block.body if not _only_said(each)]
        for each in block.body:
            _strip(each)


def _only_said(statement: ast.stmt) -> bool:
    return (
        isinstance(statement, ast.Expr)
        and isinstance(statement.value, ast.Constant)
        and isinstance(statement.value.value, str)
    )
