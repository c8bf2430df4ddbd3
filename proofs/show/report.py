"""What `downslope verify` prints: decides the claims and shows the results in the form asked for."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence

from rich.console import Console

from ...analysis.errors import Refused
from ..chapters import CLAIMS
from ..verify import verify
from . import data, tables
from . import graph as graphs
from . import latex as tables_latex
from .progress import progress

_FEW = 6
"""Up to so many claims, starting a second process costs more than it saves."""


def present(
    ids: Sequence[str],
    *,
    as_json: bool = False,
    quick: bool = False,
    proof: bool = False,
    why: bool = False,
    latex: bool = False,
    graph: str | None = None,
) -> bool:
    """Decides the claims, prints the results on stdout, and says whether every one is as in print.

    Raises:
        Refused: an unknown id, two forms at once, or ``why`` in a quick run.
    """
    forms = [
        name for name, asked in (("--json", as_json), ("--proof", proof), ("--why", why), ("--latex", latex)) if asked
    ]
    if len(forms) > 1:
        raise Refused(f"verify {' '.join(forms)}: these are different forms of output; ask for one at a time.")
    if why and quick:
        raise Refused("verify --why --quick: a quick run does not drop hypotheses; leave out --quick.")
    with progress(len(ids) or len(CLAIMS)) as tell:
        many = (len(ids) or len(CLAIMS)) > _FEW
        results = verify(*ids, quick=quick, processes=min(2, os.cpu_count() or 1) if many else 1, progress=tell)
    console = Console()
    if graph is not None:
        graphs.write(results, graph)
    if as_json:
        print(json.dumps(data.as_json(results), indent=2, allow_nan=False, ensure_ascii=False))
    elif latex:
        print(tables_latex.table(results))
    elif proof or why:
        for result in results:
            (tables.proof if proof else tables.why)(result, console)
    else:
        tables.verdicts(results, console)
    return all(result.as_expected for result in results)
