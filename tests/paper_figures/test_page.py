"""What goes onto a page: measured with the whole catalogue, every figure and table fits the venue that asks for it."""

import re
import shutil
import subprocess

import downslope as ds
import pandas as pd
import pytest
from downslope.analysis.surrogates.catalogue import USUAL
from downslope.paper_figures import drawing, look, saving
from downslope.paper_figures.paper import fitting, latex, venues

ALL = list(ds.SURROGATES)


def of_all(table):
    """The table with rows of every surrogate, all like triangle's; what is no surrogate stays."""
    if "surrogate" not in table.columns:
        return table
    alike = table[table["surrogate"] == "triangle"]
    others = table[~table["surrogate"].isin(ALL)]
    return pd.concat([others, *(alike.assign(surrogate=name) for name in ALL)], ignore_index=True)


@pytest.fixture(scope="module")
def whole(every):
    """The tables of a study of one network that measured the whole catalogue."""
    table = every["deviations"]
    table = table[(table["network"] == "deep-tanh-digits") & (table["trained"] == "tied")]
    kept = {name: of_all(each) for name, each in every.items() if name not in ("jamming", "perceptron", "deviations")}
    return {**kept, "deviations": of_all(table), "jamming": every["jamming"], "perceptron": every["perceptron"]}


@pytest.fixture(scope="module")
def written(whole, tmp_path_factory):
    """Every figure and table, for a column of ICML, and what was said of them."""
    folder, notes = tmp_path_factory.mktemp("page"), {}
    saving.save([], whole, folder, venue="icml-column", formats=("pdf", "tex"), noted=notes.__setitem__)
    return folder, notes


def test_every_figure_is_as_high_as_the_page_at_most(written):
    folder, _ = written
    box = re.compile(rb"/MediaBox \[ 0 0 ([\d.]+) ([\d.]+) \]")
    high = {path.name: float(box.search(path.read_bytes())[2]) / 72 for path in folder.glob("*.pdf")}
    assert len(high) == len(drawing.figures())
    assert max(high.values()) <= venues.venue("icml-column").height


def test_what_is_left_out_is_said_with_how_to_choose(written):
    folder, notes = written
    said = notes["layer-step-deep-tanh-digits-tied"]
    assert re.fullmatch(
        r"shows \d+ of 28 surrogates, as with all of them it would be [\d.]+ in high, and the page leaves [\d.]+ in "
        r"above the caption; --surrogates chooses others\.",
        said,
    )
    many = said.split()[1]
    caption = (folder / "layer-step-deep-tanh-digits-tied.tex").read_text()
    assert f"Shown are {many} of 28 surrogates." in caption
    assert "--surrogates" not in caption
    assert notes["ste"] == "shows 8 of 28 surrogates; --surrogates chooses others."


def of_height(inches):
    """A drawing that is so high for each surrogate."""

    def draw(names):
        figure = look.Figure(figsize=(3, inches * (len(names) if names is not None else len(ALL))))
        return drawing.Drawn("stub", "Stub", "A word or two. " * 40, figure)

    return draw


@pytest.mark.parametrize("venue", venues.VENUES.values(), ids=venues.VENUES)
@pytest.mark.parametrize("inches", [0.1, 0.4, 0.9, 3.0])
def test_as_many_are_shown_as_each_venues_page_holds(venue, inches):
    drawn, note = fitting.fitted(of_height(inches), ALL, venue)
    high, room = drawn.figure.get_figheight(), venue.room(drawn.caption)
    assert high <= room < venue.height
    assert bool(note) == (inches * len(ALL) > room)
    shown = round(high / inches)
    assert shown == len(ALL) or next(n for n in (12, 8, 6, 4, 3, 2, 1) if n * inches <= room) == shown


def test_the_highest_figure_fits_the_lowest_page(whole):
    with look.at("eccv"):
        (drawn,) = drawing.drawn("layer-step", whole, fit=True)
    assert drawn.figure.get_figheight() <= venues.venue("eccv").room(drawn.caption) < 7.6
    assert drawn.note


def test_the_usual_ones_and_the_users_own_stay():
    drawn = []

    def draw(names):
        drawn.append(names)
        return of_height(0.7)(names)

    fitting.fitted(draw, [*ALL, "mine"], venues.venue("neurips"))
    assert drawn[0] is None
    assert set(drawn[1]) > {*USUAL, "mine"}
    assert drawn[-1] == [*USUAL]


def test_what_is_asked_for_is_drawn_whole_and_called_too_high(whole):
    with look.at("icml-column"):
        (drawn,) = drawing.drawn("layer-step", whole, surrogates=ALL, fit=True)
    assert sum(bool(panel.get_title()) for panel in drawn.figure.axes) == 2 * len(ALL)
    assert "Shown are" not in drawn.caption
    assert drawn.note.startswith("is ")


def test_a_page_without_room_is_told_of():
    figure = look.Figure(figsize=(3, 99))
    tall = drawing.Drawn("tall", "Tall", "A caption.", figure)
    one, note = fitting.fitted(lambda names: tall, ["constant", "triangle"], venues.venue("neurips"))
    assert one is tall
    assert note.startswith("is 99.0 in high, and the page leaves 8.")
    assert note.endswith("choose less of its table (--surrogates, --layers, --stages) or a wider --venue.")


def test_two_columns_get_wide_tables_and_one_gets_narrow_ones(whole):
    assert r"\begin{table*}[t]" in latex.results(whole["deviations"], wide=True)
    assert r"\begin{table}[t]" in latex.results(whole["deviations"])


def document(names):
    """A two-column page of ICML's measures with each of the floats on a page of its own."""
    body = "\n".join(rf"\input{{{name}}}\clearpage" for name in names)
    return (
        r"\documentclass[10pt,twocolumn]{article}"
        r"\usepackage[textwidth=6.75in,textheight=9in,columnsep=0.25in]{geometry}"
        rf"\usepackage{{{','.join(latex.PACKAGES)}}}\begin{{document}}\sloppy {body}\end{{document}}"
    )


def compiled(folder, text):
    (folder / "paper.tex").write_text(text)
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "paper.tex"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, errors="replace")
    assert done.returncode == 0, done.stdout[-2000:]
    return re.findall(r"(?:Float too large|Overfull \\[hv]box)[^\n]*", done.stdout)


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="LaTeX is not installed")
def test_the_page_holds_every_figure_and_table(written, tmp_path):
    folder, _ = written
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    names = sorted(path.stem for path in folder.glob("*.tex"))
    assert compiled(tmp_path, document(names)) == []


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="LaTeX is not installed")
def test_a_table_wider_than_its_line_is_scaled_down_to_it(whole, tmp_path):
    narrow = latex.results(whole["deviations"])
    bare = narrow.replace(r"\end{tabular}}", r"\end{tabular}")
    bare = re.sub(r"  \\resizebox.*\n", "", bare)
    for name, said in (("narrow", narrow), ("bare", bare)):
        (tmp_path / f"{name}.tex").write_text(said)
    assert compiled(tmp_path, document(["narrow"])) == []
    assert any("Overfull" in each for each in compiled(tmp_path, document(["bare"])))
