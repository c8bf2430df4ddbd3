"""What single figures promise beyond their data: captions, axes, ranges, marks that can be told apart."""

import itertools

import downslope as ds
import numpy as np
import pandas as pd
import pytest
from downslope.paper_figures import drawing, look
from downslope.paper_figures.gallery.descent import along_the_step, jamming, margin, training
from downslope.paper_figures.gallery.deviation import angle_depth, layer_step, signs
from downslope.paper_figures.gallery.theory import catalogue, claims, perceptron, ste
from downslope.paper_figures.marks import spread
from matplotlib.transforms import Affine2D


def panel_of(figure, title):
    return next(panel for panel in figure.axes if panel.get_title().split("\n")[0] == title)


def line(panel, label):
    """(x, y) of the line of that label."""
    return next(np.array(each.get_data(), float) for each in panel.get_lines() if each.get_label() == label)


def plane_of(figure, title):
    """The slice of that title, which stands below the curves of the same title."""
    return [panel for panel in figure.axes if panel.get_title() == title][-1]


@pytest.fixture(scope="module")
def held(one_run):
    return {**one_run("deep-tanh-digits", ("constant", "triangle", "relu_derivative")), "claims": claims.made()}


def drawn(name, tables):
    drawer = drawing.figures()[name]
    more = {other: tables[other] for other in getattr(drawer, "MORE", {})}
    return drawer.draw(tables[drawer.TABLE], **more)


def test_intervals_average_draws_before_seeds():
    runs = pd.DataFrame({"layer": 1, "seed": [0, 0, 1, 1], "cosine": [0.0, 1.0, 0.5, 0.5]})
    assert spread.over_seeds(runs, ["layer"], "cosine").iloc[0].tolist() == [0.5, 0.0, 2]


def test_without_seeds_the_caption_says_that_there_is_no_interval(held):
    alone = held["deviations"][held["deviations"]["seed"] == 0]
    said = angle_depth.said(alone)
    assert "Reference: exact. n = 1 seed, so that no interval can be shown; " in said
    assert "Bands are" not in said
    assert "Bands are the 95% confidence interval" in angle_depth.said(held["deviations"])
    assert layer_step.said(alone).startswith("n = 1 seed, so that no interval can be shown.")


@pytest.mark.parametrize(("measure", "pivot"), [("angle_degrees", 90), ("log10_magnitude_ratio", 0)])
def test_a_dot_marks_what_the_seeds_leave_open(measure, pivot, held):
    rows = held["deviations"]
    rows = rows[rows["surrogate"] == "triangle"]
    # The second depth is spread over the value that matters, the others lie on one side of it without doubt.
    values = (pivot + 5 + rows["seed"]).where(rows["depth"] != 2, pivot - 1 + rows["seed"])
    figure = layer_step.draw(rows.assign(**{measure: values}))
    panels = [panel for panel in figure.axes if panel.get_title() == "triangle"]
    panel = panels[list(layer_step.MEASURES).index(measure)]
    dots = [each.get_xydata() for each in panel.get_lines() if each.get_marker() == "o"]
    assert {tuple(dot) for dot in dots[0]} == {(step, 1) for step in range(4)}  # the second depth, at each step
    assert [label.get_text() for label in panel.get_xticklabels()] == ["0", "23", "1150", "2300"]


def test_the_ratios_scale_has_zero_in_its_middle_and_its_sign_in_greyscale(held):
    panels = layer_step.draw(held["deviations"]).axes
    right = [panel for panel in panels if panel.get_title() == "triangle"][1].collections[0]
    assert right.norm.vmin == -right.norm.vmax < 0
    greys = [np.dot(right.cmap(place)[:3], (0.2126, 0.7152, 0.0722)) for place in np.linspace(0, 1, 9)]
    assert min(np.diff(greys)) > 0.03


def test_two_seeds_are_called_two(held):
    rows = held["deviations"]
    assert "12.7 standard errors" in layer_step.said(rows[rows["seed"] < 2])
    assert "standard errors" not in layer_step.said(rows)


def test_line_and_band_end_where_the_mean_leaves_the_panel(held):
    far = held["along"].assign(change=held["along"]["change"].where(held["along"]["step_size"] < 5, 1e6))
    panel = panel_of(along_the_step.draw(far), "triangle")
    top = panel.get_ylim()[1]
    heights = line(panel, "triangle")[1]
    assert (heights > top).sum() == 1
    assert heights[-1] > top
    assert max(band.get_paths()[0].vertices[:, 1].max() for band in panel.collections) < 100 * top


