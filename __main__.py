"""The command line: thin, each command one call into a room.

Exit codes: 0, 1 for 'a check or a claim failed', 2 for 'cannot do that' (one message on stderr, no traceback).
"""

from __future__ import annotations

import itertools
import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from .analysis.errors import Refused
from .experiments.benchmarks.options import benchmark
from .experiments.grids.command.options import grid

app = typer.Typer(
    name="downslope",
    help="Does a surrogate gradient still point downslope?",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout instead of tables.")]
REFERENCE = "To compare with: exact, smoothed, expected or finite-difference; in brackets, as expected(sigma=0.5)."


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


@app.command()
def show(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="As triangle(width=2); all where none.")] = None,
    plot: Annotated[Path | None, typer.Option(metavar="FILE", help="Draw it: .pdf, .svg or .png.")] = None,
    as_json: Json = False,
) -> None:
    """Formula, sign with its proof, profile, source and plot of a surrogate or an activation."""
    from rich.console import Console

    from .analysis.surrogates.catalogue import SURROGATES
    from .analysis.surrogates.showing import facts, terminal

    if name is None and plot is not None:
        raise Refused(f"show --plot {plot}: say what to draw, e.g. downslope show triangle --plot {plot}.")
    entries = list(SURROGATES.values()) if name is None else [facts.named(name)]
    if plot is not None:
        from .paper_figures import look, shape

        look.save(shape.draw(entries[0]), plot)
    if as_json:
        records = [facts.record(entry) for entry in entries]
        print(json.dumps({"surrogates": records} if name is None else records[0], indent=2, allow_nan=False))
    elif name is None:
        terminal.catalogue(Console())
    else:
        terminal.show(entries[0], Console())


@app.command()
def measure(
    network: Annotated[str | None, typer.Option(help="A network of ours, measured at up to four stages.")] = None,
    trained: Annotated[str | None, typer.Option(help="Its backward: tied, or a surrogate; its own where none.")] = None,
    epochs: Annotated[int | None, typer.Option(help="Of its training, instead of its own number.")] = None,
    model: Annotated[str | None, typer.Option(metavar="FILE.py:FACTORY", help="Your module; the file is run.")] = None,
    weights: Annotated[str | None, typer.Option(metavar="FILE", help="Its weights, safetensors.")] = None,
    data: Annotated[str | None, typer.Option(metavar="FILE.py:BATCHES", help="(x, y) pairs, each measured.")] = None,
    loss: Annotated[str, typer.Option(help="Its name, or FILE.py:FUNCTION of (output, y).")] = "cross-entropy",
    activation: Annotated[list[str] | None, typer.Option(help="Which to untie: a name, or FILE.py:CLASS.")] = None,
    samples: Annotated[
        int | None, typer.Option(min=1, help="Only the first so many of each batch; 64 with --network.")
    ] = None,
    batches: Annotated[int | None, typer.Option(min=1, help="Only the first so many batches.")] = None,
    per_sample: Annotated[bool, typer.Option("--per-sample", help="Rows for each sample, too.")] = False,
    training: Annotated[bool, typer.Option("--training", help="In training mode instead of evaluation.")] = False,
    stage: Annotated[str, typer.Option(help="A word on when this is, copied into each row.")] = "",
    device: Annotated[str, typer.Option(help="cpu, or cuda.")] = "cpu",
    surrogate: Annotated[list[str] | None, typer.Option(help="What to measure; the catalogue where none.")] = None,
    draws: Annotated[int, typer.Option(min=1, help="Of each random surrogate.")] = 8,
    reference: Annotated[str, typer.Option(help=REFERENCE)] = "exact",
    seed: Annotated[list[int] | None, typer.Option(help="One measurement for each; 0 where none.")] = None,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the measurement as Parquet.")] = None,
    as_json: Json = False,
) -> None:
    """Angle and magnitude of surrogate gradients: on a network of ours as it trains, or on your model and data."""
    from rich.console import Console

    from .analysis.gradients import given, table
    from .analysis.surrogates.catalogue import SURROGATES
    from .experiments import networks, present, study

    measured, seeds = tuple(surrogate or SURROGATES), tuple(seed or (0,))
    given.check_measured(measured, reference, per_sample=per_sample)
    ours, yours = (network, trained, epochs), (model, data, weights, loss, activation, batches, training, stage)
    if model is not None and data is not None and ours == (None, None, None):
        what = given.What(measured, activation or (), draws, seeds, reference, stage, samples, batches, per_sample)
        typed = given.Typed(model, data, weights, loss, training, device)
        with _bars() as bar:
            told = bar("measuring", batches and batches * len(seeds))
            summary = given.run(typed, what, out, keep=as_json, progress=told)
        print(summary.as_json(out)) if as_json else Console().print(*summary.shown(model), sep="\n")
    elif yours == (None, None, None, "cross-entropy", None, None, False, ""):
        given.check_setting(loss, device, weights, out)
        name = network or "mlp-digits"
        backwards, size = (trained or networks.network(name).backward,), samples or study.Plan.batch
        chosen: dict[str, Any] = {"reference": reference, "per_sample": per_sample, "device": device}
        plan = study.Plan((name,), backwards, measured, seeds, epochs, draws, size, **chosen)
        with _bars() as bar:
            found = study.run(plan, progress=bar("training", plan.epochs_in_all)).deviations
        if out is not None:
            table.write(found, out)
        print(table.as_json(found)) if as_json else Console().print(*present.angles(found, name), sep="\n")
    else:
        raise given.mixed(ours, yours)


