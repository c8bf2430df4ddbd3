"""What a paper gets: pages of the venue's width, fonts that journals take, captions that LaTeX sets, the same bytes."""

import re
import shutil
import subprocess

import numpy as np
import pytest
from downslope.analysis.errors import Refused
from downslope.paper_figures import drawing, look, saving
from downslope.paper_figures.gallery.theory import ste
from downslope.paper_figures.marks import labels
from downslope.paper_figures.marks.labels import apart
from downslope.paper_figures.paper import latex, venues
from matplotlib.text import Text

WRITTEN = ("svg", "pdf", "tex")
FEW = ("constant", "triangle", "rectangle")
BOX = re.compile(rb"/MediaBox \[ 0 0 ([\d.]+) ([\d.]+) \]")


@pytest.fixture(scope="module")
def held(one_run, curves):
    """Tables of one run each, so that every figure is one file."""
    return {**one_run("mlp-digits", FEW), "curves": curves.query("network == 'mlp-digits'")}


@pytest.fixture(scope="module")
def written(held, tmp_path_factory):
    """Every figure, drawn for one column of ICML and written in every format but PNG, which takes longest."""
    folder = tmp_path_factory.mktemp("figures")
    saving.save([], held, folder, venue="icml-column", formats=WRITTEN, quick="3 seeds & 1% of it.")
    return folder


def fonts_of_type_3(pdf: bytes) -> bool:
    return b"/Type3" in pdf


def test_every_figure_is_there_in_each_format(written):
    names = {path.name.split(".")[0] for path in written.iterdir()}
    figures = {name.removesuffix("-mlp-digits-tied").removesuffix("-mlp-digits") for name in names}
    assert figures == {*drawing.figures(), *drawing.TABLES}
    for name in names - set(drawing.TABLES):
        assert {path.suffix for path in written.glob(f"{name}.*")} == {f".{each}" for each in WRITTEN}


def test_the_pages_are_as_wide_as_the_venue_wants(written):
    wide = {path.name: float(BOX.search(path.read_bytes())[1]) / 72 for path in written.glob("*.pdf")}
    assert wide == dict.fromkeys(wide, pytest.approx(3.25, abs=1e-6))


@pytest.mark.parametrize("venue", venues.VENUES)
def test_a_page_of_each_venue(venue, held, tmp_path):
    (path,) = saving.save(["perceptron"], held, tmp_path, venue=venue, formats=["pdf"], surrogates=["constant"])
    wanted = venues.VENUES[venue].sizes()["figure.figsize"][0]
    assert float(BOX.search(path.read_bytes())[1]) == pytest.approx(72 * wanted, abs=0.01)


def test_an_unknown_venue_is_refused_before_anything_is_drawn(held, tmp_path):
    with pytest.raises(Refused, match="--venue icmll: there is no venue 'icmll': did you mean 'icml'"):
        saving.save(["ste"], held, tmp_path / "new", venue="icmll")
    assert not (tmp_path / "new").exists()


def test_no_font_is_of_type_3(written):
    assert not any(fonts_of_type_3(path.read_bytes()) for path in written.glob("*.pdf"))
    with look.mpl.rc_context({"pdf.fonttype": 3}):  # what the test would see if the house forgot
        figure = look.Figure()
        figure.text(0.5, 0.5, "text")
        figure.savefig(written / "planted", format="pdf")
    assert fonts_of_type_3((written / "planted").read_bytes())
    (written / "planted").unlink()


@pytest.mark.skipif(shutil.which("pdffonts") is None, reason="pdffonts is not installed")
def test_pdffonts_finds_embedded_truetype_alone(written):
    for path in written.glob("*.pdf"):
        said = subprocess.run(["pdffonts", str(path)], capture_output=True, text=True, check=True).stdout
        fonts = said.splitlines()[2:]
        assert fonts
        assert all(re.search(r"CID TrueType .* yes yes", line) for line in fonts), said


