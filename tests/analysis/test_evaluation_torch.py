"""A formula as a torch operation: derivatives of any order, transforms, shapes and strides, NumPy, the compiler."""

import threading

import downslope as ds
import numpy as np
import pytest
import sympy as sp
import torch
from downslope import u
from downslope.analysis.errors import Refused
from downslope.analysis.surrogates.formula.evaluation import evaluate
from hypothesis import given
from hypothesis import strategies as st
from torch.func import grad, hessian, jacfwd, jacrev, jvp, vjp, vmap

# Torch's own forward mode and compiler load scripted functions, which announce their end.
pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.script:DeprecationWarning")

SMOOTH = sp.exp(-(u**2) / 2) * (1 + sp.tanh(u))
FORMULAS = {name: each.formula for name, each in ds.SURROGATES.items() if not each.random}
DTYPES = [torch.float64, torch.float32, torch.bfloat16, torch.float16]


@pytest.fixture
def points():
    return torch.linspace(-3.1, 2.9, 12, dtype=torch.float64).reshape(3, 4)


def slopes(formula, points, order=1):
    """The symbolic derivative where there is no kink, evaluated in mpmath: no code shared with what is tested."""
    function = sp.lambdify(u, sp.diff(formula, u, order), "mpmath")
    values = [float(function(point)) for point in points.flatten().tolist()]
    return torch.tensor(values, dtype=torch.float64).reshape(points.shape)


def within_units(count, dtype):
    return {"rtol": count * torch.finfo(dtype).eps, "atol": torch.finfo(dtype).tiny}


@pytest.mark.parametrize("name", FORMULAS)
def test_the_gradient_is_the_symbolic_derivative(name, points):
    points.requires_grad_()
    evaluate(FORMULAS[name], points).sum().backward()
    torch.testing.assert_close(points.grad, slopes(FORMULAS[name], points), rtol=1e-6, atol=1e-9)


