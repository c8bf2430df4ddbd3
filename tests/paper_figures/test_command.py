"""`downslope figures` as a user calls it: what it writes, leaves out, measures itself and refuses."""

import json
import sys
from functools import partial
from pathlib import Path

import downslope.__main__ as command
import pytest
from downslope.experiments.studies import gallery
from downslope.paper_figures import drawing, stored
from downslope.paper_figures.gallery.deviation import angles, layer_step
from downslope.paper_figures.report import writing


def called(patch, capture, *arguments):
    """Calls the command line in this process: (exit code, stdout, stderr)."""
    patch.setattr(sys, "argv", ["downslope", "figures", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        command.main()
    said = capture.readouterr()
    return ended.value.code or 0, said.out, said.err


@pytest.fixture
def run(monkeypatch, capsys):
    return partial(called, monkeypatch, capsys)


@pytest.fixture
def folder(every, tmp_path):
    for name in ("perceptron", "margins", "samples"):
        every[name].to_parquet(tmp_path / f"{name}.parquet")
    return tmp_path


def test_a_named_figure_is_written_in_the_venues_width(run, folder):
    out = folder / "figures"
    code, said, _ = run("margin", "--data", folder, "--out", out, "--venue", "icml-column", "--format", "tex")
    assert (code, said) == (0, f"{out / 'margin-mlp-digits.tex'}\n")
    assert "[width=3.2500in]{margin-mlp-digits.pdf}" in (out / "margin-mlp-digits.tex").read_text()


def test_what_has_no_table_is_left_out_and_named(run, folder):
    code, said, err = run("--data", folder, "--out", folder / "figures", "--format", "tex")
    assert code == 0
    names = {Path(line).stem for line in said.splitlines()}
    assert {"perceptron", "margin-mlp-digits", "per-sample-mlp-digits-tied", "claims", "claims-table"} <= names
    assert "downslope: jamming is not drawn: there is no table 'jamming' (jamming.parquet).\n" in err
    code, said, _ = run("margin", "--data", folder, "--out", folder / "figures", "--format", "tex", "--json")
    record = json.loads(said)
    assert (record["left_out"], record["quick"]) == ({}, False)
    code, _, err = run("jamming", "--data", folder, "--out", folder / "figures")
    assert (code, err.count("\n")) == (2, 1)
    assert "the figure 'jamming' is drawn from the table 'jamming' (jamming.parquet), which is not at hand" in err


def measured_once(every):
    """A table as `measure --out` writes it of a user's model: there is a column of steps, and no step in it."""
    one = every["deviations"].query("network == 'mlp-digits' and trained == 'tied' and stage == 'end'")
    return one.drop(columns="trained").assign(step=None, stage="")


def test_a_figure_that_refuses_does_not_stop_the_others(run, every, tmp_path):
    measured_once(every).to_parquet(tmp_path / "deviations.parquet")
    code, said, err = run("--data", tmp_path, "--out", tmp_path / "figures", "--format", "tex", "--json")
    assert code == 0, err
    record = json.loads(said)
    names = {Path(path).stem for path in record["paths"]}
    assert {"angle-depth-mlp-digits", "signs-mlp-digits", "ranking", "results-table", "claims"} <= names
    needs = "the figure 'layer-step' needs the column step; the table has "
    assert record["left_out"]["layer-step"].startswith(needs)
    assert record["left_out"]["layer-step"].endswith(" and no value at all in step.")
    assert set(record["left_out"]) & {"angles", "signs", "ranking"} == {"angles"}
    code, _, err = run("layer-step", "--data", tmp_path, "--out", tmp_path / "figures", "--format", "tex")
    assert code == 2
    assert needs in err


def test_where_no_figure_can_be_drawn_each_reason_is_said(run, every, tmp_path, monkeypatch):
    monkeypatch.setattr(drawing, "figures", lambda: {"layer-step": layer_step, "angles": angles})
    monkeypatch.setattr(drawing, "TABLES", {})
    measured_once(every).to_parquet(tmp_path / "deviations.parquet")
    code, said, err = run("--data", tmp_path, "--out", tmp_path / "figures", "--format", "tex")
    assert (code, said) == (2, "")
    assert "layer-step is not drawn: the figure 'layer-step' needs the column step" in err
    assert "angles is not drawn: the figure 'angles' needs the column step" in err


def test_a_value_that_no_table_has_is_refused_before_anything_is_drawn(run, folder):
    code, said, err = run("--data", folder, "--out", folder / "figures", "--format", "tex", "--surrogate", "trinagle")
    assert (code, said) == (2, "")
    assert "--surrogate trinagle: no table has it: did you mean 'triangle'" in err
    assert list((folder / "figures").iterdir()) == []


def test_surrogates_layers_and_stages_select(run, folder):
    chosen = ("--surrogates", "triangle", "--layers", "0", "--stages", "end")
    code, _, _ = run("per-sample", "--data", folder, "--out", folder / "figures", "--format", "tex", *chosen)
    assert code == 0
    said = (folder / "figures" / "per-sample-mlp-digits-tied.tex").read_text()
    assert "1 of 128" not in said  # the undefined cosine is the constant's
    assert "0 of 128 cosines undefined" in said
    code, _, err = run("per-sample", "--data", folder, "--out", folder / "figures", "--stages", "begin")
    assert code == 2
    assert "has no stage 'begin' to draw" in err
    code, _, err = run("claims", "--data", folder, "--out", folder / "figures", "--layers", "0")
    assert code == 2
    assert "--layer 0: nothing to select, as none of claims has a layer" in err


def test_without_data_small_measurements_are_made_and_marked(run, every, tmp_path, monkeypatch):
    monkeypatch.setattr(gallery, "tables", lambda progress: {"perceptron": every["perceptron"]})
    code, said, _ = run("perceptron", "ste", "--out", tmp_path, "--format", "tex", "--json")
    assert code == 0
    assert json.loads(said)["quick"] is True
    assert f"Quick run: {gallery.QUICK.shortened('perceptron')}" in (tmp_path / "perceptron.tex").read_text()
    assert "Quick run" not in (tmp_path / "ste.tex").read_text()


def test_what_was_cut_short_is_marked_when_it_is_read_again(run, every, tmp_path):
    """As a report leaves its tables: each says for itself how the work behind it was cut short."""
    short = {"margins": "3 seeds and 10 epochs instead of the recipes' own."}
    tables = stored.marked({name: every[name] for name in ("margins", "perceptron")}, short)
    for name, table in tables.items():
        writing._table(name, table, tmp_path, {})
    code, said, _ = run("margin", "perceptron", "--data", tmp_path, "--out", tmp_path, "--format", "tex", "--json")
    assert (code, json.loads(said)["quick"]) == (0, True)
    assert f"Quick run: {short['margins']}" in (tmp_path / "margin-mlp-digits.tex").read_text()
    assert "Quick run" not in (tmp_path / "perceptron.tex").read_text()
    assert stored.shortened(every) == {}  # the tables that were given are left as they are


def test_a_measurement_that_was_cut_short_says_so_too(every, tmp_path):
    (table,) = stored.marked({"deviations": every["deviations"]}, {"deviations": "2 seeds."}).values()
    writing._table("deviations", table, tmp_path, {})
    assert stored.shortened(stored.read(tmp_path, ["deviations"])) == {"deviations": "2 seeds."}


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["angel-depth"], "there is no figure 'angel-depth': did you mean 'angle-depth'"),
        (["margin", "--venue", "nips"], "there is no venue 'nips': did you mean 'neurips'"),
        (["margin", "--format", "eps"], "--format eps: figures are written as png, svg, pdf, tex."),
    ],
)
def test_what_cannot_be_done_is_refused_before_anything_is_measured(arguments, reason, run, tmp_path, monkeypatch):
    monkeypatch.setattr(gallery, "tables", lambda progress: pytest.fail("measured"))
    code, _, err = run(*arguments, "--out", tmp_path / "new")
    assert code == 2
    assert reason in err
    assert not (tmp_path / "new").exists()


