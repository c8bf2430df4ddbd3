"""The two ways of `measure`: the rows of a chain are those of a replay, and what is no chain is replayed."""

from __future__ import annotations

from collections.abc import Callable

import downslope as ds
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from downslope.analysis.errors import Refused
from downslope.analysis.gradients import chains, layers
from downslope.analysis.gradients.chains import walk
from downslope.analysis.gradients.measuring import ways
from downslope.analysis.gradients.measuring.observing import Measuring
from downslope.analysis.gradients.measuring.setting import Setting
from torch import nn

NUMBERS = ["cosine", "angle_degrees", "log10_magnitude_ratio", "directional_derivative"]
SIGNS = ["kept", "flipped", "vanished", "appeared", "both_zero", "sign_agreement", "nonzero_fraction"]
CATALOGUE = [*ds.SURROGATES, "tied", ds.SURROGATES["triangle"].at(height=0.5)]
Batch = tuple[torch.Tensor, torch.Tensor]


class NoChain(nn.Sequential):
    """The same modules in a type whose forward is not known."""


def dense() -> tuple[nn.Sequential, Batch]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(9, 8), nn.Sigmoid(), nn.Linear(8, 7), nn.ReLU(), nn.Linear(7, 3))
    return model.double(), (torch.randn(6, 9).double(), torch.randint(3, (6,)))


def convolved() -> tuple[nn.Sequential, Batch]:
    torch.manual_seed(0)
    model = nn.Sequential(
        *(nn.Conv2d(1, 3, 3), nn.Tanh(), nn.AvgPool2d(2), nn.Conv2d(3, 4, 2), nn.LeakyReLU(0.2), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(4, 3)),
    )
    return model.double(), (torch.randn(5, 1, 8, 8).double(), torch.randint(3, (5,)))


def table(model: nn.Module, batch: Batch, surrogates: object = CATALOGUE, **options: object) -> pd.DataFrame:
    return ds.measure(model, F.cross_entropy, batch, surrogates, **{"draws": 3, "seed": 7, **options})


def assert_same(found: pd.DataFrame, expected: pd.DataFrame, *, signs: bool = True) -> None:
    """To 1e-10 degrees; where the vectors are parallel the angle itself is a rounding, below 2e-6 degrees."""
    others = [name for name in found.columns if name not in NUMBERS and (signs or name not in SIGNS)]
    pd.testing.assert_frame_equal(found[others], expected[others])
    parallel = expected.angle_degrees < 1e-5
    for name in NUMBERS:
        apart = (found[name] - expected[name]).abs()
        assert (found[name].isna() == expected[name].isna()).all()
        if name == "angle_degrees":
            assert not (found[name][parallel] >= 2e-6).any()
            apart = apart[~parallel]
        assert not (apart > 1e-10).any(), name


@pytest.mark.parametrize("build", [dense, convolved])
def test_a_chain_has_the_rows_of_a_replay(build: Callable[[], tuple[nn.Sequential, Batch]]) -> None:
    model, batch = build()
    stacked, replayed = table(model, batch), table(NoChain(*model), batch)
    assert (stacked.attrs["way"], replayed.attrs["way"]) == ("chain", "replay")
    assert stacked.attrs["loss"] == replayed.attrs["loss"]
    assert_same(stacked, replayed)
    nearest = stacked[stacked.layer == stacked.layer[stacked.depth.idxmax()]]
    assert (nearest.angle_degrees == 0).all()


@pytest.mark.parametrize("build", [dense, convolved])
def test_without_signs_the_other_numbers_are_the_same(build: Callable[[], tuple[nn.Sequential, Batch]]) -> None:
    model, batch = build()
    full = table(NoChain(*model), batch)
    for each, way in ((model, "chain"), (NoChain(*model), "replay")):
        lean = table(each, batch, signs=False)
        assert lean.attrs["way"] == way
        assert lean.attrs["loss"] == full.attrs["loss"]
        assert lean[SIGNS].isna().all(axis=None)
        pd.testing.assert_series_equal(lean.dtypes, full.dtypes)
        assert_same(lean, full, signs=False)


