"""The forward keeps its bits, its in-place semantics and its autocast; what was replaced is listed."""

from __future__ import annotations

import copy
from collections.abc import Callable

import downslope as ds
import pytest
import torch
import torch.nn.functional as F
from downslope.analysis.errors import Refused
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

Form = Callable[[torch.Tensor], torch.Tensor]

FORMS: dict[str, tuple[str, Form]] = {
    "nn.ReLU": ("relu", nn.ReLU()),
    "nn.ReLU in place": ("relu", nn.ReLU(inplace=True)),
    "F.leaky_relu": ("leaky_relu", lambda z: F.leaky_relu(z, 0.2)),
    "F.elu_": ("elu", F.elu_),
    "nn.GELU": ("gelu", nn.GELU()),
    "nn.GELU tanh": ("gelu_tanh", nn.GELU("tanh")),
    "F.silu": ("silu", F.silu),
    "F.softplus": ("softplus", F.softplus),
    "sigmoid_": ("logistic", lambda z: z.sigmoid_()),
    "torch.tanh": ("tanh", torch.tanh),
    "nn.Hardtanh": ("hardtanh", nn.Hardtanh()),
    "nn.ReLU6": ("relu6", nn.ReLU6()),
    "sign": ("sign", torch.sign),
    "heaviside": ("heaviside", lambda z: torch.heaviside(z, torch.tensor(0.5, dtype=z.dtype))),
    "heaviside at each entry": ("heaviside", lambda z: torch.heaviside(z, torch.full_like(z, 0.5))),
    "round": ("round", torch.round),
}


class Alone(nn.Module):
    """One activation and nothing else, on a copy of its input."""

    def __init__(self, form: Form) -> None:
        super().__init__()
        self.form = form

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        return self.form(z.clone())


def bits(tensor: torch.Tensor) -> bytes:
    flat = tensor.detach().reshape(-1).clone(memory_format=torch.contiguous_format)
    return flat.view(torch.uint8).numpy().tobytes()


LAYOUTS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "contiguous": lambda z: z,
    "transposed": lambda z: z.transpose(0, -1) if z.ndim else z,
    "strided": lambda z: z.repeat_interleave(2, 0)[::2] if z.ndim else z,
    "expanded": lambda z: z[:1].expand(3, *z.shape[1:]) if z.ndim and len(z) else z,
}


@given(
    st.sampled_from(sorted(FORMS)),
    st.lists(st.integers(0, 4), max_size=3),
    st.sampled_from([torch.float64, torch.float32, torch.bfloat16, torch.float16]),
    st.sampled_from(sorted(LAYOUTS)),
    st.integers(0, 2**20),
)
def test_bits_shape_dtype_and_strides(form: str, shape: list[int], dtype: torch.dtype, layout: str, seed: int) -> None:
    name, function = FORMS[form]
    torch.manual_seed(seed)
    special = torch.tensor([0.0, -0.0, float("inf"), -float("inf"), float("nan"), 1e-40, 0.5, -2.5])
    z = torch.randn(shape) * torch.rand(()) * 10
    z = torch.where(torch.rand(shape) < 0.3, special[torch.randint(len(special), shape)], z).to(dtype)
    z = LAYOUTS[layout](z).requires_grad_()
    model = Alone(function)
    expected = model(z)
    with ds.untie(model, {name: "triangle"}):
        found = model(z)
    assert (found.dtype, found.shape, found.stride()) == (expected.dtype, expected.shape, expected.stride())
    assert bits(found) == bits(expected)
    (gradient,) = torch.autograd.grad(found.sum(), z)
    assert (gradient.dtype, gradient.shape) == (z.dtype, z.shape)


