"""When the model runs, and on which thread.

An activation counts only while the model itself, or one of its submodules called alone, is executing: a loss that
happens to use relu keeps its derivative. Module calls are seen through torch's process-wide hooks, which stand only as
long as the block and leave nothing on the model, so that it pickles and copies as ever.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import get_ident
from types import CodeType
from typing import Any, Protocol

import torch
from torch import nn
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook


class Run(Protocol):
    """One execution of the model on one thread."""

    modules: list[nn.Module]
    caught: BaseException | None

    def start(self) -> None:
        """Begins to see calls on this thread."""

    def enter(self, module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...] | None:
        """Before a module's forward; may change its arguments."""

    def leave(self, module: nn.Module, output: Any, failed: bool) -> Any:
        """After it; may change its output."""

    def finish(self, output: Any, failed: bool) -> None:
        """The model has run."""


class Watch:
    """While open, makes a `Run` for every execution of the model on this thread, and tells it of each module call.

    Backward passes may recompute a part of the model (``torch.utils.checkpoint``), on CUDA on a thread of their own:
    a call of a member module from within a backward is taken for that, whatever its thread.
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
            left.finish(None, failed=True)

    @contextmanager
    def manual(self) -> Iterator[Callable[[Any], Any]]:
        """One run for the whole block, for a model that is no module; the block hands it the model's output."""
        run = self._runs[self._owner] = self._begin(False)
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
            run.finish(output, failed)

    def _before(self, module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...] | None:
        thread = get_ident()
        run = self._runs.get(thread)
        if run is None:
            recomputing = torch._C._current_graph_task_id() != -1
            if not (recomputing or thread == self._owner) or not self._is_member(module):
                return None
            run = self._begin(recomputing)
            run.caught = sys.exception()
            run.start()
            self._runs[thread] = run
        run.modules.append(module)
        return run.enter(module, args)

    def _after(self, module: nn.Module, args: tuple[Any, ...], output: Any) -> Any:
        thread = get_ident()
        run = self._runs.get(thread)
        if run is None or not run.modules or run.modules[-1] is not module:
            return None
        # torch calls this hook while it handles an exception of the forward, too; the hook is not told.
        failed = sys.exception() is not run.caught
        run.modules.pop()
        changed = run.leave(module, output, failed)
        if not run.modules and self._model is not None:
            del self._runs[thread]
            run.finish(output, failed)
        return changed

    def _is_member(self, module: nn.Module) -> bool:
        if self._model is None or module is self._model:
            return module is self._model
        if self._members is None:
            self._members = frozenset(map(id, self._model.modules()))
        return id(module) in self._members


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
