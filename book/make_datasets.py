"""Makes tiny datasets in the real on-disk formats: `book/make_datasets.py FOLDER`.

A smoke run of the whole benchmark needs the five datasets of Table 3 in files that are
read like the official ones, but small. The images are noise around one grey level a
class. `GRAVITY_DATA_MANIFEST` set to the absolute path of the manifest that is written
beside them makes `gravity.experiments.datasets` use them, and call them generated.
"""

import argparse
import gzip
import hashlib
import io
import json
import pickle
import struct
import tarfile
from pathlib import Path
from typing import ClassVar

import numpy as np

# `gravity` reads the manifest when it is imported, so this file must do without it.
IDX_FILES = (
    "train-images-idx3-ubyte.gz",
    "train-labels-idx1-ubyte.gz",
    "t10k-images-idx3-ubyte.gz",
    "t10k-labels-idx1-ubyte.gz",
)
# For each dataset the paths of its files in a cache folder.
FILES = {
    "mnist": [f"mnist/{name}" for name in IDX_FILES],
    "fashion_mnist": [f"fashion_mnist/{name}" for name in IDX_FILES],
    "cifar10": ["cifar-10/cifar-10-python.tar.gz"],
    "cifar100_coarse": ["cifar-100/cifar-100-python.tar.gz"],
    "cifar100_fine": ["cifar-100/cifar-100-python.tar.gz"],
}
# Every class has a training and a test image, and five batches can share the former.
TRAIN_SIZE, TEST_SIZE = 200, 100


def idx(array):
    """An array of bytes in the format of the idx files (LeCun et al., 1998)."""
    header = struct.pack(">HBB", 0, 0x08, array.ndim)
    header += b"".join(struct.pack(">I", size) for size in array.shape)
    return header + array.astype(">u1").tobytes()


def idx_files(arrays):
    """Gzipped idx files of training images and labels, test images and labels."""
    return [gzip.compress(idx(array), mtime=1) for array in arrays]


def npz(x_train, y_train, x_test, y_test):
    """The arrays in one file, under Keras's names."""
    file = io.BytesIO()
    parts = {"x_train": x_train, "y_train": y_train, "x_test": x_test, "y_test": y_test}
    np.savez(file, **{name: part.astype(np.uint8) for name, part in parts.items()})
    return file.getvalue()


class Python2Pickler(pickle._Pickler):
    """Writes protocol 2 as Python 2 did, when all strings were strings of bytes."""

    dispatch: ClassVar = dict(pickle._Pickler.dispatch)

    def save_text(self, value):
        data = value if isinstance(value, bytes) else value.encode("ascii")
        if len(data) < 256:
            self.write(pickle.SHORT_BINSTRING + bytes([len(data)]) + data)
        else:
            self.write(pickle.BINSTRING + struct.pack("<i", len(data)) + data)
        self.memoize(value)

    dispatch[bytes] = dispatch[str] = save_text

    def save_global(self, obj, name=None):
        module = obj.__module__.replace("numpy._core", "numpy.core")
        self.write(pickle.GLOBAL + f"{module}\n{obj.__name__}\n".encode())
        self.memoize(obj)

    dispatch[type] = dispatch[type(len)] = dispatch[type(idx)] = save_global


def python2_pickle(value):
    file = io.BytesIO()
    Python2Pickler(file, 2).dump(value)
    return file.getvalue()


def tar_gz(members):
    """An archive of files, given by name."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for name, data in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return gzip.compress(file.getvalue(), mtime=1)


def rows(images):
    """Colour images as CIFAR has them: a row of a red, a green and a blue plane."""
    return np.ascontiguousarray(images.transpose(0, 3, 1, 2).reshape(len(images), -1))


def cifar10_members(x_train, y_train, x_test, y_test):
    """The members of the archive, in a mixed order as in the official one."""
    folder = "cifar-10-batches-py"
    parts = {"test_batch": (b"testing batch 1 of 1", x_test, y_test)}
    for number, part in enumerate(np.split(np.arange(len(x_train)), 5), start=1):
        label = f"training batch {number} of 5".encode()
        parts[f"data_batch_{number}"] = (label, x_train[part], y_train[part])
    members = {f"{folder}/readme.html": b"<html></html>"}
    for name in sorted(parts, reverse=True):
        label, x, y = parts[name]
        members[f"{folder}/{name}"] = python2_pickle(
            {
                b"batch_label": label,
                b"labels": y.tolist(),
                b"data": rows(x),
                b"filenames": [b"image_%d.png" % number for number in range(len(x))],
            }
        )
    return members


def cifar100_members(x_train, coarse_train, fine_train, x_test, coarse_test, fine_test):
    members = {"cifar-100-python/file.txt~": b""}
    for name, label, x, coarse, fine in (
        ("test", b"testing batch 1 of 1", x_test, coarse_test, fine_test),
        ("train", b"training batch 1 of 1", x_train, coarse_train, fine_train),
    ):
        members[f"cifar-100-python/{name}"] = python2_pickle(
            {
                b"filenames": [b"image_%d.png" % number for number in range(len(x))],
                b"batch_label": label,
                b"fine_labels": fine.tolist(),
                b"coarse_labels": coarse.tolist(),
                b"data": rows(x),
            }
        )
    return members


def labels(rng, size, classes):
    """As many labels of each class as of any other."""
    return rng.permutation(np.arange(size) % classes)


def images(rng, y, classes, shape):
    """Noise around a grey level that tells the class."""
    levels = 32 + 160 * y / (classes - 1)
    noise = rng.integers(0, 64, (len(y), *shape))
    return (levels.reshape(-1, *[1] * len(shape)) + noise).astype(np.uint8)


def arrays(rng, classes, shape):
    """Training images and labels, test images and labels."""
    parts = []
    for size in (TRAIN_SIZE, TEST_SIZE):
        y = labels(rng, size, classes)
        parts += [images(rng, y, classes, shape), y]
    return parts


def files(seed=0):
    """The content of every file of the five datasets, by its path in a cache folder."""
    rng = np.random.default_rng(seed)
    made = {}
    for name in ("mnist", "fashion_mnist"):
        contents = idx_files(arrays(rng, 10, (28, 28)))
        made |= dict(zip(FILES[name], contents, strict=True))
    cifar10 = cifar10_members(*arrays(rng, 10, (32, 32, 3)))
    (path,) = FILES["cifar10"]
    made[path] = tar_gz(cifar10)
    x_train, fine_train, x_test, fine_test = arrays(rng, 100, (32, 32, 3))
    cifar100 = cifar100_members(
        x_train, fine_train // 5, fine_train, x_test, fine_test // 5, fine_test
    )
    (path,) = FILES["cifar100_fine"]
    made[path] = tar_gz(cifar100)
    return made


def write(folder, seed=0):
    """Write all files and their manifest, and return its absolute path."""
    folder = Path(folder).resolve()
    made = files(seed)
    for path, content in made.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
    entries = {
        name: {
            "train_size": TRAIN_SIZE,
            "test_size": TEST_SIZE,
            "files": {path: hashlib.sha256(made[path]).hexdigest() for path in paths},
        }
        for name, paths in FILES.items()
    }
    manifest = folder / "manifest.json"
    # It appears when it is complete: who finds it takes the rest to be there.
    partial = folder / "manifest.partial"
    partial.write_text(json.dumps({"datasets": entries}, indent=2) + "\n")
    partial.replace(manifest)
    return manifest


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", metavar="FOLDER", help="where to write the files")
    print(f"export GRAVITY_DATA_MANIFEST={write(parser.parse_args().folder)}")
