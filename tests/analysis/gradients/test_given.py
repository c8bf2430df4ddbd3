"""`downslope measure` on a user's own model: what the function gives, and each mistake in one sentence."""

from __future__ import annotations

import json
import math
import os
import re

import downslope as ds
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from downslope.__main__ import app
from downslope.analysis.errors import Refused
from downslope.analysis.gradients import given, table
from downslope.analysis.gradients.given import fitting, loading, measuring, shown
from safetensors.torch import save_file
from torch import nn
from typer.testing import CliRunner

FILE = """
import torch
from torch import nn
from torch.nn import Linear
from torch.nn import functional as F
from torch.nn.functional import cross_entropy

RUNS = []
RUNS.append(1)

class Cubic(nn.Module):
    def forward(self, u):
        return u ** 3

def factory():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3))

def linear():
    return nn.Linear(4, 3)

def cubic():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 5), Cubic(), nn.Linear(5, 3))

def normed():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Dropout(0.5), nn.Linear(5, 3))

def partly():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 5), nn.Tanh(), nn.Linear(5, 3))
    model[0].requires_grad_(False)
    model.unused = nn.Linear(2, 2)
    model.forward = lambda x: model[4](model[3](model[2](model[1](model[0](x)))))
    return model

def tied():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 4))
    model[2].weight = model[0].weight
    return model

def broken():
    raise KeyError("no such layer")

def not_a_number():
    model = factory()
    model[0].weight.data[0, 0] = float("nan")
    return model

def batches():
    generator = torch.Generator().manual_seed(1)
    for _ in range(4):
        yield torch.randn(6, 4, generator=generator), torch.randint(0, 3, (6,), generator=generator)

pair = next(batches())
named = [({"input": pair[0]}, pair[1])]
empty = [(torch.zeros(0, 4), torch.zeros(0, dtype=torch.long))]
poisoned = [pair, (torch.full((6, 4), float("nan")), pair[1])]
wide = [(torch.zeros(6, 9), pair[1])]
triple = [(pair[0], pair[1], 3)]
column = [(pair[0], pair[1].float())]
number = 3
beyond = [(pair[0], torch.full((6,), 7))]

def ending():
    yield pair
    raise OSError("the disk was unplugged")

def each(output, y):
    return F.cross_entropy(output, y, reduction="none")

def endless(output, y):
    return F.cross_entropy(output, y) / 0

def single():
    return nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 1))

def exhausted(output, y):
    raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes.")
"""


@pytest.fixture
def mine(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(FILE)
    torch.manual_seed(7)
    save_file(network().state_dict(), tmp_path / "w.safetensors")
    return file


def network():
    return nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3))


def run(*arguments, **more):
    return CliRunner().invoke(app, ["measure", *map(str, arguments)], catch_exceptions=False, **more)


def test_the_command_gives_what_the_function_gives(mine):
    out, weights = mine.parent / "o.parquet", mine.parent / "w.safetensors"
    ran = run(
        *("--model", f"{mine}:factory", "--weights", weights, "--data", f"{mine}:batches", "--stage", "epoch 3"),
        *("--surrogate", "constant", "--surrogate", "full_jam", "--draws", "3", "--seed", "5", "--out", out, "--json"),
    )
    torch.manual_seed(7)
    model = network()
    rows = table.read(out)
    space = {}
    exec(compile(FILE, "mine.py", "exec"), space)
    for number, batch in enumerate(space["batches"]()):
        expected = ds.measure(
            model.eval(), F.cross_entropy, batch, ["constant", "full_jam"], draws=3, seed=5, stage="epoch 3"
        )
        found = rows[rows["batch"] == number].reset_index(drop=True)
        assert set(found["loss"]) == {expected.attrs["loss"]}
        assert set(found["network"]) == {f"{mine}:factory"}
        pd.testing.assert_frame_equal(
            found.drop(columns=["batch", "loss", "network"]), expected.drop(columns="network"), check_exact=True
        )
    assert len(rows) == 4 * (1 + 3) * 3
    assert rows.attrs["weights"] == str(weights)
    assert len(rows.attrs["weights_sha256"]) == 64
    assert rows.attrs["training"] is False
    said = json.loads(ran.stdout)
    assert (said["rows"], said["batches"], said["path"]) == (48, 4, str(out))
    means = {(each["surrogate"], each["layer"]): each["mean_angle_degrees"] for each in said["means"]}
    for (surrogate, layer), angles in rows.groupby(["surrogate", "layer"])["angle_degrees"]:
        assert means[surrogate, layer] == pytest.approx(angles.mean(), rel=1e-12)


