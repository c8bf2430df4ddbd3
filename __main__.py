"""The command line: thin, each command one call into a room.

Exit codes: 0, 1 for 'a check or a claim failed', 2 for 'cannot do that' (one message on stderr, no traceback).
"""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from .analysis.errors import Refused

app = typer.Typer(
    name="downslope",
    help="Does a surrogate gradient still point downslope?",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout instead of tables.")]


@app.callback()
def _root() -> None:
    """Does a surrogate gradient still point downslope?"""


@app.command()
def verify(
    ids: Annotated[list[str] | None, typer.Argument(metavar="[ID]...", help="Claims by id; all where none.")] = None,
    as_json: Json = False,
    quick: Annotated[bool, typer.Option("--quick", help="A small share of the search; under 40 seconds.")] = False,
    proof: Annotated[bool, typer.Option("--proof", help="Print each proof as numbered LaTeX steps.")] = False,
    why: Annotated[bool, typer.Option("--why", help="Print why each hypothesis is needed.")] = False,
    latex: Annotated[bool, typer.Option("--latex", help="Print the verdicts as a booktabs table.")] = False,
    graph: Annotated[str | None, typer.Option(metavar="FILE.svg", help="Write what uses what as SVG.")] = None,
) -> None:
    """Decide claims of the theory: proved, refuted, supported or open; exit 1 where one is not as in print."""
    from .proofs.show.report import present

    if not present(ids or [], as_json=as_json, quick=quick, proof=proof, why=why, latex=latex, graph=graph):
        raise SystemExit(1)


@app.command()
def check(
    targets: Annotated[list[str] | None, typer.Argument(metavar="TARGET...", show_default=False)] = None,
    everything: Annotated[bool, typer.Option("--all", help="Every surrogate of the catalogue.")] = False,
    as_json: Json = False,
    seed: Annotated[int, typer.Option(help="Of every random number used; the same seed, the same answer.")] = 0,
    backend: Annotated[str, typer.Option(help="Of torch.compile; inductor takes half a minute.")] = "aot_eager",
) -> None:
    """Property-test surrogate definitions; exit 1 on any violation.

    A TARGET is a name of the catalogue, package.module:object or path/to/file.py:object. The last two import that
    module or file: they RUN the code in it, so name only code that you trust. The object may be a Surrogate, what
    adapt() gave, an autograd.Function, a module (class or object), a function u -> y, or a factory of one.
    """
    from rich.console import Console

    from .analysis.surrogates.checks.present import check_targets

    named = targets or []
    if not check_targets(named, everything=everything, seed=seed, backend=backend, as_json=as_json, console=Console()):
        raise SystemExit(1)


def main() -> None:
    """Entry point of the console script: `Refused` becomes one message and exit code 2."""
    try:
        app()
    except Refused as refusal:
        print(f"downslope: {refusal}", file=sys.stderr)
        raise SystemExit(2) from None


if __name__ == "__main__":
    main()
