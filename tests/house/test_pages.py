"""Pages of docs/ with parts written by code show what the code says, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from downslope.experiments.benchmarks import gradients, grids

Script = Callable[[str], dict[str, Any]]


@pytest.fixture(scope="module")
def speed(script: Script) -> dict[str, Any]:
    return script("speed")


@pytest.mark.parametrize("name", ["speed", "figures"])
def test_a_page_is_what_its_script_writes(script: Script, name: str) -> None:
    page = script(name)
    text = page["PAGE"].read_text(encoding="utf-8")
    assert script("marks")["rendered"](text, page["TABLES"]) == text, f"docs/{name}.md is stale: run `make readme`"


def test_a_number_typed_by_hand_is_noticed(script: Script, speed: dict[str, Any]) -> None:
    text = speed["PAGE"].read_text(encoding="utf-8")
    ratio = f"{speed['rows']('gradients')[0]['ratio']:.2f}"
    assert script("marks")["rendered"](text.replace(ratio, "99.99", 1), speed["TABLES"]) == text


def test_a_page_without_its_marks_is_refused(script: Script) -> None:
    with pytest.raises(SystemExit, match="0 pairs of marks <!-- growth -->"):
        script("marks")["rendered"]("a page", {"growth": str})


def test_every_limit_of_the_issue_stands_in_the_table(speed: dict[str, Any]) -> None:
    assert len(speed["rows"]("gradients")) == gradients.ROWS
    assert all({"what", "ratio", "at_least", "aim", "bound_ratio"} <= row.keys() for row in speed["rows"]("gradients"))
    assert len(speed["rows"]("grids")) == grids.ROWS
