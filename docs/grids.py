"""Prints the tables of a run folder as Markdown, as they stand in grids.md: python docs/grids.py RUNS/NAME."""

import json
import sys
from collections.abc import Iterator, Mapping
from itertools import groupby
from pathlib import Path
from typing import Any

Row = Mapping[str, Any]


def tables(rows: list[Row], scale: float, unit: str) -> Iterator[str]:
    """The lines of a table for each setting of ``table.json``."""
    for setting, group in groupby(rows, key=title):
        columns = ["rule", "seeds", unit, "difference", "Holm p", "verdict"]
        found = list(group)
        if any(row["angle_degrees"] is not None for row in found):
            columns.append("angle")
        yield from (f"**{setting}**", "", f"| {' | '.join(columns)} |")
        yield "| --- | ---: | ---: | ---: | ---: | --- |" + " ---: |" * (len(columns) - 6)
        for row in found:
            lost = f" (+{row['diverged']} diverged)" if row["diverged"] else ""
            cells = [f"`{row['rule']}`", f"{row['runs']}{lost}"]
            cells += [spread(row["mean"], row["half_width"], scale)]
            cells += [spread(row["difference"], row["difference_half_width"], scale)]
            cells += ["-" if row["p_holm"] is None else f"{row['p_holm']:.2g}", row["verdict"] or "reference"]
            angle = row["angle_degrees"]
            cells += ["-" if angle is None else f"{angle:.1f}"] * (len(columns) - 6)
            yield f"| {' | '.join(cells)} |"
        yield ""


def title(row: Row) -> str:
    """What the rules of one table share."""
    where = f"{row['network']}, {row['forward']}, lr {row['learning_rate']:g}, batch {row['batch']}"
    return f"{where}, {row['epochs']} epochs"


def spread(value: float | None, half_width: float | None, scale: float) -> str:
    """A mean and its interval."""
    if value is None:
        return "-"
    return f"{value * scale:.2f}" + ("" if half_width is None else f" ± {half_width * scale:.2f}")


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    climbs = folder.name.startswith("maximise")
    found = json.loads((folder / "table.json").read_text(encoding="utf-8"))["table"]
    print("\n".join(tables(found, 1 if climbs else 100, "activation" if climbs else "accuracy, %")).strip())
