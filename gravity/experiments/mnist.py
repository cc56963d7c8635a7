"""The files of MNIST and Fashion-MNIST, gzipped idx files, and Keras's npz file.

Of each official file the SHA-256 is listed, and that of its content, which is what a
copy that was compressed again shares with it. Debian's files are such copies.
"""

import gzip
import io
import math
import struct
import zipfile

import numpy as np

from gravity.experiments.files import DatasetError

Arrays = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]

MNIST = {
    "train-images-idx3-ubyte.gz": (
        "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
        "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    ),
    "train-labels-idx1-ubyte.gz": (
        "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
        "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    ),
    "t10k-images-idx3-ubyte.gz": (
        "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
        "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    ),
    "t10k-labels-idx1-ubyte.gz": (
        "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
        "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    ),
}
"""MNIST's checksums."""

FASHION_MNIST = {
    "train-images-idx3-ubyte.gz": (
        "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
        "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    ),
    "train-labels-idx1-ubyte.gz": (
        "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
        "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    ),
    "t10k-images-idx3-ubyte.gz": (
        "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
        "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    ),
    "t10k-labels-idx1-ubyte.gz": (
        "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
        "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
    ),
}
"""Fashion-MNIST's checksums."""


def parse_idx_files(*files: bytes) -> Arrays:
    """Return the arrays of training images and labels, test images and labels."""
    x_train, x_test = (_scale(_parse_idx(data, 3)) for data in files[::2])
    y_train, y_test = (_parse_idx(data, 1).astype(np.int32) for data in files[1::2])
    return x_train, y_train, x_test, y_test


def _parse_idx(data: bytes, dimensions: int) -> np.ndarray:
    """Return the array of unsigned bytes in a gzipped idx file."""
    content = gzip.decompress(data)
    header = 4 + 4 * dimensions
    # Two zeros, 8 for unsigned bytes, the number of dimensions.
    magic = bytes((0, 0, 8, dimensions))
    if len(content) < header or content[:4] != magic:
        raise DatasetError(
            f"An idx file of {dimensions}-dimensional unsigned bytes must begin with "
            f"{magic.hex()} and {dimensions} sizes. Received: {content[:header].hex()}"
        )
    shape = struct.unpack_from(f">{dimensions}I", content, 4)
    if len(content) != header + math.prod(shape):
        raise DatasetError(
            f"An idx file of shape {shape} must have {header + math.prod(shape)} "
            f"bytes. Received: {len(content)}"
        )
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape)


def _scale(images: np.ndarray) -> np.ndarray:
    """Return grey images of 0 to 255, `(n, height, width)`, as `Dataset` has them."""
    return np.divide(images[..., np.newaxis], 255, dtype=np.float32)


def parse_npz(data: bytes) -> Arrays:
    """Return the arrays of an npz file; its keys are the names in `Dataset`."""
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
            return (
                _scale(arrays["x_train"]),
                arrays["y_train"].astype(np.int32),
                _scale(arrays["x_test"]),
                arrays["y_test"].astype(np.int32),
            )
    except (KeyError, ValueError, EOFError, OSError, zipfile.BadZipFile) as error:
        raise DatasetError(f"The npz file can't be read: {error}") from error
