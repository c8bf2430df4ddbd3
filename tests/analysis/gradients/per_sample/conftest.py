"""Networks of every kind, and the table that explicit loops over their samples give: no code of `per_sample` in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import downslope as ds
import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from downslope.analysis.gradients.per_sample.measurement import per_sample
from torch import nn


@dataclass
class Case:
    """A model, its inputs, and which activations are untied by what."""

    model: nn.Module
    x: Any
    y: torch.Tensor
    activations: tuple[str, ...]
    surrogates: tuple[Any, ...] = ("triangle", "constant", "tied")
    draws: int = 1
    options: dict[str, Any] = field(default_factory=dict)


class Shared(nn.Module):
    """One layer used twice, beside one that shares its weight and not its bias."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.other, self.last = nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(6, 3)
        self.other.weight = self.inner.weight

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = torch.tanh(self.inner(x))
        return self.last(torch.tanh(self.other(torch.tanh(self.inner(h)))))


class Residual(nn.Module):
    """Convolutions with groups, dilation and circular padding, batch norm, group norm, a residual, a global mean."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(2, 4, 3, padding=1, padding_mode="circular")
        self.norm = nn.BatchNorm2d(4)
        self.deep = nn.Conv2d(4, 4, (3, 1), padding=(2, 0), dilation=(2, 1), groups=2, bias=False)
        self.groups = nn.GroupNorm(2, 4)
        self.head = nn.Linear(4, 3)
        self.norm.running_mean.normal_(), self.norm.running_var.uniform_(0.5, 2)
        nn.init.normal_(self.norm.weight), nn.init.normal_(self.norm.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = F.silu(self.norm(self.stem(x)))
        h = h + F.silu(self.groups(self.deep(h)))
        return self.head(h.mean((2, 3)))


class Recurrent(nn.Module):
    """A cell over several steps, time first, and a token that every sample gets."""

    def __init__(self) -> None:
        super().__init__()
        self.token = nn.Parameter(torch.randn(1, 1, 3))
        self.cell, self.back, self.out = nn.Linear(3, 5), nn.Linear(5, 5, bias=False), nn.Linear(5, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.cat([self.token.expand(1, x.shape[1], 3), x])
        h = x.new_zeros(x.shape[1], 5)
        for now in x:
            h = torch.tanh(self.cell(now) + self.back(h))
        return self.out(h)


class Tokens(nn.Module):
    """An embedding with padding, added positions, an encoder layer, a read-out of all tokens; samples second inside."""

    def __init__(self, batch_first: bool) -> None:
        super().__init__()
        self.batch_first = batch_first
        self.embedding, self.places = nn.Embedding(7, 8, padding_idx=0), nn.Parameter(torch.randn(5, 8))
        self.encoder = nn.TransformerEncoderLayer(8, 2, 12, 0.0, activation="gelu", batch_first=batch_first)
        self.out = nn.Linear(8, 3)

    def forward(self, tokens: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
        h = self.embedding(tokens) + self.places
        h = self.encoder(h if self.batch_first else h.transpose(0, 1))
        h = h if self.batch_first else h.transpose(0, 1)
        return self.out(F.gelu(h * scale[:, None, None])).mean(1)


class InPlace(nn.Module):
    """Functional calls in place, on three-dimensional outputs too; one layer frozen, one half frozen, one unused."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.third = nn.Linear(4, 6), nn.Linear(6, 6), nn.Linear(6, 6)
        self.last, self.unused = nn.Linear(6, 3), nn.Linear(2, 2)
        self.second.weight.requires_grad_(False)
        self.third.requires_grad_(False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = F.leaky_relu_(self.first(x), 0.3)
        h = self.second(h)
        h.tanh_()
        h = F.leaky_relu(self.third(h), 0.3, inplace=True)
        return self.last(h).sum(1)


class Folded(nn.Module):
    """Positions folded into the batch; a weight by matmul; a transposed convolution, which has no map."""

    def __init__(self) -> None:
        super().__init__()
        self.weight, self.lift = nn.Parameter(torch.randn(4, 6)), nn.Conv1d(6, 4, 3, stride=2, padding=1)
        self.up, self.out = nn.ConvTranspose1d(4, 2, 2), nn.Linear(8, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = torch.sigmoid(x.reshape(-1, 4) @ self.weight).view(len(x), -1, 6)
        h = torch.sigmoid(self.up(torch.sigmoid(self.lift(h.mT))))
        return self.out(h.flatten(1))


def lenet() -> nn.Module:
    return nn.Sequential(
        *(nn.Conv2d(1, 3, 5, stride=2, padding=2), nn.Sigmoid(), nn.AvgPool2d(2)),
        *(nn.Conv2d(3, 5, 3), nn.Sigmoid(), nn.Flatten(), nn.Linear(20, 8), nn.ReLU(inplace=True), nn.Linear(8, 3)),
    )


def mlp() -> nn.Module:
    return nn.Sequential(nn.Linear(7, 9), nn.Sigmoid(), nn.Linear(9, 6), nn.Sigmoid(), nn.Linear(6, 3))


class Own(nn.Sequential):
    """Runs as its parts do, and is no chain, since a class of one's own may have a forward of its own."""


def own(case: Case) -> Case:
    case.model = Own(*case.model)
    return case


def tokens(batch_first: bool) -> Case:
    x = torch.randint(7, (4, 5)), torch.rand(4) + 0.5
    return Case(Tokens(batch_first), x, torch.randint(3, (4,)), ("gelu",), ("triangle", "tied"))


def labels(samples: int) -> torch.Tensor:
    return torch.randint(3, (samples,))


RANDOM = ("full_jam", "triangle", "positive_jam")

CASES: dict[str, Callable[[], Case]] = {
    "mlp": lambda: Case(mlp(), torch.randn(6, 7), labels(6), ("logistic",)),
    "one sample": lambda: Case(mlp(), torch.randn(1, 7), labels(1), ("logistic",)),
    "draws": lambda: Case(mlp(), torch.randn(5, 7), labels(5), ("logistic",), RANDOM, draws=3),
    "lenet": lambda: Case(lenet(), torch.randn(5, 1, 16, 16), labels(5), ("logistic", "relu")),
    "lenet, draws": lambda: Case(lenet(), torch.randn(4, 1, 16, 16), labels(4), ("logistic", "relu"), RANDOM, draws=2),
    "shared": lambda: Case(Shared(), torch.randn(5, 6), labels(5), ("tanh",)),
    "residual": lambda: Case(Residual().eval(), torch.randn(4, 2, 5, 6), labels(4), ("silu",)),
    "recurrent": lambda: Case(Recurrent(), torch.randn(6, 4, 3), labels(4), ("tanh",)),
    "as many steps as samples": lambda: Case(Recurrent(), torch.randn(4, 4, 3), labels(4), ("tanh",)),
    "recurrent, draws": lambda: Case(Recurrent(), torch.randn(4, 3, 3), labels(3), ("tanh",), RANDOM, draws=2),
    "tokens": lambda: tokens(True),
    "tokens, time first": lambda: tokens(False),
    "in place": lambda: Case(InPlace(), torch.randn(5, 3, 4), labels(5), ("leaky_relu", "tanh")),
    "as many positions as samples": lambda: Case(InPlace(), torch.randn(3, 3, 4), labels(3), ("leaky_relu", "tanh")),
    "folded": lambda: Case(Folded(), torch.randn(4, 5, 4), labels(4), ("logistic",)),
}


def build(name: str) -> Case:
    torch.manual_seed(0)
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        return CASES[name]()
    finally:
        torch.set_default_dtype(before)


CASES |= {
    f"{name}, no chain": lambda make=make: own(make())
    for name, make in CASES.items()
    if name in ("mlp", "one sample", "draws", "lenet", "lenet, draws")
}


@pytest.fixture(params=list(CASES))
def case(request: pytest.FixtureRequest) -> Case:
    return build(request.param)


@pytest.fixture
def named() -> Callable[[str], Case]:
    return build


def gradients(case: Case, output: Callable[[], Any]) -> list[torch.Tensor]:
    return list(torch.autograd.grad(output(), list(case.model.parameters()), allow_unused=True))


def looped(case: Case, losses: Callable[[Any, Any], torch.Tensor]) -> Iterator[dict[str, Any]]:
    """One backward for each sample, of that sample's own loss alone, and the deviation of each layer's gradient."""
    model, args = case.model, case.x if isinstance(case.x, tuple) else (case.x,)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    owned: dict[str, list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():  # a shared one is named once, at its first owner
        owned.setdefault(name.rpartition(".")[0], []).extend([parameter] if parameter.requires_grad else [])
    exact = losses(model(*args), case.y)
    generator = torch.Generator().manual_seed(3)
    with ds.untie(model, {key: list(case.surrogates) for key in case.activations}, generator) as untied:
        found = losses(model(*args), case.y)
        for sample in range(len(exact)):
            reference = torch.autograd.grad(exact[sample], trained, retain_graph=True, allow_unused=True)
            for choice, gradient in untied.replay(found[sample], trained, draws=case.draws):
                both = {id(p): (g, r) for p, g, r in zip(trained, gradient, reference, strict=True)}
                groups = {path: [both[id(p)] for p in own] for path, own in owned.items() if own}
                for layer, pairs in (groups | {"whole": list(both.values())}).items():
                    kept = [(g, r) for g, r in pairs if not (g is None and r is None)]
                    if kept:
                        d = ds.deviation([g for g, _ in kept], [r for _, r in kept])
                        at = {"index": choice.index, "draw": choice.draw, "layer": layer, "sample": str(sample)}
                        names = ("cosine", "angle_degrees", "log10_magnitude_ratio", "directional_derivative", "reason")
                        yield at | {name: getattr(d, name) for name in names}


def share(output: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return F.cross_entropy(output, y, reduction="none") / len(y)


@pytest.fixture
def differences() -> Callable[[Case], pd.DataFrame]:
    """The largest difference between `per_sample` and the loops, by column; the rows must be the same."""

    def compare(case: Case) -> pd.DataFrame:
        table = per_sample(
            case.model, F.cross_entropy, (case.x, case.y), list(case.surrogates), draws=case.draws, seed=3
        )
        names = list(dict.fromkeys(table.surrogate))
        table["index"] = table.surrogate.map(names.index)
        keys = ["index", "draw", "layer", "sample"]
        wanted = pd.DataFrame(looped(case, share)).set_index(keys)
        known = table[~table.reason.str.startswith("the layer is")].set_index(keys)
        assert known.index.sort_values().equals(wanted.index.sort_values())
        known = known.loc[wanted.index]
        assert (known.reason == wanted.reason).all(), known.reason[known.reason != wanted.reason]
        numbers = ["cosine", "angle_degrees", "log10_magnitude_ratio", "directional_derivative"]
        apart = (known[numbers] - wanted[numbers].astype(float)).abs()
        assert (apart.isna() == wanted[numbers].isna()).all(axis=None)
        assert np.isfinite(apart.fillna(0)).all(axis=None)
        return apart

    return compare
