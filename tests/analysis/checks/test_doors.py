"""The three doors: Python, pytest, the command line; and what each says of bad input."""

from __future__ import annotations

import contextlib
import io
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import downslope as ds
import pytest
import torch
from downslope.__main__ import main
from downslope.analysis.errors import Refused
from downslope.analysis.surrogates.checks import CHECKS
from downslope.analysis.surrogates.checks.record import CheckFailed, Outcome, Record, plain
from downslope.analysis.surrogates.checks.run import BoundCheck

NAMES = (
    *(
        "finite",
        "finite-low-precision",
        "sign-preserving",
        "strictly-positive",
        "bounded",
        "support",
        "symmetric",
        "mass",
    ),
    *("forward-exact", "forward-at-centre", "linear-in-upstream", "elementwise", "dtype-preserved", "shape-preserved"),
    *("layout", "reproducible", "noise-mean", "parameters-matter", "matches-formula", "matches-primitive", "func-grad"),
    *("vmap", "compile", "double-backward", "autocast", "pickle", "deepcopy", "descent-one-unit", "stuck"),
    *("forward-runs", "backward-runs"),
)

FILE = """
import torch, downslope as ds

def upside_down(u):
    soft = -torch.tanh(u)
    return (u > 0).to(u.dtype) + soft - soft.detach()

class Good(torch.nn.Module):
    def __init__(self, slope: float = 2.0):
        super().__init__()
        self.slope = slope
    def forward(self, u):
        soft = torch.tanh(self.slope * u)
        return (u > 0).to(u.dtype) + soft - soft.detach()

class Spike(torch.autograd.Function):
    generate_vmap_rule = True
    @staticmethod
    def forward(u): return (u > 0).to(u.dtype)
    @staticmethod
    def setup_context(ctx, inputs, output): ctx.save_for_backward(*inputs)
    @staticmethod
    def backward(ctx, g): return g / (1 + ctx.saved_tensors[0].abs()) ** 2

def factory(slope: float = 2.0):
    return lambda u: Good(slope)(u)

class shelf:
    good = Good()

mine = ds.Surrogate("mine", factor=1 / (1 + ds.u**2), source="here")
adapted = ds.adapt(Spike, forward="heaviside", formula=1 / (1 + abs(ds.u)) ** 2)
number = 3
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "own.py"
    path.write_text(FILE)
    return path


class Ran(NamedTuple):
    status: int
    out: str
    err: str


Check = Callable[..., Ran]


@pytest.fixture
def check(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Check:
    """The command, in this process: a new one would spend its seconds on importing torch."""

    def run(*arguments: str) -> Ran:
        monkeypatch.setattr(sys, "argv", ["downslope", "check", *arguments])
        with pytest.raises(SystemExit) as stopped:
            main()
        return Ran(stopped.value.code, *capsys.readouterr())

    return run


def test_the_checks_are_those_agreed() -> None:
    assert set(CHECKS) == set(NAMES)
    assert all(check.sentence for check in CHECKS.values())


def test_records_come_from_one_call() -> None:
    found = ds.check_surrogate("triangle")
    assert all(isinstance(record, Record) for record in found)
    assert [record.name for record in found] == list(CHECKS)
    assert {str(record.outcome) for record in found} <= {"passed", "note", "skipped"}


def test_an_announced_failure_is_expected_and_keeps_its_reason() -> None:
    upside_down = ds.adapt_factor(lambda u: -torch.ones_like(u), forward="heaviside")
    reasons = {"sign-preserving": "on purpose", "descent-one-unit": "on purpose too"}
    found = {r.name: r for r in ds.check_surrogate(upside_down, expected_failed_checks=reasons)}
    assert found["sign-preserving"].outcome is Outcome.EXPECTED
    assert "on purpose" in found["sign-preserving"].message
    assert Outcome.VIOLATION not in {record.outcome for record in found.values()}


def test_a_note_can_be_announced_too() -> None:
    found = {r.name: r for r in ds.check_surrogate("rectangle", expected_failed_checks={"stuck": "compact support"})}
    assert found["stuck"].outcome is Outcome.EXPECTED
    BoundCheck("stuck", ds.adapt(ds.SURROGATES["rectangle"]))()
    with pytest.raises(CheckFailed, match="rectangle: stuck"):
        BoundCheck("stuck", ds.adapt(ds.SURROGATES["rectangle"]), announced=True)()


def test_an_announced_failure_that_does_not_come_is_a_violation() -> None:
    found = {r.name: r for r in ds.check_surrogate("constant", expected_failed_checks={"finite": "it never was"})}
    assert found["finite"].outcome is Outcome.VIOLATION
    assert "did not" in found["finite"].message


def test_a_misspelt_check_is_refused_with_its_neighbours() -> None:
    with pytest.raises(Refused, match="'finit', which is no check: did you mean 'finite'"):
        ds.check_surrogate("constant", expected_failed_checks={"finit": "no such"})


upside_down = ds.adapt_factor(lambda u: -torch.ones_like(u), forward="heaviside", name="upside_down")


@ds.parametrize_with_checks(
    ["constant", upside_down],
    expected_failed_checks={"upside_down": {"sign-preserving": "negative", "descent-one-unit": "negative"}},
)
def test_surrogate(check: BoundCheck) -> None:
    check()


def test_ids_are_readable_and_expected_failures_strict() -> None:
    mark = ds.parametrize_with_checks(["triangle"], expected_failed_checks={"finite": "why not"}).mark
    cases: Any = mark.args[1]
    assert [case.id for case in cases] == [f"triangle-{name}" for name in CHECKS]
    (marked,) = [case for case in cases if case.marks]
    assert marked.marks[0].kwargs == {"reason": "why not", "raises": CheckFailed, "strict": True}


def test_the_callable_form_raises_with_the_line_that_reproduces() -> None:
    with pytest.raises(CheckFailed, match=r"upside_down: sign-preserving: .*wrong sign(.|\n)*torch.autograd.grad"):
        BoundCheck("sign-preserving", upside_down)()


def test_one_document_with_every_kind_of_target(file: Path, check: Check, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(file.parent)
    own = [f"own.py:{name}" for name in ("upside_down", "Good", "Spike", "factory", "shelf.good", "mine", "adapted")]
    broken = ["own.py:number", "own.py:nothing", "no_such_package.module:object", "missing.py:object"]
    done = check("triangle", "torch.nn:Tanh", "torch:tanh", *own, *broken, "--json")
    assert done.status == 1, done.err
    document = json.loads(done.out, parse_constant=lambda token: pytest.fail(f"{token} is not JSON"))
    assert document.keys() == {"targets", "seconds"}
    assert [target["target"] for target in document["targets"]] == [
        *("triangle", "torch.nn:Tanh", "torch:tanh"),
        *own,
        *broken,
    ]
    for target in document["targets"]:
        assert target.keys() == {"target", "checks", "profile"}
        for record in target["checks"]:
            assert record.keys() == {"name", "outcome", "message", "counterexample"}
            assert record["outcome"] in set(Outcome)
    violated = {
        target["target"]: [record["name"] for record in target["checks"] if record["outcome"] == "violation"]
        for target in document["targets"]
    }
    assert violated["own.py:upside_down"] == ["sign-preserving", "descent-one-unit"]
    assert {name: found for name, found in violated.items() if found and name not in broken}.keys() == {
        "own.py:upside_down"
    }
    assert all(violated[name] == ["forward-runs"] for name in broken)
    quoted = {target["target"]: target["checks"][0]["message"] for target in document["targets"]}
    assert "no_such_package" in quoted["no_such_package.module:object"]
    assert "TypeError" in quoted["own.py:number"]


def test_the_console_script_finds_a_module_in_the_working_folder(file: Path) -> None:
    command = [sys.executable, "-m", "downslope", "check", "own:mine"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=file.parent, check=True)
    assert "1 target, 0 with violations" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["trinagle"], "did you mean 'triangle'"),
        ([], "check needs a TARGET"),
        (["triangle(width=-1)"], "width"),
        (["triangle", "--seed", "many"], "--seed"),
        (["--nonsense"], "nonsense"),
    ],
)
def test_a_bad_command_line_exits_with_2_and_one_message(check: Check, arguments: list[str], said: str) -> None:
    done = check(*arguments)
    assert done.status == 2
    assert said in done.err
    assert "Traceback" not in done.err


def test_help_says_that_it_runs_the_users_code(check: Check) -> None:
    assert "RUN the code" in check("--help").out


def test_the_table_shows_what_to_paste(file: Path, check: Check) -> None:
    done = check(f"{file}:upside_down")
    assert done.status == 1
    assert "violation" in done.out
    assert "1 target, 1 with violations" in done.out
    (line,) = {line for line in done.out.splitlines() if line.startswith("import torch; ") and "float32" in line}
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(line, "<counterexample>", "exec"), {})
    assert printed.getvalue() == "tensor([-1.])\n"


def test_an_activation_stands_for_its_own_derivative(check: Check) -> None:
    document = json.loads(check("relu", "leaky_relu(slope=0.25)", "--json").out)
    assert [target["profile"]["infimum"] for target in document["targets"]] == [0.0, 0.25]


def test_what_the_users_code_prints_stays_out_of_the_document(check: Check, tmp_path: Path) -> None:
    (tmp_path / "neighbour.py").write_text("slope = 2\n")
    (tmp_path / "loud.py").write_text("import torch, neighbour\nprint('loud')\nspike = torch.nn.Sigmoid()\n")
    done = check(f"{tmp_path / 'loud.py'}:spike", "--json")
    assert json.loads(done.out)["targets"][0]["checks"]
    assert "loud" in done.err


def test_numbers_that_are_not_finite_are_written_as_text() -> None:
    assert json.dumps(plain({"a": float("nan"), "b": [float("inf")], 3: torch.tensor([1.0])}), allow_nan=False)
