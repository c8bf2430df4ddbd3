"""What is plotted is what the table holds, figure by figure; a mutated drawing or table is caught by the same check."""

import re

import numpy as np
import pytest
from downslope.paper_figures import drawing, look
from downslope.paper_figures.gallery.descent import along_the_step, jamming, margin, training
from downslope.paper_figures.gallery.deviation import angle_depth, layer_step, per_sample
from downslope.paper_figures.gallery.theory import catalogue, claims, perceptron, ste
from matplotlib.axes import Axes
from scipy.stats import binomtest


def panel_of(figure, title):
    return next(panel for panel in figure.axes if panel.get_title().split("\n")[0] == title)


def line(panel, label):
    """(x, y) of the line of that label."""
    return next(np.array(each.get_data(), float) for each in panel.get_lines() if each.get_label() == label)


def points(panel, label):
    """(x, y) of the markers of an errorbar of that label."""
    return next(np.array(each.lines[0].get_data(), float) for each in panel.containers if each.get_label() == label)


def close(found, wanted):
    np.testing.assert_allclose(np.asarray(found, float), np.asarray(wanted, float), rtol=1e-9, atol=1e-12)


def check_angle_depth(figure, held):
    rows = held["deviations"]
    rows = rows[(rows["surrogate"] == "triangle") & (rows["stage"] == "end")]
    panel, by_depth = panel_of(figure, "triangle"), rows.groupby("depth")
    close(line(panel, "measured"), [sorted(rows["depth"].unique()), by_depth["angle_degrees"].mean()])
    predicted = np.degrees(np.arccos(rows["predicted_cosine"])).groupby(rows["depth"]).mean()
    close(line(panel, "mean field"), [predicted.index, predicted])
    half = 4.302652729911275 * by_depth["angle_degrees"].sem()  # Student's t, two degrees of freedom
    band = panel.collections[-1].get_paths()[0].vertices
    close(band[band[:, 0] == 1, 1].max(), by_depth["angle_degrees"].mean()[1] + half[1])


def check_layer_step(figure, held):
    rows = held["deviations"]
    rows = rows[rows["surrogate"] == "triangle"]
    panels = [panel for panel in figure.axes if panel.get_title() == "triangle"]
    assert len(panels) == 2
    for panel, measure in zip(panels, layer_step.MEASURES, strict=True):
        wanted = rows.pivot_table(index="depth", columns="step", values=measure, aggfunc="mean")
        close(panel.collections[0].get_array().reshape(wanted.shape), wanted)


def check_per_sample(figure, held):
    rows = held["samples"]
    cosine = rows.loc[(rows["surrogate"] == "triangle") & (rows["depth"] == 1), "cosine"].dropna()
    panel = panel_of(figure, "layer 1")
    close(
        [each.get_xdata()[0] for each in panel.get_lines() if each.get_marker() == look.style("triangle").marker],
        [cosine.median()],
    )
    stairs = [patch.get_data() for patch in panel.patches if hasattr(patch, "get_data")]
    heights = max(stairs, key=lambda each: np.count_nonzero(each.baseline - each.values))
    counts = np.histogram(cosine, heights.edges)[0]
    close((heights.baseline - heights.values) ** 2 / 0.75**2, counts / counts.sum())
    # 64 samples, seen by two runs each.
    share = (cosine < 0).mean()
    low, high = binomtest(round(share * 64), 64).proportion_ci(method="wilson")
    (said,) = [text.get_text() for text in panel.texts]
    shown = [int(number) for number in re.findall(r"\d+", said)]
    assert said == "{}% ({}–{})".format(*shown)
    assert shown == [round(100 * share), pytest.approx(100 * low, abs=1.5), pytest.approx(100 * high, abs=1.5)]


def check_along(figure, held):
    rows, panel = held["along"].query("scale == 'raw'"), panel_of(figure, "triangle")
    top = panel.get_ylim()[1]
    for surrogate in ("exact", "triangle"):
        means = rows[rows["surrogate"] == surrogate].groupby("step_size")["change"].mean()
        left = means.index[means > top].min()  # the line is drawn to where it leaves the panel
        means = means[means.index <= left]
        close(line(panel, surrogate), [means.index, means])
    plane, wanted = plane_of(figure, "triangle"), held["slice"]
    wanted = wanted[wanted["surrogate"] == "triangle"].pivot_table(
        index="along_surrogate", columns="along_gradient", values="loss"
    )
    close(plane.collections[0].get_array().reshape(wanted.shape), wanted)
    arrows = [text for text in plane.texts if hasattr(text, "xy")]
    close([arrow.xy for arrow in arrows], [(1.5, 0.0), (1.5 * 0.5, 1.5 * 0.75**0.5)])
    assert "60°" in [text.get_text() for text in plane.texts]


def plane_of(figure, title):
    """The slice of that title, which stands below the curves of the same title."""
    return [panel for panel in figure.axes if panel.get_title() == title][-1]


