"""untie under torch.func, double backward, copies, threads, checkpoints and the compiler."""

from __future__ import annotations

import copy
import pickle
import threading
from collections.abc import Callable, Iterator

import downslope as ds
import pytest
import torch
import torch.nn.functional as F
from downslope.analysis.errors import Refused
from downslope.analysis.gradients.untie.reach import UnreachedWarning
from torch import nn
from torch.utils.checkpoint import CheckpointError, checkpoint

MAPPING = {"tanh": "gaussian", "silu": "logistic_derivative", "relu": "triangle"}
# Forward mode makes torch script its own decompositions; the warning is its own too.
forward_mode = pytest.mark.filterwarnings("ignore:`torch.jit.*` is deprecated:DeprecationWarning")


class Network(nn.Module):
    """A module, a function and an in-place call."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second, self.last = (nn.Linear(a, b, dtype=torch.float64) for a, b in ((3, 6), (6, 6), (6, 2)))
        self.activation = nn.Tanh()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = F.silu(self.second(self.activation(self.first(x))))
        return F.relu(self.last(h), inplace=True)


@pytest.fixture
def model() -> nn.Module:
    return Network()


@pytest.fixture
def x() -> torch.Tensor:
    return torch.randn(4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def parameters(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: parameter.detach() for name, parameter in model.named_parameters()}


def loss(model: nn.Module) -> Callable[[dict[str, torch.Tensor], torch.Tensor], torch.Tensor]:
    return lambda held, x: torch.func.functional_call(model, held, (x,)).square().sum()


def eager(model: nn.Module, x: torch.Tensor) -> dict[str, torch.Tensor]:
    with ds.untie(model, MAPPING):
        gradients = torch.autograd.grad(model(x).square().sum(), list(model.parameters()))
    return dict(zip(parameters(model), gradients, strict=True))


def assert_close(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    assert found.keys() == expected.keys()
    for name in expected:
        torch.testing.assert_close(found[name], expected[name], rtol=1e-12, atol=1e-14)


def test_func_grad(model: nn.Module, x: torch.Tensor) -> None:
    with ds.untie(model, MAPPING) as untied:
        assert_close(torch.func.grad(loss(model))(parameters(model), x), eager(Network(), x))
    assert [place.forward for place in untied.places] == [1, 1, 1]


def test_func_grad_of_a_model_with_nothing_to_untie_is_refused(model: nn.Module, x: torch.Tensor) -> None:
    with pytest.raises(Refused, match="called none of 'gelu'"), ds.untie(model, {"gelu": "constant"}):
        torch.func.grad(loss(model))(parameters(model), x)


@pytest.mark.parametrize("chunk", [None, 2])
def test_per_sample_gradients(model: nn.Module, x: torch.Tensor, chunk: int | None) -> None:
    per_sample = torch.func.vmap(torch.func.grad(loss(model)), in_dims=(None, 0), chunk_size=chunk)
    with ds.untie(model, MAPPING):
        found = per_sample(parameters(model), x)
    for index in range(len(x)):
        assert_close({name: value[index] for name, value in found.items()}, eager(model, x[index : index + 1]))


def test_an_ensemble(x: torch.Tensor) -> None:
    members = [Network() for _ in range(3)]
    for seed, member in enumerate(members):
        torch.manual_seed(seed)
        for parameter in member.parameters():
            nn.init.normal_(parameter)
    stacked, _ = torch.func.stack_module_state(members)
    base = Network()
    with ds.untie(base, MAPPING):
        found = torch.func.vmap(torch.func.grad(loss(base)), in_dims=(0, None))(stacked, x)
    for index, member in enumerate(members):
        assert_close({name: value[index] for name, value in found.items()}, eager(member, x))


def test_grad_of_vmap(model: nn.Module, x: torch.Tensor) -> None:
    def mean(held: dict[str, torch.Tensor]) -> torch.Tensor:
        return torch.func.vmap(lambda row: loss(model)(held, row))(x).sum()

    with ds.untie(model, MAPPING):
        assert_close(torch.func.grad(mean)(parameters(model)), eager(Network(), x))


@forward_mode
def test_forward_mode_is_the_transpose_of_reverse_mode(model: nn.Module, x: torch.Tensor) -> None:
    with ds.untie(model, MAPPING):
        backward, forward = torch.func.jacrev(model)(x), torch.func.jacfwd(model)(x)
        tangent = torch.func.jvp(model, (x,), (torch.ones_like(x),))[1]
    torch.testing.assert_close(forward, backward, rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(tangent, backward.sum((2, 3)), rtol=1e-12, atol=1e-14)


def test_double_backward_goes_through_the_factor_s_derivative() -> None:
    model = nn.Sequential(nn.Tanh())
    u = torch.linspace(-2, 2, 9, dtype=torch.float64, requires_grad=True)
    with ds.untie(model, {"tanh": "gaussian"}):
        y = model(u)
    (first,) = torch.autograd.grad(y.sum(), u, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), u)
    density = torch.exp(-2 * u.detach() ** 2) * 2 / (2 * torch.pi) ** 0.5
    torch.testing.assert_close(first.detach(), density, rtol=1e-14, atol=0)
    torch.testing.assert_close(second, -4 * u.detach() * density, rtol=1e-13, atol=1e-16)


def test_a_second_derivative_is_the_difference_of_the_first(x: torch.Tensor) -> None:
    """One replaced layer above a linear map: with several, the second backward is itself untied below the top one."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 6), nn.SiLU(), nn.Linear(6, 1)).double()
    direction, step = torch.randn_like(x), 1e-5

    def gradient(at: torch.Tensor, create_graph: bool = False) -> torch.Tensor:
        return torch.autograd.grad(model(at).sum(), at, create_graph=create_graph)[0]

    at = x.clone().requires_grad_()
    with ds.untie(model, {"silu": "logistic_derivative"}):
        (found,) = torch.autograd.grad((gradient(at, True) * direction).sum(), at)
        ahead, behind = (gradient((x + s * direction).requires_grad_()) for s in (step, -step))
    expected = ((ahead - behind) / (2 * step) * direction).sum()
    torch.testing.assert_close((found * direction).sum(), expected, rtol=1e-7, atol=1e-9)


