from __future__ import annotations

import importlib
import json
import re
from pathlib import Path

import downslope as ds
import pytest
import torch
import torch.nn.functional as F
from downslope.__main__ import app
from downslope.analysis.errors import Refused
from downslope.analysis.gradients import given
from downslope.experiments import data, networks, training
from safetensors.torch import save_file
from torch import nn
from typer.testing import CliRunner

FILE = """
import torch
from torch import nn

def factory():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3))

def batches():
    generator = torch.Generator().manual_seed(1)
    while True:
        yield torch.randn(6, 4, generator=generator), torch.randint(0, 3, (6,), generator=generator)

pair = next(batches())
nothing = []
number = 3
three = [next(batches()) for _ in range(3)]

class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = nn.Linear(4, 6), nn.Linear(6, 6), nn.Linear(6, 3)

    def forward(self, x):
        h = torch.tanh(self.a(x))
        return self.c(h + torch.tanh(self.b(h)))

def residual():
    torch.manual_seed(0)
    return Residual()

def deep():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 5), nn.ReLU(), nn.Linear(5, 3))

def off():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 3))

class Named(nn.Module):
    def __init__(self):
        super().__init__()
        self.chain = factory()

    def forward(self, data):
        return self.chain(data)

named = [({"data": pair[0]}, pair[1])]

def step():
    return nn.Sequential(nn.Linear(4, 5), Step(), nn.Linear(5, 3))

class Step(nn.Module):
    def forward(self, u):
        return torch.heaviside(u, torch.zeros_like(u))

def squared(output, y):
    return (output ** 2).sum()
"""


@pytest.fixture
def mine(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(FILE)
    torch.manual_seed(7)
    save_file(nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3)).state_dict(), tmp_path / "w.safetensors")
    return file


def test_the_command_gives_what_the_function_gives(mine):
    arguments = ["--model", f"{mine}:factory", "--weights", str(mine.parent / "w.safetensors")]
    arguments += [
        "--data",
        f"{mine}:batches",
        "--surrogate",
        "constant",
        "--surrogate",
        "full_jam",
        "--certify",
        "--json",
    ]
    ran = CliRunner().invoke(app, ["margin", *arguments], catch_exceptions=False)
    found = json.loads(ran.stdout)
    torch.manual_seed(7)
    model = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3))
    batch = next(given.batches(f"{mine}:batches"))
    (margin,) = ds.descent_margin(model, F.cross_entropy, batch)
    (row,) = found["margins"]
    assert row["place"] == "1[0] tanh"
    assert row["kappa_star"] == margin.kappa_star
    spread = margin.spread(ds.SURROGATES["constant"])
    assert row["spreads"]["constant"]["kappa"] == spread.kappa
    assert row["spreads"]["constant"]["standing"] == spread.standing
    assert list(row["spreads"]) == ["constant", "full_jam"]
    assert found["certificate"]["certified"] <= found["certificate"]["attacked"]
    assert found["certificate"]["method"] == "crown"


def test_the_table_names_every_place(mine):
    arguments = ["--model", f"{mine}:factory", "--data", f"{mine}:pair", "--loss", f"{mine}:squared", "--samples", "4"]
    ran = CliRunner().invoke(app, ["margin", *arguments, "--certify"], catch_exceptions=False, env={"COLUMNS": "200"})
    assert ran.exit_code == 0
    assert "1[0] tanh" in ran.stdout
    assert "descends up to kappa" in ran.stdout
    assert "the one activation, <g, g~>" in ran.stdout


def margins(*arguments, **more):
    return CliRunner().invoke(app, ["margin", *map(str, arguments)], catch_exceptions=False, **more)


