"""Anyone's surrogate as one noun: how to call it, and what is declared of it.

Two ideas: the *maker* builds the differentiable ``apply(u) -> y`` from parameter values, so that a check can ask
whether a parameter matters; the *declarations* say what ``apply`` is meant to be: its forward, its threshold, its
formula. A declaration left out is not checked; one that is given is checked in both directions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import sympy as sp
import torch

from ..activation import Activation

TensorFunction = Callable[..., Any]
Maker = Callable[..., TensorFunction]


@dataclass(frozen=True)
class Adapted:
    """A differentiable callable tensor -> tensor with a backward of its own, and what is declared of it.

    Attributes:
        name: how records, tables and test ids call it.
        target: the object as it was given; ``pickle`` and ``deepcopy`` are asked of this one.
        maker: builds ``apply`` from parameter values, given by name.
        parameters: each declared parameter with its value.
        forward: the forward that ``apply`` is meant to compute: an `Activation`, taken at ``u - centre``, or a callable
            of ``u`` itself; ``None`` where nothing is declared.
        centre: the threshold, in the units of the preactivation.
        formula: the documented backward factor, a SymPy expression in ``downslope.u``; ``None`` where undeclared.
        primitive: a differentiable function whose derivative the backward is meant to be; ``None`` where undeclared.
        random: whether the backward draws; ``None`` where undeclared.
        expected_failed_checks: checks that fail by design, each with the reason.
        recipe: Python that builds an equal object under the name ``f``, for counterexamples that a reader can paste
            (``surrogate`` in it is the object that was given).
    """

    name: str
    target: Any = field(repr=False)
    maker: Maker = field(repr=False)
    parameters: Mapping[str, Any] = field(default_factory=dict)
    forward: Activation | TensorFunction | None = None
    centre: float = 0.0
    formula: sp.Expr | None = None
    primitive: TensorFunction | None = None
    random: bool | None = None
    expected_failed_checks: Mapping[str, str] = field(default_factory=dict)
    recipe: str = "import downslope as ds; f = ds.adapt(surrogate)"

    @cached_property
    def apply(self) -> TensorFunction:
        """The differentiable callable, built with the declared parameter values."""
        return self.maker(**self.parameters)

    def at(self, **values: Any) -> TensorFunction:
        """``apply`` built with other parameter values, by name; those not named keep theirs."""
        return self.maker(**{**self.parameters, **values})

    def __call__(self, preactivation: torch.Tensor) -> Any:
        """``apply(u)``; where it returns a tuple or a list, its first tensor (quantisers return their scale too).

        >>> import torch, downslope as ds
        >>> f = ds.adapt(ds.SURROGATES["triangle"])
        >>> u = torch.tensor([-2.0, 0.5], requires_grad=True)
        >>> y = f(u)
        >>> y.detach(), torch.autograd.grad(y.sum(), u)[0]
        (tensor([0., 1.]), tensor([0.0000, 0.5000]))
        """
        return first_tensor(self.apply(preactivation))

    def expected_forward(self, preactivation: torch.Tensor) -> torch.Tensor | None:
        """What the declared forward gives at ``u``, or ``None`` where no forward is declared."""
        if self.forward is None:
            return None
        if isinstance(self.forward, Activation):
            return self.forward(preactivation - self.centre)
        result = self.forward(preactivation)
        assert isinstance(result, torch.Tensor)
        return result


def first_tensor(result: Any) -> Any:
    """The first tensor of a tuple or list; anything else as it is."""
    if isinstance(result, tuple | list):
        return next((part for part in result if isinstance(part, torch.Tensor)), result)
    return result
