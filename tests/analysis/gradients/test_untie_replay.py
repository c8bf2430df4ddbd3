"""One forward, many backwards; random surrogates draw the same from the same generator, whatever the order."""

from __future__ import annotations

import downslope as ds
import pytest
import torch
import torch.nn.functional as F
from downslope.analysis.errors import Refused
from torch import nn

NAMES = ["tied", "constant", "triangle", "full_jam"]


@pytest.fixture
def model() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 6), nn.ReLU(), nn.Linear(6, 6), nn.Tanh(), nn.Linear(6, 1))


@pytest.fixture
def x() -> torch.Tensor:
    return torch.randn(5, 3, generator=torch.Generator().manual_seed(1))


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


Gradients = tuple[torch.Tensor, ...]


def same(a: Gradients, b: Gradients) -> bool:
    return all(torch.equal(left, right) for left, right in zip(a, b, strict=True))


def gradient(model: nn.Module, x: torch.Tensor, mapping: dict[str, object], seed: int = 0) -> Gradients:
    with ds.untie(model, mapping, seeded(seed)):
        return torch.autograd.grad(model(x).sum(), list(model.parameters()))


def test_each_replay_is_what_a_forward_of_its_own_gives(model: nn.Module, x: torch.Tensor) -> None:
    with ds.untie(model, {"relu": NAMES, "tanh": "gaussian"}, seeded()) as untied:
        replays = list(untied.replay(model(x).sum(), list(model.parameters())))
    assert [choice.name for choice, _ in replays] == [f"{name}, gaussian" for name in NAMES]
    assert [(place.forward, place.backward) for place in untied.places] == [(1, 4), (1, 4)]
    for choice, gradients in replays[:3]:
        assert same(gradients, gradient(model, x, {"relu": choice.surrogates["relu"], "tanh": "gaussian"}))


def test_lists_go_together(model: nn.Module, x: torch.Tensor) -> None:
    with ds.untie(model, {"relu": ["constant", "triangle"], "tanh": ["tied", "clipped"]}) as untied:
        replays = list(untied.replay(model(x).sum(), list(model.parameters())))
    assert [choice.surrogates for choice, _ in replays] == [
        {"relu": "constant", "tanh": "tied"},
        {"relu": "triangle", "tanh": "clipped"},
    ]
    for choice, gradients in replays:
        assert same(gradients, gradient(model, x, dict(choice.surrogates)))


def test_replay_leaves_grad_alone_and_gives_none_to_the_unused(model: nn.Module, x: torch.Tensor) -> None:
    unused = nn.Parameter(torch.ones(2))
    with ds.untie(model, {"relu": ["constant", "triangle"]}) as untied:
        for _, gradients in untied.replay(model(x).sum(), [*model.parameters(), unused]):
            assert gradients[-1] is None
    assert all(parameter.grad is None for parameter in model.parameters())


def test_a_backward_without_a_choice_is_refused(model: nn.Module, x: torch.Tensor) -> None:
    with ds.untie(model, {"relu": ["constant", "triangle"]}) as untied:
        value = model(x).sum()
        with pytest.raises(Refused, match="2 surrogates were given to one forward"):
            value.backward(retain_graph=True)
        with untied.choose(1):
            value.backward()
        for index, draw in [(2, 0), (-1, 0), (0, -1)]:
            with pytest.raises(Refused, match="numbered from 0"):
                untied.choose(index, draw)
        with pytest.raises(Refused, match="at least one draw"):
            next(untied.replay(value, list(model.parameters()), draws=0))
    assert torch.equal(model[0].weight.grad, gradient(model, x, {"relu": "triangle"})[0])


