"""A surrogate: the factor by which a backward pass multiplies the upstream gradient.

Two ideas meet in every activation of a network: the *forward* phi(u) and the *backward* psi(u, xi). In exact
backpropagation psi = phi'; a surrogate is any other choice of psi. It is written ONCE, as a SymPy expression in the
preactivation ``u``, in named parameters and, where it is random, in noise symbols of ``sympy.stats``; tensor code,
LaTeX, the sign and the profile all come from that expression.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

import sympy as sp
from sympy.stats.rv import RandomSymbol, random_symbols

from ..errors import Refused
from .formula import evaluation, noise, profile, sign
from .formula.parameters import checked, exact, exact_decimals, merged

if TYPE_CHECKING:
    import numpy as np
    import torch

__all__ = ["Surrogate", "exact"]

Values = TypeVar("Values", "torch.Tensor", "np.ndarray[Any, Any]")


@dataclass(frozen=True, repr=False)
class Surrogate:
    """A backward factor psi(u, xi), as one formula.

    Attributes:
        name: how the catalogue, tables and figures call it.
        factor: SymPy expression in ``downslope.u``, the symbols of ``parameters`` and random symbols (``sympy.stats``).
            A float in it means the decimal that it prints as.
        parameters: each parameter symbol with its default; a float means the decimal that it prints as.
        source: author, year, equation.
        aliases: other names for it in the field.
        forward: name of the activation that it is usually paired with; figures draw it over that forward.
        note: one sentence that a user of it should know.
        expected_failed_checks: ``{name: reason}`` of the conformance checks that it fails by design.

    Raises:
        TypeError: ``factor`` is not a SymPy expression.
        Refused: ``name`` is empty or no text, ``factor`` holds a symbol that is neither ``downslope.u`` nor a
            parameter nor random, or a parameter's value contradicts the assumptions of its symbol.

    >>> import sympy as sp, torch
    >>> from downslope import u
    >>> width = sp.Symbol("width", positive=True)
    >>> tent = Surrogate("tent", factor=sp.Max(0, 1 - sp.Abs(u) / width), parameters={width: 2})
    >>> tent
    Surrogate('tent', width=2)
    >>> tent(torch.tensor([-3.0, 0.0, 1.0]))
    tensor([0.0000, 1.0000, 0.5000])
    >>> tent.at(width=4)(torch.tensor([1.0]))
    tensor([0.7500])
    """

    name: str
    factor: sp.Expr
    parameters: Mapping[sp.Symbol, Any] = field(default_factory=dict)
    source: str = ""
    aliases: tuple[str, ...] = ()
    forward: str = "heaviside"
    note: str = ""
    expected_failed_checks: Mapping[str, str] = field(default_factory=dict, compare=False)

    def __post_init__(self) -> None:
        name: object = self.name  # what a caller without types may give
        if not isinstance(name, str) or not name.strip():
            raise Refused(
                f"Surrogate(name={self.name!r}): tables and figures need a name; give a text that is not empty."
            )
        if not isinstance(self.factor, sp.Expr):
            raise TypeError(
                f"Surrogate(factor={self.factor!r}) is a {type(self.factor).__name__}, not a SymPy expression: write "
                f"the backward factor with SymPy in the symbol downslope.u, e.g. 1 / (1 + sympy.Abs(downslope.u)) ** 2."
            )
        object.__setattr__(self, "factor", exact_decimals(self.factor))
        parameters = checked(f"Surrogate({self.name!r}", self.factor, self.parameters)
        object.__setattr__(self, "parameters", parameters)
        object.__setattr__(self, "aliases", tuple(self.aliases))

    def __repr__(self) -> str:
        values = (f"{symbol}={value}" for symbol, value in self.parameters.items())
        return f"Surrogate({', '.join([repr(self.name), *values])})"

    def __reduce__(self) -> tuple[Any, ...]:
        # What is derived from the fields is derived again, not carried along.
        return Surrogate, tuple(getattr(self, each.name) for each in fields(self))

    @cached_property
    def formula(self) -> sp.Expr:
        """The factor with its parameters' values in: an expression in ``u`` and noise alone."""
        return self.factor.subs(dict(self.parameters.items()))

    @property
    def noise(self) -> tuple[RandomSymbol, ...]:
        """The random symbols, by name."""
        return tuple(sorted(random_symbols(self.formula), key=lambda symbol: str(symbol.name)))

    @property
    def random(self) -> bool:
        """Whether psi is random given ``u``."""
        return bool(self.noise)

    @property
    def latex(self) -> str:
        """The factor in LaTeX, parameters by name."""
        return str(sp.latex(self.factor))

    @cached_property
    def sign(self) -> sign.SignProof:
        """Strict, weak, indefinite or cannot tell, with the steps or the witness."""
        return sign.prove(self.formula)

    @cached_property
    def profile(self) -> profile.Profile:
        """Supremum, support, integral over the line, symmetry, Lipschitz constant; of the mean where psi is random."""
        return profile.of(self.formula)

    @cached_property
    def mean(self) -> sp.Expr:
        """E psi(u, xi) over the noise, an expression in ``u``; the formula itself where psi is not random.

        Raises:
            Refused: it has no closed form that we can be sure to find.
        """
        return noise.mean(self.formula)

    @cached_property
    def variance(self) -> sp.Expr:
        """Var psi(u, xi) over the noise, an expression in ``u``; zero where psi is not random.

        Raises:
            Refused: as for ``mean``.
        """
        return noise.variance(self.formula)

    def at(self, **values: Any) -> Surrogate:
        """The same surrogate with other parameter values, by name.

        Raises:
            Refused: no parameter has that name, or a value is not what the parameter is declared to be.
        """
        return replace(self, parameters=merged(self.name, self.parameters, values))

    def __call__(self, preactivation: Values, *, generator: torch.Generator | None = None) -> Values:
        """psi at each entry, in the dtype, device and shape of ``preactivation`` (torch tensor or NumPy array).

        Finite for every finite entry; saturates instead of overflowing. Differentiable in torch. Noise is drawn
        independently for each entry from ``generator`` (torch's default generator where it is ``None``).
        """
        values: Values = evaluation.evaluate(self.formula, preactivation, generator=generator)
        return values
