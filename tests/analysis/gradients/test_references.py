"""References for step units: the theory's closed forms, enumeration against Monte Carlo, and what is undefined."""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Callable

import downslope as ds
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from downslope.analysis.errors import Refused
from downslope.analysis.gradients.inputs import untouched
from downslope.analysis.gradients.layers import observe
from downslope.analysis.gradients.measuring import taking
from downslope.analysis.gradients.measuring.remarks import ModeWarning
from downslope.analysis.gradients.measuring.setting import Setting
from downslope.analysis.gradients.measuring.taking import Native, native
from downslope.analysis.gradients.references import expected as module
from downslope.analysis.gradients.references.difference import FiniteDifference, _Difference
from downslope.analysis.gradients.references.expected import Expected, Smoothed, enumerated, estimated
from downslope.analysis.gradients.references.noisy import Noisy
from torch import nn

Tensors = list[torch.Tensor]
CLOSED = ["cosine", "angle_degrees", "log10_magnitude_ratio", "directional_derivative"]


def density(z: torch.Tensor, sigma: float = 1.0) -> torch.Tensor:
    return torch.exp(-((z / sigma) ** 2) / 2) / (sigma * math.sqrt(2 * math.pi))


def heaviside(z: torch.Tensor) -> torch.Tensor:
    return torch.heaviside(z, z.new_zeros(()))


class Net(nn.Module):
    """Linear layers with a step unit between them; the last may be the bare sum of a step layer."""

    def __init__(
        self, *sizes: int, step: Callable[[torch.Tensor], torch.Tensor] = heaviside, bias: bool = False
    ) -> None:
        super().__init__()
        torch.manual_seed(len(sizes))
        self.layers = nn.ModuleList(nn.Linear(a, b, bias=bias) for a, b in itertools.pairwise(sizes))
        self.step = step
        self.double()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for layer in self.layers[:-1]:
            x = self.step(layer(x))
        return self.layers[-1](x)


Batch = tuple[torch.Tensor, torch.Tensor]
Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def prepared(model: nn.Module, loss: Loss, batch: Batch, sigma: float, run: Callable[[Noisy], object]) -> object:
    setting = Setting.of(model, loss, batch, "measure")
    with untouched(model, setting.owned, 0) as again:
        given: Native = native(setting, observe(model, setting.output), again)
        return run(Noisy.of(given, sigma, "smoothed"))


def exact(model: nn.Module, loss: Loss, batch: Batch, sigma: float = 1.0) -> Tensors:
    return list(prepared(model, loss, batch, sigma, enumerated).gradient)


def batch(size: int, inputs: int, outputs: int = 1) -> Batch:
    generator = torch.Generator().manual_seed(size)
    pair = (torch.randn(size, k, generator=generator, dtype=torch.float64) for k in (inputs, outputs))
    return tuple(pair)


# ------------------------------------------------------------------------------------------ closed forms of the theory


@pytest.mark.parametrize("sigma", [0.5, 1.0, 2.0])
def test_one_unit(sigma: float) -> None:
    """THEORY `one-unit`: (l(1) - l(0)) p_sigma(z) x; with squared error (1/2 - y) p_sigma, not (Phi - y) p_sigma."""
    model, (x, y) = Net(2, 1, 1), batch(1, 2)
    model.layers[1].weight.data.fill_(1)
    z = model.layers[0](x)
    found = exact(model, lambda o, y: ((o - y) ** 2).sum() / 2, (x, y), sigma)
    assert torch.allclose(found[0], (0.5 - y) * density(z, sigma) * x, rtol=1e-12)
    wrong = (torch.special.ndtr(z / sigma) - y) * density(z, sigma) * x
    assert not torch.allclose(found[0], wrong, rtol=1e-2)


