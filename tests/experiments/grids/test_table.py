"""The table: means, intervals, tests and sentences on numbers whose answer is known; diverged runs are in no mean."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
from downslope.__main__ import app
from downslope.analysis.gradients.table import read
from downslope.experiments.data import load
from downslope.experiments.grids.cell import Cell
from downslope.experiments.grids.grid import Block, Grid
from downslope.experiments.grids.grid import grid as named
from downslope.experiments.grids.job import Record, jobs, run
from downslope.experiments.grids.results import present, tidy
from downslope.experiments.grids.results.alignment import correlations, sentence
from downslope.experiments.grids.results.sentences import DIVERGED, sentences
from downslope.experiments.grids.results.statistics import Mean, Paired, holm
from downslope.experiments.grids.results.table import setting, table, verdict
from downslope.experiments.grids.running.run import complete
from typer.testing import CliRunner

RULES = ("tied", "constant", "rectangle", "triangle")
GRID = Grid(
    "made-up",
    "made up",
    (Block(("mlp-digits",), ("logistic",), RULES, (0.05,), (64,), epochs=1),),
    seeds=(0, 1, 2, 3, 4),
    source="a test",
)


def record(cell, accuracy, *, diverged=None, cosine=None):
    curve = {"epoch": (0, 1), "test_accuracy": (0.1, accuracy), "train_loss": (2.3, 1.0)}
    angle = None if cosine is None else math.degrees(math.acos(cosine))
    rows = () if cosine is None else ({"cosine": cosine, "angle_degrees": angle, "log10_magnitude_ratio": 0.0},)
    return Record(cell, curve, diverged, "", tuple(row | {"log10_margin": None} for row in rows))


def records(by_rule, **more):
    """Made-up results: accuracies by rule, one for each seed."""
    return [record(cell, by_rule[cell.rule][cell.seed], **more) for cell in GRID.cells()]


BASE = (0.900, 0.902, 0.898, 0.901, 0.899)
FOUND = records(
    {
        "tied": BASE,
        "constant": [value + step for value, step in zip(BASE, (0.030, 0.031, 0.029, 0.030, 0.030), strict=True)],
        "rectangle": [value - step for value, step in zip(BASE, (0.05, 0.06, 0.04, 0.05, 0.05), strict=True)],
        "triangle": [value + step for value, step in zip(BASE, (0.001, -0.001, 0.002, -0.002, 0.0), strict=True)],
    }
)


def row(rule, rows):
    (found,) = [each for each in rows if each.rule == rule]
    return found


@pytest.mark.parametrize(("seeds", "expected"), [(2, "undecided"), (5, "undecided"), (6, "better")])
def test_equal_differences_at_few_seeds_decide_nothing(seeds, expected):
    cells = [Cell("mlp-digits", "logistic", rule, 0.05, 64, 1, seed) for rule in RULES[:2] for seed in range(seeds)]
    found = [record(cell, 0.5 + 0.1 * (cell.rule == "constant") + 0.01 * cell.seed) for cell in cells]
    rows = table(GRID, found)
    assert row("constant", rows).verdict == expected
    (said,) = sentences(GRID, rows)
    assert ("too few seeds to be sure of it: constant (+10.00" in said) == (expected == "undecided")


@pytest.mark.parametrize(
    ("value", "half_width", "p", "expected"),
    [
        (0.03, 0.001, 0.001, "better"),
        (-0.03, 0.001, 0.001, "worse"),
        (0.001, 0.002, 0.5, "as good"),
        (0.001, 0.02, 0.5, "undecided"),
        (0.009, 0.002, 0.06, "undecided"),
        (0.03, None, None, "one seed"),
        (None, None, None, "no pair"),
    ],
)
def test_no_difference_found_is_not_the_same_as_no_difference(value, half_width, p, expected):
    assert verdict(Paired(Mean(value, half_width, 5), p), p, margin=0.01) == expected


def test_the_table_of_known_numbers():
    rows = table(GRID, FOUND)
    assert [each.rule for each in rows] == list(RULES)
    assert [each.verdict for each in rows] == ["", "better", "worse", "as good"]
    assert row("tied", rows).score.value == pytest.approx(0.9)
    assert row("constant", rows).paired.difference.value == pytest.approx(0.03)
    assert [each.against for each in rows] == ["", "tied", "tied", "tied"]
    raw = [each.paired.p_value for each in rows[1:]]
    assert [each.p_holm for each in rows[1:]] == holm(raw)


def test_the_sentence_names_each_verdict():
    (said,) = sentences(GRID, table(GRID, FOUND))
    assert said.startswith(
        "mlp-digits, logistic, lr 0.05, batch 64, 1 epoch: tied reaches 90.00 ± 0.20; better: constant (+3.00"
    )
    assert "worse: rectangle (-5.00" in said
    assert "as good: triangle (+0.00" in said
    assert "survives" not in said


def test_a_difference_that_is_sure_but_small_is_called_so():
    steps = (0.0010, 0.0011, 0.0009, 0.0010, 0.0012)
    small = records(
        {rule: [value + k * step for value, step in zip(BASE, steps, strict=True)] for k, rule in enumerate(RULES)}
    )
    (said,) = sentences(GRID, table(GRID, small))
    assert "better: constant (+0.10 ± 0.01, p = " in said
    assert said.count("within the margin") == 3


def test_an_undecided_rule_says_why():
    """Two rules whose intervals lie above 0: alone each would be sure, and of six none is."""
    steps = np.array([0.010, 0.030, 0.005, 0.025, 0.040])
    rules = ["tied", *(f"triangle(width={width})" for width in range(1, 7))]
    found = [
        record(
            Cell("mlp-digits", "logistic", rule, 0.05, 64, 1, seed),
            0.9 + (steps[seed] if 0 < number < 3 else (-1) ** seed * 0.02 * (number > 2)),
        )
        for number, rule in enumerate(rules)
        for seed in range(5)
    ]
    (said,) = sentences(GRID, table(GRID, found))
    assert "apart if each were the only one, not so among 6 rules (Holm): triangle(width=1) (+2.20" in said
    assert "hold 0 and reach beyond the margin of 1 point): triangle(width=3) (+0.40" in said


def at_chance(tied, constant, *, cosine=0.05, chance=0.1135):
    """Two rules of five seeds with these mean accuracies."""
    cells = [Cell("mlp-digits", "logistic", rule, 0.05, 64, 1, seed) for rule in RULES[:2] for seed in range(5)]
    means = {"tied": tied, "constant": constant}
    return [
        replace(
            record(cell, means[cell.rule] + 0.001 * (cell.seed % (3 if cell.rule == "tied" else 4)), cosine=cosine),
            chance=chance,
        )
        for cell in cells
    ]


@pytest.mark.parametrize(("tied", "constant"), [(0.11, 0.11), (0.0929, 0.1783)])
def test_of_two_rules_at_chance_neither_is_called_good(tied, constant):
    rows = table(GRID, at_chance(tied, constant))
    assert row("constant", rows).verdict == "at chance"
    assert row("constant", rows).as_json()["left_chance"] is False
    (said,) = sentences(GRID, rows)
    assert "and does not leave chance (11.35; the interval must lie above 20.21); " in said
    assert "neither tied nor these left chance: constant (+" in said
    assert "as good" not in said
    assert "better" not in said
    assert "survives" not in said


def test_a_rule_that_learns_where_tied_does_not_is_better():
    rows = table(GRID, at_chance(0.11, 0.90))
    assert row("constant", rows).verdict == "better"
    (said,) = sentences(GRID, rows)
    assert "does not leave chance" in said
    assert "survives a poor angle: constant (87 degrees)" in said


def test_what_did_not_leave_chance_survives_nothing():
    """Tied has just left chance; a rule that is as good on the mean has not for sure."""
    found = [
        each
        if each.cell.rule == "tied"
        else replace(each, curve=each.curve | {"test_accuracy": (0.1, 0.207 + 0.005 * (-1) ** each.cell.seed)})
        for each in at_chance(0.206, 0.0)
    ]
    rows = table(GRID, found)
    assert (row("tied", rows).left_chance, row("constant", rows).left_chance) == (True, False)
    assert row("constant", rows).verdict == "as good"
    (said,) = sentences(GRID, rows)
    assert "survives" not in said


def test_where_no_class_is_named_there_is_no_chance():
    assert row("constant", table(GRID, at_chance(0.11, 0.11, chance=None))).verdict == "as good"


def test_chance_is_the_share_of_the_commonest_class():
    (job,) = jobs(named("suc-ones").quick().varied(epochs=1, rules=["tied"], seeds=1))
    labels = load("ones").test_targets
    assert run(job)[0].chance == max(labels.double().mean().item(), 1 - labels.double().mean().item())


@pytest.mark.parametrize("order", list(itertools.permutations(RULES[:3])), ids=",".join)
def test_tied_is_the_reference_wherever_it_stands(order):
    rows = table(GRID, [each for rule in order for each in FOUND if each.cell.rule == rule])
    assert {each.rule: each.against for each in rows} == {"tied": "", "constant": "tied", "rectangle": "tied"}
    (said,) = sentences(GRID, rows)
    assert "tied reaches 90.00 ± 0.20; better: constant (+3.00" in said


def test_a_poor_angle_under_a_good_score_is_said():
    cosines = {"tied": 1.0, "constant": 0.2, "rectangle": 0.2, "triangle": 0.9}
    measured = [record(each.cell, each.curve["test_accuracy"][-1], cosine=cosines[each.cell.rule]) for each in FOUND]
    (said,) = sentences(GRID, table(GRID, measured))
    assert "the score survives a poor angle: constant (78 degrees)." in said


def test_diverged_runs_are_in_no_mean_and_in_no_pair():
    broken = [
        replace(each, diverged=1) if each.cell.rule in ("tied", "constant") and each.cell.seed == 0 else each
        for each in FOUND
    ]
    broken = [
        replace(each, diverged=1) if (each.cell.rule, each.cell.seed) == ("constant", 1) else each for each in broken
    ]
    rows = table(GRID, broken)
    assert row("constant", rows).score.runs == 3
    assert row("constant", rows).diverged == 2
    assert row("constant", rows).paired.difference.runs == 3
    assert row("triangle", rows).paired.difference.runs == 4
    (said,) = sentences(GRID, rows)
    assert "diverged and left out: tied 1 of 5, constant 2 of 5" in said


def test_a_printed_table_says_how_many_pairs_a_comparison_has():
    printed = next(each for each in present.shown_table(GRID, broken_at((("tied", 0), ("constant", 1))), 110))
    columns = {column.header: list(column.cells) for column in printed.columns}
    assert columns["seeds"] == ["4", "4", "5", "5"]
    assert columns["pairs"] == ["-", "3", "4", "4"]
    assert printed.title.startswith("mlp-digits, logistic, lr 0.05, batch 64, 1 epoch: ")


def broken_at(runs):
    return [replace(each, diverged=1) if (each.cell.rule, each.cell.seed) in runs else each for each in FOUND]


def test_settings_that_differ_in_epochs_or_momentum_are_told_apart():
    (cell,) = {replace(each.cell, rule="tied", seed=0) for each in FOUND}
    others = [replace(cell, epochs=3), replace(cell, momentum=0.9), replace(cell, data="digits:100")]
    assert len({str(setting(record(each, 0.5))) for each in (cell, *others)}) == 4


def test_all_diverged_gives_no_number():
    rows = table(GRID, [replace(each, diverged=1) for each in FOUND])
    assert {each.score.value for each in rows} == {None}
    assert {each.verdict for each in rows[1:]} == {"diverged"}
    (said,) = sentences(GRID, rows)
    assert said.startswith(
        "mlp-digits, logistic, lr 0.05, batch 64, 1 epoch: diverged and left out: tied 5 of 5, constant 5 of 5"
    )
    assert "NaN" not in present.as_json(GRID, [replace(each, diverged=1) for each in FOUND], {})


def broken(*rules):
    """The known results with angles, where the runs of these rules diverged."""
    measured = [record(each.cell, each.curve["test_accuracy"][-1], cosine=0.5) for each in FOUND]
    return [replace(each, diverged=1) if each.cell.rule in rules else each for each in measured]


def test_a_diverged_run_is_in_no_mean_angle():
    one = [
        record(each.cell, each.curve["test_accuracy"][-1], cosine=0.1 if each.cell.seed == 0 else 0.5) for each in FOUND
    ]
    one = [replace(each, diverged=1) if each.cell.seed == 0 else each for each in one]
    assert [each.angle for each in table(GRID, one)] == pytest.approx([60.0] * 4)
    assert row("constant", table(GRID, broken("constant"))).angle is None


def test_a_rule_that_diverged_at_every_seed_is_called_so():
    rows = table(GRID, broken("constant"))
    assert [each.verdict for each in rows] == ["", "diverged", "worse", "as good"]
    (said,) = sentences(GRID, rows)
    assert "diverged and left out: constant 5 of 5" in said
    assert said.count("constant") == 1
    assert "intervals" not in said


def test_where_the_reference_diverged_nothing_is_compared():
    rows = table(GRID, broken("tied"))
    assert [each.verdict for each in rows] == ["", "no pair", "no pair", "no pair"]
    (said,) = sentences(GRID, rows)
    assert "tied reaches" not in said
    assert "not compared (at no seed did tied end as well): constant (reaches 93.00 ± 0.28), rectangle" in said
    assert "diverged and left out: tied 5 of 5" in said


def test_one_seed_has_neither_interval_nor_test():
    rows = table(GRID, [each for each in FOUND if each.cell.seed == 0])
    assert [each.verdict for each in rows] == ["", "one seed", "one seed", "one seed"]
    (said,) = sentences(GRID, rows)
    assert "one seed: no interval, no test: constant (+3.00), rectangle (-5.00), triangle (+0.10)" in said
    assert "intervals" not in said


def test_a_quick_grid_has_no_verdict_and_supports_no_sentence():
    quick = replace(GRID, glance=GRID.blocks, glance_seeds=GRID.seeds).quick()
    said = present.document(quick, [*FOUND, *planted(0.3)])
    assert {row["verdict"] for row in said["table"]} == {"", "quick"}
    assert {text.rpartition(": quick: ")[2] for text in said["sentences"]} == {"supports no sentence."}
    assert said["alignment"]
    assert present.document(quick.varied(seeds=5), broken("constant"))["sentences"] == [
        "mlp-digits, logistic, lr 0.05, batch 64, 1 epoch: quick: supports no sentence; "
        "diverged and left out: constant 5 of 5."
    ]


def test_what_diverged_means_stands_under_a_table_where_a_run_did():
    assert DIVERGED in list(present.shown_table(GRID, broken("constant"), 110))
    assert DIVERGED not in list(present.shown_table(GRID, broken(), 110))


def test_where_nothing_is_tied_the_first_rule_is_the_reference():
    cells = [replace(each, cell=replace(each.cell, forward="heaviside")) for each in FOUND if each.cell.rule != "tied"]
    assert {each.against for each in table(GRID, cells)} == {"", "constant"}


def planted(slope, *, rules=6, noise=0.001):
    """Runs in which the gain over tied is ``slope`` times the cosine."""
    generator, found = np.random.default_rng(0), []
    for seed in range(5):
        cell = Cell("mlp-digits", "logistic", "tied", 0.05, 64, 1, seed)
        found.append(record(cell, 0.5, cosine=1.0))
        for number in range(rules):
            cosine = 0.1 + 0.1 * number
            gain = slope * cosine + noise * generator.normal()
            found.append(record(replace(cell, rule=f"triangle(width={number + 1})"), 0.5 + gain, cosine=cosine))
    return found


@pytest.mark.parametrize(("slope", "words"), [(0.3, "better score"), (-0.3, "worse score"), (0.0, "does not tell")])
def test_a_planted_relation_between_alignment_and_score_is_found(slope, words):
    cosine = next(each for each in correlations(GRID, planted(slope)) if each.measure == "cosine")
    assert words in sentence(cosine)
    assert cosine.runs == 30
    if slope:
        assert cosine.spearman == pytest.approx(math.copysign(1, slope), abs=0.05)


def test_too_few_rules_determine_no_correlation():
    (first, *_) = correlations(GRID, planted(0.3, rules=2))
    assert first.spearman is None
    assert "not determined by 10 runs of 2 rules" in sentence(first)


def test_without_measurements_nothing_is_said_of_alignment():
    assert correlations(GRID, FOUND) == ()


def test_the_document_is_in_the_order_of_the_grid_and_holds_no_time():
    said = present.document(GRID, FOUND)
    assert list(said) == ["cells", "table", "alignment", "sentences", "left_out"]
    assert [each["cell"]["rule"] for each in said["cells"]] == [cell.rule for cell in GRID.cells()]
    assert "seconds" not in str(said)
    assert '"times"' in present.as_json(GRID, FOUND, {"key": 1.0})


def test_the_tidy_tables_hold_the_records():
    runs = tidy.runs([*planted(0.3)[:3], replace(planted(0.3)[3], diverged=1)])
    assert runs["alignment"].round(6).tolist() == [1.0, 0.1, 0.2, 0.3]
    assert runs["final_accuracy"].isna().tolist() == [False, False, False, True]
    assert runs["rule"].tolist()[:2] == ["tied", "triangle(width=1)"]
    assert tidy.runs(FOUND)["alignment"].isna().all()


def test_a_figure_can_be_drawn_from_a_run_folder(tmp_path):
    wanted = named("suc-ones").quick().varied(epochs=2, rules=["tied", "constant"], stages="0,end")
    complete(wanted, tmp_path / "runs")
    curves, runs = (read(tmp_path / "runs" / f"{name}.parquet") for name in ("curves", "grid"))
    assert sorted(set(curves["trained"])) == ["constant", "tied"]
    assert len(curves) == 2 * 2 * 3 * 2
    assert runs["alignment"].notna().all()
    arguments = ["figures", "training", "--data", str(tmp_path / "runs"), "--out", str(tmp_path / "drawn")]
    drawn = CliRunner().invoke(app, [*arguments, "--format", "svg"], catch_exceptions=False)
    assert drawn.exit_code == 0
    assert (tmp_path / "drawn/training.svg").exists()
