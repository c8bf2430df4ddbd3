from __future__ import annotations

import io
import json
import multiprocessing
import os
import pickle
import re
import shutil
import subprocess
import xml.etree.ElementTree as ET
from dataclasses import replace
from fractions import Fraction
from itertools import product
from pathlib import Path
from typing import Any

import downslope as ds
import pytest
from downslope.__main__ import app
from downslope.analysis.errors import Refused
from downslope.proofs import verify as verifying
from downslope.proofs.claim import Verdict
from downslope.proofs.referee import undecided
from downslope.proofs.replay import replay
from downslope.proofs.show import data, graph, latex, tables
from rich.console import Console
from typer.testing import CliRunner

real = multiprocessing.get_context


def run(*arguments: str) -> Any:
    return CliRunner().invoke(app, ["verify", *arguments])


def test_json_is_strict_and_says_all_that_scripts_read() -> None:
    done = run("depth-entry-flip", "kantorovich", "--json", "--quick")
    assert done.exit_code == 0

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    claims = json.loads(done.stdout, parse_constant=refuse)["claims"]
    assert [claim["id"] for claim in claims] == ["depth-entry-flip", "kantorovich"]
    keys = {
        "id",
        "title",
        "source",
        "verdict",
        "expected",
        "scope",
        "witness",
        "seconds",
        "roads",
        "uses",
        "hypotheses",
    }
    assert all(keys <= set(claim) for claim in claims)
    assert claims[0]["verdict"] == claims[0]["expected"] == "REFUTED"
    assert claims[0]["witness"][0]["values"]["gradient"][0] == [["1/4"]]
    assert claims[1]["roads"]["symbolic"]["verdict"] == "PROVED"
    assert claims[1]["roads"]["search"]["verdict"] == "SUPPORTED"
    assert claims[1]["uses"] == ["diagonal-scaling"]
    assert claims[1]["hypotheses"][0]["name"] == "positive"


def test_a_verdict_other_than_the_one_in_print_exits_with_1(monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = replace(ds.CLAIMS["zero-sets"], expected=Verdict.PROVED)
    monkeypatch.setitem(ds.CLAIMS, "zero-sets", wrong)
    done = run("zero-sets", "--quick")
    assert done.exit_code == 1
    assert "not as in print: zero-sets" in done.stdout


def test_an_unknown_id_lists_near_names() -> None:
    with pytest.raises(Refused, match=r"'kantorovitch'.*did you mean 'kantorovich'"):
        ds.verify("kantorovitch")


def test_two_forms_at_once_are_refused() -> None:
    done = run("kantorovich", "--json", "--proof")
    assert isinstance(done.exception, Refused)
    assert isinstance(run("kantorovich", "--why", "--quick").exception, Refused)


def test_the_proof_prints_as_numbered_latex() -> None:
    out = run("kantorovich", "--proof", "--quick").stdout
    assert "2. by the claim 'diagonal-scaling'" in out
    assert r"\[" in out
    assert "PROVED" in out


def test_why_prints_the_counterexample_without_each_hypothesis() -> None:
    out = run("descent-margin", "--why").stdout
    assert "needed: without it the statement fails at" in out


def test_the_table_shows_verdict_roads_and_witness() -> None:
    out = run("zero-sets", "batch-mixing", "--quick").stdout
    assert "2 REFUTED" in out
    assert "witness replays" in out


def test_latex_is_a_booktabs_table_with_balanced_braces() -> None:
    out = run("kantorovich", "zero-sets", "--latex", "--quick").stdout
    assert all(rule in out for rule in (r"\toprule", r"\midrule", r"\bottomrule"))
    assert out.count("{") == out.count("}")
    assert latex.escaped("a_b & 50%") == r"a\_b \& 50\%"


IN_PRINT = [replace(undecided(claim, ""), verdict=claim.expected) for claim in ds.CLAIMS.values()]
"""Every claim as a result with its verdict in print, undecided otherwise: enough for what only prints."""


def _compiled(table: str, folder: Path) -> str:
    packages = "".join(rf"\usepackage{{{name}}}" for name in latex.PACKAGES)
    source = rf"\documentclass{{article}}{packages}\begin{{document}}{table}\end{{document}}"
    (folder / "claims.tex").write_text(source, encoding="utf-8")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "-no-shell-escape", "claims.tex"]
    for _ in range(2):  # a longtable knows its widths on the second run
        done = subprocess.run(command, cwd=folder, capture_output=True, timeout=120, check=False)
    return "" if done.returncode == 0 else done.stdout.decode(errors="replace")


@pytest.mark.skipif(not shutil.which("pdflatex"), reason="pdflatex is not installed")
def test_the_latex_of_every_claim_compiles_and_fits_the_page(tmp_path: Path) -> None:
    assert _compiled(latex.table(IN_PRINT), tmp_path) == ""
    assert "Overfull" not in (tmp_path / "claims.log").read_text(errors="replace")
    assert (tmp_path / "claims.pdf").stat().st_size > 0


@pytest.mark.skipif(not shutil.which("pdflatex"), reason="pdflatex is not installed")
def test_latex_that_is_wrong_does_not_compile(tmp_path: Path) -> None:
    wrong = replace(IN_PRINT[0], claim=replace(IN_PRINT[0].claim, latex=r"\nosuchcommand"))
    assert "Undefined control sequence" in _compiled(latex.table([wrong]), tmp_path)


def _printed(results: Any, width: int = 80) -> str:
    console = Console(width=width, file=io.StringIO())
    tables.verdicts(results, console)
    return console.file.getvalue()  # type: ignore[attr-defined]


