"""CIFAR's images, from the official archives or from public copies as pictures.

Both give the same rows in the format of CIFAR's own binary version: the label
(CIFAR-100: superclass, then class), then a red, a green and a blue plane of 32 × 32
bytes each. Copies as pictures have lost the order of the official archives. So the rows
are put in an order that follows from what they hold, that of their SHA-256: it looks
shuffled, and is the same whichever copy was read. The SHA-256 of all rows in this
order identifies the dataset.
"""

import functools
import hashlib
import io
import json
import pickle
import tarfile
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from gravity.experiments.files import DatasetError

SIDE = 32
"""Height and width of an image."""
_PIXELS = 3 * SIDE * SIDE
_MOST_PROBLEMS = 10


@dataclass(frozen=True)
class Cifar:
    """One of the two CIFAR datasets.

    Attributes:
        name: `cifar-10` or `cifar-100`.
        train: the archive's members with training images, in order.
        test: the archive's member with test images.
        labels: the keys of the labels in each member, in the order of a row.
    """

    name: str
    train: tuple[str, ...]
    test: str
    labels: tuple[bytes, ...]

    @property
    def facts(self) -> Mapping[str, Any]:
        """What is known of the dataset, from `cifar.json`.

        `sha256` is the property's, `classes` the classes' names in the order of their
        labels, `superclasses` the superclass of each (CIFAR-100 only), `size` the
        number of pictures of a class in `train` and in `test`, and `digests` for each
        class the beginning of the SHA-256 of its training and of its test rows.
        """
        return _facts()[self.name]

    @property
    def sha256(self) -> str:
        """The SHA-256 of all rows, training rows first, each part sorted."""
        return self.facts["sha256"]


CIFAR10 = Cifar(
    "cifar-10",
    tuple(f"cifar-10-batches-py/data_batch_{number}" for number in range(1, 6)),
    "cifar-10-batches-py/test_batch",
    (b"labels",),
)
CIFAR100 = Cifar(
    "cifar-100",
    ("cifar-100-python/train",),
    "cifar-100-python/test",
    (b"coarse_labels", b"fine_labels"),
)


@functools.cache
def _facts() -> Mapping[str, Any]:
    return json.loads(Path(__file__).with_name("cifar.json").read_bytes())


def sort_rows(rows: np.ndarray) -> np.ndarray:
    """Return rows in the order of the SHA-256 of each."""
    order = sorted(
        range(len(rows)), key=lambda i: hashlib.sha256(rows[i].data).digest()
    )
    return rows[order]


def read_archive(archive: bytes, *, cifar: Cifar) -> np.ndarray:
    """Return the rows of an archive, training rows first, each part sorted.

    Args:
        archive: a gzipped tar file. Nothing of it is written to disk, and only regular
            files with exactly the names asked for are looked at, so that the paths in
            it don't matter.
        cifar: which dataset it is.

    Raises:
        DatasetError: the archive isn't one of that dataset.
    """
    batches = {}
    try:
        with tarfile.open(fileobj=io.BytesIO(archive), mode="r:gz") as members:
            for member in members:
                if member.name in (*cifar.train, cifar.test) and member.isreg():
                    file = members.extractfile(member)
                    assert file is not None
                    batches[member.name] = _read_batch(file, member.name, cifar.labels)
    except (
        tarfile.TarError,
        pickle.UnpicklingError,
        EOFError,
        OSError,
        zlib.error,
    ) as error:
        raise DatasetError(f"The CIFAR archive can't be read: {error}") from error
    needed = (*cifar.train, cifar.test)
    if missing := {*needed} - batches.keys():
        raise DatasetError(
            f"The CIFAR archive must have the files {', '.join(needed)}. "
            f"Missing: {', '.join(sorted(missing))}"
        )
    train = np.concatenate([batches[name] for name in cifar.train])
    return np.concatenate([sort_rows(train), sort_rows(batches[cifar.test])])