def test_all_slices_share_one_scale_and_one_bar(held):
    figure = along_the_step.draw(held["along"], slice=held["slice"])
    planes = [plane_of(figure, look.words(name)) for name in ("constant", "triangle", "fast_sigmoid")]
    scales = {(plane.collections[0].norm.vmin, plane.collections[0].norm.vmax) for plane in planes}
    assert len(scales) == 1
    bars = [panel for panel in figure.axes if panel.get_xlabel() == "loss (nats)"]
    assert len(bars) == 1
    assert scales.pop()[0] == held["slice"]["loss"].min()
    assert "change of the loss (nats)" in [text.get_text() for part in figure.subfigs for text in part.texts]
    styles = {each.get_linestyle() for name in ("constant", "triangle") for each in lines_of(figure, name)}
    assert len(styles) == 2


def lines_of(figure, name):
    return [each for each in panel_of(figure, look.words(name)).get_lines() if each.get_label() == name]


def test_no_bar_of_averaged_draws_leaves_what_can_be(held):
    few = held["jamming"].query("seed < 2")
    wild = few.assign(
        cosine=few["cosine"].where(few["seed"] == 0, 0.2), snr=few["snr"].where(few["seed"] == 0, few["snr"] * 9)
    )
    panels = jamming.draw(wild).axes
    for panel in panels[:6]:
        ends = np.concatenate(
            [segment[:, 1] for each in panel.containers for bars in each.lines[2] for segment in bars.get_segments()]
        )
        assert len(ends)
        top = 1.0 if panel in panels[:3] else np.inf
        assert ends.max() <= top
        assert ends.min() >= (-1 if panel in panels[:3] else panel.get_ylim()[0] * (1 - 1e-9))
    assert [text.get_text() for text in panels[2].texts] == ["full jam", "positive jam"]
    assert not [*panels[0].texts, *panels[1].texts]


def crossings(figure):
    """How many boxes of claims an arrow runs through."""
    boxes = [patch.get_bbox() for patch in figure.axes[0].patches if patch.get_gid()]
    figure.draw_without_rendering()
    found = 0
    for arrow in (patch for patch in figure.axes[0].patches if not patch.get_gid()):
        # In data coordinates, which are inches; a curve is cut into pieces of about a pixel.
        x, y = (
            np.concatenate(arrow.get_path().transformed(Affine2D().scale(100)).to_polygons(closed_only=False)).T / 100
        )
        found += sum(((x > box.x0) & (x < box.x1 - 0.01) & (y > box.y0) & (y < box.y1)).any() for box in boxes)
    return found


def test_no_arrow_of_claims_leaves_its_gap(held, monkeypatch):
    """What rests on a claim of another chapter says so in its box."""
    assert crossings(claims.draw(held["claims"])) == 0
    monkeypatch.setattr(claims, "_near_and_far", lambda blocks, edges: (edges, []))
    assert crossings(claims.draw(held["claims"])) > 0


def test_a_perceptrons_title_says_its_kind_and_its_bound_stays_in_the_panel(held):
    rows = held["perceptron"]
    rows = rows.assign(kappa=rows["kappa"].replace(4.0, 50.0))
    with look.at("icml-column"):
        figure = perceptron.draw(rows)
    assert [panel.get_title().split("\n")[1] for panel in figure.axes] == [
        "(constant factor)",
        "(random factor)",
        "(bounded factor)",
    ]
    with look.house():
        figure.draw_without_rendering()
        for panel in figure.axes:
            frame = panel.get_window_extent()
            assert all(text.get_window_extent().x1 <= frame.x1 for text in panel.texts)


def test_a_jump_is_a_gap_and_a_fold_is_none():
    table = catalogue.shapes([ds.SURROGATES[name] for name in ("rectangle", "triangle", "relu_derivative")])
    missing = table[table["factor"].isna()].groupby("surrogate")["u"].apply(list).to_dict()
    assert missing == {"rectangle": [-0.5, 0.5], "relu_derivative": [0.0]}
    for _, rows in table.groupby("surrogate"):
        assert rows["u"].is_monotonic_increasing
        assert rows["factor"].diff().abs().max() < 0.05  # no line crosses a jump


