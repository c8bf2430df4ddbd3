"""One execution of the model, with the calls of its activations replaced.

A TorchFunctionMode sees every call that Python makes into torch: functions, methods, operators, in-place forms. It
asks one table whether the function can be an activation at all, and passes everything else on. Modules of the user's
own type are replaced as a whole: their input is cut off the graph and their output put back on it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import CodeType
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from ...errors import Refused
from .factor import Backward, Selector, fingerprint, mix
from .function import apply
from .ledger import Ledger, Unreached, name
from .matching import Known, Rule, Table
from .running import is_running


class Seeds:
    """A seed for each call of a random surrogate, from the generator's state at the start of the run.

    The state itself is not touched before the run has ended, so that dropout in the model's forward draws what it would
    draw anyway; then one number is taken from it, so that the next run has other seeds.
    """

    def __init__(self, generator: torch.Generator) -> None:
        self._generator = generator
        self._base: int | None = None
        self._calls = 0

    def next(self) -> int:
        """The seed of the next call."""
        if self._base is None:
            self._base = fingerprint(self._generator)
        self._calls += 1
        return mix(self._base, self._calls)

    def close(self) -> None:
        """Moves the generator on, where a seed was taken."""
        if self._base is None:
            return
        # vmap forbids draws on its thread, also those that have nothing to do with the batch.
        aside = torch._C._are_functorch_transforms_active()
        if aside:
            thread = threading.Thread(target=self._advance)
            thread.start()
            thread.join()
        else:
            self._advance()

    def _advance(self) -> None:
        torch.empty((), dtype=torch.int64, device=self._generator.device).random_(generator=self._generator)


@dataclass(frozen=True)
class Plan:
    """What the runs of one block share.

    Attributes:
        rules: by activation name, or by module class.
        table: the callables that can be an activation.
        selector: which of K surrogates a backward takes.
        ledger: what was done.
        path: a module's path in the model.
        only: the code outside of which nothing is replaced, where the model is a plain callable.
    """

    rules: Mapping[Any, Rule]
    table: Table
    selector: Selector
    ledger: Ledger
    path: Callable[[nn.Module | None], str]
    only: CodeType | None = None


class Replacing(TorchFunctionMode):
    """A run of the model: `Watch` tells it of modules, torch tells it of calls."""

    def __init__(
        self, plan: Plan, seeds: Seeds, recomputing: bool, since: int | None, ended: Callable[[Replacing, Any], None]
    ) -> None:
        super().__init__()
        self.modules: list[nn.Module] = []
        self.caught: BaseException | None = None
        self.outermost: nn.Module | None = None
        self.recomputing = recomputing
        self.since = since  # autograd's clock, where the run is to be judged
        self.native: list[Any] = []  # the autograd nodes of the calls that were left alone on purpose
        self._plan, self._seeds, self._ended = plan, seeds, ended
        self._cut: list[_Cut] = []

    def start(self) -> None:
        """Begins to see calls on this thread."""
        self.__enter__()  # type: ignore[no-untyped-call]

    def finish(self, output: Any, failed: bool) -> None:
        """Sees no more; a run that raised is not judged."""
        self.__exit__(None, None, None)  # type: ignore[no-untyped-call]
        if not (failed or self.recomputing):
            self._seeds.close()
            self._ended(self, output)

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Passes the call on, or its replacement."""
        known = self._plan.table.get(func)
        if known is None or self._cut:
            return func(*args, **kwargs) if kwargs else func(*args)
        return self._activation(known, func, args, dict(kwargs) if kwargs else {})

    def _activation(
        self, known: tuple[Known, ...], func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        if not args:  # the input came by name
            args = tuple(kwargs.pop(key) for key in ("input", "self") if key in kwargs)
        given, rest = args[0], args[1:]
        inside = self._plan.only is None or is_running(self._plan.only)
        if inside and isinstance(given, torch.Tensor) and "out" not in kwargs:
            for entry in known:
                parameters = entry.operation.parameters(*rest, **kwargs)
                if parameters is None:
                    continue
                rule = self._plan.rules.get(entry.activation.name)
                if rule is not None and given.is_floating_point():
                    return self._replace(entry, rule, parameters, given, rest, kwargs)
                self._kept(entry.activation.name, given)
                break
            else:
                self._unlike(known, func)
        result = func(given, *rest, **kwargs)
        if self.since is not None and isinstance(result, torch.Tensor):
            self.native.append(result.grad_fn)
        return result

    def _replace(
        self,
        entry: Known,
        rule: Rule,
        parameters: Mapping[str, Any],
        given: torch.Tensor,
        rest: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> torch.Tensor:
        func, in_place = entry.operation.function, entry.in_place(rest, kwargs)
        backward = self._backward(rule, func, parameters)
        # The native operation may save its output instead of its input, and then allows the input to change afterwards.
        u = given.clone() if backward.needs_preactivation else given
        second = kwargs.pop(
            "values", rest[0] if rest else None
        )  # heaviside's value at zero, a tensor that may broadcast
        if isinstance(second, torch.Tensor):
            second, rest = second.detach(), rest[1:]
            shape = torch.broadcast_shapes(u.shape, second.shape)  # type: ignore[no-untyped-call]
            u = u if in_place or shape == u.shape else u.expand(shape)
        else:
            second = None

        def native(u: torch.Tensor, second: torch.Tensor | None) -> torch.Tensor:
            tensors = (u.clone() if in_place else u,) if second is None else (u.clone() if in_place else u, second)
            return func(*tensors, *rest, **kwargs)  # type: ignore[no-any-return]

        output = apply(u, second, native, backward)
        return given.copy_(output) if in_place else output

    def _backward(
        self, rule: Rule, operation: Any, parameters: Mapping[str, Any], module: nn.Module | None = None
    ) -> Backward:
        factors = rule.factors(parameters)
        where = self._plan.path(module or (self.modules[-1] if self.modules else None))
        tally = self._plan.ledger.tally(where, operation, rule)
        tally.forward += not self.recomputing
        seed = self._seeds.next() if any(factor.random for factor in factors) else 0
        return Backward(factors, self._plan.selector, seed, tally)

    def _kept(self, activation: str, given: torch.Tensor) -> None:
        """Notes an activation that keeps its derivative: not asked for, or on a dtype that has no surrogate."""
        if activation not in self._plan.rules:
            self._plan.ledger.native[activation] += 1
        elif given.is_complex():
            where = self._plan.path(self.modules[-1] if self.modules else None)
            self._plan.ledger.note(Unreached(where, activation, f"called on {given.dtype}, and psi is a real function"))

    def _unlike(self, known: tuple[Known, ...], func: Callable[..., Any]) -> None:
        """Notes a call of an asked activation's own function whose arguments make it another function."""
        for entry in known:
            if entry.always and entry.activation.name in self._plan.rules:
                where = self._plan.path(self.modules[-1] if self.modules else None)
                reason = f"{name(func)} is called with arguments that make it another function"
                self._plan.ledger.note(Unreached(where, entry.activation.name, reason))

    def enter(self, module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...] | None:
        """Cuts the input of a replaced module off the graph, so that its own derivative plays no part."""
        if self.outermost is None:
            self.outermost = module
        rule = next((self._plan.rules[cls] for cls in type(module).__mro__ if cls in self._plan.rules), None)
        inside = self._plan.only is None or is_running(self._plan.only)
        if rule is None or self._cut or not inside:
            return None
        if not args or not isinstance(args[0], torch.Tensor) or not args[0].is_floating_point():
            raise Refused(
                f"untie: {rule.key} was called without a tensor of real numbers as its first positional argument; only "
                f"an elementwise module, a tensor in and a tensor of the same shape out, can be untied."
            )
        u = args[0].clone()
        self._cut.append(_Cut(module, rule, args[0], u, u.detach().clone()))
        return (self._cut[-1].inner, *args[1:])

    def leave(self, module: nn.Module, output: Any, failed: bool) -> Any:
        """Puts the output of a replaced module back on the graph; its own parameters keep their gradient."""
        if not self._cut or self._cut[-1].module is not module:
            return None
        cut = self._cut.pop()
        if failed:
            return None
        if not isinstance(output, torch.Tensor) or output.shape != cut.given.shape:
            got = tuple(output.shape) if isinstance(output, torch.Tensor) else type(output).__name__
            raise Refused(
                f"untie: {cut.rule.key} took a tensor of shape {tuple(cut.given.shape)} and returned {got}; only an "
                f"elementwise module, a tensor in and a tensor of the same shape out, can be untied."
            )
        backward = self._backward(cut.rule, type(module), {}, module)
        result = apply(cut.preactivation, output, _second, backward)
        return cut.given.copy_(result) if output is cut.inner else result


@dataclass(frozen=True)
class _Cut:
    """A replaced module under way: its input, a copy of it on the graph, and the copy off the graph that it runs on."""

    module: nn.Module
    rule: Rule
    given: torch.Tensor
    preactivation: torch.Tensor
    inner: torch.Tensor


def _second(_: torch.Tensor, output: torch.Tensor | None) -> torch.Tensor:
    assert output is not None
    return output.clone()
