"""Parts of a page that are written by code: each stands between `<!-- name -->` and `<!-- /name -->`."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path

Parts = Mapping[str, Callable[[], str]]


def rendered(text: str, parts: Parts) -> str:
    """A page's text with what stands between each pair of marks written anew."""
    for name, written in parts.items():
        pattern = re.compile(rf"(?<=<!-- {name} -->\n).*?(?=<!-- /{name} -->)", re.DOTALL)
        text, count = pattern.subn(lambda _, new=written: f"\n{new()}\n\n", text)
        if count != 1:
            raise SystemExit(f"{count} pairs of marks <!-- {name} --> ... <!-- /{name} -->, not one.")
    return text


def rewrite(page: Path, parts: Parts) -> None:
    """The page with its parts written anew, whole or not at all."""
    fresh = page.with_suffix(".new")
    fresh.write_text(rendered(page.read_text(encoding="utf-8"), parts), encoding="utf-8")
    os.replace(fresh, page)