def test_the_table_shows_the_means_and_names_what_was_typed(mine):
    arguments = ("--model", f"{mine}:factory", "--data", f"{mine}:batches", "--surrogate", "constant", "--batches", "2")
    ran = run(*arguments, env={"COLUMNS": "300"})
    assert "mine.py:factory: angle in degrees, mean over 2 batches" in ran.stdout
    rows = json.loads(run(*arguments, "--json").stdout)["rows"]
    assert {row["batch"] for row in rows} == {0, 1}
    mean = sum(row["angle_degrees"] for row in rows if row["layer"] == "0") / 2
    assert f"{mean:.1f}" in next(line for line in ran.stdout.splitlines() if "constant" in line)


def test_only_the_first_samples_and_one_batch_given_as_a_pair(mine):
    arguments = ("--model", f"{mine}:factory", "--data", f"{mine}:pair", "--surrogate", "constant", "--json")
    (batch,) = given.batches(f"{mine}:pair")
    model = given.model(f"{mine}:factory")
    for samples in (3, None):
        cut = [] if samples is None else ["--samples", samples]
        row = json.loads(run(*arguments, *cut).stdout)["rows"][0]
        expected = ds.measure(model, F.cross_entropy, (batch[0][:samples], batch[1][:samples]), "constant")
        assert row["angle_degrees"] == expected["angle_degrees"][0]


def test_rows_for_each_sample_are_those_of_the_sample_alone(mine):
    arguments = ("--model", f"{mine}:factory", "--data", f"{mine}:pair", "--surrogate", "constant")
    found = json.loads(run(*arguments, "--per-sample", "--json").stdout)
    (batch,) = given.batches(f"{mine}:pair")
    model = given.model(f"{mine}:factory")
    rows = {(row["sample"], row["layer"]): row for row in found["rows"]}
    assert len(rows) == (1 + 6) * 3
    for sample in range(6):
        alone = (batch[0][sample : sample + 1], batch[1][sample : sample + 1])
        expected = ds.measure(model, F.cross_entropy, alone, "constant").set_index("layer")
        for layer in ("0", "2", "whole"):
            cosine = rows[str(sample), layer]["cosine"]
            assert cosine == pytest.approx(expected.loc[layer, "cosine"], abs=1e-6)
    plain = json.loads(run(*arguments, "--json").stdout)
    assert [row for row in found["rows"] if row["sample"] == "batch"] == plain["rows"]
    shown = " ".join(run(*arguments, "--per-sample", env={"COLUMNS": "300"}).stdout.split())
    assert "angle in degrees, mean over 1 batch" in shown
    assert "angle in degrees, mean of the samples taken singly over 1 batch" in shown
    singles = [rows[str(sample), "0"]["angle_degrees"] for sample in range(6)]
    assert f"{sum(singles) / 6:.1f}" in shown.split("taken singly")[1]


def test_inputs_by_name_are_cut_and_measured(mine):
    arguments = ("--model", f"{mine}:factory", "--data", f"{mine}:named", "--surrogate", "constant", "--json")
    named, plain = (json.loads(run(*arguments, *cut).stdout)["rows"] for cut in ((), ("--data", f"{mine}:pair")))
    assert [row["cosine"] for row in named] == [row["cosine"] for row in plain]
    assert len(json.loads(run(*arguments, "--samples", "2").stdout)["rows"]) == 3


def test_an_activation_of_ones_own(mine):
    ran = run(
        *("--model", f"{mine}:cubic", "--data", f"{mine}:pair", "--activation", f"{mine}:Cubic"),
        *("--surrogate", "constant", "--json"),
    )
    row = json.loads(ran.stdout)["rows"][0]
    assert row["activation"] == "Cubic"
    assert row["angle_degrees"] > 1


def test_a_file_that_is_named_twice_runs_once(mine):
    assert loading.object_at(f"{mine}:RUNS", "--model") is loading.object_at(f"{mine}:RUNS", "--data")
    os.utime(mine, (1, 1))
    assert loading.object_at(f"{mine}:RUNS", "--model") == [1]