def rows(model: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """The Jacobian of the output with respect to the first weight by one batched backward: torch's older vmap."""
    return torch.autograd.grad(model(x).squeeze(1), model[0].weight, torch.eye(len(x)), is_grads_batched=True)[0]


def one_by_one(model: nn.Module, x: torch.Tensor, name: str) -> torch.Tensor:
    with ds.untie(model, {"relu": name}):
        output = model(x).squeeze(1)
    return torch.stack([torch.autograd.grad(entry, model[0].weight, retain_graph=True)[0] for entry in output])


def test_a_batched_backward_never_gives_the_first_surrogate_in_silence(model: nn.Module, x: torch.Tensor) -> None:
    """A batched backward is one backward. Its rows are refused where nothing says which of K surrogates they take, and
    are all of the surrogate that is chosen where something does; they are never silently the first one's."""
    names = ["constant", "triangle", "gaussian"]
    with ds.untie(model, {"relu": names}) as untied:
        with pytest.raises(Refused, match="is_grads_batched=True"):
            rows(model, x)
        found = {}
        for index, name in enumerate(names):
            with untied.choose(index):
                found[name] = rows(model, x)
    for name in names:
        torch.testing.assert_close(found[name], one_by_one(model, x, name))
    assert not torch.allclose(found["constant"], found["triangle"])


def test_a_batched_backward_of_one_surrogate(model: nn.Module, x: torch.Tensor) -> None:
    with ds.untie(model, {"relu": "triangle"}):
        found = rows(model, x)
    torch.testing.assert_close(found, one_by_one(model, x, "triangle"))


def test_a_batched_backward_cannot_draw(model: nn.Module, x: torch.Tensor) -> None:
    with pytest.raises(RuntimeError, match="random operations inside of vmap"), ds.untie(model, {"relu": "full_jam"}):
        rows(model, x)


# Random surrogates


def test_the_same_seed_gives_the_same_draw(model: nn.Module, x: torch.Tensor) -> None:
    jam = {"relu": "full_jam", "tanh": "full_jam"}
    assert same(gradient(model, x, jam), gradient(model, x, jam))
    assert not same(gradient(model, x, jam), gradient(model, x, jam, seed=1))


def test_torch_s_default_generator(model: nn.Module, x: torch.Tensor) -> None:
    def draw() -> Gradients:
        with ds.untie(model, {"relu": "full_jam"}):
            return torch.autograd.grad(model(x).sum(), list(model.parameters()))

    torch.manual_seed(7)
    first, second = draw(), draw()
    torch.manual_seed(7)
    assert same(first, draw())
    assert not same(first, second)


def test_each_run_place_and_draw_has_its_own_noise(x: torch.Tensor) -> None:
    z = torch.ones(1000, requires_grad=True)
    twice = nn.Sequential(nn.ReLU(), nn.ReLU())
    seen = []
    with ds.untie(twice, {"relu": ["full_jam", "full_jam"]}, seeded()) as untied:
        for _ in range(2):
            inner = twice[0](z)
            inner.retain_grad()
            value = twice[1](inner).sum()
            for _, (at_input, at_inner) in untied.replay(value, [z, inner], draws=2):
                seen += [at_inner, at_input / at_inner]  # the two places' factors
    assert len(seen) == 16
    correlations = torch.corrcoef(torch.stack(seen)) - torch.eye(16)
    assert correlations.abs().max() < 0.15


def test_order_and_repetition_of_backwards_do_not_matter(model: nn.Module, x: torch.Tensor) -> None:
    with ds.untie(model, {"relu": ["full_jam", "positive_jam"], "tanh": "full_jam"}, seeded()) as untied:
        value = model(x).sum()
        found = {}
        for index, draw in [(0, 0), (1, 3), (0, 2), (1, 0), (0, 0), (1, 3)]:
            with untied.choose(index, draw):
                gradients = torch.autograd.grad(value, list(model.parameters()), retain_graph=True)
            assert same(found.setdefault((index, draw), gradients), gradients)
    replayed = {
        (choice.index, choice.draw): gradients
        for choice, gradients in untied.replay(value, list(model.parameters()), draws=4)
    }
    assert all(same(replayed[key], gradients) for key, gradients in found.items())
    assert len({gradients[0].sum().item() for gradients in replayed.values()}) == 8


@pytest.mark.filterwarnings("ignore:`torch.jit.*` is deprecated:DeprecationWarning")
def test_forward_mode_draws_what_reverse_mode_draws(x: torch.Tensor) -> None:
    model, z = nn.Sequential(nn.ReLU()), torch.randn(50)
    with ds.untie(model, {"relu": "full_jam"}, seeded()):
        zz = z.clone().requires_grad_()
        reverse = torch.autograd.grad(model(zz).sum(), zz)[0]
    with ds.untie(model, {"relu": "full_jam"}, seeded()), torch.autograd.forward_ad.dual_level():
        dual = model(torch.autograd.forward_ad.make_dual(z, torch.ones_like(z)))
        forward = torch.autograd.forward_ad.unpack_dual(dual).tangent
    assert torch.equal(forward, reverse)


def test_transforms_draw_what_a_plain_backward_draws(model: nn.Module, x: torch.Tensor) -> None:
    held = {name: parameter.detach() for name, parameter in model.named_parameters()}

    def value(held: dict[str, torch.Tensor], x: torch.Tensor) -> torch.Tensor:
        return torch.func.functional_call(model, held, (x,)).sum()

    expected = gradient(model, x, {"relu": "full_jam"})
    with ds.untie(model, {"relu": "full_jam"}, seeded()):
        assert same(tuple(torch.func.grad(value)(held, x).values()), expected)
    per_sample = torch.func.vmap(torch.func.grad(value), in_dims=(None, 0), randomness="different")
    with ds.untie(model, {"relu": "full_jam"}, seeded()):
        found = per_sample(held, x)
    for summed, whole in zip((each.sum(0) for each in found.values()), expected, strict=True):
        torch.testing.assert_close(summed, whole)
    assert float(per_sample_spread(found["0.bias"])) > 0


def per_sample_spread(gradients: torch.Tensor) -> torch.Tensor:
    return gradients.std(0).max()


@pytest.mark.parametrize("randomness", ["error", "different", "same"])
def test_under_vmap_each_entry_has_its_own_draw_whatever_the_flag(
    model: nn.Module, x: torch.Tensor, randomness: str
) -> None:
    """The draw belongs to the entry and to the generator, as in a plain backward; vmap has nothing to decide."""

    def inputs_gradient(row: torch.Tensor) -> torch.Tensor:
        return torch.func.grad(lambda row: model(row).sum())(row)

    with ds.untie(model, {"relu": "full_jam"}, seeded()):
        found = torch.func.vmap(inputs_gradient, randomness=randomness)(x)
    z = x.clone().requires_grad_()
    with ds.untie(model, {"relu": "full_jam"}, seeded()):
        expected = torch.autograd.grad(model(z).sum(), z)[0]
    torch.testing.assert_close(found, expected)


def test_the_mean_over_draws_is_the_gradient_of_the_mean(model: nn.Module, x: torch.Tensor) -> None:
    """E psi = 1/2 for U(0, 1), drawn independently at each place, entry and draw."""
    n = 1000
    with ds.untie(model, {"relu": "full_jam", "tanh": "full_jam"}, seeded()) as untied:
        value, first = model(x).sum(), model[0].bias
        drawn = torch.stack([found[0] for _, found in untied.replay(value, [first], draws=n)]).double()
    expected = gradient(model, x, {"relu": "constant", "tanh": "constant"})[1].double() / 4
    standard_error = drawn.std(0) / n**0.5
    assert ((drawn.mean(0) - expected).abs() < 5 * standard_error).all()


def test_the_same_surrogate_at_every_call_of_one_module(x: torch.Tensor) -> None:
    class Recurrent(nn.Module):
        def forward(self, z: torch.Tensor) -> torch.Tensor:
            for _ in range(3):
                z = F.relu(z)
            return z

    model, z = Recurrent(), torch.ones(200, requires_grad=True)
    with ds.untie(model, {"relu": "full_jam"}, seeded()):
        product = torch.autograd.grad(model(z).sum(), z)[0]
    # Three independent factors, not one cubed: E = 1/8, not 1/4.
    assert abs(float(product.mean()) - 1 / 8) < 5 * (1 / 27 - 1 / 64) ** 0.5 / 200**0.5
