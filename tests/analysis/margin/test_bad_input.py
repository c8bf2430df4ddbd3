from __future__ import annotations

import re

import downslope as ds
import pytest
import torch
import torch.nn.functional as F
from downslope.analysis.errors import Refused
from downslope.analysis.gradients.margin.replay import replay
from torch import nn


class Model(nn.Module):
    """Two linear layers around whatever is given."""

    def __init__(self, middle):
        super().__init__()
        self.a, self.b, self.middle = nn.Linear(4, 6), nn.Linear(6, 3), middle

    def forward(self, x):
        return self.b(self.middle(self.a(x)))


class Straight(torch.autograd.Function):
    """tanh with the derivative of the identity: a backward that is not the derivative of its forward."""

    @staticmethod
    def forward(ctx, x):
        return x.tanh()

    @staticmethod
    def backward(ctx, error):
        return error

    @staticmethod
    def jvp(ctx, tangent):
        return 0.5 * tangent


class NoTangent(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, error):
        return error


def batch(n=8):
    torch.manual_seed(0)
    return torch.randn(n, 4), torch.randint(0, 3, (n,))


def both():
    return pytest.mark.parametrize("ask", [ds.descent_margin, ds.certify], ids=["descent_margin", "certify"])


@both()
def test_no_activation(ask):
    with pytest.raises(Refused, match="nothing to replace"):
        ask(Model(nn.Identity()), F.cross_entropy, batch())


@both()
def test_a_loss_that_is_not_one_number(ask):
    with pytest.raises(Refused, match=r"loss\(model\(x\), y\) returned a tensor of shape \(8,\), and only a scalar"):
        ask(Model(nn.Tanh()), lambda o, y: F.cross_entropy(o, y, reduction="none"), batch())


@both()
def test_nan_in_weights_names_the_parameter(ask):
    model = Model(nn.Tanh())
    with torch.no_grad():
        model.b.weight[1, 2] = float("nan")
    with pytest.raises(Refused, match=r"the parameter b\.weight has 1 entries of 18 that are NaN"):
        ask(model, F.cross_entropy, batch())


@both()
def test_infinity_in_data(ask):
    x, y = batch()
    x[3, 1] = float("inf")
    with pytest.raises(Refused, match="x has 1 entries of 32"):
        ask(Model(nn.Tanh()), F.cross_entropy, (x, y))


@both()
def test_large_finite_data_are_not_taken_for_infinite(ask):
    x, y = batch()
    model = Model(nn.Tanh())
    ask(model, lambda o, y: F.cross_entropy(o, y), (x.clone().fill_(3e38) * torch.sign(x), y))


@both()
def test_an_empty_batch(ask):
    with pytest.raises(Refused, match=r"x has shape \(0, 4\): there is no sample"):
        ask(Model(nn.Tanh()), F.cross_entropy, (torch.empty(0, 4), torch.empty(0, dtype=torch.long)))


@both()
def test_a_batch_that_is_no_pair(ask):
    with pytest.raises(Refused, match="a Tensor is no pair"):
        ask(Model(nn.Tanh()), F.cross_entropy, torch.randn(3, 4))


@both()
@pytest.mark.parametrize("layer", [nn.BatchNorm1d(6), nn.Dropout(0.5)], ids=["batch norm", "dropout"])
def test_training_mode(ask, layer):
    model = Model(nn.Sequential(nn.Tanh(), layer)).train()
    with pytest.raises(Refused, match=r"middle\.1 \((BatchNorm1d|Dropout)\) is in training mode.*model\.eval\(\)"):
        ask(model, F.cross_entropy, batch())


@both()
def test_every_parameter_frozen(ask):
    with pytest.raises(Refused, match="no parameter has requires_grad"):
        ask(Model(nn.Tanh()).requires_grad_(False), F.cross_entropy, batch())


@pytest.mark.parametrize("kappa", ["a", 0.5, -1.0, float("inf"), float("nan"), 1j], ids=str)
def test_a_replay_names_a_ratio_that_is_none(kappa):
    (margin,) = ds.descent_margin(Model(nn.Tanh()), F.cross_entropy, batch())
    with pytest.raises(Refused, match=re.escape(f"replay(kappa={kappa!r}): ") + ".*finite number >= 1; give one"):
        margin.replay(kappa)
    assert margin.replay(1).inner > 0


def test_batch_norm_in_evaluation_mode_is_measured():
    model = Model(nn.Sequential(nn.BatchNorm1d(6), nn.Tanh())).double().eval()
    x, y = batch()
    (margin,) = ds.descent_margin(model, F.cross_entropy, (x.double(), y))
    assert margin.below == ("a.weight", "a.bias", "middle.0.weight", "middle.0.bias")
    found = replay(model, F.cross_entropy, (x.double(), y), {str(margin.place): margin.factors()}, margin.below)
    assert abs(found.inner) < 1e-12 * found.norm_squared