def test_a_neighbour_of_the_file_can_be_imported(tmp_path):
    (tmp_path / "neighbour_of_given.py").write_text("WIDTH = 4\n")
    (tmp_path / "near.py").write_text("from neighbour_of_given import WIDTH\n")
    assert loading.object_at(f"{tmp_path / 'near.py'}:WIDTH", "--model") == 4


def test_training_mode_is_said_and_evaluation_is_the_default(mine):
    arguments = ("--model", f"{mine}:normed", "--data", f"{mine}:pair", "--surrogate", "constant")
    usual = json.loads(run(*arguments, "--json").stdout)
    training = json.loads(run(*arguments, "--training", "--json").stdout)
    assert usual["provenance"]["training"] is False
    assert usual["provenance"]["remarks"] == []
    assert training["provenance"]["training"] is True
    norm, dropout = training["provenance"]["remarks"]
    assert norm.startswith("batch norm in training mode (1): each batch is normed by its own statistics")
    assert dropout.startswith("dropout in training mode (3)")
    assert usual["rows"][0]["loss"] != training["rows"][0]["loss"]
    shown = " ".join(run(*arguments, "--training", env={"COLUMNS": "300"}).stdout.split())
    assert "batch norm in training mode (1)" in shown


def test_trying_the_loss_leaves_the_running_statistics(mine):
    model = given.model(f"{mine}:normed", training=True)
    before = {name: buffer.clone() for name, buffer in model.named_buffers()}
    for _ in fitted(model, mine):
        assert all(torch.equal(buffer, before[name]) for name, buffer in model.named_buffers())


def fitted(model, mine):
    return measuring.measured(model, F.cross_entropy, given.batches(f"{mine}:batches"), measuring.What(("constant",)))


def test_frozen_and_unused_layers_are_undefined_with_the_reason(mine):
    ran = run("--model", f"{mine}:partly", "--data", f"{mine}:pair", "--surrogate", "constant", "--json")
    rows = {row["layer"]: row for row in json.loads(ran.stdout)["rows"]}
    for layer, reason in (("0", "the layer is frozen"), ("unused", "the layer is unused")):
        assert rows[layer]["state"] == "undefined"
        assert rows[layer]["angle_degrees"] is None
        assert rows[layer]["reason"].startswith(reason)
    assert rows["2"]["state"] == "defined"
    shown = run("--model", f"{mine}:partly", "--data", f"{mine}:pair", "--surrogate", "constant")
    assert "-" in next(line for line in shown.stdout.splitlines() if "constant" in line)
    assert "1 of 5 rows undefined: the layer is frozen" in " ".join(shown.stdout.split())


