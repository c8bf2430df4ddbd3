"""The public face: the names that were agreed, nothing else, and cheap to import."""

from __future__ import annotations

import ast
import importlib
import json
import pkgutil
import subprocess
import sys
from types import ModuleType

import downslope as ds
import pytest

FACE = {
    *("Activation", "ACTIVATIONS", "Surrogate", "SURROGATES", "u"),
    *("untie", "deviation", "measure", "descent_margin", "certify"),
    *("adapt", "adapt_factor", "adapt_rule", "check_surrogate", "parametrize_with_checks", "strategies"),
    *("Claim", "CLAIMS", "verify", "__version__"),
}
TO_COME = {
    *("untie", "deviation", "measure", "descent_margin", "certify"),
    *("adapt", "adapt_factor", "adapt_rule", "check_surrogate", "parametrize_with_checks", "strategies"),
}
"""What the face is still to get: a name that arrives leaves this set."""

HEAVY = {"dask", "distributed", "hypothesis", "jinja2", "matplotlib", "pandas", "pyarrow", "seaborn", "sklearn"}
"""Libraries that load where they are used, never with `import downslope`."""


def names_of(module: ModuleType) -> set[str]:
    """The names that a module offers: its own submodules and private names aside."""
    submodules = {found.name for found in pkgutil.iter_modules(module.__path__)}
    public = {name for name in vars(module) if not name.startswith("_")} | {"__version__"}
    return public - submodules


def effects(source: str) -> list[str]:
    """The statements of a module that act when it is imported, rather than define: calls, and writes into objects."""
    found = []
    for node in ast.parse(source).body:
        targets = node.targets if isinstance(node, ast.Assign) else []
        is_text = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        if (isinstance(node, ast.Expr) and not is_text) or any(
            not isinstance(t, ast.Name | ast.Tuple) for t in targets
        ):
            found.append(f"line {node.lineno}: {ast.unparse(node)}")
        elif isinstance(node, ast.For | ast.While | ast.With | ast.AugAssign | ast.Delete):
            found.append(f"line {node.lineno}: {type(node).__name__}")
    return found


def test_the_face_offers_what_was_agreed() -> None:
    assert names_of(ds) == FACE - TO_COME


def test_the_face_is_nothing_but_re_exports(sources: dict[str, str]) -> None:
    tree = ast.parse(sources["__init__.py"])
    assert ast.get_docstring(tree)
    rest = tree.body[1:]
    imports = [node for node in rest if isinstance(node, ast.ImportFrom)]
    assert all(alias.asname == alias.name for node in imports for alias in node.names)
    assert [ast.unparse(node) for node in rest if node not in imports] == [f"__version__ = {ds.__version__!r}"]


def test_importing_acts_on_nothing(sources: dict[str, str]) -> None:
    # typer collects commands by decorators, which are no statements of their own; `__main__` ends in its own call.
    assert {file: effects(text) for file, text in sources.items() if effects(text)} == {}


@pytest.mark.parametrize(
    "planted", ["REGISTRY['mine'] = 1", "register(print)", "torch.use = 1", "NAMES += [1]", "for x in y: x.z = 1"]
)
def test_a_planted_effect_is_caught(planted: str) -> None:
    assert len(effects(f'"""A docstring."""\n\nfrom x import y\n\nZ = y + 1\n\n{planted}\n')) == 1


def test_collections_do_not_grow_with_imports() -> None:
    before = {name: set(getattr(ds, name)) for name in FACE - TO_COME if name.isupper()}
    for found in pkgutil.walk_packages(ds.__path__, "downslope."):
        importlib.import_module(found.name)
    assert before == {name: set(getattr(ds, name)) for name in before}
    assert before.keys() >= {"ACTIVATIONS", "SURROGATES"}


def loaded_by(statement: str) -> set[str]:
    """The top-level modules in `sys.modules` of a fresh interpreter after a statement."""
    program = f"import json, sys\n{statement}\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return {name.split(".")[0] for name in json.loads(done.stdout)}


def test_importing_stays_cheap() -> None:
    assert loaded_by("import downslope") & HEAVY == set()


def test_a_heavy_import_is_noticed() -> None:
    assert loaded_by("import downslope, jinja2") & HEAVY == {"jinja2"}
