"""What is printed: no glyph in a file is below six points, superscripts included, and rows of panels stand evenly."""

import re

import downslope as ds
import numpy as np
import pytest
from downslope.paper_figures import drawing, look
from downslope.paper_figures.gallery.theory import catalogue, perceptron
from downslope.paper_figures.marks import ticks

FEW = ("constant", "triangle", "rectangle")


@pytest.fixture(scope="module")
def held(one_run):
    """Tables of one run each."""
    return one_run("mlp-digits", FEW)


def printed_sizes(figure, folder):
    """The sizes in points of all text in the figure's PDF, from its Tf operators; no text is scaled after them."""
    look.settle(figure)
    with look.mpl.rc_context({"pdf.compression": 0}):
        path = look.save(figure, folder / "page.pdf")
    data = path.read_bytes()
    # What lies between BT and ET may be turned and moved, not scaled: the matrix of each is a rotation.
    for a, b, c, d in re.findall(rb"([-\d.e]+) ([-\d.e]+) ([-\d.e]+) ([-\d.e]+) [-\d.e]+ [-\d.e]+ Tm", data):
        assert float(a) * float(d) - float(b) * float(c) == pytest.approx(1)
    return {float(size) for size in re.findall(rb"/F\d+ ([\d.]+) Tf", data)}


@pytest.mark.parametrize("name", drawing.figures())
def test_nothing_is_printed_below_six_points(name, held, tmp_path):
    with look.at("icml-column"):
        drawn = list(drawing.drawn(name, held, quick="3 seeds."))
        sizes = [printed_sizes(each.figure, tmp_path) for each in drawn]
    assert all(sizes)
    assert min(min(each) for each in sizes) >= look.SMALLEST


def test_a_superscript_would_be_caught(held, tmp_path, monkeypatch):
    monkeypatch.setattr(ticks, "decades", lambda axis: None)
    assert min(printed_sizes(perceptron.draw(held["perceptron"]), tmp_path)) < 5


def test_plain_digits_name_each_decade():
    values = [10.0**power for power in range(-6, 12)]
    assert len({ticks.plain(value) for value in values}) == len(values)


def rows_of(figure):
    """The heights of a grid's panels that are drawn, row by row from the top."""
    look.settle(figure)
    return sorted({round(panel.get_position().y0, 6) for panel in figure.axes if panel.axison}, reverse=True)


@pytest.mark.parametrize("caught", [False, True])
def test_rows_stand_evenly_above_a_short_last_one(caught, monkeypatch):
    if caught:  # what the labels of the row above the last would do to the layout
        monkeypatch.setattr(catalogue.ticks, "foot", plain_foot)
    names = list(ds.SURROGATES)[:8]
    with look.at("icml-column"):
        monkeypatch.setattr(look, "across", lambda panels, inches: 3)
        figure = catalogue.draw(catalogue.shapes([ds.SURROGATES[name] for name in names]))
    labelled = [place for place, panel in enumerate(figure.axes[:8]) if panel.xaxis.get_tick_params()["labelbottom"]]
    assert labelled == [5, 6, 7]
    gaps = -np.diff(rows_of(figure))
    assert len(gaps) == 2
    assert (gaps[0] == pytest.approx(gaps[1], rel=0.01)) is not caught


def plain_foot(panel, place, across, panels):
    panel.tick_params(axis="x", labelbottom=place + across >= panels)
