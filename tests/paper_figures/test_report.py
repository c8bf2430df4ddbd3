"""The report's page: its words are computed from its tables, it is one file, and it is written whole or not at all."""

import json
import math
import os
import re
from fractions import Fraction
from html.parser import HTMLParser

import downslope as ds
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from downslope.analysis.errors import Refused
from downslope.analysis.gradients import table as measurement
from downslope.paper_figures import drawing, files
from downslope.paper_figures.report import answers, entries, grids, page, writing

CLAIMS = [
    {
        "id": "batch-mixing",
        "title": "A batch mixes <signs>",
        "source": "Troiano et al. 2025",
        "verdict": "REFUTED",
        "expected": "REFUTED",
        "scope": {"depth": 1},
        "witness": {"shows": "one weight", "values": {"g": "1/2"}},
        "seconds": 0.25,
    },
    {
        "id": "kantorovich",
        "title": "The cosine's bound",
        "source": "Kantorovich 1948",
        "verdict": "PROVED",
        "expected": "PROVED",
        "scope": "any",
        "witness": None,
        "seconds": 1,
    },
]


class Reader(HTMLParser):
    """Collects what a test asks of a page: addresses, ids, images and their names, headings, scripts."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses, self.ids, self.labels, self.tags = [], [], [], []

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        self.tags.append(tag)
        self.addresses += [given[name] for name in ("href", "src", "xlink:href", "data", "srcset") if name in given]
        self.ids += [given["id"]] if "id" in given else []
        if given.get("role") == "img":
            self.labels.append(given.get("aria-label", ""))


@pytest.fixture(scope="module")
def contents(few, curves):
    return page.Contents(few, curves, CLAIMS, measurement.provenance(seed=0, command="downslope report"))


@pytest.fixture(scope="module", autouse=True)
def figures_once(few, curves):
    """Figures take seconds, and every page of these tests shows the same ones: they are drawn once."""
    drawn = page.figures(few, curves)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(page, "figures", lambda table, curves, progress: drawn)
        yield


@pytest.fixture(scope="module")
def rendered(contents):
    return page.render(contents, files=writing.TABLES, version="1.2.3")


@pytest.fixture(scope="module")
def read(rendered):
    reader = Reader()
    reader.feed(rendered)
    return reader


def test_the_page_asks_for_nothing_else(rendered, read):
    assert read.addresses
    assert all(address.startswith("#") for address in read.addresses)
    assert "script" not in read.tags
    assert "link" not in read.tags
    assert re.findall(r"(?:https?:)?//[a-z]", rendered) == []
    assert "@import" not in rendered
    assert set(re.findall(r"url\(([^)]*)\)", rendered)) <= {f"#{name}" for name in read.ids}


def test_an_outside_address_would_be_caught(rendered):
    assert re.findall(r"(?:https?:)?//[a-z]", rendered + '<img src="https://example.org/a.png">') != []


def test_every_section_is_there_and_every_inner_link_leads_somewhere(read):
    assert {"question", *(name for name, _ in page.CONTENTS)} <= set(read.ids)
    assert {address[1:] for address in read.addresses} <= set(read.ids)
    assert len(read.ids) == len(set(read.ids))


def test_every_figure_has_its_caption_as_a_text_alternative(read):
    # Angles and signs for two networks, each trained in two ways; ranking, training, catalogue.
    assert len(read.labels) == 2 * 4 + 3
    assert all(len(label) > 80 for label in read.labels)


def test_a_figure_without_a_section_of_its_own_is_shown_too(contents, rendered, monkeypatch):
    assert 'id="more"' not in rendered
    drawn = page.figures(None, None, None)
    (ranking,) = drawn["ranking"]
    mine = drawing.Drawn("mine", "My own figure", "What it shows.", ranking.figure)
    monkeypatch.setattr(page, "figures", lambda *_: {**drawn, "mine": [mine]})
    assert "<strong>My own figure.</strong> What it shows." in page.render(contents, files=(), version="1")


def test_text_of_a_table_cannot_become_markup(rendered):
    assert "A batch mixes &lt;signs&gt;" in rendered


def test_every_surrogate_of_the_catalogue_has_its_card(read):
    assert {f"surrogate-{name}" for name in ds.SURROGATES} <= set(read.ids)


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
    assert "Quick run." not in rendered
    hurried = page.Contents(**{**vars(contents), "quick": "2 seeds, 10 epochs."})
    assert "<strong>Quick run.</strong> 2 seeds, 10 epochs." in page.render(hurried, files=(), version="1")


def test_an_unexpected_verdict_is_shown_as_a_failure(contents):
    wrong = [{**CLAIMS[0], "verdict": "OPEN"}, CLAIMS[1]]
    text = page.render(page.Contents(**{**vars(contents), "claims": wrong}), files=(), version="1")
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
    shown = {grid.title: grid for grid in grids.grids(few)}
    assert len(shown) == 4 * len(grids.QUANTITIES)
    grid = shown["mlp-digits, trained tied: angle to the exact gradient, in degrees"]
    assert grid.columns == ("layer 1", "layer 2") * 4
    rows = {row.name: row.cells for row in grid.rows}
    first = few[(few["network"] == "mlp-digits") & (few["trained"] == "tied") & (few["surrogate"] == "triangle")]
    angles = first[(first["depth"] == 1) & (first["stage"] == "initialisation")]["angle_degrees"]
    assert rows["triangle"][0].text == f"{angles.median():.1f}"
    assert rows["triangle"][0].spread == f"({angles.min():.1f} to {angles.max():.1f})"
    assert "1 of 3 undefined" in rows["rectangle"][6].spread
    assert grid.command == "downslope measure --network mlp-digits --trained tied --seed 0 --seed 1 --seed 2"


def test_a_cell_beyond_ninety_degrees_is_marked(few):
    turned = few.assign(angle_degrees=few["angle_degrees"].where(few["surrogate"] != "constant", 120.0))
    rows = {row.name: row.cells for row in grids.grids(turned)[0].rows}
    assert all(cell.beyond and cell.text == "120.0" for cell in rows["constant"])
    assert not any(cell.beyond for cell in rows["triangle"])


def test_the_files_are_written_whole(contents, tmp_path):
    paths = writing.write(tmp_path / "new" / "report", contents, version="1")
    assert sorted(path.name for path in (tmp_path / "new" / "report").iterdir()) == sorted(path.name for path in paths)
    stored = measurement.read(paths[1])
    pd.testing.assert_frame_equal(stored, contents.deviations, check_dtype=False)
    assert stored.attrs == dict(contents.provenance)
    metadata = pq.read_schema(paths[2]).metadata[b"downslope"]
    assert json.loads(metadata) == dict(contents.provenance)
    claims = pd.read_parquet(paths[3])
    assert claims["id"].tolist() == ["batch-mixing", "kantorovich"]
    assert json.loads(claims["witness"][0])["values"] == {"g": "1/2"}


def test_a_failure_leaves_the_old_report_as_it_was(contents, tmp_path, monkeypatch):
    writing.write(tmp_path, contents, version="1")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def fail(source, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(Refused, match="No space left"):
        writing.write(tmp_path, contents, version="2")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_file_in_place_of_the_folder_is_refused(contents, tmp_path):
    (tmp_path / "taken").write_text("")
    with pytest.raises(Refused, match=r"--out .*taken is a file"):
        writing.write(tmp_path / "taken", contents, version="1")
    with pytest.raises(Refused, match=r"--out .*below cannot be written to \(Not a directory\)"):
        files.folder(tmp_path / "taken" / "below")
