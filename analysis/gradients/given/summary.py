"""What `downslope measure` says of many batches: means that take the same room for one batch and for a million.

What the user named is shown as `Text`: in a plain string rich would take ``:factory`` for a picture of one.
"""

from __future__ import annotations

import json
from collections.abc import Hashable, Iterable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

from ..streaming import stream
from ..table import as_json
from .shown import sheets, undefined

if TYPE_CHECKING:
    import pandas as pd

BATCH, SAMPLE = "batch", "sample"
"""What a row is of: a whole batch, as the column ``sample`` has it, or one of its samples."""

ANGLE, SLOPE = "mean_angle_degrees", "mean_directional_derivative"
_WHAT = {ANGLE: "angle in degrees", SLOPE: "slope of the loss along minus the gradient"}
"""What is shown: the first of these that there is; a finite difference has a slope and no angle."""


@dataclass
class Summary:
    """Means over batches, seeds and draws, by surrogate and layer: of a size that does not depend on how many.

    Attributes:
        rows: how many were added.
        batches: how many batches they came from.
        provenance: of the first table.
        reasons: why angles are undefined, and of how many rows.
    """

    rows: int = 0
    batches: int = 0
    provenance: dict[Hashable | None, Any] = field(default_factory=dict)
    reasons: dict[str, int] = field(default_factory=dict)
    _kept: list[pd.DataFrame] = field(default_factory=list)
    _sums: dict[tuple[Any, ...], list[float]] = field(default_factory=dict)

    def add(self, table: pd.DataFrame, *, keep: bool = False) -> None:
        """Adds the rows of one table, and holds it where ``keep`` says so."""
        self.provenance = self.provenance or table.attrs
        if keep:
            self._kept.append(table)
        self.rows += len(table)
        self.batches = max(self.batches, int(table["batch"].max()) + 1)
        for reason, times in table[table["angle_degrees"].isna()]["reason"].value_counts().items():
            self.reasons[str(reason)] = self.reasons.get(str(reason), 0) + int(times)
        kind = table["sample"].where(table["sample"] == BATCH, SAMPLE).rename("of")
        for key, rows in table.groupby([kind, "surrogate", "layer", "depth"], sort=False):
            angles, slopes = (rows[name].dropna() for name in ("angle_degrees", "directional_derivative"))
            held = self._sums.setdefault(key, [0.0, 0, 0, 0.0, 0])
            held[0] += float(angles.sum())
            held[1] += len(angles)
            held[2] += len(rows) - len(angles)
            held[3] += float(slopes.sum())
            held[4] += len(slopes)

    def kept(self) -> pd.DataFrame:
        """The tables that were kept, as one."""
        import pandas as pd

        for table in self._kept:  # pandas would compare their attrs
            table.attrs = {}
        whole = pd.concat(self._kept, ignore_index=True)
        whole.attrs = self.provenance
        return whole

    def as_json(self, path: Path | None) -> str:
        """Strict JSON: provenance and rows; where those are in a file: which, how many they are, and the means."""
        if path is None:
            return as_json(self.kept())
        said = {"path": str(path), "rows": self.rows, "batches": self.batches, "means": self.records()}
        said |= {"undefined": self.reasons}
        return json.dumps({"provenance": self.provenance} | said, indent=2, allow_nan=False)

    def records(self) -> list[dict[str, Any]]:
        """The means: of what (batch or sample), surrogate, layer, depth, ``mean_angle_degrees`` and
        ``mean_directional_derivative`` (``None`` where all are undefined), and how many angles
        were ``defined`` and ``undefined``."""
        return [
            {
                "of": of,
                "surrogate": surrogate,
                "layer": layer,
                "depth": int(depth),
                ANGLE: total / defined if defined else None,
                SLOPE: slope / slopes if slopes else None,
                "defined": defined,
                "undefined": undefined,
            }
            for (of, surrogate, layer, depth), (total, defined, undefined, slope, slopes) in self._sums.items()
        ]

    def shown(self, title: str) -> list[Table | Text]:
        """A row a surrogate, a column a layer, in each cell the mean angle (of finite differences the mean slope), "-"
        where every one is undefined; then remarks.

        A remark is why angles are undefined, what the model's mode does to the measurement, or what was not untied.
        """
        over = f"over {self.batches} batch{'es' * (self.batches != 1)}"
        parts: list[Table | Text] = []
        for of in dict.fromkeys(each["of"] for each in self.records()):
            whose = "mean" if of == BATCH else "mean of the samples taken singly"
            mean = next((each for each in _WHAT if self._known(of, each)), ANGLE)
            parts += [Text(f"{title}: {_WHAT[mean]}, {whose} {over}"), *self._tables(of, mean)]
        remarked = (*self.provenance.get("remarks", ()), *(f"not untied: {each}" for each in self._unreached()))
        return [*parts, *undefined(self.reasons, self.rows), *(Text(each) for each in remarked)]

    def _known(self, of: str, mean: str) -> bool:
        return any(each[mean] is not None for each in self.records() if each["of"] == of)

    def _unreached(self) -> Iterable[str]:
        found: Iterable[str] = self.provenance.get("unreached", ())
        return found

    def _tables(self, of: str, mean: str) -> Iterator[Table]:
        records = [each for each in self.records() if each["of"] == of]
        layers = sorted({(each["depth"], each["layer"]) for each in records}, key=lambda each: (each[0] == 0, each))
        cells = {(each["surrogate"], each["depth"], each["layer"]): each[mean] for each in records}
        names = list(dict.fromkeys(each["surrogate"] for each in records))
        shown = "{:.1f}" if mean == ANGLE else "{:.3g}"
        columns = {
            layer if depth == 0 else f"{depth} {layer}": [
                "-" if (found := cells.get((name, depth, layer))) is None else shown.format(found) for name in names
            ]
            for depth, layer in layers
        }
        return sheets("surrogate", names, columns)


def through(tables: Iterable[pd.DataFrame], out: Path | None = None, *, keep: bool = False) -> Summary:
    """Passes each table to the file ``out``, where one is named, and lets go of it unless ``keep`` says otherwise.

    Raises:
        Refused: the place cannot be written, or there is no table.
    """
    summary = Summary()
    with nullcontext() if out is None else stream(out) as add:
        for table in tables:
            summary.add(table, keep=keep)
            if add is not None:
                add(table)
    return summary
