"""`downslope report`, `measure` and `figures` as a user calls them: what they write, print and refuse."""

import html
import io
import json
import re
import shutil
import sys
from contextlib import nullcontext, redirect_stdout
from functools import partial
from pathlib import Path

import downslope.__main__ as command
import pandas as pd
import pytest
from downslope.analysis.gradients import table
from downslope.analysis.surrogates.checks import beside
from downslope.analysis.surrogates.checks.present import Checked, check_target
from downslope.analysis.surrogates.checks.record import Outcome, Record
from downslope.experiments import study
from downslope.experiments.studies import gallery, perceptron
from downslope.paper_figures.report import page as sections
from downslope.paper_figures.report import pictures
from downslope.paper_figures.report.catalogue import conformance
from downslope.proofs import verify as referee

TABLES = [f"{name}.parquet" for name in ("checks", "claims", "curves", "deviations", "perceptron")]
CHECKED = ("triangle", "swish_sign")


def called(patch, capture, *arguments):
    """Calls the command line in this process: (exit code, stdout, stderr)."""
    patch.setattr(sys, "argv", ["downslope", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        command.main()
    said = capture.readouterr()
    return ended.value.code or 0, said.out, said.err


def made_tiny(patch):
    """Reports of few claims, surrogates, checks and epochs."""
    measured = ("constant", "triangle", "full_jam", "tied")
    plan = study.Plan(networks=("mlp-digits",), surrogates=measured, seeds=(0, 1), epochs=2, draws=2)
    patch.setattr(study, "QUICK", plan)
    patch.setattr(study, "FULL", plan)
    decide = referee.verify

    def few(quick, progress):
        return decide("zero-sets", "diagonal-scaling", quick=True, processes=1, progress=progress)

    patch.setattr(referee, "verify", few)
    patch.setattr(beside, "checking", partial(beside.checking, CHECKED))
    units = perceptron.Plan(features=(2, 4), seeds=(0, 1), samples=20)
    patch.setattr(gallery, "tables", lambda plan, progress: {"perceptron": perceptron.perceptron(units)})


@pytest.fixture
def run(monkeypatch, capsys):
    return partial(called, monkeypatch, capsys)


@pytest.fixture
def tiny(monkeypatch):
    """As `report`, but without figures and a second process: these would show nothing new."""
    made_tiny(monkeypatch)
    monkeypatch.setattr(pictures, "pictures", lambda *_, **__: pictures.Pictures({}, ()))
    passed = Checked("triangle", [Record("finite", Outcome.PASSED)], {})
    monkeypatch.setattr(beside, "checking", lambda progress: nullcontext(lambda: [passed]))


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """The folder of a tiny quick report and what the command printed, made once."""
    folder = tmp_path_factory.mktemp("made") / "report"
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(io.StringIO()) as out:
        made_tiny(patch)
        patch.setattr(sys, "argv", ["downslope", "report", "--quick", "--json", "--out", str(folder)])
        with pytest.raises(SystemExit) as ended:
            command.main()
    assert not ended.value.code
    return folder, json.loads(out.getvalue())


def test_the_report_end_to_end(report):
    folder, said = report
    assert sorted(path.name for path in folder.iterdir()) == [*TABLES, "report.html"]
    assert {Path(path).name for path in said["paths"]} == {*TABLES, "report.html"}
    assert said["quick"] is True
    assert said["seconds"] > 0
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert re.findall(r'(?:href|src|srcset|data)="(?!#|data:image/png;base64,)[^"]*"', page) == []
    assert re.findall(r"(?:https?:)?//[a-z]", page) == []
    assert page.count("<script") == 1
    for section in ("question", *sections.SECTIONS):
        assert f'<section id="{section}"' in page
    assert "Quick run." in page
    assert f"downslope report --out {folder} --quick" in page


def test_the_page_says_what_the_tables_hold(report):
    folder, _ = report
    page = (folder / "report.html").read_text(encoding="utf-8")
    measured = table.read(folder / "deviations.parquet")
    layers = measured[(measured["layer"] != "whole") & (measured["surrogate"] != "tied")]
    assert f"The largest of {len(layers):,} angles is {layers['angle_degrees'].max():.1f} degrees: " in page
    below = layers.groupby("surrogate")["angle_degrees"].max().lt(90).all()
    assert ("All 3 surrogates stayed below 90 degrees" in page) == below
    claims = pd.read_parquet(folder / "claims.parquet")
    assert dict(zip(claims["id"], claims["verdict"], strict=True)) == {
        "zero-sets": "REFUTED",
        "diagonal-scaling": "PROVED",
    }
    assert "2 claims were decided when this page was made: 1 PROVED, 1 REFUTED, each as printed." in page
    curves = pd.read_parquet(folder / "curves.parquet")
    last = curves[(curves["epoch"] == 2) & (curves["split"] == "test") & (curves["network"] == "mlp-digits")]
    tied = last[last["trained"] == "tied"]["accuracy"].mean() * 100
    assert f"{tied:.2f}% tied" in page


def test_figures_of_shortened_studies_are_marked_each_with_its_own_words(report):
    page = (report[0] / "report.html").read_text(encoding="utf-8")
    caption = re.search(r'<p id="caption-perceptron">(.*?)</p>', page, flags=re.DOTALL)[1]
    assert "Quick run: 10 seeds instead of 20, 250 samples instead of 500." in caption
    caption = re.search(r'<p id="caption-training">(.*?)</p>', page, flags=re.DOTALL)[1]
    assert f"Quick run: {study.QUICKLY}" in html.unescape(caption)
    assert "downslope figures perceptron --data" in page


def test_the_checks_of_the_report_are_those_of_the_command(report):
    """Same seed, same records, whichever process makes them."""
    records = pd.read_parquet(report[0] / "checks.parquet")
    pd.testing.assert_frame_equal(records, conformance.table(check_target(name, 0, "aot_eager") for name in CHECKED))
    outcomes = records.groupby("surrogate")["outcome"].agg(set).to_dict()
    assert "violation" not in set().union(*outcomes.values())
    assert "expected" in outcomes["swish_sign"]


def test_a_command_on_the_page_gives_its_numbers(run, report, tmp_path):
    page = (report[0] / "report.html").read_text(encoding="utf-8")
    line = next(each for each in re.findall(r"<code>(downslope measure [^<]*)</code>", page) if "tied" not in each)
    code, _, _ = run(*line.split()[1:], "--out", tmp_path / "again.parquet")
    assert code == 0
    again, stored = table.read(tmp_path / "again.parquet"), table.read(report[0] / "deviations.parquet")
    by = ["surrogate", "layer", "stage", "seed", "draw"]
    mine = stored[(stored["network"] == "mlp-digits") & (stored["trained"] == "constant")]
    assert len(mine) > 0
    both = mine.merge(again, on=by, suffixes=("", "_again"))
    assert len(both) == len(mine[mine["surrogate"] != "tied"])
    pd.testing.assert_series_equal(both["angle_degrees"], both["angle_degrees_again"], check_names=False)


def test_a_failed_check_exits_with_1_after_writing(run, tiny, tmp_path, monkeypatch):
    failed = Checked("triangle", [Record("finite", Outcome.VIOLATION, "infinite at 3")], {})
    monkeypatch.setattr(beside, "checking", lambda progress: nullcontext(lambda: [failed]))
    code, _, _ = run("report", "--quick", "--out", tmp_path)
    assert code == 1
    assert "VIOLATIONS: triangle" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_a_whole_report_is_not_marked_quick(run, tiny, tmp_path):
    code, out, _ = run("report", "--out", tmp_path)
    assert code == 0
    assert out.splitlines()[0] == str(tmp_path / "report.html")
    assert "Quick run." not in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_an_unexpected_verdict_exits_with_1_after_writing(run, tiny, tmp_path, monkeypatch):
    from dataclasses import replace

    decide = referee.verify

    def wrong(quick, progress):
        first, *rest = decide(quick=quick, progress=progress)
        return [replace(first, claim=replace(first.claim, expected="PROVED")), *rest]

    monkeypatch.setattr(referee, "verify", wrong)
    code, _, _ = run("report", "--quick", "--out", tmp_path)
    assert code == 1
    assert "NOT as printed: zero-sets" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_a_file_in_place_of_the_folder_is_refused_before_the_work(run, tmp_path, monkeypatch):
    monkeypatch.setattr(study, "run", lambda *args, **kwargs: pytest.fail("worked"))
    monkeypatch.setattr(referee, "verify", lambda *args, **kwargs: pytest.fail("worked"))
    taken = tmp_path / "taken"
    taken.write_text("mine")
    code, out, err = run("report", "--out", taken)
    assert (code, out) == (2, "")
    assert err == f"downslope: --out {taken} is a file; name a folder, which is made where it is missing.\n"
    assert taken.read_text() == "mine"


def test_figures_are_drawn_from_a_report(run, report, tmp_path):
    folder, _ = report
    code, out, _ = run("figures", "ranking", "--data", folder, "--out", tmp_path / "figures", "--json")
    assert code == 0
    assert [Path(path).name for path in json.loads(out)["paths"]] == [
        f"ranking.{suffix}" for suffix in ("png", "svg", "pdf", "tex")
    ]
    code, out, _ = run("figures", "training", "--data", folder, "--out", tmp_path, "--format", "png")
    assert (code, out) == (0, f"{tmp_path / 'training.png'}\n")
    code, _, err = run("figures", "--data", folder, "--out", tmp_path, "--format", "jpg")
    assert (code, err) == (2, "downslope: --format jpg: figures are written as png, svg, pdf, tex.\n")
    code, _, err = run("figures", "ranking", "--data", folder, "--out", tmp_path, "--surrogate", "trinagle")
    assert code == 2
    assert "no surrogate 'trinagle' to draw; did you mean 'triangle'" in err


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda folder: [path.unlink() for path in folder.glob("*.parquet")], "holds none of "),
        (lambda folder: (folder / "curves.parquet").write_bytes(b"PAR1"), "curves.parquet is no whole Parquet file"),
        (lambda folder: (folder / "deviations.parquet").write_bytes(b"PAR1"), "no whole Parquet file"),
    ],
)
def test_damaged_tables_are_refused(run, report, tmp_path, damage, reason):
    folder = shutil.copytree(report[0], tmp_path / "copy")
    damage(folder)
    code, _, err = run("figures", "--data", folder, "--out", tmp_path / "figures")
    assert code == 2
    assert reason in err