class Flip(nn.Module):
    """THEORY `smoothing-depth-flip`: 1-1-2, w1 = 0, x = 1, u = (1, 4), v = (2, -1), loss v.h2."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.zeros(1, 1, dtype=torch.float64))
        self.u = torch.tensor([[1.0], [4.0]], dtype=torch.float64)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.linear(heaviside(F.linear(heaviside(F.linear(x, self.w)), self.u)), self.v)

    v = torch.tensor([[2.0, -1.0]], dtype=torch.float64)


FLIP = torch.ones(1, 1, dtype=torch.float64), torch.zeros(1, 1, dtype=torch.float64)


def output_sum(output: torch.Tensor, _: torch.Tensor) -> torch.Tensor:
    return output.sum()


def test_the_depth_flip() -> None:
    """True +0.18272 p(0); straight-through with the Gaussian psi, averaged over the noise, -0.15724 p(0)."""
    model, at_zero = Flip(), density(torch.zeros((), dtype=torch.float64))
    (true,) = exact(model, output_sum, FLIP)
    assert true.item() / at_zero.item() == pytest.approx(0.18272, abs=5e-6)
    averaged = 0.0
    for h1 in (0.0, 1.0):  # P = 1/2 each; psi of the second layer at u h1
        averaged += 0.5 * sum(v * u * density(torch.tensor(u * h1)).item() for u, v in ((1, 2), (4, -1)))
    assert averaged == pytest.approx(-0.15724, abs=5e-6)
    gaussian = ds.SURROGATES["gaussian"].at(width=1)
    table = ds.measure(model, output_sum, FLIP, [gaussian], reference="smoothed")
    # At h1 = 0, the model's own forward, the straight-through slope is -2 p(0) p(0): against the true one, flipped.
    assert table.cosine.unique().tolist() == [-1.0]
    assert table.flipped.unique().tolist() == [1]
    assert table.attrs["reference"]["expected_loss"] == pytest.approx(
        sum(v * (torch.special.ndtr(torch.tensor(float(u))).item() + 0.5) / 2 for u, v in ((1, 2), (4, -1))), rel=1e-6
    )


def test_one_layer_with_squared_error_is_off_by_the_theory_s_term() -> None:
    """THEORY `one-unit`: E of straight-through minus the true gradient = p(z_i) v_i^2 (Phi(z_i) - 1/2) x_j."""
    model, (x, y) = Net(3, 4, 1), batch(1, 3)
    loss = lambda o, y: ((o - y) ** 2).sum() / 2  # noqa: E731
    first, v = model.layers[0], model.layers[1].weight[0]
    z = first(x)[0]
    mean = torch.special.ndtr(z)
    straight = (v @ mean - y[0, 0]) * (v * density(z))[:, None] * x
    off = (density(z) * v**2 * (mean - 0.5))[:, None] * x
    assert torch.allclose(straight - exact(model, loss, (x, y))[0], off, rtol=1e-9, atol=1e-14)


def test_expected_gradient_by_the_claim_s_own_formula() -> None:
    """THEORY `expected-gradient` on 3-2-2-1, the conditional losses by hand."""
    model, (x, y) = Net(3, 2, 2, 1), batch(4, 3)
    w1, w2, w3 = (layer.weight.detach() for layer in model.layers)
    by_hand = [torch.zeros_like(w) for w in (w1, w2)]
    bits = [torch.tensor(b, dtype=torch.float64) for b in itertools.product((0.0, 1.0), repeat=2)]

    def chance(h: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
        p = torch.special.ndtr(z)
        return (p * h + (1 - p) * (1 - h)).prod()

    for xk, yk in zip(x, y, strict=True):
        final = {tuple(h.tolist()): ((w3 @ h - yk) ** 2).sum() / len(x) for h in bits}
        z1 = w1 @ xk
        of_first = {tuple(h.tolist()): sum(chance(b, w2 @ h) * final[tuple(b.tolist())] for b in bits) for h in bits}
        for z, weight, values, below, prior in [
            (z1, by_hand[0], of_first, xk, 1.0),
            *((w2 @ h, by_hand[1], final, h, chance(h, z1)) for h in bits),
        ]:
            for i in range(2):
                difference = 0.0
                for h in bits:
                    other = chance(h, z) / chance(h[i : i + 1], z[i : i + 1])
                    difference += other * (2 * h[i] - 1) * values[tuple(h.tolist())]
                weight[i] += prior * density(z[i]) * difference * below
    found = exact(model, F.mse_loss, (x, y))
    assert torch.allclose(found[0], by_hand[0], rtol=1e-9, atol=1e-15)
    assert torch.allclose(found[1], by_hand[1], rtol=1e-9, atol=1e-15)


def test_the_gradient_is_the_slope_of_the_expected_loss() -> None:
    """Sign units and a bias: J by enumeration at both ends of a short segment."""
    model, data = Net(3, 3, 2, 2, step=torch.sign, bias=True), batch(3, 3, 2)
    found = exact(model, F.mse_loss, data, 0.7)
    for parameter, gradient in zip(model.parameters(), found, strict=True):
        ends = []
        for side in (1, -1):
            moved = copy.deepcopy(model)
            place = [p is parameter for p in model.parameters()].index(True)
            list(moved.parameters())[place].data.view(-1)[0] += side * 1e-5
            ends.append(prepared(moved, F.mse_loss, data, 0.7, enumerated).facts["expected_loss"])
        assert (ends[0] - ends[1]) / 2e-5 == pytest.approx(gradient.view(-1)[0].item(), rel=1e-6, abs=1e-9)


# ---------------------------------------------------------------------------------- Monte Carlo, against enumeration


class Recurrent(nn.Module):
    """Leaky integrate and fire over three steps: one unit's call comes back, and its membrane is continuous."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.inner, self.back, self.out = nn.Linear(2, 2), nn.Linear(2, 2), nn.Linear(2, 1)
        self.double()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        v = s = torch.zeros(len(x), 2, dtype=x.dtype)
        for _ in range(3):
            v = 0.8 * v * (1 - s) + self.inner(x) + self.back(s)
            s = heaviside(v - 0.3)
        return self.out(s)


