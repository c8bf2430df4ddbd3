"""The page on measuring a network of one's own: its file, its training, its command and its Python run as printed."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

from downslope.__main__ import app
from downslope.analysis.gradients import table
from downslope.analysis.gradients.margin.table import SHARES
from typer.testing import CliRunner

PAGE = Path(__file__).parents[3] / "docs" / "measuring-your-network.md"
FILE, TRAINING, *REST = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
COMMAND, MARGINS = re.findall(r"```sh\n(.*?)```", PAGE.read_text(), re.DOTALL)


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
    words = shlex.split(MARGINS.replace("\\\n", " "))[1:]
    ran = CliRunner().invoke(app, words, catch_exceptions=False, env={"COLUMNS": "300"})
    assert ran.exit_code == 0
    assert "no certificate: " in ran.stdout
    heading = next(line for line in ran.stdout.splitlines() if "standing" in line)
    columns = PAGE.read_text().split("| column | is |")[1].split("\n\n")[0].replace("\\", "").splitlines()[2:]
    assert len(columns) == 5
    named = [name for row in columns for name in row.split(" | ")[0].strip("| ").split(", ")]
    assert [name for name in [*named, *SHARES] if name not in heading] == []
    assert [share for share in SHARES if not any(row.startswith(f"| {share} |") for row in columns)] == []
    assert len(json.loads(Path("margins.json").read_text())["batches"]) == 2
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
    for command, page in zip(("measure", "margin"), PAGE.read_text().split("### How much room is left"), strict=True):
        said = set(re.findall(r"^\| (.*?) \|", page, re.MULTILINE))
        options = {option for row in said for option in re.findall(r"`(--[a-z-]+)`", row)}
        usage = CliRunner().invoke(app, [command, "--help"], env={"COLUMNS": "300"}).stdout
        assert options
        assert {option for option in options if option not in usage} == set()
