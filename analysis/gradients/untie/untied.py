"""`untie`: run any torch model with the backward of its activations replaced and its forward unchanged."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from types import CodeType
from typing import Any

import torch
from torch import nn

from ...errors import Refused
from ...surrogates.activation import Activation
from ...surrogates.activations import ACTIVATIONS
from . import reach
from .function import Selector
from .ledger import Ledger, Place, Unreached, table
from .matching import Rule, known, rules
from .mode import Plan, Replacing
from .running import Watch, code, eagerly


@dataclass(frozen=True)
class Choice:
    """Which backward a replay took.

    Attributes:
        index: number of the surrogate in the lists of the mapping.
        draw: number of the draw, where the surrogate is random.
        surrogates: what stood in for each activation, by key of the mapping.
    """

    index: int
    draw: int
    surrogates: Mapping[str, str]

    @property
    def name(self) -> str:
        """The surrogate's name; where the keys have different ones, all of them."""
        return ", ".join(dict.fromkeys(self.surrogates.values()))


def untie(
    model: Callable[..., Any], replacements: Mapping[Any, Any], generator: torch.Generator | None = None
) -> Untied:
    """Replaces the backward of a model's activations; the forward keeps its bits.

    Args:
        model: an ``nn.Module``, or a function that calls torch.
        replacements: what replaces what. A key is an activation: its name, an `Activation`, or a module class of your
            own (elementwise; its forward value is kept). A value is a surrogate: its name, a `Surrogate`, or
            ``"tied"``, the activation's own derivative at the parameters of the call. A list of them gives one
            forward many backwards.
        generator: draws the seeds of random surrogates; torch's default generator where it is ``None``. The same state
            gives the same draws.

    Inside the block compiled code (``torch.compile``) runs as the Python it was made from. A part under
    ``torch.utils.checkpoint`` is run again by the backward: keep that backward inside the block, and checkpoint
    modules, not functions; torch raises ``CheckpointError`` otherwise. A second derivative differentiates psi, and
    goes through the replaced activations below by psi again. What is written to a preactivation through a NumPy view of
    it between forward and backward may change the gradient, as in every operation of torch's own that saves its input.

    Returns:
        An object that is both a context manager (the model runs untied inside the block, on this thread) and a callable
        (`untied(x)` runs it once).

    Raises:
        Refused: a key or value is unknown. When the model runs: it calls none of the activations. On leaving the block:
            a key matched nothing, or the model never ran.

    >>> import torch
    >>> model = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.ReLU(), torch.nn.Linear(2, 1))
    >>> with untie(model, {"relu": "constant"}) as untied:
    ...     model(torch.ones(4, 3)).sum().backward()
    >>> print(untied)
    module  operation                 activation  surrogate  forward  backward
    1       torch.nn.functional.relu  relu        constant   1        1
    """
    return Untied(model, replacements, generator)


