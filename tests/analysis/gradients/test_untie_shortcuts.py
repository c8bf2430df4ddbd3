"""Fast steps back of `untie`: torch's own where a surrogate is tied, a cut-off where it is zero outside a window."""

from __future__ import annotations

import gc
import math
import weakref
from collections.abc import Callable

import downslope as ds
import pytest
import torch
import torch.nn.functional as F
from downslope.analysis.gradients.untie import function
from downslope.analysis.surrogates.formula import evaluation
from downslope.analysis.surrogates.formula.evaluation import evaluate, product
from downslope.analysis.surrogates.formula.numerics import window
from downslope.analysis.surrogates.lookup import surrogate as find_surrogate
from torch import nn

WINDOWED = ["rectangle", "clipped", "relu_derivative", "rectangle(height=0.3)", "dspike"]
SHAPE = (40, 1000)  # large enough for a cut-off of what is no number


def preactivations() -> torch.Tensor:
    return torch.randn(SHAPE, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(("name", "module"), [("logistic", nn.Sigmoid()), ("tanh", nn.Tanh())])
def test_tied_has_the_bits_of_the_native_gradient(name: str, module: nn.Module) -> None:
    u = preactivations()
    u.view(-1)[:6] = torch.tensor([torch.nan, torch.inf, -torch.inf, 30, -200, 0])
    found, native = u.clone().requires_grad_(), u.clone().requires_grad_()
    upstream = torch.randn_like(u)
    module(native).backward(upstream)
    with ds.untie(module, {name: "tied"}):
        module(found).backward(upstream)
    assert torch.equal(found.grad.nan_to_num(7), native.grad.nan_to_num(7))
    assert found.grad.view(-1)[0].isnan()
    formula = ds.ACTIVATIONS[name].tied(u) * upstream
    torch.testing.assert_close(found.grad, formula, rtol=1e-5, atol=1e-6, equal_nan=True)


@pytest.mark.parametrize("name", WINDOWED)
def test_a_window_has_the_values_of_the_formula(name: str) -> None:
    u, upstream, surrogate = preactivations(), preactivations().flip(0), find_surrogate(name)
    end = surrogate.formula.args[0][1].rhs if name != "relu_derivative" else 0
    u.view(-1)[:3] = torch.nextafter(torch.tensor(float(end)), torch.tensor([-9.0, float(end), 9.0]))
    kept = upstream.clone()
    with torch.no_grad():
        assert torch.equal(product(surrogate.formula, u, upstream), surrogate(u) * upstream)
        assert isinstance(window.multiplier(surrogate.formula, u.dtype), window._Cut)
    assert torch.equal(upstream, kept)


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
@pytest.mark.parametrize("name", WINDOWED)
def test_a_window_hides_no_number_that_is_not_finite(name: str, bad: float, monkeypatch: pytest.MonkeyPatch) -> None:
    surrogate = find_surrogate(name)
    formula = surrogate.formula
    for where in ("u", "upstream"):
        u, upstream = preactivations(), preactivations().flip(0)
        u[0, 0] = -5.0  # outside: psi is 0 there
        (u if where == "u" else upstream)[0, 0] = bad
        right = surrogate(u) * upstream
        with torch.no_grad():
            found = product(formula, u, upstream)
            torch.testing.assert_close(found, right, rtol=0, atol=0, equal_nan=True)
            with monkeypatch.context() as patch:  # without the look at the inner product it would
                patch.setattr(window.math, "isfinite", lambda _: True)
                blind = product(formula, u, upstream)
        if where == "upstream":
            assert not torch.equal(blind.isnan(), right.isnan())


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("name", ["triangle", "laplace"])
def test_a_plan_hides_no_number_that_is_not_finite(name: str, bad: float) -> None:
    """As above, of formulas that are no window to the product: a short plan stands for them."""
    surrogate = find_surrogate(name)
    for where in ("u", "upstream", "both"):
        u, upstream = preactivations(), preactivations().flip(0)
        u[0, :3] = torch.tensor([-5.0, 0.0, 1e30])  # psi is 0, 1, 0 there, or nearly
        for each in {"u": (u,), "upstream": (upstream,), "both": (u, upstream)}[where]:
            each[0, :6] = bad
        right = evaluate(surrogate.formula, u) * upstream
        with torch.no_grad():
            found = product(surrogate.formula, u, upstream)
        torch.testing.assert_close(found, right, rtol=0, atol=0, equal_nan=True)
        assert bool(found[0, :6].isfinite().all()) is (where == "u" and not math.isnan(bad))


@pytest.mark.parametrize("name", ["triangle", "laplace"])
def test_a_plan_that_cuts_off_what_is_no_number_is_caught(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    psi = find_surrogate(name)
    monkeypatch.setattr(evaluation, "multiplier", lambda *_: lambda u, g: torch.where(psi(u) > 1e-2, g * psi(u), 0))
    for bad in (torch.nan, torch.inf):
        with pytest.raises(AssertionError):
            test_a_plan_hides_no_number_that_is_not_finite(name, bad)


class Overwrites(nn.Module):
    """Changes the preactivation after the call, which torch allows where the activation saves its output."""

    def __init__(self, late: bool, given: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.late, self.given = late, given

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        z = self.given(x)
        y = torch.sigmoid(z)
        if self.late:
            z.detach().add_(1)
        return y


GIVEN: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "whole": lambda x: x * 1,
    "a part": lambda x: (x * 1)[:, ::2],
    "NumPy's memory": lambda x: torch.from_numpy((x.detach() * 1).numpy().copy()).requires_grad_(),
}


def late_factors(given: str) -> list[torch.Tensor]:
    found = []
    for late in (False, True):
        model = Overwrites(late, GIVEN[given])
        leaf = preactivations().requires_grad_()
        with ds.untie(model, {"logistic": "gaussian"}):
            y = model(leaf)
        found.append(y.grad_fn.rule(torch.ones_like(y), *y.grad_fn.saved_tensors).detach())
    return found


@pytest.mark.parametrize("given", GIVEN)
def test_a_large_preactivation_may_change_after_the_call(given: str) -> None:
    assert torch.equal(*late_factors(given))


def test_a_preactivation_that_is_not_copied_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(function, "kept", torch.Tensor.detach)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        test_a_large_preactivation_may_change_after_the_call("whole")


def test_a_large_preactivation_is_shared_until_it_changes_and_a_part_does_not_keep_the_whole() -> None:
    u = preactivations()
    assert torch._C._is_cow_tensor(function.kept(u))
    part = function.kept(u[:, :900])
    assert part.untyped_storage().nbytes() == part.numel() * part.itemsize


@pytest.mark.filterwarnings("ignore:Sparse CSR tensor support")
@pytest.mark.parametrize("size", [1 << 6, 1 << 7], ids=["small", "large"])
@pytest.mark.parametrize("sparse", [torch.Tensor.to_sparse, torch.Tensor.to_sparse_csr])
def test_a_sparse_preactivation_is_copied_whatever_its_size(
    sparse: Callable[[torch.Tensor], torch.Tensor], size: int
) -> None:
    u, model = sparse(torch.eye(size)), nn.Sequential(nn.Tanh())
    with ds.untie(model, {"tanh": "gaussian"}) as untied:
        y = model(u.requires_grad_())
    assert torch.equal(y.detach().to_dense(), torch.eye(size).tanh())
    assert [place.forward for place in untied.places] == [1]


def test_a_torch_without_lazy_copies_copies_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    u = preactivations()
    monkeypatch.delattr(torch, "_lazy_clone")
    copy = function.kept(u)
    assert torch.equal(copy, u)
    assert copy.data_ptr() != u.data_ptr()
    test_a_large_preactivation_may_change_after_the_call("whole")


def written_between(call: Callable[[torch.Tensor], torch.Tensor], size: int) -> torch.Tensor:
    """The gradient by preactivations of 1, over which a NumPy view writes 3 between forward and backward."""
    u = torch.ones(size, requires_grad=True)
    view = u.detach().numpy()
    y = call(u)
    view[:] = 3
    return torch.autograd.grad(y.sum(), u)[0]


def test_what_numpy_writes_between_forward_and_backward_is_seen_by_no_one() -> None:
    """Neither by torch, where it saves its input, nor by a large preactivation that is copied when it changes."""
    assert written_between(torch.square, 9).eq(2 * 3).all()
    psi = ds.SURROGATES["gaussian"]
    for size, value in ((function._LARGE - 1, 1.0), (function._LARGE, 3.0)):
        found = written_between(ds.untie(nn.Sequential(nn.Sigmoid()), {"logistic": "gaussian"}), size)
        torch.testing.assert_close(found, psi(torch.full((size,), value)))


def test_a_second_derivative_at_a_large_preactivation() -> None:
    u, model = preactivations().double().requires_grad_(), nn.Sequential(nn.Sigmoid())
    with ds.untie(model, {"logistic": "gaussian"}) as untied:
        for _ in range(2):  # the second call is one met before
            (first,) = torch.autograd.grad(model(u).sum(), u, create_graph=True)
            (second,) = torch.autograd.grad(first.sum(), u)
            psi = ds.SURROGATES["gaussian"](u)
            torch.testing.assert_close(first, psi)
            torch.testing.assert_close(second, torch.autograd.grad(psi.sum(), u)[0])
    assert [(place.forward, place.backward) for place in untied.places] == [(2, 2)]


def test_a_call_met_before_is_told_from_one_with_other_arguments() -> None:
    class Several(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            steep, flat = F.elu(x, alpha=2.0), F.elu(x, alpha=0.5)
            return steep.sum() + 10 * flat.sum() + F.elu(x.to(torch.float64), alpha=2.0).sum()

    x, model = torch.tensor([-1.0, -0.5], requires_grad=True), Several()
    (native,) = torch.autograd.grad(model(x), x)
    with ds.untie(model, {"elu": "tied"}) as untied:
        for _ in range(3):
            torch.testing.assert_close(torch.autograd.grad(model(x), x)[0], native)
    assert [place.forward for place in untied.places] == [9]


def test_runs_of_one_block_do_not_share_their_noise() -> None:
    """A run is used again; its seeds are not."""
    u, model = torch.ones(1000, requires_grad=True), nn.Sequential(nn.Sigmoid())
    with ds.untie(model, {"logistic": "full_jam"}, torch.Generator().manual_seed(0)):
        draws = [torch.autograd.grad(model(u).sum(), u)[0] for _ in range(3)]
    assert not torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[1], draws[2])


class Handled(Exception):
    """A built-in exception cannot be referred to weakly."""


def test_an_idle_run_keeps_no_exception_alive() -> None:
    u, model = torch.ones(3, requires_grad=True), nn.Sequential(nn.Sigmoid())
    with ds.untie(model, {"logistic": "gaussian"}) as untied:
        model(u)  # the first run is judged, and not used again
        try:
            raise Handled
        except Handled as error:
            held = weakref.ref(error)
            model(u)  # counts: what was handled before it is no failure of its own
        assert len(untied._idle) == 1
        gc.collect()
        assert held() is None
    assert [place.forward for place in untied.places] == [2]
