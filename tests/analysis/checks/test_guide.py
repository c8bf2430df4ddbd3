"""The guide's Python runs, in the order in which it stands there; an absent library is skipped with the reason."""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import Any

import downslope as ds
import pytest
from downslope.analysis.surrogates.checks import CHECKS

GUIDE = Path(__file__).parents[3] / "docs" / "testing-your-surrogate.md"
BLOCKS = re.findall(r"```python\n(.*?)```", GUIDE.read_text(), re.DOTALL)
PEERS = ("snntorch", "spikingjelly", "norse", "sinabs", "brevitas", "freegrad")
OWN = [block for block in BLOCKS if not any(peer in block for peer in PEERS)]
RECIPES = [block for block in BLOCKS if block not in OWN]


def test_the_guide_runs_from_ten_lines_to_strategies(capsys: pytest.CaptureFixture[str]) -> None:
    names: dict[str, Any] = {}
    for block in OWN:
        exec(compile(block, str(GUIDE), "exec"), names)
    printed = capsys.readouterr().out
    # what the guide says of its first example
    assert "preactivation -3.5 is nan" in printed
    assert "at -0.32 is not finite in float16" in printed
    assert {mark.name for mark in names["test_surrogate"].pytestmark} == {"parametrize"}


@pytest.mark.parametrize("block", RECIPES, ids=[next(p for p in PEERS if p in block) for block in RECIPES])
def test_a_recipe_runs(block: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            exec(compile(block, str(GUIDE), "exec"), {"ds": ds})
        except ImportError as error:
            pytest.skip(f"a peer is not installed: {error}")


def test_there_is_a_recipe_for_each_of_the_seven_shapes() -> None:
    assert len(RECIPES) == 7
    assert re.findall(r"^\*\*(\d)\. ", GUIDE.read_text(), re.MULTILINE) == list("1234567")


def test_the_guide_counts_the_checks() -> None:
    assert "some thirty" in GUIDE.read_text()
    assert 28 <= len(CHECKS) <= 32