class Residual(nn.Module):
    """`x += skip` after an in-place activation, one module used twice, a view overwritten."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.activation = nn.Linear(4, 4), nn.Linear(4, 4), nn.ReLU(inplace=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.activation(self.first(x))
        out = self.activation(self.second(h))
        out += x
        out[:, :2].sigmoid_()
        return out


def test_in_place_activations_views_and_skips() -> None:
    torch.manual_seed(0)
    model, x = Residual(), torch.randn(5, 4)
    with torch.no_grad():
        expected = model(x)
    with ds.untie(model, {"relu": "constant", "logistic": "constant"}) as untied:
        output = model(x)
        output.sum().backward()
    assert torch.equal(output, expected)
    # psi = 1 everywhere: the network is linear backwards.
    upstream = torch.ones(5, 4)
    torch.testing.assert_close(model.second.bias.grad, upstream.sum(0))
    torch.testing.assert_close(model.first.bias.grad, (upstream @ model.second.weight).sum(0))
    assert [(place.module, place.forward) for place in untied.places] == [("activation", 2), ("", 1)]


def test_an_in_place_call_returns_its_input() -> None:
    class Same(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            h = x * 1
            version = h._version
            assert F.relu(h, inplace=True) is h
            assert h._version > version
            return h

    model = Same()
    with ds.untie(model, {"relu": "constant"}):
        model(torch.randn(3, requires_grad=True)).sum().backward()


def test_a_leaf_cannot_be_overwritten_as_ever() -> None:
    model, leaf = nn.ReLU(inplace=True), torch.randn(3, requires_grad=True)
    with pytest.raises(RuntimeError, match="leaf Variable"), ds.untie(model, {"relu": "constant"}):
        model(leaf)


@pytest.mark.parametrize("surrogate", ["tied", "triangle", "constant"])
@pytest.mark.parametrize("name", ["relu", "tanh", "logistic", "sign", "round"])
def test_the_input_may_change_after_the_call_where_torch_allows_it(name: str, surrogate: str) -> None:
    activation = {"logistic": torch.sigmoid}.get(name) or getattr(torch, name)

    class Overwrites(nn.Module):
        def __init__(self, late: bool) -> None:
            super().__init__()
            self.late = late

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            z = x * 1
            y = activation(z)
            if self.late:
                z += 1
            return y + 0 * z

    x = torch.randn(6, dtype=torch.float64, requires_grad=True)
    gradients = []
    for late in (False, True):
        model = Overwrites(late)
        torch.autograd.grad(model(x).sum(), x)
        with ds.untie(model, {name: surrogate}):
            gradients.append(torch.autograd.grad(model(x).sum(), x)[0])
    assert torch.equal(*gradients)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.GELU(), nn.Linear(8, 8), nn.Softplus(), nn.Linear(8, 1))
    x = torch.randn(5, 4)
    with torch.autocast("cpu", dtype):
        expected = model(x)
        with ds.untie(model, {"gelu": "triangle", "softplus": "gaussian"}) as untied:
            output = model(x)
    assert output.dtype == dtype
    assert torch.equal(output, expected)
    output.sum().backward()
    assert {parameter.grad.dtype for parameter in model.parameters()} == {torch.float32}
    assert all(torch.isfinite(parameter.grad).all() for parameter in model.parameters())
    assert [place.backward for place in untied.places] == [1, 1]


def test_dropout_draws_what_it_would_draw() -> None:
    model = nn.Sequential(nn.Linear(4, 64), nn.ReLU(), nn.Dropout(0.5), nn.Linear(64, 1))
    x = torch.randn(5, 4)
    torch.manual_seed(3)
    expected = model(x)
    torch.manual_seed(3)
    with ds.untie(model, {"relu": "full_jam"}):
        assert torch.equal(model(x), expected)


def test_the_loss_keeps_its_derivative() -> None:
    model, x = nn.Sequential(nn.Linear(3, 3), nn.ReLU()), torch.randn(8, 3)
    with ds.untie(model, {"relu": "constant"}) as untied:
        F.relu(model(x) - 0.5).sum().backward()
    passed = (model(x) > 0.5).to(x.dtype)
    torch.testing.assert_close(model[0].bias.grad, passed.sum(0))
    assert [place.module for place in untied.places] == ["1"]


def test_a_submodule_called_alone_is_untied() -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.ReLU())
    z = torch.tensor([-1.0, 1.0], requires_grad=True)
    with ds.untie(model, {"relu": "constant"}):
        model[1](z).sum().backward()
    assert z.grad.tolist() == [1, 1]


def test_nothing_stays_behind() -> None:
    model, z = nn.Sequential(nn.ReLU()), torch.tensor([-1.0, 1.0], requires_grad=True)
    before = copy.deepcopy(model.__dict__)
    with ds.untie(model, {"relu": "constant"}):
        model(z)
        assert repr(model.__dict__) == repr(before)
    with pytest.raises(ZeroDivisionError), ds.untie(model, {"relu": "constant"}):
        raise ZeroDivisionError
    assert torch.nn.modules.module._global_forward_hooks == {}
    assert torch.nn.modules.module._global_forward_pre_hooks == {}
    assert torch.overrides._get_current_function_mode_stack() == []
    assert torch.autograd.grad(model(z).sum(), z)[0].tolist() == [0, 1]


def test_an_exception_in_the_forward_leaves_the_block_in_order() -> None:
    class Fails(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner, self.bad = nn.Sequential(nn.ReLU()), True

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = self.inner(x)
            if self.bad:
                raise ZeroDivisionError
            return y

    model, z = Fails(), torch.tensor([-1.0, 1.0], requires_grad=True)
    with ds.untie(model, {"relu": "constant"}) as untied:
        with pytest.raises(ZeroDivisionError):
            model(z)
        assert torch.overrides._get_current_function_mode_stack() == []
        assert F.relu(z).grad_fn.name() == "ReluBackward0"
        model.bad = False
        try:
            raise KeyError
        except KeyError:  # the hooks tell an exception of the forward from one that is being handled around it
            model(z).sum().backward()
    assert z.grad.tolist() == [1, 1]
    assert [place.forward for place in untied.places] == [2]


def test_an_interrupt_leaves_nothing_behind() -> None:
    class Interrupted(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            F.relu(x)
            raise KeyboardInterrupt

    model = nn.Sequential(Interrupted())
    with pytest.raises(KeyboardInterrupt), ds.untie(model, {"relu": "constant"}):
        model(torch.randn(3))
    assert torch.overrides._get_current_function_mode_stack() == []
    assert torch.nn.modules.module._global_forward_hooks == {}


def test_no_gradient_wanted_fused_kernels_keep_their_bits() -> None:
    torch.manual_seed(0)
    model = nn.TransformerEncoderLayer(8, 2, 16, 0.0, activation="gelu", batch_first=True).eval()
    x = torch.randn(3, 5, 8)
    with torch.no_grad():
        expected = model(x)
        with ds.untie(model, {"gelu": "constant"}):
            assert torch.equal(model(x), expected)
    with ds.untie(model, {"gelu": "constant"}) as untied:
        model(x).sum().backward()
    assert [place.forward for place in untied.places] == [1]


class Leaky(nn.Module):
    """A user's own activation, with a parameter of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.slope = nn.Parameter(torch.tensor(0.25))

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        return torch.where(z > 0, z, self.slope * z)