def test_the_gradient_takes_the_upstream_gradient(points):
    upstream = torch.randn(3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    points.requires_grad_()
    (found,) = torch.autograd.grad(evaluate(SMOOTH, points), points, upstream)
    torch.testing.assert_close(found, upstream * slopes(SMOOTH, points))


@pytest.mark.parametrize("order", [2, 3, 4])
def test_derivatives_of_any_order(order, points):
    points.requires_grad_()
    value = evaluate(SMOOTH, points)
    for _ in range(order):
        (value,) = torch.autograd.grad(value.sum(), points, create_graph=True)
    torch.testing.assert_close(value.detach(), slopes(SMOOTH, points, order), rtol=1e-9, atol=1e-9)


def test_gradcheck_by_finite_differences(points):
    points.requires_grad_()
    assert torch.autograd.gradcheck(lambda x: evaluate(SMOOTH, x), points, check_forward_ad=True)
    assert torch.autograd.gradgradcheck(lambda x: evaluate(SMOOTH, x), points)


def test_at_a_kink_there_is_no_delta():
    x = torch.tensor([-1.0, 0.0, 1.0], requires_grad=True)
    steps = sp.Abs(u) + 3 * sp.sign(u) + 5 * sp.Heaviside(u) + sp.floor(u)
    (first,) = torch.autograd.grad(evaluate(steps, x).sum(), x, create_graph=True)
    assert first.tolist() == [-1.0, 0.0, 1.0]
    assert torch.autograd.grad(first.sum(), x)[0].tolist() == [0.0, 0.0, 0.0]


def test_every_transform_gives_the_same_derivative(points):
    def total(x):
        return evaluate(SMOOTH, x).sum()

    wanted = slopes(SMOOTH, points)
    ones = torch.ones_like(points)
    found = [
        grad(total)(points),
        vmap(grad(total))(points),
        vmap(grad(total), in_dims=1, out_dims=1)(points),
        vmap(vmap(grad(total)))(points),
        jvp(lambda x: evaluate(SMOOTH, x), (points,), (ones,))[1],
        vjp(lambda x: evaluate(SMOOTH, x), points)[1](ones)[0],
        vmap(lambda x: jvp(lambda y: evaluate(SMOOTH, y), (x,), (torch.ones_like(x),))[1])(points),
        jacrev(lambda x: evaluate(SMOOTH, x))(points.flatten()).diagonal().reshape(3, 4),
        jacfwd(lambda x: evaluate(SMOOTH, x))(points.flatten()).diagonal().reshape(3, 4),
    ]
    for each in found:
        torch.testing.assert_close(each, wanted)
    second = slopes(SMOOTH, points, 2)
    torch.testing.assert_close(hessian(total)(points.flatten()).diagonal().reshape(3, 4), second)
    torch.testing.assert_close(jvp(grad(total), (points,), (ones,))[1], second)
    torch.testing.assert_close(grad(lambda x: grad(total)(x).sum())(points), second)


def test_gradients_in_a_batch_and_on_another_thread(points):
    points.requires_grad_()
    value = evaluate(SMOOTH, points)
    upstream = torch.eye(12, dtype=torch.float64).reshape(12, 3, 4)
    (rows,) = torch.autograd.grad(value, points, upstream, is_grads_batched=True, retain_graph=True)
    torch.testing.assert_close(rows.sum(0), slopes(SMOOTH, points))
    worker = threading.Thread(target=lambda: value.sum().backward())
    worker.start()
    worker.join()
    torch.testing.assert_close(points.grad, slopes(SMOOTH, points))


@given(
    shape=st.lists(st.integers(0, 4), max_size=3),
    dtype=st.sampled_from(DTYPES),
    name=st.sampled_from(sorted(FORMULAS)),
    layout=st.sampled_from(["plain", "transposed", "every second", "expanded"]),
)
def test_the_shape_the_dtype_and_any_strides_are_kept(shape, dtype, name, layout):
    size = [*shape, 2] if layout == "every second" else shape
    x = (torch.rand(size, generator=torch.Generator().manual_seed(0)) * 8 - 4).to(dtype)
    x = {
        "plain": lambda: x,
        "transposed": lambda: x.permute([*reversed(range(x.dim()))]),
        "every second": lambda: x[..., ::2],
        "expanded": lambda: x.expand(3, *x.shape),
    }[layout]()
    value = evaluate(FORMULAS[name], x)
    assert (value.shape, value.dtype, value.device) == (x.shape, x.dtype, x.device)
    alone = [float(evaluate(FORMULAS[name], entry.clone())) for entry in x.reshape(-1)]
    # Torch's own functions differ in the last bits between the body and the end of a tensor.
    torch.testing.assert_close(value.reshape(-1), torch.tensor(alone, dtype=dtype), **within_units(4, dtype))


@pytest.mark.parametrize("name", ["gaussian", "multi_gaussian", "rectangle"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_large_tensor_has_the_values_of_its_parts(name, dtype):
    x = torch.randn(700, 300, dtype=dtype, generator=torch.Generator().manual_seed(1)).t()
    value = evaluate(FORMULAS[name], x)
    assert value.shape == x.shape
    part = evaluate(FORMULAS[name], x[::97, ::31])
    torch.testing.assert_close(value[::97, ::31], part, **within_units(4, dtype))


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16])
def test_an_array_has_the_bits_of_the_tensor(dtype):
    array = np.linspace(-3, 3, 24).astype(dtype).reshape(4, 6)
    wanted = evaluate(SMOOTH, torch.from_numpy(array)).numpy()
    frozen = array.copy()
    frozen.flags.writeable = False
    for each in (array, frozen, array[:, ::-1][:, ::-1], array.astype(array.dtype.newbyteorder(">"))):
        value = evaluate(SMOOTH, each)
        assert isinstance(value, np.ndarray)
        assert value.tobytes() == wanted.tobytes()
        assert value.dtype == dtype
    np.testing.assert_allclose(evaluate(SMOOTH, array.T), wanted.T, rtol=4 * np.finfo(dtype).eps)
    assert evaluate(SMOOTH, array[0, 0:0]).shape == (0,)


@pytest.mark.parametrize(
    "given",
    [
        torch.arange(3),
        torch.zeros(2, dtype=torch.complex64),
        torch.zeros(2, dtype=torch.bool),
        torch.zeros(2).to_sparse(),
        np.arange(3),
        np.zeros(2, dtype=complex),
        0.5,
        [0.5],
        None,
    ],
    ids=lambda each: f"{type(each).__name__} {getattr(each, 'dtype', '')}",
)
def test_other_input_is_refused_by_name(given):
    with pytest.raises(Refused, match="preactivation"):
        evaluate(SMOOTH, given)


def test_the_input_is_not_touched(points):
    before = points.clone()
    for formula in (u, sp.Abs(u), SMOOTH):
        value = evaluate(formula, points)
        value.add_(1)
        assert torch.equal(points, before)


@pytest.mark.parametrize("dtype", DTYPES)
def test_under_autocast_the_dtype_is_the_inputs(dtype, points):
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = evaluate(SMOOTH, points.to(dtype))
    assert torch.equal(value, evaluate(SMOOTH, points.to(dtype)))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["constant", "rectangle", "gaussian"])
def test_the_compiler_keeps_values_and_gradients(name):
    x = torch.randn(8, 8, generator=torch.Generator().manual_seed(0)).requires_grad_()
    surrogate = ds.SURROGATES[name]
    value = torch.compile(lambda given: surrogate(given))(x)
    assert torch.equal(value, surrogate(x))
    (found,) = torch.autograd.grad(value.sum(), x)
    (wanted,) = torch.autograd.grad(surrogate(x).sum(), x)
    assert torch.equal(found, wanted)