def test_the_table_shows_what_the_standing_is_decided_by(mine):
    model, (batch,) = given.model(f"{mine}:residual"), given.batches(f"{mine}:pair")
    around = ds.descent_margin(model, F.cross_entropy, batch)[1]
    spread = around.spread(ds.SURROGATES["constant"])
    arguments = ("--model", f"{mine}:residual", "--data", f"{mine}:pair", "--surrogate", "constant")
    shown = margins(*arguments, env={"COLUMNS": "400"}).stdout
    shown_of = shown.split("model[1] tanh: kappa* ")[1]
    assert float(shown_of.split("\n")[0]) == pytest.approx(around.kappa_star, rel=1e-3)
    row = next(line for line in shown_of.splitlines() if "constant" in line)
    for number in (spread.least, spread.most, spread.worst / around.norm_squared, spread.inner / around.norm_squared):
        assert f" {number:.3g} " in row
    assert (spread.standing == "inside") == (spread.worst > 0)
    assert "inside: worst is positive" in shown
    assert around.around != 0
    assert "their ratio alone (a surrogate's standing counts it): model[1] tanh\n" in shown


def test_every_number_and_name_is_whole_at_eighty_columns(mine):
    shown = margins("--model", f"{mine}:deep", "--data", f"{mine}:pair", env={"COLUMNS": "80"}).stdout.splitlines()
    assert max(map(len, shown)) <= 80
    for name in ds.SURROGATES:
        rows = [line.split() for line in shown if line.split()[:1] == [name]]
        assert [len(row) for row in rows] == [7, 7], name
        assert all(float(number) is not None for row in rows for number in row[1:6] if number != "-")
        assert {row[6] for row in rows} <= {"inside", "outside", "descends", "ascends", "undecided"}


def test_a_relu_that_is_off_leaves_no_surrogate_undecided(mine):
    """Beyond the box, which psi leaves where phi' = 0, what the surrogate itself does is exact."""
    arguments = ("--model", f"{mine}:off", "--data", f"{mine}:pair")
    model, (batch,) = given.model(f"{mine}:off"), given.batches(f"{mine}:pair")
    (margin,) = ds.descent_margin(model, F.cross_entropy, batch)
    assert (margin.preactivation < 0).any()
    found = json.loads(margins(*arguments, "--json").stdout)["margins"][0]["spreads"]
    for name, spread in found.items():
        assert spread["inner"] is not None
        assert spread["itself"] == ("descends" if spread["inner"] > 0 else "ascends"), name
    assert [spread["standing"] for spread in found.values()].count("undecided") > 20
    shown = margins(*arguments, "--surrogate", "constant", env={"COLUMNS": "80"}).stdout
    row = next(line.split() for line in shown.splitlines() if line.startswith("constant"))
    assert row == [
        "constant",
        "1",
        "inf",
        "inf",
        "-",
        f"{found['constant']['inner'] / margin.norm_squared:.3g}",
        row[6],
    ]
    assert row[6] == found["constant"]["itself"]


def test_the_witness_is_replayed_and_shown(mine):
    arguments = ("--model", f"{mine}:factory", "--data", f"{mine}:pair", "--surrogate", "constant", "--certify")
    found = json.loads(margins(*arguments, "--json").stdout)
    model, (batch,) = given.model(f"{mine}:factory"), given.batches(f"{mine}:pair")
    (margin,) = ds.descent_margin(model, F.cross_entropy, batch)
    witness, attack = found["margins"][0]["replayed"], found["certificate"]["replayed"]
    assert abs(witness["inner_at"]) < 1e-4 * margin.norm_squared
    assert witness["kappa_beyond"] == pytest.approx(1.01 * margin.kappa_star)
    assert witness["inner_beyond"] == margin.replay(witness["kappa_beyond"]).inner < 0
    assert witness["loss_after"] == margin.replay(witness["kappa_beyond"]).loss_after(witness["step"])
    assert attack["kappa_beyond"] == found["certificate"]["attacked"]
    for each in (witness, attack):
        assert each["dtype"] == "float64"
        assert each["loss_after"] > each["loss"]
        assert each["inner_beyond"] < 0
    assert 0 < found["certificate"]["raised"]["1[0] tanh"] < margin.contributions.numel()
    shown = " ".join(margins(*arguments).stdout.split())
    assert shown.count("replayed by real backward passes (float64)") == 2
    assert f"a step of {witness['step']:.3g} g~ raises the loss, {witness['loss']:.6g}, by " in shown
    assert "kappa* above replaces one activation and counts the parameters below it alone" in shown


