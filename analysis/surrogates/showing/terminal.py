"""What `downslope show` prints: one entry with its proof, or the whole catalogue."""

from __future__ import annotations

from collections.abc import Iterator

import sympy as sp
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..activation import Activation
from ..activations import ACTIVATIONS
from ..catalogue import SURROGATES
from ..formula import profile, sign
from ..surrogate import Surrogate
from . import facts

_SAID = {
    sign.Sign.STRICT: "strict: psi > 0 everywhere",
    sign.Sign.WEAK: "weak: psi >= 0, and 0 somewhere",
    sign.Sign.INDEFINITE: "indefinite: negative somewhere",
    sign.Sign.CANNOT_TELL: "cannot tell",
}


def show(entry: Surrogate | Activation, console: Console) -> None:
    """Prints an entry: formula, parameters, sign with its proof, profile, source; an activation's derivative too."""
    console.print(Text(entry.name, style="bold"))
    _formula(entry.factor if isinstance(entry, Surrogate) else entry.formula, console)
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    for term, value in _terms(entry):
        grid.add_row(term, Text(value))
    console.print(grid)
    proof = sign.prove(entry.formula if isinstance(entry, Surrogate) else entry.value)
    console.print(Text("sign of the formula" if isinstance(entry, Activation) else "sign", style="dim"))
    letter = "phi" if isinstance(entry, Activation) else "psi"
    for place, step in enumerate(proof.steps, 1):
        console.print(Text(f"  {place}. {step.replace('psi', letter)}"))
    if isinstance(entry, Activation):
        console.print()
        show(entry.tied, console)


def catalogue(console: Console) -> None:
    """Prints a line for each surrogate, and the activations' names."""
    table = Table(box=None, pad_edge=False)
    for column in ("surrogate", "sign", "supremum", "integral", "source"):
        table.add_column(column, overflow="fold")
    for entry in SURROGATES.values():
        known = entry.profile
        values = entry.sign.sign.value, facts.short(known.supremum), facts.short(known.integral), entry.source
        table.add_row(entry.name, *(Text(value) for value in values))
    console.print(table)
    console.print(Text(f"\nactivations: {', '.join(ACTIVATIONS)}"))


def _formula(formula: sp.Expr, console: Console) -> None:
    pretty = sp.pretty(formula, use_unicode=console.encoding.lower().startswith("utf"), wrap_line=False)
    if max(map(len, pretty.splitlines())) + 2 > console.width:
        pretty = facts.words(formula)
    console.print(Text("\n".join(f"  {line}" for line in pretty.splitlines())))


def _terms(entry: Surrogate | Activation) -> Iterator[tuple[str, str]]:
    formula = entry.formula if isinstance(entry, Surrogate) else entry.value
    if entry.parameters:
        yield "parameters", ", ".join(f"{symbol} = {value}" for symbol, value in entry.parameters.items())
    if isinstance(entry, Activation):
        yield "increasing", {True: "yes", False: "no", None: facts.UNTOLD}[entry.increasing]
    else:
        yield "sign", _SAID[entry.sign.sign]
    yield from _profile(profile.of(formula))
    if isinstance(entry, Surrogate) and entry.random:
        mean, variance = facts.moments(entry)
        yield "profile of", "the mean over the noise"
        yield "mean", mean or facts.UNTOLD
        yield "variance", variance or facts.UNTOLD
    if isinstance(entry, Surrogate):
        yield "usual forward", entry.forward
    for term, value in (("source", entry.source), ("also called", ", ".join(entry.aliases))):
        if value:
            yield term, value
    if isinstance(entry, Surrogate) and entry.note:
        yield "note", entry.note


def _profile(known: profile.Profile) -> Iterator[tuple[str, str]]:
    yield "supremum", _at(known.supremum, known.supremum_at)
    yield "infimum", _at(known.infimum, known.infimum_at)
    yield "support", facts.intervals(known.support)
    yield "integral", facts.number(known.integral)
    if known.even:
        yield "symmetry", "even"
    elif known.symmetric:
        yield "symmetry", f"about u = {facts.number(known.centre)}"
    else:
        yield "symmetry", "none" if known.symmetric is False else facts.UNTOLD
    yield "Lipschitz constant", _at(known.lipschitz, known.lipschitz_at)


def _at(value: sp.Expr | None, where: sp.Expr | None) -> str:
    if value is None or where is None:
        return facts.number(value)
    return f"{facts.number(value)}, {'towards' if where.is_infinite else 'at'} u = {facts.number(where)}"
