"""Prints the tables of a run folder as Markdown, as they stand in grids.md: python docs/grids.py RUNS/NAME [--wide].

With --wide, networks are rows and rules are columns, one table for all networks of a sweep.
"""

import json
import sys
from collections.abc import Iterator, Mapping
from itertools import groupby
from pathlib import Path
from typing import Any

Row = Mapping[str, Any]

REFERENCE = "reference"
MARKS = {"better": "+", "worse": "-", "as good": "=", "at chance": "c", "": "ref", "diverged": "div"}
"""Verdicts in a wide table; "?" for all others."""


def tables(rows: list[Row], scale: float, unit: str) -> Iterator[str]:
    """The lines of a table for each setting of ``table.json``."""
    for setting, group in groupby(rows, key=title):
        columns = ["rule", "seeds", unit, "difference", "Holm p", "verdict"]
        found = list(group)
        if any(row["angle_degrees"] is not None for row in found):
            columns.append("angle")
        if any(row["against"] and row["pairs"] != row["runs"] for row in found):
            columns.insert(2, "pairs")
        yield from (f"**{setting}**", "", f"| {' | '.join(columns)} |")
        yield "| " + " | ".join("---" if name in ("rule", "verdict") else "---:" for name in columns) + " |"
        for row in found:
            cells = written(row, scale, unit)
            yield f"| {' | '.join(cells[name] for name in columns)} |"
        yield ""


def written(row: Row, scale: float, unit: str) -> dict[str, str]:
    """The cells of a row by column."""
    lost = f" (+{row['diverged']} diverged)" if row["diverged"] else ""
    return {
        "rule": f"`{row['rule']}`",
        "seeds": f"{row['runs']}{lost}",
        "pairs": f"{row['pairs']}" if row["against"] else "-",
        unit: spread(row["mean"], row["half_width"], scale),
        "difference": spread(row["difference"], row["difference_half_width"], scale),
        "Holm p": "-" if row["p_holm"] is None else f"{row['p_holm']:.2g}",
        "verdict": row["verdict"] or REFERENCE,
        "angle": degrees(row),
    }


def wide(rows: list[Row], scale: float, unit: str) -> Iterator[str]:
    """A table for each setting but the network: a row a network, a column a rule."""
    settings: dict[str, dict[str, dict[str, Row]]] = {}
    for row in rows:
        settings.setdefault(title(row, network=False), {}).setdefault(row["network"], {})[row["rule"]] = row
    for setting, networks in settings.items():
        rules = list(dict.fromkeys(rule for found in networks.values() for rule in found))
        yield from (f"**{setting}**; {unit}, verdict, angle in degrees", "")
        yield f"| network | {' | '.join(f'`{rule}`' for rule in rules)} |"
        yield "| --- |" + " ---: |" * len(rules)
        for name, found in networks.items():
            cells = [narrow(found[rule], scale) if rule in found else "" for rule in rules]
            yield f"| {' | '.join([name, *cells])} |"
        yield ""
    yield f"Verdicts: {', '.join(f'{mark} {said or REFERENCE}' for said, mark in MARKS.items())}, ? undecided."
    yield ""


def narrow(row: Row, scale: float) -> str:
    """Score, verdict and angle of a rule in few characters."""
    angle = "" if row["angle_degrees"] is None else f", {row['angle_degrees']:.0f}°"
    return f"{spread(row['mean'], row['half_width'], scale, places=1)} {MARKS.get(row['verdict'], '?')}{angle}"


def aligned(rows: list[Row]) -> Iterator[str]:
    """Whether alignment predicts the score, setting by setting; nothing where it was not measured."""
    for setting, group in groupby(rows, key=title):
        yield from (f"**{setting}**", "")
        yield "| measured over the run | runs | Spearman with the gain over tied | 95% interval |"
        yield "| --- | ---: | ---: | --- |"
        for row in group:
            known = row["spearman"] is not None
            found = f"{row['spearman']:+.2f} | [{row['low']:+.2f}, {row['high']:+.2f}]" if known else "- | -"
            yield f"| {row['measure']} | {row['runs']} | {found} |"
        yield ""


def survivors(sentences: list[str]) -> Iterator[str]:
    """Where the score survives a poor angle, in the words of the command."""
    for said in sentences:
        setting, _, rest = said.partition(": ")
        yield from (f"{setting}: {part.rstrip('.')}." for part in rest.split("; ") if "survives a poor angle" in part)


def title(row: Row, *, network: bool = True) -> str:
    """What the rules of one table share."""
    where = f"{row['network']}, " if network else ""
    momentum = f", momentum {row['momentum']:g}" if row["momentum"] else ""
    found = f"{where}{row['forward']}, lr {row['learning_rate']:g}, batch {row['batch']}"
    return f"{found}, {row['epochs']} epoch{'s' * (row['epochs'] != 1)}{momentum}"


def degrees(row: Row) -> str:
    """The angle to the exact gradient."""
    return "-" if row["angle_degrees"] is None else f"{row['angle_degrees']:.1f}"


def spread(value: float | None, half_width: float | None, scale: float, *, places: int = 2) -> str:
    """A mean and its interval."""
    if value is None:
        return "-"
    return f"{value * scale:.{places}f}" + ("" if half_width is None else f" ± {half_width * scale:.{places}f}")


def page(folder: Path, shape: str = "") -> str:
    """All that is printed of a run folder."""
    climbs = folder.name.startswith("maximise")
    found = json.loads((folder / "table.json").read_text(encoding="utf-8"))
    shown = (wide if shape == "--wide" else tables)(
        found["table"], 1 if climbs else 100, "activation" if climbs else "accuracy, %"
    )
    return "\n".join([*shown, *aligned(found["alignment"]), *survivors(found["sentences"])]).strip()


if __name__ == "__main__":
    print(page(Path(sys.argv[1]), *sys.argv[2:]))