def test_no_certificate_leaves_the_margins(mine):
    arguments = ("--model", f"{mine}:residual", "--data", f"{mine}:pair", "--surrogate", "constant", "--certify")
    ran = margins(*arguments, env={"COLUMNS": "400"})
    assert ran.exit_code == 0
    assert "no certificate: the model itself (Residual) calls torch.Tensor.add" in ran.stdout
    found = json.loads(margins(*arguments, "--json").stdout)
    assert found["certificate"] is None
    assert "it does not take the previous layer's output alone" in found["certificate_reason"]
    assert len(found["margins"]) == 2
    unasked = json.loads(margins(*arguments[:-1], "--json").stdout)
    assert (unasked["certificate"], unasked["certificate_reason"]) == (None, "not asked for")


def test_each_of_several_batches_goes_to_the_file(mine):
    out = mine.parent / "margins.json"
    arguments = ("--model", f"{mine}:factory", "--surrogate", "full_jam", "--surrogate", "triangle(width=9)")
    ran = margins(*arguments, "--data", f"{mine}:three", "--batches", 2, "--out", out, "--json", "--seed", 5)
    found = json.loads(ran.stdout)["batches"]
    assert json.loads(out.read_text()) == json.loads(ran.stdout)
    assert [each["batch"] for each in found] == [0, 1]
    model = given.model(f"{mine}:factory")
    for each, batch in zip(found, given.batches(f"{mine}:three"), strict=False):
        (margin,) = ds.descent_margin(model, F.cross_entropy, batch)
        assert each["margins"][0]["kappa_star"] == margin.kappa_star
        drawn = margin.spread(ds.SURROGATES["full_jam"], torch.Generator().manual_seed(5))
        assert each["margins"][0]["spreads"]["full_jam"]["most"] == drawn.most
        assert len(each["margins"][0]["spreads"]) == 2
    other = json.loads(margins(*arguments, "--data", f"{mine}:three", "--json", "--seed", 6).stdout)
    assert other["margins"][0]["spreads"]["full_jam"] != found[0]["margins"][0]["spreads"]["full_jam"]


def test_a_network_of_ours():
    ran = CliRunner().invoke(
        app,
        ["margin", "--network", "mlp-digits", "--epochs", "1", "--samples", "32", "--surrogate", "constant", "--json"],
        catch_exceptions=False,
    )
    (row,) = json.loads(ran.stdout)["margins"]
    assert row["activation"] == "logistic"
    assert row["kappa_star"] > 1


def test_a_network_of_ours_has_its_own_loss():
    arguments = ("--network", "unit-ones", "--epochs", 1, "--samples", 16, "--surrogate", "constant")
    found = json.loads(margins(*arguments, "--json").stdout)
    entry = networks.network("unit-ones")
    x, y = data.load(entry.data).train
    model = training.train(entry, data.load(entry.data), epochs=1)[0]
    assert found["loss"] == entry.criterion(model(x[:16]), y[:16]).item()
    with pytest.raises(Refused, match=r"--network NAME without --loss"):
        margins(*arguments, "--loss", "mean-squared-error")


def test_a_network_of_ours_has_its_stored_weights_where_no_epochs_are_asked_for(monkeypatch):
    asked = []

    def stored(name):
        asked.append(name)
        torch.manual_seed(11)
        return networks.network(name).build().eval()

    monkeypatch.setattr("downslope.experiments.networks.weights.trained", stored)
    arguments = ("--network", "mlp-digits", "--samples", 16, "--surrogate", "constant", "--json")
    found = json.loads(margins(*arguments).stdout)
    entry = networks.network("mlp-digits")
    x, y = data.load(entry.data).train
    assert asked == ["mlp-digits"]
    assert found["loss"] == entry.criterion(stored("mlp-digits")(x[:16]), y[:16]).item()


