"""A grid: which cells are trained, as products of what is varied; and the part of it that a first look needs."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from fractions import Fraction
from typing import Literal

from ...analysis.errors import Refused, near
from ...analysis.surrogates.lookup import TIED, activation, parsed, surrogate
from ..networks import network
from .cell import Cell
from .measure import epochs as measured_epochs
from .plain import excluded

Task = Literal["train", "maximise"]
"""What is done for a cell: it is trained; or a network is trained tied and its inputs climb by the cell's rule."""


@dataclass(frozen=True)
class Block:
    """A product: each network under each forward, learning rate, batch size and rule.

    Attributes:
        networks: names in ``NETWORKS``.
        forwards: names in ``ACTIVATIONS``.
        rules: as `Cell` takes them; the others are compared with "tied", or with the first where none is tied.
        learning_rates: step sizes of SGD.
        batches: samples a step.
        epochs: passes over the training samples; for the task "maximise", of the training before.
        momentum: of SGD.
        data: as `Cell` takes it.
    """

    networks: tuple[str, ...]
    forwards: tuple[str, ...]
    rules: tuple[str, ...]
    learning_rates: tuple[float, ...]
    batches: tuple[int, ...]
    epochs: int
    momentum: float = 0.0
    data: tuple[str, ...] = ("",)

    def cells(self, seeds: Sequence[int]) -> Iterator[Cell]:
        """Every combination, the seeds innermost."""
        varied = (self.networks, self.data, self.forwards, self.learning_rates, self.batches, self.rules)
        for name, data, forward, rate, batch, rule in itertools.product(*varied):
            for seed in seeds:
                yield Cell(name, forward, rule, rate, batch, self.epochs, seed, self.momentum, data)


@dataclass(frozen=True)
class Grid:
    """One entry.

    Attributes:
        name: how the command line calls it.
        title: what it asks, in one line.
        blocks: what is trained.
        seeds: each combination is run with each of them.
        source: whose settings they are.
        task: what is done for each cell.
        glance: the blocks of ``--quick``: the same question, answered in a minute or less.
        glance_seeds: the seeds of ``--quick``.
        stages: when angle, magnitude and margin are measured: numbers of epochs, "middle" and "end"; empty where they
            are not.
        short: whether it is cut short by `quick`: its numbers show that everything works and support no sentence.
    """

    name: str
    title: str
    blocks: tuple[Block, ...]
    seeds: tuple[int, ...]
    source: str
    task: Task = "train"
    glance: tuple[Block, ...] = field(default=(), repr=False)
    glance_seeds: tuple[int, ...] = (0, 1)
    stages: tuple[str, ...] = ()
    short: bool = False

    def quick(self) -> Grid:
        """The same question, cut short."""
        return replace(self, name=f"{self.name}-quick", blocks=self.glance, seeds=self.glance_seeds, short=True)

    def cells(self) -> tuple[Cell, ...]:
        """The runs, each once, in the order of the tables; those that cannot be trained are left out."""
        return tuple(cell for cell in self._all() if not excluded(cell))

    def left_out(self) -> dict[str, str]:
        """What cannot be trained, as ``"forward / rule"`` -> the reason."""
        reasons = {f"{cell.forward} / {cell.rule}": excluded(cell) for cell in self._all()}
        return {pair: reason for pair, reason in reasons.items() if reason}

    def _all(self) -> dict[Cell, None]:
        return dict.fromkeys(cell for block in self.blocks for cell in block.cells(self.seeds))

    def _measurable(self, stages: Sequence[str], blocks: Sequence[Block]) -> None:
        if stages and self.task == "maximise":
            raise Refused(
                f"--measure {','.join(stages)}: {self.name} trains tied and climbs by each rule, so that there is no "
                f"rule's training to measure; leave it out."
            )
        for block in blocks:
            measured_epochs(stages, block.epochs)

    def varied(
        self,
        *,
        forwards: Sequence[str] = (),
        rules: Sequence[str] = (),
        learning_rates: Sequence[float] = (),
        batches: Sequence[int] = (),
        epochs: int | None = None,
        seeds: int | None = None,
        stages: str = "",
    ) -> Grid:
        """The same grid with some of its axes replaced; what is empty or ``None`` stays as it is.

        Args:
            forwards: activations by name.
            rules: "tied" and surrogates by name, with parameters.
            learning_rates: step sizes of SGD.
            batches: samples a step.
            epochs: passes over the training samples.
            seeds: how many seeds, from 0 on.
            stages: when to measure, as `stages_of` reads it.

        Raises:
            Refused: a name is unknown, a number is outside its range, or there is nothing to measure at a stage.
        """
        forwards = [_forward(forward) for forward in forwards]
        under = forwards or list(dict.fromkeys(forward for block in self.blocks for forward in block.forwards))
        rules = list(dict.fromkeys(_rule(rule, under) for rule in rules))
        _above_zero("--learning-rate", learning_rates)
        _above_zero("--batch", batches)
        _above_zero("--epochs", [] if epochs is None else [epochs])
        _above_zero("--seeds", [] if seeds is None else [seeds])
        axes = {
            "forwards": tuple(forwards),
            "rules": tuple(rules),
            "learning_rates": tuple(learning_rates),
            "batches": tuple(batches),
            "epochs": epochs,
        }
        given = {axis: values for axis, values in axes.items() if values}
        blocks = tuple(dict.fromkeys(replace(block, **given) for block in self.blocks))  # type: ignore[arg-type]
        wanted = stages_of(stages) or self.stages
        self._measurable(wanted, blocks)
        return replace(
            self,
            blocks=blocks,
            seeds=self.seeds if seeds is None else tuple(range(seeds)),
            stages=wanted,
        )


