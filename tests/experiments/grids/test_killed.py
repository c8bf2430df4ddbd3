"""A grid that is killed with SIGKILL at any moment ends as one that never was: the same tables, bit for bit."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

DRIVER = Path(__file__).with_name("killing.py")


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    done = subprocess.run([sys.executable, str(DRIVER), str(folder), "20", "7"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder, json.loads(done.stdout)


def test_the_tables_are_those_of_an_uninterrupted_grid(killed):
    folder, said = killed
    whole = (folder / "whole" / "table.json").read_bytes()
    assert [Path(broken, "table.json").read_bytes() == whole for broken in said["folders"]] == [True] * len(
        said["folders"]
    )


def test_it_was_killed_often_and_in_the_middle(killed):
    _, said = killed
    assert len(said["stood"]) >= 25
    assert any(0 < results < said["jobs"] for results in said["stood"])
    assert len(set(said["stood"])) > 3


def test_no_result_is_there_twice_and_nothing_unfinished_is_left(killed):
    folder, said = killed
    for broken in map(Path, said["folders"]):
        names = {file.name for file in (broken / "results").iterdir()}
        assert names == {file.name for file in (folder / "whole" / "results").iterdir()}
        assert [file.name for file in broken.rglob(".*")] == []
