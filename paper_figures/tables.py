"""What a figure asks of a table before it draws: its columns, and rows to show. A panel is never empty in silence."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any

import pandas as pd

from ..analysis.errors import Refused, near
from ..analysis.surrogates.catalogue import SURROGATES

WHOLE = "whole"
"""The layer's name in the rows of the whole gradient."""

BATCH = "batch"
"""What stands in ``sample`` in the rows of the whole batch."""

MEANING = {
    "network": "name of the network",
    "trained": "backward of the training: tied, or a surrogate",
    "surrogate": "name of the surrogate, as in the catalogue or another",
    "layer": "path of the layer in the model; whole: all of them",
    "depth": "1 for the first layer to run; 0 for the whole gradient",
    "stage": "stage of training, a word",
    "step": "training steps done",
    "seed": "seed of the run",
    "sample": "batch, or the sample's index as text",
    "draw": "which draw of a random surrogate",
    "cosine": "of surrogate and reference gradient; missing where undefined",
    "angle_degrees": "of surrogate and reference gradient, degrees; missing where undefined",
    "log10_magnitude_ratio": "log10 of the norm of the surrogate gradient over that of the reference",
    "kept": "entries that are not zero in both, with one sign",
    "flipped": "entries that are not zero in both, with two signs",
    "vanished": "entries that are zero in the surrogate gradient alone",
    "appeared": "entries that are zero in the reference gradient alone",
    "epoch": "epochs done; 0 before training",
    "split": "train or test",
    "loss": "mean cross-entropy, nats",
    "accuracy": "share of samples classified rightly, 0 to 1",
}
"""What the columns mean that several figures read."""


RANGES: dict[str, tuple[float, float]] = {
    "depth": (0, math.inf),
    "step": (0, math.inf),
    "epoch": (0, math.inf),
    "loss": (-math.inf, math.inf),
    "accuracy": (0, 1),
    "final_accuracy": (0, 1),
    "angle_degrees": (0, 180),
    "log10_magnitude_ratio": (-math.inf, math.inf),
    **dict.fromkeys(("kept", "flipped", "vanished", "appeared"), (0, math.inf)),
    **dict.fromkeys(("cosine", "alignment", "predicted_cosine"), (-1, 1)),
    **dict.fromkeys(("certified", "attacked"), (1, math.inf)),
    "kappa": (0, math.inf),
}
"""Columns that hold numbers, and between what."""

_ROUNDING = 1e-6
"""How far a number may lie outside by rounding."""


def columns(*names: str, **own: str) -> dict[str, str]:
    """A figure's columns with their meaning: those of `MEANING` by name, the figure's own with their words."""
    return {name: MEANING[name] for name in names} | own


def require(table: pd.DataFrame, columns: Iterable[str], *, figure: str, unknown: Collection[str] = ()) -> None:
    """Check that a figure's columns are there and hold something, and that there is a row.

    Args:
        table: of the figure.
        columns: that it reads; one without any value counts as missing.
        figure: its name, for the message.
        unknown: those of the columns that may be without any value.

    Raises:
        Refused: a column is missing, the table has no row, or a value is no number or one that cannot be (`RANGES`).
    """
    empty = [column for column in table.columns if len(table) and table[column].isna().all()]
    held = [column for column in table.columns if column not in empty or column in unknown]
    missing = [column for column in columns if column not in held]
    if missing:
        valueless = [column for column in missing if column in empty]
        nothing = f" and no value at all in {', '.join(valueless)}" if valueless else ""
        raise Refused(
            f"the figure {figure!r} needs the column{'s' * (len(missing) > 1)} {', '.join(missing)}; the table has "
            f"{', '.join(map(str, held)) or 'none'}{nothing}."
        )
    if table.empty:
        raise Refused(f"the figure {figure!r} has nothing to draw: the table has no rows.")
    for column in columns:
        if column in RANGES:
            _numbers(table[column], figure)


def _numbers(column: pd.Series, figure: str) -> None:
    """Refuse text among numbers, and numbers outside of their range, by the first one."""
    values = pd.to_numeric(column, errors="coerce").astype(float)
    low, high = RANGES[str(column.name)]
    texts = column[values.isna() & column.notna()]
    outside = column[(values < low - _ROUNDING) | (values > high + _ROUNDING)]
    if len(texts):
        raise Refused(
            f"the figure {figure!r} needs numbers in the column {column.name}; in row {texts.index[0]} there is "
            f"{texts.iloc[0]!r}. What is undefined is a missing value."
        )
    if len(outside):
        between = f"{low:g} or more" if math.isinf(high) else f"{low:g} to {high:g}"
        raise Refused(
            f"the figure {figure!r} needs {between} in the column {column.name}; in row {outside.index[0]} there is "
            f"{outside.iloc[0]:g}."
        )


