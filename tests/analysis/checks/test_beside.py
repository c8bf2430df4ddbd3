"""The checks in a second process: the same records as in this one, and nothing lost in silence."""

import pytest
from downslope.analysis.surrogates.checks import beside
from downslope.analysis.surrogates.checks.present import check_target
from downslope.analysis.surrogates.checks.record import Outcome


def test_the_records_are_those_of_this_process_and_a_killed_process_is_a_violation(tmp_path):
    deadly = tmp_path / "deadly.py"
    deadly.write_text("import os\nos._exit(9)\n")
    told = []
    with beside.checking(["triangle", f"{deadly}:mine"], progress=lambda *each: told.append(each)) as checked:
        alive, dead = checked()
    assert alive == check_target("triangle", beside.SEED, beside.BACKEND)
    assert not alive.violated
    assert dead.violated
    (record,) = dead.checks
    assert record.outcome is Outcome.VIOLATION
    assert "ended without an answer" in record.message
    assert told[0] == ("checks of triangle", 1)


def test_left_by_an_exception_it_starts_no_further_target():
    told = []
    with pytest.raises(KeyboardInterrupt), beside.checking(progress=lambda *each: told.append(each)):
        raise KeyboardInterrupt
    assert len(told) <= 3
