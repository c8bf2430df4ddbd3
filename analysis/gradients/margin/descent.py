"""`descent_margin`: kappa* of every activation place of a model on a batch, from two passes, each sum checked."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from ...errors import Refused
from .margin import Margin, margin_of, signed_sums
from .passes import Visited, take
from .replay import Replay, replay_precisely
from .walk.graph import below
from .walk.inputs import Loss, check, whole_in_memory


@dataclass(frozen=True)
class DescentMargins:
    """The margins of a model's activation places on one batch, in the order of the forward pass.

    Attributes:
        margins: one for each place; iterate over this object, or index it by position or by ``str(place)``.
        loss: the loss's value.
        frozen: names of the parameters with ``requires_grad=False``; they take no step and do not count.
        unused: names of the trainable parameters that the loss does not depend on; their gradient is zero.
        unreached: paths of the modules whose own activations no torch call shows (fused recurrent layers, TorchScript):
            they keep their derivatives and have no margin here.
    """

    margins: tuple[Margin, ...]
    loss: float
    frozen: tuple[str, ...]
    unused: tuple[str, ...]
    unreached: tuple[str, ...]

    def __iter__(self) -> Iterator[Margin]:
        return iter(self.margins)

    def __len__(self) -> int:
        return len(self.margins)

    def __getitem__(self, key: int | str) -> Margin:
        if isinstance(key, int):
            return self.margins[key]
        for margin in self.margins:
            if str(margin.place) == key:
                return margin
        raise KeyError(f"{key!r} is no place; the places are {', '.join(str(m.place) for m in self.margins)}")


def descent_margin(model: nn.Module, loss: Loss, batch: tuple[Any, Any]) -> DescentMargins:
    """kappa* of each activation place: how unequal its factors may be while the step still descends.

    Args:
        model: any module; its activations are found by the torch calls that it makes (``Activation.operations``).
        loss: ``loss(model(inputs), targets)``, one number.
        batch: ``(inputs, targets)``; a tuple of inputs is passed on as positional arguments.

    Returns:
        One `Margin` for each place, with its worst-case factors as a witness. Sums run in float64; the passes run in
        the model's own dtype, so kappa* is as accurate as its gradients are. Where no path leads around a place,
        sum(c) = |g_P|^2 is checked, and for the whole model that the loss's tangent along g is |g|^2, to `tolerance`.

    Raises:
        Refused: bad input (`walk.inputs.check`), no activation of the catalogue, one whose derivative is zero
            (Heaviside, sign, round) above a trainable parameter, a loss that is not one finite number, an operation
            without a forward-mode derivative, or a failed check: a forward pass that is random, or a backward that is
            not its derivative.

    >>> import torch
    >>> model = torch.nn.Sequential(torch.nn.Linear(1, 1, bias=False), torch.nn.LeakyReLU(0.5)).double()
    >>> _ = torch.nn.init.ones_(model[0].weight)
    >>> batch = torch.tensor([[1.0], [-1.0]]).double(), torch.tensor([[-1.0], [-3.5]]).double()
    >>> (margin,) = descent_margin(model, lambda a, y: ((a - y) ** 2).sum() / 2, batch)
    >>> margin.positive, margin.negative, round(margin.kappa_star, 12)
    (1.0, 0.75, 1.333333333333)
    """
    inputs, targets = check(model, batch, "descent_margin")
    with whole_in_memory("descent_margin"):
        passes = take(model, loss, inputs, targets)
    value = float(passes.value.detach())
    norms = {name: float(torch.linalg.vector_norm(g, dtype=torch.float64)) ** 2 for name, g in passes.gradients.items()}
    named = {name: p for name, p in model.named_parameters() if p.requires_grad}
    dtype = max((p.dtype for p in named.values()), key=lambda each: torch.finfo(each).eps)
    nodes = [v.edge.node if v.edge else None for v in passes.visited]
    root = passes.value.grad_fn
    assert root is not None  # `take` refuses
    margins = tuple(
        _margin(
            v,
            names,
            around,
            sum(norms.get(name, 0.0) for name in names),
            tolerance(dtype),
            partial(replay_precisely, model, loss, batch, names),
        )
        for v, (names, around) in zip(passes.visited, below(root, nodes, named), strict=True)
    )
    moduli = max(margin.positive + margin.negative for margin in margins)
    _agree("the loss of a second forward pass", passes.again, value, 0.0, dtype)
    _agree("the loss's tangent along g", passes.tangent, sum(norms.values()), moduli, dtype)
    fused = nn.RNNBase | nn.RNNCellBase | torch.jit.ScriptModule
    return DescentMargins(
        margins,
        value,
        frozen=tuple(name for name, p in model.named_parameters() if not p.requires_grad),
        unused=tuple(name for name in named if name not in norms),
        unreached=tuple(path for path, module in model.named_modules() if isinstance(module, fused)),
    )


def tolerance(dtype: torch.dtype) -> float:
    """Largest accepted error of a checked sum, relative to its terms' moduli: 1024 epsilons of its coarsest dtype."""
    return 1024 * torch.finfo(dtype).eps


def _margin(
    v: Visited,
    names: tuple[str, ...],
    around: bool,
    norm_squared: float,
    relative: float,
    again: Callable[[Mapping[str, Tensor], Callable[[Replay], bool]], Replay],
) -> Margin:
    c, r, dz = (
        torch.zeros_like(v.preactivation) if part is None else part for part in (v.contributions, v.error, v.tangent)
    )
    positive, negative = signed_sums(c)
    rounding = relative * (positive + negative + norm_squared)
    rest = norm_squared - (positive - negative) if around else 0.0
    reason = ""
    if not names:
        reason = "no trainable parameter that the loss depends on lies below it"
    elif norm_squared == 0:
        reason = "the true gradient of the parameters below it is zero"
    elif not around and not abs(positive - negative - norm_squared) <= rounding:
        raise Refused(
            f"descent_margin(model=...): at {v.place} the contributions sum to {positive - negative:.9g}, but |g|^2 of "
            f"the parameters below it is {norm_squared:.9g}. The forward pass is random (dropout?), its backward is "
            f"not the derivative of its forward, or its dtype is too coarse; try model.double()."
        )
    kappa_star = None if reason else margin_of(positive, negative, rest)
    z = v.preactivation
    return Margin(
        v.place, kappa_star, reason, positive, negative, rest, norm_squared, names, c, z, r, dz, rounding, again
    )


def _agree(what: str, found: float, expected: float, moduli: float, dtype: torch.dtype) -> None:
    if not abs(found - expected) <= tolerance(dtype) * (moduli + abs(found) + abs(expected)):
        raise Refused(
            f"descent_margin(model=...): {what} is {found:.9g}, not {expected:.9g}. The forward pass is random "
            f"(dropout?), or its backward is not the derivative of its forward; a margin needs the true gradient."
        )
