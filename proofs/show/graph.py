"""What uses what, as an SVG: a column a level of use, a box a claim, coloured and worded by its verdict."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from xml.sax.saxutils import escape

from ...analysis.errors import Refused
from ..claim import Verdict
from ..referee import Result

_FILL = {Verdict.PROVED: "#d5eddb", Verdict.REFUTED: "#f6d5d5", Verdict.SUPPORTED: "#d5e6f6", Verdict.OPEN: "#f6efc4"}
_WIDTH, _HEIGHT, _ACROSS, _DOWN, _EDGE = 210, 34, 290, 46, 20


def levels(uses: Mapping[str, Sequence[str]]) -> dict[str, int]:
    """How many uses deep each claim stands: 0 where it uses none of the others.

    Raises:
        ValueError: claims use each other in a circle.

    >>> levels({"a": [], "b": ["a"], "c": ["b", "a"]})
    {'a': 0, 'b': 1, 'c': 2}
    """
    found: dict[str, int] = {}

    def level(name: str, path: tuple[str, ...]) -> int:
        if name in path:
            raise ValueError(f"claims use each other in a circle: {' -> '.join((*path, name))}")
        if name not in found:
            found[name] = 1 + max((level(used, (*path, name)) for used in uses[name] if used in uses), default=-1)
        return found[name]

    return {name: level(name, ()) for name in uses}


def drawing(results: Sequence[Result]) -> str:
    """The graph as the text of an SVG; claims that neither use nor are used stand below the rest."""
    by_id = {result.claim.id: result for result in results}
    uses = {name: [used for used in result.claim.uses if used in by_id] for name, result in by_id.items()}
    linked = {name for name, used in uses.items() if used} | {name for used in uses.values() for name in used}
    depth = levels(uses)
    places: dict[str, tuple[int, int]] = {}
    rows: dict[int, int] = {}
    for name in by_id:
        if name in linked:
            column = depth[name]
            rows[column] = rows.get(column, 0) + 1
            places[name] = (_EDGE + column * _ACROSS, _EDGE + (rows[column] - 1) * _DOWN)
    columns, below = 1 + max(depth.values(), default=0), max(rows.values(), default=0)
    for place, name in enumerate(name for name in by_id if name not in linked):
        places[name] = (_EDGE + place % columns * _ACROSS, _EDGE + (below + 1 + place // columns) * _DOWN)
    width = 2 * _EDGE + max((x for x, _ in places.values()), default=0) + _WIDTH
    height = 2 * _EDGE + max((y for _, y in places.values()), default=0) + _HEIGHT
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        'font-family="sans-serif" font-size="11">',
        "<title>What uses what</title>",
    ]
    for name, used in uses.items():
        x, y = places[name]
        for other in used:
            a, b = places[other][0] + _WIDTH, places[other][1] + _HEIGHT // 2
            bend = (a + x) // 2
            path = f"M{a},{b} C{bend},{b} {bend},{y + _HEIGHT // 2} {x},{y + _HEIGHT // 2}"
            parts.append(f'<path d="{path}" fill="none" stroke="#777"/>')
    for name, (x, y) in places.items():
        result = by_id[name]
        parts.append(
            f'<g><title>{escape(result.claim.statement)}</title><rect x="{x}" y="{y}" width="{_WIDTH}" '
            f'height="{_HEIGHT}" rx="4" fill="{_FILL[result.verdict]}" stroke="#555"/>'
            f'<text x="{x + 8}" y="{y + 14}" font-weight="bold">{escape(name)}</text>'
            f'<text x="{x + 8}" y="{y + 27}">{result.verdict}</text></g>'
        )
    return "\n".join([*parts, "</svg>", ""])


def write(results: Sequence[Result], file: str) -> Path:
    """Writes the graph, whole or not at all.

    Raises:
        Refused: the name does not end in .svg, or its folder does not exist.
    """
    target = Path(file)
    if target.suffix.lower() != ".svg":
        raise Refused(f"verify --graph {file!r}: the graph is an SVG; give a name that ends in .svg.")
    if not target.parent.is_dir():
        raise Refused(f"verify --graph {file!r}: the folder {str(target.parent)!r} does not exist; create it first.")
    handle, draft = tempfile.mkstemp(dir=target.parent, suffix=".svg")
    with os.fdopen(handle, "w", encoding="utf-8") as stream:
        stream.write(drawing(results))
    os.chmod(draft, 0o644)
    os.replace(draft, target)
    return target
