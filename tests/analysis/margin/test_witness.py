"""A margin's witness, replayed by real backward passes: zero at kappa*, and beyond it a step that raises the loss."""

from __future__ import annotations

import copy
import dataclasses
import io
import json

import downslope as ds
import pytest
import torch
import torch.nn.functional as F
from downslope.analysis.errors import Refused
from downslope.analysis.gradients.margin import table
from rich.console import Console
from torch import nn


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("name", ["tanh", "logistic", "relu", "convolution", "residual"])
def test_at_the_margin_nothing_is_left_and_beyond_it_a_step_raises_the_loss(case, name, dtype):
    model, loss, batch = case(name, dtype=dtype)
    for margin in ds.descent_margin(model, loss, batch):
        at, beyond, before = (margin.replay(t * margin.kappa_star) for t in (1, 1.01, 0.99))
        assert {at.dtype, beyond.dtype} == {torch.float64}
        scale = margin.kappa_star * margin.negative
        assert abs(at.inner) < (1e-11 if dtype == torch.float64 else 1e-4) * scale
        assert beyond.inner == pytest.approx(-0.01 * scale, rel=0.02)
        step, after = beyond.rise()
        assert step > 0
        assert after == beyond.loss_after(step) > beyond.loss
        assert before.inner > 0
        assert before.loss_after(1e-3 * before.inner / before.surrogate_norm_squared) < before.loss


def test_the_lowest_layers_of_a_deep_network_rise_in_double_where_single_precision_hides_it():
    torch.manual_seed(0)
    layers = [part for _ in range(6) for part in (nn.Linear(8, 8), nn.Sigmoid())]
    model = nn.Sequential(*layers, nn.Linear(8, 3))
    batch = torch.randn(16, 8), torch.randint(0, 3, (16,))
    lowest = ds.descent_margin(model, F.cross_entropy, batch)[0]
    beyond = lowest.replay(1.01 * lowest.kappa_star)
    step, after = beyond.rise()
    assert step > 0
    assert beyond.dtype == torch.float64
    assert 0 < after - beyond.loss < torch.finfo(torch.float32).eps


def test_what_cannot_run_in_double_runs_in_its_own_dtype(case):
    model, _, batch = case("tanh", dtype=torch.float32)
    weight = torch.tensor([1.0, 2.0, 3.0])

    def weighted(output, y):
        return F.cross_entropy(output, y, weight=weight)

    (margin, _) = ds.descent_margin(model, weighted, batch)
    assert margin.replay().dtype == torch.float32
    (margin, _) = ds.descent_margin(model, nn.CrossEntropyLoss(weight=weight), batch)
    assert margin.replay().dtype == torch.float64
    assert weight.dtype == torch.float32
    found = ds.certify(model, Cast(), batch, tolerance=0.1)
    again = found.replay()
    assert again.dtype == torch.float32
    assert again.inner == pytest.approx(found.above.upper, abs=1e-5 * found.above.norm_squared * found.attacked)
    assert {g.dtype for g in again.surrogate.values()} == {torch.float32}


class Cast:
    """Cross-entropy that runs in the dtype of the certificate once, and then in float32 alone."""

    def __init__(self):
        self.called = 0

    def __call__(self, output, y):
        self.called += 1
        if self.called > 1 and output.dtype == torch.float64:
            raise RuntimeError("expected scalar type Float but found Double")
        return F.cross_entropy(output, y)


def test_a_model_that_has_moved_on_is_not_replayed(case):
    model, loss, batch = case("tanh")
    margin = ds.descent_margin(model, loss, batch)[0]
    with torch.no_grad():
        model[0].weight.add_(0.1)
    with pytest.raises(Refused, match=r"1\[0\] tanh: \|g\|\^2 is .* the model or the batch has changed since"):
        margin.replay()


def test_a_replay_changes_nothing(case):
    model, loss, batch = case("tanh", dtype=torch.float32)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    ds.descent_margin(model, loss, batch)[0].replay().rise()
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())


def test_no_step_along_a_descending_gradient_is_said_to_rise(case):
    """Within the margin a step that is too long raises the loss: that is no witness."""
    model, loss, batch = case("softplus")
    margin = ds.descent_margin(model, loss, batch)[0]
    within = margin.replay(1.0)
    assert within.inner == pytest.approx(margin.norm_squared, rel=1e-9)
    assert within.loss_after(1e3) > within.loss
    assert within.rise() is None
    dead = dataclasses.replace(within, inner=-within.inner)  # a wrong sign of the inner product finds no rise either
    assert dead.rise() is None


def test_the_certificates_witness_is_replayed_too(case):
    model, loss, batch = case("convolution", samples=4, dtype=torch.float32)
    found = ds.certify(model, loss, batch, tolerance=0.05)
    again = found.replay()
    assert again.dtype == torch.float64
    assert again.inner == pytest.approx(found.above.upper, rel=1e-6)
    step, after = again.rise()
    assert after == again.loss_after(step) > again.loss


