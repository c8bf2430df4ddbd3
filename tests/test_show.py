"""`downslope show`: a document for scripts, and what it refuses."""

import json
import subprocess
import sys

import downslope as ds
import pytest

KEYS = ["name", "formula", "latex", "parameters", "sign", "supremum", "support", "integral", "even", "random", "source"]


def show(*arguments):
    command = [sys.executable, "-m", "downslope", "show", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_document_has_the_promised_keys_and_is_strict_json():
    done = show("constant", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout, parse_constant=lambda text: pytest.fail(f"{text} is no JSON"))
    assert list(found)[: len(KEYS)] == KEYS
    assert found["supremum"] == 1
    assert float(found["integral"]) == float("inf")
    assert found["random"] is False
    assert found["source"] == ds.SURROGATES["constant"].source


def test_a_misspelt_name_is_refused_with_near_names():
    done = show("trinagle")
    assert done.returncode == 2
    assert "triangle" in done.stderr
    assert "Traceback" not in done.stderr
