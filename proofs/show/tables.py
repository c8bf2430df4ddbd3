"""Results at a terminal: the table of verdicts by chapter, a proof's steps, the need for each hypothesis."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..chapters import CHAPTERS
from ..chapters.catalogue import THEOREMS
from ..claim import Claim, Verdict, Witness
from ..referee import Result

COLOURS = {
    Verdict.PROVED: "green",
    Verdict.REFUTED: "red",
    Verdict.SUPPORTED: "cyan",
    Verdict.OPEN: "yellow",
}


_FEW = 3
"""Up to so many surrogates' theorems have a row each."""


def _verdict(result: Result) -> Text:
    text = Text(str(result.verdict), style=f"bold {COLOURS[result.verdict]}")
    if result.verdict != result.claim.expected:
        text.append(f"\nin print: {result.claim.expected}", style="bold yellow")
    return text


def numbers(value: Any) -> str:
    """An instance's values as one line.

    >>> numbers({"g": ["1", "-1/2"], "kappa": 4})
    'g = (1, -1/2), kappa = 4'
    """
    if isinstance(value, Mapping):
        return ", ".join(f"{key} = {numbers(entry)}" for key, entry in value.items())
    if isinstance(value, list):
        return f"({', '.join(map(numbers, value))})"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _roads(result: Result) -> str:
    """What each road found and the time it took, in one line."""
    texts = [road.text for road in (result.symbolic, result.search) if road]
    return "; ".join([*texts, f"{result.seconds:.1f} s"])


def _found(result: Result) -> Text:
    """Why the verdict is what it is: the witness of a refuted claim, the reason of an open one; then the roads."""
    claim = result.claim
    text = Text(claim.title or claim.statement)
    reasons = []
    if result.verdict is Verdict.REFUTED and claim.witnesses:
        reasons.append(claim.witnesses[0].shows)
    elif result.counterexample:
        reasons.append(f"fails at {numbers(result.counterexample)}")
    if result.verdict is Verdict.OPEN:
        reasons.append(result.reason)
    reasons += [_finding(claim, need) for need in result.needs if need.finding]
    for reason in reasons:
        text.append(f"\n{reason}", style=COLOURS[result.verdict])
    return text.append(f"\n{_roads(result)}", style="dim")


def _finding(claim: Claim, need: Any) -> str:
    if need.counterexample is None:
        return f"finding: without '{need.hypothesis.name}' no counterexample in {need.cases} cases"
    return f"finding: '{need.hypothesis.name}' is needed: {numbers(need.counterexample)}"


def _row(result: Result) -> tuple[Text, Text, Text]:
    return Text(result.claim.id, style="bold"), _verdict(result), _found(result)


def _together(results: Sequence[Result]) -> tuple[Text, Text, Text]:
    """The theorems of many surrogates, all as in print, in one row."""
    names = ", ".join(result.claim.id.removeprefix(THEOREMS) for result in results)
    seconds = sum(result.seconds for result in results)
    text = Text(f"The theorems of each surrogate\n{names}").append(f"\n{seconds:.1f} s; `--proof ID`", style="dim")
    return Text(f"{THEOREMS}... ({len(results)})", style="bold"), _verdict(results[0]), text


def verdicts(results: Sequence[Result], console: Console) -> None:
    """One table a chapter: a row a claim with its verdict and why; whole ids at 80 columns.

    Surrogates' theorems that are as in print share a row where there are many.
    """
    by_id = {result.claim.id: result for result in results}
    known = {claim.id for claims in CHAPTERS.values() for claim in claims}
    own = tuple(result.claim for result in results if result.claim.id not in known)
    for chapter, claims in {**CHAPTERS, "own": own}.items():
        asked = [by_id[claim.id] for claim in claims if claim.id in by_id]
        if not asked:
            continue
        table = Table(title=chapter, title_justify="left", title_style="bold", show_lines=True, expand=True)
        table.add_column("claim", no_wrap=True)
        table.add_column("verdict", no_wrap=True)
        table.add_column("why", ratio=1, overflow="fold")
        alike = [r for r in asked if r.claim.id.startswith(THEOREMS) and r.as_expected and r.verdict is Verdict.PROVED]
        alike = alike if len(alike) > _FEW else []
        rows = [_row(result) for result in asked if result not in alike]
        for row in [*rows, *([_together(alike)] if alike else [])]:
            table.add_row(*row)
        console.print(table)
    counts = [f"{sum(r.verdict is verdict for r in results)} {verdict}" for verdict in Verdict]
    wrong = [result.claim.id for result in results if not result.as_expected]
    console.print(", ".join(counts) + f", {sum(result.seconds for result in results):.0f} s of work")
    if wrong:
        console.print(Text(f"not as in print: {', '.join(wrong)}", style="bold yellow"))


def proof(result: Result, console: Console) -> None:
    """The proof's steps, numbered, in words and LaTeX, with how each was checked."""
    claim = result.claim
    console.print(Text(f"{claim.id}: {claim.statement}", style="bold"), soft_wrap=True)
    console.print(Text(f"scope: {claim.scope}\nsource: {claim.source}"), soft_wrap=True)
    for number, step in enumerate(result.steps, start=1):
        mark = "" if step.holds else "  DOES NOT HOLD"
        console.print(Text(f"{number}. {step.text} [{step.rule}]{mark}"), soft_wrap=True)
        console.print(Text(f"   \\[ {step.latex} \\]"), soft_wrap=True)
    for comparison in result.comparisons:
        console.print(
            Text(f"{comparison.what}: {comparison.stated:.12g}; {comparison.method}: {comparison.found:.12g}")
        )
    for witness in claim.witnesses:
        _witness(witness, console)
    console.print(_verdict(result))


def _witness(witness: Witness, console: Console) -> None:
    console.print(Text(f"witness: {witness.shows}"), soft_wrap=True)
    for name, value in {**witness.data, **witness.values}.items():
        console.print(Text(f"   {name}: {value}"), soft_wrap=True)


def why(result: Result, console: Console) -> None:
    """For each hypothesis the counterexample that exists without it."""
    console.print(Text(f"{result.claim.id}: {result.claim.statement}", style="bold"), soft_wrap=True)
    if not result.claim.hypotheses:
        console.print("it assumes nothing beyond its scope: " + str(result.claim.scope), soft_wrap=True)
    needs = {need.hypothesis.name: need for need in result.needs}
    for hypothesis in result.claim.hypotheses:
        need = needs.get(hypothesis.name)
        if need is None:
            said = "not searched"
        elif need.counterexample is not None:
            said = f"needed: without it the statement fails at {numbers(need.counterexample)}"
        else:
            said = f"no counterexample in {need.cases} cases without it. {hypothesis.unneeded}"
        console.print(Text(f"- {hypothesis.name} ({hypothesis.statement}): {said}"), soft_wrap=True)
