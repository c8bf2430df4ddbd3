"""Writes the tables of README.md anew: the catalogue, the claims, the commands and the networks.

Run by `make readme`; `tests/house/test_readme.py` holds the README equal to it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import typer.main
from downslope.__main__ import app
from downslope.analysis.surrogates.table import markdown as catalogue
from downslope.experiments.networks import NETWORKS, Network
from downslope.proofs.chapters import CHAPTERS
from marks import rewrite

README = Path(__file__).parents[1] / "README.md"


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; a bar inside a cell is escaped."""
    lines = [header, ["---"] * len(header), *([cell.replace("|", r"\|") for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def commands() -> str:
    """Each command with its arguments, the first line of its help, and its options."""
    rows = []
    for name, command in typer.main.get_command(app).commands.items():
        arguments = [p.metavar or p.name.upper() for p in command.params if p.param_type_name == "argument"]
        options = [f"`{p.opts[0]}`" for p in command.params if p.param_type_name == "option" and p.name != "help"]
        usage = " ".join(["downslope", name, *arguments])
        rows.append([f"`{usage}`", command.get_short_help_str(200), ", ".join(options)])
    return table(["command", "does", "options"], rows)


def claims() -> str:
    """Each claim with its chapter, what it says in a few words, and the verdict in print; the claims that the catalogue
    has one of for each surrogate as one row a verdict."""
    chapters = dict(CHAPTERS)
    entries = Counter(str(claim.expected) for claim in chapters.pop("catalogue", ()))
    every = [(chapter, claim) for chapter, held in chapters.items() for claim in held]
    rows = [[chapter, f"`{claim.id}`", claim.title, claim.expected] for chapter, claim in every]
    for verdict, count in entries.items():
        rows.append(["catalogue", "`surrogate-NAME`", f"The theorems of a surrogate: {count} entries", verdict])
    return table(["chapter", "claim", "says", "verdict"], rows)


def networks() -> str:
    """Each network with its title, data, training and source; those that differ in one number as one row."""
    families: dict[str, list[Network]] = {}
    for entry in NETWORKS.values():
        families.setdefault(re.sub(r"(?<=-depth-|-width-)\d+$", "", entry.name), []).append(entry)
    rows = []
    for family, members in families.items():
        first, name, title = members[0], f"`{family}`", members[0].title
        if len(members) > 1:
            sizes = [each.name.removeprefix(family) for each in members]
            name = f"`{family}N`, N = {', '.join(sizes)}"
            title = re.sub(rf"\b{sizes[0]}\b", "N", title, count=1)
        recipe = f"{first.recipe.epochs} epochs, batches of {first.recipe.batch}, step {first.recipe.learning_rate:g}"
        rows.append([name, title, f"`{first.data}`", first.loss, f"`{first.backward}`", recipe, first.source])
    return table(["network", "is", "data", "loss", "trained by", "recipe", "source"], rows)


TABLES = {"catalogue": catalogue, "claims": claims, "commands": commands, "networks": networks}
"""Each table by the name in its marks, `<!-- name -->` and `<!-- /name -->`."""


if __name__ == "__main__":
    rewrite(README, TABLES)
