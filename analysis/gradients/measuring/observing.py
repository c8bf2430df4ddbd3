"""Measuring while a training goes on, tied or untied, without changing it, and at a cost that is stated.

What is measured is a copy of the model, made at that moment: the training's parameters, buffers, ``grad``, optimiser
and random state stay as they are to the last bit, and an open `untie` block around the training does not see the copy.
"""

from __future__ import annotations

import copy
import time
import warnings
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from ...errors import Refused
from ..measurement import measure
from ..streaming import Empty, stream
from ..table import provenance
from .choice import Given, surrogates
from .setting import Loss

if TYPE_CHECKING:
    import pandas as pd


class Measuring:
    """A block around a training loop that measures at chosen steps; call ``step()`` after each step of the optimiser.

    Args:
        model: the module that is trained.
        loss: ``loss(model(x), y)``, a scalar tensor.
        batch: ``(x, y)`` to measure on, the same at every step, so that the rows differ by the parameters alone.
        surrogates: as in `measure`.
        at: after how many steps to measure; 0 is before the first, on entering the block.
        out: a Parquet file that each step's rows go to as they are measured, instead of being held in memory; it
            appears, whole, when the block is left without an exception, and `downslope.analysis.gradients.table.read`
            reads it. Its provenance is that of the first step, with ``at`` as ``"steps"``, and a further column
            ``loss`` holds the loss at each. Where the loop ended before the first step in ``at``, a warning says so,
            and no file is written.
        options: the other arguments of `measure` (``draws``, ``seed``, ``reference``, ``network``, ``stage``, ...).

    Raises:
        Refused: ``at`` holds no whole number, or one below 0; an option is not one of `measure`'s. When measuring: as
            for `measure`, or the model cannot be copied.

    >>> model = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.Tanh(), torch.nn.Linear(3, 1))
    >>> x, y = torch.ones(4, 2), torch.ones(4, 1)
    >>> sgd, loss = torch.optim.SGD(model.parameters(), lr=0.1), torch.nn.functional.mse_loss
    >>> with Measuring(model, loss, (x, y), "constant", at=[0, 2]) as observed:
    ...     for _ in range(2):
    ...         sgd.zero_grad()
    ...         loss(model(x), y).backward()
    ...         sgd.step()
    ...         observed.step()
    >>> observed.table[["step", "layer"]].drop_duplicates().step.tolist()
    [0, 0, 0, 2, 2, 2]
    """

    def __init__(
        self,
        model: nn.Module,
        loss: Loss,
        batch: tuple[Any, Any],
        surrogates: Given,
        *,
        at: Iterable[int],
        out: str | Path | None = None,
        **options: Any,
    ) -> None:
        self._given = (model, loss, batch, _chosen(surrogates))
        self._at = _steps(at)
        if unknown := options.keys() - _OPTIONS:
            raise Refused(
                f"Measuring({', '.join(sorted(unknown))}=...): known options are out, {', '.join(sorted(_OPTIONS))}."
            )
        self._options = options
        self._out = None if out is None else Path(out)
        self._block = ExitStack()
        self._add: Callable[[pd.DataFrame], None] | None = None
        self._taken = 0
        self._tables: list[pd.DataFrame] = []
        self._measuring = 0.0
        self._began: float | None = None
        self._ended: float | None = None

    def __enter__(self) -> Measuring:
        if self._began is not None:
            raise Refused("Measuring: this block was entered before; make a new one with Measuring(...).")
        self._began = self._now()
        with ExitStack() as block:
            if self._out is not None:
                self._add = block.enter_context(stream(self._out, "Measuring(out='{}')"))
            self._measure()
            self._block = block.pop_all()
        return self

    def __exit__(self, *error: Any) -> None:
        self._ended = self._now()
        try:
            self._block.__exit__(*error)
        except Empty:  # the training is done, and is not to be lost for it
            warnings.warn(
                f"Measuring(out={str(self._out)!r}): no file was written: the block ended after {self._taken} steps, "
                f"and at={sorted(self._at)}. Call observed.step() after each step of the optimiser.",
                stacklevel=2,
            )

    def step(self) -> None:
        """One step of the optimiser has been taken: measures if this one is among those chosen.

        Raises:
            Refused: the block is not open; as for `measure`.
        """
        if self._began is None or self._ended is not None:
            raise Refused("Measuring.step(): call it inside the block, `with Measuring(...) as observed:`.")
        self._taken += 1
        self._measure()

    @property
    def seconds_measuring(self) -> float:
        """Wall-clock seconds that were spent measuring so far, copies included."""
        return self._measuring

    @property
    def seconds_training(self) -> float:
        """Wall-clock seconds of the block so far that were not spent measuring."""
        began = self._now() if self._began is None else self._began
        return (self._now() if self._ended is None else self._ended) - began - self._measuring

    @property
    def table(self) -> pd.DataFrame:
        """The rows of `measure` of every step measured so far, with the column ``step``.

        ``attrs`` hold the provenance, the steps measured and those not reached, the loss at each, and the cost:
        ``seconds_measuring`` and ``seconds_training``.

        Raises:
            Refused: nothing has been measured yet, or the rows are in a file.
        """
        import pandas as pd

        if self._out is not None:
            raise Refused(
                f"Measuring.table: the rows go to out={str(self._out)!r}; after the block, read them with "
                f"downslope.analysis.gradients.table.read."
            )
        if not self._tables:
            raise Refused(
                f"Measuring.table: {self._taken} steps were taken and at={sorted(self._at)}: nothing was measured yet. "
                f"Call observed.step() after each step of the optimiser."
            )
        done = [int(each.step.iloc[0]) for each in self._tables]
        attrs = [each.attrs for each in self._tables]
        bare = [each.copy(deep=False) for each in self._tables]
        for each in bare:
            each.attrs = {}
        table = pd.concat(bare, ignore_index=True)
        table.attrs = provenance(
            seed=attrs[0]["seed"],
            device=attrs[0]["device"],
            training=[each["training"] for each in attrs],
            loss=[each["loss"] for each in attrs],
            remarks=attrs[0]["remarks"],
            unreached=attrs[0]["unreached"],
            reference=attrs[0]["reference"],
            way=[each["way"] for each in attrs],
            steps=done,
            not_reached=sorted(self._at - set(done)),
            seconds_measuring=self.seconds_measuring,
            seconds_training=self.seconds_training,
        )
        return table

    def _measure(self) -> None:
        if self._taken not in self._at:
            return
        began = self._now()
        model, loss, batch, chosen = self._given
        try:
            snapshot = copy.deepcopy(model)
        except (RuntimeError, TypeError) as error:
            raise Refused(f"Measuring(model=...): it cannot be copied (copy.deepcopy): {error}") from error
        table = measure(snapshot, loss, batch, chosen, step=self._taken, **self._options)
        if self._add is None:
            self._tables.append(table)
        else:
            table["loss"] = table.attrs.pop("loss")  # the file has one provenance for every step
            table.attrs["steps"] = sorted(self._at)
            self._add(table)
        self._measuring += self._now() - began

    def _now(self) -> float:
        """The clock, once what was started on the GPU is done."""
        if any(parameter.is_cuda for parameter in self._given[0].parameters()):
            torch.cuda.synchronize()
        return time.perf_counter()


_OPTIONS = frozenset({"activations", "draws", "seed", "reference", "samples", "signs", "network", "stage"})


def _chosen(given: Given) -> list[Any]:
    return list(surrogates(given, "Measuring").values())


def _steps(at: Any) -> frozenset[int]:
    listed = list(at) if isinstance(at, Iterable) else [at]
    if not listed or any(isinstance(step, bool) or not isinstance(step, int) or step < 0 for step in listed):
        raise Refused(f"Measuring(at={at!r}): give the numbers of steps after which to measure, e.g. at=[0, 10, 100].")
    return frozenset(listed)
