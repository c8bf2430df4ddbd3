"""The guide to grids: its commands exist, and it lists every grid with the tables of the settings that are in force."""

import re
import shlex
from pathlib import Path

import pytest
import typer.main
from downslope.__main__ import app
from downslope.experiments.grids.catalogue import GRIDS
from downslope.experiments.grids.job import jobs
from downslope.experiments.grids.results.sentences import DIVERGED, QUICK

PAGE = (Path(__file__).parents[3] / "docs" / "grids.md").read_text(encoding="utf-8")


def wrong(text):
    """What the page's commands ask for that is not there."""
    known = {option for each in typer.main.get_command(app).commands["grid"].params for option in each.opts}
    lines = [
        line
        for block in re.findall(r"^```sh\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
        for line in block.splitlines()
    ]
    found = []
    for line in [*lines, *re.findall(r"`(downslope grid [^`]+)`", text)]:
        words = shlex.split(line, comments=True)
        if words[:2] == ["downslope", "grid"]:
            found += [word for word in words[3:] if word.startswith("--") and word not in known]
            found += [] if words[2] in GRIDS else [words[2]]
    return found


def test_the_commands_exist():
    assert wrong(PAGE) == []


@pytest.mark.parametrize(
    "planted", ["```sh\ndowslope\ndownslope grid mlp-digit\n```", "`downslope grid mlp-digits --outt x`"]
)
def test_a_wrong_command_is_caught(planted):
    assert len(wrong(planted)) == 1


def test_every_grid_is_listed():
    assert {name for name in GRIDS if f"| `{name}` |" not in PAGE} == set()


def test_the_tables_are_of_the_settings_in_force():
    for name in ("suc-ones", "mlp-digits", "bnn-ones", "binary-digits", "leak-digits"):
        for cell in GRIDS[name].cells():
            where = f"{cell.network}, {cell.forward}, lr {cell.learning_rate:g}, batch {cell.batch}"
            assert f"**{where}, {cell.epochs} epochs**" in PAGE
            assert f"| `{cell.rule}` | {len(GRIDS[name].seeds)} |" in PAGE


def test_what_counts_as_diverged_is_said_in_the_words_of_the_command():
    said = " ".join(PAGE.replace("**", "").split())
    assert DIVERGED.rstrip(".") in said
    assert QUICK in said


def test_the_grids_of_one_job_are_those():
    assert {name for name, grid in GRIDS.items() if len(jobs(grid)) == 1} >= {"mlp-digits", "suc-ones"}
    assert len(jobs(GRIDS["lenet-mnist"])) == len(GRIDS["lenet-mnist"].cells())
    assert len(jobs(GRIDS["residual-digits"])) == len(GRIDS["residual-digits"].cells())