def check_margin(figure, held):
    rows = held["margins"]
    first, second = panel_of(figure, "layer 1"), panel_of(figure, "layer 2")
    spans = {patch.get_label(): (patch.get_x(), patch.get_x() + patch.get_width()) for patch in first.patches}
    mine = rows[rows["place"] == "1.relu"]
    low, high = mine["certified"].min(), mine["attacked"].max()  # what all runs have
    close(spans["certified"], (1, low))
    close(spans["open"], (low, high))
    close(spans["attacked"][0], high)
    stars = [each.get_xdata()[0] for each in first.get_lines() if each.get_label() == "exact"]
    close(sorted(stars), sorted(mine["kappa_star"].unique()))
    assert {patch.get_label() for patch in second.patches} == {"certified", "open"}
    lines = [each.get_segments()[0][:, 0] for each in first.collections]
    for surrogate, stands in (("constant", "undecided"), ("triangle", "outside")):
        each = mine[mine["surrogate"] == surrogate]
        marker = next(found for found in first.get_lines() if found.get_label() == surrogate)
        close(marker.get_xdata(), [each["kappa"].median()])
        ends = (each["least_kappa"].min(), each["most_kappa"].max())
        assert any(np.allclose(line, ends) for line in lines)
        assert margin.standing(*ends, low, high) == stands
        # Filled in half where it is undecided, white where it is outside.
        assert marker.get_fillstyle() == {"undecided": "left", "outside": "full"}[stands]
        assert (marker.get_markerfacecolor() == "white") == (stands == "outside")


def check_training(figure, held):
    curves, grid = held["curves"], held["grid"]
    runs = curves[(curves["network"] == "mlp-digits") & (curves["trained"] == "constant") & (curves["split"] == "test")]
    wanted = runs.groupby("epoch")["loss"].mean()
    close(line(panel_of(figure, "mlp-digits"), "constant"), [wanted.index, wanted])
    cells = grid[(grid["network"] == "mlp-digits") & (grid["forward"] == "tanh") & (grid["rule"] == "rectangle")]
    means = cells.groupby("learning_rate")[["alignment", "final_accuracy"]].mean()
    found = points(panel_of(figure, "mlp-digits, tanh"), "rectangle")
    close(found, [means["alignment"], 100 * means["final_accuracy"]])


def check_jamming(figure, held):
    rows = held["jamming"]
    rows = rows[(rows["surrogate"] == "full_jam") & (rows["depth"] == 1)]
    wanted = rows.groupby("averaged")[["cosine", "snr", "predicted_cosine", "predicted_snr"]].mean()
    top = panel_of(figure, "layer 1")
    below = figure.axes[figure.axes.index(top) + len(held["jamming"]["depth"].unique())]
    for panel, measure in ((top, "cosine"), (below, "snr")):
        draws, values = points(panel, "full_jam")
        close(values, wanted[measure])
        # Markers of one number of draws stand side by side around it, apart by less than half a doubling.
        close(draws / wanted.index, [(draws / wanted.index)[0]] * len(wanted))
        assert 2**-0.25 < (draws / wanted.index)[0] < 1
        close(line(panel, "closed form, full_jam"), [wanted.index, wanted[f"predicted_{measure}"]])


