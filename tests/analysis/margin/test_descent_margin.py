from __future__ import annotations

import math

import downslope as ds
import pytest
import torch
import torch.nn.functional as F
from downslope.analysis.errors import Refused
from downslope.analysis.gradients.margin import descent, passes
from downslope.analysis.gradients.margin.replay import replay
from downslope.analysis.gradients.margin.walk import reuse
from torch import nn

NAMES = ["tanh", "logistic", "softplus", "relu", "gelu", "convolution", "residual", "in place"]


@pytest.mark.parametrize("name", NAMES)
def test_at_kappa_star_the_inner_product_of_a_real_backward_is_zero(case, name):
    model, loss, batch = case(name)
    for margin in ds.descent_margin(model, loss, batch):
        found = replay(model, loss, batch, {str(margin.place): margin.factors()}, margin.below)
        moduli = margin.kappa_star * margin.negative + margin.positive + abs(margin.around)
        assert abs(found.inner) < 1e-13 * moduli
        assert found.norm_squared == pytest.approx(margin.norm_squared, rel=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_a_little_beyond_a_small_step_raises_the_loss_and_a_little_below_it_lowers_it(case, name):
    model, loss, batch = case(name)
    for margin in ds.descent_margin(model, loss, batch):
        for kappa, sign in ((1.01 * margin.kappa_star, 1), (0.99 * margin.kappa_star, -1)):
            found = replay(model, loss, batch, {str(margin.place): margin.factors(kappa)}, margin.below)
            assert math.copysign(1, -found.inner) == sign
            # To first order the loss moves by -step <g, g~>; halve until the second order is small beside it.
            step = 1e-2 * abs(found.inner) / found.surrogate_norm_squared
            moves = [found.loss_after(step / 4**i) - found.loss for i in range(8)]
            assert any(sign * move > 1e-14 for move in moves), (margin.place, moves)


@pytest.mark.parametrize("name", ["tanh", "convolution", "residual"])
def test_no_factors_within_the_margin_turn_the_step(case, name):
    model, loss, batch = case(name)
    generator = torch.Generator().manual_seed(1)
    for margin in ds.descent_margin(model, loss, batch):
        kappa = 0.999 * margin.kappa_star
        for _ in range(5):
            mask = torch.rand(margin.contributions.shape, generator=generator) < 0.5
            factors = torch.ones_like(margin.contributions).masked_fill_(mask, kappa)
            found = replay(model, loss, batch, {str(margin.place): factors}, margin.below)
            assert found.inner >= margin.worst(1, kappa) - 1e-12 > 0


def test_against_a_backward_by_hand():
    """One hidden layer, squared error: c_ki = delta_ki <g_i, x_k>, x with the bias's 1 (THEORY descent-margin)."""
    torch.manual_seed(3)
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)).double()
    x, y = torch.randn(7, 3).double(), torch.randn(7, 2).double()
    (margin,) = ds.descent_margin(model, lambda a, b: ((a - b) ** 2).sum() / 2, (x, y))
    w, b, v, c = (p.detach() for p in model.parameters())
    ones = torch.cat([x, torch.ones(7, 1).double()], 1)
    hidden = torch.tanh(x @ w.T + b)
    delta = ((hidden @ v.T + c - y) @ v) * (1 - hidden**2)
    expected = delta * (ones @ (delta.T @ ones).T)
    assert torch.allclose(margin.contributions, expected, rtol=1e-12, atol=0)
    positive, negative = expected.clamp_min(0).sum(), -expected.clamp_max(0).sum()
    assert margin.kappa_star == pytest.approx(float(positive / negative), rel=1e-12)
    assert margin.kappa_star == pytest.approx(1 + margin.norm_squared / margin.negative, rel=1e-12)
    assert margin.around == 0


def test_deep_contributions_against_one_jacobian_for_each_place(case):
    model, loss, (x, y) = case("logistic")
    layers = list(model)
    for margin, end in zip(ds.descent_margin(model, loss, (x, y)), (1, 3, 5), strict=True):
        below = nn.Sequential(*layers[:end])
        parameters = dict(below.named_parameters())
        value = loss(model(x), y)
        g = dict(zip(parameters, torch.autograd.grad(value, list(parameters.values())), strict=True))
        z, dz = torch.func.jvp(lambda p, f=below: torch.func.functional_call(f, p, x), (parameters,), (g,))
        a = torch.sigmoid(z).detach().requires_grad_()
        (r,) = torch.autograd.grad(loss(nn.Sequential(*layers[end + 1 :])(a), y), a)
        expected = r * (a * (1 - a) * dz).detach()
        assert torch.allclose(margin.contributions, expected, rtol=1e-9, atol=1e-18)
        assert margin.below == tuple(parameters)