def _forward(typed: str) -> str:
    """The activation's name in the catalogue; networks are built with its default parameters."""
    if "(" in typed:
        raise Refused(
            f"--forward {typed}: networks have activations with their default parameters; leave the brackets."
        )
    return activation(typed).name


def _rule(typed: str, forwards: Sequence[str]) -> str:
    """The rule as a cell spells it: by its name in the catalogue, with the parameters that are not the defaults.

    >>> _rule(" Triangular( width = 1.0 )", ["relu"]), _rule("fast-sigmoid(steepness=1/2)", ["relu"])
    ('triangle', 'fast_sigmoid(steepness=0.5)')
    """
    for forward in forwards:
        surrogate(typed, forward)
    word, values = parsed(typed)
    meant = [surrogate(word, forward) for forward in forwards]
    name = TIED if word.casefold() == TIED else meant[0].name
    defaults = [{str(symbol): value for symbol, value in each.parameters.items()} for each in meant]
    said = [
        f"{key}={_number(values[key])}" for key in sorted(values) if any(each[key] != values[key] for each in defaults)
    ]
    return f"{name}({', '.join(said)})" if said else name


def _number(value: Fraction) -> str:
    """A number as `parsed` reads it: as a decimal, where it is one.

    >>> _number(Fraction(25)), _number(Fraction(1, 4)), _number(Fraction(1, 3)), _number(Fraction("1e-30"))
    ('25', '0.25', '1/3', '1E-30')
    """
    decimal = Decimal(value.numerator) / Decimal(value.denominator)
    return str(decimal) if Fraction(decimal) == value else str(value)


def _above_zero(option: str, values: Sequence[float]) -> None:
    for value in values:
        if not 0 < value < float("inf"):
            raise Refused(f"{option} {value}: give a number above 0.")


def grid(name: str) -> Grid:
    """The grid of that name; its `quick` is the part for a first look.

    Raises:
        Refused: there is none of that name.
    """
    from .catalogue import GRIDS

    if name not in GRIDS:
        raise Refused(f"there is no grid {name!r}: {near(name, GRIDS)}.")
    return GRIDS[name]


def stages_of(text: str) -> tuple[str, ...]:
    """When to measure, from what the user typed: epochs by number, "middle" and "end", with commas between.

    Raises:
        Refused: a part is none of these.

    >>> stages_of("0, 1,middle,end")
    ('0', '1', 'middle', 'end')
    """
    parts = tuple(dict.fromkeys(part.strip() for part in text.split(","))) if text else ()
    for part in parts:
        if not (part.isdecimal() or part in ("middle", "end")):
            raise Refused(f"--measure {text}: {part!r} is no epoch; write numbers, middle or end, e.g. 0,1,middle,end.")
    return parts


def own_data(cell: Cell) -> str:
    """The data that the cell is trained on."""
    return cell.data or network(cell.network).data
