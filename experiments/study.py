"""The report's study: networks trained tied and untied, every surrogate measured on them at four stages."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from torch import nn

from ..analysis.errors import Refused
from ..analysis.gradients.measurement import measure
from ..analysis.gradients.table import provenance
from ..analysis.surrogates.catalogue import SURROGATES
from ..analysis.surrogates.lookup import surrogate
from . import data, training
from .networks import Network, hidden
from .networks import network as entry
from .studies.prediction import predict

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Plan:
    """What a study runs; the same plan gives the same tables, bit for bit.

    Attributes:
        networks: names in ``NETWORKS``.
        trained: the backwards to train with: "tied" and names of surrogates.
        surrogates: names of the surrogates to measure. A random one's draws depend on its place among them, so the
            control stands last: without it the others are measured the same.
        seeds: one run for each network, backward and seed.
        epochs: instead of the recipes'; ``None`` keeps them.
        draws: how often a random surrogate is drawn at each stage.
        batch: how many training samples, the first ones of the split, the gradients are taken on.
        reference: what the gradients are compared with, as ``measure`` takes it.
        predicted: whether the mean-field prediction of the exact gradient's cosine and length stands beside what is
            measured, at the first and the last stage (columns ``prediction.PREDICTED``, missing at the others).
        per_sample: whether rows for each sample follow those of the batch, as ``measure`` takes ``samples``.
        device: where the measurement is computed; the training always runs on the CPU.
    """

    networks: tuple[str, ...] = ("mlp-digits", "deep-tanh-digits")
    trained: tuple[str, ...] = (training.TIED, "constant")
    surrogates: tuple[str, ...] = (*SURROGATES, training.TIED)
    seeds: tuple[int, ...] = tuple(range(10))
    epochs: int | None = None
    draws: int = 8
    batch: int = 64
    reference: str = "exact"
    predicted: bool = False
    per_sample: bool = False
    device: str = "cpu"

    def runs(self) -> Iterator[tuple[Network, str, int]]:
        """Network, backward and seed of each run, in the order of the tables."""
        for name in self.networks:
            for trained in self.trained:
                for seed in self.seeds:
                    yield entry(name), trained, seed

    @property
    def epochs_in_all(self) -> int:
        """The epochs of all runs together, for a progress bar."""
        return sum(self.epochs or network.recipe.epochs for network, _, _ in self.runs())


FULL = Plan(predicted=True)
QUICK = Plan(seeds=(0, 1), epochs=10, draws=2, predicted=True)
QUICKLY = f"{len(QUICK.seeds)} seeds instead of {len(FULL.seeds)}, {QUICK.epochs} epochs instead of the recipes' own."
"""How a quick study was cut short."""


@dataclass(frozen=True)
class Study:
    """What a study found.

    Attributes:
        deviations: as ``measure`` gives them, ``trained`` naming the backward of the training; ``attrs`` hold the
            provenance.
        curves: as ``training.train`` gives them.
    """

    deviations: pd.DataFrame
    curves: pd.DataFrame


def run(plan: Plan = FULL, *, progress: Callable[[str, int], None] = lambda running, epochs: None) -> Study:
    """Train and measure everything in the plan.

    Args:
        plan: what to run.
        progress: called with what is running and the number of epochs done, over all runs.

    Raises:
        Refused: the plan is empty, names a network or surrogate that is not there, or wants the exact gradient's
            prediction beside another reference.
    """
    import pandas as pd

    runs = list(plan.runs())
    for name in (*plan.trained, *plan.surrogates):
        if name != training.TIED:
            surrogate(name)
    if not runs:
        raise Refused(f"a study of networks={plan.networks}, trained={plan.trained}, seeds={plan.seeds} runs nothing.")
    if plan.predicted and plan.reference != "exact":
        raise Refused(
            f"a study with reference={plan.reference!r} cannot have predicted=True: the prediction is of the exact "
            f"gradient. Leave one of the two out."
        )
    curves: list[pd.DataFrame] = []
    deviations: list[pd.DataFrame] = []
    done = itertools.count(1)
    for network, trained, seed in runs:
        running = f"{network.name} trained {trained}, seed {seed}"
        samples = data.load(network.data)
        _, curve = training.train(
            network,
            samples,
            backward=trained,
            seed=seed,
            epochs=plan.epochs,
            at_stage=_observer(plan, network, trained, seed, samples, deviations),
            at_epoch=partial(_advance, progress, running, done),
        )
        curves.append(curve)
    modes = [{key: table.attrs[key] for key in ("training", "remarks", "unreached")} for table in deviations]
    # Each measurement has attrs of its own; pandas would compare them while it puts the tables together.
    for table in deviations:
        table.attrs = {}
    measured = pd.concat(deviations, ignore_index=True)
    said = asdict(plan) | {"epochs": plan.epochs or {name: entry(name).recipe.epochs for name in plan.networks}}
    measured.attrs = provenance(threads=1, device=plan.device, plan=said, **_together(modes))
    return Study(measured, pd.concat(curves, ignore_index=True))


def _together(modes: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Whether any measurement was in training mode, and what was remarked or not reached in any."""
    said = {key: list(dict.fromkeys(each for mode in modes for each in mode[key])) for key in ("remarks", "unreached")}
    return {"training": any(mode["training"] for mode in modes)} | said


def _advance(progress: Callable[[str, int], None], running: str, done: Iterator[int]) -> None:
    progress(running, next(done))


def _observer(
    plan: Plan, network: Network, trained: str, seed: int, samples: data.Data, found: list[pd.DataFrame]
) -> training.AtStage:
    """What is done at each stage of one run: a measurement that is added to those found."""
    inputs, targets = (part[: plan.batch].to(plan.device) for part in samples.train)
    batch = (inputs, targets)
    named = list(training.stages(plan.epochs or network.recipe.epochs).values())
    predicted = (named[0], named[-1]) if plan.predicted else ()
    shared: dict[str, Any] = {"activations": [hidden.key(network.activation)], "draws": plan.draws, "seed": seed}

    def observe(trained_here: nn.Module, stage: str, step: int) -> None:
        model = trained_here if plan.device == "cpu" else copy.deepcopy(trained_here).to(plan.device)
        table = measure(
            model,
            network.criterion,
            batch,
            plan.surrogates,
            **shared,
            reference=plan.reference,
            samples=plan.per_sample,
            network=network.name,
            stage=stage,
            step=step,
        )
        if stage in predicted:
            predict(table, model, network.criterion, batch, plan.surrogates, **shared, stage=stage)
        table.insert(2, "trained", trained)
        found.append(table)

    return observe
