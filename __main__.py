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


def main() -> None:
    """Entry point of the console script: `Refused` becomes one message and exit code 2."""
    try:
        app()
    except Refused as refusal:
        print(f"downslope: {refusal}", file=sys.stderr)
        raise SystemExit(2) from None


if __name__ == "__main__":
    main()