def test_without_a_witness_there_is_no_replay():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3))
    batch = torch.randn(1, 4), torch.tensor([1])
    with pytest.raises(ValueError, match="no witness"):
        ds.certify(model, F.cross_entropy, batch).replay()
    record = table.record(model, F.cross_entropy, batch, ["constant"], certify=True)
    assert record["margins"][0]["kappa_star"] == "inf"
    assert record["margins"][0]["replayed"] is None
    assert record["certificate"]["replayed"] is None


@pytest.mark.parametrize("planted", ["sign", "ones"])
def test_wrong_factors_are_seen_by_the_replay(case, monkeypatch, planted):
    margin = ds.descent_margin(*case("tanh"))[0]
    real = type(margin).factors

    def wrong(self, kappa=None):
        right = real(self, kappa)
        return right.max() + 1 - right if planted == "sign" else torch.ones_like(right)

    monkeypatch.setattr(type(margin), "factors", wrong)
    assert abs(margin.replay().inner) > 0.1 * margin.norm_squared


class Scaled(nn.Module):
    """x w + b by entries, so that each rounding is the same on every machine."""

    def __init__(self, width):
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.empty(width)), nn.Parameter(torch.empty(width))

    def forward(self, x):
        return x * self.weight + self.bias


def decimal(seed):
    """Weights in tenths and whole inputs: a preactivation may be 0 in float32 and +-1e-8 in float64."""
    generator = torch.Generator().manual_seed(seed)

    def tenths(*shape):
        return torch.randint(-9, 10, shape, generator=generator) / 10

    model = nn.Sequential(Scaled(16), nn.ReLU(), nn.Linear(16, 3))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(tenths(*parameter.shape))
    return model, (10 * tenths(64, 16), torch.randint(0, 3, (64,), generator=generator))


@pytest.mark.parametrize("seed", [6, 9])
def test_at_a_kink_that_float64_does_not_see_the_replay_is_in_the_model_s_own_dtype(seed):
    model, batch = decimal(seed)
    (margin,) = ds.descent_margin(model, F.cross_entropy, batch)
    precise = copy.deepcopy(model[0]).double()(batch[0].double())
    assert ((margin.preactivation == 0) & (precise > 0)).any()
    at, beyond = margin.replay(), margin.replay(1.01 * margin.kappa_star)
    assert {at.dtype, beyond.dtype} == {torch.float32}
    scale = margin.kappa_star * margin.negative
    assert abs(at.inner) < 1e-4 * scale
    assert beyond.inner == pytest.approx(-0.01 * scale, rel=0.02)
    (stored,) = table.record(model, F.cross_entropy, batch, ["constant"])["margins"]
    assert (stored["replayed"]["dtype"], stored["replayed"]["reason"]) == ("float32", "")
    with torch.no_grad():
        model[0].weight.add_(0.1)
    with pytest.raises(Refused, match="the model or the batch has changed since"):
        margin.replay()


def test_a_replay_that_is_refused_leaves_the_margins_and_the_certificate(case, monkeypatch):
    """Where the model gives another gradient at each call, or memory ends, the bounds stand and the reason is told."""
    model, loss, batch = case("tanh", samples=4)

    def refused(self, *_):
        raise Refused(f"{type(self).__name__}: there was no memory left.")

    whole = table.record(model, loss, batch, ["constant"], certify=True)
    for owner in (table.Margin, table.Certificate):
        monkeypatch.setattr(owner, "replay", refused)
    found = table.record(model, loss, batch, ["constant"], certify=True)
    pairs = [*zip(found["margins"], whole["margins"], strict=True), (found["certificate"], whole["certificate"])]
    for without, replayed in pairs:
        assert {**without, "replayed": None} == {**replayed, "replayed": None}
        told, held = without["replayed"], replayed["replayed"]
        assert list(told) == list(held)
        assert told.pop("reason").endswith(": there was no memory left.")
        assert held.pop("reason") == ""
        assert told.pop("kappa_beyond") == held.pop("kappa_beyond")
        assert set(told.values()) == {None}
    found = table.record(model, loss, batch, ["constant"], certify=True)
    console = Console(file=io.StringIO(), width=400)
    table.show(found, console)
    shown = console.file.getvalue()
    assert shown.count("not replayed by real backward passes: Margin: there was no memory left.\n") == len(pairs) - 1
    assert shown.count("not replayed by real backward passes: Certificate: there was no memory left.\n") == 1
    assert json.loads(json.dumps(found)) == found


def test_targets_of_several_tensors_are_bounded_in_double_too():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))
    x, y, weights = torch.randn(6, 3), torch.randn(6, 2), torch.rand(6)

    def weighted(output, targets):
        return targets["weights"] @ (output - targets["y"]).square() @ torch.ones(2, dtype=output.dtype)

    found = ds.certify(model, weighted, (x, {"y": y, "weights": weights}), tolerance=0.1)
    assert found.replay().dtype == torch.float64
    assert found.replay().inner == pytest.approx(found.above.upper, rel=1e-6)
    assert {part.dtype for part in (x, y, weights)} == {torch.float32}