@app.command()
def weights(
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME]...", help="Networks; the small ones.")] = None,
    seed: Annotated[list[int] | None, typer.Option(help="One training for each; 0 where none.")] = None,
    again: Annotated[bool, typer.Option("--again", help="Train although the weights are there.")] = False,
    as_json: Json = False,
) -> None:
    """Train networks of ours and keep their weights in the cache (DOWNSLOPE_CACHE names another folder)."""
    from rich.console import Console

    from .experiments import networks, present
    from .experiments.networks import weights as kept

    chosen, seeds = names or kept.SMALL, seed or [0]
    epochs = len(seeds) * sum(networks.network(name).recipe.epochs for name in chosen)
    with _bars() as bar:
        stored = kept.several(chosen, seeds, again=again, progress=bar("training", epochs))
    said = {"weights": [each.record for each in stored]}
    print(json.dumps(said, indent=2)) if as_json else Console().print(present.weights(stored))


@app.command()
def margin(
    model: Annotated[str | None, typer.Option(metavar="FILE.py:FACTORY", help="Your module; the file is run.")] = None,
    weights: Annotated[str | None, typer.Option(metavar="FILE", help="Its weights, safetensors.")] = None,
    data: Annotated[str | None, typer.Option(metavar="FILE.py:BATCHES", help="(x, y) pairs; the first counts.")] = None,
    loss: Annotated[str | None, typer.Option(help="Its name, or FILE.py:FUNCTION; cross-entropy if none.")] = None,
    network: Annotated[str | None, typer.Option(help="A network of ours instead, its loss and stored weights.")] = None,
    epochs: Annotated[int | None, typer.Option(help="Train it anew, for so many epochs.")] = None,
    samples: Annotated[int | None, typer.Option(min=1, help="Only the first so many of each batch.")] = None,
    batches: Annotated[int | None, typer.Option(min=1, help="Of each of the first so many batches.")] = None,
    device: Annotated[str, typer.Option(help="cpu, or cuda.")] = "cpu",
    surrogate: Annotated[list[str] | None, typer.Option(help="Whose factors to show; the catalogue if none.")] = None,
    seed: Annotated[int, typer.Option(help="Of the draw of each random surrogate.")] = 0,
    certify: Annotated[bool, typer.Option("--certify", help="Bound all activations together, too.")] = False,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Write what --json prints.")] = None,
    as_json: Json = False,
) -> None:
    """How unequal the factors of a surrogate may be, at each activation, before the step stops descending."""
    from .analysis.gradients import given
    from .experiments import data as sets
    from .experiments import networks, training
    from .experiments.networks import weights as kept

    asked = given.Margins(tuple(surrogate or ()), samples, batches, seed, certify)
    asked.check(loss or "cross-entropy", device, weights, out)
    if network is not None and (model, weights, data, loss, batches) == (None, None, None, None, None):
        entry, known = networks.network(network), sets.load(networks.network(network).data)
        ours = kept.trained(network) if epochs is None else training.train(entry, known, epochs=epochs)[0]
        found = given.of_ours(ours.to(device), entry.criterion, known.train, asked, network)
    elif model is not None and data is not None and (network, epochs) == (None, None):
        found = given.of_users(given.Typed(model, data, weights, loss or "cross-entropy", device=device), asked)
    else:
        raise Refused("margin: give --model and --data, or --network NAME without --loss, --weights and --batches.")
    given.answer(found, out, as_json=as_json)


