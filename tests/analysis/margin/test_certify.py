from __future__ import annotations

import itertools
import math

import downslope as ds
import pytest
import torch
import torch.nn.functional as F
from downslope.analysis.errors import Refused
from downslope.analysis.gradients.margin.certificate import certificate as certificates
from downslope.analysis.gradients.margin.certificate import crown as crowns
from downslope.analysis.gradients.margin.certificate.attack import inner
from downslope.analysis.gradients.margin.certificate.trace import trace
from downslope.analysis.gradients.margin.replay import replay
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

CHAINS = ["tanh", "logistic", "softplus", "relu", "gelu", "convolution"]


def test_with_one_activation_the_certificate_is_the_margin():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3)).double()
    batch = torch.randn(12, 4).double(), torch.randint(0, 3, (12,))
    (margin,) = ds.descent_margin(model, F.cross_entropy, batch)
    found = ds.certify(model, F.cross_entropy, batch, over=margin.below, tolerance=1e-6)
    assert found.certified <= margin.kappa_star <= found.attacked
    assert found.certified == pytest.approx(margin.kappa_star, rel=1e-5)
    assert found.attacked == pytest.approx(margin.kappa_star, rel=1e-5)
    assert torch.equal(found.above.factors["1[0] tanh"], margin.factors(found.attacked))


@pytest.mark.parametrize("name", CHAINS)
@pytest.mark.parametrize("over", ["all", "lowest"])
def test_certified_below_attacked_and_the_witness_replays(case, name, over):
    model, loss, batch = case(name, samples=6)
    lowest = [next(iter(dict(model.named_parameters())))]
    names = None if over == "all" else lowest
    found = ds.certify(model, loss, batch, over=names, tolerance=0.02)
    assert 1 < found.certified < found.attacked
    assert found.below.lower > 0
    assert found.below.verdict == "descends"
    assert found.above.upper < 0
    assert found.above.verdict == "ascends"
    assert found.above.lower <= found.above.upper
    assert found.below.lower <= found.below.upper
    again = replay(model, loss, batch, found.above.factors, names)
    assert again.inner == pytest.approx(found.above.upper, rel=1e-6, abs=1e-13 * found.above.norm_squared)
    assert all(set(t.unique().tolist()) <= {1.0, found.attacked} for t in found.above.factors.values())
    steps = [again.loss_after(10.0**-i) - again.loss for i in range(1, 8)]
    assert any(step > 1e-14 for step in steps)


@settings(max_examples=15, deadline=None, derandomize=True)
@given(st.data())
def test_the_certificate_never_exceeds_the_attack(data):
    widths = data.draw(st.lists(st.integers(1, 5), min_size=3, max_size=5), label="widths")
    torch.manual_seed(data.draw(st.integers(0, 10**6), label="seed"))
    scale = data.draw(st.sampled_from([1e-4, 0.3, 1.0, 3.0, 30.0]), label="scale")
    layers: list[nn.Module] = []
    for a, b in itertools.pairwise(widths):
        act = data.draw(st.sampled_from([nn.Tanh, nn.Sigmoid, nn.ReLU, nn.GELU, nn.Softplus]), label="activation")
        layers += [nn.Linear(a, b), act()]
    model = nn.Sequential(*layers, nn.Linear(widths[-1], 2)).double()
    with torch.no_grad():
        for p in model.parameters():
            p.mul_(scale)
    samples = data.draw(st.integers(1, 4), label="samples")
    batch = torch.randn(samples, widths[0]).double(), torch.randn(samples, 2).double()
    found = ds.certify(model, F.mse_loss, batch, tolerance=0.1, restarts=2)
    assert found.certified <= found.attacked
    for kappa in (1.0, found.certified, 1 + 3 * (found.certified - 1)):
        if kappa <= certificates.LIMIT:
            at = ds.certify(model, F.mse_loss, batch, kappa=kappa, restarts=2)
            assert at.lower <= at.upper


