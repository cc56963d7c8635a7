"""`cifar`: pictures and archives give the same rows, and faults are named."""

import hashlib
import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import make_datasets
import numpy as np
import pytest
from PIL import Image

from gravity.__main__ import main
from gravity.experiments import cifar, datasets, files

ROOT = Path(__file__).resolve().parents[2]
KINDS = {"cifar10": cifar.CIFAR10, "cifar100_fine": cifar.CIFAR100}
PER_CLASS = {"train": 10, "test": 2}


def images_of(kind):
    """Images with labels of all classes, training and test, in a mixed order."""
    rng = np.random.default_rng(1)
    classes = len(KINDS[kind].facts["classes"])
    made = []
    for size in PER_CLASS.values():
        y = rng.permutation(np.repeat(np.arange(classes), size))
        made += [rng.integers(0, 256, (len(y), 32, 32, 3), np.uint8), y]
    return made


def archive_of(kind, arrays):
    if kind == "cifar10":
        return make_datasets.tar_gz(make_datasets.cifar10_members(*arrays))
    x_train, y_train, x_test, y_test = arrays
    superclass = np.array(cifar.CIFAR100.facts["superclasses"])
    return make_datasets.tar_gz(
        make_datasets.cifar100_members(
            x_train, superclass[y_train], y_train, x_test, superclass[y_test], y_test
        )
    )


def pictures_of(kind, arrays, folder, compress_level=1):
    classes = KINDS[kind].facts["classes"]
    for part, x, y in (("train", *arrays[:2]), ("test", *arrays[2:])):
        for number, (image, label) in enumerate(zip(x, y, strict=True)):
            path = folder / part / classes[label] / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(path, compress_level=compress_level)
    return folder


def expected_rows(kind, arrays):
    """All rows as the module's docstring describes them, written a second time."""
    superclass = KINDS[kind].facts.get("superclasses")
    rows = []
    for x, y in (arrays[:2], arrays[2:]):
        part = []
        for image, label in zip(x, y, strict=True):
            head = [superclass[label]] if superclass else []
            planes = [image[:, :, colour].tobytes() for colour in range(3)]
            part.append(bytes([*head, label]) + b"".join(planes))
        rows += sorted(part, key=lambda row: hashlib.sha256(row).digest())
    return rows


@pytest.fixture(scope="module", params=KINDS)
def small(request, tmp_path_factory):
    """A small CIFAR: its name, arrays, archive, pictures and what is known of it."""
    kind = request.param
    arrays = images_of(kind)
    rows = expected_rows(kind, arrays)
    train = len(arrays[0])
    known = dict(KINDS[kind].facts) | {
        "size": PER_CLASS,
        "sha256": hashlib.sha256(b"".join(rows)).hexdigest(),
    }
    column = len(KINDS[kind].labels) - 1
    known["digests"] = {
        name: [
            hashlib.sha256(
                b"".join(row for row in part if row[column] == label)
            ).hexdigest()[:12]
            for part in (rows[:train], rows[train:])
        ]
        for label, name in enumerate(known["classes"])
    }
    folder = pictures_of(kind, arrays, tmp_path_factory.mktemp(kind))
    return kind, arrays, archive_of(kind, arrays), folder, known


@pytest.fixture
def known(small, monkeypatch, tmp_path):
    """Have the small CIFAR stand for the official one, with an empty cache."""
    kind, arrays, archive, _, facts = small
    monkeypatch.setattr(cifar, "_facts", lambda: {KINDS[kind].name: facts})
    monkeypatch.setenv("GRAVITY_DATA", str(tmp_path / "cache"))
    official = dict(datasets.OFFICIAL_DATASETS)
    for name, spec in official.items():
        if spec.pictures is KINDS[kind]:
            path = spec.files[0].path
            official[name] = replace(
                spec,
                train_size=len(arrays[0]),
                test_size=len(arrays[2]),
                files=(
                    files.File(
                        path,
                        ("http://127.0.0.1:9/nothing",),
                        hashlib.sha256(archive).hexdigest(),
                    ),
                ),
                converted=replace(spec.converted, sha256=facts["sha256"]),
            )
    monkeypatch.setattr(datasets, "OFFICIAL_DATASETS", official)
    monkeypatch.setattr(datasets, "DATASETS", official)
    monkeypatch.setattr(files, "_RETRIES", 0)
    return kind


