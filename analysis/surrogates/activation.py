"""An activation: a forward phi(u), as one formula, with the torch operations that it stands for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import sympy as sp

from .surrogate import Surrogate
from .symbols import u


@dataclass(frozen=True)
class Operation:
    """One torch callable that computes an activation.

    Attributes:
        function: as it reaches ``__torch_function__``, e.g. ``torch.nn.functional.relu`` or ``torch.Tensor.relu_``.
        parameters: maps the call's ``(args, kwargs)`` after the input to the activation's parameter values by name,
            or ``None`` where this call is not this activation (``gelu(approximate="tanh")`` is not ``gelu``).
        in_place: whether the call overwrites its input (given its arguments, for ``F.relu(x, inplace=True)``).
    """

    function: Callable[..., Any]
    parameters: Callable[..., Mapping[str, Any] | None] = lambda *args, **kwargs: {}
    in_place: bool = False


@dataclass(frozen=True)
class Activation:
    """A forward function phi(u), written once, and where torch computes it.

    Attributes:
        name: how the catalogue calls it.
        formula: SymPy expression in ``downslope.u`` and the symbols of ``parameters``.
        parameters: each parameter symbol with torch's default.
        operations: the torch callables that compute it; ``untie`` finds an activation by these.
        source: author, year, equation.
        aliases: other names for it.
    """

    name: str
    formula: sp.Expr
    parameters: Mapping[sp.Symbol, Any] = field(default_factory=dict)
    operations: tuple[Operation, ...] = ()
    source: str = ""
    aliases: tuple[str, ...] = ()

    @property
    def tied(self) -> Surrogate:
        """The backward that belongs to this forward: its own derivative, 0 where torch takes 0 at a kink."""
        return Surrogate(
            "tied",
            factor=sp.diff(self.formula, u),
            parameters=self.parameters,
            source=f"derivative of {self.name}",
            forward=self.name,
        )