def test_what_is_certified_holds_for_random_factors(case):
    model, loss, batch = case("convolution", samples=4)
    found = ds.certify(model, loss, batch, tolerance=0.02)
    generator = torch.Generator().manual_seed(5)
    for _ in range(10):
        factors = {}
        for place, t in found.above.factors.items():
            mask = torch.rand(t.shape, generator=generator) < 0.5
            factors[place] = torch.ones_like(t).masked_fill_(mask, found.certified)
        assert replay(model, loss, batch, factors).inner >= found.below.lower > 0


@pytest.mark.parametrize("name", CHAINS)
def test_the_chain_is_the_model(case, name):
    """Its multilinear form under any factors is the inner product of a real backward."""
    model, loss, batch = case(name, samples=3)
    chain = trace(model, loss, batch)
    generator = torch.Generator().manual_seed(7)
    for names in (None, ["0.weight"], ["0.bias", list(dict(model.named_parameters()))[-1]]):
        chain = trace(model, loss, batch, None if names is None else frozenset(names))
        factors = {
            p: 1 + 4 * torch.rand(chain.steps[p].derivative.shape, generator=generator).double() for p in chain.slopes
        }
        by_name = {chain.steps[p].place: t for p, t in factors.items()}
        expected = replay(model, loss, batch, by_name, names)
        found = inner(chain, factors)
        assert float(found.value.sum()) == pytest.approx(expected.inner, rel=1e-11)
        assert chain.norm_squared == pytest.approx(expected.norm_squared, rel=1e-12)