def copy_of(folder, tmp_path):
    return Path(shutil.copytree(folder, tmp_path / "copy"))


def test_archive_and_pictures_are_one_dataset(small, known, tmp_path):
    kind, arrays, archive, folder, _ = small
    rows = [row.tobytes() for row in cifar.read_archive(archive, cifar=KINDS[kind])]
    assert rows == expected_rows(kind, arrays)

    datasets.import_copy(kind, folder)
    from_pictures = datasets.load(kind)
    (path,) = datasets.find(kind)
    kept = path.read_bytes()
    assert kept == b"".join(rows)
    path.unlink()

    official = tmp_path / "official"
    official.mkdir()
    name = Path(datasets.DATASETS[kind].files[0].path).name
    (official / name).write_bytes(archive)
    datasets.import_copy(kind, official)
    assert path.read_bytes() == kept
    from_archive = datasets.load(kind)
    for part in ("x_train", "y_train", "x_test", "y_test"):
        one, other = getattr(from_pictures, part), getattr(from_archive, part)
        np.testing.assert_array_equal(one, other)
        assert (one.dtype, one.flags.c_contiguous) == (other.dtype, True)
    # Each image kept its label, and its pixels their places.
    found = {
        (image.tobytes(), label)
        for image, label in zip(
            (from_pictures.x_train * 255).round().astype(np.uint8),
            from_pictures.y_train,
            strict=True,
        )
    }
    assert found == {(x.tobytes(), y) for x, y in zip(*arrays[:2], strict=True)}


def test_neither_names_nor_compression_matter(small, known, tmp_path):
    kind, arrays, _, folder, _ = small
    first = datasets.import_copy(kind, folder)[0].read_bytes()
    order = np.random.default_rng(2).permutation(len(arrays[0]))
    again = [arrays[0][order], arrays[1][order], *arrays[2:]]
    other = pictures_of(kind, again, tmp_path / "other", compress_level=9)
    (other / "train" / ".DS_Store").write_bytes(b"left behind")
    assert datasets.import_copy(kind, other)[0].read_bytes() == first


def test_superclasses_follow_from_the_class(small, known):
    kind, _, _, folder, facts = small
    if kind == "cifar10":
        pytest.skip("CIFAR-10 has no superclasses")
    datasets.import_copy("cifar100_coarse", folder)
    fine, coarse = datasets.load(kind), datasets.load("cifar100_coarse")
    np.testing.assert_array_equal(fine.x_train, coarse.x_train)
    table = np.array(facts["superclasses"])
    np.testing.assert_array_equal(coarse.y_test, table[fine.y_test])


def first_picture(copy, kind):
    return sorted((copy / "train" / KINDS[kind].facts["classes"][3]).iterdir())[0]


def lose_a_class(copy, path):
    shutil.rmtree(path.parent)
    return path.parent, "this class is missing"


def add_a_class(copy, path):
    (copy / "test" / "unicorn").mkdir()
    return copy / "test" / "unicorn", "no class is called so"


def lose_a_part(copy, path):
    shutil.rmtree(copy / "test")
    return copy / "test", "is missing"


def truncate(copy, path):
    path.write_bytes(path.read_bytes()[:-400])
    return path, "can't be read"


def not_a_picture(copy, path):
    path.write_bytes(b"<html>not found</html>")
    return path, "can't be read"


def empty(copy, path):
    path.write_bytes(b"")
    return path, "can't be read"


def change_a_pixel(copy, path):
    pixels = np.array(Image.open(path))
    pixels[31, 31, 2] ^= 1
    Image.fromarray(pixels).save(path)
    return path.parent, "at least one of its 10 pictures has other pixels"


def lose_a_picture(copy, path):
    path.unlink()
    return path.parent, "it must have 10 pictures, not 9"


def add_a_picture(copy, path):
    shutil.copy(path, path.with_name("another.png"))
    return path.parent, "it must have 10 pictures, not 11"


