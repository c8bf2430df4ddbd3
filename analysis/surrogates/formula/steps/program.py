"""A formula as a list of steps, which any of the arithmetics can carry out.

A comparison is always with a number, so that an arithmetic can decide it exactly.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import sympy as sp


class Step(NamedTuple):
    """One operation on registers; ``setting`` is what it needs beside them."""

    operation: str
    arguments: tuple[int, ...]
    setting: Any = None


class Arithmetic(Protocol):
    """What carries a program out: a table of operations by name, each given the step's setting."""

    def __call__(self, operation: str, setting: Any) -> Any:
        """The function of a step; the value itself of a ``number``."""


_Bound = tuple[int, Callable[..., Any], tuple[int, ...]]
"""The register that a step writes, what computes it, and the registers that this reads."""

Overwriting = Mapping[Any, Sequence[Callable[[Any], Callable[[Any], Any]]]]
"""For functions whose value is always a new one: by the place of the argument to overwrite, a maker of what leaves the
value there from the other argument, a constant (``None`` where there is no other)."""


@dataclass(frozen=True)
class Program:
    """Registers hold the inputs (``u``, then the noise by name), then each step's value; the last is the result."""

    inputs: tuple[sp.Expr, ...]
    steps: tuple[Step, ...]

    def bind(self, arithmetic: Arithmetic, overwriting: Overwriting | None = None) -> Callable[[Sequence[Any]], Any]:
        """The program in an arithmetic: from the inputs to the result.

        Args:
            arithmetic: of the values.
            overwriting: what a step becomes whose only argument that is no constant is not used again.
        """
        template, code = self._bound(arithmetic)
        last = {index: slot for slot, _, arguments in code for index in arguments}
        if overwriting:
            code = self._overwriting(template, code, overwriting)
        count = len(self.inputs)
        # A value is dropped after its last use: its memory serves the next one.
        freeing = [
            (slot, function, arguments, [index for index in set(arguments) if last[index] == slot])
            for slot, function, arguments in code
        ]

        def run(inputs: Sequence[Any]) -> Any:
            registers = template.copy()
            registers[:count] = inputs
            for slot, function, arguments, dead in freeing:
                if len(arguments) == 1:
                    registers[slot] = function(registers[arguments[0]])
                else:
                    registers[slot] = function(*[registers[index] for index in arguments])
                for index in dead:
                    registers[index] = None
            return registers[-1]

        return run

    def chain(self, arithmetic: Arithmetic, overwriting: Overwriting) -> tuple[Callable[[Any], Any], ...] | None:
        """The program as functions of one value, of which the first makes a new one and the others write over it.

        ``None`` where it has another form.
        """
        template, code = self._bound(arithmetic)
        changed = self._overwriting(template, code, overwriting)
        functions: list[Callable[[Any], Any]] = []
        before = 0
        for (slot, function, _), (_, new, arguments) in zip(code, changed, strict=True):
            if arguments != (before,) or (function is new if functions else function not in overwriting):
                return None
            functions.append(new)
            before = slot
        return tuple(functions) or None

    def _overwriting(self, template: Sequence[Any], code: Sequence[_Bound], overwriting: Overwriting) -> list[_Bound]:
        """The code with those steps changed that overwrite a value of an earlier step."""
        last = {index: slot for slot, _, arguments in code for index in arguments}
        own, changed = set[int](), []
        for slot, function, arguments in code:
            ways = overwriting.get(function)
            varying = [place for place, index in enumerate(arguments) if template[index] is None]
            if ways and varying:
                own.add(slot)
            if ways and len(varying) == 1 and arguments[varying[0]] in own and last[arguments[varying[0]]] == slot:
                constant = next((template[index] for index in arguments if template[index] is not None), None)
                function, arguments = ways[varying[0]](constant), (arguments[varying[0]],)
            changed.append((slot, function, arguments))
        return changed

    def trace(self, arithmetic: Arithmetic, inputs: Sequence[Any]) -> list[Any]:
        """All registers."""
        registers, code = self._bound(arithmetic)
        registers[: len(self.inputs)] = inputs
        for slot, function, arguments in code:
            registers[slot] = function(*[registers[index] for index in arguments])
        return registers

    def _bound(self, arithmetic: Arithmetic) -> tuple[list[Any], list[_Bound]]:
        registers: list[Any] = [None] * (len(self.inputs) + len(self.steps))
        code = []
        for slot, step in enumerate(self.steps, len(self.inputs)):
            meaning = arithmetic(step.operation, step.setting)
            if step.operation == "number":
                registers[slot] = meaning
            else:
                code.append((slot, meaning, step.arguments))
        return registers, code
