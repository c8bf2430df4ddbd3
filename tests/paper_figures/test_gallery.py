"""What is drawn is what the table says, and a table that cannot be drawn is refused by name."""

import downslope as ds
import numpy as np
import pandas as pd
import pytest
from downslope.analysis.errors import Refused
from downslope.paper_figures import drawing, look, saving
from downslope.paper_figures.gallery.descent import training
from downslope.paper_figures.gallery.deviation import angles, ranking, signs
from downslope.paper_figures.gallery.theory import catalogue

FIGURES = {"angles": angles, "ranking": ranking, "signs": signs, "training": training, "catalogue": catalogue}


@pytest.fixture(scope="module")
def one(few):
    return few[(few["network"] == "deep-tanh-digits") & (few["trained"] == "tied")]


@pytest.fixture(scope="module")
def tables(one, few, curves):
    return {
        "angles": one,
        "ranking": few,
        "signs": one,
        "training": curves,
        "catalogue": catalogue.shapes([ds.SURROGATES[name] for name in ("triangle", "multi_gaussian", "full_jam")]),
    }


def by_title(figure, title):
    """The panel whose title begins with these words."""
    return next(panel for panel in figure.axes if panel.get_title().startswith(title))


def curves_of(panel, at_least=2):
    """The (x, y) of the panel's lines that hold several points, as arrays."""
    return [np.column_stack(line.get_data()) for line in panel.get_lines() if len(line.get_xdata()) >= at_least]


def test_angles_shows_the_median_of_each_layer_and_stage(one):
    panel = by_title(angles.draw(one), "triangle")
    wanted = one[one["surrogate"] == "triangle"].pivot_table(
        index="step", columns="depth", values="angle_degrees", aggfunc="median"
    )
    lines = [points[:, 1] for points in curves_of(panel, at_least=4)]
    np.testing.assert_array_equal(np.column_stack(lines), wanted.to_numpy())
    assert any(np.array_equal(line.get_ydata(), [90, 90]) for line in panel.get_lines())


def test_angles_band_is_the_full_range(one):
    panel = by_title(angles.draw(one), "triangle")
    first = one[(one["surrogate"] == "triangle") & (one["depth"] == 1) & (one["stage"] == "middle")]["angle_degrees"]
    heights = panel.collections[0].get_paths()[0].vertices
    at_middle = heights[heights[:, 0] == 2, 1]
    assert (at_middle.min(), at_middle.max()) == (first.min(), first.max())


def test_angles_marks_an_undefined_angle_instead_of_dropping_it(one):
    figure = angles.draw(one)
    crosses = {
        panel.get_title(): sum(len(line.get_xdata()) for line in panel.get_lines() if line.get_marker() == "x")
        for panel in figure.axes
        if panel.get_title()
    }
    assert crosses == {"constant": 0, "triangle": 0, "rectangle": 1}


def test_ranking_sorts_by_the_worst_angle_and_shows_medians(few):
    panels = ranking.draw(few).axes
    labels = [label.get_text() for label in panels[0].get_yticklabels()]
    worst = few.groupby("surrogate")["angle_degrees"].max().sort_values()
    assert labels == [look.words(name) for name in worst.index]
    rows = few[(few["network"] == "mlp-digits") & (few["trained"] == "tied")]
    wanted = rows.groupby(["surrogate", "depth"])["angle_degrees"].median()
    shown = sorted(float(line.get_xdata()[0]) for line in panels[0].get_lines() if line.get_marker() in "os^D")
    assert shown == sorted(wanted.tolist())


def test_ranking_puts_an_undefined_surrogate_last_and_marks_it(few):
    vanished = few.assign(angle_degrees=few["angle_degrees"].where(few["surrogate"] != "constant"))
    figure = ranking.draw(vanished)
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()][-1] == "constant"
    crosses = [line for line in figure.axes[0].get_lines() if line.get_marker() == "x"]
    assert len(crosses) == 3  # both layers of constant, the first of rectangle


def test_signs_stacks_the_shares_of_all_entries(one):
    figure = signs.draw(one, surrogates=["triangle", "constant"])
    rows = one[(one["surrogate"] == "triangle") & (one["depth"] == 1)]
    total = rows[["kept", "flipped", "vanished", "appeared"]].sum(axis=1)
    bars = {container.get_label(): container[0].get_width() for container in figure.axes[0].containers}
    wanted = {name: (rows[name] / total * 100).mean() for name in signs.OUTCOMES}
    assert bars == pytest.approx(wanted)
    assert sum(bars.values()) == pytest.approx(100)


