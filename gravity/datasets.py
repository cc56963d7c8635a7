"""The images that the book trains on: where they come from, checked and cached.

`load` returns one dataset as arrays. Files are looked for in the cache folder, then
where a system package keeps them, then downloaded; none is used before its checksum
matched.
"""

import gzip
import hashlib
import http.client
import math
import os
import struct
import sys
import time
import urllib.request
import uuid
import warnings
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

# Connections to one address before the next address is tried, the pause before the
# second one (it doubles from there), and how long a connection may stay silent.
_CONNECTIONS = 3
_PAUSE_SECONDS = 1.0
_TIMEOUT_SECONDS = 30.0

Arrays = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]
"""`x_train`, `y_train`, `x_test` and `y_test`, as in `Dataset`."""


class DatasetError(RuntimeError):
    """A dataset can't be had, or isn't as it should be."""


@dataclass(frozen=True, eq=False)
class Dataset:
    """Images with their labels, split into training and test.

    Attributes:
        name: a key of `DATASETS`.
        x_train: training images, float32 in [0, 1], `(n, height, width, channels)`.
        y_train: their labels, int32 from 0 to `classes` - 1, `(n,)`.
        x_test: test images, as `x_train`.
        y_test: their labels, as `y_train`.
        classes: number of classes.
    """

    name: str
    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray
    classes: int


@dataclass(frozen=True)
class File:
    """One file of a dataset.

    Attributes:
        path: where the cache folder keeps it.
        urls: the addresses that serve it, the official one first.
        sha256: of the official file.
        content_sha256: of what is inside its gzip layer, for copies that were
            compressed anew. Empty (the default) accepts the official file only.
        installed: where a system package keeps it. `None`, the default, for nowhere.
    """

    path: str
    urls: tuple[str, ...]
    sha256: str
    content_sha256: str = ""
    installed: Path | None = None


@dataclass(frozen=True)
class Spec:
    """What a dataset is and how it is read; `load` checks the arrays against it.

    Attributes:
        title: the name as the book prints it.
        shape: height, width and channels of an image.
        classes: number of classes.
        train_size: number of training images.
        test_size: number of test images.
        parse: makes the arrays from the checked bytes of each of `files`, in order.
        files: what has to be there first. Defaults to nothing.
    """

    title: str
    shape: tuple[int, int, int]
    classes: int
    train_size: int
    test_size: int
    parse: Callable[..., Arrays]
    files: tuple[File, ...] = ()


def load(name: str, *, cache: Path | None = None) -> Dataset:
    """Return a dataset, downloading its files first if they aren't on this machine.

    Args:
        name: a key of `DATASETS`.
        cache: the folder that keeps downloaded files. Defaults to the environment
            variable `GRAVITY_DATA`, else to `gravity` in the user's cache folder
            (`XDG_CACHE_HOME`, else `~/.cache`).

    Raises:
        ValueError: there is no dataset of that name.
        DatasetError: a file can't be had undamaged, or the arrays don't have the shape,
            sizes or labels of the dataset's `Spec`.
    """
    if name not in DATASETS:
        raise ValueError(
            f"Argument `name` must be one of {', '.join(DATASETS)}. "
            f"Received: name={name!r}"
        )
    spec = DATASETS[name]
    folder = _default_cache() if cache is None else Path(cache)
    arrays = spec.parse(*(_fetch(file, spec, folder) for file in spec.files))
    _check(arrays, spec)
    return Dataset(name, *arrays, spec.classes)


def _default_cache() -> Path:
    if named := os.environ.get("GRAVITY_DATA"):
        return Path(named).expanduser()
    caches = os.environ.get("XDG_CACHE_HOME")
    return (Path(caches) if caches else Path.home() / ".cache") / "gravity"


def _check(arrays: Arrays, spec: Spec) -> None:
    x_train, y_train, x_test, y_test = arrays
    for part, x, y, size in (
        ("training", x_train, y_train, spec.train_size),
        ("test", x_test, y_test, spec.test_size),
    ):
        labels = np.unique(y).tolist()
        if (x.shape, y.shape) != ((size, *spec.shape), (size,)) or labels != list(
            range(spec.classes)
        ):
            raise DatasetError(
                f"{spec.title} must have {size} {part} images of shape {spec.shape} "
                f"with labels 0 to {spec.classes - 1}. Received: images {x.shape}, "
                f"labels {y.shape} with values {labels}"
            )


def _fetch(file: File, spec: Spec, cache: Path) -> bytes:
    """Return the bytes of a file that are as they should be."""
    path = cache / file.path
    data = _read(path, file)
    if data is not None:
        return data
    if file.installed is not None:
        data = _read(file.installed, file)
    if data is None:
        data = _download(file, spec, cache)
    elif not path.exists():
        return data
    _write(path, data)
    return data


def _read(path: Path, file: File) -> bytes | None:
    """Return the bytes of a local copy, `None` if it is missing or damaged."""
    if not path.exists():
        return None
    data = path.read_bytes()
    if _matches(data, file):
        return data
    warnings.warn(
        f"{path} is damaged and not used: its {len(data):,} bytes don't have the "
        f"official file's SHA-256 {file.sha256}",
        RuntimeWarning,
        stacklevel=5,
    )
    return None