class RandomTanh(nn.Module):
    def forward(self, x):
        return F.dropout(torch.tanh(x), 0.5, training=True)


class Step(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return torch.tanh(self.function.apply(x))


def test_a_random_forward_pass():
    with pytest.raises(Refused, match="random"):
        ds.descent_margin(Model(RandomTanh()), F.cross_entropy, batch())


def test_a_backward_that_is_not_the_derivative():
    with pytest.raises(Refused, match="not the derivative"):
        ds.descent_margin(Model(Step(Straight)), F.cross_entropy, batch())


class Flat(nn.Module):
    """Without a trainable parameter below it a step turns no gradient."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x, torch.zeros_like(x)) if self.function is torch.heaviside else self.function(x)


@both()
@pytest.mark.parametrize("function", [torch.heaviside, torch.sign, torch.round], ids=lambda each: each.__name__)
def test_a_step_has_no_exact_gradient(ask, function):
    model = Model(nn.Sequential(Flat(function), nn.Linear(6, 6), nn.Tanh()))
    message = rf"{ask.__name__}\(model=...\): undefined: .* zero through {function.__name__}.*reference="
    with pytest.raises(Refused, match=message):
        ask(model, F.cross_entropy, batch())


@both()
@pytest.mark.parametrize("function", [torch.heaviside, torch.sign, torch.round], ids=lambda each: each.__name__)
def test_a_step_on_the_data_alone_is_no_obstacle(ask, function):
    ask(nn.Sequential(Flat(function), nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3)), F.cross_entropy, batch())


def test_no_forward_mode():
    with pytest.raises(Refused, match=r"descent_margin\(model=...\): middle \(Step\) calls .* no forward-mode"):
        ds.descent_margin(Model(Step(NoTangent)), F.cross_entropy, batch())


@both()
@pytest.mark.parametrize("lost", [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory: you")])
def test_memory_that_ends_in_the_models_own_passes_is_told(ask, lost):
    class Large(nn.Module):
        def forward(self, x):
            raise lost

    with pytest.raises(Refused, match=rf"{ask.__name__}\(batch=...\): it does not fit into memory .*smaller batch"):
        ask(Model(Large()), F.cross_entropy, batch())


@both()
def test_another_failure_of_the_model_is_its_own(ask):
    class Broken(nn.Module):
        def forward(self, x):
            raise RuntimeError("of mine")

    with pytest.raises(RuntimeError, match=r"^of mine$"):
        ask(Model(Broken()), F.cross_entropy, batch())


@both()
def test_a_loss_that_does_not_depend_on_the_model(ask):
    with pytest.raises(Refused, match=rf"{ask.__name__}\(loss=...\): it does not depend on"):
        ask(Model(nn.Tanh()), lambda o, y: F.cross_entropy(o.detach(), y), batch())


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"restarts": -1}, r"restarts=-1\): a whole number, 0 or more"),
        ({"restarts": 1.5}, r"restarts=1\.5\): a whole number"),
        ({"kappa": "2"}, r"kappa='2'\): .* is a number in \[1, 1e\+06\]"),
        ({"kappa": 0.5}, r"kappa=0\.5\): "),
        ({"kappa": float("nan")}, r"kappa=nan\): "),
        ({"kappa": True}, r"kappa=True\): "),
        ({"over": "a.weight"}, r"over='a\.weight'\): a list of names .* write over=\['a\.weight'\]"),
        ({"over": []}, r"over=\[\]\): no parameter is named"),
        ({"over": ["c.weight"]}, r"over=\['c\.weight'\]\): no trainable parameter"),
        ({"tolerance": 1.0}, r"tolerance=1\.0\): .* between 0 and 1"),
        ({"tolerance": 0}, r"tolerance=0\): .* between 0 and 1"),
        ({"tolerance": "1e-3"}, r"tolerance='1e-3'\): "),
        ({"seed": None}, r"seed=None\): a whole number"),
    ],
)
def test_arguments_of_a_certificate(given, message):
    with pytest.raises(Refused, match=rf"^certify\({message}"):
        ds.certify(Model(nn.Tanh()), F.cross_entropy, batch(), **given)


def test_low_precision_is_refused():
    x, y = batch()
    with pytest.raises(Refused, match=r"bfloat16, too coarse.*model\.float"):
        ds.descent_margin(Model(nn.Tanh()).bfloat16(), F.cross_entropy, (x.bfloat16(), y))


def test_replay_names_what_it_does_not_have():
    model = Model(nn.Tanh())
    with pytest.raises(Refused, match="no such activation place"):
        replay(model, F.cross_entropy, batch(), {"nowhere": torch.ones(1)})
    with pytest.raises(Refused, match=r"over=\['nothing'\]"):
        replay(model, F.cross_entropy, batch(), {}, ["nothing"])
