"""Who may import whom, read from the import statements; a planted violation is caught by the same function."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath

import pytest

MAY_IMPORT = {
    "analysis": {"analysis"},
    "proofs": {"proofs", "analysis"},
    "experiments": {"experiments", "analysis"},
    "paper_figures": {"paper_figures", "analysis", "proofs"},
}
"""The rooms, and into which of them each may reach. The two files at the root join them all."""

LIVES_IN = {
    "sympy": ("analysis/surrogates/", "proofs/"),
    "torch": ("analysis/", "experiments/", "proofs/replay.py"),
    "matplotlib": ("paper_figures/",),
    "seaborn": ("paper_figures/",),
}
"""The libraries that have a home: the paths below which they may be imported."""


def absolute_imports(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """(line, dotted name) of each absolute import, those by `import_module` of a constant included."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield node.lineno, node.module or ""
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("import_module", "__import__")):
            yield from ((node.lineno, arg.value) for arg in node.args[:1] if isinstance(arg, ast.Constant))


def relative_imports(path: str, tree: ast.AST) -> Iterator[tuple[int, tuple[str, ...]]]:
    """(line, path from the root) of each relative import; what is imported from the root itself stands alone."""
    package = PurePosixPath(path).parent.parts
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = package[: len(package) - node.level + 1]
            target = (*base, *(node.module or "").split(".")) if node.module else base
            yield from ((node.lineno, (*target, alias.name)) for alias in node.names)


def violations(sources: Mapping[str, str]) -> list[str]:
    """Each import that the house forbids, as `path:line: reason`."""
    found: list[str] = []
    for path, text in sources.items():
        tree = ast.parse(text)
        room = PurePosixPath(path).parts[0]
        for line, name in absolute_imports(tree):
            library = name.split(".")[0]
            if library == "downslope" or library in MAY_IMPORT:
                found.append(f"{path}:{line}: imports {name} absolutely")
            elif not path.startswith(LIVES_IN.get(library, ("",))):
                found.append(f"{path}:{line}: imports {library}, which lives in {' and '.join(LIVES_IN[library])}")
        for line, target in relative_imports(path, tree):
            if room in MAY_IMPORT and target[0] not in MAY_IMPORT[room] | {"__version__"}:
                found.append(f"{path}:{line}: {room} imports {target[0]}")
    return found


def test_the_house_holds_its_directions(sources: dict[str, str]) -> None:
    assert violations(sources) == []


@pytest.mark.parametrize(
    ("path", "text", "reason"),
    [
        ("analysis/a.py", "from ..proofs import claim", "analysis imports proofs"),
        ("analysis/a.py", "from .. import proofs", "analysis imports proofs"),
        ("analysis/a.py", "from .. import SURROGATES", "analysis imports SURROGATES"),
        ("analysis/gradients/a.py", "from ...experiments.data import digits", "analysis imports experiments"),
        ("proofs/a.py", "def f():\n    from ..experiments import data", "proofs imports experiments"),
        ("experiments/a.py", "from ..proofs.claim import Claim", "experiments imports proofs"),
        ("paper_figures/a.py", "from ..experiments import training", "paper_figures imports experiments"),
        ("paper_figures/a.py", "from ..__main__ import app", "paper_figures imports __main__"),
        ("analysis/a.py", "import downslope.analysis", "imports downslope.analysis absolutely"),
        ("__main__.py", "from proofs import claim", "imports proofs absolutely"),
        ("experiments/a.py", "import sympy as sp", "imports sympy"),
        ("analysis/gradients/a.py", "from sympy.stats import Normal", "imports sympy"),
        ("paper_figures/a.py", "import torch", "imports torch"),
        ("proofs/depth.py", "import torch.nn.functional as F", "imports torch"),
        ("analysis/a.py", "def f():\n    import matplotlib.pyplot as plt", "imports matplotlib"),
        ("__main__.py", "import importlib\nimportlib.import_module('seaborn')", "imports seaborn"),
    ],
)
def test_a_planted_import_is_caught(path: str, text: str, reason: str) -> None:
    (found,) = violations({path: text})
    assert found.startswith(f"{path}:")
    assert reason in found


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("analysis/gradients/a.py", "from ..surrogates.symbols import u"),
        ("analysis/gradients/a.py", "from ... import __version__"),
        ("proofs/a.py", "from ..analysis.surrogates import symbols\nimport sympy"),
        ("paper_figures/a.py", "from ..proofs.claim import Claim\nimport seaborn"),
        ("experiments/a.py", "from . import data\nimport torch"),
        ("__main__.py", "from .experiments import data\nfrom .proofs import claim"),
    ],
)
def test_an_allowed_import_is_let_through(path: str, text: str) -> None:
    assert violations({path: text}) == []