def test_the_weights_are_those_that_the_page_says_how_to_get(monkeypatch, tmp_path):
    monkeypatch.setenv("DOWNSLOPE_CACHE", str(tmp_path))
    page = Path(__file__).parents[3] / "docs" / "measuring-your-network.md"
    module, name = re.search(r"`(downslope[a-z.]+)\.(\w+)\(\"mlp-digits\"\)`", page.read_text()).groups()
    found = json.loads(margins("--network", "unit-ones", "--samples", 16, "--surrogate", "constant", "--json").stdout)
    assert [path.name.startswith("unit-ones-seed-0") for path in tmp_path.rglob("*.safetensors")] == [True]
    model = getattr(importlib.import_module(module), name)("unit-ones")
    entry = networks.network("unit-ones")
    x, y = data.load(entry.data).train
    assert found["loss"] == entry.criterion(model(x[:16]), y[:16]).item()


def test_a_refusal_of_a_network_of_ours_names_what_was_typed():
    with pytest.raises(Refused, match=r"^--network heaviside-digits: undefined: .*--reference smoothed") as refused:
        margins("--network", "heaviside-digits", "--epochs", 1, "--samples", 8)
    assert "--model" not in str(refused.value)
    assert "='" not in str(refused.value)
    assert "'" not in str(refused.value)


def test_inputs_by_name(mine):
    arguments = ("--surrogate", "constant", "--certify", "--json")
    named = json.loads(margins("--model", f"{mine}:Named", "--data", f"{mine}:named", *arguments).stdout)
    plain = json.loads(margins("--model", f"{mine}:factory", "--data", f"{mine}:pair", *arguments).stdout)
    assert named["margins"][0]["kappa_star"] == plain["margins"][0]["kappa_star"]
    assert named["certificate"]["certified"] == plain["certificate"]["certified"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"--model": "{mine}:factori"}, "has no 'factori'; did you mean 'factory'"),
        ({"--model": "{mine}:number"}, "gives a int, not a torch.nn.Module"),
        ({"--model": "nowhere.py:factory"}, "there is no file"),
        ({"--model": "factory"}, "give it as path/to/file.py:name"),
        ({"--data": "{mine}:nothing"}, "holds no batch"),
        ({"--data": "{mine}:number"}, "not an iterable"),
        ({"--loss": "cross-entropi"}, "did you mean 'cross-entropy'"),
        ({"--weights": "{mine}"}, "it is no safetensors file"),
        ({"--weights": "missing.safetensors"}, "there is no such file"),
        ({"--surrogate": "trinagle"}, "triangle"),
        ({"--network": "mlp-digits"}, "give --model"),
        ({"--device": "cuda:99"}, "^--device cuda:99: "),
        ({"--out": "nowhere/m.json"}, "^--out nowhere/m.json: cannot write there"),
        ({"--surrogate": "tied"}, "^--surrogate tied: "),
        (
            {"--model": "{mine}:step"},
            "^--model: undefined: .* zero through heaviside.*--reference",
        ),
    ],
)
def test_bad_arguments_are_named(mine, change, message):
    options = {"--model": f"{mine}:factory", "--data": f"{mine}:batches"} | change
    arguments = [part.format(mine=mine) for pair in options.items() for part in pair]
    with pytest.raises(Refused, match=message):
        CliRunner().invoke(app, ["margin", *arguments], catch_exceptions=False)


def test_weights_that_do_not_fit_are_listed(mine):
    weights = mine.parent / "w.safetensors"
    save_file({"0.weight": torch.zeros(5, 3), "9.bias": torch.zeros(2)}, weights)
    with pytest.raises(Refused, match=r"0\.bias is missing.*9\.bias is not in the model.*shape \(5, 3\)"):
        given.model(f"{mine}:factory", str(weights))
