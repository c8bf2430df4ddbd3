"""A plain backward pass in exact arithmetic, written out by hand: it shares no code with torch or with `untie`.

A network is a sequence of `Linear`, `Activate` and `Residual` nodes; numbers are `fractions.Fraction` (or floats).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

Vector = list[Any]
Matrix = list[list[Any]]
Factor = Callable[[Any], Any]


@dataclass(frozen=True)
class Linear:
    """z = W h, without bias. ``unit`` = "ln 2" means that the true weights are W ln 2 (first layer only)."""

    weights: Sequence[Sequence[Any]]
    unit: str = "1"


@dataclass(frozen=True)
class Activate:
    """An activation of the catalogue, by name, with its parameters."""

    name: str
    parameters: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Residual:
    """h + body(h)."""

    body: tuple[Any, ...]


Node = Linear | Activate | Residual

_ZERO, _ONE = Fraction(0), Fraction(1)


def _logistic(z: Any) -> Any:
    """1 / (1 + exp(-z ln 2)) for an integer z, exactly."""
    return 1 / (1 + Fraction(2) ** (-int(z)))


def _leaky(slope: Any) -> tuple[Factor, Factor]:
    return (lambda z: z if z > 0 else slope * z), (lambda z: _ONE if z > 0 else slope)


def _activation(node: Activate) -> tuple[Factor, Factor]:
    """phi and phi'; at a kink phi' is what torch takes: 0 for relu, the slope for leaky_relu."""
    if node.name == "leaky_relu":
        return _leaky(node.parameters["slope"])
    if node.name == "heaviside":
        at_zero = node.parameters.get("at_zero", _ZERO)
        return (lambda z: _ONE if z > 0 else (at_zero if z == 0 else _ZERO)), (lambda z: _ZERO)
    table: dict[str, tuple[Factor, Factor]] = {
        "identity": (lambda z: z, lambda z: _ONE),
        "relu": _leaky(_ZERO),
        "logistic": (_logistic, lambda z: _logistic(z) * (1 - _logistic(z))),
    }
    return table[node.name]


def backward_factor(name: str, parameters: Mapping[str, Any]) -> Factor:
    """psi of a witness: ``constant``, ``clipped``, ``relu_derivative``, or ``steps`` (a value on each interval)."""
    if name == "constant":
        return lambda z: parameters.get("height", _ONE)
    if name == "clipped":
        return lambda z: _ONE if abs(z) <= parameters.get("width", _ONE) else _ZERO
    if name == "relu_derivative":
        return lambda z: _ONE if z > 0 else _ZERO
    if name == "steps":
        return lambda z: next(v for bound, v in parameters["values"] if bound is None or z < bound)
    raise KeyError(name)


def _forward(network: Sequence[Node], h: Vector) -> tuple[Vector, list[Any]]:
    tape: list[Any] = []
    for node in network:
        if isinstance(node, Residual):
            inner, trace = _forward(node.body, h)
            tape.append(trace)
            h = [a + b for a, b in zip(h, inner, strict=True)]
        else:
            tape.append(h)
            if isinstance(node, Linear):
                h = [sum((w * x for w, x in zip(row, h, strict=True)), _ZERO) for row in node.weights]
            else:
                phi = _activation(node)[0]
                h = [phi(z) for z in h]
    return h, tape


def _backward(network: Sequence[Node], tape: list[Any], e: Vector, psi: Factor | None, out: list[Matrix]) -> Vector:
    for node, entry in zip(reversed(network), reversed(tape), strict=True):
        if isinstance(node, Residual):
            e = [a + b for a, b in zip(e, _backward(node.body, entry, e, psi, out), strict=True)]
        elif isinstance(node, Linear):
            out.append([[d * x for x in entry] for d in e])
            columns = zip(*node.weights, strict=True)
            e = [sum((w * d for w, d in zip(column, e, strict=True)), _ZERO) for column in columns]
        else:
            factor = psi or _activation(node)[1]
            e = [factor(z) * r for z, r in zip(entry, e, strict=True)]
    return e


@dataclass(frozen=True)
class Loss:
    """``squared``: the sum over the batch of |o - target|^2 / 2; ``linear``: of <target, o>."""

    kind: str
    targets: Sequence[Sequence[Any]]

    def value(self, outputs: Sequence[Vector]) -> Any:
        """The loss of the batch."""
        pairs = [
            (o, t) for out, target in zip(outputs, self.targets, strict=True) for o, t in zip(out, target, strict=True)
        ]
        if self.kind == "squared":
            return sum(((o - t) ** 2 / 2 for o, t in pairs), _ZERO)
        return sum((o * t for o, t in pairs), _ZERO)

    def upstream(self, output: Vector, target: Sequence[Any]) -> Vector:
        """The loss's derivative by one sample's outputs."""
        return [o - t if self.kind == "squared" else t for o, t in zip(output, target, strict=True)]


def outputs(network: Sequence[Node], inputs: Sequence[Vector]) -> list[Vector]:
    """The network's outputs, a row a sample."""
    return [_forward(network, list(x))[0] for x in inputs]


def gradient(network: Sequence[Node], inputs: Sequence[Vector], loss: Loss, psi: Factor | None = None) -> list[Matrix]:
    """The gradient by every linear layer's weights, first layer first; ``psi`` None is exact backpropagation."""
    total: list[Matrix] = []
    for x, target in zip(inputs, loss.targets, strict=True):
        output, tape = _forward(network, list(x))
        out: list[Matrix] = []
        _backward(network, tape, loss.upstream(output, target), psi, out)
        out.reverse()
        if total:
            pairs = zip(total, out, strict=True)
            total = [[[a + b for a, b in zip(r, q, strict=True)] for r, q in zip(m, n, strict=False)] for m, n in pairs]
        else:
            total = out
    return total


def inner(a: Sequence[Matrix], b: Sequence[Matrix]) -> Any:
    """The inner product of two gradients."""
    return sum(
        (
            x * y
            for m, n in zip(a, b, strict=True)
            for r, q in zip(m, n, strict=False)
            for x, y in zip(r, q, strict=False)
        ),
        _ZERO,
    )


def stepped(network: Sequence[Node], gradients: Sequence[Matrix], step: Any) -> list[Node]:
    """The network after a step of that size against ``gradients`` (no residual blocks)."""
    pending = iter(gradients)
    moved: list[Node] = []
    for node in network:
        if isinstance(node, Linear):
            g = next(pending)
            rows = zip(node.weights, g, strict=True)
            moved.append(Linear([[w - step * d for w, d in zip(r, q, strict=True)] for r, q in rows], node.unit))
        else:
            moved.append(node)
    return moved
