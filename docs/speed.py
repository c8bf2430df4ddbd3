"""Writes the tables of docs/speed.md anew from what the benchmark printed, kept beside it as JSON.

`downslope benchmark gradients --json > docs/measured/gradients.json`, likewise `grids`, and `gradients --growth` as
`growth.json`; then `make readme`. `tests/house/test_pages.py` holds the page equal to the files.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from marks import rewrite

PAGE = Path(__file__).with_suffix(".md")
MEASURED = PAGE.parent / "measured"


def rows(name: str) -> list[dict[str, Any]]:
    """What one benchmark printed."""
    found: list[dict[str, Any]] = json.loads((MEASURED / f"{name}.json").read_text(encoding="utf-8"))["rows"]
    return found


def ratios(name: str) -> str:
    """Each comparison with its limit and whether it holds."""
    lines = ["| what | ratio | has to be | aim | holds | of the bound |", "| --- | ---: | ---: | ---: | --- | ---: |"]
    for row in rows(name):
        least, most = row["at_least"], row.get("at_most")
        holds = row["ratio"] <= most if most is not None else row["ratio"] >= least
        limit = f"at most {most:g}" if most is not None else f"at least {least:g}"
        cells = [row["what"], f"{row['ratio']:.2f}", limit, f"{row['aim']:g}", "yes" if holds else "**no**"]
        lines.append(f"| {' | '.join(cells)} | {row['bound_ratio']:.1f} |")
    return "\n".join(lines)


def growth() -> str:
    """CPU time by size, and the exponent of its growth."""
    lines = ["| grows | size | gradients, ms | metrics, ms | exponent |", "| --- | ---: | ---: | ---: | ---: |"]
    for row in rows("growth"):
        slope = "" if row["slope"] is None else f"{row['slope']:.2f}"
        times = " | ".join(f"{1e3 * row[key]:.1f}" for key in ("gradients_seconds", "metrics_seconds"))
        lines.append(f"| {row['grows']} | {row['size']} | {times} | {slope} |")
    return "\n".join(lines)


TABLES: Mapping[str, Callable[[], str]] = {
    "gradients": lambda: ratios("gradients"),
    "grids": lambda: ratios("grids"),
    "growth": growth,
}


if __name__ == "__main__":
    rewrite(PAGE, TABLES)