def _matches(data: bytes, file: File) -> bool:
    if hashlib.sha256(data).hexdigest() == file.sha256:
        return True
    try:
        content = gzip.decompress(data)
    except (OSError, EOFError, zlib.error):
        return False
    return hashlib.sha256(content).hexdigest() == file.content_sha256


def _write(path: Path, data: bytes) -> None:
    """Publish a complete file at once; of two processes, the later one wins."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        temporary.write_bytes(data)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _download(file: File, spec: Spec, cache: Path) -> bytes:
    failures = []
    for url in file.urls:
        try:
            data = _get(url)
        except (OSError, http.client.HTTPException) as error:
            failures.append(f"  {url}: {error}")
            continue
        if _matches(data, file):
            return data
        failures.append(f"  {url}: wrong SHA-256 ({len(data):,} bytes)")
    path = cache / file.path
    state = "damaged" if path.exists() else "missing"
    wanted = (
        f"  {cache / each.path}\n    from {each.urls[0]}\n    SHA-256 {each.sha256}"
        for each in spec.files
    )
    raise DatasetError(
        f"{spec.title}: {path} is {state} and could not be downloaded:\n"
        + "\n".join(failures)
        + "\nWithout a network, put these files there yourself:\n"
        + "\n".join(wanted)
    )


def _get(url: str) -> bytes:
    """Return what `url` serves; a new connection goes on where the last one broke."""
    received = bytearray()
    for connection in range(1, _CONNECTIONS + 1):
        try:
            _receive(url, received)
            break
        except (OSError, http.client.HTTPException):
            if connection == _CONNECTIONS:
                raise
        time.sleep(_PAUSE_SECONDS * 2 ** (connection - 1))
    return bytes(received)


def _receive(url: str, received: bytearray) -> None:
    """Append to `received` what it lacks of the file at `url`, showing progress."""
    request = urllib.request.Request(url)
    if received:
        request.add_header("Range", f"bytes={len(received)}-")
    with urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS) as response:
        # A server that doesn't know ranges answers 200 and sends everything again.
        if response.status != http.client.PARTIAL_CONTENT:
            received.clear()
        total = len(received) + int(response.headers.get("Content-Length", 0))
        print(f"Downloading {url} ({total / 1e6:.1f} MB)", file=sys.stderr)
        while chunk := response.read(1 << 16):
            received += chunk
            if sys.stderr.isatty() and total:
                bar = "█" * (40 * len(received) // total)
                print(f"\r[{bar:40}]", end="", file=sys.stderr, flush=True)
    if sys.stderr.isatty():
        print(file=sys.stderr)
    # Reading in pieces ends quietly when the connection is cut.
    if len(received) < total:
        raise ConnectionError(f"broke off after {len(received)} of {total} bytes")


def _parse_digits() -> Arrays:
    """Return scikit-learn's digits and the split that is part of the dataset here.

    Of the images sorted by label, in scikit-learn's order within each label, every
    fifth is a test image, so that each class has its share. No random numbers are
    involved, as NumPy's may change between versions.
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise DatasetError(
            "The digits are part of scikit-learn, which isn't installed. Install it "
            'with: pip install "gravity-optimizer[digits]"'
        ) from error
    digits = load_digits()
    x = (digits.images[..., np.newaxis] / 16).astype(np.float32)
    y = digits.target.astype(np.int32)
    is_test = np.zeros(len(y), dtype=bool)
    is_test[np.argsort(y, kind="stable")[::5]] = True
    return x[~is_test], y[~is_test], x[is_test], y[is_test]


def _parse_idx_files(*files: bytes) -> Arrays:
    """Return the arrays of training images and labels, test images and labels."""
    x_train, x_test = (
        np.divide(_parse_idx(data, 3)[..., np.newaxis], 255, dtype=np.float32)
        for data in files[::2]
    )
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


# The SHA-256 of each official file and of its content. Debian strips name and time from
# the gzip header, so that only the content of its files equals the official ones'.
_FASHION_MNIST = {
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
_FASHION_MNIST_URLS = (
    "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
    "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion/",
)

DATASETS: Mapping[str, Spec] = {
    "digits": Spec("Digits", (8, 8, 1), 10, 1437, 360, _parse_digits),
    "fashion_mnist": Spec(
        "Fashion-MNIST",
        (28, 28, 1),
        10,
        60_000,
        10_000,
        _parse_idx_files,
        tuple(
            File(
                path=f"fashion_mnist/{name}",
                urls=tuple(folder + name for folder in _FASHION_MNIST_URLS),
                sha256=sha256,
                content_sha256=content_sha256,
                installed=Path("/usr/share/datasets/fashion-mnist", name),
            )
            for name, (sha256, content_sha256) in _FASHION_MNIST.items()
        ),
    ),
}
"""What can be loaded; Fashion-MNIST's shape and sizes are Table 3's."""
