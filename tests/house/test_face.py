"""The public face: the names that were agreed, nothing else, and cheap to import."""

from __future__ import annotations

import ast
import importlib
import json
import pkgutil
import subprocess
import sys
from collections.abc import Iterator
from types import ModuleType

import downslope as ds
import pytest

FACE = {
    *("Activation", "ACTIVATIONS", "Surrogate", "SURROGATES", "u"),
    *("untie", "deviation", "measure", "descent_margin", "certify"),
    *("Measuring", "along", "slice_of", "jamming", "meanfield"),
    *("adapt", "adapt_factor", "adapt_rule", "check_surrogate", "parametrize_with_checks", "strategies"),
    *("Claim", "CLAIMS", "verify", "__version__"),
}
HEAVY = {
    "dask",
    "distributed",
    "hypothesis",
    "jinja2",
    "matplotlib",
    "pandas",
    "pyarrow",
    "scipy",
    "seaborn",
    "sklearn",
}
"""Libraries that load where they are used, never with `import downslope`."""


def names_of(module: ModuleType) -> set[str]:
    """The names that a module offers: its own submodules and private names aside."""
    submodules = {found.name for found in pkgutil.iter_modules(module.__path__)}
    public = {name for name in vars(module) if not name.startswith("_")} | {"__version__"}
    return public - submodules


def effects(source: str) -> list[str]:
    """The statements of a module that act on something else when it is imported: calls, and writes into objects."""
    tree = ast.parse(source)
    own = set(made_here(tree))
    return [f"line {node.lineno}: {ast.unparse(node)}" for node in at_import(tree.body) if acts(node, own)]


def made_here(tree: ast.Module) -> Iterator[str]:
    """The names of values that a module makes for itself; another name of something imported is not one of them."""
    for node in tree.body:
        if isinstance(node, ast.Assign | ast.AnnAssign) and not isinstance(node.value, ast.Name | ast.Attribute):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            yield from (target.id for target in targets if isinstance(target, ast.Name))


def at_import(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """The statements that run on import: those of the module, and of its `with`, `for`, `if` and `try` blocks."""
    for node in body:
        if not (isinstance(node, ast.If) and ast.unparse(node.test) == "__name__ == '__main__'"):
            yield node
            for block in ("body", "orelse", "handlers", "finalbody"):
                if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                    yield from at_import(getattr(node, block, []))


def acts(node: ast.stmt, own: set[str]) -> bool:
    """Whether a statement calls something for its effect, or writes into what this module has not made."""
    if isinstance(node, ast.Expr):
        # A method of what the module has made, as `app.command()(grid)`, acts on nothing else.
        method = isinstance(node.value, ast.Call) and "." in ast.unparse(node.value.func)
        return not isinstance(node.value, ast.Constant) and not (method and ast.unparse(node).split(".")[0] in own)
    if isinstance(node, ast.Assign):
        into = [target for target in node.targets if not isinstance(target, ast.Name | ast.Tuple)]
    else:
        into = [node.target] if isinstance(node, ast.AugAssign) else []
    return any(ast.unparse(target).split(".")[0].split("[")[0] not in own for target in into)


def test_the_face_offers_what_was_agreed() -> None:
    assert names_of(ds) == FACE


def test_the_face_is_nothing_but_re_exports(sources: dict[str, str]) -> None:
    tree = ast.parse(sources["__init__.py"])
    assert ast.get_docstring(tree)
    rest = tree.body[1:]
    imports = [node for node in rest if isinstance(node, ast.ImportFrom)]
    assert all(alias.asname == alias.name for node in imports for alias in node.names)
    assert [ast.unparse(node) for node in rest if node not in imports] == [f"__version__ = {ds.__version__!r}"]


def test_importing_acts_on_nothing(sources: dict[str, str]) -> None:
    assert {file: effects(text) for file, text in sources.items() if effects(text)} == {}


@pytest.mark.parametrize(
    "planted",
    [
        "REGISTRY['mine'] = 1",
        "register(print)",
        "y.register(print)",
        "torch.use = 1",
        "y += [1]",
        "Y = y\nY += [1]",
        "for x in y:\n    x.z = 1",
    ],
)
def test_a_planted_effect_is_caught(planted: str) -> None:
    assert len(effects(f'"""A docstring."""\n\nfrom x import y\n\nZ = y + 1\n\n{planted}\n')) == 1


def test_a_definition_is_no_effect() -> None:
    assert effects("mp = Context()\nmp.prec = 256\n") == []
    assert effects("app = Typer()\napp.command()(grid)\n") == []
    assert effects("with precision(60):\n    PI = compute()\nX = {1}\nX |= {2}\ndef f():\n    X.add(3)\n") == []


def test_collections_do_not_grow_with_imports() -> None:
    before = {name: set(getattr(ds, name)) for name in FACE if name.isupper()}
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