@pytest.mark.parametrize("name", drawing.ORDER)
def test_no_text_is_small_or_leaves_the_page(name, held):
    for venue in ("neurips", "icml-column"):
        with look.at(venue):
            (drawn, *_) = drawing.drawn(name, held)
            drawn.figure.draw_without_rendering()
        box, (wide, high) = drawn.figure.get_tightbbox(), drawn.figure.get_size_inches()
        assert box.x0 > -0.02
        assert box.y0 > -0.02
        assert box.x1 < wide + 0.02
        assert box.y1 < high + 0.02
        small = [
            text.get_text()
            for text in drawn.figure.findobj(Text)
            if text.get_text() and text.get_visible() and text.get_fontsize() < look.SMALLEST
        ]
        assert small == []


def test_the_same_data_give_the_same_bytes(held, tmp_path):
    names, few = ["angle-depth", "along-the-step", "claims"], ["constant", "triangle"]
    first, second = (saving.save(names, held, tmp_path / turn, surrogates=few) for turn in "ab")
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]
    moved = {**held, "along": held["along"].assign(change=held["along"]["change"] * 1.01)}
    (third,) = saving.save(["along-the-step"], moved, tmp_path / "c", formats=["svg"], surrogates=few)
    (before,) = [path for path in first if path.name == third.name]
    assert third.read_bytes() != before.read_bytes()


def test_a_quick_figure_is_marked_and_its_caption_says_so(held, written):
    (quick,) = drawing.drawn("perceptron", held, quick="3 seeds.")
    assert "quick run" in [text.get_text() for text in quick.figure.texts]
    assert quick.caption.endswith("Quick run: 3 seeds.")
    (whole,) = drawing.drawn("perceptron", held)
    assert "quick run" not in [text.get_text() for text in whole.figure.texts]
    assert r"Quick run: 3 seeds \& 1\% of it." in (written / "perceptron.tex").read_text()


def test_a_snippet_includes_its_figure_at_its_width_with_caption_and_label(written):
    said = (written / "margin-mlp-digits.tex").read_text()
    assert r"\includegraphics[width=3.2500in]{margin-mlp-digits.pdf}" in said
    assert r"\label{fig:margin-mlp-digits}" in said
    assert (
        "lines, one a surrogate in each of 2 layers, 1 inside, 3 undecided, 2 outside. Attacked over certified is 5.2"
        in said
    )
    assert "figure*" in latex.snippet("a.pdf", "A", "b", venues.VENUES["icml"])


@pytest.mark.parametrize(
    ("formats", "there", "graphic"),
    [
        (("png", "tex"), (), "png"),
        (("png", "tex"), ("pdf",), "png"),
        (("png", "pdf", "tex"), (), "pdf"),
        (("tex",), (), "pdf"),
        (("svg", "tex"), ("png",), "png"),
        (("tex",), ("png", "pdf"), "pdf"),
    ],
)
def test_a_snippet_includes_the_file_that_is_written(formats, there, graphic, tmp_path):
    for suffix in there:
        (tmp_path / f"a.{suffix}").touch()
    assert saving._graphic(tmp_path, "a", formats) == f"a.{graphic}"


def test_a_png_alone_is_what_the_snippet_includes(held, tmp_path):
    saving.save(["perceptron"], held, tmp_path, formats=["png", "tex"], surrogates=["constant"])
    (included,) = re.findall(r"\\includegraphics\[[^]]*\]\{(.*)\}", (tmp_path / "perceptron.tex").read_text())
    assert included == "perceptron.png"
    assert (tmp_path / included).is_file()