def test_signs_names_a_layer_in_which_every_sign_is_kept(one):
    counts = {"kept": 100, "flipped": 0, "vanished": 0, "appeared": 0, "both_zero": 7}
    last = one["depth"] == 4
    figure = signs.draw(pd.concat([one[~last], one[last].assign(**counts)]))
    assert [panel.get_title() for panel in figure.axes] == ["layer 1", "layer 2", "layer 3"]
    assert figure.get_supxlabel().endswith("not drawn, every sign kept: layer 4")
    assert len(signs.draw(one[last].assign(**counts)).axes) == 1


def test_training_shows_means_and_the_full_range(curves):
    figure = training.draw(curves)
    runs = curves[(curves["network"] == "mlp-digits") & (curves["trained"] == "constant") & (curves["split"] == "test")]
    accuracy = runs.groupby("epoch")["accuracy"].agg(["mean", "min", "max"]) * 100
    panel = figure.axes[2]
    line = next(line for line in panel.get_lines() if line.get_label() == "constant")
    np.testing.assert_allclose(line.get_ydata(), accuracy["mean"])
    assert f"constant {accuracy['mean'].iloc[-1]:.1f}%" in [text.get_text() for text in panel.get_legend().get_texts()]


def test_a_grid_without_an_alignment_gets_no_panel_and_no_sentence(curves, every):
    grid = every["grid"]
    (plain,) = drawing.drawn("training", {"curves": curves})
    (drawn,) = drawing.drawn("training", {"curves": curves, "grid": grid.assign(alignment=np.nan)})
    assert len(drawn.figure.axes) == len(plain.figure.axes) == 4
    assert drawn.caption == plain.caption
    assert "Below:" not in drawn.caption
    # One run with both is drawn and counted, those without are neither.
    one = grid.assign(alignment=grid["alignment"].where(grid.index == 0))
    (drawn,) = drawing.drawn("training", {"curves": curves, "grid": one})
    shown = [panel for panel in drawn.figure.axes[4:] if panel.axison]
    assert [panel.get_title() for panel in shown] == ["mlp-digits, logistic"]
    assert drawn.caption.endswith("a marker a rule, one seed; 1 run, n = 1 seed.")


def test_curves_of_one_colour_differ_in_line_and_marker_and_are_named_with_both(curves):
    assert look.style("constant").colour == look.style("clipped").colour
    third = curves[curves["trained"] == "constant"].assign(trained="clipped")
    panel = training.draw(pd.concat([curves, third])).axes[0]
    one, other = (
        next(line for line in panel.get_lines() if line.get_label() == name) for name in ("constant", "clipped")
    )
    assert one.get_marker() != other.get_marker()
    assert one.get_linestyle() != other.get_linestyle()
    named = panel.get_legend()
    handles = {text.get_text(): each for text, each in zip(named.get_texts(), named.legend_handles, strict=True)}
    (mine,) = [handle for words, handle in handles.items() if words.startswith("clipped")]
    assert (mine.get_marker(), mine.get_linestyle()) == (other.get_marker(), other.get_linestyle())


def test_catalogue_draws_the_formula_and_marks_the_indefinite():
    shapes = catalogue.shapes([ds.SURROGATES["triangle"], ds.SURROGATES["multi_gaussian"]])
    figure = catalogue.draw(shapes)
    tent = by_title(figure, "triangle").get_lines()[1]
    u = np.asarray(tent.get_xdata())
    np.testing.assert_allclose(tent.get_ydata(), np.maximum(0, 1 - np.abs(u)), atol=1e-12)
    assert by_title(figure, "multi").get_title() == "multi gaussian ±\nover heaviside"
    assert by_title(figure, "triangle").get_title() == "triangle\nover heaviside"


def test_catalogue_draws_a_random_factor_as_mean_and_deviation():
    shapes = catalogue.shapes([ds.SURROGATES["full_jam"]])
    assert shapes["factor"].tolist() == pytest.approx([0.5] * len(shapes))
    assert shapes["deviation"].tolist() == pytest.approx([12**-0.5] * len(shapes))


