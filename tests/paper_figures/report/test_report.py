"""The report's page: its words are computed from its tables, it is one file, and it is written whole or not at all."""

import dataclasses
import json
import math
import os
import re
from fractions import Fraction

import downslope as ds
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from downslope.analysis.errors import Refused
from downslope.analysis.gradients import table as measurement
from downslope.analysis.surrogates.checks.present import Checked
from downslope.analysis.surrogates.checks.record import Outcome, Record
from downslope.experiments import study
from downslope.paper_figures import drawing, files
from downslope.paper_figures.report import answers, grids, page, pictures, writing
from downslope.paper_figures.report.catalogue import conformance, entries

PLAN = {"epochs": 7, "draws": 2}


def test_every_surrogate_of_the_catalogue_has_its_card(rendered):
    assert set(ds.SURROGATES) <= set(re.findall(r'id="surrogate-(\w+)"', rendered))


def test_a_card_says_what_the_profile_holds():
    cards = {entry.name: dict(entry.facts) for entry in entries.entries(ds.SURROGATES.values())}
    assert cards["triangle"]["largest value"] == "1, at u = 0"
    assert cards["triangle"]["support"] == "[-1, 1]"
    assert cards["triangle"]["integral"] == "1"
    assert cards["triangle"]["symmetry"] == "even"
    assert cards["triangle"]["Lipschitz constant"].startswith("1, at u = ")
    assert cards["gaussian"]["support"] == "the whole line"
    assert cards["gaussian"]["largest value"] == f"sqrt(2)/sqrt(pi) ≈ {math.sqrt(2 / math.pi):.4g}, at u = 0"
    assert cards["gaussian"]["smallest value"] == "0, towards u = ∞"
    assert cards["constant"]["integral"] == "∞"
    assert cards["clipped"]["Lipschitz constant"].startswith("∞, at u = ")
    assert cards["relu_derivative"]["symmetry"] == "none"
    assert cards["relu_derivative"]["support"] == "[0, ∞)"
    assert cards["full_jam"]["profile"] == "of its mean over the noise"
    assert cards["full_jam"]["largest value"].startswith("1/2")
    assert re.fullmatch(r"≈ -0\.0317\d*, at u ≈ [\d.]+", cards["multi_gaussian"]["smallest value"])


def test_a_card_says_what_is_proved_of_the_sign():
    cards = {entry.name: dict(entry.facts)["sign"] for entry in entries.entries(ds.SURROGATES.values())}
    assert cards["constant"] == "positive everywhere"
    assert cards["triangle"].startswith("never negative, zero somewhere, as at u = ")
    said, witness = cards["multi_gaussian"].split(", as at u = ")
    assert said == "negative somewhere"
    assert ds.SURROGATES["multi_gaussian"](np.array([float(Fraction(witness))]))[0] < 0


def test_a_witness_is_shown_part_by_part(rendered):
    assert "<pre>shows: one weight\nvalues: {&#34;g&#34;: &#34;1/2&#34;}</pre>" in rendered


def test_a_quick_report_says_so_and_a_whole_one_does_not(contents, rendered):
    assert "<strong>Quick run.</strong> 3 seeds." in rendered
    assert "Quick run." not in page.render(bare(contents, quick=""), version="1")


def bare(contents, **changes):
    """Other contents without figures, which are slow to set."""
    return dataclasses.replace(contents, pictures=pictures.Pictures({}, ()), **changes)


def test_an_unexpected_verdict_is_shown_as_a_failure(contents):
    first, *rest = contents.claims
    text = page.render(bare(contents, claims=[{**first, "verdict": "OPEN"}, *rest]), version="1")
    assert 'class="failed">OPEN<br>in print: REFUTED' in text
    assert "NOT as printed: batch-mixing" in text


def test_standings_count_what_the_table_holds():
    table = pd.DataFrame(
        [
            ("good", "0", 1, 10.0),
            ("good", "whole", 0, 5.0),
            ("bad", "0", 1, 90.0),
            ("bad", "whole", 0, 20.0),
            ("blind", "0", 1, np.nan),
            ("tied", "0", 1, 0.0),
        ],
        columns=["surrogate", "layer", "depth", "angle_degrees"],
    ).assign(network="net", trained="tied", stage="end", step=1, seed=0)
    found = {standing.surrogate: standing for standing in answers.standings(table)}
    assert list(found) == ["good", "bad", "blind"]
    assert [each.descends for each in found.values()] == [True, False, False]
    assert (found["bad"].beyond, found["bad"].whole_beyond, found["bad"].worst) == (1, 0, 90.0)
    assert (found["blind"].undefined, found["blind"].measured) == (1, 1)
    said = answers.answer(table)
    assert said[0].startswith("1 of 3 surrogates stayed below 90 degrees")
    assert "(good)" in said[0]
    assert said[1] == "1 of 3 surrogates reached 90 degrees or more somewhere (bad)."
    assert said[2] == "The largest of 3 angles is 90.0 degrees: bad in layer 1 of net trained tied, end, seed 0."
    assert said[3] == "Over all layers together, none of 3 surrogates reached 90 degrees or more."
    assert said[4].startswith("1 of 3 angles are undefined")
    assert said[4].endswith("(blind); they count for neither side.")
    assert answers.answer(table[table["surrogate"] == "good"])[0].startswith("All 1 surrogates stayed below")
    assert "at most 0 degrees from the exact gradient in 1 rows" in answers.control(table)


