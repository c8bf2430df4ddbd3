"""Each of the shapes in which libraries ship a surrogate goes through an adapter: the recipes of the guide."""

from __future__ import annotations

from functools import partial

import downslope as ds
import pytest
import torch
from downslope.analysis.surrogates.checks.record import Outcome


def test_1_a_factory_that_returns_a_callable(peer) -> None:
    library = peer("snntorch.surrogate")
    found = outcomes(ds.adapt(library.fast_sigmoid, forward="heaviside"))
    assert found["forward-exact"] == found["sign-preserving"] == found["parameters-matter"] == Outcome.PASSED
    assert found["dtype-preserved"] == Outcome.VIOLATION  # a float64 preactivation comes back in float32


def test_2_a_gradient_of_input_upstream_and_spikes(peer) -> None:
    library = peer("snntorch.surrogate")

    def mine(input_: torch.Tensor, grad_input: torch.Tensor, spikes: torch.Tensor) -> torch.Tensor:
        return grad_input / (25 * input_.abs() + 1) ** 2

    spike = ds.adapt(library.custom_surrogate(mine), forward="heaviside", formula=ds.SURROGATES["fast_sigmoid"])
    assert outcomes(spike)["matches-formula"] == Outcome.PASSED


def test_3_a_module_with_its_primitive(peer) -> None:
    library = peer("spikingjelly.activation_based.surrogate")
    spike = ds.adapt(library.ATan(), forward="heaviside", primitive=library.ATan(spiking=False))
    assert spike.parameters == {"alpha": 2.0}
    found = outcomes(spike)
    assert found["matches-primitive"] == found["parameters-matter"] == Outcome.PASSED
    assert Outcome.VIOLATION not in found.values()


def test_4_a_function_of_a_method_and_a_parameter(peer) -> None:
    library = peer("norse.torch.functional.threshold")
    spike = ds.adapt(partial(library.threshold, method="triangle"), forward="heaviside", parameters={"alpha": 0.3})
    found = outcomes(spike)
    assert found["parameters-matter"] == Outcome.PASSED
    assert Outcome.VIOLATION not in found.values()


def test_5_a_multiplier_of_potential_and_threshold(peer) -> None:
    library = peer("sinabs.activation")
    shape = library.Gaussian(sigma=0.5)
    spike = ds.adapt(lambda v: library.SingleSpike.apply(v, 1.0, shape), forward="heaviside", centre=1.0)
    alone = ds.adapt_factor(lambda v: shape(v, 1.0), forward="heaviside", centre=1.0)
    u = torch.linspace(-2, 3, 41, requires_grad=True)
    through = torch.autograd.grad(spike(u).sum(), u)[0]
    assert torch.allclose(through, torch.autograd.grad(alone(u).sum(), u)[0])
    assert outcomes(spike)["forward-exact"] == Outcome.PASSED
    assert Outcome.VIOLATION not in outcomes(alone).values()


@pytest.mark.parametrize(
    ("name", "forward"),
    [
        ("round_ste", "round"),
        ("floor_ste", torch.floor),
        ("binary_sign_ste", "sign"),
        ("abs_binary_sign_grad", torch.abs),
    ],
)
def test_6_a_straight_through_function(peer, name: str, forward: object) -> None:
    library = peer("brevitas.function.ops_ste")
    found = outcomes(ds.adapt(getattr(library, name), forward=forward))
    assert found["forward-exact"] == Outcome.PASSED
    assert Outcome.VIOLATION not in found.values()


def test_6_an_autograd_function_by_its_class_and_by_its_apply(peer) -> None:
    function = peer("brevitas.ops.autograd_ste_ops").ScalarClampSteFn
    bounds = {"min_val": -1.0, "max_val": 1.0}
    for given in (function, function.apply):
        found = outcomes(ds.adapt(given, forward="hardtanh", parameters=bounds))
        assert found["forward-exact"] == found["parameters-matter"] == Outcome.PASSED


def test_6_a_function_that_returns_a_tuple(peer) -> None:
    library = peer("brevitas.function.ops_ste")
    spike = ds.adapt(lambda u: (library.round_ste(u), torch.tensor(1.0), torch.tensor(0.0)), forward="round")
    assert outcomes(spike)["forward-exact"] == Outcome.PASSED


def test_7_a_rule(peer) -> None:
    library = peer("freegrad.transforms")
    window = ds.adapt_rule(library.rectangular, forward="heaviside", parameters={"a": -0.5, "b": 0.5})
    found = outcomes(window)
    assert found["parameters-matter"] == Outcome.PASSED
    assert found["stuck"] == found["support"] == Outcome.NOTE
    assert Outcome.VIOLATION not in found.values()


def test_7_a_context_manager_around_its_own_modules(peer) -> None:
    library = peer("freegrad")
    relu = peer("freegrad.wrappers").Activation(forward="ReLU")

    def apply(u: torch.Tensor) -> torch.Tensor:
        with library.use(rule="rectangular", params={"a": -0.5, "b": 0.5}, scope="activations"):
            return relu(u)

    found = outcomes(ds.adapt(apply, forward="relu"))
    assert found["forward-exact"] == Outcome.PASSED
    assert found["stuck"] == Outcome.NOTE


def outcomes(surrogate: object) -> dict[str, Outcome]:
    return {record.name: record.outcome for record in ds.check_surrogate(surrogate)}