def test_weights_that_share_their_memory_fit_without_the_copy(mine):
    path = mine.parent / "tied.safetensors"
    own = loading.object_at(f"{mine}:tied", "--model")().state_dict()
    save_file({name: own[name] + 1 for name in ("0.weight", "0.bias", "2.bias")}, path)
    model = given.model(f"{mine}:tied", str(path))
    assert torch.equal(model[2].weight, own["0.weight"] + 1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"--model": "{mine}:factori"}, "--model .*mine.py:factori: .* has no 'factori'; did you mean 'factory'"),
        ({"--model": "{mine}:number"}, "gives a int, not a torch.nn.Module"),
        ({"--model": "{mine}:broken"}, "--model .*: it raised KeyError: 'no such layer'"),
        ({"--model": "nowhere.py:factory"}, "--model nowhere.py:factory: there is no file"),
        ({"--model": "factory"}, "--model factory: give it as path/to/file.py:name"),
        ({"--model": "{mine}"}, "give it as path/to/file.py:name"),
        ({"--model": "{mine}:linear"}, "batch 0: --model: .* no activation .*--activation FILE.py:ItsClass"),
        ({"--model": "{mine}:not_a_number"}, "^--model [^ ]*:not_a_number: the parameter 0.weight has 1 entries of 20"),
        ({"--data": "{mine}:number"}, "not an iterable"),
        ({"--data": "{mine}:empty"}, r"batch 0: --data.*x has shape \(0, 4\): there is no sample"),
        ({"--data": "{mine}:poisoned"}, "batch 1: --data.*x has 24 entries of 24 that are NaN"),
        (
            {"--data": "{mine}:wide"},
            r"batch 0: --model, --data: model\(x\): it raised RuntimeError: .*; x is float32 \[6, 9\]\. .*0 \(Linear\)",
        ),
        (
            {"--data": "{mine}:beyond"},
            r"batch 0: --loss, --data: loss\(model\(x\), y\): it raised IndexError: Target 7 is out of bounds; "
            r"the output is float32 \[6, 3\], y is int64 \[6\] from 7 to 7\.",
        ),
        ({"--data": "{mine}:triple"}, "batch 0: --data: a batch is a tuple, not a pair"),
        ({"--data": "{mine}:ending"}, "--data .*: it raised OSError: the disk was unplugged"),
        ({"--loss": "cross-entropi"}, "--loss cross-entropi.*did you mean 'cross-entropy'"),
        (
            {"--loss": "{mine}:each"},
            r"^batch 0: --loss: loss\(model\(x\), y\) returned a tensor of shape \(6,\), and only a scalar has",
        ),
        ({"--loss": "{mine}:endless"}, "^batch 0: --loss: the loss is inf"),
        ({"--loss": "{mine}:exhausted"}, "batch 0: it does not fit into memory .*give smaller batches, or --samples"),
        (
            {"--model": "{mine}:single", "--data": "{mine}:column", "--loss": "mean-squared-error"},
            r"--loss mean-squared-error: the output has shape \(6, 1\) and the targets \(6,\)",
        ),
        ({"--weights": "{mine}"}, r"it is no safetensors file.*save_file\(torch\.load\(.w\.pt., weights_only=True\)"),
        ({"--data": "{mine}:batchs"}, "has no 'batchs'; did you mean 'batches'"),
        ({"--weights": "missing.safetensors"}, "there is no such file"),
        ({"--surrogate": "trinagle"}, "^--surrogate trinagle: .*did you mean 'triangle'"),
        ({"--reference": "exat"}, "^--reference exat: no reference has that name; did you mean 'exact'"),
        ({"--reference": "expected(sigma=-1)"}, r"^--reference expected\(sigma=-1\): sigma=-1: give a finite number"),
        ({"--reference": "expected(width=1)"}, r"^--reference expected\(width=1\): expected has no parameter 'width'"),
        ({"--activation": "relv"}, "^--activation relv: .*relu"),
        ({"--activation": "relu"}, "relu"),
        ({"--device": "cuda:99"}, "--device cuda:99: "),
        ({"--network": "mlp-digits"}, "give --model .* or --network"),
        ({"--trained": "tied"}, "give --model .* or --network"),
        ({"--out": "nowhere/o.parquet"}, "--out nowhere/o.parquet: cannot write there"),
    ],
)
def test_a_mistake_is_named_and_no_file_is_left(mine, change, message, monkeypatch):
    monkeypatch.chdir(mine.parent)
    options = {
        "--model": f"{mine}:factory",
        "--data": f"{mine}:batches",
        "--surrogate": "constant",
        "--out": "o.parquet",
    } | change
    before = sorted(os.listdir())
    with pytest.raises(Refused, match=message):
        run(*[part.format(mine=mine) for pair in options.items() for part in pair])
    assert [name for name in sorted(os.listdir()) if name != "__pycache__"] == before


@pytest.mark.parametrize(
    "options",
    [
        *(["--weights", "w"], ["--training"], ["--stage", "end"], ["--batches", "2"]),
        *(["--loss", "mean-squared-error"], ["--activation", "relu"], ["--data", "d.py:b"]),
    ],
)
def test_options_of_a_users_model_do_not_go_with_a_network_of_ours(options):
    said = f"the options of the one do not go with the other: leave out {options[0]}, or --network."
    with pytest.raises(Refused, match=re.escape(said) + "$"):
        run("--network", "mlp-digits", *options)


def test_options_of_a_users_model_need_the_model_and_the_data():
    with pytest.raises(Refused, match=r"the other: --model, --stage without --data\.$"):
        run("--model", "m.py:f", "--stage", "end")