def test_one_sample_and_one_layer_can_never_be_turned(case):
    """THEORY last-layer: every entry keeps its sign, so C- = 0."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3)).double()
    (margin,) = ds.descent_margin(model, F.cross_entropy, (torch.randn(1, 4).double(), torch.tensor([1])))
    assert margin.kappa_star == math.inf
    assert margin.negative == 0
    with pytest.raises(ValueError, match="give a finite kappa"):
        margin.factors()


def test_the_witness_of_batch_mixing():
    """THEORY batch-mixing: leaky slope 1/2, w = 1, x = (1, -1), y = (-1, -7/2): g = 1/2, const-1 gives -1."""
    model = nn.Sequential(nn.Linear(1, 1, bias=False), nn.LeakyReLU(0.5)).double()
    nn.init.ones_(model[0].weight)
    batch = (torch.tensor([[1.0], [-1.0]]).double(), torch.tensor([[-1.0], [-3.5]]).double())
    (margin,) = ds.descent_margin(model, lambda a, y: ((a - y) ** 2).sum() / 2, batch)
    assert (margin.positive, margin.negative, margin.kappa_star) == (1.0, 0.75, 4 / 3)
    spread = margin.spread(ds.SURROGATES["constant"])
    assert (spread.least, spread.most, spread.kappa) == (1, 2, 2)
    assert (spread.worst, spread.inner, spread.standing) == (-0.5, -0.5, "outside")


def test_paths_around_a_place_are_seen(case):
    model, loss, batch = case("residual")
    margins = ds.descent_margin(model, loss, batch)
    assert [str(m.place) for m in margins] == ["model[0] tanh", "model[1] softplus", "model[2] logistic"]
    assert [m.around == 0 for m in margins] == [True, False, True]
    assert margins[0].below == ("first.weight", "first.bias")
    assert margins[1].below == margins[2].below == ("first.weight", "first.bias", "again.weight", "again.bias")


def test_what_goes_around_is_the_inner_product_with_the_place_shut(case):
    model, loss, batch = case("residual")
    margin = ds.descent_margin(model, loss, batch)[1]
    shut = replay(model, loss, batch, {str(margin.place): torch.zeros_like(margin.contributions)}, margin.below)
    assert margin.around == pytest.approx(shut.inner, rel=1e-12)


def test_in_place_operations_change_nothing(case):
    plain, in_place = case("in place"), case("in place")
    plain[0].in_place = False
    for one, other in zip(ds.descent_margin(*plain), ds.descent_margin(*in_place), strict=True):
        assert torch.allclose(one.contributions, other.contributions, rtol=1e-10, atol=1e-18)
        assert torch.equal(one.preactivation, other.preactivation)


def test_single_precision_agrees_with_double(case):
    for name in ("tanh", "convolution"):
        double, single = (ds.descent_margin(*case(name, dtype=d)) for d in (torch.float64, torch.float32))
        for a, b in zip(double, single, strict=True):
            assert b.kappa_star == pytest.approx(a.kappa_star, rel=1e-4)


def test_one_module_used_twice_is_two_places():
    act = nn.Tanh()
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 4), act, nn.Linear(4, 4), act, nn.Linear(4, 3))
    margins = ds.descent_margin(model, F.cross_entropy, (torch.randn(8, 4), torch.randint(0, 3, (8,))))
    assert [str(m.place) for m in margins] == ["1[0] tanh", "1[1] tanh"]


def test_frozen_and_unused_parameters_are_named_and_do_not_count(case):
    model, loss, batch = case("tanh")
    model[0].bias.requires_grad_(False)
    model.register_parameter("spare", nn.Parameter(torch.ones(2)))
    margins = ds.descent_margin(model, loss, batch)
    assert margins.frozen == ("0.bias",)
    assert margins.unused == ("spare",)
    assert margins[0].below == ("0.weight",)
    found = replay(model, loss, batch, {"1[0] tanh": margins[0].factors()}, ["0.weight"])
    assert abs(found.inner) < 1e-12 * found.norm_squared
    model[0].weight.requires_grad_(False)
    lowest = ds.descent_margin(model, loss, batch)[0]
    assert lowest.kappa_star is None
    assert lowest.reason == "no trainable parameter that the loss depends on lies below it"


def test_a_zero_gradient_leaves_the_margin_undefined(case):
    model, loss, batch = case("relu")
    nn.init.constant_(model[2].bias, -100.0)
    margins = ds.descent_margin(model, loss, batch)
    assert [m.reason for m in margins] == ["the true gradient of the parameters below it is zero"] * 2
    assert [m.kappa_star for m in margins] == [None, None]
    assert margins[0].spread(ds.SURROGATES["constant"]).standing == "undecided"


def test_step_functions_are_undefined_not_zero():
    class Step(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(4, 4), nn.Linear(4, 3)

        def forward(self, x):
            return self.b(torch.sign(self.a(x)))

    torch.manual_seed(0)
    with pytest.raises(Refused, match="undefined: the exact derivative is zero through sign"):
        ds.descent_margin(Step(), F.cross_entropy, (torch.randn(8, 4), torch.randint(0, 3, (8,))))


def test_the_second_pass_may_reuse_the_first_because_nothing_changes(case, monkeypatch):
    for name in ("tanh", "convolution", "residual", "in place"):
        reused = ds.descent_margin(*case(name))
        with monkeypatch.context() as patch:
            patch.setattr(passes.Recall, "__torch_function__", lambda self, f, t, a=(), k=None: f(*a, **(k or {})))
            plain = ds.descent_margin(*case(name))
        for a, b in zip(reused, plain, strict=True):
            assert torch.allclose(a.contributions, b.contributions, rtol=1e-10, atol=1e-18)


@pytest.mark.parametrize("planted", ["sign", "scale", "entry"])
def test_a_planted_error_in_the_contributions_is_caught_by_the_sum(case, monkeypatch, planted):
    real = descent.signed_sums

    def wrong(c):
        if planted == "entry":
            c = c.clone()
            c.view(-1)[c.abs().argmax()] = 0
        return real({"sign": -c, "scale": 1.01 * c, "entry": c}[planted])

    monkeypatch.setattr(descent, "signed_sums", wrong)
    with pytest.raises(Refused, match="the contributions sum to"):
        ds.descent_margin(*case("tanh"))


def test_indexing_by_name_and_the_unknown_name(case):
    margins = ds.descent_margin(*case("tanh"))
    assert len(margins) == 2
    assert margins["3[0] tanh"] is margins[1]
    with pytest.raises(KeyError, match="the places are"):
        margins["4"]


class Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        layer = nn.TransformerEncoderLayer(8, 2, 16, activation="gelu", batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.last = nn.Linear(8, 3)

    def forward(self, x):
        return self.last(self.encoder(x).mean(1))


class Recurrent(nn.Module):
    """Backpropagation through time: one weight at every step, every step a place."""

    def __init__(self):
        super().__init__()
        self.into, self.over, self.last = nn.Linear(8, 5), nn.Linear(5, 5), nn.Linear(5, 3)

    def forward(self, x):
        h = torch.zeros(len(x), 5, dtype=x.dtype)
        for t in range(x.shape[1]):
            h = torch.tanh(self.into(x[:, t]) + self.over(h))
        return self.last(h)


class Fused(nn.Module):
    def __init__(self):
        super().__init__()
        self.memory, self.last = nn.LSTM(8, 5, batch_first=True), nn.Linear(5, 3)

    def forward(self, x):
        return self.last(torch.tanh(self.memory(x)[0][:, -1]))


@pytest.mark.parametrize(
    ("build", "places", "unreached"), [(Encoder, 2, ()), (Recurrent, 4, ()), (Fused, 1, ("memory",))]
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_attention_and_recurrence(build, places, unreached, dtype):
    """In float32, too, where torch's fused long short-term memory has no forward mode."""
    torch.manual_seed(0)
    model = build().to(dtype).eval()
    enabled = torch._C._get_mkldnn_enabled()
    batch = torch.randn(5, 4, 8).to(dtype), torch.randint(0, 3, (5,))
    margins = ds.descent_margin(model, F.cross_entropy, batch)
    assert len(margins) == places
    assert margins.unreached == unreached
    for margin in margins:
        found = margin.replay()
        assert abs(found.inner) < (1e-11 if dtype == torch.float64 else 1e-4) * margin.norm_squared
    assert torch._C._get_mkldnn_enabled() == enabled