def test_without_signs_no_gradient_is_formed(monkeypatch: pytest.MonkeyPatch) -> None:
    model, batch = dense()
    monkeypatch.setattr(ways.chains, "gradients", None)
    assert table(model, batch, signs=False).attrs["way"] == "chain"
    monkeypatch.setattr(ways.chains, "deviations", None)
    with pytest.raises(TypeError):
        table(model, batch, signs=False)


@pytest.mark.parametrize("signs", [True, False])
def test_a_wrong_product_of_the_chain_is_noticed(monkeypatch: pytest.MonkeyPatch, signs: bool) -> None:
    model, batch = dense()
    replayed, right = table(NoChain(*model), batch), walk.multiplied
    monkeypatch.setattr(walk, "multiplied", lambda error, *args: right(error.roll(1, 0), *args))
    with pytest.raises(AssertionError):
        assert_same(table(model, batch, signs=signs), replayed, signs=signs)


@pytest.mark.parametrize("reference", ["exact", "finite-difference"])
def test_every_reference_takes_the_gradients_of_a_chain(reference: str) -> None:
    model, batch = dense()
    stacked = table(model, batch, ["triangle", "full_jam"], reference=reference)
    replayed = table(NoChain(*model), batch, ["triangle", "full_jam"], reference=reference)
    assert (stacked.attrs["way"], replayed.attrs["way"]) == ("chain", "replay")
    pd.testing.assert_frame_equal(stacked, replayed, check_exact=False, rtol=1e-6)
    lean = table(model, batch, "triangle", reference="finite-difference", signs=False)
    assert lean[SIGNS].isna().all(axis=None)


def hooked() -> nn.Module:
    model, _ = dense()
    model[2].register_full_backward_hook(lambda module, slopes, upstream: (2 * slopes[0],))
    return model


def dropping() -> nn.Module:
    return nn.Sequential(*dense()[0], nn.Dropout(0.5)).train()


def normed() -> nn.Module:
    return nn.Sequential(nn.BatchNorm1d(9), *dense()[0]).double()


def halved() -> nn.Module:
    return dense()[0].bfloat16()


@pytest.mark.filterwarnings("ignore:.*batch norm in training mode")
@pytest.mark.parametrize("signs", [True, False])
@pytest.mark.parametrize("build", [hooked, dropping, normed, halved])
def test_what_is_no_chain_is_replayed(build: Callable[[], nn.Module], signs: bool) -> None:
    _, (x, y) = dense()
    model = build()
    x = x.to(next(model.parameters()).dtype)
    found = table(model, (x, y), ["triangle", "full_jam"], signs=signs)
    assert found.attrs["way"] == "replay"
    assert table(model.eval(), (x, y), "triangle").attrs["way"] == ("chain" if build is dropping else "replay")


@pytest.mark.parametrize("signs", [True, False])
def test_other_calls_that_are_no_chain_are_replayed(signs: bool) -> None:
    model, (x, y) = dense()

    def way(loss: object = F.cross_entropy, x: object = x, **options: object) -> str:
        return ds.measure(model, loss, (x, y), "triangle", signs=signs, **options).attrs["way"]

    assert way() == "chain"
    assert way(x=(x,)) == "replay"
    assert way(x={"input": x}) == "replay"
    assert way(lambda output, y: F.cross_entropy(output, y) + model[0].weight.square().sum()) == "replay"
    assert way(activations=[nn.ReLU]) == "replay"
    handle = nn.modules.module.register_module_forward_hook(lambda module, args, output: None)
    assert way() == "replay"
    handle.remove()
    other = nn.Sequential(nn.Linear(9, 3), nn.ReLU())
    with ds.untie(other, {"relu": "constant"}):
        other(x.float())
        assert way() == "replay"
    with torch.autocast("cpu"):
        assert way() == "replay"
    assert way() == "chain"


def test_a_loss_may_change_what_it_is_given() -> None:
    model, batch = dense()
    plain = table(model, batch, ["triangle"])
    changing = ds.measure(
        model, lambda output, y: F.cross_entropy(output.mul_(1), y), batch, "triangle", seed=7, signs=False
    )
    assert changing.attrs["way"] == "chain"
    assert_same(changing, plain, signs=False)


