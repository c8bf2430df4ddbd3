"""The page on measuring a network of one's own: its file, its training, its command and its Python run as printed."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from downslope.__main__ import app
from downslope.analysis.gradients import table
from typer.testing import CliRunner

PAGE = Path(__file__).parents[3] / "docs" / "measuring-your-network.md"
FILE, TRAINING, *REST = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
(COMMAND,) = re.findall(r"```sh\n(.*?)```", PAGE.read_text(), re.DOTALL)


def test_the_page_runs_from_top_to_bottom(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("sales.py").write_text(FILE)
    space = {}
    for block in (FILE, TRAINING):
        exec(compile(block, str(PAGE), "exec"), space)
    program, *words = shlex.split(COMMAND.replace("\\\n", " "))
    assert program == "downslope"
    ran = CliRunner().invoke(app, words, catch_exceptions=False, env={"COLUMNS": "300"})
    assert ran.exit_code == 0
    assert "sales.py:factory: angle in degrees, mean over 5 batches" in ran.stdout
    for block in REST:
        exec(compile(block, str(PAGE), "exec"), space)
    rows = table.read("sales.parquet")
    assert set(rows["layer"]) == {"past.0", "shop", "join", "out", "whole"}
    assert set(rows["activation"]) == {"gelu+relu"}
    assert len(rows) == 5 * (1 + 1 + 4) * 5
    printed = capsys.readouterr().out
    assert "past.0" in printed
    assert "False" in printed


def test_the_options_of_the_page_are_those_of_the_command():
    said = set(re.findall(r"^\| (.*?) \|", PAGE.read_text(), re.MULTILINE))
    options = {option for row in said for option in re.findall(r"`(--[a-z-]+)`", row)}
    usage = CliRunner().invoke(app, ["measure", "--help"], env={"COLUMNS": "300"}).stdout
    assert options
    assert {option for option in options if option not in usage} == set()
