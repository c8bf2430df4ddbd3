"""Uncertainty: means over seeds with 95% confidence intervals (Student's t), draws averaged within a seed first."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import pandas as pd

NAMED = "95% confidence interval of the mean over seeds (Student's t)"
"""How captions name it."""


def over_seeds(table: pd.DataFrame, by: Sequence[str], value: str) -> pd.DataFrame:
    """Mean and half-width of the 95% confidence interval over seeds, for each group.

    Rows of one seed (draws, batches) are averaged first: they are no repetitions of the run. Missing values are left
    out. Where the table has no seeds, or a group only one, the half-width is 0 and ``n`` says so.

    Args:
        table: with the columns ``by`` and ``value``, and ``seed`` where there are several runs.
        by: the columns that make a group.
        value: the column to average.

    Returns:
        Columns ``mean``, ``half`` and ``n`` (seeds with a value), a row a group.

    >>> runs = pd.DataFrame({"layer": "a", "seed": [0, 0, 1], "cosine": [0.0, 1.0, 1.5]})
    >>> over_seeds(runs, ["layer"], "cosine").round(3).values.tolist()
    [[1.0, 6.353, 2.0]]
    """
    values = table.assign(**{value: table[value].astype(float)})
    if "seed" in table.columns and "seed" not in by:
        values = values.groupby([*by, "seed"], sort=False)[value].mean().reset_index()
    found = values.groupby(list(by))[value].agg(["mean", "sem", "count"])
    factor = found["count"].map(lambda n: _factor(int(n)))
    return pd.DataFrame({"mean": found["mean"], "half": (found["sem"] * factor).fillna(0.0), "n": found["count"]})


def runs(table: pd.DataFrame) -> str:
    """How many runs a table holds, for a caption.

    >>> runs(pd.DataFrame({"seed": [0, 1, 1]})), runs(pd.DataFrame({"seed": [3]})), runs(pd.DataFrame())
    ('n = 2 seeds', 'n = 1 seed', 'n = 1 run')
    """
    if "seed" not in table.columns:
        return "n = 1 run"
    n = table["seed"].nunique()
    return f"n = {n} seed{'s' * (n != 1)}"


def seeds(table: pd.DataFrame) -> str:
    """How many runs a table holds, and that there is no interval where it is one.

    >>> seeds(pd.DataFrame({"seed": [0, 1, 1]})), seeds(pd.DataFrame({"seed": [3]}))
    ('n = 2 seeds', 'n = 1 seed, so that no interval can be shown')
    """
    several = "seed" in table.columns and table["seed"].nunique() > 1
    return runs(table) + ("" if several else ", so that no interval can be shown")


@cache
def _factor(n: int) -> float:
    """The quantile of Student's t by which a standard error becomes the half-width of a 95% interval."""
    from scipy.stats import t

    return float(t.ppf(0.975, n - 1)) if n > 1 else 0.0
