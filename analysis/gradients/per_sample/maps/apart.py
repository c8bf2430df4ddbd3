"""Which nodes of an autograd graph keep samples apart for certain: row b of an input's gradient needs row b alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...untie.function import Replaced

_ELEMENTWISE = frozenset(
    f"{name}Backward0"
    for name in (
        *("Relu", "LeakyRelu", "Elu", "Gelu", "Silu", "Mish", "Softplus", "Sigmoid", "LogSigmoid", "Tanh", "Hardtanh"),
        *("Hardsigmoid", "Hardswish", "Sign", "Round", "Clone", "Neg", "Exp", "Pow", "Add", "Sub", "Mul", "Div"),
    )
)
_BY_SAMPLE = frozenset(
    f"{name}Backward0"
    for name in (
        *("Addmm", "Mm", "Convolution", "NativeGroupNorm", "NativeBatchNorm", "AvgPool2D", "AvgPool3D"),
        *("MaxPool2DWithIndices", "AdaptiveAvgPool2D", "View", "UnsafeView", "ReshapeAlias"),
    )
)


def apart(node: Any, inputs: Sequence[tuple[Any, int]], samples: int) -> bool:
    """Whether the node is known to keep samples apart; ``False`` says only that nothing is known.

    Its output and every input must count the samples in the first dimension, and an elementwise operation must not
    broadcast; a reshaping that keeps the first dimension keeps its rows.

    Args:
        node: of the graph.
        inputs: what leads on from it, parameters left out: node and number of its output.
        samples: their number.
    """
    name, shape, shapes = node.name(), _shape(node, 0), [_shape(*each) for each in inputs]
    if any(each is None or each[:1] != (samples,) for each in (shape, *shapes)):
        return False
    if name in _ELEMENTWISE or getattr(node, "_forward_cls", None) is Replaced:
        return all(each == shape for each in shapes)
    if name == "NativeBatchNormBackward0":
        return not node._saved_training
    if name == "NativeLayerNormBackward0":
        return len(shape or ()) > len(node._saved_normalized_shape)
    return name in _BY_SAMPLE


_REDUCTIONS = frozenset(f"{name}Backward0" for name in ("Sum", "Mean", "NllLoss", "NllLoss2D", "MseLoss"))


def additive(root: Any, samples: int) -> bool:
    """Whether a scalar is known to be a sum of one term for each sample of the leaves that it is computed from.

    So it is where it is a sum, a mean, a multiple or a total of such of rows that nothing has mixed.

    Args:
        root: the scalar's node.
        samples: their number, the first dimension of every leaf.
    """
    stack, seen = [root], {root}
    while stack:
        node = stack.pop()
        if hasattr(node, "variable"):
            continue
        inputs = [(child, index) for child, index in node.next_functions if child is not None]
        first = node.next_functions[0][0] is not None
        name, scalar = node.name(), _shape(node, 0) == ()
        if scalar and name in _REDUCTIONS:
            known = all((_shape(*each) or ())[:1] == (samples,) for each in inputs)
        elif scalar and name in ("AddBackward0", "SubBackward0", "NegBackward0"):
            known = all(_shape(*each) == () for each in inputs)
        elif scalar:
            known = len(inputs) == 1 and (name == "MulBackward0" or (name == "DivBackward0" and first))
            known = known and all(_shape(*each) == () for each in inputs)
        elif name in ("LogSoftmaxBackward0", "SoftmaxBackward0"):
            shape = _shape(node, 0) or ()
            dim = node._saved_dim - (2**64 if node._saved_dim >= 2**63 else 0)
            known = shape[:1] == (samples,) and dim % len(shape) != 0
        else:
            known = apart(node, inputs, samples)
        if not known:
            return False
        stack += [child for child, _ in inputs if child not in seen]
        seen.update(child for child, _ in inputs)
    return True


def _shape(node: Any, output: int) -> tuple[int, ...] | None:
    described = getattr(node, "_input_metadata", ())
    return tuple(described[output].shape) if output < len(described) else None
