"""Deviation beside accuracy: the numbers of `measure` at those epochs, and a run that does not notice."""

import math
from dataclasses import replace

import pytest
import torch
from downslope.analysis.errors import Refused
from downslope.analysis.gradients.deviation import deviation
from downslope.experiments.grids import plain
from downslope.experiments.grids.cell import Cell
from downslope.experiments.grids.job import Job, run
from downslope.experiments.grids.measure import epochs, measured
from downslope.experiments.networks import network

CELL = Cell("mlp-digits", "logistic", "constant", 0.05, 64, epochs=2, seed=3)


def gradient(model, factor):
    """Of a 64-64-10 network on the first 64 samples of DIGITS, the hidden derivative replaced; float64, by hand."""
    x, y = (each[:64] for each in plain.samples("digits").train)
    (w1, b1), (w2, b2) = ((model[i].weight.double(), model[i].bias.double()) for i in (0, 2))
    hidden = torch.sigmoid(x.double() @ w1.T + b1)
    error = (torch.softmax(hidden @ w2.T + b2, dim=1) - torch.nn.functional.one_hot(y, 10)) / 64
    below = (error @ w2) * factor(hidden)
    return [below.T @ x.double(), below.sum(0), error.T @ hidden, error.sum(0)]


def test_a_row_holds_the_deviation_of_the_rule():
    model = plain.prepared(CELL)[0]
    row = measured(CELL, model)
    with torch.no_grad():
        expected = deviation(gradient(model, torch.ones_like), gradient(model, lambda hidden: hidden * (1 - hidden)))
    assert row["angle_degrees"] == pytest.approx(expected.angle_degrees, rel=1e-4)
    assert row["cosine"] == pytest.approx(expected.cosine, rel=1e-4)
    assert row["log10_magnitude_ratio"] == pytest.approx(expected.log10_magnitude_ratio, rel=1e-4)
    assert row["worst_angle_degrees"] >= 0
    assert row["log10_margin"] > 0


def test_the_tied_rule_has_no_angle():
    cell = replace(CELL, rule="tied")
    row = measured(cell, plain.prepared(cell)[0])
    assert row["angle_degrees"] == pytest.approx(0, abs=1e-3)


@pytest.mark.parametrize("name", ["mlp-digits", "residual-digits"])
def test_measuring_leaves_the_run_as_it_is(name):
    entry = network(name)
    cells = tuple(
        Cell(name, entry.activation, rule, 0.05, 64, 2, seed=0)
        for rule in (("constant", "full_jam") if name == "mlp-digits" else ("full_jam",))
    )
    without, with_ = run(Job("train", cells)), run(Job("train", cells, ("0", "1", "end")))
    assert [each.digest for each in without] == [each.digest for each in with_]
    assert [each.curve for each in without] == [each.curve for each in with_]
    assert [[row["epoch"] for row in each.measured] for each in with_] == [[0, 1, 2]] * len(cells)
    assert without[0].measured == ()


def test_below_a_step_the_reason_stands_instead_of_a_number():
    cell = Cell("heaviside-digits", "heaviside", "triangle", 0.05, 64, 1, seed=0)
    row = measured(cell, plain.prepared(cell)[0])
    assert row["log10_margin"] is None
    assert row["angle_degrees"] is None or math.isfinite(row["angle_degrees"])
    assert row["reason"] or row["angle_degrees"] is not None


def test_a_stage_beyond_the_end_is_refused():
    assert epochs(("middle", "end", "0"), 10) == (0, 5, 10)
    with pytest.raises(Refused, match="epoch 11 lies beyond the last, 10"):
        epochs(("11",), 10)
