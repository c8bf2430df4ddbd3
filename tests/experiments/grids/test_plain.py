"""The plain loop: the run of `training` to the bit, for every rule; divergence is an outcome, not a number."""

import math
from dataclasses import replace

import pytest
import torch
from downslope.analysis.errors import Refused
from downslope.experiments import training
from downslope.experiments.data import load
from downslope.experiments.grids import plain
from downslope.experiments.grids.cell import Cell
from downslope.experiments.networks import network

CELL = Cell("mlp-digits", "logistic", "tied", learning_rate=0.05, batch=64, epochs=2, seed=3)


@pytest.mark.parametrize("rule", ["tied", "constant", "rectangle", "full_jam"])
def test_a_cell_is_the_run_of_the_training_loop(rule):
    outcome = plain.train(replace(CELL, rule=rule))
    model, curves = training.train(network("mlp-digits"), load("digits"), backward=rule, seed=3, epochs=2)
    assert all(torch.equal(value, outcome.weights[name]) for name, value in model.state_dict().items())
    test = curves[curves["split"] == "test"]
    assert [each.step for each in outcome.scores] == test["step"].tolist()
    assert [each.test_accuracy for each in outcome.scores] == test["accuracy"].tolist()
    assert [each.test_loss for each in outcome.scores] == pytest.approx(test["loss"].tolist(), rel=1e-12)
    train = curves[curves["split"] == "train"]
    assert [each.train_loss for each in outcome.scores] == pytest.approx(train["loss"].tolist(), rel=1e-12)
    assert outcome.diverged is None


@pytest.mark.parametrize("field", ["rule", "learning_rate", "batch", "seed", "momentum", "epochs"])
def test_every_field_of_a_cell_changes_the_weights(field):
    other = {"rule": "constant", "learning_rate": 0.06, "batch": 32, "seed": 4, "momentum": 0.5, "epochs": 3}[field]
    first, second = (plain.train(each).weights for each in (CELL, replace(CELL, **{field: other})))
    assert not all(torch.equal(first[name], second[name]) for name in first)


def test_a_run_that_diverges_is_recorded_and_stopped():
    outcome = plain.train(replace(CELL, forward="relu", learning_rate=1e20, epochs=5))
    assert outcome.diverged is not None
    assert outcome.diverged < 5
    assert [each.epoch for each in outcome.scores] == list(range(outcome.diverged))
    assert all(math.isfinite(each.test_loss) and math.isfinite(each.train_loss) for each in outcome.scores)


def test_scores_in_chunks_are_scores_of_the_whole(monkeypatch):
    whole = plain.train(CELL).scores
    monkeypatch.setattr(plain, "CHUNK", 97)
    chunked = plain.train(CELL).scores
    assert [each.test_accuracy for each in chunked] == [each.test_accuracy for each in whole]
    assert [each.train_loss for each in chunked] == pytest.approx([each.train_loss for each in whole], rel=1e-12)


def test_a_step_that_is_tied_is_refused_with_the_reason():
    with pytest.raises(Refused, match="the derivative of heaviside is 0"):
        plain.train(replace(CELL, forward="heaviside"))


def test_the_loop_is_seen_at_every_epoch():
    seen = []
    plain.train(CELL, at_epoch=lambda model, epoch: seen.append(epoch))
    assert seen == [0, 1, 2]
