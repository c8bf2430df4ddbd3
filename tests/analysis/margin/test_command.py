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
