"""Data sets: sizes, ranges and fixed splits; IDX files that are damaged are named and refused; a download is whole."""

import gzip
import hashlib
import os
import struct
import warnings
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from downslope.analysis.errors import Refused
from downslope.experiments import cache, data, download, idx


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def idx_bytes(values: np.ndarray) -> bytes:
    return bytes((0, 0, 8, values.ndim)) + struct.pack(f">{values.ndim}I", *values.shape) + values.tobytes()


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """A small set in IDX files, one of them gzipped, where DOWNSLOPE_DATA finds it, and its checksums."""
    random = np.random.default_rng(0)
    home = tmp_path / "data" / "mnist"
    home.mkdir(parents=True)
    sums = {}
    for part, samples in (("train", 7), ("t10k", 3)):
        images = random.integers(0, 256, (samples, 28, 28), dtype=np.uint8)
        labels = random.integers(0, 10, samples, dtype=np.uint8)
        sums["mnist", f"{part}-images-idx3-ubyte"] = digest(idx_bytes(images))
        sums["mnist", f"{part}-labels-idx1-ubyte"] = digest(idx_bytes(labels))
        (home / f"{part}-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx_bytes(images)))
        (home / f"{part}-labels-idx1-ubyte").write_bytes(idx_bytes(labels))
    monkeypatch.setenv(idx.VARIABLE, str(tmp_path / "data"))
    monkeypatch.setattr(idx, "CHECKSUMS", sums)
    return home


def test_digits_is_scaled_and_split_once():
    digits = data.load("digits")
    assert digits.train_inputs.shape == (1438, 64)
    assert digits.test_inputs.shape == (359, 64)
    assert digits.train_inputs.dtype == torch.float32
    assert digits.train_targets.dtype == torch.int64
    everything = torch.cat([digits.train_inputs, digits.test_inputs])
    assert (everything.min(), everything.max()) == (0, 1)
    assert torch.equal(everything * 16, (everything * 16).round())
    assert set(digits.test_targets.tolist()) == set(range(10))
    assert torch.equal(digits.train_inputs, data.load("digits").train_inputs)


def test_digits_splits_share_no_sample():
    from sklearn.datasets import load_digits

    digits = data.load("digits")
    pixels, _ = load_digits(return_X_y=True)
    held = np.concatenate([digits.train_inputs.numpy(), digits.test_inputs.numpy()]) * 16
    assert sorted(map(tuple, held.tolist())) == sorted(map(tuple, pixels.tolist()))


@pytest.mark.parametrize(("features", "threshold"), [(10, 0.5), (10, 0.7), (64, 0.5), (3, 0.3), (7, 0.0)])
def test_ones_labels_follow_the_exact_mean(features, threshold):
    ones = data.ones(features=features, threshold=threshold, samples=500)
    for x, y in zip(*ones.train, strict=True):
        assert set(x.tolist()) <= {0.0, 1.0}
        assert bool(y) == (Fraction(int(x.sum()), features) > Fraction(str(threshold)))


@pytest.mark.parametrize(
    ("name", "features", "threshold", "samples"),
    [("ones", 10, 0.5, 2000), ("ones-0.7", 10, 0.7, 2000), ("ones-64", 64, 0.5, 4096)],
)
def test_the_named_sets_of_ones(name, features, threshold, samples):
    named, made = data.load(name), data.ones(features, threshold, samples)
    assert named.name == name
    assert len(named.train_inputs) + len(named.test_inputs) == samples
    assert torch.equal(named.train_inputs, made.train_inputs)
    assert torch.equal(named.test_targets, made.test_targets)


def test_ones_weights_are_uniform():
    ones = data.ones(samples=20_000)
    weights = torch.cat([ones.train_inputs, ones.test_inputs]).sum(dim=1).long()
    counts = torch.bincount(weights, minlength=11)
    # Chi-squared with 10 degrees of freedom lies above 35.6 once in 10,000 draws; the seed is fixed.
    assert float(((counts - 20_000 / 11) ** 2 / (20_000 / 11)).sum()) < 35.6


@pytest.mark.parametrize("wrong", [{"features": 0}, {"samples": 0}, {"threshold": 1.0}, {"threshold": -0.1}])
def test_ones_refuses_an_empty_class(wrong):
    with pytest.raises(Refused, match="is no data set"):
        data.ones(**wrong)


def test_idx_files_are_read_gzipped_or_not(folder):
    mnist = data.load("mnist")
    assert mnist.train_inputs.shape == (7, 1, 28, 28)
    assert mnist.test_targets.shape == (3,)
    raw = np.frombuffer(gzip.decompress((folder / "train-images-idx3-ubyte.gz").read_bytes())[16:], np.uint8)
    assert np.array_equal(mnist.train_inputs.numpy().ravel(), raw.astype(np.float32) / np.float32(255))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "begins with nothing"),
        (b"\x00\x00\x08\x01", "ends inside its header"),
        (idx_bytes(np.zeros(7, np.uint8))[:-1], "holds 7 = 7 bytes and holds 6"),
        (idx_bytes(np.zeros(7, np.uint8)) + b"x", "holds 7 = 7 bytes and holds 8"),
        (idx_bytes(np.zeros((7, 1), np.uint8)), "begins with 00000802"),
        (b"\x00\x00\x0d\x01" + bytes(8), "begins with 00000d01"),
        (gzip.compress(idx_bytes(np.zeros(7, np.uint8)))[:-9], "damaged or truncated gzip"),
        (idx_bytes(np.zeros(6, np.uint8)), "holds 7 images and .* 6 labels"),
        (idx_bytes(np.full(7, 10, np.uint8)), "holds the label 10"),
        (idx_bytes(np.full(7, 9, np.uint8)), "has the SHA-256 [0-9a-f]{64}, unpacked, and the published"),
    ],
    # Named, because the name of a test must not hold the time of day that gzip writes into its header.
    ids=[
        "empty",
        "cut in its header",
        "a byte short",
        "a byte over",
        "images for labels",
        "another type",
        "gzip cut",
        "a label short",
        "no such label",
        "other checksum",
    ],
)
def test_a_damaged_file_is_named_and_refused(folder, content, reason):
    (folder / "train-labels-idx1-ubyte").write_bytes(content)
    with pytest.raises(Refused, match=reason) as refusal:
        data.load("mnist")
    assert "train-labels-idx1-ubyte" in str(refusal.value)


