"""Witnesses replay twice: in exact rationals through a plain backward pass, and through `untie` on a torch network.

This is the one file of the room that reaches torch. A replay reads the witness's data and nothing else; what it gives
is compared with the values in print, exactly for fractions and to the last digits of float64 for torch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from math import log
from typing import TYPE_CHECKING, Any

import sympy as sp

from ..analysis.surrogates.catalogue import SURROGATES
from ..analysis.surrogates.surrogate import Surrogate
from ..analysis.surrogates.symbols import u
from .roads import network as plain

if TYPE_CHECKING:
    import torch

    from .claim import Witness

Values = dict[str, Any]
ULPS = 16
"""How many units in the last place a float64 replay may differ, relative to the largest magnitude of its kind."""


def fractions(data: Any) -> Any:
    """Strings as exact fractions, through lists and mappings; words and None stay as they are."""
    if isinstance(data, Mapping):
        return {key: fractions(value) for key, value in data.items()}
    if isinstance(data, Sequence) and not isinstance(data, str):
        return [fractions(value) for value in data]
    return Fraction(data) if isinstance(data, str) else data


def _nodes(data: Sequence[Mapping[str, Any]]) -> tuple[plain.Node, ...]:
    def node(entry: Mapping[str, Any]) -> plain.Node:
        if "linear" in entry:
            return plain.Linear(fractions(entry["linear"]), entry.get("unit", "1"))
        if "residual" in entry:
            return plain.Residual(_nodes(entry["residual"]))
        name, parameters = next(iter(entry.items()))
        return plain.Activate(name, fractions(parameters))

    return tuple(node(entry) for entry in data)


def _exact_network(data: Mapping[str, Any]) -> Values:
    network, inputs = _nodes(data["network"]), fractions(data["inputs"])
    kind, targets = next(iter(data["loss"].items()))
    loss = plain.Loss(kind, fractions(targets))
    name, parameters = next(iter(data["backward"].items()))
    true = plain.gradient(network, inputs, loss)
    surrogate = plain.gradient(network, inputs, loss, plain.backward_factor(name, fractions(parameters)))
    values: Values = {
        "gradient": true,
        "surrogate_gradient": surrogate,
        "inner_product": plain.inner(true, surrogate),
    }
    if "step" in data:
        after = plain.stepped(network, surrogate, Fraction(data["step"]))
        values["loss"] = loss.value(plain.outputs(network, inputs))
        values["loss_after"] = loss.value(plain.outputs(after, inputs))
    return values


def surrogate_of(name: str, parameters: Mapping[str, Any]) -> Surrogate:
    """The witness's backward factor as a surrogate: a catalogue entry, or ``steps`` (a value on each interval)."""
    if name != "steps":
        return SURROGATES[name].at(**{key: sp.Rational(str(value)) for key, value in parameters.items()})
    pieces = [
        (sp.Rational(str(value)), True if bound is None else u < sp.Rational(str(bound)))
        for bound, value in parameters["values"]
    ]
    return Surrogate("steps", factor=sp.Piecewise(*pieces), source="a witness")


def _torch_model(nodes: Sequence[plain.Node]) -> torch.nn.Sequential:
    import torch
    from torch import nn

    class Residual(nn.Module):
        def __init__(self, body: nn.Sequential) -> None:
            super().__init__()
            self.body = body

        def forward(self, h: torch.Tensor) -> torch.Tensor:
            out: torch.Tensor = h + self.body(h)
            return out

    class Heaviside(nn.Module):
        def __init__(self, at_zero: float) -> None:
            super().__init__()
            self.at_zero = at_zero

        def forward(self, z: torch.Tensor) -> torch.Tensor:
            out: torch.Tensor = torch.heaviside(z, torch.full_like(z, self.at_zero).detach())
            return out

    def module(node: plain.Node) -> nn.Module:
        if isinstance(node, plain.Residual):
            return Residual(_torch_model(node.body))
        if isinstance(node, plain.Linear):
            scale = log(2) if node.unit == "ln 2" else 1.0
            layer = nn.Linear(len(node.weights[0]), len(node.weights), bias=False, dtype=torch.float64)
            rows = [[scale * float(w) for w in row] for row in node.weights]
            layer.weight = nn.Parameter(torch.tensor(rows, dtype=torch.float64))
            return layer
        made: dict[str, Callable[[], nn.Module]] = {
            "leaky_relu": lambda: nn.LeakyReLU(float(node.parameters["slope"])),
            "relu": nn.ReLU,
            "logistic": nn.Sigmoid,
            "heaviside": lambda: Heaviside(float(node.parameters.get("at_zero", 0))),
            "identity": nn.Identity,
        }
        return made[node.name]()

    return nn.Sequential(*map(module, nodes))


def _activation_names(nodes: Sequence[plain.Node]) -> set[str]:
    names: set[str] = set()
    for node in nodes:
        if isinstance(node, plain.Activate):
            names.add(node.name)
        elif isinstance(node, plain.Residual):
            names |= _activation_names(node.body)
    return names - {"identity"}


