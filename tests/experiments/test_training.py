"""The training loop: the same seed gives the same bits, the backward is the one asked for, measuring sees neither."""

import numpy as np
import pandas as pd
import pytest
import torch
from downslope.analysis.errors import Refused
from downslope.analysis.gradients.deviation import deviation
from downslope.experiments import training
from downslope.experiments.data import load
from downslope.experiments.networks import network
from scipy.special import expit, softmax

MLP_DIGITS = network("mlp-digits")


@pytest.fixture(scope="module")
def digits():
    return load("digits")


def parameters(model):
    return [parameter.detach().clone() for parameter in model.parameters()]


@pytest.mark.parametrize("backward", ["tied", "constant", "full_jam"])
def test_the_same_seed_gives_the_same_bits(digits, backward):
    def run():
        model, curves = training.train(MLP_DIGITS, digits, backward=backward, seed=3, epochs=2)
        return parameters(model), curves

    first, first_curves = run()
    torch.manual_seed(99)  # what the global generator holds, and what ran before, must not matter
    training.train(MLP_DIGITS, digits, backward="constant", seed=4, epochs=1)
    second, second_curves = run()
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    pd.testing.assert_frame_equal(first_curves, second_curves, check_exact=True)


def test_the_number_of_threads_does_not_matter(digits):
    found = []
    before = torch.get_num_threads()
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            found.append(parameters(training.train(MLP_DIGITS, digits, epochs=1)[0]))
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))


def test_another_seed_gives_another_start_and_another_order(digits):
    starts = [parameters(training.initialised(MLP_DIGITS, seed)) for seed in (0, 1)]
    assert not torch.equal(starts[0][0], starts[1][0])
    orders = [torch.randperm(100, generator=training._generator(0, stream=stream)) for stream in (1, 2)]
    assert not torch.equal(*orders)


def test_the_global_generator_is_left_as_it_was(digits):
    torch.manual_seed(5)
    before = torch.get_rng_state()
    training.train(MLP_DIGITS, digits, backward="full_jam", epochs=1)
    assert torch.equal(before, torch.get_rng_state())


def by_hand(digits, factor, *, seed, epochs):
    """The paper's MLP trained in NumPy float64, its backward written out: hidden error times ``factor(activation)``."""
    w1, b1, w2, b2 = (p.double().numpy() for p in parameters(training.initialised(MLP_DIGITS, seed)))
    x, y = digits.train_inputs.double().numpy(), np.eye(10)[digits.train_targets.numpy()]
    order = training._generator(seed, stream=1)
    for _ in range(epochs):
        shuffled = torch.randperm(len(x), generator=order).numpy()
        for start in range(0, len(x), 64):
            xs, ys = x[shuffled[start : start + 64]], y[shuffled[start : start + 64]]
            hidden = expit(xs @ w1.T + b1)
            error = (softmax(hidden @ w2.T + b2, axis=1) - ys) / len(xs)
            below = (error @ w2) * factor(hidden)
            w2, b2 = w2 - 0.05 * error.T @ hidden, b2 - 0.05 * error.sum(axis=0)
            w1, b1 = w1 - 0.05 * below.T @ xs, b1 - 0.05 * below.sum(axis=0)
    return w1, b1, w2, b2


FACTORS = {"tied": lambda hidden: hidden * (1 - hidden), "constant": np.ones_like}


def gap(found, wanted):
    return max(np.abs(a.double().numpy() - b).max() / np.abs(b).max() for a, b in zip(found, wanted, strict=True))


@pytest.mark.parametrize("backward", FACTORS)
def test_training_follows_the_backward_that_was_asked_for(digits, backward):
    model, _ = training.train(MLP_DIGITS, digits, backward=backward, seed=1, epochs=2)
    gaps = {name: gap(parameters(model), by_hand(digits, FACTORS[name], seed=1, epochs=2)) for name in FACTORS}
    assert gaps.pop(backward) < 1e-4  # float32 against float64 over 46 steps
    assert min(gaps.values()) > 1e-2  # and the other backward is told apart


@pytest.mark.parametrize("backward", ["tied", "constant"])
def test_a_stage_is_measured_outside_the_untied_backward(digits, backward):
    seen = []

    def observe(model, stage, step):
        x, y = digits.train_inputs[:32].double().numpy(), np.eye(10)[digits.train_targets[:32].numpy()]
        w1, b1, w2, b2 = (p.double().numpy() for p in parameters(model))
        hidden = expit(x @ w1.T + b1)
        below = ((softmax(hidden @ w2.T + b2, axis=1) - y) / len(x) @ w2) * hidden * (1 - hidden)
        loss = torch.nn.functional.cross_entropy(model(digits.train_inputs[:32]), digits.train_targets[:32])
        (gradient,) = torch.autograd.grad(loss, [model[0].weight])
        seen.append((stage, step, deviation(gradient, below.T @ x).angle_degrees))

    training.train(MLP_DIGITS, digits, backward=backward, epochs=4, at_stage=observe)
    assert [(stage, step) for stage, step, _ in seen] == [
        ("initialisation", 0),
        ("first epoch", 23),
        ("middle", 46),
        ("end", 92),
    ]
    assert max(angle for _, _, angle in seen) < 1e-3  # the constant backward lies degrees away


def test_curves_hold_every_epoch_and_split(digits):
    ticks = []
    _, curves = training.train(MLP_DIGITS, digits, epochs=3, seed=7, at_epoch=lambda: ticks.append(1))
    assert list(curves) == ["network", "activation", "trained", "seed", "epoch", "step", "split", "loss", "accuracy"]
    assert curves["epoch"].tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    assert curves["step"].tolist() == [0, 0, 23, 23, 46, 46, 69, 69]
    assert curves["split"].tolist() == ["train", "test"] * 4
    assert set(curves["seed"]) == {7}
    assert len(ticks) == 3
    model = training.initialised(MLP_DIGITS, 7)
    outputs = model(digits.test_inputs)
    right = int((outputs.argmax(1) == digits.test_targets).sum())
    assert curves["accuracy"][1] == right / 359


@pytest.mark.parametrize(
    ("epochs", "wanted"),
    [
        (1, {0: "initialisation", 1: "end"}),
        (2, {0: "initialisation", 1: "middle", 2: "end"}),
        (3, {0: "initialisation", 1: "middle", 3: "end"}),
        (4, {0: "initialisation", 1: "first epoch", 2: "middle", 4: "end"}),
        (100, {0: "initialisation", 1: "first epoch", 50: "middle", 100: "end"}),
    ],
)
def test_stages(epochs, wanted):
    assert training.stages(epochs) == wanted


@pytest.mark.parametrize("wrong", [{"epochs": 0}, {"epochs": -3}, {"seed": -1}])
def test_bad_numbers_are_refused(digits, wrong):
    with pytest.raises(Refused, match="epochs is at least 1 and seed at least 0"):
        training.train(MLP_DIGITS, digits, **wrong)


def test_an_unknown_backward_is_met_with_the_near_ones(digits):
    with pytest.raises(Refused, match="constant"):
        training.train(MLP_DIGITS, digits, backward="constnat", epochs=1)


def test_an_unknown_network_is_met_with_the_near_ones():
    with pytest.raises(Refused, match="did you mean 'mlp-digits'"):
        network("mlp-digit")
