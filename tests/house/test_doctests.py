"""Every example in a docstring runs: the installed package is walked, one test a module."""

from __future__ import annotations

import ast
import doctest
import importlib
import pkgutil
from pathlib import Path
from types import ModuleType

import downslope as ds
import pytest

MODULES = sorted(["downslope", *(found.name for found in pkgutil.walk_packages(ds.__path__, "downslope."))])


def examples_that_run(module: ModuleType) -> int:
    """Runs the examples of a module and returns their number; an example that does not hold fails with its report."""
    report: list[str] = []
    runner = doctest.DocTestRunner(verbose=False, optionflags=doctest.NORMALIZE_WHITESPACE)
    for test in doctest.DocTestFinder().find(module):
        runner.run(test, out=report.append)
    if runner.failures:
        pytest.fail("".join(report), pytrace=False)
    return runner.tries


def examples_that_stand(source: str) -> int:
    """The number of examples in the docstrings of a source text, those that doctest does not look at included."""
    strings = [
        node.value.value
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
    ]
    return sum(len(doctest.DocTestParser().get_examples(text)) for text in strings)


@pytest.mark.parametrize("name", MODULES)
def test_examples(name: str) -> None:
    module = importlib.import_module(name)
    # doctest passes over a cached_property and a string below a variable: an example there would hold nothing.
    assert examples_that_run(module) == examples_that_stand(Path(str(module.__file__)).read_text())


def planted(source: str) -> ModuleType:
    module = ModuleType("planted")
    exec(compile(source, "planted.py", "exec"), module.__dict__)
    return module


def test_a_wrong_example_is_caught() -> None:
    with pytest.raises(pytest.fail.Exception, match="Expected:\n    3\nGot:\n    2"):
        examples_that_run(planted('def f():\n    """\n    >>> 1 + 1\n    3\n    """\n'))


def test_an_example_that_doctest_passes_over_is_caught() -> None:
    source = (
        "from functools import cached_property\n"
        "class C:\n"
        "    @cached_property\n"
        "    def f(self):\n"
        '        """\n        >>> 1 + 1\n        3\n        """\n'
    )
    assert examples_that_run(planted(source)) != examples_that_stand(source)


def test_the_walk_reaches_every_file(sources: dict[str, str]) -> None:
    files = {file.removesuffix(".py").replace("/", ".") for file in sources}
    dotted = {".".join(("downslope", name)).removesuffix(".__init__") for name in files}
    assert set(MODULES) == dotted
