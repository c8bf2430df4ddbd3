"""docs/speed.md shows what the benchmark printed, and nothing else."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="module")
def page(root: Path) -> dict[str, Any]:
    return runpy.run_path(str(root / "docs" / "speed.py"))


def test_the_tables_are_what_was_measured(page: dict[str, Any]) -> None:
    text = page["PAGE"].read_text(encoding="utf-8")
    assert page["rendered"](text) == text, "docs/speed.md is not what docs/measured says: run `make readme`"


def test_a_number_typed_by_hand_is_noticed(page: dict[str, Any]) -> None:
    text = page["PAGE"].read_text(encoding="utf-8")
    ratio = f"{page['rows']('gradients')[0]['ratio']:.2f}"
    assert page["rendered"](text.replace(ratio, "99.99", 1)) == text


def test_every_limit_of_the_issue_stands_in_the_table(page: dict[str, Any]) -> None:
    assert len(page["rows"]("gradients")) == 9
    assert all({"what", "ratio", "at_least", "aim", "bound_ratio"} <= row.keys() for row in page["rows"]("gradients"))
    assert len(page["rows"]("grids")) >= 3
