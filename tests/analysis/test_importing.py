"""A user's file as a module: under a name of its own, whole or not at all."""

from __future__ import annotations

import pickle
import sys
from pathlib import Path

import pytest
from downslope.analysis.importing import module_at


def test_two_files_of_one_stem_are_two_modules_whose_objects_pickle(tmp_path: Path) -> None:
    found = []
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        file = tmp_path / folder / "model.py"
        file.write_text(f"class Model:\n    where = {folder!r}\n")
        found.append(module_at(file))
    for module, folder in zip(found, ("one", "two"), strict=True):
        again = pickle.loads(pickle.dumps(module.Model()))  # its own bytes
        assert type(again) is module.Model
        assert again.where == folder


def test_a_file_that_fails_leaves_no_module(tmp_path: Path) -> None:
    file = tmp_path / "failing.py"
    file.write_text("half = 1\nraise KeyError('the file itself')\n")
    with pytest.raises(KeyError, match="the file itself"):
        module_at(file)
    assert [name for name in sys.modules if "failing" in name] == []
    file.write_text("half = 1\n")
    assert module_at(file).half == 1
    assert module_at(file) is module_at(file)