class Untied:
    """A model whose activations have another backward: see `untie`."""

    def __init__(
        self, model: Callable[..., Any], replacements: Mapping[Any, Any], generator: torch.Generator | None = None
    ) -> None:
        if not callable(model):
            raise Refused(
                f"untie(model={model!r}): a {type(model).__name__} cannot be called; give a module or a function."
            )
        if generator is not None and not isinstance(generator, torch.Generator):
            raise Refused(
                f"untie(generator={generator!r}): give a torch.Generator, e.g. torch.Generator().manual_seed(0)."
            )
        self.model = model
        self.rules: tuple[Rule, ...] = rules(replacements)
        self._typed = dict(replacements)
        self._generator = generator
        self._selector = Selector(len(self.rules[0].choices))
        self._ledger = Ledger(model)
        self._watch: Watch | None = None
        self._block = ExitStack()
        self._judged = self._ran = self._wanted = False
        self._idle: list[Replacing] = []
        self._by_key = {rule.target if isinstance(rule.target, type) else rule.key: rule for rule in self.rules}
        self._by_module = any(isinstance(rule.target, type) for rule in self.rules)
        given = [rule.target for rule in self.rules if isinstance(rule.target, Activation)]
        self._table = known([target for target in given if ACTIVATIONS.get(target.name) is not target])

    @property
    def places(self) -> tuple[Place, ...]:
        """What was replaced since the block was entered: module, operation, activation, surrogates, counts."""
        return self._ledger.places

    @property
    def unreached(self) -> tuple[Unreached, ...]:
        """Where an activation that was asked for keeps its own derivative, and why."""
        return tuple(self._ledger.unreached)

    def __str__(self) -> str:
        notes = [f"unreached: {each}" for each in self.unreached]
        return "\n".join([table(self.places) if self.places else "nothing replaced yet", *notes])

    def __repr__(self) -> str:
        mapping = {rule.key: rule.labels if len(rule.labels) > 1 else rule.labels[0] for rule in self.rules}
        return f"untie({type(self.model).__name__}, {mapping})"

    # One forward, many backwards

    def choose(self, index: int, draw: int = 0) -> AbstractContextManager[None]:
        """Backwards inside the block take surrogate number ``index`` of each list, and draw number ``draw``.

        One choice is in force at a time, for backwards on every thread.

        Raises:
            Refused: there is no such surrogate, or ``draw`` is negative.
        """
        if not 0 <= index < self._selector.count or draw < 0:
            raise Refused(
                f"choose({index}, draw={draw}): the mapping lists {self._selector.count} surrogates, numbered from 0, "
                f"as are the draws."
            )
        return self._selector.at(index, draw)

    def replay(
        self,
        loss: torch.Tensor,
        parameters: Sequence[torch.Tensor],
        *,
        draws: int = 1,
        create_graph: bool = False,
    ) -> Iterator[tuple[Choice, tuple[torch.Tensor | None, ...]]]:
        """One backward through the loss's graph for each surrogate, and for each draw where it is random.

        Args:
            loss: a scalar computed from the untied model's output.
            parameters: what to differentiate by; a parameter that the loss does not depend on gets ``None``.
            draws: how many draws of each random surrogate.
            create_graph: whether the gradients are to be differentiated again.

        Yields:
            (choice, gradients), one gradient for each parameter.

        Raises:
            Refused: ``draws`` is below 1.
        """
        if draws < 1:
            raise Refused(f"replay(draws={draws}): at least one draw of each random surrogate is needed.")
        parameters = list(parameters)
        for index in range(self._selector.count):
            chosen = {rule.key: rule.choices[index] for rule in self.rules}
            random = any(not isinstance(each, str) and each.random for each in chosen.values())
            names = {rule.key: rule.labels[index] for rule in self.rules}
            for draw in range(draws if random else 1):
                with self._selector.at(index, draw):
                    gradients = torch.autograd.grad(
                        loss, parameters, retain_graph=True, create_graph=create_graph, allow_unused=True
                    )
                yield Choice(index, draw, names), gradients

    # Running

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """The model's value at these arguments, with an untied backward."""
        if self._watch is not None:
            return self.model(*args, **kwargs)
        with self._opened(None) as watch:
            if isinstance(self.model, nn.Module):
                output = self.model(*args, **kwargs)
            else:
                with watch.manual() as done:
                    output = done(self.model(*args, **kwargs))
        self._demand()
        return output

    def __enter__(self) -> Untied:
        if self._watch is not None:
            raise Refused("untie: this block is open already; make a second one with untie(...).")
        only = None if isinstance(self.model, nn.Module) else self._code()
        self._ledger, self._judged, self._ran, self._wanted = Ledger(self.model), False, False, False
        with ExitStack() as stack:
            watch = stack.enter_context(self._opened(only))
            if only is not None:
                stack.enter_context(watch.manual())
            self._block = stack.pop_all()
        return self

    def __exit__(self, kind: Any, value: Any, trace: Any) -> None:
        self._block.__exit__(kind, value, trace)
        if kind is None:
            if not self._ran:
                raise Refused(
                    f"untie: the block ended and the model ({type(self.model).__name__}) never ran in it on this "
                    f"thread. Call the very object that was given to untie; a copy of it is another model."
                )
            self._demand()

    def _code(self) -> CodeType:
        found = code(self.model)
        if found is None:
            raise Refused(
                f"with untie({self.model!r}, ...): no one can tell when a callable that is not written in Python runs. "
                f"Call the untied object instead: untied = untie(...); untied(x)."
            )
        return found

    @contextmanager
    def _opened(self, only: CodeType | None) -> Iterator[Watch]:
        self._watch = Watch(self.model if isinstance(self.model, nn.Module) else None, self._begin)
        self._idle = []
        self._plan = Plan(self._by_key, self._table, self._selector, self._ledger, self._by_module, only)
        try:
            with eagerly(self.model), self._watch as watch:
                yield watch
        finally:
            self._watch = None

    def _begin(self, recomputing: bool) -> Replacing:
        wanted = torch.is_grad_enabled() and not recomputing
        if wanted and self._idle:
            return self._idle.pop()
        self._wanted = self._wanted or wanted
        since = reach.clock() if wanted and not self._judged else None
        generator = torch.default_generator if self._generator is None else self._generator
        return Replacing(self._plan, generator, recomputing, since, self._ended)

    def _ended(self, run: Replacing, module: nn.Module | None, output: Any) -> None:
        """After the model's first run in which a gradient was wanted, looks at what was replaced and what was not."""
        self._ran = True
        whole = module is self.model or not isinstance(self.model, nn.Module)
        if run.since is not None and whole and not self._judged:
            self._judged = True
            reach.judge(self._ledger, self.rules, output, run.since, run.native)
        elif run.reusable:
            self._idle.append(run)

    def _demand(self) -> None:
        if self._wanted:  # without a gradient, fused kernels may have run that call no activation
            reach.demand(self._ledger, self.rules)

    # Copies

    def __getstate__(self) -> dict[str, Any]:
        """A copy is closed, remembers nothing of what ran, and draws on from the generator's present state."""
        generator = None if self._generator is None else (self._generator.device, self._generator.get_state())
        return {"model": self.model, "replacements": self._typed, "generator": generator}

    def __setstate__(self, state: dict[str, Any]) -> None:
        generator = None
        if state["generator"] is not None:
            device, held = state["generator"]
            generator = torch.Generator(device=device)
            generator.set_state(held)
        self.__init__(state["model"], state["replacements"], generator)  # type: ignore[misc]