app.command()(grid)
app.command()(benchmark)


@app.command()
def report(
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for the page and its tables.")] = Path("report"),
    quick: Annotated[bool, typer.Option("--quick", help="Fewer seeds and epochs: under two minutes.")] = False,
    as_json: Json = False,
) -> None:
    """The main job: decide the claims, check the catalogue, train and measure on DIGITS, write one HTML page."""
    from . import __version__
    from .analysis.surrogates.catalogue import SURROGATES
    from .analysis.surrogates.checks import beside
    from .experiments import study
    from .experiments.studies import gallery
    from .paper_figures import drawing, files, stored
    from .paper_figures.report import page, pictures, writing
    from .paper_figures.report.catalogue import conformance
    from .proofs.chapters import CLAIMS
    from .proofs.show import data
    from .proofs.verify import verify as decide

    started, decided = time.perf_counter(), itertools.count(1)
    files.folder(out)
    plan, few = (study.QUICK, gallery.GLANCE) if quick else (study.FULL, gallery.QUICK)
    with _bars() as bar, beside.checking(progress=bar("checks", len(SURROGATES))) as checked:
        claims, training = bar("claims", len(CLAIMS)), bar("training and measuring", plan.epochs_in_all)
        results = decide(quick=quick, progress=lambda result: claims(f"claim {result.claim.id}", next(decided)))
        said = data.as_json(results)["claims"]
        found = study.run(plan, progress=training)
        further = gallery.tables(few, progress=bar("further figures", 1 + len(list(few.runs()))))
        ours = {"deviations": found.deviations, "curves": found.curves, "claims": writing.claims_table(said)}
        how, share = (study.QUICKLY, "a small share of each search.") if quick else ("", "")
        short = {name: few.shortened(name) for name in further} | dict.fromkeys(ours, how) | {"claims": share}
        tables = stored.marked(further | ours, short)
        shown = pictures.pictures(tables, folder=str(out), quick=short, progress=bar("figures", len(drawing.figures())))
        records = checked()
    command = f"downslope report --out {out}{' --quick' * quick}"
    spent = round(time.perf_counter() - started, 1)
    provenance = {**found.deviations.attrs, "checks_seed": beside.SEED, "command": command, "seconds": spent}
    tables["checks"] = conformance.table(records)
    paths = writing.write(out, page.Contents(tables, said, shown, provenance, how), version=__version__)
    seconds = round(time.perf_counter() - started, 1)
    if as_json:
        print(json.dumps({"paths": [str(path) for path in paths], "seconds": seconds, "quick": quick}, indent=2))
    else:
        print(*paths, f"{seconds} s", sep="\n")
    if not all(result.as_expected for result in results) or any(each.violated for each in records):
        raise SystemExit(1)