def test_a_network_of_ours_is_measured_on_so_many_samples_each_and_where_it_is_told():
    arguments = ("--network", "mlp-digits", "--epochs", "1", "--surrogate", "constant", "--samples", "3")
    arguments += ("--per-sample", "--device", "cpu")
    rows = pd.DataFrame(json.loads(run(*arguments, "--json").stdout)["rows"])
    assert rows.groupby("sample").size().to_dict() == dict.fromkeys(["batch", "0", "1", "2"], 2 * 3)
    printed = run(*arguments).stdout
    assert "angle in degrees, end, samples singly" in " ".join(printed.split())
    with pytest.raises(Refused, match=r"^--device cuda:99: "):
        run("--network", "mlp-digits", "--device", "cuda:99")


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_network_of_ours_has_the_same_angles_on_a_gpu():
    arguments = ("--network", "mlp-digits", "--epochs", "1", "--surrogate", "constant", "--json")
    here, there = (json.loads(run(*arguments, "--device", device).stdout) for device in ("cpu", "cuda"))
    assert there["provenance"]["device"] == "cuda"
    for a, b in zip(here["rows"], there["rows"], strict=True):
        assert a["angle_degrees"] == pytest.approx(b["angle_degrees"], abs=0.01)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--surrogate", "trinagle"], "^--surrogate trinagle: "),
        (["--surrogate", "triangle", "--surrogate", "triangle"], "^--surrogate: triangle is given twice"),
        (["--reference", "smothed"], "^--reference smothed: .*did you mean 'smoothed'"),
        (["--reference", "expected", "--per-sample"], "^--per-sample, --reference expected: single samples"),
        (["--activation", "relv"], "^--activation relv: "),
        (["--loss", "cross-entropi"], "^--loss cross-entropi: "),
        (["--device", "cuda:99"], "^--device cuda:99: "),
        (["--weights", "missing.safetensors"], "^--weights missing.safetensors: there is no such file"),
        (["--out", "nowhere/o.parquet"], "^--out nowhere/o.parquet: cannot write there"),
    ],
)
def test_the_options_are_checked_before_the_model_is_loaded(mine, options, message):
    with pytest.raises(Refused, match=message):
        run("--model", f"{mine}:broken", "--data", f"{mine}:batches", *options)


def test_weights_that_are_not_finite_are_blamed_on_their_file(mine):
    weights = mine.parent / "w.safetensors"
    save_file(network().state_dict() | {"2.bias": torch.tensor([0.0, float("nan"), 1.0])}, weights)
    with pytest.raises(Refused, match=r"^--weights [^ ]*w\.safetensors: the parameter 2\.bias has 1 entries of 3"):
        given.model(f"{mine}:factory", str(weights))


def test_only_names_that_the_file_defines_are_offered(mine):
    with pytest.raises(Refused) as caught:
        loading.object_at(f"{mine}:zzz", "--model")
    offered = str(caught.value).split("Known: ")[1].split(", ")
    assert {"Cubic", "factory", "batches", "pair", "number", "RUNS"} <= set(offered)
    assert not {"torch", "nn", "F", "Linear", "cross_entropy", "__builtins__", "__name__"} & set(offered)


def test_batch_norm_of_one_sample_in_training_mode_names_the_module(mine):
    arguments = ("--model", f"{mine}:normed", "--data", f"{mine}:pair", "--surrogate", "constant", "--samples", "1")
    assert run(*arguments).exit_code == 0
    with pytest.raises(Refused, match=r"^batch 0: --model: 1 \(BatchNorm1d\) is in training mode.*two samples"):
        run(*arguments, "--training")
    model, ((x, y),) = given.model(f"{mine}:normed", training=True), given.batches(f"{mine}:pair")
    with pytest.raises(Refused, match=r"^model=\.\.\.: 1 \(BatchNorm1d\)"):
        ds.measure(model, F.cross_entropy, (x[:1], y[:1]), "constant")


def test_an_exception_of_the_model_comes_as_itself_with_a_note(mine):
    with pytest.raises(RuntimeError, match="mat1 and mat2") as caught:
        ds.measure(network(), F.cross_entropy, (torch.zeros(6, 9), torch.zeros(6, dtype=torch.long)), "constant")
    assert caught.value.__notes__ == ["It was raised in the model's own forward, by 0 (Linear)."]
    with pytest.raises(IndexError) as caught:  # the loss's, so no module is blamed
        ds.measure(network(), F.cross_entropy, (torch.zeros(6, 4), torch.full((6,), 7)), "constant")
    assert not hasattr(caught.value, "__notes__")


