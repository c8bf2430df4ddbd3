"""Files that appear whole: the process is left as it is, and an interrupt is told as what it is."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from downslope.analysis.files import unfinished, whole


@pytest.mark.parametrize("mask", [0o022, 0o077])
def test_the_mode_is_what_the_umask_leaves_and_the_umask_is_not_touched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mask: int
) -> None:
    """To read the umask is to set it: another thread's file would be writable by all for that moment."""
    before = os.umask(mask)
    try:
        with monkeypatch.context() as patched:
            patched.delattr(os, "umask")
            with whole(tmp_path / "kept") as file:
                file.write(b"all")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "kept").stat().st_mode) == 0o666 & ~mask


def test_an_interrupt_just_after_the_replacement_is_no_other_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace = os.replace

    def interrupted(*names: Path) -> None:
        replace(*names)
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt), whole(tmp_path / "kept") as file:
        file.write(b"all")
    assert [(each.name, each.read_bytes()) for each in tmp_path.iterdir()] == [("kept", b"all")]


def test_what_is_being_written_lies_beside_and_goes_where_the_block_raises(tmp_path: Path) -> None:
    (tmp_path / "kept").write_bytes(b"old")

    def breaking() -> None:
        with whole(tmp_path / "kept") as file:
            file.write(b"half")
            (beside,) = (each.name for each in tmp_path.iterdir() if each.name != "kept")
            assert unfinished(beside)
            raise KeyError

    with pytest.raises(KeyError):
        breaking()
    assert [(each.name, each.read_bytes()) for each in tmp_path.iterdir()] == [("kept", b"old")]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_bytes_that_the_disk_does_not_take_do_not_hide_why_the_block_ended(tmp_path: Path) -> None:
    def breaking() -> None:
        with whole(tmp_path / "kept") as file:
            file.write(b"half")  # held in memory until the file is closed
            full = os.open("/dev/full", os.O_WRONLY)
            os.dup2(full, file.fileno())
            os.close(full)
            raise KeyError

    with pytest.raises(KeyError):
        breaking()
    assert list(tmp_path.iterdir()) == []