def _torch_network(data: Mapping[str, Any]) -> Values:
    import torch

    from ..analysis.gradients.untie import untie

    nodes = _nodes(data["network"])
    model = _torch_model(nodes)
    inputs = torch.tensor([[float(x) for x in row] for row in fractions(data["inputs"])], dtype=torch.float64)
    kind, rows = next(iter(data["loss"].items()))
    targets = torch.tensor([[float(t) for t in row] for row in fractions(rows)], dtype=torch.float64)

    def loss() -> torch.Tensor:
        out = model(inputs)
        value: torch.Tensor = ((out - targets) ** 2).sum() / 2 if kind == "squared" else (out * targets).sum()
        return value

    def gradient() -> list[torch.Tensor]:
        return list(torch.autograd.grad(loss(), list(model.parameters())))

    name, factor = next(iter(data["backward"].items()))
    if "heaviside" in _activation_names(nodes):  # torch has no derivative for it; it is 0
        with untie(model, {"heaviside": surrogate_of("steps", {"values": [[None, "0"]]})}):
            true = gradient()
    else:
        true = gradient()
    surrogate = surrogate_of(name, factor)
    with untie(model, dict.fromkeys(_activation_names(nodes), surrogate)):
        untied = gradient()
    values: Values = {
        "gradient": [g.tolist() for g in true],
        "surrogate_gradient": [g.tolist() for g in untied],
        "inner_product": sum(float((a * b).sum()) for a, b in zip(true, untied, strict=True)),
    }
    if "step" in data:
        values["loss"] = float(loss().detach())
        with torch.no_grad():
            for parameter, step in zip(model.parameters(), untied, strict=True):
                parameter.sub_(float(Fraction(data["step"])) * step)
            values["loss_after"] = float(loss().detach())
    return values


def _exact_softmax(data: Mapping[str, Any]) -> Values:
    weights, r, d = (fractions(data[key]) for key in ("exponentials", "upstream", "diagonal"))
    p = [w / sum(weights) for w in weights]
    mean = sum(a * b for a, b in zip(p, r, strict=True))
    true = [a * (b - mean) for a, b in zip(p, r, strict=True)]
    replaced = [a * b for a, b in zip(d, r, strict=True)]
    product = sum(a * b for a, b in zip(true, replaced, strict=True))
    return {"gradient": true, "surrogate_gradient": replaced, "inner_product": product}


def _torch_softmax(data: Mapping[str, Any]) -> Values:
    import torch

    weights, r, d = (torch.tensor([float(x) for x in fractions(data[k])], dtype=torch.float64) for k in data)
    z = weights.log().requires_grad_()
    (true,) = torch.autograd.grad((torch.softmax(z, 0) * r).sum(), z)
    replaced = d * r
    return {
        "gradient": true.tolist(),
        "surrogate_gradient": replaced.tolist(),
        "inner_product": float(true @ replaced),
    }


def _over_draws(replay: Callable[[Mapping[str, Any]], Values]) -> Callable[[Mapping[str, Any]], Values]:
    """The first weight's surrogate gradient averaged over weighted backwards: an expectation, as a quadrature rule."""

    def mean(data: Mapping[str, Any]) -> Values:
        total: Any = 0
        values: Values = {}
        for draw in data["draws"]:
            values = replay({**data, **draw})
            entry, weight = values["surrogate_gradient"][0][0][0], Fraction(draw["weight"])
            total = total + (weight if isinstance(entry, Fraction) else float(weight)) * entry
        return {"mean_surrogate_gradient": total, "gradient": values["gradient"][0]}

    return mean


def _around(replay: Callable[[Mapping[str, Any]], Values]) -> Callable[[Mapping[str, Any]], Values]:
    """The work of the surrogate gradient around a rectangle in (w, v), by Simpson's rule on each edge.

    The network is v phi(w x); where phi is piecewise linear and a side crosses no kink the rule is exact.
    """

    def work(data: Mapping[str, Any]) -> Values:
        (w0, w1), (v0, v1) = fractions(data["w"]), fractions(data["v"])
        corners = [(w0, v0), (w1, v0), (w1, v1), (w0, v1), (w0, v0)]
        total: Any = 0
        for (a, b), (c, d) in pairwise(corners):
            for share, weight in ((Fraction(0), 1), (Fraction(1, 2), 4), (Fraction(1), 1)):
                w, v = a + share * (c - a), b + share * (d - b)
                network = [{"linear": [[str(w)]]}, data["activation"], {"linear": [[str(v)]]}]
                g = replay({**data, "network": network})["surrogate_gradient"]
                total = total + (g[0][0][0] * (c - a) + g[1][0][0] * (d - b)) * weight / 6
        return {"work": total}

    return work