@pytest.mark.parametrize("name", FIGURES)
def test_a_missing_column_is_named(name, tables):
    table = tables[name]
    column = list(FIGURES[name].COLUMNS)[-1]
    with pytest.raises(Refused, match=f"needs the column {column}; the table has"):
        FIGURES[name].draw(table.drop(columns=column))


@pytest.mark.parametrize("name", FIGURES)
def test_an_empty_table_is_refused(name, tables):
    with pytest.raises(Refused, match="nothing to draw"):
        FIGURES[name].draw(tables[name].iloc[:0])


@pytest.mark.parametrize("name", [name for name in FIGURES if name != "training"])
def test_a_selection_that_is_not_there_is_named(name, tables):
    with pytest.raises(Refused, match="no surrogate 'trinagle' to draw; did you mean 'triangle'"):
        FIGURES[name].draw(tables[name], surrogates=["trinagle"])


def test_a_split_that_is_not_there_is_named(tables):
    with pytest.raises(Refused, match="no split 'valid' to draw"):
        training.draw(tables["training"], split="valid")


@pytest.mark.parametrize("figure", [angles, signs])
def test_a_figure_of_one_run_refuses_two(figure, few):
    with pytest.raises(Refused, match="one network at a time and the table has mlp-digits, deep-tanh-digits"):
        figure.draw(few)
    with pytest.raises(Refused, match="one trained at a time and the table has tied, constant"):
        figure.draw(few[few["network"] == "mlp-digits"])


def test_only_the_whole_gradient_is_nothing_to_draw(one):
    with pytest.raises(Refused, match="nothing to draw"):
        angles.draw(one.assign(layer="whole"))


def test_the_gallery_is_found_file_by_file():
    assert {name: drawer for name, drawer in drawing.figures().items() if name in FIGURES} == FIGURES


def test_a_figure_of_one_run_is_drawn_for_each(few, curves):
    drawn = list(drawing.drawn("angles", {"deviations": few, "curves": curves}))
    assert [each.name for each in drawn] == [
        f"angles-{network}-{trained}"
        for network in ("mlp-digits", "deep-tanh-digits")
        for trained in ("tied", "constant")
    ]
    assert drawn[1].title == "Angle over training: mlp-digits, trained constant"


def test_a_caption_is_the_docstring_with_the_numbers_of_the_data(few, curves):
    (drawn,) = drawing.drawn("ranking", {"deviations": few, "curves": curves})
    assert drawn.caption.startswith("Angle between the surrogate gradient and the exact gradient in each layer, ")
    assert "Args" not in drawn.caption
    rows = len(few)
    assert drawn.caption.endswith(f"(n = 3 seeds; 4 of {rows} angles undefined.)")


def test_the_control_is_shown_only_where_it_is_asked_for(few, curves):
    with_control = {"deviations": pd.concat([few, few[few["surrogate"] == "constant"].assign(surrogate="tied")])}
    (plain,) = drawing.drawn("ranking", with_control)
    assert len(plain.figure.axes[0].get_yticklabels()) == 3
    (asked,) = drawing.drawn("ranking", with_control, surrogates=["tied", "constant"])
    assert len(asked.figure.axes[0].get_yticklabels()) == 2


def test_a_table_that_is_not_at_hand_is_named():
    with pytest.raises(Refused, match=r"drawn from the table 'curves' \(curves\.parquet\), which is not at hand"):
        list(drawing.drawn("training", {}))
    with pytest.raises(Refused, match="no figure 'angle': did you mean 'angles'"):
        list(drawing.drawn("angle", {}))


def test_figures_are_saved_in_three_formats(few, tmp_path):
    paths = saving.save(["ranking"], {"deviations": few}, tmp_path / "new")
    assert [path.name for path in paths] == ["ranking.png", "ranking.svg", "ranking.pdf", "ranking.tex"]
    assert all(path.stat().st_size > 1000 for path in paths[:3])


def test_a_table_of_another_hand_is_drawn(one):
    mine = one.drop(columns=["trained", "seed", "draw", "state", "reason"]).assign(surrogate="mine", layer="hidden")
    assert by_title(angles.draw(pd.DataFrame(mine)), "mine") is not None
