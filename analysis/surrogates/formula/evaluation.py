"""Values of a formula at tensors and arrays, differentiable to any order.

What is computed is decided once per formula and dtype (`plans.choose`); here stand only the tensors' concerns: dtype,
noise, derivatives and transforms. The derivative of a formula is the symbolic one, evaluated in the same way, so no
derivative passes through the arithmetic.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import sympy as sp
import torch
from sympy.stats.rv import RandomSymbol
from torch.autograd import forward_ad

from ...errors import Refused
from .calculus.rewriting import derivative
from .numerics.draws import draw
from .numerics.plans import choose
from .numerics.window import multiplier
from .steps.writer import noise_of

# Looked up once: at a small tensor the way to a function costs as much as the function.
_batched = torch._C._functorch.is_legacy_batchedtensor
_transforming = torch._C._are_functorch_transforms_active
_recording = torch.is_grad_enabled
_compiling = torch.compiler.is_compiling

_DTYPES = (torch.float64, torch.float32, torch.bfloat16, torch.float16)


def evaluate(formula: sp.Expr, preactivation: Any, *, generator: torch.Generator | None = None) -> Any:
    """The formula at each entry, in the dtype, device and shape of ``preactivation``.

    At the entry as it is stored, a value is within about three units in the last place in float64, two in float32, and
    rightly rounded in bfloat16 and float16, or off by less than the dtype's smallest normal number. Finite for every
    finite entry: beyond the largest number it saturates, at a hole it is the limit. At an infinity it is the limit, NaN
    where there is none; NaN at NaN.

    Args:
        formula: in ``downslope.u`` and random symbols.
        preactivation: torch tensor (float64, float32, bfloat16 or float16) or NumPy array (float64, float32, float16).
        generator: of the noise, drawn for each entry; torch's default generator where ``None``.

    Raises:
        Refused: the dtype is not one of these, or the formula holds what cannot be evaluated or drawn, or it has no
            real value somewhere on the line.

    >>> import sympy as sp
    >>> from downslope import u
    >>> evaluate(sp.exp(-u) / (1 + sp.exp(-u)) ** 2, torch.tensor([-1e30, 0.0, 1.0]))
    tensor([0.0000, 0.2500, 0.1966])
    """
    if isinstance(preactivation, np.ndarray | np.generic):
        given = np.asarray(preactivation)
        native_dtype = given.dtype.newbyteorder("=")
        if native_dtype not in (np.float64, np.float32, np.float16):
            raise Refused(f"preactivation has dtype {given.dtype}: use float64, float32 or float16.")
        native = np.ascontiguousarray(given, dtype=native_dtype).reshape(given.shape)
        # from_numpy warns of arrays that cannot be written to; a copy is cheap beside what follows.
        tensor = torch.from_numpy(native if native.flags.writeable else native.copy())
        return evaluate(formula, tensor, generator=generator).numpy()
    if not isinstance(preactivation, torch.Tensor):
        raise Refused(
            f"preactivation={preactivation!r} is a {type(preactivation).__name__}: give a torch tensor or NumPy array."
        )
    if preactivation.dtype not in _DTYPES:
        raise Refused(f"preactivation has dtype {preactivation.dtype}: use float64, float32, bfloat16 or float16.")
    if preactivation.layout != torch.strided:
        raise Refused(f"preactivation has layout {preactivation.layout}: a formula is not 0 where nothing is stored.")
    noise: tuple[torch.Tensor, ...] = ()
    if symbols := noise_of(formula):
        drawn = _Noise.apply if _transformed() else _drawn
        noise = drawn(preactivation, symbols, generator)
    return _value(formula, preactivation, noise)


def product(
    formula: sp.Expr, preactivation: torch.Tensor, upstream: torch.Tensor, *, generator: torch.Generator | None = None
) -> torch.Tensor:
    """The upstream gradient times the formula, in the preactivation's dtype: one pass where nothing is differentiated.

    Args:
        formula: as in `evaluate`.
        preactivation: a tensor.
        upstream: a tensor that broadcasts with it.
        generator: as in `evaluate`.

    Raises:
        Refused: as in `evaluate`.
    """
    if not at_once(preactivation, upstream):
        factor: torch.Tensor = evaluate(formula, preactivation, generator=generator)
        return (upstream * factor).to(preactivation.dtype)
    if noise := noise_of(formula):
        return choose(formula, preactivation.dtype).plan.times(
            upstream, preactivation, *_drawn(preactivation, noise, generator)
        )
    return multiplier(formula, preactivation.dtype)(preactivation, upstream)


def at_once(tensor: torch.Tensor, upstream: torch.Tensor) -> bool:
    """Whether an upstream gradient is alike a tensor, and nothing is recorded or batched: then it may be worked on in
    place. A batched backward (is_grads_batched) is no transform of ``torch.func``, and forbids that all the same.
    """
    dtype = tensor.dtype
    return (
        upstream.dtype is dtype
        and dtype in _DTYPES
        and upstream.shape == tensor.shape
        and not (_recording() or _batched(upstream) or _transformed())
    )


def _transformed() -> bool:
    """Whether a transform of ``torch.func``, forward mode or the compiler is at work."""
    level: int = forward_ad._current_level
    return level >= 0 or _transforming() or _compiling()


def _drawn(
    u: torch.Tensor, symbols: Sequence[RandomSymbol], generator: torch.Generator | None
) -> tuple[torch.Tensor, ...]:
    return tuple(draw(symbol, u.shape, u.device, generator) for symbol in symbols)


def _value(formula: sp.Expr, u: torch.Tensor, noise: Sequence[torch.Tensor]) -> torch.Tensor:
    if torch.compiler.is_compiling():
        # A plan is chosen by running it: the compiler is to take the values, and not to trace the choice.
        return _uncompiled(formula, u, noise)
    recorded = u.requires_grad and torch.is_grad_enabled()
    if recorded or forward_ad._current_level >= 0 or torch._C._are_functorch_transforms_active():
        return _Value.apply(formula, u, *noise)  # type: ignore[no-any-return, no-untyped-call]
    return choose(formula, u.dtype).plan(u.detach(), *noise)


# Loads the compiler only where something is compiled, as torch's own optimizers do.
_uncompiled = torch._disable_dynamo(lambda formula, u, noise: _value(formula, u, noise))  # type: ignore[attr-defined]


class _Noise(torch.autograd.Function):
    """Draws for each entry of a tensor. Under vmap it sees the whole batch, and draws for each entry of that."""

    @staticmethod
    def forward(
        u: torch.Tensor, symbols: Sequence[RandomSymbol], generator: torch.Generator | None
    ) -> tuple[torch.Tensor, ...]:
        """The draws, float64, by the symbols' order."""
        return _drawn(u, symbols, generator)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[torch.Tensor, ...]) -> None:
        """Noise does not depend on the preactivation."""
        ctx.count = len(output)
        ctx.mark_non_differentiable(*output)

    @staticmethod
    def backward(ctx: Any, *upstream: torch.Tensor) -> Any:
        """Nothing to pass on."""
        return None, None, None

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> Any:
        """No tangent."""
        return (None,) * ctx.count

    @staticmethod
    def vmap(
        info: Any,
        in_dims: tuple[int | None, ...],
        u: torch.Tensor,
        symbols: Sequence[RandomSymbol],
        generator: torch.Generator | None,
    ) -> Any:
        """For the whole batch."""
        drawn = _Noise.apply(u, symbols, generator)  # type: ignore[no-untyped-call]
        return drawn, tuple(in_dims[0] for _ in drawn)


