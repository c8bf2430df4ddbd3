"""Trained weights: the same bytes each time, read back whole, and nothing else is taken for them."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
from downslope import __main__ as command
from downslope.analysis.errors import Refused
from downslope.experiments import cache, training
from downslope.experiments.data import load
from downslope.experiments.networks import NETWORKS, Recipe, network, weights
from safetensors.torch import load_file, save_file

QUICK = "residual-digits"  # buffers beside its parameters


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Networks under recipes of one epoch."""
    for name, entry in NETWORKS.items():
        monkeypatch.setitem(NETWORKS, name, replace(entry, recipe=Recipe(1, 256, 0.05, 0.9)))


@pytest.fixture
def stored():
    return weights.ensure(QUICK, seed=3)


def test_made_twice_is_equal_byte_for_byte(stored):
    assert stored.made
    first = stored.path.read_bytes()
    torch.manual_seed(77)
    assert not weights.ensure(QUICK, seed=3).made
    again = weights.ensure(QUICK, seed=3, again=True)
    assert again.made
    assert again.path == stored.path
    assert again.path.read_bytes() == first
    assert [path.name for path in stored.path.parent.iterdir()] == [stored.path.name]


def test_what_is_read_is_what_was_trained(stored, monkeypatch):
    model, curves = training.train(network(QUICK), load("digits"), seed=3)
    monkeypatch.setattr(training, "train", lambda *args, **kwargs: pytest.fail("trained"))
    read = weights.trained(QUICK, seed=3)
    assert not read.training
    state = read.state_dict()
    assert set(state) == set(model.state_dict())
    assert all(torch.equal(state[name], tensor) for name, tensor in model.state_dict().items())
    assert stored.accuracy == curves["accuracy"].iloc[-1] == weights.ensure(QUICK, seed=3).accuracy


def test_what_the_weights_depend_on_names_the_file(stored, monkeypatch):
    entry = network(QUICK)
    others = {weights.ensure(QUICK, seed=4).path}
    for change in (
        {"recipe": replace(entry.recipe, learning_rate=0.1)},
        {"recipe": replace(entry.recipe, epochs=2)},
        {"backward": "constant"},
        {"builder": lambda hidden: entry.builder(torch.nn.Tanh)},
        {"activation": "tanh"},
    ):
        monkeypatch.setitem(NETWORKS, QUICK, replace(entry, **change))
        others.add(weights.ensure(QUICK, seed=3).path)
    assert len(others) == 6
    assert stored.path not in others


def test_the_metadata_say_how_it_was_made(stored):
    from safetensors import safe_open

    with safe_open(stored.path, framework="pt") as file:
        said = json.loads(file.metadata()["downslope"])
    assert said["schema"] == weights.SCHEMA
    assert said["made"]["recipe"] == {"epochs": 1, "batch": 256, "learning_rate": 0.05, "momentum": 0.9}
    assert said["made"]["seed"] == 3
    assert said["versions"]["torch"] == torch.__version__
    assert "created" not in said


def flipped(path):
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)


def foreign(path):
    save_file(load_file(path), path)


def of_another_seed(path):
    path.write_bytes(weights.ensure(QUICK, seed=5).path.read_bytes())


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[:-1]), "is no whole safetensors file"),
        (lambda path: path.write_bytes(b""), "is no whole safetensors file"),
        (lambda path: path.write_bytes(b"not one"), "is no whole safetensors file"),
        (flipped, "is damaged: its weights are not those that were written"),
        (foreign, "was not made by this entry"),
        (of_another_seed, "was not made by this entry"),
    ],
)
def test_a_damaged_or_foreign_file_is_named_and_refused(stored, damage, reason):
    sound = stored.path.read_bytes()
    damage(stored.path)
    for read in (weights.trained, weights.ensure):
        with pytest.raises(Refused, match=reason) as refusal:
            read(QUICK, seed=3)
        assert str(stored.path) in str(refusal.value)
        assert f"downslope weights {QUICK} --seed 3 --again" in str(refusal.value)
    assert weights.ensure(QUICK, seed=3, again=True).path.read_bytes() == sound


def test_the_small_networks_are_those_whose_data_are_at_hand():
    assert {name for name in NETWORKS if name not in weights.SMALL} == {"lenet-mnist", "lenet-fashion"}


def test_a_network_that_is_not_there_is_refused():
    with pytest.raises(Refused, match="did you mean 'mlp-digits'"):
        weights.trained("mlp-digit")


def test_the_command_makes_what_is_missing_and_says_where(capsys):
    def run(*arguments):
        command.app(["weights", *arguments], standalone_mode=False)
        return capsys.readouterr().out

    first = json.loads(run("mlp-digits", QUICK, "--seed", "1", "--json"))["weights"]
    assert [(row["network"], row["seed"], row["made"]) for row in first] == [("mlp-digits", 1, True), (QUICK, 1, True)]
    assert all(row["path"].startswith(str(cache.folder("weights"))) for row in first)
    again = json.loads(run("mlp-digits", QUICK, "--seed", "1", "--json"))["weights"]
    assert [row["made"] for row in again] == [False, False]
    assert [row["accuracy"] for row in again] == [row["accuracy"] for row in first]
    assert "at hand" in run(QUICK, "--seed", "1")
    assert "made" in run(QUICK, "--seed", "1", "--again")
