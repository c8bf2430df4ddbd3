"""The house look: a surrogate looks the same everywhere, text is large enough, the same data give the same bytes."""

import itertools
import re

import downslope as ds
import numpy as np
import pytest
from downslope.analysis.errors import Refused
from downslope.analysis.surrogates.catalogue import USUAL
from downslope.experiments.studies import gallery
from downslope.paper_figures import look
from downslope.paper_figures.gallery.descent import training
from downslope.paper_figures.gallery.deviation import angles, ranking, signs
from downslope.paper_figures.gallery.theory import catalogue
from matplotlib.text import Text


@pytest.fixture(scope="module")
def drawn(deviations, curves):
    """Every figure of the gallery, drawn with the whole catalogue."""
    one = deviations[(deviations["network"] == "deep-tanh-digits") & (deviations["trained"] == "tied")]
    return {
        "angles": angles.draw(one),
        "ranking": ranking.draw(deviations),
        "signs": signs.draw(one),
        "training": training.draw(curves),
        "catalogue": catalogue.draw(catalogue.shapes()),
    }


def test_no_two_surrogates_of_the_catalogue_look_alike():
    styles = [look.style(name) for name in ds.SURROGATES]
    assert all(a != b for a, b in itertools.combinations(styles, 2))


def luminance(colour):
    return float(np.dot(look.mpl.colors.to_rgb(colour), (0.2126, 0.7152, 0.0722)))


def test_the_usual_surrogates_differ_in_colour_and_without_it():
    styles = [look.style(name) for name in USUAL]
    assert len({each.colour for each in styles}) == len({each.marker for each in styles}) == len(USUAL) == 8
    # Without markers: two of one line are two greys.
    one_line = [(a, b) for a, b in itertools.combinations(styles, 2) if a.line == b.line]
    assert one_line
    assert all(abs(luminance(a.colour) - luminance(b.colour)) > 0.1 for a, b in one_line)


def test_the_gallery_measures_the_usual_surrogates():
    assert gallery.Plan().surrogates == USUAL


def test_surrogates_of_one_colour_differ_in_marker_and_in_line():
    styles = [look.style(name) for name in ds.SURROGATES]
    same = [(a, b) for a, b in itertools.combinations(styles, 2) if a.colour == b.colour]
    assert same  # there are more surrogates than colours
    assert all(a.marker != b.marker and a.line != b.line for a, b in same)


def test_a_stranger_keeps_its_style():
    assert look.style("mine") == look.style("mine")


@pytest.mark.parametrize(
    ("venue", "inches"), [("neurips", 5.5), ("iclr", 5.5), ("icml", 6.75), ("jmlr", 6.0), ("tmlr", 6.5)]
)
def test_widths_are_the_venues(venue, inches):
    assert look.width(venue) == pytest.approx(inches, abs=1e-3)


def test_an_unknown_venue_is_met_with_the_near_ones():
    with pytest.raises(Refused, match="did you mean 'neurips'"):
        look.width("nuerips")


def test_figures_have_the_column_width(drawn):
    assert {name: figure.get_figwidth() for name, figure in drawn.items()} == dict.fromkeys(drawn, 5.5)


def test_no_text_is_below_six_points(drawn):
    small = [
        (name, text.get_text(), text.get_fontsize())
        for name, figure in drawn.items()
        for text in figure.findobj(Text)
        if text.get_text() and text.get_visible() and text.get_fontsize() < look.SMALLEST
    ]
    assert small == []


def test_the_same_data_give_the_same_bytes(few, tmp_path):
    files = [
        look.save(ranking.draw(few), tmp_path / f"{turn}{suffix}")
        for turn in "ab"
        for suffix in (".svg", ".pdf", ".png")
    ]
    contents = {path.name: path.read_bytes() for path in files}
    for suffix in (".svg", ".pdf", ".png"):
        assert contents[f"a{suffix}"] == contents[f"b{suffix}"]
    assert b"/Type3" not in contents["a.pdf"]
    assert b"/Subtype /Type3" not in contents["a.pdf"]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(contents)


def test_an_unknown_suffix_is_refused(few, tmp_path):
    with pytest.raises(Refused, match=r"\.pdf, \.svg, \.png"):
        look.save(ranking.draw(few), tmp_path / "ranking.jpg")


def test_inline_figures_share_no_id_and_every_reference_resolves(few):
    first, second = (look.svg(ranking.draw(few), name, label="angles <in> layers") for name in ("one", "two"))
    ids = [set(re.findall(r'\bid="([^"]+)"', text)) for text in (first, second)]
    assert ids[0]
    assert ids[0].isdisjoint(ids[1])
    for text, known in zip((first, second), ids, strict=True):
        assert set(re.findall(r'href="#([^"]+)"', text)) | set(re.findall(r"url\(#([^)]+)\)", text)) <= known
        assert "://" not in text
        assert text.startswith('<svg role="img" aria-label="angles &lt;in&gt; layers"')
