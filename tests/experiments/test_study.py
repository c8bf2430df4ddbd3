"""The report's study: everything in the plan is in the tables, in the plan's order, and twice the same."""

import json
from dataclasses import replace

import downslope as ds
import numpy as np
import pandas as pd
import pytest
from downslope.analysis.errors import Refused
from downslope.analysis.gradients import table
from downslope.analysis.gradients.given.options import reworded
from downslope.experiments import present, study
from rich.console import Console

TINY = study.Plan(surrogates=("tied", "triangle", "full_jam"), seeds=(0, 1), epochs=4, draws=2, batch=16)


@pytest.fixture(scope="module")
def found():
    told = []
    return study.run(TINY, progress=lambda running, done: told.append((running, done))), told


def test_every_run_surrogate_stage_and_layer_is_measured_once(found):
    rows = found[0].deviations
    coordinates = ["network", "trained", "seed", "stage", "surrogate", "draw", "layer"]
    assert not rows.duplicated(coordinates).any()
    layers = {"mlp-digits": 2, "deep-tanh-digits": 4}
    # Two ways of training, two seeds, four stages; tied and triangle once, the random one twice; one row for the whole.
    assert rows.groupby("network").size().to_dict() == {
        name: 2 * 2 * 4 * (1 + 1 + 2) * (count + 1) for name, count in layers.items()
    }
    assert rows["network"].drop_duplicates().tolist() == list(TINY.networks)
    assert rows["stage"].drop_duplicates().tolist() == ["initialisation", "first epoch", "middle", "end"]


def test_the_tied_control_has_no_angle_whatever_it_was_trained_with(found):
    rows = found[0].deviations
    control = rows[rows["surrogate"] == "tied"]
    assert set(control["trained"]) == {"tied", "constant"}
    assert control["angle_degrees"].max() < 1e-3
    # The test can fail: surrogates that differ from the derivative show an angle by the same path.
    others = rows[(rows["surrogate"] != "tied") & (rows["depth"] == 1)]
    assert others["angle_degrees"].min() > 1


def test_no_surrogate_changes_the_layer_above_the_last_activation(found):
    rows = found[0].deviations
    last = rows[rows["depth"] == rows.groupby("network")["depth"].transform("max")]
    assert last["angle_degrees"].max() < 1e-3
    assert (last["flipped"] == 0).all()


def test_the_same_plan_gives_the_same_tables(found):
    again = study.run(TINY)
    pd.testing.assert_frame_equal(found[0].deviations, again.deviations, check_exact=True)
    pd.testing.assert_frame_equal(found[0].curves, again.curves, check_exact=True)


def test_progress_counts_every_epoch(found):
    told = found[1]
    assert [done for _, done in told] == list(range(1, TINY.epochs_in_all + 1))
    assert told[0][0] == "mlp-digits trained tied, seed 0"
    assert told[-1][0] == "deep-tanh-digits trained constant, seed 1"


def test_the_measurement_is_stored_with_its_plan(found, tmp_path):
    path = table.write(found[0].deviations, tmp_path / "deviations.parquet")
    stored = table.read(path)
    pd.testing.assert_frame_equal(stored, found[0].deviations, check_exact=True)
    assert stored.attrs["plan"]["batch"] == 16
    assert stored.attrs["plan"]["seeds"] == [0, 1]
    assert (stored.attrs["training"], stored.attrs["remarks"], stored.attrs["unreached"]) == (False, [], [])


@pytest.mark.filterwarnings("ignore:.*batch norm in training mode")
def test_the_mode_that_was_measured_in_is_stored(monkeypatch):
    measured = study.measure
    monkeypatch.setattr(study, "measure", lambda model, *args, **kwargs: measured(model.train(), *args, **kwargs))
    plan = study.Plan(("residual-digits",), ("tied",), ("constant",), (0,), epochs=1)
    attrs = study.run(plan).deviations.attrs
    assert attrs["training"] is True
    assert len(attrs["remarks"]) == 1
    assert attrs["remarks"][0].startswith("batch norm in training mode")


def test_the_full_plan_measures_the_whole_catalogue_and_the_quick_one_less_often():
    assert set(study.FULL.surrogates) == {"tied", *ds.SURROGATES} == set(study.QUICK.surrogates)
    assert study.QUICK.epochs_in_all < study.FULL.epochs_in_all / 10
    assert study.FULL.epochs_in_all == 2 * 2 * 10 * 100


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"networks": ("mlp",)}, "mlp-digits"),
        ({"trained": ("constnat",)}, "constant"),
        ({"surrogates": ("trinagle",)}, "triangle"),
        ({"seeds": ()}, "runs nothing"),
    ],
)
def test_a_plan_that_cannot_run_is_refused_before_it_trains(wrong, reason, monkeypatch):
    monkeypatch.setattr(study.training, "train", lambda *args, **kwargs: pytest.fail("trained"))
    with pytest.raises(Refused, match=reason):
        study.run(study.Plan(**({"epochs": 1} | wrong)))


