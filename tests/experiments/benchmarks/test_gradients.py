"""The gradients' benchmark: both sides compute the same, the ten rows say which way is better, growth is a slope."""

from __future__ import annotations

import json
import re
import sys

import pytest
import torch
import torch.nn.functional as F
from downslope.__main__ import app
from downslope.analysis.errors import Refused
from downslope.analysis.gradients import chains
from downslope.analysis.surrogates.formula.multiples import ratio
from downslope.analysis.surrogates.lookup import surrogate
from downslope.experiments.benchmarks import gradients, grids, growth, peer, per_sample, rows
from downslope.experiments.networks.images import lenet
from downslope.experiments.networks.perceptrons import multilayer
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from typer.testing import CliRunner

WHAT = (
    ("8 surrogate gradients, MLP", 1.5, None),
    ("8 surrogates, only the metrics, MLP", 2.0, None),
    ("8 surrogates, metrics and counts of signs, MLP", 1.0, None),
    ("8 surrogate gradients, LeNet-5", 1.4, None),
    ("jamming, 100 draws", 2.2, None),
    ("per-sample angles, MLP", 100, None),
    ("per-sample angles, LeNet-5", 3, None),
    ("untie overhead", None, 1.15),
    ("untie overhead", None, 1.5),
    ("kappa*", None, 4.0),
)


def small(hidden):
    return multilayer((6, 8, 7, 10), hidden)


@pytest.mark.parametrize(("builder", "shape"), [(small, (6,)), (lenet, (1, 28, 28))], ids=["MLP", "LeNet-5"])
def test_ours_and_the_peers_are_the_same_gradients(builder, shape):
    pytest.importorskip("freegrad")
    ours, data = gradients.made(builder, nn.ReLU), gradients.batch(5, *shape)
    theirs = peer.model(builder, nn.ReLU, ours)
    surrogates = [each for each, _ in peer.EIGHT]
    found = chains.gradients(ours, F.cross_entropy, data, {"relu": surrogates}, list(ours.parameters()))
    for (_, mine), (_, rule) in zip(found, peer.EIGHT, strict=True):
        (other,) = peer.gradients(theirs, data, [rule])
        for one, another in zip(mine, other, strict=True):
            torch.testing.assert_close(one, another, rtol=1e-4, atol=1e-6)


def test_none_of_the_eight_is_a_multiple_of_another():
    eight = [surrogate(each) for each, _ in peer.EIGHT]
    assert not [1 for one in eight for other in eight if one != other and ratio(one, other) is not None]
    assert ratio(eight[-1].at(height=2), eight[-1]) == 2


@pytest.fixture
def timeless(monkeypatch):
    """What is short runs once, the per-sample calls not at all; the n-th call of a turn takes n seconds."""
    pytest.importorskip("freegrad")

    def once(calls, rounds):
        for call in calls[-2:]:
            call()
        return [float(number) for number in range(1, len(calls) + 1)]

    rows_of_another = [(what, None, None, at_least, 1, 1.0) for what, at_least, _ in WHAT if "per-sample" in what]
    monkeypatch.setattr(gradients, "medians", lambda calls, rounds: once([c or (lambda: None) for c in calls], rounds))
    monkeypatch.setattr(growth, "medians", lambda calls, rounds: once(calls, rounds))
    monkeypatch.setattr(gradients, "rate", lambda: 1e9)
    monkeypatch.setattr(peer, "gradients", lambda *_: [])
    monkeypatch.setattr(per_sample, "pairs", lambda: iter(rows_of_another))


def test_the_ten_rows_of_the_command(timeless):
    done = CliRunner().invoke(app, ["benchmark", "gradients", "--json"])
    assert done.exit_code == 0
    found = json.loads(done.stdout)["rows"]
    assert len(found) == len(WHAT)
    for row, (what, at_least, at_most) in zip(found, WHAT, strict=True):
        assert row["what"].startswith(what)
        assert (row["at_least"], row["at_most"]) == (at_least, at_most)
        assert {"ratio", "aim", "bound_ratio"} < row.keys()
        assert row["bound_ratio"] > 0
    # Ours takes its turn before the other's, 1 s against 2 to 4 s; a cost is ours over theirs.
    assert [row["ratio"] for row in found] == [4.0, 2.0, 4 / 3, 2.0, 2.0, 2.0, 2.0, 3 / 5, 3 / 5, 0.5]
    # Each row is named on stderr as it begins, with its number.
    assert done.stderr.splitlines() == [f"row {n} of 10: {row['what']}" for n, row in enumerate(found, start=1)]