def test_the_most_flips_are_found_where_they_are(few):
    place = (few["network"] == "deep-tanh-digits") & (few["trained"] == "constant") & (few["surrogate"] == "triangle")
    flipped = few.assign(flipped=few["flipped"].where(~(place & (few["depth"] == 2)), few["flipped"] + 400))
    rows = flipped[place & (few["depth"] == 2)]
    share = (rows["flipped"] / rows[["kept", "flipped", "vanished", "appeared"]].sum(axis=1)).mean() * 100
    assert (
        f"triangle flips the sign of {share:.0f}% of the entries of layer 2 of deep-tanh-digits trained constant"
        in answers.flips(flipped)
    )


def curve(trained, finals):
    return pd.DataFrame(
        {"network": "net", "trained": trained, "seed": seed, "epoch": epoch, "split": "test", "accuracy": value / 100}
        for seed, final in enumerate(finals)
        for epoch, value in ((0, 10.0), (1, final))
    )


@pytest.mark.parametrize(
    ("untied", "verdict"),
    [
        ([91.0, 92.1, 93.0], "better"),
        ([89.0, 90.1, 91.0], "worse"),
        ([91.0, 90.0, 92.5], "no difference shown"),
        ([90.0, 91.0, 92.0], "no difference shown"),
    ],
)
def test_the_comparison_is_paired_by_seed(untied, verdict):
    from scipy.stats import ttest_rel

    (found,) = answers.compare(pd.concat([curve("tied", [90.0, 91.0, 92.0]), curve("constant", untied)]))
    assert found.verdict == verdict
    interval = (
        ttest_rel(untied, [90.0, 91.0, 92.0]).confidence_interval(0.95) if verdict != "no difference shown" else None
    )
    if interval is not None:
        assert found.difference - found.half_width == pytest.approx(interval.low)
        assert found.difference + found.half_width == pytest.approx(interval.high)


def test_one_seed_supports_no_verdict():
    (found,) = answers.compare(pd.concat([curve("tied", [90.0]), curve("constant", [95.0])]))
    assert found.verdict == "one run only"
    assert math.isnan(found.half_width)
    assert "interval" not in answers.said_of(found)


def test_grids_show_median_range_and_what_is_undefined(few):
    shown = {grid.title: grid for grid in grids.grids(few, PLAN)}
    assert len(shown) == 4 * len(grids.QUANTITIES)
    grid = shown["mlp-digits, trained tied: angle to the exact gradient, in degrees"]
    assert grid.columns == ("layer 1", "layer 2") * 4
    rows = {row.name: row.cells for row in grid.rows}
    first = few[(few["network"] == "mlp-digits") & (few["trained"] == "tied") & (few["surrogate"] == "triangle")]
    angles = first[(first["depth"] == 1) & (first["stage"] == "initialisation")]["angle_degrees"]
    assert rows["triangle"][0].text == f"{angles.median():.1f}"
    assert rows["triangle"][0].spread == f"({angles.min():.1f} to {angles.max():.1f})"
    assert "1 of 3 undefined" in rows["rectangle"][6].spread
    command = "downslope measure --network mlp-digits --trained tied --seed 0 --seed 1 --seed 2"
    chosen = "--surrogate constant --surrogate triangle --surrogate rectangle"
    assert grid.command == f"{command} --epochs 7 --draws 2 {chosen}"
    assert grids.grids(few, {})[0].command == f"{command} {chosen}"
    by_recipe = grids.grids(few, {"epochs": {"mlp-digits": 100}})[0].command
    assert by_recipe.endswith(f"--epochs 100 {chosen}")
    whole = pd.concat([few.iloc[:1].assign(surrogate=name) for name in study.FULL.surrogates])
    assert "--surrogate" not in grids.grids(whole, {})[0].command
    assert "--surrogate" in grids.grids(whole.iloc[::-1], {})[0].command


def test_a_cell_beyond_ninety_degrees_is_marked(few):
    turned = few.assign(angle_degrees=few["angle_degrees"].where(few["surrogate"] != "constant", 120.0))
    rows = {row.name: row.cells for row in grids.grids(turned, {})[0].rows}
    assert all(cell.beyond and cell.text == "120.0" for cell in rows["constant"])
    assert not any(cell.beyond for cell in rows["triangle"])


