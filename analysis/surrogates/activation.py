"""An activation: a forward phi(u), as one formula, with the torch operations that it stands for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

import sympy as sp
from sympy.stats.rv import random_symbols

from ..errors import Refused
from .formula import evaluation, sign
from .formula.calculus.rewriting import derivative
from .formula.parameters import checked, exact_decimals, merged
from .surrogate import Surrogate

if TYPE_CHECKING:
    import numpy as np
    import torch

Values = TypeVar("Values", "torch.Tensor", "np.ndarray[Any, Any]")


def no_parameters(*args: Any, **kwargs: Any) -> Mapping[str, Any]:
    """The parameters of a call that has none, whatever its arguments."""
    return {}


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
    parameters: Callable[..., Mapping[str, Any] | None] = no_parameters
    in_place: bool = False


@dataclass(frozen=True, repr=False)
class Activation:
    """A forward function phi(u), written once, and where torch computes it.

    Attributes:
        name: how the catalogue calls it.
        formula: SymPy expression in ``downslope.u`` and the symbols of ``parameters``.
        parameters: each parameter symbol with torch's default; a float means the decimal that it prints as.
        operations: the torch callables that compute it; ``untie`` finds an activation by these.
        source: author, year, equation.
        aliases: other names for it.

    Raises:
        TypeError: ``formula`` is not a SymPy expression.
        Refused: ``formula`` is random or holds a symbol that is neither ``downslope.u`` nor a parameter, or a
            parameter's value contradicts the assumptions of its symbol.

    >>> import sympy as sp, torch
    >>> from downslope import u
    >>> square = Activation("squared_relu", sp.Max(0, u) ** 2)
    >>> square(torch.tensor([-1.0, 3.0])), square.tied(torch.tensor([-1.0, 3.0]))
    (tensor([0., 9.]), tensor([0., 6.]))
    """

    name: str
    formula: sp.Expr
    parameters: Mapping[sp.Symbol, Any] = field(default_factory=dict)
    operations: tuple[Operation, ...] = ()
    source: str = ""
    aliases: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        owner = f"Activation({self.name!r}"
        if not isinstance(self.formula, sp.Expr):
            raise TypeError(
                f"{owner}, {self.formula!r}): the formula is a {type(self.formula).__name__}, not a SymPy expression: "
                f"write it with SymPy in the symbol downslope.u, e.g. sympy.tanh(downslope.u)."
            )
        if random_symbols(self.formula):
            raise Refused(f"{owner}, {self.formula}): a forward is not random; noise belongs to a Surrogate.")
        object.__setattr__(self, "formula", exact_decimals(self.formula))
        object.__setattr__(self, "parameters", checked(owner, self.formula, self.parameters))

    def __repr__(self) -> str:
        values = (f"{symbol}={value}" for symbol, value in self.parameters.items())
        return f"Activation({', '.join([repr(self.name), *values])})"

    def __reduce__(self) -> tuple[Any, ...]:
        from .activations import ACTIVATIONS

        # The catalogue's operations are torch functions beside lambdas, which do not pickle: they are found again.
        known = ACTIVATIONS.get(self.name)
        if known is not None and known.operations == self.operations:
            return _with_known_operations, (self.name, self.formula, self.parameters, self.source, self.aliases)
        return Activation, tuple(getattr(self, each.name) for each in fields(self))

    @property
    def latex(self) -> str:
        """The formula in LaTeX, parameters by name."""
        return str(sp.latex(self.formula))

    @cached_property
    def value(self) -> sp.Expr:
        """The formula with its parameters' values in: an expression in ``u`` alone."""
        return self.formula.subs(dict(self.parameters.items()))

    @property
    def tied(self) -> Surrogate:
        """The backward that belongs to this forward: its own derivative, 0 where torch takes 0 at a kink.

        A step has no derivative at its jump and 0 elsewhere: that 0 is what is given, without a Dirac delta.
        """
        return Surrogate(
            "tied",
            factor=derivative(self.formula),
            parameters=self.parameters,
            source=f"derivative of {self.name}",
            forward=self.name,
        )

    @cached_property
    def increasing(self) -> bool | None:
        """Whether phi never falls on the real line, as proved from its formula; ``None`` where we cannot tell."""
        return sign.increasing(self.value)

    def at(self, **values: Any) -> Activation:
        """The same activation with other parameter values, by name.

        Raises:
            Refused: no parameter has that name, or a value is not what the parameter is declared to be.
        """
        return replace(self, parameters=merged(self.name, self.parameters, values))

    def __call__(self, preactivation: Values) -> Values:
        """phi at each entry, in the dtype, device and shape of ``preactivation`` (torch tensor or NumPy array)."""
        values: Values = evaluation.evaluate(self.value, preactivation)
        return values


def _with_known_operations(
    name: str, formula: sp.Expr, parameters: Mapping[sp.Symbol, Any], source: str, aliases: tuple[str, ...]
) -> Activation:
    from .activations import ACTIVATIONS

    return Activation(name, formula, parameters, ACTIVATIONS[name].operations, source, aliases)
