"""Small measurements for every figure of the gallery, made in a few minutes: one table a figure's data come from."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from ...analysis.gradients.descent.along import along
from ...analysis.gradients.descent.plane import slice_of
from ...analysis.gradients.measurement import measure
from ...analysis.gradients.per_sample.measurement import per_sample
from ...analysis.gradients.table import provenance
from ...analysis.surrogates.catalogue import USUAL
from ...analysis.surrogates.lookup import surrogate
from .. import data, training
from ..grids import job
from ..grids.grid import Block, Grid
from ..grids.results import tidy
from ..networks import Network, hidden, network
from . import perceptron
from .averaging import averages
from .margins import margins
from .prediction import predict

if TYPE_CHECKING:
    import pandas as pd

Progress = Callable[[str, int], None]


@dataclass(frozen=True)
class Plan:
    """What is measured; the same plan gives the same tables, bit for bit.

    Attributes:
        networks: names in ``NETWORKS``, chains all.
        trained: "tied" and names of surrogates, to train with.
        surrogates: to measure.
        seeds: one run for each network, training and seed.
        epochs: of each training.
        draws: of a random surrogate at each stage.
        batch: training samples that the gradients are taken on.
        few: training samples that the margins are certified on; the certificate's cost grows with them.
        rates: learning rates of the grid that compares alignment and accuracy.
        units: what the perceptron study runs.
    """

    networks: tuple[str, ...] = ("mlp-digits", "deep-tanh-digits")
    trained: tuple[str, ...] = ("tied", "constant")
    surrogates: tuple[str, ...] = USUAL
    seeds: tuple[int, ...] = (0, 1, 2)
    epochs: int = 10
    draws: int = 4
    batch: int = 64
    few: int = 16
    rates: tuple[float, ...] = (0.05, 0.5)
    units: perceptron.Plan = perceptron.QUICK

    def runs(self) -> Iterator[tuple[Network, str, int]]:
        """Network, training and seed of each run, in the order of the tables."""
        for name in self.networks:
            for trained in self.trained:
                for seed in self.seeds:
                    yield network(name), trained, seed

    def shortened(self, table: str) -> str:
        """How the study behind a table is cut short, in a sentence."""
        if table == "perceptron":
            whole = perceptron.Plan()
            return (
                f"{len(self.units.seeds)} seeds instead of {len(whole.seeds)}, {self.units.samples} samples instead of "
                f"{whole.samples}."
            )
        seeds = f"{len(self.seeds)} seed{'s' * (len(self.seeds) != 1)}"
        return f"{seeds} and {self.epochs} epochs instead of the recipes' own."


QUICK = Plan()
QUICKLY = QUICK.shortened("deviations")
GLANCE = Plan(trained=("tied",), seeds=(0,))
"""For a quick report: ten seconds."""


def tables(plan: Plan = QUICK, *, progress: Progress = lambda running, runs: None) -> dict[str, pd.DataFrame]:
    """The tables by name: ``deviations`` (with the mean-field prediction), ``curves``, ``samples``, ``along``,
    ``slice``, ``margins``, ``jamming``, ``perceptron`` and ``grid``.

    Args:
        plan: what to run.
        progress: called with what is running and the number of runs done.

    Raises:
        Refused: the plan names a network or surrogate that is not there.
    """
    found: dict[str, list[pd.DataFrame]] = {}

    def add(name: str, table: pd.DataFrame) -> None:
        found.setdefault(name, []).append(table)

    for done, (entry, trained, seed) in enumerate(plan.runs()):
        progress(f"{entry.name} trained {trained}, seed {seed}", done)
        samples = data.load(entry.data)
        x, y = samples.train
        observe = _observer(plan, entry, trained, seed, (x[: plan.batch], y[: plan.batch]), add)
        _, curve = training.train(entry, samples, backward=trained, seed=seed, epochs=plan.epochs, at_stage=observe)
        add("curves", curve)
    progress("the perceptron, and a grid", done + 1)
    made = {name: _together(parts, plan) for name, parts in found.items()}
    return made | {"perceptron": perceptron.perceptron(plan.units), "grid": _together([_grid(plan)], plan)}


def _grid(plan: Plan) -> pd.DataFrame:
    """Each network trained by each rule, its alignment measured on the way: a run a row, as a run folder keeps them."""
    blocks = tuple(
        Block((name,), (network(name).activation,), ("tied", *plan.surrogates), plan.rates, (plan.batch,), plan.epochs)
        for name in plan.networks
    )
    wanted = Grid("gallery", "the gallery's", blocks, plan.seeds, "ours", stages=("0", "middle", "end"))
    return tidy.runs([record for each in job.jobs(wanted) for record in job.run(each)])


def _observer(
    plan: Plan, entry: Network, trained: str, seed: int, batch: tuple[Tensor, Tensor], add: Callable[[str, Any], None]
) -> training.AtStage:
    last = list(training.stages(plan.epochs).values())[-1]
    shared: dict[str, Any] = {"activations": [hidden.key(entry.activation)], "seed": seed, "network": entry.name}

    def observe(model: nn.Module, stage: str, step: int) -> None:
        deviations = measure(
            model, entry.criterion, batch, plan.surrogates, **shared, draws=plan.draws, stage=stage, step=step
        )
        predict(deviations, model, entry.criterion, batch, plan.surrogates, **shared, draws=plan.draws, stage=stage)
        deviations.insert(2, "trained", trained)
        add("deviations", deviations)
        if stage == last:
            for name, table in _at_the_end(plan, entry, seed, model, batch, shared | {"stage": stage}):
                if "trained" not in table.columns:
                    table.insert(1, "trained", trained)
                table["trained"] = trained
                add(name, table)

    return observe


def _at_the_end(
    plan: Plan, entry: Network, seed: int, model: nn.Module, batch: tuple[Tensor, Tensor], shared: dict[str, Any]
) -> Iterator[tuple[str, pd.DataFrame]]:
    x, y = batch
    yield "samples", per_sample(model, entry.criterion, batch, plan.surrogates, **shared)
    yield "along", along(model, entry.criterion, batch, plan.surrogates, **shared, iterations=4)
    for name in _random(plan.surrogates):
        key = shared["activations"][0]
        yield "jamming", averages(model, entry.criterion, batch, name, key, seed=seed, network=entry.name)
    few = x[: plan.few], y[: plan.few]
    yield "margins", margins(model, entry.criterion, few, plan.surrogates, network=entry.name, seed=seed)
    if seed != plan.seeds[0]:
        return
    for name in plan.surrogates:
        plane = slice_of(model, entry.criterion, batch, name, points=15, activations=shared["activations"], seed=seed)
        plane.insert(0, "network", entry.name)
        plane["direction"], plane["across"] = plane.attrs.get("surrogate_direction", (None, None))
        yield "slice", plane


def _random(surrogates: Sequence[str]) -> list[str]:
    return [name for name in surrogates if surrogate(name).random]


def _together(parts: Sequence[pd.DataFrame], plan: Plan) -> pd.DataFrame:
    import pandas as pd

    schema = parts[0].attrs.get("schema")
    for table in parts:  # each has attrs of its own, which pandas would compare
        table.attrs = {}
    whole = pd.concat(parts, ignore_index=True)
    whole.attrs = provenance(plan=asdict(plan), **({"schema": schema} if schema else {}))
    return whole