def swap_classes(copy, path):
    other = copy / "train" / sorted(p.name for p in (copy / "train").iterdir())[0]
    path.rename(other / "moved.png")
    shutil.move(sorted(other.glob("[0-9]*.png"))[0], path)
    return path.parent, "has other pixels"


def enlarge(copy, path):
    Image.open(path).resize((64, 33)).save(path)
    return path, "it must be 32 × 32 pixels, not 64 × 33"


def save_as_jpeg(copy, path):
    Image.open(path).save(path.with_suffix(".jpg"))
    path.unlink()
    return path.with_suffix(".jpg"), "jpg copies have lost the exact pixels"


def disguise_a_jpeg(copy, path):
    Image.open(path).save(path, format="JPEG")
    return path, "what it holds is JPEG; jpeg copies have lost the exact pixels"


FAULTS = (
    lose_a_class,
    add_a_class,
    lose_a_part,
    truncate,
    not_a_picture,
    empty,
    change_a_pixel,
    lose_a_picture,
    add_a_picture,
    swap_classes,
    enlarge,
    save_as_jpeg,
    disguise_a_jpeg,
)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_named_and_nothing_is_kept(fault, small, known, tmp_path, capsys):
    copy = copy_of(small[3], tmp_path)
    where, what = fault(copy, first_picture(copy, known))
    assert main(["data", "import", known, str(copy)]) == 1
    message = capsys.readouterr().err
    assert str(where) in message
    assert what in message
    assert not (tmp_path / "cache").exists()
    with pytest.raises(datasets.DatasetError, match="could not be downloaded"):
        datasets.load(known)


def test_many_faults_are_counted(small, known, tmp_path):
    copy = copy_of(small[3], tmp_path)
    for path in (copy / "train").glob("*/*.png"):
        path.write_bytes(b"")
    with pytest.raises(datasets.DatasetError) as caught:
        datasets.import_copy(known, copy)
    total = PER_CLASS["train"] * len(KINDS[known].facts["classes"])
    assert str(caught.value).endswith(f"and {total - 10:,} more")


def test_a_damaged_file_of_the_cache_is_made_again(small, known):
    kind, _, archive, _, _ = small
    spec = datasets.DATASETS[kind]
    cache = files.default_cache()
    for damage in (b"", b"short", None):
        (cache / spec.files[0].path).parent.mkdir(parents=True, exist_ok=True)
        (cache / spec.files[0].path).write_bytes(archive)
        expected = datasets.load(kind).x_train
        kept = cache / spec.converted.path
        content = kept.read_bytes()
        kept.write_bytes(content[:-1] + b"?" if damage is None else damage)
        with pytest.warns(RuntimeWarning, match="damaged and not used"):
            np.testing.assert_array_equal(datasets.load(kind).x_train, expected)
        assert kept.read_bytes() == content


def test_offline_says_where_a_copy_is_and_what_takes_it(small, known):
    with pytest.raises(datasets.DatasetError) as caught:
        datasets.load(known)
    message = str(caught.value)
    assert f"python -m gravity data import {known} FOLDER" in message
    assert f"cyizhuo/{KINDS[known].name.upper()}-dataset" in message


@pytest.mark.parametrize("wrong", ["nothing", "no folder", "another file"])
def test_a_folder_without_a_copy_is_refused(wrong, small, known, tmp_path):
    folder = tmp_path / "folder"
    if wrong != "no folder":
        folder.mkdir()
    if wrong == "another file":
        (folder / "cifar.zip").write_bytes(b"")
    with pytest.raises(datasets.DatasetError) as caught:
        datasets.import_copy(known, folder)
    name = Path(datasets.DATASETS[known].files[0].path).name
    assert name in str(caught.value)
    assert str(caught.value).endswith(
        "Received: " + {"another file": "cifar.zip"}.get(wrong, wrong)
    )


def test_only_datasets_with_files_are_imported(tmp_path):
    with pytest.raises(ValueError, match="must be a dataset that consists of files"):
        datasets.import_copy("digits", tmp_path)


# The real images.

REAL = ROOT.parent / "shared" / "data"
needs_real = pytest.mark.skipif(
    not REAL.is_dir(), reason=f"the real images aren't there ({REAL})"
)


