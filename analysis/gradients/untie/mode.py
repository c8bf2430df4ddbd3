"""One execution of the model, with the calls of its activations replaced.

A TorchFunctionMode sees every call that Python makes into torch: functions, methods, operators, in-place forms. It
asks one table whether the function can be an activation at all, and passes everything else on. Modules of the user's
own type are replaced as a whole: their input is cut off the graph and their output put back on it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from types import CodeType
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from ...errors import Refused
from .function import Backward, Selector, apply, fingerprint, mix
from .ledger import Ledger, name
from .matching import Known, Rule, Table
from .running import is_running


class Seeds:
    """A seed for each call of a random surrogate, from the generator's state at the start of the run.

    The state itself is not touched before the run has ended, so that dropout in the model's forward draws what it would
    draw anyway; then one number is taken from it, so that the next run has other seeds.
    """

    def __init__(self, generator: torch.Generator) -> None:
        self._generator = generator
        self._base = _outside_transforms(lambda: fingerprint(generator))
        self._calls = 0

    def next(self) -> int:
        """The seed of the next call."""
        self._calls += 1
        return mix(self._base, self._calls)

    def close(self) -> None:
        """Moves the generator on."""
        _outside_transforms(self._advance)

    def _advance(self) -> None:
        torch.empty((), dtype=torch.int64, device=self._generator.device).random_(generator=self._generator)


def _outside_transforms(function: Callable[[], Any]) -> Any:
    """Calls a function as if no ``torch.func`` transform were active: vmap forbids draws, also those of no batch."""
    if not torch._C._are_functorch_transforms_active():
        return function()
    with ThreadPoolExecutor(1) as fresh:  # transforms are a state of the thread
        return fresh.submit(function).result()


_PLAIN = (bool, int, float, str, type(None))

# What a mode's `__enter__` and `__exit__` come to, three calls further down.
_push, _pop = torch._C._push_on_torch_function_stack, torch._C._pop_torch_function_stack

# Where no gradient is wanted these run one fused kernel, whose last bits differ, unless a mode stands by.
_FUSED = (nn.TransformerEncoder, nn.TransformerEncoderLayer, nn.MultiheadAttention)


@dataclass(frozen=True)
class Plan:
    """What the runs of one block share.

    Attributes:
        rules: by activation name, or by module class.
        table: the callables that can be an activation.
        selector: which of K surrogates a backward takes.
        ledger: what was done.
        by_module: whether a rule is for a module class.
        only: the code outside of which nothing is replaced, where the model is a plain callable.
        met: the backward of a call met before, by function, module and named arguments: where there are no others, they
            are plain values, nothing is overwritten, and no noise is drawn.
    """

    rules: Mapping[Any, Rule]
    table: Table
    selector: Selector
    ledger: Ledger
    by_module: bool = False
    only: CodeType | None = None
    met: dict[tuple[Any, ...], Backward] = field(default_factory=dict)


class Replacing(TorchFunctionMode):
    """A run of the model: `Watch` tells it of modules, torch tells it of calls.

    Args:
        plan: of the block.
        generator: draws the seeds.
        recomputing: whether a backward runs a part of the model again; what that replaces is not counted.
        since: autograd's clock, where the run is to be judged; else ``None``.
        ended: called with the run, its outermost module and the output when it is over, unless it raised or recomputed.
    """

    def __init__(
        self,
        plan: Plan,
        generator: torch.Generator,
        recomputing: bool,
        since: int | None,
        ended: Callable[[Replacing, nn.Module | None, Any], None],
    ) -> None:
        self.modules: list[nn.Module] = []
        self.native: list[Any] = []  # the autograd nodes of the calls that were left alone on purpose
        self.since = since
        self.caught: BaseException | None = None
        self.attentive = plan.by_module or not torch.is_grad_enabled()
        self._plan, self._generator, self._recomputing, self._ended = plan, generator, recomputing, ended
        self._table, self._met = plan.table, plan.met
        self._seeds: Seeds | None = None
        self._cut: list[_Cut] = []
        self._aside: nn.Module | None = None

    def start(self) -> None:
        """Begins to see calls on this thread."""
        _push(self)

    @property
    def reusable(self) -> bool:
        """Whether, after its end, the mode is as it was at its beginning."""
        return not self.attentive and self.since is None and self._seeds is None

    def finish(self, module: nn.Module | None, output: Any, failed: bool) -> None:
        """Sees no more; a run that raised is not judged."""
        self.caught = None  # else an idle run would keep it, and with its traceback all that its frames hold
        if self._aside is None:
            _pop()
        if not (failed or self._recomputing):
            if self._seeds is not None:
                self._seeds.close()
            self._ended(self, module, output)

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Passes the call on, or its replacement."""
        known = self._table.get(func)
        if known is None or self._cut:
            return func(*args, **kwargs) if kwargs else func(*args)
        if len(args) == 1 and self.modules:
            backward = self._met.get((func, self.modules[-1], tuple(kwargs.items()) if kwargs else ()))
            if backward is not None and args[0].__class__ is torch.Tensor and args[0].is_floating_point():
                if not self._recomputing:
                    backward.tally.forward += 1
                return apply(args[0], None, partial(func, **kwargs) if kwargs else func, backward)
        kwargs = dict(kwargs) if kwargs else {}
        if not args:  # the input came by name
            args = tuple(kwargs.pop(key) for key in ("input", "self") if key in kwargs)
        found = self._recognised(known, func, args, kwargs)
        if found is not None:
            return self._replaced(*found, args[0], args[1:], kwargs)
        result = func(*args, **kwargs)
        if self.since is not None and isinstance(result, torch.Tensor):
            self.native.append(result.grad_fn)
        return result

    def _recognised(
        self, known: tuple[Known, ...], func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[Known, Rule, Mapping[str, Any]] | None:
        """Which activation a call is, the rule for it and the call's parameters; ``None`` where it is to stay."""
        given, only = args[0] if args else None, self._plan.only
        if not isinstance(given, torch.Tensor) or "out" in kwargs or (only is not None and not is_running(only)):
            return None
        for entry in known:
            parameters = entry.operation.parameters(*args[1:], **kwargs)
            if parameters is not None:
                rule = self._plan.rules.get(entry.name)
                if rule is not None and given.is_floating_point():
                    return entry, rule, parameters
                self._kept(entry.name, given)
                return None
        self._unlike(known, func)
        return None

    def _replaced(
        self,
        entry: Known,
        rule: Rule,
        parameters: Mapping[str, Any],
        given: torch.Tensor,
        rest: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> torch.Tensor:
        func, in_place = entry.operation.function, entry.in_place(rest, kwargs)
        here = self.modules[-1] if self.modules else None
        backward = self._backward(here, func, rule, parameters)
        once = in_place or rest or self._plan.only or any(each.random for each in backward.factors)
        if not once and all(isinstance(each, _PLAIN) for each in kwargs.values()):
            self._plan.met[func, here, tuple(kwargs.items())] = backward
        u = given
        value = kwargs.pop("values", rest[0] if rest else None)
        if isinstance(value, torch.Tensor):  # Heaviside's value at zero, which may broadcast
            value, rest = value.detach(), rest[1:]
            shape = torch.broadcast_shapes(u.shape, value.shape)  # type: ignore[no-untyped-call]
            u = u if in_place or shape == u.shape else u.expand(shape)
        else:
            value = None

        def native(u: torch.Tensor, *value: torch.Tensor) -> torch.Tensor:
            return func(u.clone() if in_place else u, *value, *rest, **kwargs)  # type: ignore[no-any-return]

        output = apply(u, value, native if in_place or rest or kwargs else func, backward)
        return given.copy_(output) if in_place else output

    def _backward(
        self, module: nn.Module | None, operation: Any, rule: Rule, parameters: Mapping[str, Any]
    ) -> Backward:
        bound = rule.bound(parameters)
        tally = self._plan.ledger.tally(module, operation, rule)
        if not self._recomputing:
            tally.forward += 1
        seed = 0
        if bound.random:
            self._seeds = self._seeds or Seeds(self._generator)
            seed = self._seeds.next()
        return Backward(bound.factors, self._plan.selector, seed, tally, bound.needs_preactivation, bound.needs_value)

    def _kept(self, activation: str, given: torch.Tensor) -> None:
        """Notes an activation that keeps its derivative: not asked for, or on a dtype that has no surrogate."""
        if activation not in self._plan.rules:
            self._plan.ledger.native[activation] += 1
        elif given.is_complex():
            self._plan.ledger.note(
                self.modules[-1] if self.modules else None,
                activation,
                f"called on {given.dtype}, and psi is a real function",
            )

    def _unlike(self, known: tuple[Known, ...], func: Callable[..., Any]) -> None:
        """Notes a call of an asked activation's own function whose arguments make it another function."""
        for entry in known:
            if entry.always and entry.name in self._plan.rules:
                reason = f"{name(func)} is called with arguments that make it another function"
                self._plan.ledger.note(self.modules[-1] if self.modules else None, entry.name, reason)

    def enter(self, module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...] | None:
        """Cuts the input of a replaced module off the graph, so that its own derivative plays no part."""
        if self._aside is None and isinstance(module, _FUSED) and not torch.is_grad_enabled():
            self._aside = module
            self.__exit__(None, None, None)  # type: ignore[no-untyped-call]
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
        if module is self._aside:
            self._aside = None
            self.__enter__()  # type: ignore[no-untyped-call]
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
        backward = self._backward(module, type(module), cut.rule, {})
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


def _second(_: torch.Tensor, output: torch.Tensor) -> torch.Tensor:
    return output.clone()
