from __future__ import annotations

import json

import downslope as ds
import pytest
import torch
import torch.nn.functional as F
from downslope.__main__ import app
from downslope.analysis.errors import Refused
from downslope.analysis.gradients import given
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


def margins(*arguments, **more):
    return CliRunner().invoke(app, ["margin", *map(str, arguments)], catch_exceptions=False, **more)


def test_the_table_shows_what_the_standing_is_decided_by(mine):
    model, (batch,) = given.model(f"{mine}:residual"), given.batches(f"{mine}:pair")
    around = ds.descent_margin(model, F.cross_entropy, batch)[1]
    spread = around.spread(ds.SURROGATES["constant"])
    arguments = ("--model", f"{mine}:residual", "--data", f"{mine}:pair", "--surrogate", "constant")
    shown = margins(*arguments, env={"COLUMNS": "400"}).stdout
    row = next(line for line in shown.splitlines() if "model[1] tanh" in line and "constant" in line)
    for number in (spread.least, spread.most, spread.worst / around.norm_squared, spread.inner / around.norm_squared):
        assert f" {number:.4g} " in row
    assert (spread.standing == "inside") == (spread.worst > 0)
    assert "inside: their <g, g~> is positive" in shown
    assert around.around != 0
    assert "their ratio alone (a surrogate's standing counts it): model[1] tanh\n" in shown


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
