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

Overwriting = Mapping[Any, Sequence[Callable[..., Any]]]
"""For functions whose value is always a new one: by the place of the argument to overwrite, what leaves it there."""


@dataclass(frozen=True)
class Program:
    """Registers hold the inputs (``u``, then the noise by name), then each step's value; the last is the result."""

    inputs: tuple[sp.Expr, ...]
    steps: tuple[Step, ...]

    def bind(
        self, arithmetic: Arithmetic, overwriting: Overwriting | None = None
    ) -> Callable[[Sequence[Any]], Any]:
        """The program in an arithmetic: from the inputs to the result.

        Args:
            arithmetic: of the values.
            overwriting: what a step becomes whose only argument that is no constant is not used again.
        """
        template, code = self._bound(arithmetic)
        last = {index: slot for slot, _, arguments in code for index in arguments}
        if overwriting:
            code = self._overwriting(code, last, overwriting)
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

    def in_one_tensor(self, arithmetic: Arithmetic, overwriting: Overwriting) -> bool:
        """Whether the program so bound makes one tensor, its first value, and writes each later one over it."""
        _, code = self._bound(arithmetic)
        last = {index: slot for slot, _, arguments in code for index in arguments}
        changed = self._overwriting(code, last, overwriting)
        kept = [function for (_, function, _), (_, other, _) in zip(code, changed, strict=True) if function is other]
        return len(kept) == 1 and kept[0] in overwriting

    def _overwriting(
        self, code: Sequence[_Bound], last: Mapping[int, int], overwriting: Overwriting
    ) -> list[_Bound]:
        """The code with those steps changed that overwrite a value of an earlier step."""
        varies, own = set(range(len(self.inputs))), set[int]()
        changed = []
        for slot, function, arguments in code:
            varying = [place for place, index in enumerate(arguments) if index in varies]
            ways = overwriting.get(function)
            if varying:
                varies.add(slot)
            if ways and varying:
                own.add(slot)
            if ways and len(varying) == 1 and arguments[varying[0]] in own and last[arguments[varying[0]]] == slot:
                function = ways[varying[0]]
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