def test_at_80_columns_every_id_and_verdict_stands_whole_on_a_line() -> None:
    out = _printed(IN_PRINT)
    assert all(len(line) <= 80 for line in out.splitlines())
    rows = [line.split("\u2502") for line in out.splitlines() if line.startswith("\u2502")]
    shown = {row[1].strip(): row[2].strip() for row in rows if row[1].strip()}
    alone = {r.claim.id: str(r.verdict) for r in IN_PRINT if not r.claim.id.startswith("surrogate-")}
    together = f"surrogate-... ({len(ds.SURROGATES)})"
    assert shown == {**alone, together: "PROVED"}
    words = out.replace("\u2502", " ").replace(",", " ").split()
    assert set(ds.SURROGATES) <= set(words)


def test_a_surrogate_that_is_not_as_in_print_has_a_row_of_its_own() -> None:
    name = "surrogate-leaky_relu_derivative"
    results = [
        replace(r, verdict=Verdict.REFUTED, counterexample={"at": 7.0}) if r.claim.id == name else r for r in IN_PRINT
    ]
    out = _printed(results)
    assert name in out
    assert "fails at at = 7" in out
    assert f"surrogate-... ({len(ds.SURROGATES) - 1})" in out


def test_a_refuted_claim_shows_its_witness_beside_the_verdict() -> None:
    out = " ".join(_printed(IN_PRINT, 200).split())
    assert "p = (1/2, 1/2), r = (-2, -1): Jr = (-1/4, 1/4)" in out


def test_the_graph_is_an_svg_with_every_claim_and_use(tmp_path: Path) -> None:
    target = tmp_path / "uses.svg"
    assert run("kantorovich", "diagonal-scaling", "conditioned", "--quick", "--graph", str(target)).exit_code == 0
    root = ET.parse(target).getroot()
    name = "{http://www.w3.org/2000/svg}"
    assert len(root.findall(f"{name}g")) == 3
    assert len(root.findall(f"{name}path")) == 2
    assert [entry.name for entry in tmp_path.iterdir()] == ["uses.svg"]


def test_a_graph_that_is_no_svg_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refused, match=r"ends in \.svg"):
        graph.write([], str(tmp_path / "uses.png"))
    with pytest.raises(Refused, match="does not exist"):
        graph.write([], str(tmp_path / "none" / "uses.svg"))


def test_two_processes_find_what_one_finds() -> None:
    names = ["zero-sets", "kantorovich", "ones-margin"]
    alone, together = (verifying.verify(*names, quick=True, processes=count) for count in (1, 2))

    def told(results: Any) -> Any:
        return [{**claim, "seconds": 0} for claim in data.as_json(results)["claims"]]

    assert told(alone) == told(together)


def _lost(name: str, quick: bool) -> Any:
    """What a worker runs in place of a claim: over one of them it fails, with an error that travels back."""
    if name == "kantorovich":
        raise MemoryError("no room")
    claim = ds.CLAIMS[name]  # nothing is decided in a fork: torch may not survive one
    return replace(undecided(claim, "not tried"), claim=ds.Claim(name, "", claim.expected))


def _killed(name: str, quick: bool) -> Any:
    os._exit(3)


def _stubborn(name: str, quick: bool) -> Any:
    """An error that cannot travel. Whether its process survives it depends on what else is loaded (tblib)."""
    raise _Stubborn


class _Stubborn(Exception):
    def __reduce__(self) -> Any:
        raise pickle.PicklingError("it holds a function")


@pytest.mark.parametrize(
    ("worker", "reason"),
    [
        (_lost, "gave no result: MemoryError: no room"),
        (_killed, "ended without an answer"),
        (_stubborn, "ended without an answer|gave no result: PicklingError: it holds a function"),
    ],
)
def test_a_worker_that_fails_leaves_its_claim_open(monkeypatch: pytest.MonkeyPatch, worker: Any, reason: str) -> None:
    monkeypatch.setattr(verifying, "_decided_elsewhere", worker)
    monkeypatch.setattr(multiprocessing, "get_context", lambda _: real("fork"))
    results = verifying.verify("kantorovich", "zero-sets", quick=True, processes=2)
    assert results[0].verdict is Verdict.OPEN
    assert re.search(reason, results[0].reason)
    assert not results[0].as_expected


WITNESSES = [(claim.id, place) for claim in ds.CLAIMS.values() for place in range(len(claim.witnesses))]


@pytest.mark.parametrize(("name", "place"), WITNESSES)
def test_a_witness_is_json_and_replays_both_ways(name: str, place: int) -> None:
    witness = ds.CLAIMS[name].witnesses[place]
    plain = json.loads(json.dumps(witness.as_json(), allow_nan=False))
    again = replace(witness, data={key: plain[key] for key in witness.data}, values=plain["values"])
    assert replay(again).differences == ()


def test_no_smaller_targets_refute_descent_of_a_batch() -> None:
    printed = tuple(Fraction(y) for (y,) in ds.CLAIMS["batch-mixing"].witnesses[0].data["loss"]["squared"])
    assert printed in _flips()
    assert _size(printed) == min(map(_size, _flips()))


def _size(numbers: Any) -> int:
    return sum(abs(number.numerator) + number.denominator - 1 for number in numbers)


def _flips() -> list[tuple[Fraction, Fraction]]:
    """Targets at which leaky 1/2 and const-1 disagree on the sign, w = 1, x = (1, -1), by hand."""
    halves = [Fraction(k, 2) for k in range(-8, 9)]
    errors = {y: (1 - y[0], Fraction(-1, 2) - y[1]) for y in product(halves, halves)}
    return [y for y, (a, b) in errors.items() if (a - b / 2) * (a - b) < 0]
