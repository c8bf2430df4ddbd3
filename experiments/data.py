"""Data sets by name, each split once and for all into training and test samples, in float32.

DIGITS ships with scikit-learn, "Ones" is generated, MNIST and Fashion-MNIST are read from IDX files (see `idx`).
A split never depends on the seed of a training run: every run of a study sees the same samples.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..analysis.errors import Refused, near
from . import idx

SPLIT_SEED = 0


@dataclass(frozen=True)
class Data:
    """Training and test samples of one data set.

    Attributes:
        name: how the command line and the tables call it.
        train_inputs, test_inputs: float32, shape [samples, features] or [samples, channels, height, width], in [0, 1].
        train_targets, test_targets: int64 class labels, shape [samples].
        source: who made it.
    """

    name: str
    train_inputs: Tensor
    train_targets: Tensor
    test_inputs: Tensor
    test_targets: Tensor
    source: str

    @property
    def train(self) -> tuple[Tensor, Tensor]:
        """Inputs and targets of the training split."""
        return self.train_inputs, self.train_targets

    @property
    def test(self) -> tuple[Tensor, Tensor]:
        """Inputs and targets of the test split."""
        return self.test_inputs, self.test_targets


def digits() -> Data:
    """DIGITS: 1,797 images of 8 x 8 pixels and 16 grey levels, divided by 16; four fifths of them train."""
    from sklearn.datasets import load_digits

    inputs, targets = load_digits(return_X_y=True)
    return _split("digits", inputs / 16, targets, test_share=0.2, source="Alpaydin and Kaynak 1998; scikit-learn")


def ones(features: int = 10, threshold: float = 0.5, samples: int = 2000, seed: int = SPLIT_SEED) -> Data:
    """Ones: x in {0, 1}^features with a uniform Hamming weight, label 1 where the mean of x is above ``threshold``.

    Raises:
        Refused: ``features`` or ``samples`` is below 1, or ``threshold`` is outside [0, 1).
    """
    if features < 1 or samples < 1 or not 0 <= threshold < 1:
        raise Refused(
            f"ones(features={features}, threshold={threshold}, samples={samples}) is no data set: features and samples "
            f"are at least 1 and threshold lies in [0, 1), else one class is empty."
        )
    generator = np.random.default_rng(seed)
    weight = generator.integers(0, features + 1, size=samples)
    order = generator.random((samples, features)).argsort(axis=1)
    inputs = (order < weight[:, None]).astype(np.float64)
    # Counted exactly: 0.7 means the decimal 7/10, which the float 0.7 * features can miss on either side.
    targets = weight > math.floor(Fraction(str(threshold)) * features)
    return _split("ones", inputs, targets, test_share=0.2, source="Troiano et al. 2025")


def mnist() -> Data:
    """MNIST: 60,000 + 10,000 images of 28 x 28 pixels, the official split, pixels divided by 255."""
    return _images("mnist", "LeCun, Cortes and Burges")


def fashion_mnist() -> Data:
    """Fashion-MNIST: 60,000 + 10,000 images of 28 x 28 pixels, pixels divided by 255."""
    return _images("fashion-mnist", "Xiao, Rasul and Vollgraf 2017")


DATASETS: dict[str, Callable[[], Data]] = {
    "digits": digits,
    "ones": ones,
    "ones-0.7": partial(ones, threshold=0.7),
    "ones-64": partial(ones, features=64, samples=4096),
    "mnist": mnist,
    "fashion-mnist": fashion_mnist,
}
"""Every data set, by name."""


def load(name: str) -> Data:
    """The data set of that name.

    Raises:
        Refused: there is none of that name, or its files cannot be found or read.

    >>> load("digits").train_inputs.shape
    torch.Size([1438, 64])
    """
    if name not in DATASETS:
        raise Refused(f"there is no data set {name!r}: {near(name, DATASETS)}.")
    return replace(DATASETS[name](), name=name)


def _split(name: str, inputs: NDArray[Any], targets: NDArray[Any], *, test_share: float, source: str) -> Data:
    order = np.random.default_rng(SPLIT_SEED).permutation(len(inputs))
    held_out = int(len(inputs) * test_share)
    x = torch.from_numpy(inputs[order].astype(np.float32))
    y = torch.from_numpy(targets[order].astype(np.int64))
    return Data(name, x[held_out:], y[held_out:], x[:held_out], y[:held_out], source)


def _images(name: str, source: str) -> Data:
    parts = {part: idx.load_part(name, part) for part in ("train", "t10k")}
    (x, y), (x_test, y_test) = parts["train"], parts["t10k"]

    def scaled(pixels: NDArray[Any]) -> Tensor:
        return torch.from_numpy(pixels.astype(np.float32)[:, None] / np.float32(255))

    def labels(values: NDArray[Any]) -> Tensor:
        return torch.from_numpy(values.astype(np.int64))

    return Data(name, scaled(x), labels(y), scaled(x_test), labels(y_test), source)