def test_measure_prints_and_writes(run, tmp_path):
    path = tmp_path / "one.parquet"
    code, out, _ = run("measure", "--surrogate", "triangle", "--epochs", 1, "--seed", 3, "--out", path, "--json")
    assert code == 0
    rows = json.loads(out)["rows"]
    stored = table.read(path)
    assert len(rows) == len(stored) == 2 * 3  # two stages; two layers and the whole
    assert {row["seed"] for row in rows} == {3}
    assert [row["angle_degrees"] for row in rows] == stored["angle_degrees"].tolist()


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("--network", "mlp"), "mlp-digits"),
        (("--trained", "constnat"), "constant"),
        (("--surrogate", "trinagle"), "triangle"),
        (("--epochs", 0), "epochs is at least 1"),
        (("--seed", -1), "seed at least 0"),
        (("--epochs", 1, "--surrogate", "triangle", "--out", "/no/such/folder/x.parquet"), "cannot write there"),
    ],
)
def test_measure_refuses_bad_input(run, arguments, reason):
    code, out, err = run("measure", *arguments)
    assert (code, out) == (2, "")
    assert err.startswith("downslope: ")
    assert reason in err


@pytest.mark.slow
def test_the_quick_report_as_it_is(run, tmp_path):
    code, out, _ = run("report", "--quick", "--json", "--out", tmp_path)
    assert code == 0
    claims = pd.read_parquet(tmp_path / "claims.parquet")
    assert (claims["verdict"] == claims["expected"]).all()
    assert table.read(tmp_path / "deviations.parquet")["surrogate"].nunique() == len(study.QUICK.surrogates)
    assert json.loads(out)["quick"]