@needs_real
def test_real_mnist_is_imported(tmp_path):
    paths = datasets.import_copy("mnist", REAL / "mnist", cache=tmp_path)
    mnist = datasets.load("mnist", cache=tmp_path)
    assert len(paths) == 4
    # LeCun's page: the first labels, and how many there are of each.
    assert mnist.y_train[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    assert np.bincount(mnist.y_test).tolist() == [
        *(980, 1135, 1032, 1010, 982),
        *(892, 958, 1028, 974, 1009),
    ]
    # Mean and deviation that everybody normalizes with.
    assert mnist.x_train.mean(dtype=float) == pytest.approx(0.1307, abs=5e-5)
    assert mnist.x_train.std(dtype=float) == pytest.approx(0.3081, abs=5e-5)


@needs_real
def test_one_wrong_file_of_mnist_is_named(tmp_path):
    copy = Path(shutil.copytree(REAL / "mnist", tmp_path / "mnist"))
    path = copy / "t10k-labels-idx1-ubyte.gz"
    path.chmod(0o644)
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    with pytest.raises(datasets.DatasetError, match=r"t10k-labels\S+ is not the offic"):
        datasets.import_copy("mnist", copy, cache=tmp_path / "cache")
    path.unlink()
    with pytest.raises(datasets.DatasetError, match="must hold, for MNIST"):
        datasets.import_copy("mnist", copy, cache=tmp_path / "cache")
    assert not (tmp_path / "cache").exists()


def test_superclasses_are_the_official_ones():
    facts = cifar.CIFAR100.facts
    names = dict(zip(facts["classes"], facts["superclasses"], strict=True))
    assert np.bincount(facts["superclasses"]).tolist() == [5] * 20
    # From the table on the dataset's page.
    for number, classes in {
        0: "beaver dolphin otter seal whale",
        6: "bed chair couch table wardrobe",
        14: "baby boy girl man woman",
        18: "bicycle bus motorcycle pickup_truck train",
        19: "lawn_mower rocket streetcar tank tractor",
    }.items():
        assert {names[each] for each in classes.split()} == {number}
    if REAL.is_dir():
        table = json.loads((REAL / "cifar100" / "superclasses.json").read_bytes())
        assert names == table["of_class"]


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory):
    """The real pictures, unpacked in an environment with a JPEG XL decoder."""
    folder = tmp_path_factory.mktemp("pictures")
    venv = folder / "venv"
    python = venv / "bin" / "python"
    subprocess.run([sys.executable, "-m", "venv", venv], check=True)
    pip = [python, "-m", "pip", "install", "-q", "--disable-pip-version-check"]
    subprocess.run([*pip, "imagecodecs", "numpy", "pillow"], check=True)
    subprocess.run([python, REAL / "unpack.py", folder], check=True)
    return folder


@needs_real
@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_real_pictures_and_their_archive_are_one_dataset(kind, unpacked, tmp_path):
    folder = unpacked / kind.removesuffix("_fine")
    (kept,) = datasets.import_copy(kind, folder, cache=tmp_path)
    dataset = datasets.load(kind, cache=tmp_path)
    # Training mean and deviation that everybody normalizes with.
    mean, deviation = {
        "cifar10": [(0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)],
        "cifar100_fine": [(0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762)],
    }[kind]
    x = dataset.x_train
    np.testing.assert_allclose(x.mean((0, 1, 2), dtype=float), mean, atol=1e-4)
    np.testing.assert_allclose(x.std((0, 1, 2), dtype=float), deviation, atol=1e-4)

    classes = list(KINDS[kind].facts["classes"])
    arrays = []
    for part in ("train", "test"):
        paths = sorted((folder / part).glob("*/*.png"))
        order = np.random.default_rng(0).permutation(len(paths))
        paths = [paths[number] for number in order]
        arrays += [
            np.stack([np.array(Image.open(path)) for path in paths]),
            np.array([classes.index(path.parent.name) for path in paths]),
        ]
    rows = cifar.read_archive(archive_of(kind, arrays), cifar=KINDS[kind])
    assert rows.tobytes() == kept.read_bytes()