def test_results_are_a_table_of_medians_and_ranges(held):
    said = latex.results(held["deviations"])
    rows = held["deviations"].query("surrogate == 'triangle' and depth == 1")["angle_degrees"]
    assert f"triangle & {rows.median():.1f} ({rows.min():.1f} to {rows.max():.1f}) & " in said
    assert "1 of 12 undefined" in said
    assert r"\toprule" in said


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="LaTeX is not installed")
def test_a_document_with_every_figure_and_table_compiles(written, tmp_path):
    inputs = sorted(path.stem for path in written.glob("*.tex"))
    body = "\n".join(rf"\input{{{name}}}\clearpage" for name in inputs)
    document = (
        r"\documentclass{article}\usepackage[margin=1in]{geometry}"
        rf"\usepackage{{{','.join(latex.PACKAGES)}}}\begin{{document}}{body}\end{{document}}"
    )
    for path in (*written.glob("*.tex"), *written.glob("*.pdf")):
        shutil.copy(path, tmp_path)
    (tmp_path / "paper.tex").write_text(document)
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "paper.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, errors="replace")
    assert done.returncode == 0, done.stdout[-2000:]
    assert "Missing character" not in done.stdout
    assert (tmp_path / "paper.pdf").stat().st_size > 10_000


@pytest.mark.skipif(shutil.which("latex") is None, reason="LaTeX is not installed")
def test_latex_sets_the_text_where_it_is_asked_to(held, tmp_path, monkeypatch):
    # Stands in for cm-super, which small installations lack and which these fonts do not need.
    (tmp_path / "type1ec.sty").write_text("")
    monkeypatch.setenv("TEXINPUTS", f"{tmp_path}:")
    monkeypatch.setattr(look.mpl.texmanager.TexManager, "_cache_dir", tmp_path / "cache", raising=False)
    (path,) = saving.save(["perceptron"], held, tmp_path, surrogates=["constant"], formats=["pdf"], latex_text=True)
    data = path.read_bytes()
    assert b"/Type3" not in data
    assert b"DejaVu" not in data


def test_without_latex_its_text_is_refused(held, tmp_path, monkeypatch):
    monkeypatch.setattr(look.shutil, "which", lambda name: None)
    with pytest.raises(Refused, match="--latex-text: there is no `latex` on the path"):
        saving.save(["perceptron"], held, tmp_path, latex_text=True)


def test_labels_lie_apart_and_move_as_little_as_they_can():
    random = np.random.default_rng(0)
    heights = random.random(12).tolist()
    moved = np.array(apart(heights, 0.05))
    order = np.argsort(heights)
    assert (np.diff(moved[order]) >= 0.05 - 1e-12).all()
    assert moved.sum() == pytest.approx(sum(heights))
    assert apart([0.0, 1.0], 0.05) == [0.0, 1.0]


def crossed(figure):
    """The labels of a panel through which a leader runs, by their boxes and the leaders' paths on the page."""
    figure.draw_without_rendering()
    panel = figure.axes[0]
    boxes = {text.get_text(): text.get_window_extent() for text in panel.texts}
    leaders = [each for each in panel.get_lines() if str(each.get_label()).startswith("leader of ")]
    assert len(leaders) == len(boxes) > 0
    paths = [each.get_transform().transform_path(each.get_path()) for each in leaders]
    return [words for words, box in boxes.items() if any(path.intersects_bbox(box, filled=False) for path in paths)]


def test_no_leader_runs_through_a_label(monkeypatch):
    assert crossed(ste.draw(ste.made())) == []
    monkeypatch.setattr(labels, "_ENDS", 1.1)
    assert crossed(ste.draw(ste.made())) != []


def test_fills_of_one_figure_differ_in_greyscale():
    from downslope.paper_figures.gallery.deviation import signs
    from downslope.paper_figures.gallery.theory import claims

    def luminance(colour):
        return float(np.dot(look.mpl.colors.to_rgb(colour), (0.2126, 0.7152, 0.0722)))

    greys = sorted(luminance(colour) for colour in signs._COLOURS.values())
    assert min(np.diff(greys)) > 0.1
    # The verdicts are told apart by a sign of their own.
    assert len({sign for sign, _ in claims.LOOKS.values()}) == len(claims.LOOKS)
