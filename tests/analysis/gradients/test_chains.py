"""Stacked gradients of chains against one replayed backward each: the same numbers, at the same draws."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence
from itertools import pairwise

import downslope as ds
import pytest
import torch
import torch.nn.functional as F
from downslope.analysis.gradients import chains
from downslope.analysis.gradients.chains import stages, walk
from torch import Tensor, nn

SURROGATES = [*ds.SURROGATES, "tied", ds.SURROGATES["triangle"].at(height=0.5)]
SEED = 3


def perceptron(*widths: int, hidden: type[nn.Module] = nn.ReLU) -> nn.Sequential:
    layers = [part for wide, narrow in pairwise(widths) for part in (nn.Linear(wide, narrow), hidden())]
    return nn.Sequential(*layers[:-1])


def images(first: nn.Module, second: nn.Module) -> nn.Sequential:
    return nn.Sequential(
        *(nn.Conv2d(1, 3, 3, padding=1), nn.Sigmoid(), first, nn.Conv2d(3, 8, 3, stride=2), nn.Tanh(), second),
        *(nn.Flatten(), nn.Sequential(nn.Linear(8, 6), nn.LeakyReLU(0.2)), nn.Dropout(0.5), nn.Linear(6, 10)),
    ).eval()


Case = tuple[Callable[[], nn.Module], tuple[int, ...], set[str]]
CASES: dict[str, Case] = {
    "fewer samples than inputs": (lambda: perceptron(20, 30, 25, 10), (8, 20), {"relu"}),
    "more samples than inputs": (lambda: perceptron(20, 30, 25, 10), (100, 20), {"relu"}),
    "one activation of two": (
        lambda: nn.Sequential(nn.Linear(5, 6), nn.GELU(), nn.Linear(6, 5), nn.ReLU(inplace=True), nn.Linear(5, 3)),
        (9, 5),
        {"relu"},
    ),
    "images, averaged": (
        lambda: images(nn.AvgPool2d(2), nn.AvgPool2d(2)), (7, 1, 16, 16), {"logistic", "tanh", "leaky_relu"}
    ),
    "images, maxima": (
        lambda: images(nn.MaxPool2d(2, padding=1), nn.MaxPool2d(2, stride=1)), (7, 1, 8, 8), {"logistic", "tanh"}
    ),
    "images, other averages": (
        lambda: images(nn.AvgPool2d(3, stride=2, padding=1), nn.AvgPool2d((3, 2), divisor_override=3)),
        (7, 1, 16, 16),
        {"logistic"},
    ),
}  # fmt: skip


def problem(case: str, dtype: torch.dtype) -> tuple[nn.Module, tuple[Tensor, Tensor], dict[str, list[object]]]:
    build, shape, keys = CASES[case]
    torch.manual_seed(0)
    model = build().to(dtype)
    batch = torch.randn(shape, dtype=dtype), torch.randint(3, (shape[0],))
    return model, batch, {key: list(SURROGATES) for key in keys}


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(SEED)


def replayed(
    model: nn.Module, batch: tuple[Tensor, Tensor], replaced: dict, draws: int, source: torch.Generator
) -> list:
    with ds.untie(model, replaced, source) as untied:
        value = F.cross_entropy(model(batch[0]), batch[1])
        return list(untied.replay(value, list(model.parameters()), draws=draws))


def assert_same(found: Sequence[Tensor], expected: Sequence[Tensor], dtype: torch.dtype) -> None:
    """Each entry to rounding, of the largest entry of its parameter."""
    for one, other in zip(found, expected, strict=True):
        peak = float(other.abs().max())
        assert float((one - other).abs().max()) <= 100 * torch.finfo(dtype).eps * peak


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("case", CASES)
def test_gradients_are_those_of_a_replay(case: str, dtype: torch.dtype) -> None:
    model, batch, replaced = problem(case, dtype)
    mine, theirs = generator(), generator()
    expected = replayed(model, batch, replaced, 3, theirs)
    stacked = chains.gradients(
        model, F.cross_entropy, batch, replaced, list(model.parameters()), draws=3, generator=mine
    )
    found = list(stacked)
    assert [choice for choice, _ in found] == [choice for choice, _ in expected]
    for (_, gradients), (_, reference) in zip(found, expected, strict=True):
        assert_same(gradients, reference, dtype)
    assert torch.equal(mine.get_state(), theirs.get_state())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("case", CASES)
def test_deviations_are_those_of_the_gradients(case: str, dtype: torch.dtype) -> None:
    model, batch, replaced = problem(case, dtype)
    exact = torch.autograd.grad(F.cross_entropy(model(batch[0]), batch[1]), list(model.parameters()))
    names = [name for name, _ in model.named_parameters()]
    found = list(chains.deviations(model, F.cross_entropy, batch, replaced, draws=2, generator=generator()))
    expected = replayed(model, batch, replaced, 2, generator())
    assert [each.choice for each in found] == [choice for choice, _ in expected]
    for each, (_, gradients) in zip(found, expected, strict=True):
        for path, mine in (*each.layers.items(), ("", each.whole)):
            of_layer = [index for index, name in enumerate(names) if not path or name.rpartition(".")[0] == path]
            right = ds.deviation([gradients[index] for index in of_layer], [exact[index] for index in of_layer])
            assert mine.reason == right.reason
            assert mine.kept is mine.sign_agreement is mine.nonzero_fraction is None
            if not right.reason:
                close = 2e-3 if dtype == torch.float32 else 1e-6
                assert mine.angle_degrees == pytest.approx(right.angle_degrees, abs=close)
                for name in ("cosine", "log10_magnitude_ratio", "directional_derivative"):
                    assert getattr(mine, name) == pytest.approx(getattr(right, name), rel=close, abs=close / 100)


def test_a_wrong_factor_a_wrong_draw_and_a_wrong_layer_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    model, batch, _ = problem("more samples than inputs", torch.float64)
    replaced, parameters = {"relu": ["triangle", "full_jam"]}, list(model.parameters())
    expected = replayed(model, batch, replaced, 2, generator())

    def differs() -> bool:
        found = chains.gradients(model, F.cross_entropy, batch, replaced, parameters, draws=2, generator=generator())
        try:
            for (_, mine), (_, right) in zip(found, expected, strict=True):
                assert_same(mine, right, torch.float64)
        except AssertionError:
            return True
        return False

    assert not differs()
    right = walk.multiplied
    for mutant in (lambda *args: right(*args) * 1.001, lambda error, *args: right(error.roll(1, 0), *args)):
        with monkeypatch.context() as patch:
            patch.setattr(walk, "multiplied", mutant)
            assert differs()
    draws = walk.drawn
    with monkeypatch.context() as patch:
        patch.setattr(walk, "drawn", lambda *args: {member: psi.flip(0) for member, psi in draws(*args).items()})
        assert differs()
    with monkeypatch.context() as patch:
        patch.setattr(stages.Linear, "back", lambda self, error, x: (error @ self.weight).abs())
        assert differs()


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        return x + torch.relu(self.inner(x))


class OwnLinear(nn.Linear):
    pass


def hooked() -> nn.Module:
    model = perceptron(4, 4, 3)
    model[0].register_forward_hook(lambda module, args, output: 2 * output)
    return model


def shared() -> nn.Module:
    model = perceptron(4, 4, 4, 3)
    model[2].weight = model[0].weight
    return model


NO_CHAINS: dict[str, Callable[[], nn.Module]] = {
    "batch norm": lambda: nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 3)),
    "a module of the user's": lambda: nn.Sequential(Residual(), nn.ReLU(), nn.Linear(4, 3)),
    "a subclass": lambda: nn.Sequential(OwnLinear(4, 4), nn.ReLU(), nn.Linear(4, 3)),
    "a hook": hooked,
    "a weight in two places": shared,
    "dropout in training": lambda: nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Dropout(), nn.Linear(4, 3)).train(),
    "an activation that is no one call": lambda: nn.Sequential(nn.Linear(4, 4), nn.Tanhshrink(), nn.ReLU()),
    "no such activation": lambda: perceptron(4, 4, 3, hidden=nn.Tanh),
    "not sequential": lambda: nn.Linear(4, 3),
}


@pytest.mark.parametrize("case", NO_CHAINS)
def test_what_is_no_chain_is_left_to_the_caller(case: str) -> None:
    model, batch = NO_CHAINS[case](), (torch.randn(5, 4), torch.randint(3, (5,)))
    parameters = list(model.parameters())
    assert chains.gradients(model, F.cross_entropy, batch, {"relu": "constant"}, parameters) is None
    assert chains.deviations(model, F.cross_entropy, batch, {"relu": "constant"}) is None


def test_a_loss_that_sees_the_weights_or_sequences_are_left_to_the_caller() -> None:
    model = perceptron(4, 4, 3)
    batch = torch.randn(5, 4), torch.randint(3, (5,))
    decay = lambda output, y: F.cross_entropy(output, y) + model[0].weight.square().sum()  # noqa: E731
    assert chains.deviations(model, F.cross_entropy, batch, {"relu": "constant"}) is not None
    assert chains.deviations(model, decay, batch, {"relu": "constant"}) is None
    longer = torch.randn(5, 2, 4), torch.randn(5, 2, 3)
    assert chains.deviations(model, F.mse_loss, longer, {"relu": "constant"}) is None


def test_a_frozen_parameter_has_no_gradient_and_no_part() -> None:
    model, batch, _ = problem("more samples than inputs", torch.float64)
    model[2].weight.requires_grad_(False)
    model[0].requires_grad_(False)
    parameters = list(model.parameters())
    ((_, found),) = chains.gradients(model, F.cross_entropy, batch, {"relu": "triangle"}, parameters)
    assert [each is not None for each in found] == [parameter.requires_grad for parameter in parameters]
    (measured,) = chains.deviations(model, F.cross_entropy, batch, {"relu": "triangle"})
    assert list(measured.layers) == ["2", "4"]


def test_multiples_share_a_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    model, batch, _ = problem("more samples than inputs", torch.float64)
    triangle, double = ds.SURROGATES["triangle"], ds.SURROGATES["gaussian"]
    double = ds.Surrogate("double", factor=3 * double.formula)
    replaced = {"relu": ["constant", triangle, triangle.at(height=0.25), "gaussian", double, triangle.at(width=2)]}
    groups = []
    right = walk._sums
    monkeypatch.setattr(walk, "_sums", lambda *args: groups.append(args[1]) or right(*args))
    parameters = list(model.parameters())
    found = list(chains.gradients(model, F.cross_entropy, batch, replaced, parameters))
    assert [member.choice for group in groups for member in group] == [0, 1, 3, 5]
    for (_, mine), (_, other) in zip(found, replayed(model, batch, replaced, 1, generator()), strict=True):
        assert_same(mine, other, torch.float64)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError(),
        MemoryError(),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes."),
    ],
)
def test_where_memory_runs_out_there_are_fewer_samples_at_a_time(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    model, batch, replaced = problem("more samples than inputs", torch.float64)
    tried, right = [], walk._sums

    def scarce(forward: walk.Forward, group: Sequence[object], samples: int) -> object:
        tried.append(samples)
        if samples > 10:
            raise error
        return right(forward, group, samples)

    expected = list(chains.deviations(model, F.cross_entropy, batch, replaced, generator=generator()))
    monkeypatch.setattr(walk, "_sums", scarce)
    found = list(chains.deviations(model, F.cross_entropy, batch, replaced, generator=generator()))
    assert tried[:5] == [100, 50, 25, 12, 6]
    for one, other in zip(found, expected, strict=True):
        assert one.whole.cosine == pytest.approx(other.whole.cosine, abs=1e-12)


MEMORY = """
import resource, torch, torch.nn.functional as F
import downslope as ds
from downslope.analysis.gradients import chains
from torch import nn
torch.set_num_threads(1)
model = nn.Sequential(nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 10))
batch = torch.randn(1024, 784), torch.randint(10, (1024,))
many = [ds.SURROGATES["triangle"].at(width=1 + index / 8) for index in range(32)]
kept = list(chains.gradients(model, F.cross_entropy, batch, {"relu": many}, list(model.parameters())))
assert len(kept) == 32
assert len(list(chains.deviations(model, F.cross_entropy, batch, {"relu": many}))) == 32
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def test_32_surrogates_of_a_large_batch_fit_into_2_gigabytes() -> None:
    done = subprocess.run([sys.executable, "-c", MEMORY], capture_output=True, text=True, check=True, timeout=300)
    assert int(done.stdout) * 1024 < 2e9


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("case", CASES)
def test_on_cuda_the_deviations_are_the_same(case: str) -> None:
    model, batch, replaced = problem(case, torch.float64)
    exact = {key: [name for name in SURROGATES if isinstance(name, str) and "jam" not in name] for key in replaced}
    here = list(chains.deviations(model, F.cross_entropy, batch, exact))
    there = chains.deviations(model.cuda(), F.cross_entropy, (batch[0].cuda(), batch[1].cuda()), exact)
    for one, other in zip(here, there, strict=True):
        assert one.whole.reason == other.whole.reason
        if not one.whole.reason:
            assert one.whole.angle_degrees == pytest.approx(other.whole.angle_degrees, abs=1e-6)