def select(table: pd.DataFrame, *, figure: str, **wanted: Any) -> pd.DataFrame:
    """The rows whose coordinates are among the wanted values; ``None`` keeps all of a coordinate.

    Raises:
        Refused: a value occurs nowhere in its column, a column is missing, or no row has all of them.
    """
    asked = {
        column: list(values) if isinstance(values, Sequence) and not isinstance(values, str) else [values]
        for column, values in wanted.items()
        if values is not None
    }
    require(table, asked, figure=figure)
    labels = _labels(table) if "layer" in asked else {}
    for column, values in asked.items():
        known = table[column].unique().tolist()
        if column == "layer":  # a layer may be named as the figures name it
            asked[column] = values = [value if value in known else labels.get(value, value) for value in values]
        for value in values:
            if value not in known:
                shown = {path: f"{path} ({label})" for label, path in labels.items()} if column == "layer" else {}
                hint = near(str(value), [shown.get(each, str(each)) for each in known])
                raise Refused(f"the figure {figure!r} has no {column} {value!r} to draw; {hint[:1].lower()}{hint[1:]}.")
    kept = table
    for column, values in asked.items():
        kept = kept[kept[column].isin(values)]
    if kept.empty:
        words = ", ".join(f"{column} in {values}" for column, values in asked.items())
        raise Refused(f"the figure {figure!r} has nothing to draw: no row has {words} together.")
    return kept


def trained_by(table: pd.DataFrame, surrogates: Sequence[str], *, figure: str) -> pd.DataFrame:
    """The rows of runs that one of these trained, and of the tied ones beside them; a rule's parameters do not count.

    Raises:
        Refused: none was trained by one of them.
    """
    column = "rule" if "rule" in table.columns else "trained"
    rules = table[column].astype(str).str.split("(").str[0]
    known = sorted(set(rules))
    for name in surrogates:
        if name not in known:
            raise Refused(f"the figure {figure!r} has no run trained by {name!r} to draw; {near(name, known)}.")
    return table[rules.isin([*surrogates, "tied"])]


def _labels(table: pd.DataFrame) -> dict[str, str]:
    """The paths of a table's layers by their labels in the figures, where no two have the same one."""
    if "depth" not in table.columns:
        return {}
    pairs = table[["depth", "layer"]].dropna().drop_duplicates()
    known = [(layer(int(depth), str(path)), str(path)) for depth, path in pairs.itertuples(index=False)]
    names = [label for label, _ in known]
    return {label: path for label, path in known if names.count(label) == 1}


def one_run(table: pd.DataFrame, *, figure: str) -> None:
    """Check that a table holds one network, trained in one way, against one reference: a figure must not mix two under
    one line.

    Raises:
        Refused: it holds several.
    """
    for column in ("network", "trained", "reference"):
        values = table[column].unique().tolist() if column in table.columns else []
        if len(values) > 1:
            raise Refused(
                f"the figure {figure!r} shows one {column} at a time and the table has {', '.join(map(str, values))}: "
                f"select one of them."
            )


def runs(table: pd.DataFrame) -> Iterator[tuple[dict[str, str], pd.DataFrame]]:
    """Each run's coordinates with its rows: network, way of training, and the reference where there are several.

    >>> both = pd.DataFrame({"network": ["a", "b"], "reference": "exact"})
    >>> [coordinates for coordinates, _ in runs(both)]
    [{'network': 'a'}, {'network': 'b'}]
    """
    several = "reference" in table.columns and table["reference"].nunique() > 1
    by = [
        name
        for name in ("network", "trained", "reference")
        if name in table.columns and table[name].notna().any() and (name != "reference" or several)
    ]
    for key, rows in table.groupby(by, sort=False, observed=True, dropna=False) if by else [((), table)]:
        yield {name: str(value) for name, value in zip(by, key, strict=True)}, rows


def reference(table: pd.DataFrame) -> str:
    """What the gradients are compared with, in a word: the table's one reference, "exact" where it names none."""
    return str(table["reference"].iloc[0]) if "reference" in table.columns and len(table) else "exact"


def layers(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of single layers on the whole batch, without those of the whole gradient and of single samples."""
    return batches(table[table["layer"] != WHOLE])


def batches(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of the whole batch, without those of single samples."""
    return table[table["sample"] == BATCH] if "sample" in table.columns else table


def reach(table: pd.DataFrame) -> tuple[int, list[int]]:
    """Where an axis of angles ends, and its ticks: 90 degrees are always on it, 180 where they are needed."""
    most = float(table["angle_degrees"].max())
    if most > 135:
        return 180, [0, 90, 180]
    return (145, [0, 45, 90, 135]) if most > 105 else (110, [0, 45, 90])


def layer(depth: int, path: str) -> str:
    """A layer's label: its place, and its path in the model where that says more than a number.

    >>> layer(1, "0"), layer(2, "encoder.conv"), layer(0, "whole")
    ('layer 1', 'layer 2 (encoder.conv)', 'whole gradient')
    """
    if path == WHOLE:
        return "whole gradient"
    return f"layer {depth}" if path.replace(".", "").isdigit() else f"layer {depth} ({path})"


def stages(table: pd.DataFrame) -> list[str]:
    """The stages of a measurement in the order in which training reached them."""
    return [str(stage) for stage in table.groupby("stage")["step"].median().sort_values(kind="stable").index]


def catalogue() -> list[str]:
    """The surrogates' names in the catalogue's order."""
    return list(SURROGATES)


def in_order(values: Iterable[str], order: Sequence[str]) -> list[str]:
    """Distinct values in a known order; strangers follow in the order of their first row.

    >>> in_order(["end", "mine", "initialisation"], ["initialisation", "end"])
    ['initialisation', 'end', 'mine']
    """
    seen = list(dict.fromkeys(values))
    return [value for value in order if value in seen] + [value for value in seen if value not in order]
