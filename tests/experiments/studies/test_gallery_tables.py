"""The small measurements for the gallery: every table there, of one plan, the same at every making."""

from __future__ import annotations

import pytest
from downslope.experiments.studies import perceptron
from downslope.experiments.studies.gallery import Plan, tables

UNITS = perceptron.Plan(features=(2,), seeds=(0,), samples=50)
TINY = Plan(
    ("mlp-digits-depth-2",),
    ("tied",),
    ("constant", "full_jam"),
    (0, 1),
    1,
    draws=2,
    batch=16,
    few=4,
    rates=(0.1,),
    units=UNITS,
)


@pytest.fixture(scope="module")
def made():
    return tables(TINY)


def test_every_table_is_there_and_has_rows(made) -> None:
    names = {"deviations", "curves", "samples", "along", "slice", "margins", "jamming", "perceptron", "grid"}
    assert set(made) == names
    assert all(len(table) for table in made.values())


def test_measured_and_predicted_cosines_stand_in_the_same_row(made) -> None:
    last = made["deviations"].query("layer == '4' and surrogate == 'constant'")
    # no activation above the last layer: nothing turns, and nothing is predicted to
    assert last["cosine"].to_numpy() == pytest.approx(1)
    assert last["predicted_cosine"].to_numpy() == pytest.approx(1)
    first = made["deviations"].query("layer == '0' and surrogate == 'constant' and stage == 'initialisation'")
    assert first["predicted_cosine"].to_numpy() == pytest.approx(first["cosine"].to_numpy(), abs=0.25)


def test_the_grid_has_a_run_for_each_rule_and_seed_and_measured_them(made) -> None:
    grid = made["grid"]
    assert grid[["rule", "seed"]].value_counts().to_dict() == {
        (rule, seed): 1 for rule in ("tied", "constant", "full_jam") for seed in (0, 1)
    }
    assert grid.query("rule == 'tied'")["alignment"].to_numpy() == pytest.approx(1)
    assert (grid.query("rule == 'full_jam'")["alignment"] < 1).all()


def test_seeds_and_samples_are_those_of_the_plan(made) -> None:
    assert sorted(made["samples"]["seed"].unique()) == [0, 1]
    assert made["samples"]["sample"].nunique() == 16
    assert made["slice"]["surrogate"].unique().tolist() == ["constant", "full_jam"]


def test_the_same_plan_gives_the_same_tables(made) -> None:
    again = tables(TINY)
    assert all(again[name].equals(table) for name, table in made.items())