class Skip(nn.Module):
    """A step beside a tanh: the gradient reaches the first layer on both paths."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(4)
        self.first, self.last = nn.Linear(2, 3), nn.Linear(3, 2)
        self.double()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        z = self.first(x)
        return self.last(z.clone().sign_() + torch.tanh(z))


class Normed(nn.Module):
    """Batch norm in training mode: no sample is apart from the others."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(5)
        self.first, self.norm, self.last = nn.Linear(2, 2), nn.BatchNorm1d(2), nn.Linear(2, 1)
        self.double()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(heaviside(self.norm(self.first(x))))


CASES = {
    "two layers": (lambda: Net(3, 3, 2, 1), F.mse_loss, batch(4, 3)),
    "three layers of sign": (lambda: Net(2, 2, 2, 2, 1, step=torch.sign, bias=True), F.mse_loss, batch(3, 2)),
    "recurrent": (Recurrent, lambda o, y: ((o - y) ** 2).sum(), batch(3, 2)),
    "beside a smooth path": (Skip, F.cross_entropy, (batch(5, 2)[0], torch.tensor([0, 1, 1, 0, 1]))),
    "batch norm": (Normed, F.mse_loss, batch(4, 2)),
    "a loss that mixes the samples": (lambda: Net(2, 2, 1), lambda o, y: (o - y).mean() ** 2, batch(3, 2)),
}


def worst(case: str, draws: int = 240, sigma: float = 1.0) -> tuple[float, float]:
    """Mean square of the estimate's standardised error over all entries, and the largest over the parameters."""
    build, loss, data = CASES[case]
    model = build()
    true = exact(model, loss, data, sigma)
    found = prepared(model, loss, data, sigma, lambda noisy: estimated(noisy, draws, 1)).groups
    rows = [torch.stack([g[i] / n for g, n in zip(found.sums, found.sizes, strict=True)]) for i in range(len(true))]
    ratios = []
    for row, reference in zip(rows, true, strict=True):
        error = (row.mean(0) - reference) / (row.std(0) / math.sqrt(len(row)) + 1e-12)
        ratios.append(float(error.square().mean()))
    return sum(ratios) / len(ratios), max(ratios)


