"""The nodes of an autograd graph whose per-sample gradients need not be formed, and what they were applied to.

Such a node applies one linear map to many rows: a matrix product, a convolution, the gains of a normalisation, a row of
an embedding, an added bias. Autograd keeps what it was applied to, because the batch's gradient needs it as well; read
from there it is right whatever Python called, and whatever worked in place on the outputs later.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.graph import GradientEdge, Node

Parameter = Tensor
"""A leaf that requires a gradient."""


@dataclass(frozen=True)
class Layout:
    """How a tensor's rows belong to samples: rows = samples * positions, the samples counted first or last."""

    samples: int
    first: bool = True

    def split(self, rows: Tensor) -> Tensor:
        """[N, ...] to [samples, positions, ...]."""
        if self.first:
            return rows.reshape(self.samples, -1, *rows.shape[1:])
        return rows.reshape(-1, self.samples, *rows.shape[1:]).transpose(0, 1)


class Map:
    """One node, and the parameters that take part in it.

    Attributes:
        node: on the graph.
        weight: its gradient is a sum over positions of products of error signal and feature.
        bias: its gradient is the sum of the error signals.
        key: equal where the positions of two maps with one weight can stand side by side.
        one_hot: whether the features are given by the index of the one that is 1.
    """

    one_hot = False

    def __init__(self, node: Any, weight: Parameter | None, bias: Parameter | None, *key: Hashable) -> None:
        self.node, self.weight, self.bias = node, weight, bias
        self.key = (type(self).__name__, *key)

    @property
    def edge(self) -> GradientEdge:
        """Where autograd yields the error signal at the node's output."""
        return GradientEdge(self.node, 0)

    def given(self) -> Tensor | None:
        """What the map was applied to, one row after another; ``None`` where it has a bias alone.

        Raises:
            RuntimeError: torch's, where it was changed in place since.
        """
        return self.inputs() if self.weight is not None else None

    def inputs(self) -> Tensor:
        """What the map was applied to."""
        return self.node._saved_mat1.detach()  # type: ignore[no-any-return]

    def rows(self, error: Tensor) -> Tensor:
        """The error signal, one row after another."""
        return error

    def features(self, given: Tensor) -> Tensor:
        """[B, m, ...] of `given` to [B, groups, positions, I]."""
        return given.unsqueeze(1)

    def signals(self, error: Tensor) -> Tensor:
        """[B, m, ...] of `rows` to [B, groups, positions, O]."""
        return error.unsqueeze(1)


class Product(Map):
    """x @ W, with or without an added bias."""

    def inputs(self) -> Tensor:  # noqa: D102
        saved = self.node._saved_mat1 if hasattr(self.node, "_saved_mat1") else self.node._saved_self
        return saved.detach()  # type: ignore[no-any-return]


