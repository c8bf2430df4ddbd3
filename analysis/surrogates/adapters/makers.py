"""How ``apply`` is built from parameter values: one small frozen class for each shape in which libraries ship it.

They are classes and not closures, so that what is built from them pickles, copies, compiles and maps.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from ..activation import Activation
from ..surrogate import Surrogate
from .adapted import TensorFunction


@dataclass(frozen=True)
class Keyword:
    """``function(u, **parameters) -> y``: a plain function, a module, a closure."""

    function: TensorFunction

    def __call__(self, **parameters: Any) -> TensorFunction:
        """The function with its parameters bound."""
        return partial(self.function, **parameters) if parameters else self.function


@dataclass(frozen=True)
class Positional:
    """``Function.apply(u, *parameters)``: ``autograd.Function.apply`` takes no keywords."""

    function: type[torch.autograd.Function]
    names: tuple[str, ...]

    def __call__(self, **parameters: Any) -> TensorFunction:
        """``apply`` with its parameters in the order of the class's ``forward``."""
        return Applied(self.function, tuple(parameters[name] for name in self.names if name in parameters))


@dataclass(frozen=True)
class Applied:
    """``u -> Function.apply(u, *arguments)``."""

    function: type[torch.autograd.Function]
    arguments: tuple[Any, ...]

    def __call__(self, preactivation: torch.Tensor) -> Any:
        """y."""
        apply: TensorFunction = self.function.apply
        return apply(preactivation, *self.arguments)


@dataclass(frozen=True)
class Factory:
    """``factory(**parameters) -> (u -> y)``: a factory function, or a class whose objects are callable."""

    factory: Callable[..., TensorFunction]

    def __call__(self, **parameters: Any) -> TensorFunction:
        """What the factory builds."""
        return self.factory(**parameters)


@dataclass(frozen=True)
class ModuleObject:
    """A module that stands already: itself at its own parameters, built anew by its class at others."""

    module: torch.nn.Module
    own: tuple[tuple[str, Any], ...]
    fixed: tuple[tuple[str, Any], ...]

    def __call__(self, **parameters: Any) -> TensorFunction:
        """The module."""
        if parameters == dict(self.own):
            return self.module
        rebuilt = type(self.module)(**dict(self.fixed), **parameters)
        assert isinstance(rebuilt, torch.nn.Module)
        return rebuilt


@dataclass(frozen=True)
class FromFactor:
    """A declared forward over a factor ``psi(u, **parameters)``."""

    factor: TensorFunction
    forward: Activation | TensorFunction
    centre: float = 0.0

    def __call__(self, **parameters: Any) -> TensorFunction:
        """``apply`` whose backward multiplies by the factor."""
        return ForwardOverRule(Scaled(Keyword(self.factor)(**parameters)), self.forward, self.centre)


@dataclass(frozen=True)
class FromSurrogate:
    """A declared forward over a catalogue surrogate, whose parameters go by name."""

    surrogate: Surrogate
    forward: Activation | TensorFunction
    centre: float = 0.0

    def __call__(self, **parameters: Any) -> TensorFunction:
        """``apply`` whose backward multiplies by the surrogate's factor."""
        surrogate = self.surrogate.at(**parameters) if parameters else self.surrogate
        return ForwardOverRule(Scaled(surrogate), self.forward, self.centre)


@dataclass(frozen=True)
class FromRule:
    """A declared forward over a rule ``(ctx, grad_out, input, **parameters) -> grad_in``."""

    rule: TensorFunction
    forward: Activation | TensorFunction
    centre: float = 0.0

    def __call__(self, **parameters: Any) -> TensorFunction:
        """``apply`` whose backward is the rule."""
        return ForwardOverRule(Keyword(self.rule)(**parameters), self.forward, self.centre)


@dataclass(frozen=True)
class Scaled:
    """The rule that multiplies the upstream gradient by a factor of the preactivation."""

    factor: TensorFunction

    def __call__(self, ctx: Any, upstream: torch.Tensor, preactivation: torch.Tensor) -> torch.Tensor:
        """The gradient at the preactivation."""
        result = upstream * self.factor(preactivation)
        assert isinstance(result, torch.Tensor)
        return result


@dataclass(frozen=True)
class ForwardOverRule:
    """Forward over backward: y by the declared forward, the gradient by the rule."""

    rule: TensorFunction
    forward: Activation | TensorFunction
    centre: float = 0.0

    def __call__(self, preactivation: torch.Tensor) -> Any:
        """y."""
        apply: TensorFunction = ChosenBackward.apply
        return apply(preactivation, self)

    def value(self, preactivation: torch.Tensor) -> Any:
        """The forward alone."""
        if isinstance(self.forward, Activation):
            return self.forward(preactivation - self.centre)
        return self.forward(preactivation)


class ChosenBackward(torch.autograd.Function):
    """Forward and backward chosen separately; maps and differentiates again, as its rule does."""

    generate_vmap_rule = True

    @staticmethod
    def forward(preactivation: torch.Tensor, pair: ForwardOverRule) -> Any:
        """y by the forward."""
        return pair.value(preactivation)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        """Keeps the preactivation, by autograd's own means: a tensor put on ``ctx`` would break double backward."""
        preactivation, ctx.pair = inputs
        ctx.save_for_backward(preactivation)

    @staticmethod
    def backward(ctx: Any, *upstream: torch.Tensor) -> Any:
        """The gradient by the rule."""
        (preactivation,) = ctx.saved_tensors
        return ctx.pair.rule(ctx, upstream[0], preactivation), None


def numeric(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Those parameters that are numbers (flags are not)."""
    return {name: value for name, value in parameters.items() if type(value) in (int, float)}


def innermost(apply: Any) -> Any:
    """The user's own callable inside what a maker built."""
    while True:
        match apply:
            case partial():
                apply = apply.func
            case ForwardOverRule():
                apply = apply.rule
            case Scaled():
                apply = apply.factor
            case Applied():
                apply = apply.function
            case _:
                return apply
