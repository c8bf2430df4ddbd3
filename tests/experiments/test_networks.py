"""Every entry: it is built with any hidden activation, untie reaches it, it learns, and a step is not trained tied."""

from __future__ import annotations

from dataclasses import replace

import downslope as ds
import pytest
import torch
import torch.nn.functional as F
from downslope.analysis.errors import Refused
from downslope.experiments import training
from downslope.experiments.data import DATASETS, load
from downslope.experiments.networks import LOSSES, NETWORKS, discrete, hidden, network
from torch import nn

NAMES = (
    *("unit-ones", "mlp-digits", "deep-tanh-digits", "binary-ones", "heaviside-digits", "sign-digits"),
    *("quantised-digits", "residual-digits", "transformer-digits", "spiking-digits", "lenet-mnist", "lenet-fashion"),
    *(f"mlp-digits-depth-{depth}" for depth in range(1, 11)),
    *(f"mlp-digits-width-{2**power}" for power in range(3, 10)),
)
IMAGES = ("mnist", "fashion-mnist")


def inputs(entry, samples: int):
    """Inputs and labels of its data; noise where the data are no part of this repository."""
    if entry.data in IMAGES:
        generator = torch.Generator().manual_seed(0)
        return torch.rand(samples, 1, 28, 28, generator=generator), torch.arange(samples) % 10
    x, y = load(entry.data).train
    return x[:samples], y[:samples]


def test_the_entries_are_those_that_are_promised():
    assert set(NETWORKS) == set(NAMES)
    for entry in NETWORKS.values():
        assert entry.data in DATASETS
        assert entry.loss in LOSSES
        assert entry.activation in ds.ACTIVATIONS
        assert entry.source


def test_an_unknown_network_is_met_with_the_near_ones():
    with pytest.raises(Refused, match="did you mean 'mlp-digits'"):
        network("mlp-digit")


def test_there_is_a_module_for_each_activation_and_untie_reaches_it():
    assert set(hidden.HIDDEN) == set(ds.ACTIVATIONS)
    x = torch.linspace(-2.5, 2.5, 41)
    for name, activation in ds.ACTIVATIONS.items():
        module = hidden.factory(name)()
        torch.testing.assert_close(module(x.double()), activation(x.double()), rtol=1e-12, atol=1e-12)
        assert type(hidden.factory(name)()) is type(module)
        leaf = x.clone().requires_grad_()
        with ds.untie(module, {hidden.key(name): "constant(height=3)"}) as untied:
            module(leaf).sum().backward()
        assert torch.equal(leaf.grad, torch.full_like(x, 3))
        assert len(untied.places) == 1


@pytest.mark.parametrize("name", NAMES)
def test_every_network_runs_on_its_data_and_untie_reaches_its_hidden_activation(name):
    entry = network(name)
    x, y = inputs(entry, 5)
    model = training.initialised(entry, 0).eval()
    with ds.untie(model, {hidden.key(entry.activation): "constant"}) as untied:
        output = model(x)
        entry.criterion(output, y).backward()
    assert output.shape == (5, 1 if entry.loss == "mean-squared-error" else 10)
    assert {place.activation for place in untied.places} == {entry.activation}
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())
    assert sum(place.backward for place in untied.places) >= 1
    assert 0 <= entry.right(output, y) <= 5


@pytest.mark.parametrize("name", ["mlp-digits", "spiking-digits", "quantised-digits", "transformer-digits"])
@pytest.mark.parametrize("forward", ["tanh", "heaviside", "identity"])
def test_the_hidden_activation_can_be_another(name, forward):
    entry = network(name)
    model = training.initialised(entry, 0, forward)
    kinds = [type(module) for module in model.modules()]
    assert kinds.count(type(hidden.factory(forward)())) == [
        type(module) for module in training.initialised(entry, 0).modules()
    ].count(type(hidden.factory(entry.activation)()))
    for own, other in zip(training.initialised(entry, 0).parameters(), model.parameters(), strict=True):
        assert torch.equal(own, other)


def test_a_chain_is_plain():
    plain = {nn.Linear, *(type(make()) for make in hidden.HIDDEN.values())}
    for name in ("unit-ones", "binary-ones", "mlp-digits", "heaviside-digits", "sign-digits", "mlp-digits-depth-10"):
        model = network(name).build()
        assert type(model) is nn.Sequential
        assert {type(module) for module in model} <= plain


@pytest.mark.parametrize(
    ("name", "epochs", "least"),
    [
        ("unit-ones", 5, 0.85),
        ("binary-ones", 10, 0.85),
        ("mlp-digits", 30, 0.7),
        ("mlp-digits-depth-10", 3, 0.7),
        ("mlp-digits-width-512", 20, 0.6),
        ("heaviside-digits", 5, 0.7),
        ("sign-digits", 5, 0.7),
        ("quantised-digits", 5, 0.7),
        ("residual-digits", 3, 0.7),
        ("transformer-digits", 5, 0.7),
        ("spiking-digits", 5, 0.7),
    ],
)
def test_it_learns_well_above_chance(name, epochs, least):
    entry = network(name)
    samples = load(entry.data)
    _, curves = training.train(entry, samples, epochs=epochs)
    test = curves[curves["split"] == "test"]
    assert test["accuracy"].iloc[-1] > least > test["accuracy"].iloc[0] + 0.1
    assert test["loss"].iloc[-1] < test["loss"].iloc[0]
    assert set(curves["trained"]) == {entry.backward}