def test_a_chain_whose_forward_gives_another_loss_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    model, batch = dense()
    right = chains.deviations.__globals__["inputs"]
    off = lambda stages, x: [*right(stages, x)[:-1], right(stages, x)[-1] * (1 + 1e-12)]  # noqa: E731
    monkeypatch.setitem(chains.deviations.__globals__, "inputs", off)
    for signs in (True, False):
        assert table(model, batch, "triangle", signs=signs).attrs["way"] == "replay"


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        (lambda output, y: output, "returned a tensor of shape"),
        (lambda output, y: output.sum() * float("inf"), "the loss is -?inf"),
        (lambda output, y: output.detach().sum(), "does not depend on any trained parameter"),
    ],
)
def test_without_signs_bad_losses_are_refused_as_ever(loss: object, message: str) -> None:
    model, batch = dense()
    with pytest.raises(Refused, match=message):
        ds.measure(model, loss, batch, "triangle", signs=False)
    with pytest.raises(Refused, match="called none of 'gelu'"):
        table(model, batch, "triangle", activations=["gelu"], signs=False)


@pytest.mark.parametrize("signs", [True, False])
def test_frozen_layers_keep_their_reason(signs: bool) -> None:
    model, batch = dense()
    model[0].requires_grad_(False)
    found = table(model, batch, "triangle", signs=signs)
    assert found.attrs["way"] == "chain"
    assert found.reason[found.layer == "0"].tolist() == ["the layer is frozen: no parameter of it requires a gradient"]
    assert_same(found, table(NoChain(*model), batch, "triangle"), signs=signs)


@pytest.mark.parametrize("signs", [True, False])
def test_layers_above_every_activation_are_exact(signs: bool) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.ReLU(), nn.Linear(9, 3))
    found = ds.measure(model, F.cross_entropy, (torch.randn(6, 9), torch.arange(6) % 3), "triangle", signs=signs)
    assert found.attrs["way"] == "chain"
    assert (found.angle_degrees == 0).all()


def test_measuring_may_leave_the_signs_out() -> None:
    model, batch = dense()
    with Measuring(model, F.cross_entropy, batch, "triangle", at=[0], signs=False) as observed:
        pass
    assert observed.table.attrs["way"] == ["chain"]
    assert observed.table[SIGNS].isna().all(axis=None)


def overwriting() -> tuple[nn.Sequential, Batch]:
    """Modules that write over their input, one that runs twice, and one that hands its input on."""
    torch.manual_seed(0)
    twice = nn.ReLU(inplace=True)
    model = nn.Sequential(
        *(nn.Linear(9, 8), nn.Identity(), twice, nn.Sequential(nn.Linear(8, 7), twice), nn.Flatten()),
        *(nn.Linear(7, 7), nn.LeakyReLU(0.1, inplace=True), nn.Linear(7, 3)),
    )
    return model.double(), (torch.randn(6, 9).double(), torch.randint(3, (6,)))


@pytest.mark.parametrize("signs", [True, False])
def test_a_chain_goes_on_from_the_inputs_of_the_models_own_forward(
    monkeypatch: pytest.MonkeyPatch, signs: bool
) -> None:
    model, batch = overwriting()
    replayed = table(NoChain(*model), batch, signs=signs)
    runs: list[None] = []
    right = nn.Linear.forward
    monkeypatch.setattr(nn.Linear, "forward", lambda self, x: (runs.append(None), right(self, x))[1])
    stacked = table(model, batch, signs=signs)
    assert len(runs) == 4 * (2 if signs else 1)  # with signs, torch's own gradient has a forward of its own
    assert stacked.attrs["way"] == "chain"
    assert_same(stacked, replayed, signs=signs)

    def overwritten(self: layers._Observing, module: nn.Module, args: tuple[torch.Tensor]) -> None:
        self._order.setdefault(module)
        self._calls.extend([] if module._modules else [(module, args[0])])

    monkeypatch.setattr(layers._Observing, "enter", overwritten)
    with pytest.raises(AssertionError):
        assert_same(table(model, batch, signs=signs), replayed, signs=signs)


def test_inputs_are_kept_of_a_chain_alone() -> None:
    model, (x, y) = overwriting()
    for each, kept in ((model, 9), (NoChain(*model), 0)):
        observation = ways.observed(Setting.of(each, F.cross_entropy, (x, y), "measure"))
        assert len(observation.calls) == kept
        assert (observation.output is not None) == bool(kept)