def test_the_help_names_the_references():
    usage = " ".join(run("--help", env={"COLUMNS": "300"}).stdout.split())
    assert "exact, smoothed, expected or finite-difference" in usage
    assert "expected(sigma=0.5)" in usage


def test_weights_that_do_not_fit_are_listed(mine):
    weights = mine.parent / "w.safetensors"
    wrong = {"0.weight": torch.zeros(5, 3), "9.bias": torch.zeros(2), "2.bias": torch.zeros(3, dtype=torch.int8)}
    save_file(wrong, weights)
    listed = r"0\.bias is missing.*9\.bias is not in the model.*shape \(5, 3\).*2\.bias is torch\.int8"
    with pytest.raises(Refused, match=listed):
        given.model(f"{mine}:factory", str(weights))


def test_an_exception_of_ours_is_not_told_as_memory(mine, monkeypatch):
    def defect(*args, **kwargs):
        raise RuntimeError("a defect")

    monkeypatch.setattr(measuring, "measure", defect)
    with pytest.raises(RuntimeError, match="a defect"):
        list(fitted(given.model(f"{mine}:factory"), mine))


@pytest.mark.parametrize("error", [MemoryError(), torch.OutOfMemoryError("CUDA out of memory. Tried 3 GiB")])
def test_memory_that_runs_out_in_the_measurement_names_the_batch(mine, monkeypatch, error):
    def exhausted(*args, **kwargs):
        raise error

    monkeypatch.setattr(measuring, "measure", exhausted)
    with pytest.raises(Refused, match="batch 0: it does not fit into memory"):
        list(fitted(given.model(f"{mine}:factory"), mine))


def test_the_losses_that_have_a_name():
    generator = torch.Generator().manual_seed(0)
    output, y = torch.randn(5, 3, generator=generator), torch.tensor([0, 2, 1, 1, 0])
    one = F.one_hot(y, 3).float()
    log = torch.log_softmax(output, dim=1)
    wanted = {
        "cross-entropy": (-log[torch.arange(5), y].mean(), output, y),
        "negative-log-likelihood": (-log[torch.arange(5), y].mean(), log, y),
        "mean-squared-error": (((output - one) ** 2).mean(), output, one),
        "binary-cross-entropy": ((F.softplus(output) - one * output).mean(), output, one),
    }
    assert set(wanted) == set(fitting.LOSSES)
    for name, (value, *arguments) in wanted.items():
        assert math.isclose(given.loss(name)(*arguments).item(), value.item(), rel_tol=1e-6)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_the_same_angles_on_a_gpu(mine):
    arguments = ("--model", f"{mine}:factory", "--data", f"{mine}:batches", "--surrogate", "constant", "--json")
    here, there = (json.loads(run(*arguments, "--device", device).stdout) for device in ("cpu", "cuda"))
    assert there["provenance"]["device"].startswith("cuda")
    for row, other in zip(here["rows"], there["rows"], strict=True):
        assert other["cosine"] == pytest.approx(row["cosine"], abs=1e-5)


def test_finite_differences_show_their_slopes(mine):
    arguments = ("--model", f"{mine}:factory", "--data", f"{mine}:batches", "--surrogate", "constant")
    arguments += ("--reference", "finite-difference")
    rows = json.loads(run(*arguments, "--json").stdout)["rows"]
    slopes = [row["directional_derivative"] for row in rows if row["layer"] == "0"]
    printed = run(*arguments, env={"COLUMNS": "300"}).stdout
    assert "slope of the loss along minus the gradient" in printed
    assert "angles are undefined, as they are for finite differences" in printed
    assert "rows undefined" not in printed
    assert f"{sum(slopes) / len(slopes):.3g}" in next(line for line in printed.splitlines() if "constant" in line)


def test_reasons_that_differ_in_a_percentage_are_one_and_name_options():
    reasons = {f"noise is {n}% of it; use reference='exact' or 'smoothed'": n // 31 for n in (62, 93)}
    (said,) = shown.undefined(reasons, 9)
    assert str(said) == "5 of 9 rows undefined: noise is 62% to 93% of it; use --reference exact or smoothed"
