"""IDX files (LeCun's format for MNIST), gzipped or not, found in a folder and checked before use.

An IDX file is two zero bytes, a type code (0x08: unsigned byte), the number of dimensions, each dimension as a
big-endian 32-bit integer, then the values and nothing else.
"""

from __future__ import annotations

import gzip
import os
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..analysis.errors import Refused

VARIABLE = "DOWNSLOPE_DATA"
_UNSIGNED_BYTE = 0x08
_SIDE = 28


def load_part(name: str, part: str) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Images of shape [samples, 28, 28] and labels of shape [samples] of one part ("train" or "t10k") of a data set.

    Raises:
        Refused: no folder holds the files, or a file is truncated, is of another kind, or does not match the other.
    """
    folder = _folder(name)
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
    import platformdirs

    cache = Path(platformdirs.user_cache_dir("downslope")) / name
    named = os.environ.get(VARIABLE)
    roads = [Path(named).expanduser() / name] if named else []
    for folder in [*roads, cache]:
        if folder.is_dir():
            return folder
    first = f"{VARIABLE} is not set" if not named else f"{VARIABLE}={named} has no folder {name}"
    raise Refused(
        f"{name} is not at hand. Three roads lead to it: (1) {VARIABLE}, a folder with IDX files (gzipped or not) "
        f"under {name}/: here {first}; (2) the cache {cache}: here it does not exist; (3) a download from OpenML, "
        f"which this version does not offer yet: put the files on road 1 or 2."
    )


def _file(folder: Path, stem: str) -> Path:
    for path in (folder / stem, folder / f"{stem}.gz"):
        if path.is_file():
            return path
    raise Refused(f"{folder} has neither {stem} nor {stem}.gz: give it all four IDX files of the set.")
