"""When the model runs, and on which thread.

An activation counts only while the model itself, or one of its submodules called alone, is executing: a loss that
happens to use relu keeps its derivative. Module calls are seen through torch's process-wide hooks, which stand only as
long as the block and leave nothing on the model, so that it pickles and copies as ever.
"""

from __future__ import annotations

import functools
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from threading import get_ident
from types import CodeType
from typing import Any, Protocol

import torch
from torch import nn
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook


class Run(Protocol):
    """One execution of the model on one thread; `Watch` tells it what happens."""

    modules: list[nn.Module]
    """Those under way, outermost first."""

    attentive: bool
    """Whether it wants to know of each module."""

    caught: BaseException | None
    """What was being handled when it began."""

    def start(self) -> None:
        """Begins to see calls on this thread."""

    def enter(self, module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...] | None:
        """Before a module's forward; may change its arguments."""

    def leave(self, module: nn.Module, output: Any, failed: bool) -> Any:
        """After it; may change its output."""

    def finish(self, module: nn.Module | None, output: Any, failed: bool) -> None:
        """The model, or this submodule alone, has run."""


class Watch:
    """While open, makes a `Run` for every execution of the model on this thread, and tells it of each module call.

    A backward may recompute a part of the model (``torch.utils.checkpoint``), on CUDA on a thread of its own: a call of
    a member module from within a backward is taken for that, whatever its thread.

    Args:
        model: the model, or ``None`` where it is no module: then `manual` says when it runs.
        begin: makes a run; told whether it is a recomputation.
    """

    def __init__(self, model: nn.Module | None, begin: Callable[[bool], Run]) -> None:
        self._model, self._begin = model, begin
        self._members: frozenset[int] | None = None
        self._owner = get_ident()
        self._runs: dict[int, Run] = {}
        self._handles: list[Any] = []

    def __enter__(self) -> Watch:
        self._handles = [
            register_module_forward_pre_hook(self._before),  # type: ignore[arg-type]
            register_module_forward_hook(self._after, always_call=True),
        ]
        return self

    def __exit__(self, *_: object) -> None:
        for handle in self._handles:
            handle.remove()
        left = self._runs.pop(self._owner, None)
        if left is not None:  # only where an interrupt, which runs no hook, left the model
            left.finish(None, None, failed=True)

    @contextmanager
    def manual(self) -> Iterator[Callable[[Any], Any]]:
        """One run for the whole block, for a model that is no module; the block hands it the model's output."""
        run = self._begin(False)
        self._runs[self._owner] = run
        run.start()
        failed, output = True, None

        def done(value: Any) -> Any:
            nonlocal output
            output = value
            return value

        try:
            yield done
            failed = False
        finally:
            del self._runs[self._owner]
            run.finish(None, output, failed)

    def _before(self, module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...] | None:
        run = self._runs.get(get_ident()) or self._start(module)
        if run is None:
            return None
        run.modules.append(module)
        return run.enter(module, args) if run.attentive else None

    def _start(self, module: nn.Module) -> Run | None:
        recomputing = torch._C._current_graph_task_id() != -1
        if not (recomputing or get_ident() == self._owner) or not self._is_member(module):
            return None
        run = self._begin(recomputing)
        run.start()
        run.caught = sys.exception()
        self._runs[get_ident()] = run
        return run

    def _after(self, module: nn.Module, args: tuple[Any, ...], output: Any) -> Any:
        run = self._runs.get(get_ident())
        if run is None:
            return None
        modules = run.modules
        if not modules or modules[-1] is not module:
            return None
        modules.pop()
        if modules and not run.attentive:
            return None
        # torch calls this hook while it handles an exception of the forward, too; the hook is not told.
        failed = sys.exception() is not run.caught
        changed = run.leave(module, output, failed) if run.attentive else None
        if not modules and self._model is not None:
            del self._runs[get_ident()]
            run.finish(module, output, failed)
        return changed

    def _is_member(self, module: nn.Module) -> bool:
        if self._model is None or module is self._model:
            return module is self._model
        if self._members is None:
            self._members = frozenset(map(id, self._model.modules()))
        return id(module) in self._members


def eagerly(model: Callable[..., Any]) -> AbstractContextManager[object]:
    """Inside, compiled models and functions run as the Python that they were made from.

    Dynamo cannot trace the hooks and the mode, and what it compiled before would run with its own backward.
    """
    stack = ExitStack()
    if "torch._dynamo" in sys.modules:  # else nothing was compiled, and loading the compiler takes a second
        stack.enter_context(torch.compiler.set_stance("force_eager"))
        if isinstance(model, nn.Module) and any("_orig_mod" in module._modules for module in model.modules()):
            # A compiled module warns of global hooks that run once more for its shell; ours do not mind.
            stack.enter_context(warnings.catch_warnings())
            warnings.filterwarnings("ignore", message="Using `torch.compile.module.` when there are global hooks")
    return stack


def code(function: Callable[..., Any]) -> CodeType | None:
    """The code object that runs when a plain callable is called; ``None`` where it is not written in Python."""
    while isinstance(function, functools.partial):
        function = function.func
    for holder in (function, getattr(function, "__func__", None), vars(type(function)).get("__call__")):
        if isinstance(getattr(holder, "__code__", None), CodeType):
            return holder.__code__  # type: ignore[union-attr]
    return None


def is_running(wanted: CodeType) -> bool:
    """Whether the code runs below the caller on this thread's stack."""
    frame = sys._getframe(1)
    while frame is not None:
        if frame.f_code is wanted:
            return True
        frame = frame.f_back  # type: ignore[assignment]
    return False