def test_figures_of_the_theory_need_no_measurement(run, tmp_path, monkeypatch):
    monkeypatch.setattr(gallery, "tables", lambda progress: pytest.fail("measured"))
    code, said, _ = run("ste", "claims", "claims-table", "--out", tmp_path, "--format", "tex")
    assert code == 0
    assert [Path(line).name for line in said.splitlines()] == ["ste.tex", "claims.tex", "claims-table.tex"]


def test_what_is_not_shown_is_said_beside_the_paths(run, tmp_path):
    note = "shows 8 of 28 surrogates; --surrogates chooses others."
    code, said, err = run("ste", "--out", tmp_path, "--format", "tex")
    assert (code, said) == (0, f"{tmp_path / 'ste.tex'}\n")
    assert err == f"downslope: ste {note}\n"
    _, said, err = run("ste", "--out", tmp_path, "--format", "tex", "--json")
    assert (list(json.loads(said)), err) == (["paths", "left_out", "quick"], f"downslope: ste {note}\n")
    _, _, err = run("ste", "--out", tmp_path, "--format", "tex", "--surrogates", "laplace")
    assert err == ""


@pytest.mark.parametrize("name", ["angle-dept", "claims-tables"])
def test_an_unknown_figure_is_met_with_the_near_ones(name, run, folder):
    code, _, err = run(name, "--data", folder, "--out", folder / "figures")
    assert code == 2
    assert f"there is no figure {name!r}: did you mean " in err


def test_the_small_measurements_hold_every_table_of_the_gallery():
    """What the study gives and what the theory gives is what the figures ask for."""
    wanted = {drawer.TABLE for drawer in drawing.figures().values() if not hasattr(drawer, "made")}
    given = {"deviations", "curves", "samples", "along", "slice", "margins", "jamming", "perceptron"}
    assert wanted <= given