def _exact_spikes(data: Mapping[str, Any]) -> Values:
    """Net 1-1-2 of noisy binary units at w1 = 0, sigma = 1, over p(0): 50 digits, rounded to those in print."""
    import mpmath

    def rounded(value: Any) -> Fraction:
        return Fraction(int(mpmath.nint(value * 10 ** data["digits"])), 10 ** data["digits"])

    with mpmath.workdps(50):
        pairs = list(zip(fractions(data["u"]), fractions(data["v"]), strict=True))
        u, v = [mpmath.mpf(int(a)) for a, _ in pairs], [mpmath.mpf(int(b)) for _, b in pairs]
        true = mpmath.fsum(b * (mpmath.ncdf(a) - mpmath.ncdf(0)) for a, b in zip(u, v, strict=True))
        through = mpmath.fsum(a * b * (mpmath.npdf(0) + mpmath.npdf(a)) / 2 for a, b in zip(u, v, strict=True))
        return {"true_over_p0": rounded(true), "straight_through_over_p0": rounded(through)}


def _torch_spikes(data: Mapping[str, Any]) -> Values:
    """The same: autograd through the enumerated expectation, and `untie` with each value of the first unit."""
    import torch

    u, v = (torch.tensor([float(x) for x in fractions(data[key])], dtype=torch.float64) for key in "uv")
    w = torch.zeros((), dtype=torch.float64, requires_grad=True)
    fires = torch.special.ndtr(w)
    expected = fires * (v @ torch.special.ndtr(u)) + (1 - fires) * (v @ torch.special.ndtr(torch.zeros_like(u)))
    (true,) = torch.autograd.grad(expected, w)
    total, density = 0.0, (2 * torch.pi) ** -0.5
    for fired in ("0", "1"):
        hidden = [{"linear": [["0"]]}, {"heaviside": {"at_zero": fired}}]
        network = [*hidden, {"linear": [[a] for a in data["u"]]}, {"heaviside": {}}, {"linear": [data["v"]]}]
        run = {"network": network, "inputs": [["1"]], "loss": {"linear": [["1"]]}}
        total += _torch_network({**run, "backward": {"gaussian": {"width": "1"}}})["surrogate_gradient"][0][0][0] / 2
    return {"true_over_p0": float(true) / density, "straight_through_over_p0": total / density}


def _exact_descent(data: Mapping[str, Any]) -> Values:
    x, rate = Fraction(data["start"]), Fraction(data["rate"])
    for t in range(int(data["steps"])):
        x -= rate * Fraction(1, 2**t) * x
    return {"end": x}


def _torch_descent(data: Mapping[str, Any]) -> Values:
    import torch

    x = torch.tensor(float(Fraction(data["start"])), dtype=torch.float64, requires_grad=True)
    for t in range(int(data["steps"])):
        (g,) = torch.autograd.grad(x**2 / 2, x)
        x = (x - float(Fraction(data["rate"])) * 2.0**-t * g).detach().requires_grad_()
    return {"end": float(x.detach())}


KINDS: dict[str, tuple[Callable[[Mapping[str, Any]], Values], Callable[[Mapping[str, Any]], Values]]] = {
    "network": (_exact_network, _torch_network),
    "softmax": (_exact_softmax, _torch_softmax),
    "draws": (_over_draws(_exact_network), _over_draws(_torch_network)),
    "loop": (_around(_exact_network), _around(_torch_network)),
    "spikes": (_exact_spikes, _torch_spikes),
    "descent": (_exact_descent, _torch_descent),
}
"""How each kind of witness replays: exactly, and in torch."""


@dataclass(frozen=True)
class Replay:
    """Whether a witness gives the values in print, by both replays.

    Attributes:
        differences: each value that differs, with what was found; empty where both replays agree.
    """

    differences: tuple[str, ...]

    @property
    def agrees(self) -> bool:
        """Whether both replays give every value in print."""
        return not self.differences


def _flat(value: Any) -> Iterator[Any]:
    if isinstance(value, list):
        for entry in value:
            yield from _flat(entry)
    else:
        yield value


def replay(witness: Witness) -> Replay:
    """Replays a witness exactly and in torch, and compares each with the values in print."""
    exactly, torchly = (run(witness.data) for run in KINDS[witness.kind])
    found: list[str] = []
    for name, printed in witness.values.items():
        expected = list(_flat(fractions(printed)))
        exact, floats = list(_flat(exactly[name])), list(_flat(torchly[name]))
        if exact != expected:
            found.append(f"{name}: exact replay gives {', '.join(map(str, exact))}")
        allowed = ULPS * 2.0**-52 * max([1.0, *(abs(float(value)) for value in expected)])
        pairs = zip(expected, floats, strict=True)
        if len(floats) != len(expected) or any(abs(float(a) - b) > allowed for a, b in pairs):
            found.append(f"{name}: torch replay gives {', '.join(map(repr, floats))}")
    return Replay(tuple(found))
