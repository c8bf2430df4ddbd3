"""Whether the samples of a batch can be told apart: then noise on one sample moves that sample's loss alone.

Both the loss (mean or sum of the samples' losses) and the model (no sample sees another, as they do under batch norm in
training mode) must fall apart; it is found out by running them on half a batch. Where they do not, the whole batch is
treated as one sample: as right, and costlier.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map

from ..margin.walk.places import Place
from ..measuring.setting import Setting
from .steps import stepping

_RELATIVE, _ABSOLUTE = 1e-4, 1e-6


@dataclass(frozen=True)
class Samples:
    """How a batch falls apart.

    Attributes:
        count: how many parts of it have a loss of their own; 1 where the batch is one.
        weight: the loss is ``weight`` times the sum of the parts' losses.
        losses: from the model's output to the parts' losses, shape (count,).
    """

    count: int
    weight: float
    losses: Callable[[Any], Tensor]

    def along(self, values: Tensor, z: Tensor) -> Tensor:
        """One number for each part, shaped to be multiplied with a preactivation."""
        return values.reshape(-1, *(1,) * (z.ndim - 1)) if self.count > 1 else values.reshape(())

    def summed(self, z: Tensor) -> Tensor:
        """The sum over the units of each part, shape (count,)."""
        return z.reshape(self.count, -1).sum(1)


def samples(setting: Setting, again: Callable[[], None]) -> Samples:
    """Tells whether the samples of a batch fall apart."""
    whole = Samples(1, 1.0, lambda output: setting.loss(output, setting.y).reshape(1))
    leaves = [leaf for leaf in (*tree_leaves(setting.x), *tree_leaves(setting.y)) if isinstance(leaf, Tensor)]
    sizes = {len(leaf) if leaf.ndim else 0 for leaf in leaves}
    if len(sizes) != 1 or (size := sizes.pop()) < 2:
        return whole
    with torch.no_grad():
        output, preactivations = _run(setting, again, setting.x)
        outputs = [leaf for leaf in tree_leaves(output) if isinstance(leaf, Tensor)]
        if any(leaf.ndim == 0 or len(leaf) != size for leaf in outputs) or not outputs:
            return whole
        weight = _weight(setting, output, size)
        if weight is None:
            return whole
        half = size // 2
        cut = tree_map(lambda leaf: leaf[:half] if isinstance(leaf, Tensor) else leaf, setting.x)
        try:
            part, fewer = _run(setting, again, cut)
        except (RuntimeError, ValueError, IndexError):  # a model that asks for its one batch size
            return whole
        finally:
            again()
        pairs = [
            *zip(outputs, (leaf for leaf in tree_leaves(part) if isinstance(leaf, Tensor)), strict=True),
            *zip(preactivations, fewer, strict=False),
        ]
    apart = len(preactivations) == len(fewer) and all(_first(all_, some, half, size) for all_, some in pairs)
    return Samples(size, weight, lambda output: _each(setting, output)) if apart else whole


def _run(setting: Setting, again: Callable[[], None], x: Any) -> tuple[Any, list[Tensor]]:
    """The output, and the preactivations of the step units."""
    seen: list[Tensor] = []

    def note(_: Place, z: Tensor, compute: Callable[[], Tensor]) -> Tensor:
        seen.append(z)
        return compute()

    again()
    with stepping(setting.model, note):
        return setting.output(x=x), seen


def _weight(setting: Setting, output: Any, size: int) -> float | None:
    """1 for a sum over samples, 1/size for a mean, ``None`` for anything else; asked at two outputs."""
    found: set[float] = set()
    for scale in (1.0, 0.7):
        at = tree_map(lambda leaf, s=scale: leaf * s if _real(leaf) else leaf, output)
        try:
            each, value = _each(setting, at).double(), setting.loss(at, setting.y).double()
        except (RuntimeError, ValueError, IndexError, TypeError):  # a loss that vmap or a single sample cannot take
            return None
        if each.shape != (size,):
            return None
        fits = [w for w in (1 / size, 1.0) if _close(w * each.sum(), value)]
        found.add(fits[0] if fits else 0.0)
    weight = found.pop()
    return weight if not found and weight else None


def _each(setting: Setting, output: Any) -> Tensor:
    """The loss of each sample, shape (samples,)."""

    def one(output: Any, y: Any) -> Tensor:
        single = [tree_map(lambda leaf: leaf.unsqueeze(0), part) for part in (output, y)]
        return setting.loss(*single).reshape(())

    found: Tensor = torch.func.vmap(one)(output, setting.y)
    return found


def _close(a: Tensor, b: Tensor) -> bool:
    return torch.allclose(a, b, rtol=_RELATIVE, atol=_ABSOLUTE)


def _real(leaf: Any) -> bool:
    return isinstance(leaf, Tensor) and leaf.is_floating_point()


def _first(full: Tensor, part: Tensor, half: int, size: int) -> bool:
    """Whether a tensor of the whole batch begins with that of half the batch."""
    if full.ndim == 0 or len(full) != size or part.shape != (half, *full.shape[1:]):
        return False
    return _close(full[:half].double(), part.double())