def test_a_missing_file_is_named(folder):
    (folder / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(Refused, match=r"neither t10k-labels-idx1-ubyte nor t10k-labels-idx1-ubyte\.gz"):
        data.load("mnist")


@pytest.mark.parametrize("variable", [None, "elsewhere"])
def test_without_files_the_error_names_all_roads(tmp_path, monkeypatch, variable):
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path / "cache"))
    if variable is None:
        monkeypatch.delenv(idx.VARIABLE, raising=False)
    else:
        monkeypatch.setenv(idx.VARIABLE, str(tmp_path / variable))
    with pytest.raises(Refused) as refusal:
        data.load("fashion-mnist")
    said = str(refusal.value)
    assert "DOWNSLOPE_DATA" in said
    assert "cache" in said
    assert "OpenML: here it failed (URLError" in said
    assert not list((tmp_path / "cache").glob("*"))
    assert ("is not set" in said) == (variable is None)


def test_an_unknown_name_is_met_with_the_near_ones():
    with pytest.raises(Refused, match="did you mean 'digits'"):
        data.load("digit")


@pytest.mark.parametrize(("name", "mean"), [("mnist", 0.1306605), ("fashion-mnist", 0.2861)])
def test_the_real_files_are_what_they_are_said_to_be(name, mean):
    try:
        real = data.load(name)
    except Refused:
        pytest.skip("DOWNSLOPE_DATA does not hold it")
    assert real.train_inputs.shape == (60_000, 1, 28, 28)
    assert real.test_inputs.shape == (10_000, 1, 28, 28)
    assert float(real.train_inputs.double().mean()) == pytest.approx(mean, abs=1e-4)


@pytest.fixture
def openml(monkeypatch):
    """What OpenML gives for a small MNIST: 9 rows of pixels as float64 and labels as text, 6 of them for training."""
    random = np.random.default_rng(1)
    pixels, labels = random.integers(0, 256, (9, 784)).astype(float), random.integers(0, 10, 9)
    images, digits = pixels.reshape(-1, 28, 28).astype(np.uint8), labels.astype(np.uint8)
    sums = {}
    for part, rows in (("train", slice(6)), ("t10k", slice(6, None))):
        sums["mnist", f"{part}-images-idx3-ubyte"] = digest(idx_bytes(images[rows]))
        sums["mnist", f"{part}-labels-idx1-ubyte"] = digest(idx_bytes(digits[rows]))
    asked = []

    def fetch(number, home):
        asked.append(number)
        assert home.is_dir()
        return pixels, labels.astype(str).astype(object)

    monkeypatch.delenv(idx.VARIABLE, raising=False)
    monkeypatch.setattr(download, "_TRAIN", 6)
    monkeypatch.setattr(download, "fetch", fetch)
    monkeypatch.setattr(idx, "CHECKSUMS", sums)
    return images, digits, asked