def _read_batch(file: IO[bytes], name: str, labels: tuple[bytes, ...]) -> np.ndarray:
    """Return one pickled batch's rows."""
    batch = _ArrayUnpickler(file, encoding="bytes").load()
    pixels = batch.get(b"data") if isinstance(batch, dict) else None
    if (
        not isinstance(pixels, np.ndarray)
        or pixels.dtype != np.uint8
        or pixels.shape[1:] != (_PIXELS,)
        or not all(_are_labels(batch.get(key), len(pixels)) for key in labels)
    ):
        raise DatasetError(
            f"{name} must hold a dictionary with rows of {_PIXELS} unsigned bytes "
            f"under b'data', and as many labels under {', '.join(map(repr, labels))}"
        )
    columns = [np.asarray(batch[key], np.uint8)[:, np.newaxis] for key in labels]
    return np.concatenate([*columns, pixels], axis=1)


def _are_labels(values: object, size: int) -> bool:
    return (
        isinstance(values, list)
        and len(values) == size
        and all(isinstance(value, int) and 0 <= value < 256 for value in values)
    )


def read_pictures(folder: Path, *, cifar: Cifar, progress: bool = False) -> np.ndarray:
    """Return the rows of a copy as pictures, training rows first, each part sorted.

    Args:
        folder: it holds `train/<class>/<file>.png` and `test/<class>/<file>.png`. File
            names don't matter, nor how well the files are compressed.
        cifar: which dataset it is.
        progress: whether to show a bar on a terminal. Defaults to `False`.

    Raises:
        DatasetError: a class or a picture is missing, superfluous, damaged or changed;
            the message names up to ten such folders and files.
    """
    from tqdm import tqdm

    facts = cifar.facts
    sizes = facts["size"]
    files = {
        (part, label): _list_pictures(folder / part / name, size)
        for part, size in sizes.items()
        for label, name in enumerate(_check_classes(folder / part, facts["classes"]))
    }
    _raise_first(problem for found, _ in files.values() for problem in found)
    total = sum(sizes.values()) * len(facts["classes"])
    with tqdm(total=total, unit=" pictures", disable=None if progress else True) as bar:
        made = {key: _read_class(paths, bar) for key, (_, paths) in files.items()}
    _raise_first(problem for found, _ in made.values() for problem in found)
    parts = []
    problems = []
    for part in sizes:
        whole = []
        for label, name in enumerate(facts["classes"]):
            pixels = np.stack(made[part, label][1])
            head = np.empty((len(pixels), len(cifar.labels)), np.uint8)
            head[:, -1] = label
            if "superclasses" in facts:
                head[:, 0] = facts["superclasses"][label]
            rows = sort_rows(np.concatenate([head, pixels], axis=1))
            if class_digest(rows) != facts["digests"][name][part == "test"]:
                problems.append(
                    f"{folder / part / name}: at least one of its {len(rows):,} "
                    f"pictures has other pixels than the official images"
                )
            whole.append(rows)
        parts.append(sort_rows(np.concatenate(whole)))
    _raise_first(problems)
    return np.concatenate(parts)


def class_digest(rows: np.ndarray) -> str:
    """Return what `cifar.json` has of a class: the beginning of its rows' SHA-256."""
    return hashlib.sha256(rows.data).hexdigest()[:12]


def _check_classes(part: Path, classes: Sequence[str]) -> Sequence[str]:
    """Return the classes if the folder has exactly theirs."""
    if not part.is_dir():
        raise DatasetError(
            f"{part} is missing. A copy as pictures must hold train/<class>/<file>.png "
            "and test/<class>/<file>.png"
        )
    found = {each.name for each in _visible(part)}
    _raise_first(
        [
            f"{part / name}: this class is missing"
            for name in classes
            if name not in found
        ]
        + [
            f"{part / name}: no class is called so"
            for name in sorted(found.difference(classes))
        ]
    )
    return classes


def _visible(folder: Path) -> Iterator[Path]:
    # Hidden files are what systems leave behind, .DS_Store for example.
    return (path for path in folder.iterdir() if not path.name.startswith("."))