@app.command()
def figures(
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME]...", help="Figures; all where none.")] = None,
    data: Annotated[Path | None, typer.Option(metavar="DIR", help="Of stored tables; measured where none.")] = None,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for the figures.")] = Path("figures"),
    venue: Annotated[str, typer.Option(help="Whose width: neurips, icml, icml-column, jmlr, ...")] = "neurips",
    surrogate: Annotated[list[str] | None, typer.Option("--surrogate", "--surrogates", help="Which to show.")] = None,
    layer: Annotated[list[str] | None, typer.Option("--layer", "--layers", help="Paths of layers to show.")] = None,
    stage: Annotated[list[str] | None, typer.Option("--stage", "--stages", help="Stages to show.")] = None,
    form: Annotated[list[str] | None, typer.Option("--format", help="png, svg, pdf, tex; all where none.")] = None,
    latex_text: Annotated[bool, typer.Option("--latex-text", help="Set the text by LaTeX.")] = False,
    as_json: Json = False,
) -> None:
    """Draw figures for a paper from stored tables: PNG, SVG, PDF, and LaTeX that includes them with their captions."""
    from .paper_figures import drawing, files, saving, stored

    drawing.check(names or [], form or drawing.FORMATS, venue)
    files.folder(out)
    tables = _measured(drawing.measured(names or [])) if data is None else drawing.read(data)
    chosen: dict[str, Any] = {"surrogates": surrogate, "layers": layer, "stages": stage}
    chosen |= {"formats": form or drawing.FORMATS, "venue": venue, "latex_text": latex_text}
    chosen |= {"quick": stored.shortened(tables), "noted": lambda *note: print("downslope:", *note, file=sys.stderr)}
    left = {} if names else {name: f"{reason}." for name, reason in drawing.drawable(tables).items() if reason}
    told = None if names else left.__setitem__
    paths = [str(path) for path in saving.save(names or [], tables, out, left_out=told, **chosen)]
    if not paths:
        raise Refused(" ".join(f"{name} is not drawn: {reason}" for name, reason in left.items()))
    if as_json:
        print(json.dumps({"paths": paths, "left_out": left, "quick": bool(chosen["quick"])}, indent=2))
        return
    print("\n".join(paths))
    for name, reason in left.items():
        print(f"downslope: {name} is not drawn: {reason}", file=sys.stderr)


def _measured(needed: bool) -> dict[str, Any]:
    """Small measurements for figures, made now where they are needed, by table; each says how it was cut short."""
    from .experiments.studies import gallery
    from .paper_figures import stored

    if not needed:
        return {}
    with _bars() as bar:
        found = gallery.tables(progress=bar("training and measuring", 1 + len(list(gallery.QUICK.runs()))))
    return stored.marked(found, {name: gallery.QUICK.shortened(name) for name in found})


@contextmanager
def _bars() -> Iterator[Callable[[str, int | None], Callable[[str, int], None]]]:
    """Progress bars on stderr, what is running and the time that remains; nothing where stderr is no terminal."""
    from rich import progress
    from rich.console import Console

    times = (progress.TimeElapsedColumn(), progress.TimeRemainingColumn())
    columns = (progress.TextColumn("{task.description}"), progress.BarColumn(), progress.MofNCompleteColumn(), *times)
    console = Console(stderr=True)
    with progress.Progress(*columns, console=console, disable=not console.is_terminal) as shown:

        def bar(name: str, total: int | None) -> Callable[[str, int], None]:
            task = shown.add_task(name, total=total)
            return lambda running, done: shown.update(task, completed=done, description=running)

        yield bar


def main() -> None:
    """Entry point of the console script: `Refused` becomes one message and exit code 2."""
    try:
        app()
    except Refused as refusal:
        print(f"downslope: {refusal}", file=sys.stderr)
        raise SystemExit(2) from None


if __name__ == "__main__":
    main()
