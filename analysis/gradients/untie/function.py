"""The one autograd function of the project: the value of an activation with another derivative.

It works under every transform of ``torch.func``: explicit ``setup_context``, ``vmap`` and ``jvp``; its backward is
differentiable through psi's own derivative.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from ...errors import Refused
from .factor import Backward

Native = Callable[[torch.Tensor, torch.Tensor | None], torch.Tensor]

# Saved beside the preactivation. A checkpoint that recomputes the forward natively would put the activation's OUTPUT
# where the preactivation was; it meets a missing or misshapen tensor here instead, and that cannot pass in silence.
_MARK = torch.empty(0, dtype=torch.bool)


class Replaced(torch.autograd.Function):
    """forward: the native operation, bit for bit. Backward and tangent: times psi(u)."""

    @staticmethod
    def forward(
        preactivation: torch.Tensor, second: torch.Tensor | None, mark: torch.Tensor, native: Native, backward: Backward
    ) -> torch.Tensor:
        """The activation itself."""
        return native(preactivation, second)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: torch.Tensor) -> None:
        """Keeps u for the factors that depend on it."""
        preactivation, _, mark, _, ctx.rule = inputs
        saved = (mark, preactivation) if ctx.rule.needs_preactivation else (mark,)
        ctx.save_for_backward(*saved)
        ctx.save_for_forward(*saved)

    @staticmethod
    def backward(ctx: Any, upstream: torch.Tensor) -> Any:
        """(g psi(u), g): the second input, where there is one, is the value itself."""
        gradient = ctx.rule(upstream, _preactivation(ctx))
        return gradient, upstream if ctx.needs_input_grad[1] else None, None, None, None

    @staticmethod
    def jvp(ctx: Any, tangent: torch.Tensor | None, second: torch.Tensor | None, *_: Any) -> Any:
        """The tangent times psi(u), plus that of the second input."""
        moved = None if tangent is None else ctx.rule(tangent, _preactivation(ctx))
        if moved is None or second is None:
            return second if moved is None else moved
        return moved + second

    @staticmethod
    def vmap(
        info: Any,
        in_dims: tuple[int | None, ...],
        preactivation: torch.Tensor,
        second: torch.Tensor | None,
        mark: torch.Tensor,
        native: Native,
        backward: Backward,
    ) -> tuple[torch.Tensor, int]:
        """Elementwise, so the batch is one more dimension, put in front."""
        u = _front(preactivation, in_dims[0], info.batch_size)
        if second is not None and in_dims[1] is not None:
            second = second.movedim(in_dims[1], 0)
            second = second.reshape(second.shape[0], *(1,) * (u.ndim - second.ndim), *second.shape[1:])
        return apply(u, second, native, backward), 0


def apply(preactivation: torch.Tensor, second: torch.Tensor | None, native: Native, backward: Backward) -> torch.Tensor:
    """`Replaced` at these arguments."""
    if torch._C._are_functorch_transforms_active():
        return Replaced.apply(preactivation, second, _MARK, native, backward)  # type: ignore[no-any-return, no-untyped-call]
    # Function.apply would first bind the arguments to forward's signature, which takes four times as long as the rest.
    preactivation = torch._C._functorch.unwrap_if_dead(preactivation)
    return super(torch.autograd.Function, Replaced).apply(preactivation, second, _MARK, native, backward)  # type: ignore


def _front(tensor: torch.Tensor, dim: int | None, size: int) -> torch.Tensor:
    return tensor.expand(size, *tensor.shape) if dim is None else tensor.movedim(dim, 0)


def _preactivation(ctx: Any) -> torch.Tensor | None:
    mark, *rest = ctx.saved_tensors
    if mark.dtype != torch.bool or mark.shape != (0,):
        raise Refused(
            "backward: a checkpoint recomputed the forward natively, outside the `with untie(...)` block. Keep the "
            "backward inside the block."
        )
    return rest[0] if rest else None