def test_captions_name_what_is_counted_and_what_rests_on_numbers(held):
    (jam,) = drawing.drawn("jamming", held)
    assert "average of m independent draws" in jam.caption
    assert jam.figure.get_supxlabel() == "draws averaged, m"
    assert "n = 4 seeds. m from 1 to 32." in jam.caption
    (straight,) = drawing.drawn("ste", held)
    assert "taken as a mean over 4,000 stratified quantiles" in straight.caption
    assert straight.figure.axes[0].get_ylabel() == "⟨E g\u0303, ∇f⟩"


def test_straight_through_shows_the_usual_ones_where_none_are_asked_for():
    (few,) = drawing.drawn("ste", {})
    assert len(few.figure.axes[1].get_yticklabels()) == 8
    assert few.caption.endswith("Shown are 8 of 28 surrogates.")
    (asked,) = drawing.drawn("ste", {}, surrogates=list(ds.SURROGATES))
    assert len(asked.figure.axes[1].get_yticklabels()) == 28


def test_each_panel_of_the_catalogue_has_its_marker_line_and_forward():
    shapes = catalogue.shapes([ds.SURROGATES[name] for name in ("rectangle", "swish_sign")])
    for panel, name in zip(catalogue.draw(shapes).axes, ("rectangle", "swish_sign"), strict=True):
        drawn = {each.get_label(): each for each in panel.get_lines()}
        assert drawn["marker"].get_marker() == look.style(name).marker
        assert drawn["line"].get_color() == look.style(name).colour
        assert panel.get_title().endswith(f"over {ds.SURROGATES[name].forward}")


def test_ste_is_the_closed_forms_of_the_claims():
    table = ste.curves([ds.SURROGATES[name] for name in ("constant", "relu_derivative", "full_jam", "clipped")])
    value = table.set_index(["surrogate", "theta_degrees"])
    at_90 = value["correlation"].xs(90.0, level=1) * (2 * np.pi) ** 1.5
    assert at_90[["constant", "relu_derivative", "full_jam"]].tolist() == pytest.approx([1, 0.5, 0.5])
    assert at_90["clipped"] == pytest.approx(0.6826894921, abs=3e-4)  # E of 1 on |y| < 1
    residual = table.groupby("surrogate")["residual"].first()
    assert residual["constant"] == pytest.approx(2 / 9 / np.sqrt(2 * np.pi), rel=1e-4)
    assert residual["relu_derivative"] == 0
    assert ste.said(table) == "1 of 4 vanish at the spurious minimiser: relu′."


def test_claims_say_whether_they_were_decided(held):
    assert claims.said(held["claims"]).endswith("Verdicts are those in print, not computed for this figure.")
    found = held["claims"].drop(columns="decided")
    assert "not computed" not in claims.said(found)
    wrong = found.assign(verdict=found["verdict"].where(found["id"] != "softmax", "OPEN"))
    assert "Not as in print: softmax." in claims.said(wrong)


def test_claims_arrows_follow_the_tables_own_uses():
    table = pd.DataFrame({"id": ["a", "b"], "verdict": ["PROVED", "OPEN"], "uses": ["[]", '["a"]']})
    assert claims._edges(table) == [("a", "b")]
    with pytest.raises(ds.analysis.errors.Refused, match="claim a has the verdict 'TRUE'; known are PROVED"):
        claims.draw(table.assign(verdict="TRUE"))


def test_no_bound_is_drawn_where_none_is_proved(held):
    rows = held["perceptron"].assign(kappa=np.nan, second_moment=np.nan)
    (panel, *_) = perceptron.draw(rows[rows["surrogate"] == "constant"]).axes
    assert panel.get_title() == "constant\n(no bound is proved)"
    assert "bound" not in {each.get_label() for each in panel.get_lines()}


def test_a_finite_spread_is_never_moved(held):
    far = held["margins"].assign(kappa=held["margins"]["kappa"].replace(np.inf, 400.0))
    panel = panel_of(margin.draw(far), "layer 1")
    (marker,) = [each for each in panel.get_lines() if each.get_label() == "rectangle"]
    assert marker.get_xdata()[0] == 400.0
    assert panel.get_xlim()[1] > 400


