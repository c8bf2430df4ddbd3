"""From a torch model to its chain: every torch call of one float64 forward pass, recorded or refused by name.

A call is a linear map, an elementwise activation of the catalogue, or it passes its input on (contiguous, dropout
in evaluation mode); each must take what the one before it gave. A batch norm in evaluation mode is two affine maps of
each channel: by its running statistics, which no parameter moves, and by its weight and bias. Anything else (a
residual sum, a softmax, a max-pool) is refused with the module that makes it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode, resolve_name

from ....errors import Refused
from ...inputs import scalar
from ..walk.inputs import Loss, check, double, no_step
from ..walk.places import Call, Place, inside, recognise
from ..walk.reuse import LINEAR
from .chain import Chain, Link, Slope, complete

_POOLING: set[Callable[..., Any]] = {
    *(F.avg_pool1d, F.avg_pool2d, F.avg_pool3d),
    *(F.adaptive_avg_pool1d, F.adaptive_avg_pool2d, F.adaptive_avg_pool3d),
}
_RESHAPING: set[Callable[..., Any]] = {
    torch.flatten,
    torch.reshape,
    torch.unflatten,
    Tensor.flatten,
    Tensor.view,
    Tensor.reshape,
    Tensor.unflatten,
}
_CONSTANT: set[Callable[..., Any]] = {torch.zeros_like, torch.ones_like}
_PASSING: set[Callable[..., Any]] = {Tensor.contiguous, Tensor.clone, torch.clone}


class _Tape(TorchFunctionMode):
    def __init__(self, model: nn.Module, inputs: Tensor, running: list[str]) -> None:
        super().__init__()
        self.steps: list[Link | Slope] = []
        self.current = inputs
        self._model, self._running = model, running
        self._seen: list[Tensor] = [inputs]  # kept alive, so that an id stays a tensor's own
        self._calls: Counter[str] = Counter()
        self.names: dict[int, str] = {}

    @property
    def _where(self) -> str:
        return self._running[-1] if self._running else ""

    def _refuse(self, func: Callable[..., Any], why: str) -> Refused:
        path = self._where
        module = self._model.get_submodule(path) if path else self._model
        where, what = f"{path or 'the model itself'} ({type(module).__name__})", resolve_name(func) or func
        return Refused(
            f"certify(model=...): {where} calls {what}: {why}. "
            f"A certificate needs a chain of linear, convolution, batch norm (in evaluation mode), average-pool and "
            f"flatten layers with elementwise activations of the catalogue between them; descent_margin takes any "
            f"model."
        )

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        given = dict(kwargs or {})
        tensors = [x for x in (*args, *given.values()) if isinstance(x, Tensor)]
        nested = [x for a in args if isinstance(a, tuple | list) for x in a if isinstance(x, Tensor)]
        if any(x is s for x in nested for s in self._seen):
            raise self._refuse(func, "it joins several tensors")
        if not any(x is s for x in tensors for s in self._seen):
            return func(*args, **given)
        if not args and "input" in given:
            args = (given.pop("input"),)
        if not args or args[0] is not self.current or sum(x is s for x in tensors for s in self._seen) > 1:
            if not isinstance(result := func(*args, **given), Tensor):
                return result  # a shape or a flag of an earlier tensor
            raise self._refuse(func, "it does not take the previous layer's output alone")
        return self._step(func, args, given)

    def _step(self, func: Callable[..., Any], args: tuple[Any, ...], given: dict[str, Any]) -> Any:
        if func in _CONSTANT:
            return func(*args, **given)
        found = recognise(func, args, given)
        if found is not None:
            return self._activation(func, args, given, found)
        value = args[0].detach()
        if func in LINEAR:
            return self._weighted(func, args, given)
        if func is F.batch_norm:
            return self._normed(value, *args[1:], **given)
        result = func(value, *args[1:], **given)
        if not isinstance(result, Tensor):
            return result
        if func in _PASSING or (func is F.dropout and result is not value and torch.equal(result, value)):
            return self._advance(result)
        if func in _POOLING:
            return self._link(lambda x, w, b: func(x, *args[1:], **given), value, result)
        if func in _RESHAPING:
            if result.dim() == 0 or result.shape[0] != value.shape[0]:
                raise self._refuse(func, f"it turns {tuple(value.shape)} into {tuple(result.shape)}, mixing samples")
            shape = result.shape[1:]
            return self._link(lambda x, w, b: x.reshape(len(x), *shape), value, result)
        raise self._refuse(func, "it is not a layer that a certificate knows")

    def _weighted(self, func: Callable[..., Any], args: tuple[Any, ...], given: dict[str, Any]) -> Tensor:
        value = args[0].detach()
        bound = dict(zip(("weight", "bias"), args[1:3], strict=False))
        bound |= {name: given.pop(name) for name in ("weight", "bias") if name in given}
        weight: Any = bound.get("weight")
        bias: Any = bound.get("bias")
        self._known(func, weight, bias)
        if value.dim() < 2 or (func is not F.linear and value.dim() != weight.dim()):
            raise self._refuse(func, "its input has no batch dimension")
        result = func(value, weight, bias, *args[3:], **given)
        return self._link(
            lambda x, w, b: func(x, w, b, *args[3:], **given),
            value,
            result,
            weight.detach(),
            None if bias is None else bias.detach(),
            self._trained(weight, bias),
        )

    def _normed(
        self,
        value: Tensor,
        running_mean: Tensor | None,
        running_var: Tensor | None,
        weight: Tensor | None = None,
        bias: Tensor | None = None,
        training: bool = False,
        momentum: float = 0.1,
        eps: float = 1e-5,
    ) -> Tensor:
        if training or running_mean is None or running_var is None:
            raise self._refuse(F.batch_norm, "it norms by the batch's own statistics, which couple its samples")
        self._known(F.batch_norm, weight, bias)
        shape = (1, -1, *[1] * (value.dim() - 2))
        # As numbers of the forward pass these are exact for the certificate; positive, they are their own modulus.
        scale = (running_var + eps).rsqrt().reshape(shape)
        normed = (value - running_mean.reshape(shape)) * scale
        self._link(lambda x, w, b: x * scale, value, normed)
        if weight is None and bias is None:
            return self.current
        one = torch.ones_like(running_var) if weight is None else weight.detach()

        def affine(x: Tensor, w: Tensor | None, b: Tensor | None) -> Tensor:
            assert w is not None
            return x * w.reshape(shape) if b is None else x * w.reshape(shape) + b.reshape(shape)

        added = None if bias is None else bias.detach()
        return self._link(affine, normed, affine(normed, one, added), one, added, self._trained(weight, bias))

    def _known(self, func: Callable[..., Any], *parameters: Tensor | None) -> None:
        if any(p is not None and id(p) not in self.names for p in parameters):
            raise self._refuse(func, "its weight or bias is computed, not a parameter or buffer of the model")

    def _trained(self, *parameters: Tensor | None) -> tuple[str | None, ...]:
        return tuple(self.names[id(p)] if p is not None and p.requires_grad else None for p in parameters)

    def _activation(
        self, func: Callable[..., Any], args: tuple[Any, ...], given: dict[str, Any], found: Call
    ) -> Tensor:
        place = Place(self._where, self._calls[self._where], found.activation, found.derivative)
        self._calls[self._where] += 1
        if any(isinstance(step, Link) and any(step.trained) for step in self.steps):
            no_step(place, "certify")
        z = args[0].detach().clone().requires_grad_()
        with torch.enable_grad():
            flat = found.derivative.factor == 0  # Heaviside has no derivative in torch at all
            output = func(z.detach() if flat else z.clone(), *args[1:], **given)
            slope = torch.autograd.grad(output.sum(), z)[0] if output.requires_grad else torch.zeros_like(z)
        self.steps.append(Slope(str(place), slope))
        return self._advance(output.detach())

    def _link(
        self,
        call: Callable[[Tensor, Tensor | None, Tensor | None], Tensor],
        value: Tensor,
        result: Tensor,
        weight: Tensor | None = None,
        bias: Tensor | None = None,
        trained: Any = (None, None),
    ) -> Tensor:
        self.steps.append(Link(self._where, call, weight, bias, value, trained))
        return self._advance(result.detach())

    def _advance(self, result: Tensor) -> Tensor:
        self._seen.append(result)
        self.current = result
        return result


def trace(model: nn.Module, loss: Loss, batch: tuple[Any, Any], over: frozenset[str] | None = None) -> Chain:
    """The chain of a model at one batch, in float64 on the CPU.

    Args:
        model: calls linear maps and elementwise activations one after another, however it is written.
        loss: ``loss(model(inputs), targets)``, one number.
        batch: ``(inputs, targets)``.
        over: names of the parameters that <g, g~> runs over; all trainable ones where ``None``.

    Raises:
        Refused: bad input, or a call that is no layer of a chain, by module.
    """
    inputs, targets = check(model, batch, "certify")
    tensor, name = _one(inputs)
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    if unknown := sorted((over or set()) - trained):
        raise Refused(
            f"certify(over={unknown}): no trainable parameter of the model; they are {', '.join(sorted(trained))}."
        )
    state = {name: double(t, "cpu").requires_grad_(t.requires_grad) for name, t in model.named_parameters()}
    state |= {name: double(t, "cpu") for name, t in model.named_buffers()}
    with torch.no_grad(), inside(model) as running:
        tape = _Tape(model, double(tensor, "cpu"), running)
        tape.names = {id(t): name for name, t in state.items()}
        with tape:
            args, kwargs = ((), {name: tape.current}) if name else ((tape.current,), {})
            output = torch.func.functional_call(model, state, args, kwargs)
    if not isinstance(output, Tensor) or output is not tape.current:
        raise Refused(
            "certify(model=...): its output is not what its last layer gave; a certificate needs a chain of layers."
        )
    last = output.clone().requires_grad_()
    with torch.enable_grad():
        value = scalar(loss(last, double(targets, "cpu")), "certify")
        if value.grad_fn is None:
            raise Refused(
                "certify(loss=...): it does not depend on the model's output by any path that autograd sees (was the "
                "output detached?), so there is no gradient to bound."
            )
        (error,) = torch.autograd.grad(value, last)
    if not any(isinstance(step, Slope) for step in tape.steps):
        raise Refused("certify(model=...): it calls no activation of the catalogue, so there is nothing to replace.")
    return complete(tape.steps, error, over)


def _one(inputs: Any) -> tuple[Tensor, str]:
    """The one tensor of inputs, and the name that it is passed by; empty where it is passed by position.

    Raises:
        Refused: there are several, or none.
    """
    name = ""
    if isinstance(inputs, tuple | Mapping) and len(inputs) == 1:
        name, inputs = next(iter(inputs.items())) if isinstance(inputs, Mapping) else ("", inputs[0])
    if not isinstance(inputs, Tensor):
        raise Refused("certify(batch=...): a certificate takes one tensor of inputs, samples first.")
    return inputs, name