class Convolution(Map):
    """Of any dimension; the positions are the output's."""

    def inputs(self) -> Tensor:  # noqa: D102
        return self.node._saved_input.detach()  # type: ignore[no-any-return]

    def features(self, given: Tensor) -> Tensor:  # noqa: D102
        node, (samples, calls) = self.node, given.shape[:2]
        assert self.weight is not None
        found = windows(
            given.flatten(0, 1), self.weight.shape[2:], node._saved_stride, node._saved_padding, node._saved_dilation
        )
        places = found.shape[-1]
        found = found.reshape(samples, calls, node._saved_groups, -1, places)
        return found.permute(0, 2, 1, 4, 3).flatten(2, 3)

    def signals(self, error: Tensor) -> Tensor:  # noqa: D102
        groups = self.node._saved_groups
        samples, calls, channels = error.shape[:3]
        parts = error.reshape(samples, calls, groups, channels // groups, -1)  # [B, m, G, O, P]
        return parts.permute(0, 2, 1, 4, 3).flatten(2, 3)


class Gains(Map):
    """A gain (and shift) for each channel of what was normalised: as many maps side by side, of one feature each."""

    def signals(self, error: Tensor) -> Tensor:  # noqa: D102
        return error.flatten(3).permute(0, 2, 1, 3).flatten(2).unsqueeze(-1)

    def features(self, given: Tensor) -> Tensor:  # noqa: D102
        return self.signals(given)


class LayerGains(Gains):
    """Of a layer norm: the normalised dimensions are the channels."""

    def inputs(self) -> Tensor:  # noqa: D102
        node = self.node
        return self.rows((node._saved_input.detach() - node._saved_result1) * node._saved_result2)

    def rows(self, error: Tensor) -> Tensor:  # noqa: D102
        normal = len(self.node._saved_normalized_shape)
        return error.flatten(-normal).flatten(0, -2).unsqueeze(-1)


class BatchGains(Gains):
    """Of a batch norm that uses its running statistics."""

    def inputs(self) -> Tensor:  # noqa: D102
        node = self.node
        mean, variance = node._saved_running_mean, node._saved_running_var
        return self.rows(F.batch_norm(node._saved_input.detach(), mean, variance, eps=node._saved_eps))

    def rows(self, error: Tensor) -> Tensor:  # noqa: D102
        return error.reshape(*error.shape[:2], -1)


class GroupGains(BatchGains):
    """Of a group norm."""

    def inputs(self) -> Tensor:  # noqa: D102
        node = self.node
        given: Tensor = node._saved_input.detach()
        grouped = given.reshape(*node._saved_result1.shape, -1)
        normal: Tensor = (grouped - node._saved_result1[..., None]) * node._saved_result2[..., None]
        return normal.reshape(*given.shape[:2], -1)


class Rows(Map):
    """Of an embedding."""

    one_hot = True

    def inputs(self) -> Tensor:  # noqa: D102
        indices = self.node._saved_indices.flatten()
        return torch.where(indices == self.node._saved_padding_idx, -1, indices).unsqueeze(-1)

    def rows(self, error: Tensor) -> Tensor:  # noqa: D102
        return error.flatten(0, -2)


class Added(Map):
    """A parameter that broadcasts over the first dimensions of a sum."""

    def rows(self, error: Tensor) -> Tensor:  # noqa: D102
        assert self.bias is not None
        over, kept = _broadcast(self.bias.shape, error.shape)
        leading = next((i for i, dim in enumerate(over) if dim != i), len(over))
        moved = error.permute(*over, *kept)
        return moved.reshape(moved.shape[:leading].numel(), moved.shape[leading : len(over)].numel(), -1)

    def signals(self, error: Tensor) -> Tensor:  # noqa: D102
        return error.flatten(1, 2).unsqueeze(1)


def _broadcast(shape: torch.Size, error: torch.Size) -> tuple[list[int], list[int]]:
    """The error's dimensions over which a parameter of this shape was repeated, and the others."""
    own = [1] * (len(error) - len(shape)) + list(shape)
    over = [i for i, size in enumerate(own) if size == 1]
    return over, [i for i, size in enumerate(own) if size != 1]


def windows(given: Tensor, kernel: Any, stride: Any, padding: Any, dilation: Any, *, one: bool = False) -> Tensor:
    """The patches under a convolution's kernel, [N, C * kernel, positions]; padded by zeros.

    Copies of strided views, of the last dimension first, so that the large copy has long rows: many times as fast as
    ``F.unfold``, and for any number of dimensions. With ``one``, the bias's feature, which is 1 at every position,
    comes after the others.
    """
    if any(padding):
        given = F.pad(given, [side for size in reversed(padding) for side in (size, size)])
    free = len(kernel)
    for dim, (size, step, spread) in reversed(list(enumerate(zip(kernel, stride, dilation, strict=True), start=2))):
        given = given.unfold(dim, spread * (size - 1) + 1, step)[..., ::spread]
        if dim == 1 + free > 2:
            given = given.movedim(-1, 2).contiguous().movedim(2, -1)
    places = range(2, 2 + free)
    taps = range(1 + 2 * free, 1 + free, -1)
    view = given.permute(0, 1, *taps, *places)
    samples, width = view.shape[0], view.shape[1 : 2 + free].numel()
    found = given.new_empty(samples, width + one, view.shape[2 + free :].numel())
    found[:, :width].view(view.shape).copy_(view)
    if one:
        found[:, width] = 1
    return found


NORMS: dict[str, type[Gains]] = {
    "NativeLayerNormBackward0": LayerGains,
    "NativeBatchNormBackward0": BatchGains,
    "NativeGroupNormBackward0": GroupGains,
}


def recognised(node: Node, leaf: Callable[[int], Parameter | None]) -> Map | None:
    """The map that a node is, if it is one; ``leaf(i)`` is the parameter at its i-th argument."""
    name, n = node.name(), _Saved(node)
    if name == "AddmmBackward0" and n("alpha") == n("beta") == 1:
        weight, bias = leaf(2), leaf(0)
        if bias is not None and bias.ndim != 1:
            return None
        return Product(node, weight, bias, _turned(node, 2)) if weight is not None or bias is not None else None
    if name == "MmBackward0" and (weight := leaf(1)) is not None:
        return Product(node, weight, None, _turned(node, 1))
    if name == "ConvolutionBackward0" and not n("transposed"):
        weight, bias = leaf(1), leaf(2)
        return Convolution(node, weight, bias, n("groups")) if weight is not None or bias is not None else None
    if name in NORMS and not n("training"):
        weight, bias = leaf(1), leaf(2)
        return NORMS[name](node, weight, bias) if weight is not None or bias is not None else None
    if (
        name == "EmbeddingBackward0"
        and not (n("scale_grad_by_freq") or n("sparse"))
        and (weight := leaf(0)) is not None
    ):
        return Rows(node, weight, None)
    if name == "AddBackward0" and n("alpha") == 1:
        return _added(node, leaf)
    return None


def _added(node: Node, leaf: Callable[[int], Parameter | None]) -> Map | None:
    shapes = getattr(node, "_input_metadata", None)
    found = [each for each in (leaf(0), leaf(1)) if each is not None]
    if not shapes or len(found) != 1:
        return None
    shape = torch.Size(shapes[0].shape)
    over, kept = _broadcast(found[0].shape, shape)
    return Added(node, None, found[0]) if over and over[0] == 0 and kept else None


def _turned(node: Node, argument: int) -> bool:
    """Whether the weight was transposed on its way in."""
    child = node.next_functions[argument][0]
    return child is not None and "AccumulateGrad" not in child.name()


class _Saved:
    def __init__(self, node: Any) -> None:
        self._node = node

    def __call__(self, name: str) -> Any:
        return getattr(self._node, f"_saved_{name}", None)