def test_hessian_by_transforms(model: nn.Module, x: torch.Tensor) -> None:
    smooth = {"tanh": "gaussian", "silu": "logistic_derivative", "relu": "constant"}
    at = x[0].clone().requires_grad_()
    with ds.untie(model, smooth):
        found = torch.func.jacrev(torch.func.grad(lambda row: model(row).sum()))(x[0])
        (gradient,) = torch.autograd.grad(model(at).sum(), at, create_graph=True)
        expected = torch.stack([torch.autograd.grad(entry, at, retain_graph=True)[0] for entry in gradient])
    torch.testing.assert_close(found, expected, rtol=1e-11, atol=1e-13)


class LogCosh(torch.autograd.Function):
    """log cosh, whose derivative is a tanh that its backward calls."""

    @staticmethod
    def forward(ctx, u):
        ctx.save_for_backward(u)
        return torch.log(torch.cosh(u))

    @staticmethod
    def backward(ctx, upstream):
        return upstream * torch.tanh(ctx.saved_tensors[0])


class Force(nn.Module):
    """Minus the gradient of an energy: a backward runs while the model does."""

    def __init__(self, accumulate: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.energy = nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 1)).double()
        self.accumulate = accumulate

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        energy = LogCosh.apply(self.energy(x)).sum()
        if self.accumulate:
            torch.autograd.backward(energy, inputs=[x])
            return self.energy(x) * x.grad
        return -torch.autograd.grad(energy, x, create_graph=True)[0]


def test_what_a_backward_inside_the_forward_calls_is_not_replaced(x: torch.Tensor) -> None:
    at = x.clone().requires_grad_()
    model = Force(accumulate=True)
    with ds.untie(model, {"tanh": "triangle"}) as untied:
        model(at)
    assert [(place.module, place.forward) for place in untied.places] == [("energy.1", 2)]


def test_what_a_backward_inside_the_forward_puts_on_the_graph_is_named(x: torch.Tensor) -> None:
    model, at = Force(accumulate=False), x.clone().requires_grad_()

    def gradients() -> tuple[torch.Tensor, ...]:
        return torch.autograd.grad(model(at).square().sum(), list(model.energy[0].parameters()))

    with pytest.warns(UnreachedWarning, match="1 native TanhBackward0"), ds.untie(model, {"tanh": "tied"}) as untied:
        found = gradients()
    assert [(place.module, place.forward) for place in untied.places] == [("energy.1", 1)]
    for a, b in zip(found, gradients(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-14)


def test_copies_of_the_model_inside_the_block_are_clean(model: nn.Module, x: torch.Tensor) -> None:
    with ds.untie(model, MAPPING):
        model(x)
        copies = [copy.deepcopy(model), pickle.loads(pickle.dumps(model))]
        gradients = [torch.autograd.grad(each(x).sum(), each.first.weight)[0] for each in copies]
    native = torch.autograd.grad(model(x).sum(), model.first.weight)[0]
    for each, gradient in zip(copies, gradients, strict=True):
        assert torch.equal(gradient, native)
        assert each._forward_hooks == {}
        assert each._forward_pre_hooks == {}


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda untied: pickle.loads(pickle.dumps(untied))])
def test_copies_of_the_untied_callable(
    model: nn.Module, x: torch.Tensor, copied: Callable[[object], ds.analysis.gradients.untie.untied.Untied]
) -> None:
    mapping = {ds.ACTIVATIONS["tanh"]: ds.SURROGATES["triangle"].at(width=2), "relu": "full_jam", nn.SiLU: "constant"}
    network = nn.Sequential(model.first, nn.Tanh(), nn.SiLU(), nn.ReLU())
    untied = ds.untie(network, mapping, torch.Generator().manual_seed(5))
    other = copied(untied)
    gradients = [
        torch.autograd.grad(each(x).sum(), list(each.model.parameters()), retain_graph=True) for each in (untied, other)
    ]
    assert other.model is not untied.model
    assert all(torch.equal(a, b) for a, b in zip(*gradients, strict=True))
    assert str(other) == str(untied)


