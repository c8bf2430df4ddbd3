from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path
from typing import Any

import downslope as ds
import pytest
from downslope.__main__ import app
from downslope.analysis.errors import Refused
from downslope.proofs import verify as verifying
from downslope.proofs.claim import Verdict
from downslope.proofs.replay import replay
from downslope.proofs.show import data, graph, latex
from typer.testing import CliRunner


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


WITNESSES = [(claim.id, place) for claim in ds.CLAIMS.values() for place in range(len(claim.witnesses))]


@pytest.mark.parametrize(("name", "place"), WITNESSES)
def test_a_witness_is_json_and_replays_both_ways(name: str, place: int) -> None:
    witness = ds.CLAIMS[name].witnesses[place]
    plain = json.loads(json.dumps(witness.as_json(), allow_nan=False))
    again = replace(witness, data={key: plain[key] for key in witness.data}, values=plain["values"])
    assert replay(again).differences == ()
