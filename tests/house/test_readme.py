"""The README is true: its Python runs, its commands exist, its tables are the code's."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main
from downslope.__main__ import app

DOCUMENTS = ("README.md", "CONTRIBUTING.md")


@pytest.fixture(scope="module")
def readme(root: Path) -> str:
    return (root / "README.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def tables(script: Callable[[str], dict[str, Any]]) -> dict[str, Callable[[], str]]:
    """The tables of the README, by the name in their marks."""
    return script("tables")["TABLES"]  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def rendered(script: Callable[[str], dict[str, Any]]) -> Callable[..., str]:
    return script("marks")["rendered"]  # type: ignore[no-any-return]


def blocks(text: str, language: str) -> Iterator[tuple[int, str]]:
    """(first line, code) of each fenced block of a language."""
    for match in re.finditer(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        yield text[: match.start(1)].count("\n") + 1, match[1]


def ran(text: str, name: str) -> dict[str, Any]:
    """What the Python blocks of a page define, run one after the other; an error points at the page's own line."""
    space: dict[str, Any] = {"__name__": name}
    for line, code in blocks(text, "python"):
        exec(compile("\n" * (line - 1) + code, name, "exec"), space)
    return space


def command_lines(text: str) -> list[list[str]]:
    """The words of each line in a shell block, or in back quotes, that begins with `downslope`."""
    shell = [line for language in ("sh", "console") for _, code in blocks(text, language) for line in code.splitlines()]
    found = [re.sub(r"^\$ |^\S*python3? -m ", "", line) for line in shell] + re.findall(r"`(downslope [^`]+)`", text)
    return [shlex.split(line, comments=True) for line in found if line.startswith("downslope ")]


def wrong_in(words: list[str]) -> list[str]:
    """What a command line asks for that the application does not have."""
    commands = typer.main.get_command(app).commands
    if words[1].startswith("-") or words[1] == "COMMAND":
        return []
    if words[1] not in commands:
        return [f"no command {words[1]}"]
    known = {option for parameter in commands[words[1]].params for option in parameter.opts} | {"--help"}
    asked = {word.split("=")[0].strip("[]") for word in words[2:] if word.strip("[").startswith("--")}
    return [f"{words[1]} has no option {option}" for option in sorted(asked - known)]


def make_targets(text: str) -> set[str]:
    return set(re.findall(r"^([a-z-]+):", text, re.MULTILINE))


@pytest.mark.parametrize("document", DOCUMENTS)
def test_the_python_runs(document: str, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    ran((root / document).read_text(encoding="utf-8"), document)


def test_wrong_python_is_caught_at_its_line() -> None:
    with pytest.raises(ZeroDivisionError) as caught:
        ran("# Title\n\n```python\nx = 1\nx / 0\n```\n", "PLANTED.md")
    assert (caught.traceback[-1].path, caught.traceback[-1].lineno + 1) == ("PLANTED.md", 5)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_the_commands_exist(document: str, root: Path) -> None:
    lines = command_lines((root / document).read_text(encoding="utf-8"))
    assert {shlex.join(words): wrong_in(words) for words in lines if wrong_in(words)} == {}


def test_a_wrong_command_is_caught() -> None:
    (words,) = command_lines("```sh\n$ downslope shwo triangle  # its formula\n```\n")
    assert wrong_in(words) == ["no command shwo"]


def test_the_claim_of_ones_own_is_short(readme: str) -> None:
    (claim,) = [code for _, code in blocks(readme, "python") if "ds.Claim(" in code]
    assert len(claim.splitlines()) < 30


@pytest.mark.parametrize("document", DOCUMENTS)
def test_the_make_targets_exist(document: str, root: Path) -> None:
    asked = set(re.findall(r"\bmake ([a-z][a-z-]*)`", (root / document).read_text(encoding="utf-8")))
    assert asked
    assert asked <= make_targets((root / "Makefile").read_text())


def test_the_tables_are_the_codes(readme: str, tables: dict[str, Any], rendered: Callable[..., str]) -> None:
    assert readme == rendered(readme, tables), "run `make readme`"


def test_a_stale_table_is_noticed(readme: str, tables: dict[str, Any], rendered: Callable[..., str]) -> None:
    for name in tables:
        stale = readme.replace(f"<!-- {name} -->\n", f"<!-- {name} -->\n| planted |\n")
        assert stale != readme
        assert rendered(stale, tables) == rendered(readme, tables)


def test_the_links_lead_somewhere(readme: str, root: Path) -> None:
    paths = [path for path in re.findall(r"\]\(([^)#]+)[^)]*\)", readme) if "://" not in path]
    assert paths
    assert [path for path in paths if not (root / path).exists()] == []