def test_backward_on_another_thread_after_the_block(model: nn.Module, x: torch.Tensor) -> None:
    with ds.untie(model, MAPPING):
        value = model(x).square().sum()
    found: list[tuple[torch.Tensor, ...]] = []
    thread = threading.Thread(target=lambda: found.append(torch.autograd.grad(value, list(model.parameters()))))
    thread.start()
    thread.join()
    assert_close(dict(zip(parameters(model), found[0], strict=True)), eager(model, x))


def test_another_thread_runs_the_model_as_it_is(model: nn.Module, x: torch.Tensor) -> None:
    found: list[torch.Tensor] = []
    with ds.untie(model, MAPPING) as untied:
        model(x)
        thread = threading.Thread(
            target=lambda: found.append(torch.autograd.grad(model(x).sum(), model.first.weight)[0])
        )
        thread.start()
        thread.join()
    assert torch.equal(found[0], torch.autograd.grad(model(x).sum(), model.first.weight)[0])
    assert [place.forward for place in untied.places] == [1, 1, 1]


class Checkpointed(nn.Module):
    """The inner part is run again in the backward."""

    def __init__(self, reentrant: bool, function: bool = False) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.inner = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 4), nn.Tanh())
        self.last, self.reentrant, self.function = nn.Linear(4, 1), reentrant, function

    def run(self, x: torch.Tensor) -> torch.Tensor:
        return torch.tanh(self.inner[2](F.relu(self.inner[0](x))))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        part = self.run if self.function else self.inner
        return self.last(checkpoint(part, x, use_reentrant=self.reentrant))


CHECKPOINT = {"relu": "triangle", "tanh": "constant"}


def test_a_checkpointed_module_is_untied_again_inside_the_block() -> None:
    model, x = Checkpointed(reentrant=False), torch.randn(5, 3)
    plain = nn.Sequential(*model.inner, model.last)
    with ds.untie(plain, CHECKPOINT):
        expected = torch.autograd.grad(plain(x).sum(), list(plain.parameters()))
    with ds.untie(model, CHECKPOINT) as untied:
        found = torch.autograd.grad(model(x).sum(), list(model.parameters()))
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))
    assert [(place.forward, place.backward) for place in untied.places] == [(1, 1), (1, 1)]


@pytest.mark.parametrize("surrogate", ["triangle", "constant"])
def test_a_checkpoint_that_is_recomputed_outside_the_block_fails_loudly(surrogate: str) -> None:
    model = Checkpointed(reentrant=False)
    with ds.untie(model, dict.fromkeys(CHECKPOINT, surrogate)):
        value = model(torch.randn(5, 3)).sum()
    with pytest.raises(CheckpointError):
        value.backward()


def test_a_checkpointed_function_fails_loudly() -> None:
    model = Checkpointed(reentrant=False, function=True)
    with pytest.raises(CheckpointError), ds.untie(model, CHECKPOINT):
        model(torch.randn(5, 3)).sum().backward()


def test_a_reentrant_checkpoint_is_refused() -> None:
    model = Checkpointed(reentrant=True)
    with pytest.raises(Refused, match="use_reentrant=False"), ds.untie(model, CHECKPOINT):
        model(torch.randn(5, 3, requires_grad=True))


@pytest.fixture
def compiler() -> Iterator[Callable[..., object]]:
    yield lambda function: torch.compile(function, backend="eager")
    torch._dynamo.reset()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("warm", [True, False])
def test_compiled_code_runs_untied(compiler: Callable[..., nn.Module], warm: bool) -> None:
    """Values are compared: a compiled region that kept its own backward would raise nothing."""
    plain, x = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 1)), torch.randn(5, 3)

    def gradient(model: nn.Module) -> torch.Tensor:
        return torch.autograd.grad(model(x).sum(), plain[0].weight)[0]

    with ds.untie(plain, {"relu": "constant"}):
        expected = gradient(plain)
    native = gradient(plain)
    assert not torch.allclose(expected, native)
    whole, part = compiler(plain), nn.Sequential(compiler(plain[:2]), plain[2])
    for model in (whole, part):
        if warm:
            torch.testing.assert_close(gradient(model), native)
        with ds.untie(model, {"relu": "constant"}):
            torch.testing.assert_close(gradient(model), expected)
        torch.testing.assert_close(gradient(model), native)
    with ds.untie(plain, {"relu": "constant"}):
        torch.testing.assert_close(gradient(plain), expected)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_compiled_function_inside_the_model_runs_untied(compiler: Callable[..., Callable[..., torch.Tensor]]) -> None:
    function = compiler(lambda z: 2 * F.relu(z))

    class Calls(nn.Module):
        def forward(self, z: torch.Tensor) -> torch.Tensor:
            return function(z)

    model, z = Calls(), torch.tensor([-1.0, 1.0], requires_grad=True)
    assert torch.autograd.grad(model(z).sum(), z)[0].tolist() == [0, 2]
    with ds.untie(model, {"relu": "constant"}):
        assert torch.autograd.grad(model(z).sum(), z)[0].tolist() == [2, 2]
