"""What the measurements say, in plain words: every number in a sentence is computed from the table it is given."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from .. import tables
from ..drawing import TIED
from ..gallery.deviation import signs

RIGHT_ANGLE = 90.0


@dataclass(frozen=True)
class Standing:
    """How one surrogate fared over every layer, stage, seed and draw.

    Attributes:
        surrogate: its name.
        worst: its largest defined angle in a layer, in degrees; NaN where every one is undefined.
        where: the coordinates of that angle, in words.
        beyond, undefined, measured: how many angles in a layer are 90 degrees or more, are undefined, were measured.
        whole_beyond, whole_measured: how many angles of the whole gradient are 90 degrees or more, were measured.
    """

    surrogate: str
    worst: float
    where: str
    beyond: int
    undefined: int
    measured: int
    whole_beyond: int
    whole_measured: int

    @property
    def descends(self) -> bool:
        """Whether every angle in a layer is defined and below 90 degrees."""
        return self.beyond == 0 and self.undefined == 0


@dataclass(frozen=True)
class Comparison:
    """Final test accuracy of one network under a replaced backward against the tied one, in percent.

    Attributes:
        network, trained: which runs.
        seeds: how many runs of each kind there are, paired by their seed.
        tied, untied: means over seeds.
        difference: mean of untied less tied over the pairs.
        half_width: of the difference's 95% confidence interval (Student's t); NaN where fewer than two pairs stand.
    """

    network: str
    trained: str
    seeds: int
    tied: float
    untied: float
    difference: float
    half_width: float

    @property
    def verdict(self) -> str:
        """What the interval supports: "better", "worse", "no difference shown", or "one run only"."""
        if math.isnan(self.half_width):
            return "one run only"
        if abs(self.difference) <= self.half_width:
            return "no difference shown"
        return "better" if self.difference > 0 else "worse"


def standings(table: pd.DataFrame) -> list[Standing]:
    """Every surrogate's standing, the smallest worst angle first; the tied control is left out."""
    found = []
    for surrogate, rows in table[table["surrogate"] != TIED].groupby("surrogate", sort=False):
        layers, whole = tables.layers(rows), rows[rows["layer"] == tables.WHOLE]
        angle = layers["angle_degrees"]
        defined = angle.dropna()
        found.append(
            Standing(
                surrogate=str(surrogate),
                worst=float(defined.max()),
                where=place(layers.loc[[defined.idxmax()]].iloc[0]) if len(defined) else "",
                beyond=int((defined >= RIGHT_ANGLE).sum()),
                undefined=int(angle.isna().sum()),
                measured=len(angle),
                whole_beyond=int((whole["angle_degrees"] >= RIGHT_ANGLE).sum()),
                whole_measured=len(whole),
            )
        )
    return sorted(found, key=lambda standing: (math.isnan(standing.worst), standing.worst))


def place(row: pd.Series) -> str:
    """A row's coordinates in words."""
    trained = f" trained {row['trained']}" if "trained" in row else ""
    layer = tables.layer(row["depth"], row["layer"])
    return f"{layer} of {row['network']}{trained}, {row['stage']}, seed {row['seed']}"


def answer(table: pd.DataFrame) -> list[str]:
    """The answer to the report's question, a sentence an item."""
    stood = standings(table)
    good = [standing for standing in stood if standing.descends]
    bad = [standing for standing in stood if standing.beyond]
    blind = [standing for standing in stood if standing.undefined]
    whole = [standing for standing in stood if standing.whole_beyond]
    measured = sum(standing.measured for standing in stood)
    worst = max(stood, key=lambda standing: -1.0 if math.isnan(standing.worst) else standing.worst)
    said = [
        f"{_of(good, stood)} stayed below 90 degrees in every layer, at every stage and on every seed: there a small "
        f"enough step along the surrogate gradient of any one layer lowers the loss on the batch{_list(good, stood)}."
    ]
    if bad:
        said.append(f"{_of(bad, stood)} reached 90 degrees or more somewhere{_list(bad, stood)}.")
    if not math.isnan(worst.worst):
        said.append(
            f"The largest of {measured:,} angles is {worst.worst:.1f} degrees: {worst.surrogate} in {worst.where}."
        )
    if any(standing.whole_measured for standing in stood):
        said.append(f"Over all layers together, {_of(whole, stood)} reached 90 degrees or more{_list(whole, stood)}.")
    if blind:
        said.append(
            f"{sum(standing.undefined for standing in blind)} of {measured:,} angles are undefined because a gradient "
            f"vanished or was not finite{_list(blind, stood)}; they count for neither side."
        )
    return [sentence[0].upper() + sentence[1:] for sentence in said]


