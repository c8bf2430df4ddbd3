"""The peer's way: freegrad's modules, and a forward and a backward for each rule."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...analysis.errors import Refused
from ...analysis.surrogates.catalogue import RECTANGLE, TRIANGLE
from ...analysis.surrogates.surrogate import Surrogate

Rule = tuple[str, dict[str, float]]

EIGHT: Sequence[tuple[Surrogate | str, Rule]] = (
    ("constant", ("d(Linear)", {})),
    ("relu_derivative", ("d(ReLU)", {})),
    *((RECTANGLE.at(width=width), ("rectangular", {"a": -width, "b": width})) for width in (0.5, 1.0, 2.0)),
    *((TRIANGLE.at(width=width), ("triangular", {"width": width})) for width in (1.0, 2.0, 3.0)),
)
"""Eight surrogates that both know; none is a multiple of another."""

JAM: Rule = ("full_jam", {})

_FORWARDS = {nn.ReLU: "ReLU", nn.Sigmoid: "Logistic", nn.Tanh: "Tanh"}


def demand() -> None:
    """Refuses to go on without the peer.

    Raises:
        Refused: it is not installed.
    """
    try:
        import freegrad as freegrad
    except ImportError:
        raise Refused(
            "benchmark compares with the library freegrad, which is not installed: pip install --no-deps freegrad"
        ) from None


def model(builder: Callable[[Any], nn.Module], hidden: type[nn.Module], like: nn.Module) -> nn.Module:
    """The peer's network, with the weights of ours."""
    from freegrad import Activation

    made = builder(lambda: Activation(forward=_FORWARDS[hidden]))
    made.load_state_dict(like.state_dict())
    return made


def gradients(network: nn.Module, batch: tuple[Tensor, Tensor], rules: Sequence[Rule]) -> list[tuple[Tensor, ...]]:
    """A forward and a backward for each rule, the last one's gradients kept."""
    from freegrad import use

    parameters, found = list(network.parameters()), []
    for name, given in rules:
        with use(rule=name, params=given, scope="activations"):
            found = [torch.autograd.grad(F.cross_entropy(network(batch[0]), batch[1]), parameters)]
    return found