def check_perceptron(figure, held):
    rows = held["perceptron"]
    for surrogate, factor in (("constant", 1.0), ("leaky_rectangle", 16.0), ("full_jam", 4 / 3)):
        panel, mine = panel_of(figure, look.words(surrogate)), rows[rows["surrogate"] == surrogate]
        means = mine.groupby("features")["mistakes"].mean()
        close(line(panel, "mistakes"), [means.index, means])
        # R^2 = d + 1 and 1/gamma^2 = 4d + (2 floor(d/2) + 1)^2, as in print.
        bound = [factor * (d + 1) * (4 * d + (2 * (d // 2) + 1) ** 2) for d in means.index]
        close(line(panel, "bound"), [means.index, bound])
    close(line(panel_of(figure, "full jam"), "not converged")[0], [16])


def check_ste(figure, held):
    rows = held["ste"]
    for surrogate in ("constant", "triangle", "relu_derivative"):
        mine = rows[rows["surrogate"] == surrogate]
        close(line(figure.axes[0], surrogate), [mine["theta_degrees"], mine["correlation"]])
        close(line(figure.axes[1], surrogate)[0], [mine["residual"].iloc[0]])


def check_claims(figure, held):
    rows = held["claims"].set_index("id")
    boxes = {patch.get_gid().removeprefix("claim-"): patch for patch in figure.axes[0].patches if patch.get_gid()}
    for name, patch in boxes.items():
        verdict = name.removeprefix("surrogate-") if name.startswith("surrogate-") else rows.loc[name, "verdict"]
        assert look.mpl.colors.to_hex(patch.get_facecolor()) == claims.LOOKS[verdict][1]
    assert set(boxes) == {name for name in rows.index if not name.startswith("surrogate-")} | {"surrogate-PROVED"}
    near, far = claims._near_and_far(claims._blocks(held["claims"]), claims._edges(held["claims"]))
    assert len([patch for patch in figure.axes[0].patches if not patch.get_gid()]) == len(near)
    shown = [text.get_text() for text in figure.axes[0].texts]
    assert {*near, *far} == {*claims._edges(held["claims"])}
    assert all(mark in shown for mark in claims._marks(far).values())


def check_catalogue(figure, held):
    rows = held["shapes"]
    rows = rows[rows["surrogate"] == "triangle"]
    close(panel_of(figure, "triangle").get_lines()[1].get_data(), [rows["u"], rows["factor"]])


CHECKS = {
    "angle-depth": (angle_depth, check_angle_depth, ("angle_degrees", "predicted_cosine", "depth")),
    "layer-step": (layer_step, check_layer_step, ("angle_degrees", "log10_magnitude_ratio")),
    "per-sample": (per_sample, check_per_sample, ("cosine",)),
    "along-the-step": (along_the_step, check_along, ("change", "step_size")),
    "margin": (margin, check_margin, ("certified", "attacked", "kappa", "least_kappa", "most_kappa", "kappa_star")),
    "training": (training, check_training, ("loss",)),
    "jamming": (jamming, check_jamming, ("cosine", "snr", "predicted_cosine", "predicted_snr", "averaged")),
    "perceptron": (perceptron, check_perceptron, ("mistakes", "features", "kappa", "second_moment")),
    "ste": (ste, check_ste, ("theta_degrees", "correlation", "residual")),
    "catalogue": (catalogue, check_catalogue, ("u", "factor")),
    "claims": (claims, check_claims, ()),
}
"""Each figure with its check and the columns that no mutant may change unseen."""


@pytest.fixture(scope="module")
def held(one_run):
    return {**one_run("deep-tanh-digits", ("constant", "triangle", "relu_derivative")), "claims": claims.made()}


def drawn(name, tables):
    drawer = CHECKS[name][0]
    more = {other: tables[other] for other in getattr(drawer, "MORE", {})}
    return drawer.draw(tables[drawer.TABLE], **more)


@pytest.mark.parametrize("name", CHECKS)
def test_what_is_plotted_is_what_the_table_holds(name, held):
    CHECKS[name][1](drawn(name, held), held)


@pytest.mark.parametrize(("name", "column"), [(name, column) for name in CHECKS for column in CHECKS[name][2]])
def test_a_column_that_is_drawn_wrong_is_caught(name, column, held):
    table = CHECKS[name][0].TABLE
    mutant = {**held, table: held[table].assign(**{column: held[table][column] * 0.75})}
    with pytest.raises((AssertionError, StopIteration, IndexError, KeyError)):
        CHECKS[name][1](drawn(name, mutant), held)


def swapped(method):
    """The method of Axes with its first two arguments the other way round."""

    def mutant(self, x, y, *rest, **options):
        return method(self, y, x, *rest, **options)

    return mutant


LINES = ("angle-depth", "along-the-step", "training", "perceptron", "ste", "catalogue")


@pytest.mark.parametrize("name", LINES)
def test_swapped_axes_are_caught(name, held, monkeypatch):
    monkeypatch.setattr(Axes, "plot", swapped(Axes.plot))
    with pytest.raises((AssertionError, StopIteration)):
        CHECKS[name][1](drawn(name, held), held)


@pytest.mark.parametrize(("name", "method"), [("jamming", "errorbar"), ("training", "errorbar")])
def test_swapped_markers_are_caught(name, method, held, monkeypatch):
    monkeypatch.setattr(Axes, method, swapped(getattr(Axes, method)))
    with pytest.raises((AssertionError, StopIteration)):
        CHECKS[name][1](drawn(name, held), held)


def test_spreads_at_swapped_axes_are_caught(held, monkeypatch):
    plain = margin.Line2D
    monkeypatch.setattr(margin, "Line2D", lambda x, y, **options: plain(y, x, **options))
    with pytest.raises(AssertionError):
        check_margin(drawn("margin", held), held)


def test_a_heat_map_upside_down_is_caught(held, monkeypatch):
    plain = Axes.pcolormesh
    monkeypatch.setattr(Axes, "pcolormesh", lambda self, x, y, z, **options: plain(self, x, y, z[::-1], **options))
    with pytest.raises(AssertionError):
        check_layer_step(drawn("layer-step", held), held)


def test_a_verdict_in_another_colour_is_caught(held):
    wrong = held["claims"].assign(verdict="OPEN")
    with pytest.raises((AssertionError, KeyError)):
        check_claims(claims.draw(wrong), held)


def test_every_figure_of_the_gallery_has_its_check():
    # `signs`, `angles` and `ranking` have theirs in test_gallery.py.
    assert set(drawing.figures()) == {*CHECKS, "signs", "angles", "ranking"}
    assert set(drawing.ORDER) <= set(drawing.figures())