def test_json_is_strict_and_holds_every_row(found):
    holed = found[0].deviations.copy()
    holed.loc[0, "angle_degrees"] = np.nan
    shown = json.loads(table.as_json(holed), parse_constant=lambda name: pytest.fail(name))
    assert len(shown["rows"]) == len(holed)
    assert shown["rows"][0]["angle_degrees"] is None
    assert shown["rows"][1]["cosine"] == holed["cosine"][1]
    assert shown["provenance"]["plan"]["epochs"] == 4


def test_the_table_shows_medians_by_stage_and_layer(found, capsys):
    rows = found[0].deviations[lambda each: (each["network"] == "mlp-digits") & (each["trained"] == "tied")]
    Console(width=100).print(*present.angles(rows, "mlp-digits"))
    said = capsys.readouterr().out
    wanted = rows[(rows["surrogate"] == "triangle") & (rows["stage"] == "end") & (rows["depth"] == 1)]["angle_degrees"]
    end = said[said.index("degrees, end") :]
    assert f"{wanted.median():.1f}" in next(line for line in end.splitlines() if "triangle" in line)


def test_predictions_stand_beside_the_first_and_the_last_stage_and_change_nothing_measured():
    plan = study.Plan(("mlp-digits",), ("tied",), ("constant", "full_jam", "tied"), (0,), epochs=2, draws=2)
    plain, with_them = (study.run(replace(plan, predicted=wanted)).deviations for wanted in (False, True))
    pd.testing.assert_frame_equal(with_them[plain.columns], plain, check_exact=True)
    known = with_them[with_them["predicted_cosine"].notna()]
    assert set(known["stage"]) == {"initialisation", "end"}
    first = known[(known["stage"] == "initialisation") & (known["depth"] == 1)]
    constant = first.loc[first["surrogate"] == "constant", "predicted_cosine"].iloc[0]
    assert 0 < constant < 1
    assert constant == pytest.approx(first.loc[first["surrogate"] == "constant", "cosine"].iloc[0], abs=0.25)
    assert first.loc[first["surrogate"] == "tied", "predicted_cosine"].iloc[0] == pytest.approx(1)
    assert study.FULL.predicted
    assert study.QUICK.predicted


def test_no_prediction_stands_beside_another_reference():
    plan = study.Plan(("mlp-digits",), seeds=(0,), reference="finite-difference", predicted=True)
    with pytest.raises(Refused, match="the prediction is of the exact gradient"):
        study.run(plan)


def test_a_step_is_not_compared_with_its_zero_gradient_in_silence(capsys):
    plan = study.Plan(("heaviside-digits",), ("clipped",), ("clipped",), (0,), epochs=1, draws=1)
    found = study.run(plan).deviations
    below = found[found["depth"].isin([1, 2])]
    assert below["angle_degrees"].isna().all()
    assert (below["reason"] != "").all()
    Console(width=200).print(*present.angles(found, "heaviside-digits"), sep="\n")
    said = capsys.readouterr().out
    assert all(reworded(reason) in said for reason in below["reason"])  # as the options were typed


def test_another_reference_is_taken_where_it_is_asked_for():
    plan = study.Plan(("mlp-digits",), ("tied",), ("constant",), (0,), epochs=1, reference="finite-difference")
    found = study.run(plan).deviations
    assert found["reference"].str.startswith("finite-difference").all()
    assert found.attrs["plan"]["reference"] == "finite-difference"


def test_every_number_is_readable_in_eighty_columns(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "80")
    plan = study.Plan(("residual-digits",), ("tied",), ("constant", "logistic_derivative"), (0,), epochs=1, batch=8)
    rows = study.run(plan).deviations
    Console().print(*present.angles(rows, "residual-digits"), sep="\n")
    said = capsys.readouterr().out
    assert "…" not in said
    assert max(map(len, said.splitlines())) <= 80
    words = said.replace("│", " ").split()
    medians = rows.groupby(["stage", "surrogate", "layer"])["angle_degrees"].median()
    assert len(medians) > 40
    assert [f"{angle:.1f}" for angle in medians if f"{angle:.1f}" not in words] == []
    assert "logistic_derivative" in words


def test_finite_differences_show_their_slopes(capsys):
    plan = study.Plan(("mlp-digits",), ("tied",), ("constant",), (0,), epochs=1, batch=8, reference="finite-difference")
    rows = study.run(plan).deviations
    Console(width=300).print(*present.angles(rows, "mlp-digits"), sep="\n")
    said = capsys.readouterr().out
    slope = rows[(rows["stage"] == "end") & (rows["depth"] == 1)]["directional_derivative"].median()
    assert "slope along the step" in said
    assert f"{slope:.3g}" in said