def flips(table: pd.DataFrame) -> str:
    """Where most signs flip, as a sentence: a gradient can point downslope while many of its entries do not."""
    rows = tables.layers(table)
    by = [rows[name] for name in ("surrogate", "network", "trained", "depth")]
    shares = signs.shares_of(rows)["flipped"].groupby(by).mean()
    most: Any = shares.idxmax()
    surrogate, network, trained, depth = most
    return (
        f"Single entries are another matter: {surrogate} flips the sign of {shares.max():.0f}% of the entries of layer "
        f"{depth} of {network} trained {trained}, the most of all, as a mean over stages, seeds and draws."
    )


def control(table: pd.DataFrame) -> str | None:
    """What the control says: under the tied backward every angle has to be 0; ``None`` where it was not measured."""
    rows = table[(table["surrogate"] == TIED) & table["angle_degrees"].notna()]
    if rows.empty:
        return None
    return (
        f"Control: the activation's own derivative, measured by the same path, lies at most "
        f"{rows['angle_degrees'].max():.2g} degrees from the exact gradient in {len(rows):,} rows."
    )


def with_depth(table: pd.DataFrame, surrogate: str = "constant") -> list[str]:
    """How one surrogate's angle grows from the output down, a sentence a network."""
    said = []
    for network, rows in tables.layers(table[table["surrogate"] == surrogate]).groupby("network", sort=False):
        medians = rows.groupby("depth")["angle_degrees"].median()
        steps = ", ".join(f"{angle:.0f}" for angle in medians)
        said.append(f"{surrogate.capitalize()} on {network}, first layer to last: median angles of {steps} degrees.")
    return said


def compare(curves: pd.DataFrame) -> list[Comparison]:
    """Every replaced backward against the tied one, by final test accuracy, over the seeds that both were run with."""
    from scipy.stats import t

    last = curves[curves["split"] == "test"].sort_values("epoch").groupby(["network", "trained", "seed"], sort=False)
    accuracy = last["accuracy"].last().mul(100).unstack("trained")
    found = []
    for network in curves["network"].unique():
        runs = accuracy.loc[[network]]
        for trained in (name for name in curves["trained"].unique() if name != TIED):
            if TIED not in runs or trained not in runs:
                continue
            pairs = runs[[TIED, trained]].dropna()
            difference, n = pairs[trained] - pairs[TIED], len(pairs)
            half = float(t.ppf(0.975, n - 1) * difference.std(ddof=1) / math.sqrt(n)) if n > 1 else math.nan
            means = (float(pairs[TIED].mean()), float(pairs[trained].mean()), float(difference.mean()))
            found.append(Comparison(str(network), str(trained), n, *means, half))
    return found


def said_of(row: Comparison) -> str:
    """A comparison as a sentence."""
    interval = (
        "" if math.isnan(row.half_width) else f" (95% interval ± {row.half_width:.2f} over {row.seeds} paired seeds)"
    )
    return (
        f"{row.network}: {row.untied:.2f}% test accuracy trained {row.trained} against {row.tied:.2f}% tied, a "
        f"difference of {row.difference:+.2f} points{interval}: {row.verdict}."
    )


def _of(some: Sequence[Standing], every: Sequence[Standing]) -> str:
    """How many of all, in words that can begin a sentence."""
    if len(some) == len(every):
        return f"all {len(every)} surrogates"
    return f"{len(some) or 'none'} of {len(every)} surrogates"


def _list(some: Sequence[Standing], every: Sequence[Standing]) -> str:
    """The names in brackets; none where it is all of them."""
    return f" ({', '.join(standing.surrogate for standing in some)})" if 0 < len(some) < len(every) else ""
