"""`gravity.datasets`: real idx files, a real HTTP server, and the real images."""

import contextlib
import gzip
import hashlib
import json
import os
import socket
import struct
import subprocess
import sys
import threading
import warnings
from dataclasses import FrozenInstanceError, dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from gravity import datasets

ROOT = Path(__file__).resolve().parents[1]
DEBIAN = Path("/usr/share/datasets/fashion-mnist")
NAMES = (
    "train-images-idx3-ubyte.gz",
    "train-labels-idx1-ubyte.gz",
    "t10k-images-idx3-ubyte.gz",
    "t10k-labels-idx1-ubyte.gz",
)
needs_debian = pytest.mark.skipif(
    not all((DEBIAN / name).is_file() for name in NAMES),
    reason=f"Debian's package dataset-fashion-mnist isn't installed ({DEBIAN})",
)


def idx(array):
    """An array of bytes in the format of the idx files (LeCun et al., 1998)."""
    header = struct.pack(">HBB", 0, 0x08, array.ndim)
    header += b"".join(struct.pack(">I", size) for size in array.shape)
    return header + array.astype(">u1").tobytes()


def sha256(data):
    return hashlib.sha256(data).hexdigest()


@dataclass
class Source:
    """A small dataset in files of the official format."""

    arrays: tuple
    files: dict

    def spec(self, *bases, installed=None, content=True):
        return replace(
            datasets.DATASETS["fashion_mnist"],
            train_size=40,
            test_size=20,
            files=tuple(
                datasets.File(
                    path=f"fashion_mnist/{name}",
                    urls=tuple(f"{base}/{name}" for base in bases),
                    sha256=sha256(data),
                    content_sha256=sha256(gzip.decompress(data)) if content else "",
                    installed=installed and installed / name,
                )
                for name, data in self.files.items()
            ),
        )

    def assert_loaded(self, dataset):
        x_train, y_train, x_test, y_test = self.arrays
        for x, expected in ((dataset.x_train, x_train), (dataset.x_test, x_test)):
            assert x.dtype == np.float32
            np.testing.assert_array_equal(x[..., 0] * np.float32(255), expected)
        for y, expected in ((dataset.y_train, y_train), (dataset.y_test, y_test)):
            assert y.dtype == np.int32
            np.testing.assert_array_equal(y, expected)


@pytest.fixture(scope="module")
def source():
    rng = np.random.default_rng(0)
    arrays = (
        rng.integers(0, 256, (40, 28, 28)),
        rng.permutation(np.arange(40) % 10),
        rng.integers(0, 256, (20, 28, 28)),
        rng.permutation(np.arange(20) % 10),
    )
    files = {
        name: gzip.compress(idx(array), mtime=1)
        for name, array in zip(NAMES, arrays, strict=True)
    }
    return Source(arrays, files)


@dataclass
class Server:
    """Serves `files` under each of the paths in `manners`, with those manners."""

    files: dict
    manners: dict = field(default_factory=dict)
    requests: list = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)
    both: threading.Barrier = field(default_factory=lambda: threading.Barrier(2))
    url: str = ""

    def asked(self, path):
        return [wanted for asked, wanted in self.requests if asked == path]


