"""Samples that act on one another are refused with the reason; undefined is a state; the table is that of `measure`."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import downslope as ds
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from downslope.analysis.errors import Refused
from downslope.analysis.gradients.per_sample.maps.apart import additive
from downslope.analysis.gradients.per_sample.measurement import per_sample
from torch import nn


@pytest.fixture
def model() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 6), nn.Sigmoid(), nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 3))


X = torch.randn(8, 4, generator=torch.Generator().manual_seed(1))
Y = torch.arange(8) % 3


class Mixing(nn.Module):
    """Takes something over the samples, in the middle."""

    def __init__(self, mix: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.first, self.last, self.mix = nn.Linear(4, 6), nn.Linear(6, 3), mix

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(torch.tanh(self.mix(self.first(x))))


@pytest.mark.parametrize(
    "mix",
    [
        lambda h: h - h.mean(0),
        lambda h: h + h.flip(0),
        lambda h: h / h.norm(),
        lambda h: (h @ h.T).softmax(1) @ h,
        lambda h: torch.cat([h[:1] + 1e-3 * h[1:2], h[1:]]),
        lambda h: F.batch_norm(h, None, None, training=True),
    ],
)
def test_a_model_that_mixes_samples_is_refused(mix: Callable[[torch.Tensor], torch.Tensor]) -> None:
    torch.manual_seed(0)
    with pytest.raises(Refused, match="the samples of the batch act on one another inside the model"):
        per_sample(Mixing(mix), F.cross_entropy, (X, Y), "constant")
    per_sample(Mixing(torch.relu), F.cross_entropy, (X, Y), "constant")


def test_samples_that_are_mixed_under_a_step_are_found_by_a_surrogate() -> None:
    class Binary(Mixing):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.last(torch.sign(self.mix(self.first(x))))

    torch.manual_seed(0)
    with pytest.raises(Refused, match="act on one another inside the model"):
        per_sample(Binary(lambda h: h - h.mean(0)), F.cross_entropy, (X, Y), "triangle(width=3)")


def test_batch_norm_in_training_mode_is_refused_by_its_name() -> None:
    model = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 3))
    with pytest.raises(Refused, match=r"the BatchNorm1d 1 is in training mode .* Call model\.eval\(\) first"):
        per_sample(model, F.cross_entropy, (X, Y), "constant")
    assert len(per_sample(model.eval(), F.cross_entropy, (X, Y), "constant")) == 4 * 8


COMPARING = {
    "centred": lambda o: (o - o.mean(0)).square().sum(),
    "spread": lambda o: o.std(),
    "ranking": lambda o: F.relu(0.1 + o[:, :1] - o[:, 0]).sum(),
    "contrastive": lambda o: F.cross_entropy(o @ o.T, torch.arange(8)),
    "squared mean": lambda o: o.mean() ** 2,
    "softmax over the batch": lambda o: F.log_softmax(o, 0).sum(),
    "neighbours": lambda o: F.mse_loss(o, o.flip(0)),
}


@pytest.mark.parametrize("name", COMPARING)
def test_a_loss_that_compares_samples_is_refused(name: str, model: nn.Module) -> None:
    with pytest.raises(Refused, match="the loss compares samples with one another"):
        per_sample(model, lambda output, _: COMPARING[name](output), (X, Y), "constant")
    value = COMPARING[name](torch.randn(8, 3, requires_grad=True).clone())
    assert not additive(value.grad_fn, 8)


SUMS = {
    "cross entropy": lambda o: F.cross_entropy(o, Y),
    "weighted": lambda o: F.cross_entropy(o, Y, weight=torch.tensor([1.0, 2.0, 3.0]), label_smoothing=0.1),
    "squares": lambda o: 3 * F.mse_loss(o, torch.ones(8, 3)) / 2 + o.tanh().sum(),
    "in place": lambda o: o.sub_(1).square().sum(),
    "hinge": lambda o: F.multi_margin_loss(o, Y),
    "absolute": lambda o: F.smooth_l1_loss(o, torch.zeros(8, 3)),
    "random": lambda o: (o * torch.rand(8, 3)).square().sum(),
    "probabilities": lambda o: F.binary_cross_entropy(o.sigmoid(), torch.ones(8, 3)),
}


@pytest.mark.parametrize("name", SUMS)
def test_a_loss_that_is_a_sum_over_samples_is_accepted(name: str, model: nn.Module) -> None:
    table = per_sample(model, lambda output, _: SUMS[name](output), (X, Y), "constant")
    assert (table.state == "defined").all()


def test_which_losses_are_known_to_be_sums_without_a_trial() -> None:
    known = [
        name for name, loss in SUMS.items() if additive(loss(torch.randn(8, 3, requires_grad=True).clone()).grad_fn, 8)
    ]
    assert set(known) == {"cross entropy", "squares", "in place", "random"}


def test_a_parameter_in_the_loss_is_refused(model: nn.Sequential) -> None:
    def decayed(output: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return F.cross_entropy(output, y) + 1e-3 * model[2].weight.square().sum()

    with pytest.raises(Refused, match=r"the loss depends on the parameter 2\.weight directly"):
        per_sample(model, decayed, (X, Y), "constant")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"loss": lambda output, y: output}, r"returned a tensor of shape \(8, 3\)"),
        ({"loss": lambda output, y: output.detach().sum()}, "does not depend on any trained parameter"),
        ({"batch": (X[:0], Y[:0])}, "there is no sample in it"),
        ({"batch": X}, "is no pair"),
        ({"surrogates": []}, "name at least one surrogate"),
        ({"surrogates": ["cnstant"]}, "did you mean 'constant'"),
        ({"draws": 0}, "at least one draw"),
        ({"model": nn.Sequential(nn.Linear(4, 3))}, "no activation of the catalogue"),
        ({"model": nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Flatten(0))}, r"\(24,\), and its first dimension must"),
    ],
)
def test_bad_input(model: nn.Sequential, change: dict[str, Any], message: str) -> None:
    given = {"model": model, "loss": F.cross_entropy, "batch": (X, Y), "surrogates": "constant"} | change
    with pytest.raises(Refused, match=message):
        per_sample(**given)


def test_a_forward_with_a_state_of_its_own_is_refused() -> None:
    class Counts(Mixing):
        calls = 0

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.calls += 1
            return super().forward(x) * self.calls

    with pytest.raises(Refused, match="two runs of one forward gave different outputs"):
        per_sample(Counts(torch.relu), F.cross_entropy, (X, Y), "constant")


def test_a_hook_that_mixes_samples_is_seen() -> None:
    def mix(h: torch.Tensor) -> torch.Tensor:
        h.register_hook(lambda gradient: gradient / gradient.norm())
        return h * 1

    with pytest.raises(Refused, match="act on one another inside the model"):
        per_sample(Mixing(mix), F.cross_entropy, (X, Y), "constant")


def test_undefined_is_a_state_of_the_sample_with_its_reason(model: nn.Sequential) -> None:
    dead = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 1))
    with torch.no_grad():
        dead[0].weight.copy_(torch.eye(2)), dead[0].bias.zero_(), dead[2].weight.fill_(1)
    x = torch.tensor([[1.0, 2.0], [-1.0, -2.0], [1.0, -1.0]])
    table = per_sample(dead, F.mse_loss, (x, torch.full((3, 1), 9.0)), ["constant", "tied"])
    table = table.set_index(["surrogate", "layer", "sample"])
    assert table.loc[("constant", "0", "1"), "reason"] == "the reference gradient is zero"
    assert table.loc[("tied", "0", "1"), "reason"] == "the reference gradient is zero and the gradient is zero"
    assert table.loc[("constant", "0", "1"), ["cosine", "angle_degrees", "log10_magnitude_ratio"]].isna().all()
    assert table.loc[("constant", "0", "0"), "angle_degrees"] == 0
    assert table.loc[("constant", "whole", "1"), "state"] == "defined"


@pytest.mark.parametrize("step", [torch.sign, lambda z: torch.heaviside(z, z.new_zeros(()))])
def test_below_a_step_the_exact_gradient_is_no_reference(step: Any) -> None:
    class Binary(Mixing):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.last(step(self.first(x)))

    torch.manual_seed(0)
    table = per_sample(Binary(torch.relu), F.cross_entropy, (X, Y), ["constant", "triangle"])
    assert table[table.layer == "first"].reason.str.startswith("the exact gradient is undefined here").all()
    assert table[table.layer == "whole"].angle_degrees.isna().all()
    assert (table[table.layer == "last"].angle_degrees == 0).all()


def test_the_table_is_one_of_measure(model: nn.Sequential) -> None:
    model[0].requires_grad_(False)
    said = {"network": "mlp", "stage": "end", "step": 7, "seed": 5, "draws": 2}
    batch = ds.measure(model, F.cross_entropy, (X, Y), ["triangle", "full_jam"], **said)
    each = per_sample(model, F.cross_entropy, (X, Y), ["triangle", "full_jam"], **said)
    assert (each.dtypes == batch.dtypes).all()
    assert list(each.columns) == list(batch.columns)
    assert each.attrs.keys() | {"way"} == batch.attrs.keys()
    assert each.attrs["loss"] == pytest.approx(batch.attrs["loss"])
    rest = ["kept", "flipped", "vanished", "appeared", "both_zero", "sign_agreement", "nonzero_fraction", "sample"]
    numbers = ["cosine", "angle_degrees", "log10_magnitude_ratio", "directional_derivative"]
    pd.testing.assert_frame_equal(
        each[each["sample"] == "0"].drop(columns=[*rest, *numbers]).reset_index(drop=True),
        batch.drop(columns=[*rest, *numbers]),
    )
    assert set(each["sample"]) == set(map(str, range(8)))
    assert each.reason[each.layer == "0"].unique().tolist() == [
        "the layer is frozen: no parameter of it requires a gradient"
    ]
    one = per_sample(model, F.cross_entropy, (X[:1], Y[:1]), "triangle")
    alone = ds.measure(model, F.cross_entropy, (X[:1], Y[:1]), "triangle")
    pd.testing.assert_frame_equal(one[numbers], alone[numbers], rtol=1e-5)


def test_the_model_is_left_as_it_was(model: nn.Sequential) -> None:
    model.append(nn.Dropout(0.5))
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    state, random = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    per_sample(model, F.cross_entropy, (X, Y), ["constant", "full_jam"], draws=2)
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert all((parameter.grad == 1).all() for parameter in model.parameters())
    assert torch.equal(torch.get_rng_state(), random)
    assert model.training
