"""What figures ask of tables: each column is needed, named when it is missing, and written down in docs/figures.md."""

import re
from pathlib import Path

import pandas as pd
import pytest
from downslope.analysis.errors import Refused
from downslope.paper_figures import drawing, saving, stored
from downslope.paper_figures.gallery.theory import catalogue, claims, ste

ROOT = Path(__file__).parents[2]
FIGURES = drawing.figures()
MADE = {"shapes": catalogue.shapes, "ste": ste.curves, "claims": lambda few: claims.made()}


@pytest.fixture(scope="module")
def held(every):
    import downslope as ds

    few = [ds.SURROGATES["constant"], ds.SURROGATES["triangle"]]
    one = every["deviations"]
    one = one[(one["network"] == "mlp-digits") & (one["trained"] == "tied")]
    return {**every, "deviations": one, **{name: make(few) for name, make in MADE.items()}}


@pytest.mark.parametrize(
    ("name", "column"), [(name, column) for name, drawer in FIGURES.items() for column in drawer.COLUMNS]
)
def test_a_missing_column_is_named(name, column, held):
    table = held[FIGURES[name].TABLE].drop(columns=column)
    named = rf"the figure '{name}' needs the columns? .*\b{re.escape(column)}\b.*; the table has"
    with pytest.raises(Refused, match=named):
        FIGURES[name].draw(table)

    # The same before the caption is made of it, and where the column is there without a value.
    with pytest.raises(Refused, match=named):
        list(drawing.drawn(name, {FIGURES[name].TABLE: table}))
    if column not in getattr(FIGURES[name], "UNKNOWN", ()):
        with pytest.raises(Refused, match=rf"{named}.* and no value at all in {re.escape(column)}\."):
            list(drawing.drawn(name, {FIGURES[name].TABLE: table.assign(**{column: None})}))


def test_a_run_that_cannot_be_drawn_does_not_stop_the_others(held):
    table = held["deviations"]
    two = pd.concat([table.assign(network="dead", angle_degrees=float("nan")), table])
    every, found = drawing.drawn("angles", {"deviations": two}), []
    with pytest.raises(Refused, match=r"^dead, trained tied: the figure 'angles' needs the column angle_degrees;"):
        found.extend(every)
    assert [each.name for each in found] == ["angles-mlp-digits-tied"]


def test_runs_are_not_lost_where_a_coordinate_is_not_known(held):
    table = held["deviations"].assign(trained=None)
    assert [each.name for each in drawing.drawn("signs", {"deviations": table})] == ["signs-mlp-digits"]


@pytest.mark.parametrize("name", FIGURES)
def test_an_empty_table_is_refused(name, held):
    with pytest.raises(Refused, match="nothing to draw"):
        FIGURES[name].draw(held[FIGURES[name].TABLE].iloc[:0])


@pytest.mark.parametrize("name", [name for name, drawer in FIGURES.items() if getattr(drawer, "OPTIONAL", None)])
def test_without_the_optional_columns_it_is_drawn_all_the_same(name, held):
    drawer = FIGURES[name]
    kept = [column for column in held[drawer.TABLE].columns if column not in set(drawer.OPTIONAL) - set(drawer.COLUMNS)]
    table = held[drawer.TABLE][kept].drop_duplicates(subset=list(drawer.COLUMNS))
    (drawn,) = drawing.drawn(name, {drawer.TABLE: table})
    assert drawn.figure.axes
    assert "nan" not in drawn.caption


@pytest.mark.parametrize("name", [name for name, drawer in FIGURES.items() if getattr(drawer, "MORE", None)])
def test_a_further_table_with_a_missing_column_is_refused(name, held):
    drawer = FIGURES[name]
    for other, columns in drawer.MORE.items():
        for column in set(columns) - {"surrogate", "network"}:
            tables = {drawer.TABLE: held[drawer.TABLE], other: held[other].drop(columns=column)}
            with pytest.raises(Refused, match=column):
                list(drawing.drawn(name, tables))


@pytest.mark.parametrize("name", [name for name, drawer in FIGURES.items() if "surrogate" in drawer.COLUMNS])
def test_a_surrogate_that_is_not_there_is_named(name, held):
    with pytest.raises(Refused, match=rf"the figure '{name}' has no surrogate 'trinagle' to draw; "):
        list(drawing.drawn(name, held, surrogates=["trinagle"]))


def test_layers_and_stages_select(held):
    (drawn,) = drawing.drawn("angle-depth", held, layers=["0"], stages=["end"], surrogates=["triangle"])
    panel, *others = drawn.figure.axes
    assert not others
    (measured,) = [line for line in panel.get_lines() if line.get_label() == "measured"]
    wanted = held["deviations"].query("surrogate == 'triangle' and layer == '0' and stage == 'end'")["angle_degrees"]
    assert measured.get_ydata().tolist() == pytest.approx([wanted.mean()])
    with pytest.raises(Refused, match=r"has no layer '7' to draw; known: 0 \(layer 1\), 2 \(layer 2\)"):
        list(drawing.drawn("angle-depth", held, layers=["7"]))
    with pytest.raises(Refused, match="has no stage 'begin' to draw"):
        list(drawing.drawn("angle-depth", held, stages=["begin"]))


