"""A formula as a list of steps, which any of the arithmetics can carry out.

A comparison is always with a number, so that an arithmetic can decide it exactly.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
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


@dataclass(frozen=True)
class Program:
    """Registers hold the inputs (``u``, then the noise by name), then each step's value; the last is the result."""

    inputs: tuple[sp.Expr, ...]
    steps: tuple[Step, ...]

    def bind(self, arithmetic: Arithmetic) -> Callable[[Sequence[Any]], Any]:
        """The program in an arithmetic: from the inputs to the result."""
        template, code = self._bound(arithmetic)
        last = {index: slot for slot, _, arguments in code for index in arguments}
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

    def trace(self, arithmetic: Arithmetic, inputs: Sequence[Any]) -> list[Any]:
        """All registers."""
        registers, code = self._bound(arithmetic)
        registers[: len(self.inputs)] = inputs
        for slot, function, arguments in code:
            registers[slot] = function(*[registers[index] for index in arguments])
        return registers

    def _bound(self, arithmetic: Arithmetic) -> tuple[list[Any], list[tuple[int, Callable[..., Any], tuple[int, ...]]]]:
        registers: list[Any] = [None] * (len(self.inputs) + len(self.steps))
        code = []
        for slot, step in enumerate(self.steps, len(self.inputs)):
            meaning = arithmetic(step.operation, step.setting)
            if step.operation == "number":
                registers[slot] = meaning
            else:
                code.append((slot, meaning, step.arguments))
        return registers, code
