"""The three doors: `adapt` for what differentiates itself, `adapt_factor` for a multiplier, `adapt_rule` for a rule."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import sympy as sp
import torch
from sympy.stats.rv import random_symbols

from ...errors import Refused
from .. import lookup
from ..activation import Activation
from ..surrogate import Surrogate, exact
from ..symbols import u
from .adapted import Adapted, Maker, TensorFunction
from .makers import Factory, FromFactor, FromRule, FromSurrogate, Keyword, ModuleObject, Positional, numeric

Forward = str | Activation | TensorFunction | None


def adapt(
    apply: Any,
    *,
    forward: Forward = None,
    centre: float = 0.0,
    formula: sp.Expr | Surrogate | None = None,
    primitive: TensorFunction | None = None,
    random: bool | None = None,
    parameters: Mapping[str, Any] | None = None,
    expected_failed_checks: Mapping[str, str] | None = None,
    name: str | None = None,
) -> Adapted:
    """Any differentiable callable tensor -> tensor, with what is declared of it.

    Args:
        apply: a function, closure or module ``u -> y``; an ``autograd.Function`` class or its ``.apply``; a factory
            (whatever needs no positional argument, such as ``snntorch.surrogate.sigmoid`` or a module's class), which
            is called with its parameters; a `Surrogate`, taken over its own forward; an `Activation`,
            taken over its own derivative; an `Adapted`, kept as it is.
            Where ``y`` is a tuple, its first tensor counts.
        forward: the forward that it is meant to compute: a catalogue name or `Activation`, taken at ``u - centre``, or
            a callable of ``u``.
        centre: the threshold, in the units of the preactivation.
        formula: the backward factor that its documentation gives: a SymPy expression in ``downslope.u`` (the
            preactivation itself, not its distance from ``centre``) and symbols named like ``parameters``.
        primitive: a differentiable function whose derivative the backward is meant to be.
        random: whether the backward draws; left out, it is found out and not judged.
        parameters: values by name, passed on as keywords (``autograd.Function``: by position); a factory's or module's
            numeric defaults where it is left out.
        expected_failed_checks: checks that it fails by design, each with the reason.
        name: how records call it; its own qualified name where it is left out.

    Raises:
        Refused: ``forward`` is no activation's name, ``formula`` is no SymPy expression or holds an unknown symbol.
            What ``apply`` itself gets wrong is for the checks to record: nothing is called here but a factory, later.

    >>> import torch, downslope as ds
    >>> f = ds.adapt(torch.nn.functional.hardtanh, forward="hardtanh", parameters={"max_val": 1.0})
    >>> f(torch.tensor([0.5, 3.0]))
    tensor([0.5000, 1.0000])
    """
    if isinstance(apply, Adapted):
        base = apply
    elif isinstance(apply, Surrogate):
        base = _of_surrogate(apply, apply.forward)
    elif isinstance(apply, Activation):
        base = _of_surrogate(apply.tied, apply)
    else:
        maker, found = _maker(apply, parameters)
        base = Adapted(_name(apply), apply, maker, found)
    given: dict[str, Any] = {}
    if parameters is not None:
        given["parameters"] = dict(parameters)
    if forward is not None:
        given["forward"] = _forward(forward)
    if formula is not None:
        given["formula"] = _formula(formula, given.get("parameters", base.parameters))
    optional = {"primitive": primitive, "random": random, "name": name}
    given |= {key: value for key, value in optional.items() if value is not None}
    if centre:
        given["centre"] = float(centre)
    if expected_failed_checks:
        given["expected_failed_checks"] = dict(expected_failed_checks)
    return replace(base, **given)


def adapt_factor(
    factor: TensorFunction,
    *,
    forward: str | Activation | TensorFunction,
    centre: float = 0.0,
    parameters: Mapping[str, Any] | None = None,
    **declared: Any,
) -> Adapted:
    """A multiplier ``psi(u, **parameters)``, put over a forward: ``grad_in = grad_out * psi(u)``.

    Args:
        factor: ``u -> psi``, both of one shape; sinabs' ``(v, threshold) -> factor`` with its threshold bound.
        forward: as in `adapt`; here it is also what the forward computes.
        centre: as in `adapt`.
        parameters: values by name, passed on as keywords.
        **declared: ``formula``, ``primitive``, ``random``, ``expected_failed_checks``, ``name``, as in `adapt`.

    >>> import torch, downslope as ds
    >>> f = ds.adapt_factor(lambda u, k: 1 / (1 + k * u.abs()) ** 2, forward="heaviside", parameters={"k": 1})
    >>> u = torch.tensor([1.0], requires_grad=True)
    >>> torch.autograd.grad(f(u).sum(), u)[0]
    tensor([0.2500])
    """
    chosen = _forward(forward)
    base = Adapted(_name(factor), factor, FromFactor(factor, chosen, centre), dict(parameters or {}))
    return adapt(base, forward=chosen, centre=centre, **declared)


def adapt_rule(
    rule: TensorFunction,
    *,
    forward: str | Activation | TensorFunction,
    centre: float = 0.0,
    parameters: Mapping[str, Any] | None = None,
    **declared: Any,
) -> Adapted:
    """A rule ``(ctx, grad_out, input, **parameters) -> grad_in`` (freegrad's shape), put over a forward.

    Args:
        rule: gets autograd's own ``ctx``, the upstream gradient and the preactivation.
        forward: as in `adapt`; here it is also what the forward computes.
        centre: as in `adapt`.
        parameters: values by name, passed on as keywords.
        **declared: ``formula``, ``primitive``, ``random``, ``expected_failed_checks``, ``name``, as in `adapt`.

    >>> import torch, downslope as ds
    >>> f = ds.adapt_rule(lambda ctx, grad_out, tin: grad_out * (tin.abs() < 1), forward="sign")
    >>> u = torch.tensor([-3.0, 0.5], requires_grad=True)
    >>> torch.autograd.grad(f(u).sum(), u)[0]
    tensor([0., 1.])
    """
    chosen = _forward(forward)
    base = Adapted(_name(rule), rule, FromRule(rule, chosen, centre), dict(parameters or {}))
    return adapt(base, forward=chosen, centre=centre, **declared)


def _of_surrogate(surrogate: Surrogate, over: str | Activation) -> Adapted:
    forward = _forward(over)
    values = {str(symbol): value for symbol, value in surrogate.parameters.items()}
    return Adapted(
        surrogate.name,
        surrogate,
        FromSurrogate(surrogate, forward),
        parameters=values,
        forward=forward,
        centre=float(values.get("centre", 0)),
        formula=surrogate.formula,
        random=surrogate.random,
        expected_failed_checks=dict(surrogate.expected_failed_checks),
    )


def _maker(apply: Any, parameters: Mapping[str, Any] | None) -> tuple[Maker, dict[str, Any]]:
    """How to build ``apply`` from parameter values, and the values that it declares by itself."""
    own = getattr(apply, "__self__", None)
    function = own if isinstance(own, type) and getattr(apply, "__name__", "") == "apply" else apply
    if isinstance(function, type) and issubclass(function, torch.autograd.Function):
        return Positional(function, _places(function, parameters or {})), {}
    if isinstance(apply, torch.nn.Module):
        held = _held(apply)
        declared = {name: held[name] for name in numeric(held) if parameters is None or name in parameters}
        if parameters is not None and declared.keys() != parameters.keys():
            return Keyword(apply), {}
        fixed = tuple((name, value) for name, value in held.items() if name not in declared)
        return ModuleObject(apply, tuple(declared.items()), fixed), declared
    defaults = _defaults(apply)
    if defaults is None:
        return (Factory(apply) if isinstance(apply, type) else Keyword(apply)), {}
    return Factory(apply), numeric(defaults)


def _places(function: type[torch.autograd.Function], parameters: Mapping[str, Any]) -> tuple[str, ...]:
    """Names of the arguments of ``forward`` after the preactivation; ``ctx`` leads without a ``setup_context``."""
    names = list(inspect.signature(function.forward).parameters)
    leads = 1 if function.setup_context is torch.autograd.Function.setup_context else 0
    places = tuple(names[leads + 1 :])
    if set(places[: len(parameters)]) != set(parameters):
        raise Refused(
            f"parameters={dict(parameters)!r}: {function.__qualname__}.forward takes {', '.join(places) or 'nothing'} "
            f"after the preactivation, and apply passes them by position: name them from the first on."
        )
    return places


def _defaults(apply: Any) -> dict[str, Any] | None:
    """The default of each parameter of a factory; ``None`` for what takes a positional argument, so is no factory."""
    try:
        signature = inspect.signature(apply).parameters.values()
    except (TypeError, ValueError):
        return None
    catches_all = [p for p in signature if p.kind is p.VAR_POSITIONAL]
    named = [p for p in signature if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    if catches_all or any(p.default is p.empty for p in named):
        return None
    return {p.name: p.default for p in named}


def _held(module: torch.nn.Module) -> dict[str, Any]:
    """What a module's constructor was given, where each argument is also an attribute; else empty."""
    defaults = _defaults(type(module)) or {}
    return {name: getattr(module, name) for name in defaults} if all(hasattr(module, n) for n in defaults) else {}


def _forward(forward: Forward) -> Any:
    if isinstance(forward, str | Activation):
        # Where torch computes it is of no use here, and need not travel with a pickled surrogate.
        return replace(lookup.activation(forward), operations=())
    if forward is not None and not callable(forward):
        raise Refused(
            f"forward={forward!r} is a {type(forward).__name__}: give an activation's name, such as 'heaviside', "
            f"an Activation, or a callable tensor -> tensor."
        )
    return forward


def _formula(formula: Any, parameters: Mapping[str, Any]) -> sp.Expr:
    if isinstance(formula, Surrogate):
        return formula.formula
    if not isinstance(formula, sp.Expr):
        raise Refused(
            f"formula={formula!r} is a {type(formula).__name__}, not a SymPy expression: write the documented factor "
            f"in the symbol downslope.u, e.g. 1 / (1 + sympy.Abs(downslope.u)) ** 2."
        )
    drawn = random_symbols(formula)
    symbols = formula.free_symbols - {u} - set(drawn) - {atom.symbol for atom in drawn}
    values = {symbol: exact(parameters[str(symbol)]) for symbol in symbols if str(symbol) in parameters}
    strangers = sorted(str(symbol) for symbol in symbols - set(values))
    if strangers:
        raise Refused(
            f"formula={formula}: {', '.join(strangers)} is neither downslope.u nor named in parameters. "
            f"Use the symbol downslope.u for the preactivation and give each other symbol a value in parameters."
        )
    return formula.subs(values)


def _name(value: Any) -> str:
    own = getattr(value, "__self__", None)
    if isinstance(own, type) and getattr(value, "__name__", "") == "apply":
        return own.__qualname__
    while hasattr(value, "func"):
        value = value.func
    name = getattr(value, "__qualname__", None) or type(value).__qualname__
    return str(name).replace("<locals>.", "")