@pytest.mark.parametrize(
    ("least", "most", "stands"),
    [(1, 1, "inside"), (1, 1.5, "inside"), (1.6, 3, "undecided"), (2, 3, "outside"), (1, 3, "undecided")],
)
def test_where_spreads_stand_is_decided_by_what_is_drawn(least, most, stands, held):
    assert margin.standing(least, most, 1.5, 2.0) == stands
    one = held["margins"].query("surrogate == 'constant' and place == '1.relu' and seed == 0")
    drawn = one.assign(
        certified=1.5, attacked=2.0, kappa=least, least_kappa=least, most_kappa=most, standing="nonsense"
    )
    (panel,) = margin.draw(drawn).axes
    marker = next(each for each in panel.get_lines() if each.get_label() == "constant")
    filled = (marker.get_fillstyle(), marker.get_markerfacecolor() == "white")
    assert filled == {"inside": ("full", False), "undecided": ("left", False), "outside": ("full", True)}[stands]
    said = margin.said(drawn)
    assert f"1 {stands}" in said
    assert said.startswith("One run, one batch of 16 samples and one draw of a random surrogate each.")


def test_a_margin_of_several_runs_says_so_and_an_undefined_spread_is_written(held):
    assert margin.said(held["margins"]).startswith("n = 2 seeds, one batch of 16 samples and one draw")
    blind = held["margins"].assign(
        kappa=held["margins"]["kappa"].where(held["margins"]["surrogate"] != "triangle"), least_kappa=np.nan
    )
    panel = panel_of(margin.draw(blind), "layer 1")
    assert [each.get_text() for each in panel.texts if each.get_text()] == ["undefined"]


def test_a_caption_speaks_of_a_prediction_only_where_there_is_one(held):
    rows = held["deviations"]
    assert "mean-field prediction, dashed for the first stage" in angle_depth.said(rows)
    blind = rows.assign(predicted_cosine=np.nan)
    for without in (blind, rows.drop(columns="predicted_cosine")):
        (drawn,) = drawing.drawn("angle-depth", {"deviations": without})
        assert "mean-field" not in drawn.caption
        assert "prediction" not in drawn.caption


def test_prediction_and_measurement_are_compared_on_the_means_of_layers_below_an_activation(held):
    rows = held["deviations"]
    rows = rows[rows["stage"].isin(["initialisation", "end"])]
    # The output layer is predicted exactly: it must not pull the median down.
    exact = rows.assign(predicted_cosine=rows["predicted_cosine"].where(rows["depth"] < 4, 1.0))
    below = exact[exact["depth"] < 4]
    means = below.groupby(["surrogate", "depth", "stage"])[["angle_degrees"]].mean()["angle_degrees"]
    predicted = np.degrees(np.arccos(below["predicted_cosine"]))
    predicted = predicted.groupby([below["surrogate"], below["depth"], below["stage"]]).mean()
    gap = (means - predicted).abs()
    words = f"Over the {len(gap)} means of layers below an activation prediction and measurement differ by "
    assert f"{words}{gap.median():.1f} degrees at the median, {gap.max():.1f} at most." in angle_depth.said(exact)


def test_bands_of_angles_stay_between_0_and_180_degrees(held):
    two = held["deviations"].query("seed < 2 and surrogate == 'triangle'")
    wide = two.assign(angle_degrees=np.where(two["seed"] == 0, 10.0, 120.0))
    panel = panel_of(angle_depth.draw(wide), "triangle")
    heights = np.concatenate([path.vertices[:, 1] for band in panel.collections for path in band.get_paths()])
    assert (heights.min(), heights.max()) == (0, 180)


def test_learning_rates_are_told_apart_and_joined(held):
    figure = training.draw(held["curves"], grid=held["grid"])
    panel = panel_of(figure, "mlp-digits, tanh")
    shown = {each.get_label(): each for each in panel.get_lines()}
    low, high = shown["rectangle at 0.01"], shown["rectangle at 0.1"]
    assert low.get_markerfacecolor() == "white" != high.get_markerfacecolor()
    (joined,) = [each.lines[0] for each in panel.containers if each.get_label() == "rectangle"]
    assert joined.get_linestyle() == "-"
    np.testing.assert_array_equal(joined.get_xdata(), [low.get_xdata()[0], high.get_xdata()[0]])
    words = [text.get_text() for part in figure.subfigs for legend in part.legends for text in legend.get_texts()]
    assert {"learning rate 0.01", "learning rate 0.1"} <= set(words)


