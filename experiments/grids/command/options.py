"""The options of ``downslope grid``; heavy libraries load when it runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..catalogue import GRIDS
from ..running.check import SAMPLE

CHECK = f"Train {SAMPLE} random jobs of RUNS/NAME again (all, where there are fewer) and compare run by run."


def grid(
    name: Annotated[str, typer.Argument(metavar="NAME", help=f"One of {', '.join(GRIDS)}.")],
    out: Annotated[Path | None, typer.Option(metavar="RUNS", help="Keep and resume in RUNS/NAME.")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="The same question in a minute or less.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say how many runs and how long.")] = False,
    check: Annotated[Path | None, typer.Option(metavar="RUNS", help=CHECK)] = None,
    workers: Annotated[int, typer.Option(min=1, help="One-thread processes.")] = 1,
    cluster: Annotated[str, typer.Option(metavar="ADDRESS", help="tcp://HOST:PORT of Dask, or local.")] = "",
    device: Annotated[str, typer.Option(help="cpu, or cuda.")] = "cpu",
    stages: Annotated[str, typer.Option("--measure", metavar="STAGES", help="Epochs: e.g. 0,1,middle,end.")] = "",
    forward: Annotated[list[str] | None, typer.Option(help="Activations instead of the grid's.")] = None,
    rule: Annotated[list[str] | None, typer.Option(help="Backward rules instead of the grid's.")] = None,
    learning_rate: Annotated[list[float] | None, typer.Option(help="Instead of the grid's.")] = None,
    batch: Annotated[list[int] | None, typer.Option(help="Samples a step, instead of the grid's.")] = None,
    epochs: Annotated[int | None, typer.Option(help="Instead of the grid's.")] = None,
    seeds: Annotated[int | None, typer.Option(help="How many, instead of the grid's.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")] = False,
) -> None:
    """Train forward x backward x learning rate x batch size x seed; what is done is kept, what is missing resumed."""
    from .. import grid as grids
    from ..running.run import How
    from . import answer

    found = grids.grid(name)
    found = (found.quick() if quick else found).varied(
        forwards=forward or (),
        rules=rule or (),
        learning_rates=learning_rate or (),
        batches=batch or (),
        epochs=epochs,
        seeds=seeds,
        stages=stages,
    )
    said = answer.Said(check or out, How(workers, cluster, device), as_json)
    if check is not None:
        if not answer.check(found, said):
            raise SystemExit(1)
    elif dry_run:
        answer.dry_run(found, said)
    else:
        answer.run(found, said)