def test_what_is_not_at_hand_is_downloaded_once_and_is_the_same_set(openml):
    images, digits, asked = openml
    for _ in range(2):
        found = data.load("mnist")
        assert np.array_equal(found.train_inputs.numpy()[:, 0], images[:6].astype(np.float32) / np.float32(255))
        assert found.test_targets.tolist() == digits[6:].tolist()
    assert asked == [554]
    assert [path.name for path in cache.folder().iterdir()] == ["mnist"]
    assert len(list(cache.folder("mnist").iterdir())) == 4


def test_a_download_of_something_else_is_refused_by_its_checksum(openml, monkeypatch):
    images, digits, _ = openml
    monkeypatch.setattr(download, "fetch", lambda number, home: (images[::-1].reshape(9, -1), digits))
    with pytest.raises(Refused, match=r"train-images-idx3-ubyte\.gz has the SHA-256"):
        data.load("mnist")
    assert not list(cache.folder().iterdir())


@pytest.mark.parametrize("step", ["fetch", "write", "rename"])
def test_a_download_that_breaks_off_leaves_nothing(openml, monkeypatch, step):
    def broken(*args, **kwargs):
        raise OSError("broken off")

    targets = {"fetch": (download, "fetch"), "write": (Path, "write_bytes"), "rename": (os, "rename")}
    with monkeypatch.context() as patched:
        patched.setattr(*targets[step], broken)
        with pytest.raises(Refused, match="OSError: broken off"):
            data.load("mnist")
    assert not list(cache.folder().iterdir())
    assert len(data.load("mnist").train_inputs) == 6


def test_a_download_that_another_process_finished_first_counts(openml, monkeypatch):
    real = os.rename

    def late(made, folder):
        real(made, folder)
        raise OSError("Directory not empty")

    monkeypatch.setattr(os, "rename", late)
    assert len(data.load("mnist").train_inputs) == 6


def test_the_download_asks_scikit_learn_for_plain_arrays(monkeypatch, tmp_path):
    import sklearn.datasets

    asked = {}
    monkeypatch.undo()
    monkeypatch.setattr(sklearn.datasets, "fetch_openml", lambda **kwargs: asked.update(kwargs) or (1, 2))
    assert download.fetch(554, tmp_path) == (1, 2)
    assert asked["data_id"] == 554
    assert asked["return_X_y"] is True
    assert asked["data_home"] == tmp_path


def test_a_file_of_the_cache_appears_whole_or_not_at_all(monkeypatch, tmp_path):
    path = tmp_path / "deep" / "file"
    cache.write(path, b"first")
    with monkeypatch.context() as patched:
        patched.setattr(os, "replace", lambda *args: (_ for _ in ()).throw(OSError(28, "No space left on device")))
        with pytest.raises(Refused, match="DOWNSLOPE_CACHE names another folder"):
            cache.write(path, b"second")
    assert path.read_bytes() == b"first"
    assert [each.name for each in path.parent.iterdir()] == ["file"]


def test_the_cache_is_where_the_variable_says(monkeypatch, tmp_path):
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path))
    assert cache.folder("weights") == tmp_path / "weights"
    monkeypatch.delenv(cache.VARIABLE)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    assert cache.folder("weights").name == "weights"
    assert "downslope" in str(cache.folder())


def test_a_network_that_is_not_there_is_an_error_and_no_warning_before_it(monkeypatch, tmp_path):
    import sklearn.datasets

    def fetch_openml(**kwargs):
        warnings.warn("A network error occurred while downloading https://a.place. Retrying...", stacklevel=2)
        raise OSError("no such place")

    monkeypatch.undo()
    monkeypatch.setattr(sklearn.datasets, "fetch_openml", fetch_openml)
    with pytest.raises(OSError, match="no such place"):  # here a warning is an error
        download.fetch(554, tmp_path)
