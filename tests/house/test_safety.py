"""No text that a user gives is ever run: formulas are objects, weights load as tensors only."""

from __future__ import annotations

import ast
from collections.abc import Iterator

import pytest

NAMES = {"eval", "exec", "compile", "__import__"}
"""Builtins that run text."""

ATTRIBUTES = {
    *("sympify", "parse_expr", "parse_latex", "parse_mathematica"),
    *("pickle.load", "pickle.loads", "pickle.Unpickler", "cloudpickle.load", "cloudpickle.loads", "marshal.loads"),
    *("joblib.load", "read_pickle", "shelve.open", "torch.load", "torch.hub.load", "np.load", "numpy.load"),
    *("os.system", "yaml.load"),
}
"""Functions that run what is in a text or a file; a dotted one by its last two names, else by its last."""

SAFE_WITH = {"sympify": "strict", "torch.load": "weights_only"}
"""The keyword that makes a call of some of them safe where it is `True`."""


def called(function: ast.expr) -> set[str]:
    """The names that a function may be known by: `torch.hub.load` -> load, hub.load, torch.hub.load."""
    parts = ast.unparse(function).split(".")
    return {".".join(parts[i:]) for i in range(len(parts))}


def is_safe(call: ast.Call) -> bool:
    """Whether a call of a dangerous function is one of its safe uses."""
    names = called(call.func)
    true = {k.arg for k in call.keywords if isinstance(k.value, ast.Constant) and k.value.value is True}
    if names & {"np.load", "numpy.load"}:
        return not any(keyword.arg == "allow_pickle" for keyword in call.keywords)
    if "pickle.loads" in names:  # of what was dumped on the spot: a copy, and no text of a user's
        return any(isinstance(arg, ast.Call) and "pickle.dumps" in called(arg.func) for arg in call.args)
    return any(SAFE_WITH[name] in true for name in names & set(SAFE_WITH))


def dangers(source: str) -> Iterator[str]:
    """Each use of something that runs text, as `line: name`; a mention counts as much as a call."""
    tree = ast.parse(source)
    safe = {id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call) and is_safe(node)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and node.id in NAMES:
            yield f"{node.lineno}: {node.id}"
        elif isinstance(node, ast.ImportFrom) and node.module:
            imported = {f"{node.module.split('.')[-1]}.{alias.name}" for alias in node.names}
            hidden = {name for name in imported if {name, name.split(".")[-1]} & ATTRIBUTES}
            yield from (f"{node.lineno}: {name}" for name in sorted(hidden))
        elif isinstance(node, ast.Attribute) and id(node) not in safe:
            yield from (f"{node.lineno}: {name}" for name in sorted(called(node) & ATTRIBUTES))
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "S":
            yield f"{node.lineno}: S(...)"  # sympy.S(text) parses; the constants sympy.S.Zero do not
        elif isinstance(node, ast.keyword) and node.arg == "shell":
            yield f"{node.value.lineno}: shell="


def test_the_package_runs_no_text(sources: dict[str, str]) -> None:
    assert {file: list(dangers(text)) for file, text in sources.items() if list(dangers(text))} == {}


@pytest.mark.parametrize(
    "planted",
    [
        "eval(text)",
        "list(map(eval, texts))",
        "exec(text)",
        "sp.sympify(text)",
        "sp.sympify(text, strict=False)",
        "list(map(sp.sympify, texts))",
        "from sympy import sympify as quietly",
        "from sympy.parsing.sympy_parser import parse_expr",
        "sp.parsing.sympy_parser.parse_expr(text)",
        "sp.S(text)",
        "pickle.load(file)",
        "pickle.loads(text)",
        "from pickle import loads",
        "torch.load(file)",
        "torch.load(file, weights_only=False)",
        "torch.hub.load(repository, name)",
        "np.load(file, allow_pickle=True)",
        "pd.read_pickle(file)",
        "subprocess.run(command, shell=True)",
    ],
)
def test_a_planted_danger_is_caught(planted: str) -> None:
    assert len(list(dangers(planted))) == 1


@pytest.mark.parametrize(
    "clean",
    [
        "model.eval()",
        "re.compile(pattern)",
        "sp.sympify(value, strict=True)",
        "sp.S.Zero",
        "torch.load(file, weights_only=True)",
        "np.load(file)",
        "safetensors.torch.load_file(file)",
        "json.load(file)",
        "pickle.loads(pickle.dumps(surrogate))",
    ],
)
def test_a_safe_use_is_let_through(clean: str) -> None:
    assert list(dangers(clean)) == []