class _Value(torch.autograd.Function):
    """The formula; its derivative is the formula's derivative, at the same draw."""

    @staticmethod
    def forward(formula: sp.Expr, u: torch.Tensor, *noise: torch.Tensor) -> torch.Tensor:
        """By the plan for its dtype."""
        return choose(formula, u.dtype).plan(u, *noise)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: torch.Tensor) -> None:
        """Keeps u and the draw."""
        ctx.formula, *kept = inputs
        ctx.save_for_backward(*kept)
        ctx.save_for_forward(*kept)

    @staticmethod
    def backward(ctx: Any, upstream: torch.Tensor) -> Any:
        """The upstream gradient times the derivative."""
        return None, upstream * _slope(ctx), *(None for _ in noise_of(ctx.formula))

    @staticmethod
    def jvp(ctx: Any, _formula: Any, tangent: torch.Tensor | None, *_noise: Any) -> Any:
        """The tangent times the derivative."""
        return None if tangent is None else tangent * _slope(ctx)

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, ...], formula: sp.Expr, *tensors: torch.Tensor) -> Any:
        """Elementwise, so the batch is one more dimension, put in front."""
        fronted = [
            tensor.expand(info.batch_size, *tensor.shape) if dim is None else tensor.movedim(dim, 0)
            for tensor, dim in zip(tensors, in_dims[1:], strict=True)
        ]
        return _value(formula, fronted[0], fronted[1:]), 0


def _slope(ctx: Any) -> torch.Tensor:
    """The derivative at the same preactivation and draws, of which it may need fewer."""
    u, *noise = ctx.saved_tensors
    drawn = dict(zip(noise_of(ctx.formula), noise, strict=True))
    slope = derivative(ctx.formula)
    return _value(slope, u, [drawn[symbol] for symbol in noise_of(slope)])