@pytest.mark.parametrize("case", CASES)
def test_monte_carlo_agrees_with_enumeration_within_its_error(case: str) -> None:
    mean, most = worst(case)
    assert mean < 4  # about 1 where the estimate is unbiased (entries are correlated, so it scatters)
    assert most < 9


def mutated(monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    if what == "the credit is halved":
        original = module.torch.special.log_ndtr
        monkeypatch.setattr(module.torch.special, "log_ndtr", lambda s: original(s) + math.log(2))
    elif what == "the density's sigma is forgotten":
        monkeypatch.setattr(module.math, "pi", 4 * math.pi)
    elif what == "the complement is an independent draw":
        turned = module._Uniform.turned
        monkeypatch.setattr(module._Uniform, "turned", lambda self, call: module._Uniform(self._noisy, self._seed + 1))
        assert turned is not module._Uniform.turned


@pytest.mark.parametrize(
    "what", ["the credit is halved", "the density's sigma is forgotten", "the complement is an independent draw"]
)
def test_a_wrong_estimator_is_caught(monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    build, loss, data = CASES["two layers"]
    true = exact(build(), loss, data)
    mutated(monkeypatch, what)
    found = prepared(build(), loss, data, 1.0, lambda noisy: estimated(noisy, 300, 1)).groups
    rows = [torch.stack([g[i] / n for g, n in zip(found.sums, found.sizes, strict=True)]) for i in range(2)]
    errors = [
        ((r.mean(0) - t) / (r.std(0) / math.sqrt(len(r)))).square().mean() for r, t in zip(rows, true, strict=False)
    ]
    assert max(map(float, errors)) > 9


def test_which_batches_fall_apart() -> None:
    counts = {}
    for name, (build, loss, data) in CASES.items():
        noisy = prepared(build(), loss, data, 1.0, lambda noisy: noisy)
        counts[name] = (noisy.samples.count, round(noisy.samples.weight, 6))
    assert counts == {
        "two layers": (4, 0.25),
        "three layers of sign": (3, round(1 / 3, 6)),
        "recurrent": (3, 1.0),
        "beside a smooth path": (5, 0.2),
        "batch norm": (1, 1.0),
        "a loss that mixes the samples": (1, 1.0),
    }


def test_the_standard_error_of_the_cosine_is_that_of_repetitions() -> None:
    build, loss, data = CASES["two layers"]
    model = build()
    tables = pd.concat(
        ds.measure(model, loss, data, "triangle", reference=Expected(samples=80, enumerate=0, seed=seed))
        for seed in range(14)
    ).groupby("layer")
    said, seen = tables.cosine_standard_error.apply(lambda each: (each**2).mean()), tables.cosine.var()
    assert 0.6 < math.sqrt((said / seen).mean()) < 1.6
    true = ds.measure(model, loss, data, "triangle", reference="smoothed").set_index("layer").cosine
    # Noise brings the cosine nearer to 0; the corrected one is right in the mean.
    off = (tables.corrected_cosine.mean() - true) / (tables.corrected_cosine.var() / 14) ** 0.5
    assert (off.abs() < 4).all()
    assert tables.cosine.mean()["layers.0"] < tables.corrected_cosine.mean()["layers.0"]


# ---------------------------------------------------------------------------------------------------------- measure


def test_rows_name_their_reference_and_its_error() -> None:
    model, data = Net(3, 3, 2, 1), batch(4, 3)
    exact_ = ds.measure(model, F.mse_loss, data, ["constant", "triangle"], reference="smoothed")
    counted = ds.measure(model, F.mse_loss, data, ["constant", "triangle"], reference="expected")
    drawn = ds.measure(
        model, F.mse_loss, data, ["constant", "triangle"], reference=Expected(samples=300, enumerate=0, sigma=1)
    )
    assert exact_.reference.unique().tolist() == ["smoothed"]
    assert drawn.reference.unique().tolist() == ["expected(samples=300, enumerate=0)"]
    assert counted.attrs["reference"]["method"] == "enumerated"
    assert drawn.attrs["reference"]["method"] == "antithetic Monte Carlo"
    assert (counted.cosine_standard_error == 0).all()
    assert counted.corrected_cosine.equals(counted.cosine)
    pd.testing.assert_frame_equal(exact_[CLOSED], counted[CLOSED])
    below = drawn.layer != "layers.2"
    assert (drawn.cosine_standard_error > 0)[below].all()
    apart = (drawn.cosine - exact_.cosine).abs()
    assert (apart < 5 * drawn.cosine_standard_error + 0.5 * drawn.reference_relative_error**2)[below].all()
    mean, spread = (drawn.attrs["reference"][key] for key in ("expected_loss", "expected_loss_standard_error"))
    assert abs(mean - exact_.attrs["reference"]["expected_loss"]) < 5 * spread


def test_sigma_reaches_the_reference() -> None:
    model, data = Net(3, 3, 2, 1), batch(4, 3)
    tables = [ds.measure(model, F.mse_loss, data, "constant", reference=Smoothed(sigma=s)) for s in (0.3, 3.0)]
    assert tables[0].reference[0] == "smoothed(sigma=0.3)"
    assert not tables[0].cosine.equals(tables[1].cosine)
    spelt = ds.measure(model, F.mse_loss, data, "constant", reference="Smoothed(sigma=0.3)")
    pd.testing.assert_frame_equal(spelt, tables[0])


def test_an_estimate_lost_in_its_noise_is_undefined() -> None:
    torch.manual_seed(0)
    model = Net(6, 30, 30, 1, step=torch.sign)
    table = ds.measure(model, F.mse_loss, batch(2, 6), "constant", reference=Expected(samples=2)).set_index("layer")
    assert table.loc["layers.0", "state"] == "undefined"
    assert "lost in its own noise" in table.loc["layers.0", "reason"]
    assert table.loc["layers.0", "reference_relative_error"] ** 2 >= 0.5
    assert pd.isna(table.loc["layers.0", "cosine"])


def test_the_exact_reference_of_a_step_network_is_undefined_also_where_it_is_not_zero() -> None:
    table = ds.measure(Skip(), F.cross_entropy, CASES["beside a smooth path"][2], "constant").set_index("layer")
    for layer in ("first", "whole"):
        assert table.loc[layer, "state"] == "undefined"
        assert "use reference='smoothed', 'expected' or 'finite-difference'" in table.loc[layer, "reason"]
    assert table.loc["last", "angle_degrees"] == 0


def test_the_model_is_left_as_it_was() -> None:
    model, data = Normed(), batch(4, 2)
    state, random = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    versions = [parameter._version for parameter in model.parameters()]
    for reference in ("smoothed", Expected(samples=3, enumerate=0), "finite-difference"):
        with pytest.warns(ModeWarning, match="batch norm in training mode"):
            ds.measure(model, F.mse_loss, data, "constant", reference=reference)
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert [parameter._version for parameter in model.parameters()] == versions
    assert torch.equal(torch.get_rng_state(), random)
    assert not model._forward_hooks
    assert not model._forward_pre_hooks


def test_finite_differences_agree_with_the_exact_gradient_of_a_smooth_network() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 4), nn.Sigmoid(), nn.Linear(4, 1)).double()
    data = batch(6, 3)
    table = ds.measure(
        model, F.mse_loss, data, ["tied", "constant", "full_jam"], draws=2, reference="finite-difference"
    )
    known = ds.measure(model, F.mse_loss, data, ["tied", "constant", "full_jam"], draws=2)
    assert (table.state == "undefined").all()
    assert table.reason.str.contains("no direction of its own").all()
    assert table[["cosine", "angle_degrees", "log10_magnitude_ratio"]].isna().all(axis=None)
    assert (table.directional_derivative - known.directional_derivative).abs().max() < 1e-8
    assert (table.exact_directional_derivative - known.directional_derivative).abs().max() < 1e-14
    assert table.directional_derivative_error.max() < 1e-8
    assert (table.kept == known.kept).all()