def test_a_row_is_named_before_it_is_timed(timeless, monkeypatch):
    order, timed = [], gradients.medians
    monkeypatch.setattr(gradients, "medians", lambda *given: order.append("timed") or timed(*given))
    gradients.rows(progress=lambda number, name: order.append(number))
    # The first three rows are timed together.
    assert order == [1, "timed", 2, 3, *(each for n in range(4, 11) for each in (n, "timed"))]
    assert gradients.ROWS == 10


def test_a_table_says_which_ratio_falls_short(timeless):
    done = CliRunner().invoke(app, ["benchmark", "gradients"], env={"COLUMNS": "200"})
    assert done.exit_code == 0
    short = [line.split("│")[1].split(",")[0].strip() for line in done.stdout.splitlines() if "(short)" in line]
    assert short == ["jamming", "per-sample angles", "per-sample angles"]
    assert "at most 4" in done.stdout


def test_the_rows_of_metrics_time_the_users_own_call(timeless, monkeypatch):
    asked, right = [], gradients.measure
    monkeypatch.setattr(gradients, "measure", lambda *given, **named: asked.append(named) or right(*given, **named))
    found = gradients.rows()
    named = {re.search(r"\((.*)\)$", row["what"]).group(1) for row in found if "metrics" in row["what"]}
    assert named == {"measure", "measure, signs=False"}
    assert {(each["signs"], each["draws"]) for each in asked} == {(False, 1), (True, 1), (False, 100)}


def test_growth_and_grids_say_what_they_time(timeless, monkeypatch):
    monkeypatch.setattr(growth, "_pair", lambda **size: (lambda: None, lambda: None))
    done = CliRunner().invoke(app, ["benchmark", "gradients", "--growth", "--json"])
    series = list(dict.fromkeys(row["grows"] for row in json.loads(done.stdout)["rows"]))
    assert done.stderr.splitlines() == [f"series {n} of 5: {what}" for n, what in enumerate(series, start=1)]
    monkeypatch.setattr(grids, "rate", lambda: 1e9)
    monkeypatch.setattr(grids, "_stacked", lambda cells, rounds, speed: (1.0, 1.0))
    monkeypatch.setattr(grids, "medians", lambda calls, rounds: [1.0, 1.0])
    monkeypatch.setattr(grids, "_two", lambda rounds, speed, begin: rows.Row(begin("two"), 1.0, 1.4, 2.0, 1.0))
    done = CliRunner().invoke(app, ["benchmark", "grids", "--json"])
    whats = [row["what"] for row in json.loads(done.stdout)["rows"]]
    assert done.stderr.splitlines() == [f"row {n} of 5: {what}" for n, what in enumerate(whats, start=1)]


def test_growth_is_an_exponent(timeless, monkeypatch):
    monkeypatch.setattr(growth, "_pair", lambda **size: (lambda: None, lambda: None))
    found = growth.rows()
    assert {row["grows"].split(",")[0] for row in found} == {"K", "draws", "width", "depth", "batch"}
    assert found[0]["slope"] is None
    assert found[1]["slope"] == pytest.approx(1.584962500721156)  # from 1 s to 3 s at twice the size


def test_each_size_of_the_growth_runs(monkeypatch):
    taken = []
    monkeypatch.setattr(growth, "medians", lambda calls, rounds: taken.append(calls[:2]) or [1.0] * len(calls))
    growth.rows()
    for smallest in taken:
        for call in smallest:
            call()
    assert len(taken) == 5


def test_without_the_peer_the_command_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "freegrad", None)
    with pytest.raises(Refused, match="pip install --no-deps freegrad"):
        gradients.rows()


def test_only_the_cost_of_gradients_grows():
    done = CliRunner().invoke(app, ["benchmark", "grids", "--growth"])
    assert isinstance(done.exception, Refused)


def test_operations_are_those_of_the_products():
    one, other = torch.randn(3, 4), torch.randn(4, 5)
    assert rows.operations(lambda: one @ other) == 2 * 3 * 4 * 5


def test_operations_are_torchs_own_count_without_its_hooks():
    network, (x, y) = gradients.made(lenet, nn.ReLU), gradients.batch(3, 1, 28, 28)
    hooked = []

    def step():
        hooked.append(bool(torch.nn.modules.module._global_forward_hooks))
        torch.autograd.grad(F.cross_entropy(network(x), y), list(network.parameters()))

    with FlopCounterMode(display=False) as counted:
        step()
    assert rows.operations(step) == counted.get_total_flops() > 0
    assert hooked == [True, False]


def test_calls_take_turns():
    order = []
    found = rows.medians([lambda: order.append("a"), lambda: order.append("b")], 3)
    assert order == ["a", "b"] * 4
    assert len(found) == 2