class Overwriting(nn.Module):
    def forward(self, z: torch.Tensor) -> torch.Tensor:
        return z.mul_(z > 0)


@pytest.mark.parametrize("activation", [Leaky, Overwriting])
def test_a_module_class_of_the_users_own(activation: type[nn.Module]) -> None:
    torch.manual_seed(0)
    model, x = nn.Sequential(nn.Linear(3, 4), activation(), nn.Linear(4, 1)), torch.randn(5, 3)
    expected = model(x)
    own = list(model[1].parameters())
    native = torch.autograd.grad(expected.sum(), own) if own else ()
    with ds.untie(model, {activation: "constant"}) as untied:
        output = model(x)
        output.sum().backward()
    assert torch.equal(output, expected)
    torch.testing.assert_close(model[0].bias.grad, 5 * model[2].weight[0])
    assert all(torch.equal(a.grad, b) for a, b in zip(own, native, strict=True))
    assert [(place.module, place.operation) for place in untied.places] == [("1", activation.__name__)]


def test_inside_a_replaced_module_nothing_else_is_replaced() -> None:
    class Uses(nn.Module):
        def forward(self, z: torch.Tensor) -> torch.Tensor:
            return F.relu(z) - F.relu(-z)

    model = nn.Sequential(Uses(), nn.ReLU())
    with ds.untie(model, {Uses: "constant", "relu": "constant"}) as untied:
        model(torch.randn(3, requires_grad=True)).sum().backward()
    assert [(place.activation, place.forward) for place in untied.places] == [("Uses", 1), ("relu", 1)]


@pytest.mark.parametrize("module", [nn.LSTM(3, 3), nn.Flatten(0)])
def test_a_module_that_is_not_elementwise_is_refused(module: nn.Module) -> None:
    model = nn.Sequential(module)
    with pytest.raises(Refused, match="only an elementwise module"), ds.untie(model, {type(module): "constant"}):
        model(torch.randn(2, 2, 3, requires_grad=True))


def test_a_plain_function_is_untied_inside_alone() -> None:
    def model(x: torch.Tensor) -> torch.Tensor:
        return F.relu(x)

    for block in (True, False):
        z = torch.tensor([-1.0, 1.0], requires_grad=True)
        untied = ds.untie(model, {"relu": "constant"})
        if block:
            with untied:
                (model(z) + F.relu(10 * z)).sum().backward()
        else:
            (untied(z) + F.relu(10 * z)).sum().backward()
        assert z.grad.tolist() == [1, 11]
        assert [(place.module, place.forward) for place in untied.places] == [("", 1)]


def test_the_table_of_places() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Tanh())
    untied = ds.untie(model, {"relu": ["constant", "triangle"], "tanh": ds.SURROGATES["triangle"].at(width=2)})
    assert str(untied) == "nothing replaced yet"
    untied(torch.randn(1, 2))
    lines = [line.split("  ") for line in str(untied).splitlines()]
    assert [[cell.strip() for cell in line if cell] for line in lines] == [
        ["module", "operation", "activation", "surrogate", "forward", "backward"],
        ["1", "torch.nn.functional.relu", "relu", "constant, triangle", "1", "0"],
        ["2", "torch.tanh", "tanh", "triangle(width=2)", "1", "0"],
    ]


def test_integers_and_bounds_that_are_no_activation_stay() -> None:
    class Indices(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            index = torch.tensor([-1, 2]).clamp(min=0)
            return F.relu(x)[index] + x.clamp(0.1, 0.9)[index] + x.clamp(min=torch.zeros(3))[index]

    model = Indices()
    with ds.untie(model, {"relu": "constant"}) as untied:
        model(torch.randn(3, requires_grad=True)).sum().backward()
    assert [place.operation for place in untied.places] == ["torch.nn.functional.relu"]
