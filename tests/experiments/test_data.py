"""Data sets: sizes, ranges and fixed splits; IDX files that are damaged are named and refused."""

import gzip
import struct
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from downslope.analysis.errors import Refused
from downslope.experiments import data, idx


def idx_bytes(values: np.ndarray) -> bytes:
    return bytes((0, 0, 8, values.ndim)) + struct.pack(f">{values.ndim}I", *values.shape) + values.tobytes()


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """A small set in IDX files, one of them gzipped, where DOWNSLOPE_DATA finds it."""
    random = np.random.default_rng(0)
    home = tmp_path / "data" / "mnist"
    home.mkdir(parents=True)
    for part, samples in (("train", 7), ("t10k", 3)):
        images = random.integers(0, 256, (samples, 28, 28), dtype=np.uint8)
        labels = random.integers(0, 10, samples, dtype=np.uint8)
        (home / f"{part}-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx_bytes(images)))
        (home / f"{part}-labels-idx1-ubyte").write_bytes(idx_bytes(labels))
    monkeypatch.setenv(idx.VARIABLE, str(tmp_path / "data"))
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
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    if variable is None:
        monkeypatch.delenv(idx.VARIABLE, raising=False)
    else:
        monkeypatch.setenv(idx.VARIABLE, str(tmp_path / variable))
    with pytest.raises(Refused) as refusal:
        data.load("fashion-mnist")
    said = str(refusal.value)
    assert "DOWNSLOPE_DATA" in said
    assert "cache" in said
    assert "OpenML" in said
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