class Shared(nn.Module):
    """One weight used twice, functions and methods instead of modules, a frozen bias."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(4, 4), nn.Linear(4, 3)
        self.a.bias.requires_grad_(False)

    def forward(self, x):
        return self.b(self.a(torch.tanh(self.a(x.flatten(1)))).sigmoid().contiguous())


def test_shared_and_frozen_parameters_and_functional_calls():
    torch.manual_seed(0)
    model = Shared()
    batch = torch.randn(5, 2, 2), torch.randint(0, 3, (5,))
    chain = trace(model, F.cross_entropy, batch)
    factors = {p: torch.full(chain.steps[p].derivative.shape, 1.0 + p).double() for p in chain.slopes}
    expected = replay(
        model.double(),
        F.cross_entropy,
        (batch[0].double(), batch[1]),
        {chain.steps[p].place: t for p, t in factors.items()},
    )
    assert float(inner(chain, factors).value.sum()) == pytest.approx(expected.inner, rel=1e-12)
    found = ds.certify(model, F.cross_entropy, batch, tolerance=0.05)
    assert found.places == ("model[0] tanh", "model[1] logistic")
    assert found.certified <= found.attacked


class Net(nn.Module):
    def __init__(self, forward):
        super().__init__()
        self.a, self.b, self.act = nn.Linear(4, 4), nn.Linear(4, 3), forward
        self.scale = nn.Parameter(torch.ones(4))

    def forward(self, x):
        return self.b(self.act(self, x))


REFUSED = {
    "residual": (lambda m, x: x + m.a(x).tanh(), r"the model itself \(Net\).*Tensor\.__?add__.*several|previous layer"),
    "softmax": (lambda m, x: torch.softmax(m.a(x).tanh(), 1), r"calls torch\.softmax: it is not a layer"),
    "product": (lambda m, x: m.a(x).tanh() * m.scale, r"mul.*not a layer"),
    "computed weight": (lambda m, x: F.linear(x, 2 * m.a.weight).tanh(), "weight or bias is computed"),
    "concatenation": (lambda m, x: torch.cat([m.a(x).tanh()[:, :2], x[:, :2]], 1), "not a layer|joins several"),
    "mixed samples": (lambda m, x: m.a(x).tanh().reshape(-1, 2).reshape(-1, 4), "mixing samples"),
    "skipped": (lambda m, x: (m.a(x).tanh(), x.tanh())[1], "does not take the previous layer's output alone"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_chain_is_refused_by_what_it_calls(name):
    act, message = REFUSED[name]
    with pytest.raises(Refused, match=message):
        ds.certify(Net(act), F.cross_entropy, (torch.randn(4, 4), torch.randint(0, 3, (4,))))


@pytest.mark.parametrize("layer", [nn.MaxPool2d(2), nn.InstanceNorm2d(3), nn.Softmax(1), nn.LayerNorm(6)])
def test_layers_that_are_no_chain_are_refused_by_module(case, layer):
    model, loss, batch = case("convolution")
    model[2] = layer.double().eval()
    with pytest.raises(Refused, match=rf"2 \({type(layer).__name__}\) calls torch\."):
        ds.certify(model, loss, batch)


def test_kappa_and_names_are_checked(case):
    for kappa in (0.5, math.nan, math.inf, 1e9):
        with pytest.raises(Refused, match=r"certify\(kappa="):
            ds.certify(*case("tanh"), kappa=kappa)
    with pytest.raises(Refused, match=r"certify\(over=\['0\.weigth'\]\)"):
        ds.certify(*case("tanh"), over=["0.weigth"])
    model, loss, batch = case("relu")
    nn.init.constant_(model[2].bias, -100.0)
    with pytest.raises(Refused, match="gradient is zero"):
        ds.certify(model, loss, batch, over=["0.weight"])


def test_the_search_ends_where_floating_point_has_no_number_between():
    """Near kappa = 1 neighbours differ by more than a fine tolerance asks for."""
    edge = 1 + 3e-11
    good, bad = certificates._bisect(lambda kappa: kappa < edge, 2.0, 1e-9)
    assert good < edge <= bad == math.nextafter(good, 2)


def test_one_sample_and_one_layer_is_certified_to_the_limit():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3)).double()
    batch = torch.randn(1, 4).double(), torch.tensor([1])
    found = ds.certify(model, F.cross_entropy, batch)
    assert (found.certified, found.attacked, found.above) == (certificates.LIMIT, math.inf, None)


def test_the_dtype_of_the_model_does_not_matter(case):
    model, loss, (x, y) = case("tanh", dtype=torch.float32)
    single = ds.certify(model, loss, (x, y), tolerance=0.01)
    double = ds.certify(model.double(), loss, (x.double(), y), tolerance=0.01)
    assert (single.certified, single.attacked) == (double.certified, double.attacked)
    assert next(model.parameters()).dtype == torch.float64
    assert x.dtype == torch.float32


def test_two_layers_take_the_better_bound_of_each_sample(case):
    chain = trace(*case("tanh", samples=5))
    kappa = 3.0
    crown = certificates.crown(chain, kappa)
    dual = certificates.semidefinite(certificates.bilinear(chain), kappa)
    best = certificates.lower_bound(chain)(kappa)
    assert best == pytest.approx(float(torch.maximum(crown, dual).sum()), rel=1e-9)
    assert best >= max(float(crown.sum()), float(dual.sum())) - 1e-12


LOST = RuntimeError("[enforce fail] . DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes.")


@pytest.mark.parametrize("lost", [LOST, MemoryError()], ids=["torch", "python"])
@pytest.mark.parametrize("fits", [1, 3, 10**6])
def test_where_memory_runs_out_the_stack_of_functionals_halves(case, monkeypatch, lost, fits):
    chain = trace(*case("tanh", samples=5))
    whole, real, sizes = crowns.crown(chain, 3.0), crowns._push, []

    def narrow(chain, relaxed, kappa, start, tangent, own):
        sizes.append(len(tangent.value))
        if not own and len(tangent.value) > 2 * fits:
            raise lost
        return real(chain, relaxed, kappa, start, tangent, own)

    monkeypatch.setattr(crowns, "_push", narrow)
    assert torch.allclose(crowns.crown(chain, 3.0), whole, rtol=1e-12, atol=0)
    assert sizes[:-1] == {1: [12, 6, *[2] * 6], 3: [12, 6, 6], 10**6: [12]}[fits]


def test_where_one_functional_does_not_fit_that_is_refused(case, monkeypatch):
    def lost(*given, own, **more):
        raise LOST

    monkeypatch.setattr(crowns, "_push", lost)
    with pytest.raises(Refused, match=r"certify\(batch=\.\.\.\): it does not fit into memory .*can't allocate"):
        ds.certify(*case("tanh"))


def test_another_failure_is_not_taken_for_lost_memory(case, monkeypatch):
    def broken(*given, own, **more):
        raise RuntimeError("another")

    monkeypatch.setattr(crowns, "_push", broken)
    with pytest.raises(RuntimeError, match="another"):
        ds.certify(*case("tanh"))
