"""Two records of one run, compared: rounding agrees, anything else does not."""

import math
from dataclasses import replace

import pytest
from downslope.experiments.grids.cell import Cell
from downslope.experiments.grids.job import Record
from downslope.experiments.grids.running.check import compared

CELL = Cell("mlp-digits", "logistic", "tied", 0.05, 64, 1, seed=0)
ROW = {"epoch": 0, "cosine": 0.5, "log10_margin": None, "reason": "the bound is 1.2345678e-3 at layer 2"}
RECORD = Record(CELL, {"epoch": (0, 1), "test_accuracy": (0.1, 0.5)}, None, "ab" * 16, (ROW,), 0.1)


def measured(**changed):
    return replace(RECORD, measured=(ROW | changed,))


@pytest.mark.parametrize(
    ("other", "kind", "difference", "agrees"),
    [
        (RECORD, "scores", 0.0, True),
        (measured(reason="the bound is 1.2345679e-3 at layer 2"), "measurements", 0.0, True),
        (measured(reason=""), "measurements", math.inf, False),
        (measured(cosine=0.6), "measurements", 0.1, False),
        (measured(log10_margin=0.0), "measurements", math.inf, False),
        (replace(RECORD, chance=0.1 * (1 + 1e-9)), "scores", 1e-9, True),
        (replace(RECORD, chance=0.2), "scores", 0.5, False),
        (replace(RECORD, chance=None), "scores", math.inf, False),
        (replace(RECORD, diverged=1), "scores", math.inf, False),
    ],
)
def test_every_number_is_compared_and_of_a_reason_whether_there_is_one(other, kind, difference, agrees):
    for found in (compared(RECORD, other), compared(other, RECORD)):
        assert found.differences[kind] == pytest.approx(difference, rel=1e-4)
        assert found.agrees == agrees
