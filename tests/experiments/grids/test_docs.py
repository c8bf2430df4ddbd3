"""The guide to grids: its commands exist, and it lists every grid with the tables of the settings that are in force."""

import importlib.util
import json
import re
import shlex
from pathlib import Path

import pytest
import typer.main
from downslope.__main__ import app
from downslope.experiments.grids.catalogue import GRIDS
from downslope.experiments.grids.job import Record, jobs
from downslope.experiments.grids.results.present import document
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


README = (Path(__file__).parents[3] / "README.md").read_text(encoding="utf-8")


def recipe(text):
    """The script that holds workers on SLURM."""
    (found,) = [block for block in re.findall(r"^```python no-run\n(.*?)^```$", text, re.M | re.S) if "SLURM" in block]
    return found


def test_the_recipe_for_slurm_is_one():
    assert recipe(README) == recipe(PAGE)
    assert "DOWNSLOPE_DATA" in recipe(README)
    assert "OMP_NUM_THREADS=1" in recipe(README)


def printer():
    """The module that prints the page's tables."""
    spec = importlib.util.spec_from_file_location("printed", Path(__file__).parents[3] / "docs" / "grids.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def made(tmp_path):
    """A run folder's document of two depths with an angle, in which one rule survives a poor one."""
    grid = GRIDS["depth-digits"].varied(forwards=["tanh"], rules=["constant", "tied"], epochs=1)
    cells = [cell for cell in grid.cells() if cell.network in ("mlp-digits-depth-1", "mlp-digits-depth-2")]

    def record(cell):
        score = 0.9 if cell.rule == "tied" else 0.95 + 0.001 * (cell.seed % 2)
        score = 0.1 if cell.network.endswith("2") else score
        angle = 0.0 if cell.rule == "tied" else 70.0
        row = {"cosine": 0.3, "angle_degrees": angle, "log10_magnitude_ratio": 0.1 * cell.seed, "log10_margin": None}
        curve = {"epoch": (0, 1), "test_accuracy": (0.1, score), "train_loss": (2.3, 1.0)}
        lost = 1 if cell.seed == 4 and cell.rule == "tied" else None
        return Record(cell, curve, lost, "", ({"epoch": 0} | row,), 0.11)

    said = document(grid, [record(cell) for cell in cells])
    (tmp_path / "table.json").write_text(json.dumps(said))
    return said


def test_what_is_printed_is_what_the_document_says(tmp_path):
    said = made(tmp_path)
    printed = printer().page(tmp_path)
    assert "**mlp-digits-depth-1, tanh, lr 0.05, batch 64, 1 epoch**" in printed
    assert said["sentences"][0].startswith("mlp-digits-depth-1, tanh, lr 0.05, batch 64, 1 epoch: ")
    assert "| rule | seeds | pairs | accuracy, % | difference | Holm p | verdict | angle |" in printed
    assert re.search(r"\| `constant` \| 5 \| 4 \| 95.04 ± 0.07 \| .* \| better \| 70.0 \|", printed)
    assert re.search(r"\| `tied` \| 4 \(\+1 diverged\) \| - \| 90.00 ± 0.00 \| .* \| reference \| 0.0 \|", printed)
    assert "the score survives a poor angle: constant (70 degrees)." in printed
    assert "| log10_magnitude_ratio | 4 | - | - |" in printed


def test_a_wide_table_has_a_row_a_network(tmp_path):
    made(tmp_path)
    lines = printer().page(tmp_path, "--wide").splitlines()
    assert lines[0] == "**tanh, lr 0.05, batch 64, 1 epoch**; accuracy, %, verdict, angle in degrees"
    assert "| network | `constant` | `tied` |" in lines
    assert "| mlp-digits-depth-1 | 95.0 ± 0.1 +, 70° | 90.0 ± 0.0 ref, 0° |" in lines
    assert "| mlp-digits-depth-2 | 10.0 ± 0.0 c, 70° | 10.0 ± 0.0 ref, 0° |" in lines
