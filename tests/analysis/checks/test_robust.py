"""Whatever a target does, the checks answer in records: none of these may raise, and each says what is wrong."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import downslope as ds
import pytest
import torch
from downslope.analysis.surrogates.checks.record import Outcome


def trick(psi: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[torch.Tensor], torch.Tensor]:
    """A function whose gradient at u is psi(u), by the detach trick."""

    def apply(u: torch.Tensor) -> torch.Tensor:
        return (u > 0).to(u.dtype) + psi(u.detach()) * (u - u.detach())

    return apply


class WrongShape(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, u: torch.Tensor) -> torch.Tensor:
        return u.clone()

    @staticmethod
    def backward(ctx: Any, g: torch.Tensor) -> torch.Tensor:
        return g.sum().reshape(1, 1, 1)


class WrongCount(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, u: torch.Tensor) -> torch.Tensor:
        return u.clone()

    @staticmethod
    def backward(ctx: Any, g: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return g, g


class NoneBack(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, u: torch.Tensor) -> torch.Tensor:
        return u.clone()

    @staticmethod
    def backward(ctx: Any, g: torch.Tensor) -> None:
        return None


class Needy(torch.nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()


def leave(u: torch.Tensor) -> torch.Tensor:
    raise SystemExit(3)


def only_matrices(u: torch.Tensor) -> torch.Tensor:
    assert u.dim() == 2, "a matrix, please"
    return torch.tanh(u)


WEIRD: dict[str, tuple[Any, str]] = {
    "always NaN": (trick(lambda u: u * torch.nan), "finite"),
    "always infinite": (trick(lambda u: torch.full_like(u, torch.inf)), "finite"),
    "NaN forward": (lambda u: u * torch.nan, "finite"),
    "complex": (lambda u: torch.complex(u, u), "forward-runs"),
    "bool": (lambda u: u > 0, "forward-runs"),
    "a sum": (lambda u: u.tanh().sum(), "shape-preserved"),
    "one row more": (lambda u: torch.stack([u, u]), "shape-preserved"),
    "an empty tuple": (lambda u: (), "forward-runs"),
    "None": (lambda u: None, "forward-runs"),
    "a list of numbers": (lambda u: u.tolist(), "forward-runs"),
    "a gradient of another shape": (WrongShape, "backward-runs"),
    "one gradient too many": (WrongCount, "backward-runs"),
    "None for a gradient": (NoneBack, "backward-runs"),
    "a class that needs an argument": (Needy, "forward-runs"),
    "only matrices": (only_matrices, "forward-runs"),
    "a number": (3, "forward-runs"),
    "an abstract function": (torch.autograd.Function, "forward-runs"),
    "leaves the interpreter": (leave, "forward-runs"),
}

FINE: dict[str, Any] = {
    "identity": lambda u: u,
    "view": lambda u: u.view_as(u),
    "a tuple with its scale": lambda u: (u.tanh(), 1.0),
    "in half precision only upcast": lambda u: torch.tanh(u.double()).to(u.dtype),
    "torch's own": torch.tanh,
    "a method": torch.Tensor.tanh,
    "a module's class": torch.nn.Tanh,
}


@pytest.mark.parametrize("name", WEIRD)
def test_a_weird_target_is_told_in_records(name: str) -> None:
    target, check = WEIRD[name]
    found = ds.check_surrogate(ds.adapt(target, name=name))
    assert check in {record.name for record in found if record.outcome is Outcome.VIOLATION}
    json.dumps([record.as_json() for record in found], allow_nan=False)


@pytest.mark.parametrize("name", FINE)
def test_an_unusual_target_that_is_right_passes(name: str) -> None:
    found = ds.check_surrogate(ds.adapt(FINE[name], name=name))
    assert [record for record in found if record.outcome is Outcome.VIOLATION] == []