@pytest.mark.parametrize("name", ["binary-ones", "heaviside-digits", "sign-digits", "quantised-digits"])
def test_a_step_is_not_trained_with_its_own_derivative(name):
    entry = network(name)
    with pytest.raises(Refused, match=rf"derivative of {entry.activation} is 0 .* Name a surrogate"):
        training.train(entry, load(entry.data), backward="tied", epochs=1)


def test_a_smooth_network_with_a_step_instead_is_not_trained_tied():
    entry = network("mlp-digits")
    with pytest.raises(Refused, match="derivative of sign is 0"):
        training.train(entry, load("digits"), forward="sign", epochs=1)
    _, curves = training.train(entry, load("digits"), forward="sign", backward="clipped", epochs=1)
    assert set(curves["activation"]) == {"sign"}


def test_the_identity_is_untied_by_its_class():
    entry, samples = network("mlp-digits"), load("digits")
    tied, _ = training.train(entry, samples, forward="identity", epochs=1)
    jammed, curves = training.train(entry, samples, forward="identity", backward="full_jam", epochs=1)
    assert set(curves["activation"]) == {"identity"}
    assert not torch.equal(tied[0].weight, jammed[0].weight)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_the_losses_are_those_of_their_names(reduction):
    generator = torch.Generator().manual_seed(0)
    output, labels = torch.randn(6, 3, generator=generator), torch.tensor([0, 1, 2, 2, 1, 0])
    each = -torch.log_softmax(output, dim=1)[torch.arange(6), labels]
    wanted = {"mean": each.mean(), "sum": each.sum(), "none": each}[reduction]
    torch.testing.assert_close(network("mlp-digits").criterion(output, labels, reduction), wanted)
    one, binary = output[:, :1], labels.clamp(max=1)
    each = (one[:, 0] - binary) ** 2
    wanted = {"mean": each.mean(), "sum": each.sum(), "none": each}[reduction]
    torch.testing.assert_close(network("unit-ones").criterion(one, binary, reduction), wanted)


def test_right_counts_labels_and_halves():
    assert network("mlp-digits").right(torch.eye(3), torch.tensor([0, 2, 2])) == 2
    assert network("unit-ones").right(torch.tensor([[0.6], [0.5], [0.2]]), torch.tensor([1, 1, 0])) == 2


def test_batch_norm_trains_on_batches_and_is_scored_and_measured_on_its_running_statistics():
    entry, samples = network("residual-digits"), load("digits")
    seen = []
    model, curves = training.train(
        entry, samples, epochs=1, at_stage=lambda model, stage, step: seen.append(model.training)
    )
    assert seen == [False, False]
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    assert all(int(norm.num_batches_tracked) == 23 for norm in norms)
    with torch.no_grad():
        expected = F.cross_entropy(model(samples.test_inputs).double(), samples.test_targets).item()
    assert curves["loss"].iloc[-1] == pytest.approx(expected, rel=1e-12)


def test_two_bits_have_four_levels_and_a_clipped_straight_through_backward():
    layer = discrete.Quantise(hidden.factory("round"))
    x = torch.linspace(-1, 2, 301, requires_grad=True)
    with ds.untie(layer, {"round": "constant"}):
        level = layer(x)
        level.sum().backward()
    assert sorted({round(3 * value) for value in level.tolist()}) == [0, 1, 2, 3]
    inside = (x > 0) & (x < 1)
    torch.testing.assert_close(x.grad, inside.to(x.dtype))
    linear = discrete.QuantisedLinear(5, 4, hidden.factory("round"))
    rows = linear(torch.eye(5)) - linear.bias
    scale = linear.weight.abs().max()
    assert {round(3 * value) for value in (rows / scale).flatten().tolist()} <= {-3, -1, 1, 3}


def test_spikes_reset_the_membrane_and_untie_unties_every_time_step():
    entry = network("spiking-digits")
    model = training.initialised(entry, 0)
    spikes = []
    model.first.register_forward_hook(lambda module, args, output: spikes.append((args[0] + 1, output)))
    x, y = inputs(entry, 32)
    with ds.untie(model, {"heaviside": "fast_sigmoid"}) as untied:
        entry.criterion(model(x), y).backward()
    assert [place.forward for place in untied.places] == [25, 25]
    current = model.inward(x)
    membrane, spike = torch.zeros_like(current), torch.zeros_like(current)
    for shown, fired in spikes:
        membrane = 0.9 * membrane + current - spike
        spike = (membrane > 1).float()
        torch.testing.assert_close(shown, membrane)
        assert torch.equal(fired, spike)
    assert 0.01 < torch.stack([fired for _, fired in spikes]).mean() < 0.9


def test_a_backward_through_time_is_that_of_the_smooth_network():
    """With a smooth activation for the step, autograd agrees with differences in float64: no path is cut."""
    entry = replace(network("spiking-digits"), activation="tanh")
    torch.manual_seed(0)
    model = entry.build().double()
    x, y = inputs(entry, 4)

    def loss(bias):
        return entry.criterion(torch.func.functional_call(model, {"inward.bias": bias}, (x.double(),)), y)

    assert torch.autograd.gradcheck(loss, model.inward.bias.detach().requires_grad_())