class Named(nn.Module):
    """Takes its inputs by name."""

    def __init__(self):
        super().__init__()
        self.chain = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3))

    def forward(self, data, scale=None):
        return self.chain(data if scale is None else data * scale)


@pytest.mark.parametrize("scaled", [False, True])
def test_inputs_by_name(scaled):
    torch.manual_seed(0)
    model, x, y = Named(), torch.randn(8, 4), torch.randint(0, 3, (8,))
    given = {"data": x, "scale": torch.tensor(2.0)} if scaled else {"data": x}
    (named,) = ds.descent_margin(model, F.cross_entropy, (given, y))
    (plain,) = ds.descent_margin(model.chain, F.cross_entropy, (2 * x if scaled else x, y))
    assert named.kappa_star == plain.kappa_star
    assert abs(named.replay().inner) < 1e-4 * named.norm_squared


def test_a_path_around_that_is_overlooked_is_caught_by_the_sum(case, monkeypatch):
    real = descent.below
    monkeypatch.setattr(descent, "below", lambda *given: [(names, False) for names, _ in real(*given)])
    with pytest.raises(Refused, match=r"at model\[1\] softplus the contributions sum to"):
        ds.descent_margin(*case("residual"))


def test_a_path_around_is_not_imagined_in_a_chain(case):
    for name in ("tanh", "logistic", "convolution", "in place"):
        assert [margin.around for margin in ds.descent_margin(*case(name))] == [0] * len(ds.descent_margin(*case(name)))


def test_a_tangent_that_forgets_the_layers_below_is_caught_by_the_sum(case, monkeypatch):
    real = reuse.apart

    def forgetful(value):
        primal, tangent = real(value)
        return primal, tangent if value.dim() != 2 or value.shape[1] != 6 or value.shape[0] != 12 else None

    monkeypatch.setattr(reuse, "apart", forgetful)
    with pytest.raises(Refused, match=r"at 3\[0\] tanh the contributions sum to"):
        ds.descent_margin(*case("tanh"))
