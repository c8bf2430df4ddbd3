"""IDX files (LeCun's format for MNIST), gzipped or not, found in a folder, else downloaded, and checked before use.

An IDX file is two zero bytes, a type code (0x08: unsigned byte), the number of dimensions, each dimension as a
big-endian 32-bit integer, then the values and nothing else.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import struct
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..analysis.errors import Refused
from . import cache, download

VARIABLE = "DOWNSLOPE_DATA"
CHECKSUMS: Mapping[tuple[str, str], str] = {
    ("mnist", "train-images-idx3-ubyte"): "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    ("mnist", "train-labels-idx1-ubyte"): "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    ("mnist", "t10k-images-idx3-ubyte"): "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    ("mnist", "t10k-labels-idx1-ubyte"): "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    ("fashion-mnist", "train-images-idx3-ubyte"): "78af20091c5d087c418fa52c91e53862a972bd443e63fb11d2e786b92808aa16",
    ("fashion-mnist", "train-labels-idx1-ubyte"): "7cd88f551e93510030f93325e39e5d8112c932e2d6d2b1fde7ead816545ae184",
    ("fashion-mnist", "t10k-images-idx3-ubyte"): "30270969a8ba48240e771468112d9ad6bcf9f164314c3a6bb60964d10f48e351",
    ("fashion-mnist", "t10k-labels-idx1-ubyte"): "59df6c6ad638dc43879f10a8c5b516aabdcef4f924ba14410bf8aec5e518b1c4",
}
"""SHA-256 of each file, unpacked: whatever road it came by, it is the published one."""

_UNSIGNED_BYTE = 0x08
_SIDE = 28


def load_part(name: str, part: str) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Images of shape [samples, 28, 28] and labels of shape [samples] of one part ("train" or "t10k") of a data set.

    Raises:
        Refused: no folder holds the files, or a file is truncated, is of another kind, or does not match the other.
    """
    return _part(_folder(name), name, part)


def _part(folder: Path, name: str, part: str) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    images_path, labels_path = _file(folder, f"{part}-images-idx3-ubyte"), _file(folder, f"{part}-labels-idx1-ubyte")
    images, labels = read(images_path, dimensions=3), read(labels_path, dimensions=1)
    if images.shape[1:] != (_SIDE, _SIDE):
        raise Refused(f"{images_path} holds images of {images.shape[1:]} pixels; {name} has (28, 28).")
    if len(images) != len(labels):
        raise Refused(
            f"{images_path} holds {len(images)} images and {labels_path} {len(labels)} labels: they are not of one set."
        )
    if labels.size and labels.max() > 9:
        raise Refused(f"{labels_path} holds the label {labels.max()}; {name} has the classes 0 to 9.")
    for path, values in ((images_path, images), (labels_path, labels)):
        stem = path.name.removesuffix(".gz")
        digest = hashlib.sha256(download.idx_bytes(values)).hexdigest()
        if digest != CHECKSUMS[name, stem]:
            raise Refused(
                f"{path} has the SHA-256 {digest}, unpacked, and the published {stem} of {name} has "
                f"{CHECKSUMS[name, stem]}: fetch it again."
            )
    return images, labels


def read(path: Path, *, dimensions: int) -> NDArray[np.uint8]:
    """The array of unsigned bytes that an IDX file holds; gzip is recognised by its content, not by its name.

    Raises:
        Refused: the file is damaged, truncated, longer than it says, or not an IDX file of that many dimensions.
    """
    content = path.read_bytes()
    if content[:2] == b"\x1f\x8b":
        try:
            content = gzip.decompress(content)
        except (EOFError, OSError, zlib.error) as error:
            raise Refused(f"{path} is a damaged or truncated gzip file ({error}): fetch it again.") from None
    header = 4 + 4 * dimensions
    magic = bytes((0, 0, _UNSIGNED_BYTE, dimensions))
    if content[:4] != magic:
        raise Refused(
            f"{path} begins with {content[:4].hex() or 'nothing'}, an IDX file of unsigned bytes in {dimensions} "
            f"dimensions with {magic.hex()}: it is another kind of file."
        )
    if len(content) < header:
        raise Refused(f"{path} ends inside its header: fetch it again.")
    shape: tuple[Any, ...] = struct.unpack(f">{dimensions}I", content[4:header])
    expected = int(np.prod(shape, dtype=object))
    if len(content) - header != expected:
        raise Refused(
            f"{path} says that it holds {' x '.join(map(str, shape))} = {expected} bytes and holds "
            f"{len(content) - header}: fetch it again."
        )
    return np.frombuffer(content, dtype=np.uint8, offset=header).reshape(shape)


def _folder(name: str) -> Path:
    named, cached = os.environ.get(VARIABLE), cache.folder(name)
    roads = [Path(named).expanduser() / name] if named else []
    for folder in [*roads, cached]:
        if folder.is_dir():
            return folder
    try:
        download.into(cached, name, lambda made: [_part(made, name, part) for part in ("train", "t10k")])
    except (OSError, ValueError) as error:
        first = f"{VARIABLE} is not set" if not named else f"{VARIABLE}={named} has no folder {name}"
        raise Refused(
            f"{name} is not at hand. Three roads lead to it: (1) {VARIABLE}, a folder with IDX files (gzipped or not) "
            f"under {name}/: here {first}; (2) the cache {cached}: here it does not exist; (3) a download from OpenML: "
            f"here it failed ({type(error).__name__}: {error})."
        ) from error
    return cached


def _file(folder: Path, stem: str) -> Path:
    for path in (folder / stem, folder / f"{stem}.gz"):
        if path.is_file():
            return path
    raise Refused(f"{folder} has neither {stem} nor {stem}.gz: give it all four IDX files of the set.")