def _list_pictures(folder: Path, size: int) -> tuple[list[str], list[Path]]:
    """Return what is wrong with the names in a class's folder, and the pictures."""
    if not folder.is_dir():
        return [f"{folder}: it must be a folder"], []
    paths = sorted(_visible(folder))
    problems = [
        f"{path}: it must be a PNG file{_why_not(path.suffix.lower())}"
        for path in paths
        if path.suffix.lower() != ".png"
    ]
    if not problems and len(paths) != size:
        problems = [f"{folder}: it must have {size:,} pictures, not {len(paths):,}"]
    return problems, paths


def _why_not(kind: str) -> str:
    lossy = kind in (".jpg", ".jpeg", ".webp")
    return f"; {kind[1:]} copies have lost the exact pixels" if lossy else ""


def _read_class(paths: Sequence[Path], bar: Any) -> tuple[list[str], list[np.ndarray]]:
    """Return what is wrong with the pictures of a class, and their planes."""
    from PIL import Image

    problems, planes = [], []
    for path in paths:
        bar.update()
        try:
            with Image.open(path) as image:
                if image.format != "PNG":
                    problems.append(
                        f"{path}: it must be a PNG file, but what it holds is "
                        f"{image.format}{_why_not(f'.{image.format}'.lower())}"
                    )
                elif image.size != (SIDE, SIDE):
                    width, height = image.size
                    problems.append(
                        f"{path}: it must be {SIDE} × {SIDE} pixels, not "
                        f"{width} × {height}"
                    )
                else:
                    pixels = np.asarray(image.convert("RGB"))
                    planes.append(pixels.transpose(2, 0, 1).reshape(-1))
        except (
            OSError,
            SyntaxError,
            ValueError,
            Image.DecompressionBombError,
        ) as error:
            problems.append(f"{path}: it can't be read: {error}")
    return problems, planes


def _raise_first(problems: Iterable[str]) -> None:
    found = list(problems)
    if found:
        shown = "\n".join(f"  {each}" for each in found[:_MOST_PROBLEMS])
        more = len(found) - _MOST_PROBLEMS
        rest = f"\n  and {more:,} more" if more > 0 else ""
        raise DatasetError(f"The copy isn't as it should be:\n{shown}{rest}")


def to_arrays(
    rows: np.ndarray, *, train_size: int, labels: int, label: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return training images and labels, test images and labels, as a `Dataset` has.

    Args:
        rows: all rows, `(n, labels + 3072)`, or their bytes in one dimension.
        train_size: how many of them are for training.
        labels: how many labels a row begins with.
        label: the column of the label that is wanted.
    """
    rows = rows.reshape(-1, labels + _PIXELS)
    made = []
    for part in (rows[:train_size], rows[train_size:]):
        planes = part[:, labels:].reshape(-1, 3, SIDE, SIDE)
        images = np.empty((len(part), SIDE, SIDE, 3), np.float32)
        np.divide(planes.transpose(0, 2, 3, 1), 255, out=images, dtype=np.float32)
        made += [images, part[:, label].astype(np.int32)]
    return made[0], made[1], made[2], made[3]


def _encode(text: str, encoding: str) -> bytes:
    if encoding != "latin1":
        raise DatasetError(f"Bytes in a pickle must be latin1, not {encoding!r}")
    return text.encode("latin1")


# The function has moved between NumPy's modules; an array always names the right one.
_reconstruct: Any = np.empty(0).__reduce__()[0]
_ADMITTED: Mapping[tuple[str, str], Any] = {
    ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy._core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    # How Python 3 pickles bytes for Python 2.
    ("_codecs", "encode"): _encode,
}


class _ArrayUnpickler(pickle.Unpickler):
    """Reads NumPy arrays among plain Python objects, and nothing else.

    A pickle can name any function of any module and have it called. Here the names that
    arrays need are looked up in a table; any other ends the reading.

    Raises:
        DatasetError: the pickle names something else, which is not imported.
    """

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ADMITTED:
            raise DatasetError(
                f"A pickled dataset must hold arrays and plain objects only, but this "
                f"one names {module}.{name}. It was not read further."
            )
        return _ADMITTED[module, name]
