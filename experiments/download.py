"""MNIST and Fashion-MNIST from OpenML, by scikit-learn's client, into a folder of four IDX files that appears whole."""

from __future__ import annotations

import gzip
import os
import struct
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

OPENML: Mapping[str, int] = {"mnist": 554, "fashion-mnist": 40996}
"""The number of each data set at OpenML: 70,000 rows, the first 60,000 of which train."""

_TRAIN, _SIDE = 60_000, 28


def fetch(number: int, home: Path) -> tuple[NDArray[Any], NDArray[Any]]:
    """Pixels [70000, 784] and labels [70000] of a data set at OpenML, downloaded below ``home``."""
    from sklearn.datasets import fetch_openml

    with warnings.catch_warnings():
        # Where no retry helps, the error says what its warnings did.
        warnings.filterwarnings("ignore", "A network error occurred", UserWarning)
        found: tuple[NDArray[Any], NDArray[Any]] = fetch_openml(
            data_id=number, as_frame=False, return_X_y=True, parser="liac-arff", data_home=home
        )
    return found


def into(folder: Path, name: str, verify: Callable[[Path], object]) -> None:
    """Downloads a data set and leaves its four IDX files, gzipped, in ``folder``, which appears whole or not at all.

    Args:
        folder: the place.
        name: a name in `OPENML`.
        verify: called with the folder in its making; what it raises keeps the folder from appearing.

    Raises:
        OSError: no network, no such data set there, or no room here.
        ValueError: what came is not 70,000 images of 784 pixels and their labels.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as beside:
        home, made = Path(beside, "openml"), Path(beside, folder.name)
        home.mkdir()
        made.mkdir()
        with _bar(f"{name} from OpenML", home):
            pixels, labels = fetch(OPENML[name], home)
        images = np.asarray(pixels, dtype=np.float64).reshape(-1, _SIDE, _SIDE).astype(np.uint8)
        digits = np.asarray(labels).astype(np.uint8)
        for part, rows in (("train", slice(None, _TRAIN)), ("t10k", slice(_TRAIN, None))):
            for stem, values in ((f"{part}-images-idx3-ubyte", images), (f"{part}-labels-idx1-ubyte", digits)):
                (made / f"{stem}.gz").write_bytes(gzip.compress(idx_bytes(values[rows]), mtime=0))
        verify(made)
        try:
            os.rename(made, folder)
        except OSError:
            if not folder.is_dir():  # another process may have been first
                raise


def idx_bytes(values: NDArray[np.uint8]) -> bytes:
    """An array of unsigned bytes as an IDX file."""
    return bytes((0, 0, 8, values.ndim)) + struct.pack(f">{values.ndim}I", *values.shape) + values.tobytes()


@contextmanager
def _bar(title: str, home: Path) -> Iterator[None]:
    """Megabytes so far, on stderr, where it is a terminal. scikit-learn tells no progress: its files are watched."""
    from rich import progress
    from rich.console import Console

    console, done = Console(stderr=True), threading.Event()
    columns = (progress.TextColumn("{task.description}"), progress.BarColumn(), progress.DownloadColumn())
    with progress.Progress(
        *columns, progress.TimeElapsedColumn(), console=console, disable=not console.is_terminal
    ) as shown:
        task = shown.add_task(title, total=None)

        def watch() -> None:
            while not done.wait(0.5):
                shown.update(task, completed=_size(home))

        watcher = threading.Thread(target=watch, daemon=True)
        watcher.start()
        try:
            yield
        finally:
            done.set()
            watcher.join()


def _size(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.stat().st_size
        except OSError:  # renamed meanwhile
            continue
    return total