@pytest.mark.parametrize("name", ["angle-depth", "angles"])
def test_a_surrogate_without_any_angle_is_written_as_undefined(name, held):
    rows = held["deviations"].drop(columns="predicted_cosine")
    blind = rows.assign(angle_degrees=rows["angle_degrees"].where(rows["surrogate"] != "triangle"))
    said = {
        panel.get_title(): {text.get_text() for text in panel.texts}
        for panel in FIGURES[name].draw(blind).axes
        if panel.get_title()
    }
    assert said["triangle"] == {"undefined"}
    assert not said["constant"]


def test_training_is_selected_by_what_trained(held, tmp_path):
    curves = pd.concat([held["curves"], held["curves"].query("trained == 'constant'").assign(trained="rectangle")])
    tables = {"curves": curves, "grid": held["grid"]}
    (drawn,) = drawing.drawn("training", tables, surrogates=["rectangle"])
    shown = {line.get_label() for line in drawn.figure.axes[0].get_lines()}
    assert shown == {"rectangle", "tied"}
    grid = drawn.figure.axes[4]
    assert {each.get_label() for each in grid.containers} == {"rectangle", "tied"}
    with pytest.raises(Refused, match="the figure 'training' has no run trained by 'trinagle' to draw"):
        list(drawing.drawn("training", tables, surrogates=["trinagle"]))
    assert saving.save(["training"], tables, tmp_path, surrogates=["rectangle"], formats=["tex"])


def test_a_layer_may_be_named_as_the_figure_names_it(held):
    by_path, by_label = (
        list(drawing.drawn("angle-depth", held, layers=[name], surrogates=["triangle"])) for name in ("2", "layer 2")
    )
    assert by_path[0].svg == by_label[0].svg


@pytest.mark.parametrize(
    ("column", "value", "reason"),
    [
        ("angle_degrees", "abc", r"needs numbers in the column angle_degrees; in row 3 there is 'abc'"),
        ("depth", "first", r"needs numbers in the column depth; in row 3 there is 'first'"),
        ("angle_degrees", -10.0, r"needs 0 to 180 in the column angle_degrees; in row 3 there is -10\."),
        ("angle_degrees", 250.0, r"needs 0 to 180 in the column angle_degrees; in row 3 there is 250\."),
        ("depth", -1, r"needs 0 or more in the column depth; in row 3 there is -1\."),
    ],
)
def test_text_and_impossible_numbers_are_named_with_their_row(column, value, reason, held):
    table = held["deviations"].reset_index(drop=True).astype({column: object})
    table.loc[3, column] = value
    with pytest.raises(Refused, match=f"the figure 'angle-depth' {reason}"):
        FIGURES["angle-depth"].draw(table)


def test_rounding_is_no_impossible_number(held):
    table = held["samples"].assign(cosine=held["samples"]["cosine"].fillna(1.0).clip(0.5, 1) + 2e-16)
    assert FIGURES["per-sample"].draw(table[table["cosine"].notna()]).axes


def test_a_selection_of_no_use_is_refused(held, tmp_path):
    with pytest.raises(Refused, match="--stage end: nothing to select, as none of perceptron, claims has a stage"):
        saving.save(["perceptron", "claims"], held, tmp_path, stages=["end"])


def test_rows_of_single_samples_do_not_leak_into_means(held):
    """A measurement holds rows of the batch and of single samples: figures of the batch are drawn from the former."""
    table = held["deviations"]
    mixed = pd.concat([table, table.assign(sample="7", angle_degrees=179.0, cosine=-1.0)])
    for name in ("angle-depth", "angles", "layer-step", "ranking", "signs"):
        (plain,), (both,) = (list(drawing.drawn(name, {"deviations": each})) for each in (table, mixed))
        assert plain.svg == both.svg, name


def test_references_are_not_mixed(held):
    two = pd.concat([held["deviations"], held["deviations"].assign(reference="smoothed")])
    assert [each.name for each in drawing.drawn("signs", {"deviations": two})] == [
        "signs-mlp-digits-tied-exact",
        "signs-mlp-digits-tied-smoothed",
    ]
    with pytest.raises(Refused, match="one reference at a time and the table has exact, smoothed"):
        FIGURES["angle-depth"].draw(two)


def test_without_names_what_cannot_be_drawn_is_left_out_with_its_reason(held):
    reasons = drawing.drawable({"perceptron": held["perceptron"]})
    assert {name for name, reason in reasons.items() if not reason} == {
        "perceptron",
        "catalogue",
        "claims",
        "ste",
        "claims-table",
    }
    assert reasons["margin"] == "there is no table 'margins' (margins.parquet)"


def test_a_table_of_another_hand_is_read_and_drawn(held, tmp_path):
    held["deviations"].drop(columns=["state", "reason"]).to_parquet(tmp_path / "deviations.parquet")
    (tmp_path / "notes.parquet").write_bytes(b"not ours to read")
    found = stored.read(tmp_path, drawing.tables_wanted())
    assert list(found) == ["deviations"]
    assert len(list(drawing.drawn("ranking", found))) == 1


def test_a_folder_without_tables_and_no_folder_are_refused(tmp_path):
    with pytest.raises(Refused, match=r"--data .* holds none of shapes\.parquet, deviations\.parquet, "):
        stored.read(tmp_path, drawing.tables_wanted())
    with pytest.raises(Refused, match="is no folder"):
        stored.read(tmp_path / "missing", ["deviations"])


def test_the_example_on_the_page_runs():
    text = (ROOT / "docs" / "figures.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    space: dict = {}
    exec(example, space)
    assert space["drawn"].caption.endswith("0 of 4 angles undefined.)")
    assert space["figure"].get_figwidth() == pytest.approx(3.25)
