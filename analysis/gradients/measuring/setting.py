"""A model, its loss and one batch: the loss and its exact gradient, at the model's own parameters or at others."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ...errors import Refused
from ..inputs import check, scalar
from ..untie.matching import TIED
from ..untie.running import Watch
from ..untie.untied import untie

Loss = Callable[[Any, Any], Tensor]
Gradients = Sequence[Tensor | None]


@dataclass(frozen=True)
class Setting:
    """What a gradient is taken of.

    Attributes:
        model: any module.
        loss: ``loss(model(x), y)``, a scalar tensor.
        x: the inputs; a tuple is unpacked, a mapping is given by name.
        y: the targets.
        names: of the trained parameters, as in ``named_parameters``.
        parameters: the trained parameters, in that order.
        caller: the function that the user called, as its messages name it.
    """

    model: nn.Module
    loss: Loss
    x: Any
    y: Any
    names: tuple[str, ...]
    parameters: tuple[nn.Parameter, ...]
    caller: str

    @classmethod
    def of(cls, model: nn.Module, loss: Loss, batch: Any, caller: str) -> Setting:
        """Checks what can be checked before the model runs.

        Raises:
            Refused: ``model`` is no module or ``loss`` no function; the batch is no pair, empty or not finite; a weight
                or buffer is not finite; no parameter is trained; the model is inside an open `untie` block; torch is in
                inference mode.
        """
        if not isinstance(model, nn.Module):
            raise Refused(f"{caller}(model=...): a {type(model).__name__} is no torch.nn.Module.")
        if not callable(loss):
            raise Refused(f"{caller}(loss=...): a {type(loss).__name__} cannot be called as loss(model(x), y).")
        if _open(model):
            raise Refused(
                f"{caller}(model=...): the model is inside an open `with untie(...)` block, so its own gradient is not "
                f"the exact one. Call {caller} outside of the block, or on a copy of the model (copy.deepcopy)."
            )
        if torch.is_inference_mode_enabled():
            raise Refused(
                f"{caller}(model=...): called inside of torch.inference_mode(), where nothing has a gradient."
            )
        if held := [name for name, parameter in model.named_parameters() if parameter.is_inference()]:
            raise Refused(
                f"{caller}(model=...): the parameter {held[0]} was made inside of torch.inference_mode(), so it cannot "
                f"have a gradient. Make the model outside of it."
            )
        check(model, batch, caller)
        trained = [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]
        if not trained:
            raise Refused(f"{caller}(model=...): no parameter of the model requires a gradient.")
        names, parameters = zip(*trained, strict=True)
        return cls(model, loss, batch[0], batch[1], names, parameters, caller)

    @property
    def owned(self) -> list[nn.Parameter]:
        """Every parameter of the model, the frozen ones too."""
        return list(self.model.parameters())

    def output(self, at: Sequence[Tensor] | None = None, x: Any = None) -> Any:
        """The model's output; ``at`` are other values of the trained parameters, ``x`` other inputs."""
        x = self.x if x is None else x
        args: tuple[Any, ...] = () if isinstance(x, Mapping) else x if isinstance(x, tuple) else (x,)
        kwargs: dict[str, Any] = dict(x) if isinstance(x, Mapping) else {}
        if at is None:
            return self.model(*args, **kwargs)
        return torch.func.functional_call(self.model, dict(zip(self.names, at, strict=True)), args, kwargs)

    def value(self, at: Sequence[Tensor] | None = None) -> Tensor:
        """The loss, on its graph.

        Raises:
            Refused: it is no finite scalar.
        """
        return scalar(self.loss(self.output(at), self.y), self.caller)

    def gradient(self, value: Tensor, of: Sequence[Tensor] | None = None) -> list[Tensor | None]:
        """The gradient of a loss by the trained parameters, or by what stands in for them, in float64.

        Raises:
            Refused: the loss depends on no trained parameter.
        """
        if not value.requires_grad:
            raise Refused(
                f"{self.caller}(loss=...): the loss does not depend on any trained parameter, so it has no gradient."
            )
        by = list(self.parameters if of is None else of)
        found: Gradients = torch.autograd.grad(value, by, allow_unused=True)
        return [None if gradient is None else gradient.to(torch.float64) for gradient in found]

    def native(self, activations: Mapping[str, int]) -> Tensor:
        """The loss of the model as it is, on its graph; Heaviside, for which torch has no derivative, has derivative 0.

        Args:
            activations: those that the model runs.
        """
        with ExitStack() as stack:
            if "heaviside" in activations:
                stack.enter_context(untie(self.model, {"heaviside": TIED}))
            return self.value()

    def moved(self, direction: Gradients, distance: float) -> list[Tensor]:
        """The trained parameters ``distance`` times ``direction`` away, in their own dtype; a missing part is zero.

        The sum is taken in float64; the model's own parameters are not touched.
        """
        return [
            parameter.detach() if part is None else _added(parameter.detach(), part, distance)
            for parameter, part in zip(self.parameters, direction, strict=True)
        ]


def _open(model: nn.Module) -> bool:
    """Whether an `untie` block that is open now sees the model run."""
    hooks = torch.nn.modules.module._global_forward_pre_hooks.values()
    owners = [getattr(hook, "__self__", None) for hook in hooks]
    watches = [owner for owner in owners if isinstance(owner, Watch)]
    return any(watch._is_member(module) for watch in watches for module in model.modules())


def _added(parameter: Tensor, part: Tensor, distance: float) -> Tensor:
    return (parameter.to(torch.float64) + distance * part.to(torch.float64)).to(parameter.dtype)
