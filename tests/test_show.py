"""`downslope show`: every name, its JSON and its plot; bad input is one message and exit code 2."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import downslope as ds
import pytest
from downslope.__main__ import app
from downslope.analysis.errors import Refused
from downslope.analysis.surrogates.showing import facts
from typer.testing import CliRunner

KEYS = [
    *("name", "formula", "latex", "parameters", "sign", "supremum", "support", "integral", "even", "random", "source"),
]
NAMES = [*ds.SURROGATES, *ds.ACTIVATIONS]


def shown(*arguments: str) -> str:
    """What the command prints; `Refused` passes through, as it does to `main`."""
    result = CliRunner().invoke(app, ["show", *arguments], catch_exceptions=False)
    assert result.exit_code == 0
    return result.stdout


def strictly(text: str) -> dict[str, object]:
    """JSON without NaN and Infinity, which are none."""

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    loaded = json.loads(text, parse_constant=refuse)
    assert isinstance(loaded, dict)
    return loaded


@pytest.mark.parametrize("name", NAMES)
def test_json_has_the_agreed_keys_for_every_name(name: str) -> None:
    found = strictly(shown(name, "--json"))
    assert list(found)[: len(KEYS)] == KEYS
    assert found["name"] == name
    assert found["sign"] in {"strict", "weak", "indefinite"}
    assert isinstance(found["random"], bool)
    for value in (found["supremum"], found["integral"], *(end for pair in found["support"] or () for end in pair)):  # type: ignore[union-attr]
        assert value is None or isinstance(float(value), float)  # type: ignore[arg-type]


def test_the_numbers_are_those_of_the_profile() -> None:
    found = strictly(shown("triangle(width=2, height=1/3)", "--json"))
    assert found["parameters"] == {"height": 1 / 3, "width": 2.0, "centre": 0.0}
    assert (found["supremum"], found["support"], found["integral"]) == (1 / 3, [[-2.0, 2.0]], 2 / 3)
    assert (found["sign"], found["even"], found["random"]) == ("weak", True, False)


def test_infinities_are_words_that_float_reads() -> None:
    found = strictly(shown("constant", "--json"))
    assert (found["support"], found["integral"]) == ([["-inf", "inf"]], "inf")


def test_a_random_surrogate_shows_its_moments() -> None:
    found = strictly(shown("full_jam", "--json"))
    assert (found["random"], found["mean"], found["variance"], found["supremum"]) == (True, "1/2", "1/12", 0.5)


def test_an_activation_brings_its_derivative() -> None:
    found = strictly(shown("GELU", "--json"))
    assert found["kind"] == "activation"
    assert found["derivative"]["sign"] == "indefinite"  # type: ignore[index]
    assert list(found["derivative"])[: len(KEYS)] == KEYS  # type: ignore[call-overload]


def test_a_name_of_both_kinds_is_the_surrogate_s() -> None:
    assert facts.named("sigmoid").name == "logistic_derivative"
    assert facts.named("logistic").name == "logistic"
    assert isinstance(facts.named("swish"), ds.Activation)


@pytest.mark.parametrize("name", NAMES)
def test_the_terminal_says_what_there_is_to_say(name: str) -> None:
    entry = facts.named(name)
    text = " ".join(shown(name).split())
    for said in (name, entry.source, *entry.aliases, "supremum", "Lipschitz constant", "1."):
        assert said in text


def test_the_terminal_shows_the_proof_and_the_witness() -> None:
    text = shown("swish_sign")
    assert "indefinite: negative somewhere" in text
    assert "psi < 0 at u = " in text
    assert "0 < u < 1: psi = 1 - u > 0" in shown("triangle")


def test_without_a_name_the_whole_catalogue_is_listed() -> None:
    text = shown()
    assert all(name in text for name in NAMES)
    found = strictly(shown("--json"))
    assert [entry["name"] for entry in found["surrogates"]] == list(ds.SURROGATES)  # type: ignore[index, union-attr]


# --- plots ---


@pytest.mark.parametrize(
    ("name", "suffix", "begins"),
    [
        ("triangle", "png", b"\x89PNG"),
        ("multi_gaussian", "svg", b"<?xml"),
        ("rectangular_jam", "pdf", b"%PDF"),
        ("round", "svg", b"<?xml"),
        ("heaviside", "svg", b"<?xml"),
        ("log_abs", "svg", b"<?xml"),
    ],
)
def test_a_plot_is_written_whole(tmp_path: Path, name: str, suffix: str, begins: bytes) -> None:
    path = tmp_path / f"shape.{suffix}"
    shown(name, "--plot", str(path))
    assert path.read_bytes().startswith(begins)
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_the_same_entry_gives_the_same_bytes(tmp_path: Path) -> None:
    for file in ("a.svg", "b.svg"):
        shown("bireal", "--plot", str(tmp_path / file))
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()


def test_no_line_is_drawn_across_a_jump() -> None:
    from downslope.paper_figures import shape

    axes = shape.draw(ds.SURROGATES["rectangle"]).axes[0]
    lines = [line.get_xydata() for line in axes.lines if len(line.get_xydata()) > 2]
    assert len(lines) == 3
    assert all(abs(y - data[0][1]) < 1e-12 for data in lines for _, y in data)
    dots = sorted(tuple(data) for line in axes.lines if len(line.get_xydata()) == 1 for data in line.get_xydata())
    assert dots == [(-0.5, 1.0), (0.5, 1.0)]


# --- bad input ---


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["trangle"], "'trangle' is neither a surrogate nor an activation; did you mean 'triangle'"),
        (["triangle(width=-1)"], "width is declared positive"),
        (["triangle(wide=1)"], "no parameter 'wide'"),
        (["tied"], "no activation here to be tied to"),
        (["triangle", "--plot", "{tmp}/shape.gif"], "its suffix is one of"),
        (["triangle", "--plot", "{tmp}/none/shape.png"], "cannot be written"),
        (["--plot", "{tmp}/shape.png"], "say what to draw"),
    ],
)
def test_bad_input_is_refused_and_nothing_is_written(tmp_path: Path, arguments: list[str], reason: str) -> None:
    with pytest.raises(Refused) as refusal:
        shown(*(each.replace("{tmp}", str(tmp_path)) for each in arguments))
    assert reason in str(refusal.value)
    assert list(tmp_path.iterdir()) == []


def test_the_command_exits_with_two_and_one_message() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "downslope", "show", "trangle"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("downslope: 'trangle' is neither")
    assert "Traceback" not in done.stderr
    assert done.stderr.count("\n") == 1