def test_finite_differences_of_a_step_network_have_no_exact_slope_below_the_steps() -> None:
    model, data = Net(3, 8, 1), batch(6, 3)
    table = ds.measure(
        model,
        F.mse_loss,
        data,
        ["constant", ds.SURROGATES["rectangle"].at(width=1e-9)],
        reference=FiniteDifference(2.0),
    )
    table = table.set_index(["surrogate", "layer"])
    assert pd.isna(table.loc[("constant", "layers.0"), "exact_directional_derivative"])
    d = table.loc[("constant", "layers.0")]
    with ds.untie(model, {"heaviside": "constant"}):
        g = torch.autograd.grad(F.mse_loss(model(data[0]), data[1]), model.layers[0].weight)[0]
    losses = []
    for side in (1, -1):
        moved = copy.deepcopy(model)
        moved.layers[0].weight.data -= side * 2.0 * g / g.norm()
        losses.append(F.mse_loss(moved(data[0]), data[1]).item())
    assert d.directional_derivative == pytest.approx((losses[0] - losses[1]) / 4, rel=1e-12)
    assert d.distance == 2.0
    assert "the gradient is zero, so there is no step" in table.reason.iloc[-3]


def test_planted_mistakes_are_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as planted:  # noise of another law
        planted.setattr(module.torch.special, "log_ndtr", F.logsigmoid)
        with pytest.raises(AssertionError):
            test_one_unit(1.0)
        with pytest.raises(AssertionError):
            test_the_depth_flip()
    with monkeypatch.context() as planted:  # the parameters below a step are not found
        planted.setattr(taking, "below", lambda value, parameters: frozenset())
        with pytest.raises(AssertionError):
            test_the_exact_reference_of_a_step_network_is_undefined_also_where_it_is_not_zero()
    with monkeypatch.context() as planted:  # the step uphill
        right = _Difference._slope
        planted.setattr(_Difference, "_slope", lambda *args: -right(*args))
        with pytest.raises(AssertionError):
            test_finite_differences_agree_with_the_exact_gradient_of_a_smooth_network()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Smoothed(sigma=0), r"Smoothed\(sigma=0\): give a finite number above 0"),
        (lambda: Smoothed(sigma="1"), "sigma='1'"),
        (lambda: Expected(samples=1), "at least 2"),
        (lambda: Expected(enumerate=40), "at most 16 units"),
        (lambda: FiniteDifference(distance=-1.0), "give a finite number above 0"),
        (lambda: measured("smothed"), "did you mean 'smoothed'"),
        (lambda: measured("expected(sigmas=2)"), "expected has no parameter 'sigmas'; they are sigma, samples,"),
        (lambda: measured("exact(sigma=2)"), "exact has no parameter 'sigma'; it has none"),
        (lambda: measured("expected(sigma=two)"), "'sigma=two' is not parameter=number"),
        (lambda: measured("expected(sigma=0)"), r"Expected\(sigma=0\)"),
        (lambda: measured(3), "a int is no reference"),
        (lambda: measured(Smoothed), "a type is no reference"),
        (lambda: measured("smoothed", Net(3, 20, 1)), r"20 step units have 2\^20 patterns.*'expected'"),
        (lambda: measured("expected", Net(3, 4, 1, step=torch.round)), "round, which has more than two values"),
        (lambda: measured("expected", Net(3, 4, 1, step=torch.tanh)), "no Heaviside or sign unit"),
    ],
)
def test_bad_references(make: Callable[[], object], message: str) -> None:
    with pytest.raises(Refused, match=message):
        make()


def measured(reference: object, model: nn.Module | None = None) -> pd.DataFrame:
    return ds.measure(model or Net(3, 2, 1), F.mse_loss, batch(4, 3), "constant", reference=reference)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("reference", ["smoothed", Expected(samples=40, enumerate=0), "finite-difference"])
def test_on_cuda_the_same(reference: object) -> None:
    model, data = Net(3, 3, 2, 1), batch(4, 3)
    here = ds.measure(model, F.mse_loss, data, ["constant", "triangle"], reference=reference)
    there = ds.measure(
        model.cuda(), F.mse_loss, tuple(each.cuda() for each in data), ["constant", "triangle"], reference=reference
    )
    pd.testing.assert_frame_equal(there, here, rtol=1e-9, atol=1e-9)
