"""The testers, tested: each planted mutant is caught by the check that is meant for it, and by no unrelated one."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import sys
from pathlib import Path

import downslope as ds
import pytest
from downslope.analysis.surrogates.checks import CHECKS
from downslope.analysis.surrogates.checks.record import Outcome

# Mutants live in a module of their own, under a name by which pickle finds their classes.
_specification = importlib.util.spec_from_file_location("planted_mutants", Path(__file__).with_name("mutants.py"))
assert _specification is not None
mutants = importlib.util.module_from_spec(_specification)
sys.modules["planted_mutants"] = mutants
_specification.loader.exec_module(mutants)


@pytest.mark.parametrize("mutant", mutants.MUTANTS, ids=lambda mutant: mutant.name.replace(" ", "-"))
def test_a_planted_mutant_is_caught(mutant) -> None:
    surrogate = mutant.build()
    found = {record.name: record for record in ds.check_surrogate(surrogate)}
    violated = {name for name, record in found.items() if record.outcome is Outcome.VIOLATION}
    assert found[mutant.check].outcome is Outcome.VIOLATION, found[mutant.check]
    assert violated - {mutant.check} - mutant.related == set()
    for name in violated:
        assert found[name].message
        run(found[name].counterexample.get("python", "print()"), surrogate)


def run(line: str, surrogate: object) -> str:
    """What a counterexample's line prints."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.suppress(ValueError, RuntimeError, AttributeError):
        exec(compile(line, "<counterexample>", "exec"), {"surrogate": surrogate})
    return printed.getvalue()


def test_every_check_has_a_mutant() -> None:
    assert {mutant.check for mutant in mutants.MUTANTS} == set(CHECKS)


def test_the_surrogate_that_the_mutants_start_from_is_right() -> None:
    control = mutants.right(formula=mutants.FORMULA, random=False, centre=0.0)
    assert [record for record in ds.check_surrogate(control) if record.outcome is Outcome.VIOLATION] == []