def test_rank_correlations_do_not_pool_networks_and_rates(held):
    """Simpson's: in each panel and rate accuracy falls with alignment, over all of them together it rises."""
    grid = pd.DataFrame(
        {"network": "n", "forward": f, "rule": r, "learning_rate": 0.1, "seed": 0, "alignment": a, "final_accuracy": y}
        for f, base in (("tanh", 0.0), ("logistic", 0.5))
        for r, a, y in (("tied", base + 0.3, base + 0.1), ("a", base + 0.2, base + 0.2), ("b", base + 0.1, base + 0.3))
    )
    said = training.said(held["curves"], grid=grid)
    assert "within one panel and learning rate: -1.00 to -1.00 (n = 3 rules)" in said
    assert "confidence" not in said  # one seed
    assert "6 runs, n = 1 seed." in said
    assert "95% confidence intervals" in training.said(held["curves"], grid=held["grid"])


def test_axes_of_training_name_the_split_and_the_numbers_their_unit(held):
    figure = training.draw(held["curves"], split="train")
    assert [panel.get_ylabel() for panel in figure.axes if panel.get_ylabel()] == [
        "train cross-entropy (nats)",
        "train accuracy (%)",
    ]
    loss, *_, accuracy = (panel.get_legend().get_texts()[0].get_text() for panel in figure.axes)
    assert loss.endswith(" nats")
    assert accuracy.endswith("%")


@pytest.mark.parametrize("venue", ["neurips", "icml-column"])
def test_no_curve_runs_under_the_names(venue, held):
    with look.at(venue):
        figure = training.draw(held["curves"])
        look.settle(figure)
    for panel in figure.axes:
        box = panel.get_legend().get_window_extent()
        for each in panel.get_lines():
            points = panel.transData.transform(each.get_xydata())
            dense = np.concatenate([np.linspace(a, b, 20) for a, b in itertools.pairwise(points)])
            assert not any(box.contains(*point) for point in dense), (panel.get_title(), each.get_label())


def test_the_signs_caption_names_the_largest_flipped_share(held):
    rows = held["deviations"]
    (drawn,) = drawing.drawn("signs", {"deviations": rows})
    shares = signs.shares_of(rows[rows["layer"] != "whole"])["flipped"]
    most = shares.groupby([rows["surrogate"], rows["depth"]]).mean()
    name, depth = most.idxmax()
    assert (
        f"n = 3 seeds. The largest flipped share: {most.max():.1f}%, {look.words(name)} in layer {depth}."
        in drawn.caption
    )
    assert "undefined" not in drawn.caption
    assert "non-zero in at least one of the two" in drawn.caption
    legend = lambda figure: {text.get_text() for text in figure.legends[0].get_texts()}  # noqa: E731
    assert legend(drawn.figure) == set(signs.OUTCOMES)
    none = rows.assign(appeared=0)
    (drawn,) = drawing.drawn("signs", {"deviations": none})
    assert legend(drawn.figure) == {"kept", "flipped", "vanished"}
    assert drawn.caption.endswith("No entry appeared.")


def luminance(colour):
    """Of a colour on white, 0 to 255, as a greyscale printer takes it."""
    red, green, blue, alpha = colour
    grey = 0.299 * red + 0.587 * green + 0.114 * blue
    return 255 * (alpha * grey + 1 - alpha)


def test_the_ranges_of_a_margin_differ_in_greyscale(held):
    patches = {each.get_label(): each for each in panel_of(margin.draw(held["margins"]), "layer 1").patches}
    certified, unknown = (luminance(patches[name].get_facecolor()) for name in ("certified", "open"))
    assert unknown - certified > 40
    assert patches["attacked"].get_hatch()
    assert not patches["certified"].get_hatch()
    assert not patches["open"].get_hatch()
    # The strokes themselves must show on their ground.
    ground, strokes = patches["attacked"].get_facecolor(), patches["attacked"].get_edgecolor()
    assert luminance(ground) - luminance(strokes) > 40


def test_along_the_step_needs_the_exact_step(held):
    with pytest.raises(ds.analysis.errors.Refused, match="no surrogate 'exact' to draw"):
        along_the_step.draw(held["along"][held["along"]["surrogate"] != "exact"])
    assert len(along_the_step.draw(held["along"]).axes) == 3  # no slice, no panel for one