class Handler(BaseHTTPRequestHandler):
    def log_message(self, *arguments):
        pass

    def do_GET(self):
        server = self.server.state
        _, mirror, name = self.path.split("/")
        manner = server.manners.get(mirror, "good")
        wanted = self.headers.get("Range")
        with server.lock:
            server.requests.append((self.path, wanted))
            times = len(server.asked(self.path))
        data = server.files[name]
        if manner == "missing":
            self.send_error(404)
            return
        if manner == "together" and times <= 2 and name == NAMES[0]:
            server.both.wait(60)
        if manner == "corrupt":
            data = data[:-20] + bytes([data[-20] ^ 1]) + data[-19:]
        if manner == "portal":
            data = b"<html>Please log in</html>"
        start = 0
        if wanted and manner != "no ranges":
            start = int(wanted.removeprefix("bytes=").removesuffix("-"))
            self.send_response(206)
            self.send_header(
                "Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}"
            )
        else:
            self.send_response(200)
        body = data[start:]
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if manner == "cut" or (manner in ("cut once", "no ranges") and times == 1):
            body = body[: len(body) // 3]
        self.wfile.write(body)


@pytest.fixture
def server(source, monkeypatch):
    monkeypatch.setattr(datasets, "_PAUSE_SECONDS", 0.0)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        http.state = Server(source.files)
        http.state.url = f"http://127.0.0.1:{http.server_port}"
        thread = threading.Thread(target=http.serve_forever, args=(0.01,))
        thread.start()
        yield http.state
        http.shutdown()
        thread.join()


@pytest.fixture
def refusing(monkeypatch):
    """The address of a port that nobody listens to."""
    monkeypatch.setattr(datasets, "_PAUSE_SECONDS", 0.0)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{closed.getsockname()[1]}"


@pytest.fixture
def load(monkeypatch, tmp_path):
    """Load a source's dataset into an empty cache; warnings are errors."""

    def load(spec):
        monkeypatch.setitem(datasets.DATASETS, "fashion_mnist", spec)
        return datasets.load("fashion_mnist", cache=tmp_path / "cache")

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield load


def cached(tmp_path):
    """What is in the cache folder."""
    return {path.name: path.read_bytes() for path in (tmp_path / "cache").glob("*/*")}


def put(folder, files):
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return folder


def test_downloads_once(source, server, load, tmp_path):
    spec = source.spec(f"{server.url}/a", f"{server.url}/b")
    source.assert_loaded(load(spec))
    assert cached(tmp_path) == source.files
    assert server.requests == [(f"/a/{name}", None) for name in NAMES]
    source.assert_loaded(load(spec))
    assert len(server.requests) == 4


def test_other_users_can_read_the_cache(source, server, load, tmp_path):
    before = os.umask(0o022)
    try:
        load(source.spec(f"{server.url}/a"))
    finally:
        os.umask(before)
    modes = {path.stat().st_mode & 0o777 for path in (tmp_path / "cache").glob("*/*")}
    assert modes == {0o644}


def test_goes_on_where_the_connection_broke(source, server, load, tmp_path):
    server.manners["a"] = "cut once"
    source.assert_loaded(load(source.spec(f"{server.url}/a", content=False)))
    assert cached(tmp_path) == source.files
    for name in NAMES:
        third = len(source.files[name]) // 3
        assert server.asked(f"/a/{name}") == [None, f"bytes={third}-"]


def test_starts_again_where_the_server_has_no_ranges(source, server, load, tmp_path):
    server.manners["a"] = "no ranges"
    source.assert_loaded(load(source.spec(f"{server.url}/a")))
    assert cached(tmp_path) == source.files
    assert len(server.asked(f"/a/{NAMES[0]}")) == 2


@pytest.mark.parametrize("manner", ["corrupt", "portal", "missing"])
def test_takes_the_next_address_when_one_serves_something_else(
    manner, source, server, load, tmp_path
):
    server.manners["a"] = manner
    source.assert_loaded(load(source.spec(f"{server.url}/a", f"{server.url}/b")))
    assert cached(tmp_path) == source.files
    assert {path for path, _ in server.requests} == {
        f"/{mirror}/{name}" for mirror in "ab" for name in NAMES
    }


def test_takes_the_next_address_when_one_refuses(
    source, server, refusing, load, tmp_path
):
    source.assert_loaded(load(source.spec(refusing, f"{server.url}/b")))
    assert cached(tmp_path) == source.files


@pytest.mark.parametrize(
    ("manner", "reason"),
    [
        ("cut", "broke off after"),
        ("corrupt", "wrong SHA-256"),
        ("portal", "wrong SHA-256 (26 bytes)"),
        ("missing", "404"),
    ],
)
def test_keeps_nothing_that_is_not_whole(
    manner, reason, source, server, load, tmp_path
):
    server.manners["a"] = manner
    with pytest.raises(datasets.DatasetError) as caught:
        load(source.spec(f"{server.url}/a"))
    assert f"{server.url}/a/{NAMES[0]}" in str(caught.value)
    assert reason in str(caught.value)
    assert cached(tmp_path) == {}


def test_shows_progress(source, server, load, capsys):
    load(source.spec(f"{server.url}/a"))
    lines = capsys.readouterr().err.splitlines()
    assert lines == [f"Downloading {server.url}/a/{name} (0.0 MB)" for name in NAMES]


def test_draws_a_bar_on_a_terminal(source, server, load, monkeypatch):
    reader, writer = os.openpty()
    with open(writer, "w") as terminal, monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", terminal)
        load(source.spec(f"{server.url}/a"))
    shown = b""
    with open(reader, "rb", buffering=0) as screen, contextlib.suppress(OSError):
        while part := screen.read(1 << 16):
            shown += part
    assert shown.decode().count(f"\r[{'█' * 40}]\r\n") == 4


def test_offline_says_which_files_to_put_where(source, refusing, load, tmp_path):
    with pytest.raises(datasets.DatasetError) as caught:
        load(source.spec(refusing))
    message = str(caught.value)
    assert f"Fashion-MNIST: {tmp_path / 'cache'}" in message
    assert "is missing and could not be downloaded" in message
    assert "refused" in message
    for name, data in source.files.items():
        assert str(tmp_path / "cache" / "fashion_mnist" / name) in message
        assert f"{refusing}/{name}" in message
        assert sha256(data) in message
    put(tmp_path / "cache" / "fashion_mnist", source.files)
    source.assert_loaded(load(source.spec(refusing)))


DAMAGES = {
    "empty": lambda data: b"",
    "truncated": lambda data: data[: len(data) // 2],
    "shorter by the last byte": lambda data: data[:-1],
    "a flipped bit": lambda data: data[:99] + bytes([data[99] ^ 4]) + data[100:],
    "no such block": lambda data: data[:10] + b"\xff" + data[11:],
    "longer": lambda data: data + b"more",
    "not gzip": gzip.decompress,
    "other images": lambda data: gzip.compress(idx(np.zeros((40, 28, 28)))),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_replaces_a_damaged_file(damage, source, server, load, tmp_path):
    folder = put(tmp_path / "cache" / "fashion_mnist", source.files)
    (folder / NAMES[0]).write_bytes(damage(source.files[NAMES[0]]))
    with pytest.warns(RuntimeWarning, match=f"{NAMES[0]} is damaged") as caught:
        source.assert_loaded(load(source.spec(f"{server.url}/a")))
    assert len(caught) == 1
    # The warning points at the line that asked for the images.
    assert caught[0].filename == __file__
    assert cached(tmp_path) == source.files
    assert server.requests == [(f"/a/{NAMES[0]}", None)]


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_refuses_a_damaged_file_that_it_cannot_replace(
    damage, source, refusing, load, tmp_path
):
    folder = put(tmp_path / "cache" / "fashion_mnist", source.files)
    (folder / NAMES[2]).write_bytes(damage(source.files[NAMES[2]]))
    before = cached(tmp_path)
    with (
        pytest.warns(RuntimeWarning, match=f"{NAMES[2]} is damaged"),
        pytest.raises(datasets.DatasetError, match=f"{NAMES[2]} is damaged and could"),
    ):
        load(source.spec(refusing))
    assert cached(tmp_path) == before


def test_accepts_files_compressed_anew(source, refusing, load, tmp_path):
    anew = {
        name: gzip.compress(gzip.decompress(data), 1, mtime=2)
        for name, data in source.files.items()
    }
    assert not set(anew.values()) & set(source.files.values())
    put(tmp_path / "cache" / "fashion_mnist", anew)
    source.assert_loaded(load(source.spec(refusing)))
    with (
        pytest.warns(RuntimeWarning, match=f"{NAMES[0]} is damaged"),
        pytest.raises(datasets.DatasetError, match=NAMES[0]),
    ):
        load(source.spec(refusing, content=False))


def test_uses_installed_files_where_they_are(source, refusing, load, tmp_path):
    installed = put(tmp_path / "installed", source.files)
    source.assert_loaded(load(source.spec(refusing, installed=installed)))
    assert not (tmp_path / "cache").exists()


def test_replaces_a_damaged_file_by_the_installed_one(source, refusing, load, tmp_path):
    installed = put(tmp_path / "installed", source.files)
    damaged = put(tmp_path / "cache" / "fashion_mnist", {NAMES[1]: b"\0"})
    with pytest.warns(RuntimeWarning, match=str(damaged / NAMES[1])):
        source.assert_loaded(load(source.spec(refusing, installed=installed)))
    assert cached(tmp_path) == {NAMES[1]: source.files[NAMES[1]]}


def test_downloads_instead_of_a_damaged_installed_file(source, server, load, tmp_path):
    installed = put(tmp_path / "installed", {**source.files, NAMES[3]: b"\0"})
    with pytest.warns(RuntimeWarning, match=str(installed / NAMES[3])):
        source.assert_loaded(load(source.spec(f"{server.url}/a", installed=installed)))
    assert cached(tmp_path) == {NAMES[3]: source.files[NAMES[3]]}
    assert (installed / NAMES[3]).read_bytes() == b"\0"


LOAD_IN_ANOTHER_PROCESS = """
import hashlib, json, sys
from dataclasses import replace
from gravity import datasets
base, cache, digests = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
datasets.DATASETS["fashion_mnist"] = replace(
    datasets.DATASETS["fashion_mnist"],
    train_size=40,
    test_size=20,
    files=tuple(
        datasets.File(f"fashion_mnist/{name}", (f"{base}/{name}",), digest)
        for name, digest in digests.items()
    ),
)
print(hashlib.sha256(datasets.load("fashion_mnist", cache=cache).x_train).hexdigest())
"""


def test_two_processes_at_once(source, server, tmp_path):
    # Neither gets its first file before both have asked for it.
    server.manners["a"] = "together"
    digests = {name: sha256(data) for name, data in source.files.items()}
    command = [sys.executable, "-c", LOAD_IN_ANOTHER_PROCESS, f"{server.url}/a"]
    command += [str(tmp_path / "cache"), json.dumps(digests)]
    processes = [
        subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    printed = [process.communicate(timeout=60)[0].strip() for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    images = (source.arrays[0] / 255).astype(np.float32)[..., np.newaxis]
    assert printed == [sha256(images.tobytes())] * 2
    assert cached(tmp_path) == source.files
    assert len(server.asked(f"/a/{NAMES[0]}")) == 2


def test_leaves_nothing_behind_when_the_disk_is_full(
    source, server, load, tmp_path, monkeypatch
):
    def full(self, data):
        with self.open("wb") as file:
            file.write(data[:10])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space left"):
        load(source.spec(f"{server.url}/a"))
    assert cached(tmp_path) == {}


IMAGES = idx(np.arange(2 * 3 * 4).reshape(2, 3, 4))


def test_idx_files_are_read_as_written():
    expected = np.arange(2 * 3 * 4).reshape(2, 3, 4)
    np.testing.assert_array_equal(
        datasets._parse_idx(gzip.compress(IMAGES), 3), expected
    )


@pytest.mark.parametrize(
    ("content", "dimensions"),
    [
        (b"", 3),
        (IMAGES[:3], 3),
        (IMAGES[:10], 3),
        (IMAGES[:16], 3),
        (IMAGES[:-1], 3),
        (IMAGES + b"\0", 3),
        (IMAGES, 1),
        (IMAGES, 2),
        (b"\1" + IMAGES[1:], 3),
        (b"\0\0\x09\3" + IMAGES[4:], 3),
        (IMAGES[:7] + b"\3" + IMAGES[8:], 3),
        (IMAGES[:4] + b"\x02\0\0\0" + IMAGES[8:], 3),
    ],
)
def test_refuses_an_idx_file_whose_header_is_not_as_expected(content, dimensions):
    with pytest.raises(datasets.DatasetError, match="idx file"):
        datasets._parse_idx(gzip.compress(content), dimensions)


@pytest.mark.parametrize(
    "change",
    [
        {"train_size": 39},
        {"test_size": 21},
        {"shape": (28, 28, 3)},
        {"classes": 9},
        {"classes": 11},
    ],
)
def test_refuses_arrays_that_are_not_as_specified(
    change, source, refusing, load, tmp_path
):
    put(tmp_path / "cache" / "fashion_mnist", source.files)
    with pytest.raises(datasets.DatasetError, match="Fashion-MNIST must have"):
        load(replace(source.spec(refusing), **change))


def test_default_cache(source, monkeypatch, tmp_path):
    monkeypatch.setitem(
        datasets.DATASETS, "fashion_mnist", source.spec("http://127.0.0.1:9")
    )
    monkeypatch.setattr(datasets, "_CONNECTIONS", 1)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.setenv("GRAVITY_DATA", str(tmp_path / "named"))
    for variable, folder in (
        ("GRAVITY_DATA", tmp_path / "named"),
        ("XDG_CACHE_HOME", tmp_path / "xdg" / "gravity"),
        ("HOME", tmp_path / "home" / ".cache" / "gravity"),
    ):
        with pytest.raises(datasets.DatasetError, match=str(folder)):
            datasets.load("fashion_mnist")
        put(folder / "fashion_mnist", source.files)
        source.assert_loaded(datasets.load("fashion_mnist"))
        monkeypatch.delenv(variable)


def test_refuses_an_unknown_name():
    with pytest.raises(ValueError, match="digits, fashion_mnist") as caught:
        datasets.load("fashion")
    assert "`name`" in str(caught.value)
    assert "name='fashion'" in str(caught.value)


def test_fashion_mnist_is_table_3s():
    spec = datasets.DATASETS["fashion_mnist"]
    assert (spec.shape, spec.classes) == ((28, 28, 1), 10)
    assert (spec.train_size, spec.test_size) == (60_000, 10_000)
    assert [Path(file.path).name for file in spec.files] == list(NAMES)
    for file in spec.files:
        name = Path(file.path).name
        assert file.urls[0] == (
            f"http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/{name}"
        )
        assert len({url.split("/")[2] for url in file.urls}) > 1
        assert all(url.endswith(f"/{name}") for url in file.urls)


@needs_debian
def test_real_fashion_mnist(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        dataset = datasets.load("fashion_mnist", cache=tmp_path / "cache")
    assert not (tmp_path / "cache").exists()
    # Table 3: 6,000 training images a class.
    assert np.bincount(dataset.y_train).tolist() == [6000] * 10
    assert np.bincount(dataset.y_test).tolist() == [1000] * 10
    assert dataset.x_train.shape == (60_000, 28, 28, 1)
    assert (dataset.x_train.min(), dataset.x_train.max()) == (0, 1)
    # Mean and deviation that many programs normalise these images with.
    assert dataset.x_train.mean(dtype=float) == pytest.approx(0.2860, abs=5e-5)
    assert dataset.x_train.std(dtype=float) == pytest.approx(0.3530, abs=5e-5)
    # The first test images: ankle boot, pullover, two trousers, shirt, …
    assert dataset.y_test[:10].tolist() == [9, 2, 1, 1, 6, 1, 4, 6, 5, 7]


# What `sha256sum` prints for the files of the official address, and the time, in
# seconds since 1970, in their gzip headers.
OFFICIAL = {
    NAMES[0]: (
        "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
        1504176606,
    ),
    NAMES[1]: (
        "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
        1504176606,
    ),
    NAMES[2]: (
        "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
        1504176627,
    ),
    NAMES[3]: (
        "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
        1504176627,
    ),
}


@needs_debian
def test_official_files_are_debians_but_for_the_gzip_header(tmp_path):
    """Rebuilt from Debian's, the official files have their published SHA-256."""
    spec = datasets.DATASETS["fashion_mnist"]
    for file, (name, (digest, seconds)) in zip(
        spec.files, OFFICIAL.items(), strict=True
    ):
        header = struct.pack("<BBBBIBB", 0x1F, 0x8B, 8, 8, seconds, 0, 3)
        stored_name = name.removesuffix(".gz").encode() + b"\0"
        official = header + stored_name + (DEBIAN / name).read_bytes()[10:]
        assert sha256(official) == digest
        put(tmp_path / "fashion_mnist", {name: official})
        alone = replace(file, content_sha256="", installed=None)
        assert datasets._fetch(alone, spec.title, spec.files, tmp_path) == official


def test_digits_are_scikit_learns():
    from sklearn.datasets import load_digits

    original = load_digits()
    dataset = datasets.load("digits")
    spec = datasets.DATASETS["digits"]
    assert (len(dataset.x_train), len(dataset.x_test)) == (1437, 360)
    assert (spec.train_size, spec.test_size) == (1437, 360)
    assert dataset.x_train.shape[1:] == spec.shape == (8, 8, 1)
    assert (dataset.classes, dataset.name) == (10, "digits")
    assert {dataset.x_train.dtype, dataset.x_test.dtype} == {np.dtype("float32")}
    assert {dataset.y_train.dtype, dataset.y_test.dtype} == {np.dtype("int32")}
    assert (dataset.x_train.min(), dataset.x_train.max()) == (0, 1)

    def rows(x, y):
        return sorted((*image, label) for image, label in zip(x, y, strict=True))

    x = np.concatenate([dataset.x_train, dataset.x_test]).reshape(1797, 64) * 16
    y = np.concatenate([dataset.y_train, dataset.y_test])
    assert rows(x.tolist(), y.tolist()) == rows(
        original.data.tolist(), original.target.tolist()
    )
    train = {image.tobytes() for image in dataset.x_train}
    assert not any(image.tobytes() in train for image in dataset.x_test)


DIGITS_TEST = "3c05733c55d710109b9a1878ea98f552bb9d33485cd2bddb57cbade1c3c55d6d"


def test_digits_split_is_stratified_and_fixed():
    dataset = datasets.load("digits")
    train, test = np.bincount(dataset.y_train), np.bincount(dataset.y_test)
    assert abs(test - (train + test) / 5).max() < 1
    # Part of what stored runs mean: this must never change.
    assert sha256((dataset.x_test * 16).astype(np.uint8).tobytes()) == DIGITS_TEST
    again = datasets.load("digits")
    for part in ("x_train", "y_train", "x_test", "y_test"):
        np.testing.assert_array_equal(getattr(dataset, part), getattr(again, part))


def test_digits_without_scikit_learn(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(datasets.DatasetError) as caught:
        datasets.load("digits")
    assert 'pip install "gravity-optimizer[digits]"' in str(caught.value)


def test_a_dataset_is_frozen():
    with pytest.raises(FrozenInstanceError):
        datasets.load("digits").classes = 3


def test_import_is_light():
    script = (
        "import sys, gravity.datasets; "
        "sys.exit(bool({'keras', 'sklearn', 'tensorflow'} & set(sys.modules)))"
    )
    subprocess.run([sys.executable, "-c", script], check=True, cwd=ROOT)