def test_the_files_are_written_whole(contents, tmp_path):
    folder = tmp_path / "new" / "report"
    paths = writing.write(folder, bare(contents), version="1")
    assert sorted(path.name for path in folder.iterdir()) == sorted(path.name for path in paths)
    assert [path.stem for path in paths] == ["report", *contents.tables]
    stored = measurement.read(folder / "deviations.parquet")
    pd.testing.assert_frame_equal(stored, contents.tables["deviations"], check_dtype=False)
    assert stored.attrs == dict(contents.provenance)
    for name in contents.tables:
        said = json.loads(pq.read_schema(folder / f"{name}.parquet").metadata[b"downslope"])
        schema = measurement.SCHEMA if name == "deviations" else f"downslope.{name}/1"
        assert said == {**contents.provenance, "schema": schema}
    claims = pd.read_parquet(folder / "claims.parquet")
    assert claims["id"].tolist() == ["batch-mixing", "kantorovich", "zero-sets"]
    assert json.loads(claims["witness"][0])["values"] == {"g": "1/2"}
    assert claims["uses"].tolist() == ["[]"] * 3
    with pytest.raises(Refused, match="read"):
        measurement.read(folder / "curves.parquet")


def test_a_failure_leaves_the_old_report_as_it_was(contents, tmp_path, monkeypatch):
    writing.write(tmp_path, bare(contents), version="1")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def fail(source, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(Refused, match="No space left"):
        writing.write(tmp_path, bare(contents), version="2")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_file_in_place_of_the_folder_is_refused(contents, tmp_path):
    (tmp_path / "taken").write_text("")
    with pytest.raises(Refused, match=r"--out .*taken is a file"):
        writing.write(tmp_path / "taken", bare(contents), version="1")
    with pytest.raises(Refused, match=r"--out .*below cannot be written to \(Not a directory\)"):
        files.folder(tmp_path / "taken" / "below")


def test_checks_are_counted_and_their_reasons_given(contents):
    checks = contents.tables["checks"]
    rows = {row.name: row for row in conformance.rows(checks)}
    assert rows["constant"].counts == (0, 0, 0, 1, 1)
    assert rows["swish_sign"].counts == (0, 1, 1, 0, 0)
    assert [reason.check for reason in rows["swish_sign"].reasons] == ["sign-preserving", "symmetric"]
    assert rows["swish_sign"].reasons[0].python == "print(1)"
    assert rows["swish_sign"].command == "downslope check swish_sign"
    assert not any(row.failed for row in rows.values())
    assert conformance.said(checks) == (
        "2 surrogates were put to 4 checks when this page was made: 1 expected to fail, 1 left a note, 1 passed, 1 did "
        "not apply; none failed otherwise."
    )


def test_a_check_that_fails_is_shown_open_and_first(contents):
    broken = Checked("mine", [Record("finite", Outcome.VIOLATION, "infinite at <1>", {"python": "f(1)"})], {})
    checks = conformance.table([broken])
    (row,) = conformance.rows(checks)
    assert row.failed
    assert "VIOLATIONS: mine" in conformance.said(checks)
    text = page.render(bare(contents, tables={**contents.tables, "checks": checks}), version="1")
    assert '<td class="number beyond">1</td>' in text
    assert "infinite at &lt;1&gt;<pre>f(1)</pre>" in text
    assert '<details class="printed" open>' in text


def test_the_page_speaks_of_whole_batches_against_the_exact_gradient(few):
    others = pd.concat([few, few.assign(reference="smoothed", angle_degrees=170.0), few.assign(sample="3")])
    assert len(page.exact(others)) == len(few)
    assert len(page.exact(few.drop(columns=["reference", "sample"]))) == len(few)


def test_a_figure_without_a_table_is_named_with_what_it_needs(few, curves, monkeypatch):
    some = {name: drawing.figures()[name] for name in ("catalogue", "per-sample", "signs", "training")}
    monkeypatch.setattr(drawing, "figures", lambda: some)
    told = []
    tables = {"curves": curves, "deviations": few.drop(columns="kept")}
    found = pictures.pictures(tables, progress=lambda running, done: told.append((running, done)))
    assert told == [(f"figure {name}", place) for place, name in enumerate(some, start=1)]
    absent = {each.name: each.reason for each in found.absent}
    assert absent["per-sample"] == "there is no table 'samples' (samples.parquet)"
    assert "needs the column kept" in absent["signs"]
    assert list(found.drawn) == ["catalogue", "training"]
    (training,) = found.drawn["training"]
    assert training.command == "downslope figures training --data report"
    assert training.data == f"curves.parquet: {len(curves):,} rows, 2 networks, 3 seeds"
    assert found.drawn["catalogue"][0].command == "downslope figures catalogue"


def test_every_figure_of_the_gallery_has_its_place():
    placed = [name for names in page.PLACES.values() for name in names]
    assert len(placed) == len(set(placed))
    assert set(placed) <= set(drawing.figures())
