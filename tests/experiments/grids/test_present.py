"""What the command prints in a narrow terminal: no number is cut."""

import io
from dataclasses import replace

import pytest
from downslope.experiments.grids.cell import Cell
from downslope.experiments.grids.grid import Block, Grid
from downslope.experiments.grids.job import Record
from downslope.experiments.grids.results import present
from downslope.experiments.grids.results.table import SCORES, table
from rich.console import Console
from rich.table import Table

LONG = "rectangular_jam(width=1.25, centre=0.123456789)"
GRID = Grid(
    "made-up",
    "made up",
    (Block(("mlp-digits",), ("logistic",), ("tied", LONG), (0.05,), (64,), epochs=1),),
    seeds=(0, 1, 2, 3, 4),
    source="a test",
)
ROW = {"cosine": 0.3, "angle_degrees": 123.4, "log10_magnitude_ratio": 0.0, "log10_margin": None}


def record(rule, seed):
    score = 0.9 + 0.001 * (seed % 3) if rule == "tied" else 0.5 + 0.1 * (seed % 3)
    curve = {"epoch": (0, 1), "test_accuracy": (0.1, score), "train_loss": (2.3, 1.2345)}
    return Record(Cell("mlp-digits", "logistic", rule, 0.05, 64, 1, seed), curve, None, "", (ROW,))


RUNS = [record(rule, seed) for rule in ("tied", LONG) for seed in range(5)]
RUNS[0] = replace(RUNS[0], diverged=1)


def printed(width, made_for=None):
    console = Console(width=width, record=True, file=io.StringIO())
    for each in present.shown_table(GRID, RUNS, made_for or width):
        if isinstance(each, Table):
            console.print(each, highlight=False)
    return console.export_text()


def cut(text, spared):
    """The cells that do not stand whole in the text."""
    cells = [present._cells(row, SCORES["train"]) for row in table(GRID, RUNS)]
    return {cell for each in cells for name, cell in each.items() if name not in ("rule", *spared) and cell not in text}


@pytest.mark.parametrize("width", [40, 60, 80, 110])
def test_no_number_is_cut(width):
    text = printed(width)
    assert cut(text, present._SPARE) == set()
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text


def test_cut_numbers_are_found():
    assert cut(printed(80).replace("123.4", "123."), present._SPARE) == {"123.4"}
    assert cut(printed(60, made_for=200), present._SPARE)


def test_what_is_left_out_is_named_and_a_wide_terminal_leaves_out_nothing():
    assert "No room here for: loss, pairs, seeds" in printed(80)
    assert cut(printed(160), ()) == set()
    assert "No room" not in printed(160)
