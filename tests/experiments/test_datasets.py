"""`datasets`: real idx files, a real HTTP server, and the real images."""

import codecs
import contextlib
import gzip
import hashlib
import importlib.util
import io
import json
import os
import pickle
import pickletools
import re
import socket
import struct
import subprocess
import sys
import tarfile
import termios
import threading
import tracemalloc
import warnings
from dataclasses import FrozenInstanceError, dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import make_datasets
import numpy as np
import pytest

from gravity.__main__ import main
from gravity.experiments import cifar, datasets, files, mnist, text

ROOT = Path(__file__).resolve().parents[2]
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


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def in_one_order(x, y):
    """Images with their labels, sorted by both."""
    order = sorted(range(len(x)), key=lambda i: (x[i].tolist(), y[i]))
    return x[order], y[order]


@dataclass
class Source:
    """A small dataset in files of the official format."""

    name: str
    base: datasets.Spec
    arrays: tuple
    contents: list

    @property
    def paths(self):
        return [file.path for file in self.base.files]

    @property
    def files(self):
        """The files' contents by the last part of their paths."""
        names = [Path(path).name for path in self.paths]
        return dict(zip(names, self.contents, strict=True))

    @property
    def first(self):
        return next(iter(self.files))

    @property
    def last(self):
        return list(self.files)[-1]

    def put(self, cache, changes=None):
        """Write the files where a cache folder has them."""
        return put((cache / self.paths[0]).parent, {**self.files, **(changes or {})})

    def spec(self, *bases, installed=None, content=True):
        return replace(
            self.base,
            alternative=None,
            converted=None,
            pictures=None,
            train_size=len(self.arrays[1]),
            test_size=len(self.arrays[3]),
            files=tuple(
                files.File(
                    path=path,
                    urls=tuple(f"{base}/{name}" for base in bases),
                    sha256=sha256(data),
                    content_sha256=sha256(gzip.decompress(data))
                    if content and name.endswith("ubyte.gz")
                    else "",
                    installed=installed and installed / name,
                )
                for path, (name, data) in zip(
                    self.paths, self.files.items(), strict=True
                )
            ),
        )

    def assert_loaded(self, dataset):
        x_train, y_train, x_test, y_test = self.arrays
        for x, y, images, labels in (
            (dataset.x_train, dataset.y_train, x_train, y_train),
            (dataset.x_test, dataset.y_test, x_test, y_test),
        ):
            assert x.dtype == np.float32
            assert x.flags.c_contiguous
            assert x.shape == (len(images), *self.base.shape)
            assert y.dtype == np.int32
            x = x.reshape(images.shape) * np.float32(255)
            if self.base.convert:
                # CIFAR's order is its own; another test looks at it.
                (x, y), (images, labels) = (
                    in_one_order(x, y),
                    in_one_order(images, labels),
                )
            np.testing.assert_array_equal(x, images)
            np.testing.assert_array_equal(y, labels)


def make_source(kind):
    rng = np.random.default_rng(0)
    base = datasets.DATASETS[kind.removesuffix(".npz")]
    if "mnist" in kind:
        arrays = make_datasets.arrays(rng, 10, (28, 28))
        if kind == "mnist.npz":
            contents = [make_datasets.npz(*arrays)]
            return Source("mnist", base.alternative, arrays, contents)
        return Source(kind, base, arrays, make_datasets.idx_files(arrays))
    arrays = make_datasets.arrays(rng, base.classes, (32, 32, 3))
    if kind == "cifar10":
        members = make_datasets.cifar10_members(*arrays)
    else:
        x_train, y_train, x_test, y_test = arrays
        # The other labels are wrong everywhere.
        y = {kind: (y_train, y_test)}
        coarse_train, coarse_test = y.get("cifar100_coarse", (y_train + 1, y_test + 1))
        fine_train, fine_test = y.get("cifar100_fine", (y_train + 1, y_test + 1))
        members = make_datasets.cifar100_members(
            x_train, coarse_train, fine_train, x_test, coarse_test, fine_test
        )
    return Source(kind, base, arrays, [make_datasets.tar_gz(members)])


KINDS = (
    "fashion_mnist",
    "mnist",
    "mnist.npz",
    "cifar10",
    "cifar100_coarse",
    "cifar100_fine",
)


@pytest.fixture(scope="module", params=KINDS)
def source(request):
    return make_source(request.param)


ONE_FILE = pytest.mark.parametrize("source", ["mnist.npz", "cifar10"], indirect=True)


@pytest.fixture(scope="module")
def fashion_mnist():
    return make_source("fashion_mnist")


@dataclass
class Server:
    """Serves `files` under each of the paths in `manners`, with those manners."""

    files: dict
    manners: dict = field(default_factory=dict)
    requests: list = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)
    both: threading.Barrier = field(default_factory=lambda: threading.Barrier(2))
    closing: threading.Event = field(default_factory=threading.Event)
    url: str = ""

    def asked(self, path):
        return self.requests.count(path)


class Handler(BaseHTTPRequestHandler):
    def log_message(self, *arguments):
        pass

    def do_GET(self):
        server = self.server.state
        _, mirror, name = self.path.split("/")
        manner = server.manners.get(mirror, "good")
        with server.lock:
            server.requests.append(self.path)
            times = server.asked(self.path)
        data = server.files[name]
        if manner == "missing":
            self.send_error(404)
            return
        if manner == "together" and times <= 2 and name == next(iter(server.files)):
            server.both.wait(60)
        if manner == "corrupt":
            data = data[:-20] + bytes([data[-20] ^ 1]) + data[-19:]
        if manner == "portal":
            data = b"<html>Please log in</html>"
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        sent = data
        if manner in ("cut", "stall") or (manner == "cut once" and times == 1):
            sent = data[: len(data) // 3]
        with contextlib.suppress(ConnectionError):
            self.wfile.write(sent)
            if manner == "stall":
                server.closing.wait(60)


@pytest.fixture
def server(source, monkeypatch):
    monkeypatch.setattr(files, "_RETRIES", 0)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        http.state = Server(source.files)
        http.state.url = f"http://127.0.0.1:{http.server_port}"
        thread = threading.Thread(target=http.serve_forever, args=(0.01,))
        thread.start()
        yield http.state
        http.state.closing.set()
        http.shutdown()
        thread.join()


@pytest.fixture
def refusing(monkeypatch):
    """The address of a port that nobody listens to."""
    monkeypatch.setattr(files, "_RETRIES", 0)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{closed.getsockname()[1]}"


@pytest.fixture
def load(monkeypatch, tmp_path):
    """Load a source's dataset into an empty cache; warnings are errors."""

    def load(spec, name="any"):
        monkeypatch.setitem(datasets.DATASETS, name, spec)
        return datasets.load(name, cache=tmp_path / "cache")

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
    assert server.requests == [f"/a/{name}" for name in source.files]
    source.assert_loaded(load(spec))
    assert len(server.requests) == len(source.files)


def test_other_users_can_read_the_cache(source, server, load, tmp_path):
    before = os.umask(0o022)
    try:
        load(source.spec(f"{server.url}/a"))
    finally:
        os.umask(before)
    modes = {path.stat().st_mode & 0o777 for path in (tmp_path / "cache").glob("*/*")}
    assert modes == {0o644}


@pytest.mark.parametrize("manner", ["corrupt", "portal", "missing"])
def test_takes_the_next_address_when_one_serves_something_else(
    manner, source, server, load, tmp_path
):
    server.manners["a"] = manner
    source.assert_loaded(load(source.spec(f"{server.url}/a", f"{server.url}/b")))
    assert cached(tmp_path) == source.files
    assert set(server.requests) == {
        f"/{mirror}/{name}" for mirror in "ab" for name in source.files
    }


def test_takes_the_next_address_when_one_refuses(
    source, server, refusing, load, tmp_path
):
    source.assert_loaded(load(source.spec(refusing, f"{server.url}/b")))
    assert cached(tmp_path) == source.files


@pytest.mark.parametrize(
    ("manner", "reason"),
    [
        ("cut", "IncompleteRead"),
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
    assert f"{server.url}/a/{source.first}" in str(caught.value)
    assert reason in str(caught.value)
    assert cached(tmp_path) == {}


def test_shows_progress(source, server, load, capsys):
    load(source.spec(f"{server.url}/a"))
    lines = capsys.readouterr().err.splitlines()
    assert lines == [f"Downloading {server.url}/a/{name}" for name in source.files]


@ONE_FILE
def test_tries_an_address_again(source, server, load, monkeypatch, tmp_path):
    monkeypatch.setattr(files, "_RETRIES", 1)
    server.manners["a"] = "cut once"
    source.assert_loaded(load(source.spec(f"{server.url}/a")))
    assert cached(tmp_path) == source.files
    assert server.requests == 2 * [f"/a/{source.first}"]


def test_draws_a_bar_on_a_terminal(source, server, load, monkeypatch):
    reader, writer = os.openpty()
    termios.tcsetwinsize(writer, (24, 80))
    with open(writer, "w") as terminal, monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", terminal)
        load(source.spec(f"{server.url}/a"))
    shown = b""
    with open(reader, "rb", buffering=0) as screen, contextlib.suppress(OSError):
        while part := screen.read(1 << 16):
            shown += part
    assert len(re.findall(r"100%\|█+\|", shown.decode())) >= len(source.files)


def test_offline_says_which_files_to_put_where(source, refusing, load, tmp_path):
    with pytest.raises(datasets.DatasetError) as caught:
        load(source.spec(refusing))
    message = str(caught.value)
    assert f"{source.base.title}: {tmp_path / 'cache'}" in message
    assert "is missing and could not be downloaded" in message
    assert "refused" in message
    for path, (name, data) in zip(source.paths, source.files.items(), strict=True):
        assert str(tmp_path / "cache" / path) in message
        assert f"{refusing}/{name}" in message
        assert sha256(data) in message
    source.put(tmp_path / "cache")
    source.assert_loaded(load(source.spec(refusing)))


DAMAGES = {
    "empty": lambda data: b"",
    "truncated": lambda data: data[: len(data) // 2],
    "shorter by the last byte": lambda data: data[:-1],
    "a flipped bit": lambda data: data[:50] + bytes([data[50] ^ 4]) + data[51:],
    "no such block": lambda data: data[:10] + b"\xff" + data[11:],
    "longer": lambda data: data + b"more",
    "not gzip": lambda data: gzip.decompress(data) if data[0] == 0x1F else data[4:],
    "other images": lambda data: gzip.compress(
        make_datasets.idx(np.zeros((40, 28, 28)))
    ),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_replaces_a_damaged_file(damage, source, server, load, tmp_path):
    folder = source.put(tmp_path / "cache")
    (folder / source.first).write_bytes(damage(source.files[source.first]))
    with pytest.warns(RuntimeWarning, match=f"{source.first} is damaged") as caught:
        source.assert_loaded(load(source.spec(f"{server.url}/a")))
    assert len(caught) == 1
    # The warning points at the line that asked for the images.
    assert caught[0].filename == __file__
    assert cached(tmp_path) == source.files
    assert server.requests == [f"/a/{source.first}"]


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_refuses_a_damaged_file_that_it_cannot_replace(
    damage, source, refusing, load, tmp_path
):
    folder = source.put(tmp_path / "cache")
    (folder / source.last).write_bytes(damage(source.files[source.last]))
    before = cached(tmp_path)
    with (
        pytest.warns(RuntimeWarning, match=f"{source.last} is damaged"),
        pytest.raises(
            datasets.DatasetError, match=f"{source.last} is damaged and could"
        ),
    ):
        load(source.spec(refusing))
    assert cached(tmp_path) == before


def test_accepts_files_compressed_anew(fashion_mnist, refusing, load, tmp_path):
    anew = {
        name: gzip.compress(gzip.decompress(data), 1, mtime=2)
        for name, data in fashion_mnist.files.items()
    }
    assert not set(anew.values()) & set(fashion_mnist.files.values())
    fashion_mnist.put(tmp_path / "cache", anew)
    fashion_mnist.assert_loaded(load(fashion_mnist.spec(refusing)))
    with (
        pytest.warns(RuntimeWarning, match=f"{NAMES[0]} is damaged"),
        pytest.raises(datasets.DatasetError, match=NAMES[0]),
    ):
        load(fashion_mnist.spec(refusing, content=False))


def test_uses_installed_files_where_they_are(source, refusing, load, tmp_path):
    installed = put(tmp_path / "installed", source.files)
    source.assert_loaded(load(source.spec(refusing, installed=installed)))
    assert not (tmp_path / "cache").exists()


def test_replaces_a_damaged_file_by_the_installed_one(source, refusing, load, tmp_path):
    installed = put(tmp_path / "installed", source.files)
    damaged = (tmp_path / "cache" / source.paths[-1]).parent
    put(damaged, {source.last: b"\0"})
    with pytest.warns(RuntimeWarning, match=str(damaged / source.last)):
        source.assert_loaded(load(source.spec(refusing, installed=installed)))
    assert cached(tmp_path) == {source.last: source.files[source.last]}


def test_downloads_instead_of_a_damaged_installed_file(source, server, load, tmp_path):
    installed = put(tmp_path / "installed", {**source.files, source.last: b"\0"})
    with pytest.warns(RuntimeWarning, match=str(installed / source.last)):
        source.assert_loaded(load(source.spec(f"{server.url}/a", installed=installed)))
    assert cached(tmp_path) == {source.last: source.files[source.last]}
    assert (installed / source.last).read_bytes() == b"\0"


LOAD_IN_ANOTHER_PROCESS = """
import hashlib, json, sys
from dataclasses import replace
from gravity.experiments import datasets, files
base, cache, name, digests = sys.argv[1:]
datasets.DATASETS[name] = replace(
    datasets.DATASETS[name],
    train_size=200,
    test_size=100,
    converted=None,
    files=tuple(
        files.File(path, (f"{base}/{path.split('/')[-1]}",), digest)
        for path, digest in json.loads(digests).items()
    ),
)
images = datasets.load(name, cache=cache).x_train
print(hashlib.sha256(b"".join(sorted(image.tobytes() for image in images))).hexdigest())
"""


@pytest.mark.parametrize("source", ["fashion_mnist", "cifar100_fine"], indirect=True)
def test_two_processes_at_once(source, server, tmp_path):
    # Neither gets its first file before both have asked for it.
    server.manners["a"] = "together"
    digests = dict(zip(source.paths, map(sha256, source.contents), strict=True))
    command = [sys.executable, "-c", LOAD_IN_ANOTHER_PROCESS, f"{server.url}/a"]
    command += [str(tmp_path / "cache"), source.name, json.dumps(digests)]
    processes = [
        subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    printed = [process.communicate(timeout=120)[0].strip() for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    images = (source.arrays[0] / 255).astype(np.float32)
    assert printed == [sha256(b"".join(sorted(map(bytes, images))))] * 2
    assert cached(tmp_path) == source.files
    assert server.asked(f"/a/{source.first}") == 2


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


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(files, "_TIMEOUT_SECONDS", 1.0)


@ONE_FILE
def test_takes_the_next_address_when_one_falls_silent(
    source, server, load, impatient, monkeypatch
):
    monkeypatch.setattr(files, "_RETRIES", 0)
    server.manners["a"] = "stall"
    source.assert_loaded(load(source.spec(f"{server.url}/a", f"{server.url}/b")))
    assert server.requests == [f"/{mirror}/{source.first}" for mirror in "ab"]


@pytest.fixture
def two_forms(server, refusing):
    """MNIST's specification: idx files that can't be had, and an npz file that can."""
    idx, npz = make_source("mnist"), make_source("mnist.npz")
    server.files = npz.files
    spec = replace(idx.spec(refusing), alternative=npz.spec(f"{server.url}/a"))
    return idx, npz, spec


def test_takes_another_form_of_the_same_images(two_forms, server, load, tmp_path):
    idx, npz, spec = two_forms
    dataset = load(spec)
    idx.assert_loaded(dataset)
    npz.assert_loaded(dataset)
    assert cached(tmp_path) == npz.files


@pytest.mark.parametrize("form", [0, 1])
def test_takes_the_form_that_is_there(form, two_forms, server, load, tmp_path):
    two_forms[form].put(tmp_path / "cache")
    two_forms[0].assert_loaded(load(two_forms[2]))
    assert server.requests == []
    paths = datasets.find("any", cache=tmp_path / "cache")
    assert [path.read_bytes() for path in paths] == two_forms[form].contents


def test_offline_names_the_files_of_every_form(two_forms, server, load):
    idx, npz, spec = two_forms
    server.manners["a"] = "missing"
    with pytest.raises(datasets.DatasetError) as caught:
        load(spec)
    for name in (*idx.files, *npz.files):
        assert f"{name}\n    from http" in str(caught.value)


def test_fetches_without_reading(source, server, load, tmp_path, monkeypatch):
    spec = source.spec(f"{server.url}/a")
    monkeypatch.setitem(datasets.DATASETS, "any", replace(spec, parse=None))
    cache = tmp_path / "cache"
    assert datasets.find("any", cache=cache) is None
    datasets.fetch("any", cache=cache)
    assert cached(tmp_path) == source.files
    assert datasets.find("any", cache=cache) == [cache / path for path in source.paths]
    (cache / source.paths[-1]).write_bytes(b"damaged")
    assert datasets.find("any", cache=cache) is None
    installed = put(tmp_path / "installed", source.files)
    spec = source.spec(f"{server.url}/a", installed=installed)
    monkeypatch.setitem(datasets.DATASETS, "any", spec)
    assert datasets.find("any", cache=cache)[-1] == installed / source.last


IMAGES = make_datasets.idx(np.arange(2 * 3 * 4).reshape(2, 3, 4))


def test_idx_files_are_read_as_written():
    expected = np.arange(2 * 3 * 4).reshape(2, 3, 4)
    np.testing.assert_array_equal(mnist._parse_idx(gzip.compress(IMAGES), 3), expected)


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
        mnist._parse_idx(gzip.compress(content), dimensions)


def test_generated_pickles_are_as_python_2_wrote_them():
    members = make_datasets.cifar10_members(*make_source("cifar10").arrays)
    codes = list(pickletools.genops(members["cifar-10-batches-py/data_batch_1"]))
    names = {code.name for code, _, _ in codes}
    assert codes[0][:2] == (pickletools.code2op["\x80"], 2)
    assert {"SHORT_BINSTRING", "BINSTRING"} <= names
    assert not [name for name in names if "UNICODE" in name or "BYTES" in name]
    assert {argument for code, argument, _ in codes if code.name == "GLOBAL"} == {
        "numpy.core.multiarray _reconstruct",
        "numpy ndarray",
        "numpy dtype",
    }


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_reads_pickled_arrays_of_any_protocol(protocol):
    batch = {
        b"labels": list(range(10)),
        b"data": np.arange(30720, dtype=np.uint8).reshape(10, 3072),
        b"filenames": [b"\xff.png"] * 10,
    }
    file = io.BytesIO(pickle.dumps(batch, protocol))
    if protocol == 5:
        # Made by a function that Python 2's pickles don't have.
        with pytest.raises(datasets.DatasetError, match=r"numpy\S+\._frombuffer"):
            cifar._read_batch(file, "x", (b"labels",))
        return
    rows = cifar._read_batch(file, "x", (b"labels",))
    np.testing.assert_array_equal(rows[:, 1:], batch[b"data"])
    assert rows[:, 0].tolist() == batch[b"labels"]


class Call:
    """Pickles as a call of any function."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def hostile_pickles(marker):
    touch = f"touch {marker}"
    return {
        "posix.system": pickle.dumps(Call(os.system, touch), 2),
        "subprocess.Popen": pickle.dumps(Call(subprocess.Popen, touch, -1, None), 4),
        "os.system": f"cos\nsystem\n(S'{touch}'\ntR.".encode(),
        "builtins.eval": pickle.dumps(Call(eval, f"open({str(marker)!r}, 'w')"), 4),
        "builtins.getattr": pickle.dumps(
            {b"data": Call(getattr, np.ndarray, "tofile")}, 4
        ),
        "numpy.load": pickle.dumps({b"data": Call(np.load, str(marker))}, 2),
        "numpy.ndarray.tofile": b"\x80\x04\x8c\x05numpy\x8c\x0endarray.tofile\x93.",
        "numpy.ndarray.": b"\x80\x04\x8c\x05numpy\x8c\x08ndarray.\x93.",
        "bytes in a pickle must be latin1": pickle.dumps(
            Call(codecs.encode, "data", "os_system"), 2
        ),
    }


@pytest.mark.parametrize("named", hostile_pickles("x"))
def test_calls_nothing_that_a_pickle_names(named, refusing, load, tmp_path):
    marker = tmp_path / "executed"
    source = make_source("cifar10")
    members = make_datasets.cifar10_members(*source.arrays)
    name = "cifar-10-batches-py/data_batch_3"
    members[name] = hostile_pickles(marker)[named]
    # The checksum is that of the hostile file: the unpickler alone stands in its way.
    source.contents = [make_datasets.tar_gz(members)]
    source.put(tmp_path / "cache")
    with pytest.raises(datasets.DatasetError, match=f"(?i){re.escape(named)}"):
        load(source.spec(refusing))
    assert not marker.exists()


def test_hostile_pickles_would_do_harm(tmp_path):
    pickle.loads(hostile_pickles(tmp_path / "executed")["posix.system"])
    assert (tmp_path / "executed").exists()


def test_reads_no_pickle_before_its_checksum_matched(source, refusing, load, tmp_path):
    damaged = {source.first: pickle.dumps(Call(os.system, f"touch {tmp_path / 'x'}"))}
    source.put(tmp_path / "cache", damaged)
    spec = replace(source.spec(refusing), parse=lambda *files: pickle.loads(files[0]))
    with (
        pytest.warns(RuntimeWarning, match="damaged"),
        pytest.raises(datasets.DatasetError, match="could not be downloaded"),
    ):
        load(spec)
    assert not (tmp_path / "x").exists()


def tar_of(*members):
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as archive:
        for name, kind, content in members:
            member = tarfile.TarInfo(name)
            member.type = kind
            if kind == tarfile.REGTYPE:
                member.size = len(content)
            else:
                member.linkname = content
            archive.addfile(member, io.BytesIO(content) if member.size else None)
    return file.getvalue()


TRAIN, TEST = "cifar-100-python/train", "cifar-100-python/test"


def fine_members():
    source = make_source("cifar100_fine")
    x_train, y_train, x_test, y_test = source.arrays
    members = make_datasets.cifar100_members(
        x_train, y_train // 5, y_train, x_test, y_test // 5, y_test
    )
    return source, members[TRAIN], members[TEST]


def test_paths_in_an_archive_do_not_matter(refusing, load, tmp_path):
    source, train, test = fine_members()
    outside = tmp_path / "outside"
    file = tarfile.REGTYPE
    source.contents = [
        tar_of(
            (TRAIN, file, train),
            ("../outside", file, b"x"),
            ("../../outside", file, b"x"),
            (str(outside), file, b"x"),
            ("cifar-100-python/../../../outside", file, b"x"),
            ("link", tarfile.SYMTYPE, str(tmp_path)),
            ("link/outside", file, b"x"),
            ("hard", tarfile.LNKTYPE, "/etc/passwd"),
            ("device", tarfile.CHRTYPE, ""),
            ("pipe", tarfile.FIFOTYPE, ""),
            (f"../{TRAIN}", file, b"x"),
            (f"/{TRAIN}", file, b"x"),
            (f"./{TRAIN}", file, b"x"),
            (TEST, file, test),
        )
    ]
    source.put(tmp_path / "cache")
    source.assert_loaded(load(source.spec(refusing)))
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [
        tmp_path / "cache" / source.paths[0]
    ]


@pytest.mark.parametrize(
    ("name", "kind", "content"),
    [
        (TRAIN, tarfile.SYMTYPE, TEST),
        (TRAIN, tarfile.SYMTYPE, "/etc/passwd"),
        (TRAIN, tarfile.LNKTYPE, TEST),
        (TRAIN, tarfile.DIRTYPE, ""),
        (f"../{TRAIN}", tarfile.REGTYPE, None),
        (f"/{TRAIN}", tarfile.REGTYPE, None),
        ("train", tarfile.REGTYPE, None),
    ],
)
def test_refuses_an_archive_without_the_very_files(
    name, kind, content, refusing, load, tmp_path
):
    source, train, test = fine_members()
    content = train if content is None else content
    source.contents = [tar_of((TEST, tarfile.REGTYPE, test), (name, kind, content))]
    source.put(tmp_path / "cache")
    with pytest.raises(datasets.DatasetError, match=f"Missing: {TRAIN}$"):
        load(source.spec(refusing))


PICKLE = make_datasets.python2_pickle
ROWS = np.zeros((4, 3072), np.uint8)
BAD_BATCHES = {
    "no dictionary": PICKLE([1, 2]),
    "no images": PICKLE({b"labels": [1]}),
    "other labels": PICKLE({b"data": ROWS, b"fine_labels": [1] * 4}),
    "too few labels": PICKLE({b"data": ROWS, b"labels": [1] * 3}),
    "a label below 0": PICKLE({b"data": ROWS, b"labels": [1, 1, 1, -1]}),
    "a label of 256": PICKLE({b"data": ROWS, b"labels": [1, 1, 1, 256]}),
    "short rows": PICKLE({b"data": ROWS[:, 1:], b"labels": [1] * 4}),
    "flat": PICKLE({b"data": ROWS.ravel(), b"labels": [1] * 4}),
    "floats": PICKLE({b"data": ROWS.astype("f4"), b"labels": [1] * 4}),
    "a list": PICKLE({b"data": ROWS.tolist(), b"labels": [1] * 4}),
}


@pytest.mark.parametrize("content", BAD_BATCHES.values(), ids=BAD_BATCHES)
def test_refuses_a_batch_that_is_not_as_expected(content):
    with pytest.raises(datasets.DatasetError, match="batch_7 must hold a dictionary"):
        cifar._read_batch(io.BytesIO(content), "batch_7", (b"labels",))


@pytest.mark.parametrize("kind", ["cifar10", "mnist.npz"])
@pytest.mark.parametrize("content", [b"", b"\x1f\x8b", b"PK\3\4", b"text"])
def test_refuses_a_file_of_another_format(kind, content, refusing, load, tmp_path):
    source = make_source(kind)
    source.contents = [content] * len(source.paths)
    source.put(tmp_path / "cache")
    with pytest.raises(datasets.DatasetError):
        load(source.spec(refusing, content=False))


def test_refuses_an_npz_file_with_pickled_objects(refusing, load, tmp_path):
    marker = tmp_path / "executed"
    source = make_source("mnist.npz")
    file = io.BytesIO()
    hostile = np.array([Call(os.system, f"touch {marker}")], dtype=object)
    np.savez(file, x_train=hostile, y_train=hostile, x_test=hostile, y_test=hostile)
    source.contents = [file.getvalue()]
    source.put(tmp_path / "cache")
    with pytest.raises(datasets.DatasetError, match="Object arrays cannot be loaded"):
        load(source.spec(refusing))
    assert not marker.exists()


def test_coarse_and_fine_are_the_same_images(refusing, load, tmp_path):
    fine = make_source("cifar100_fine")
    x_train, y_train, x_test, y_test = fine.arrays
    members = make_datasets.cifar100_members(
        x_train, y_train // 5, y_train, x_test, y_test // 5, y_test
    )
    fine.contents = [make_datasets.tar_gz(members)]
    fine.put(tmp_path / "cache")
    fine.assert_loaded(load(fine.spec(refusing)))
    coarse = replace(
        fine,
        base=datasets.DATASETS["cifar100_coarse"],
        arrays=(x_train, y_train // 5, x_test, y_test // 5),
    )
    assert coarse.paths == fine.paths
    coarse.assert_loaded(load(coarse.spec(refusing)))


@pytest.mark.parametrize("kind", ["mnist", "mnist.npz", "cifar10"])
def test_holds_one_copy_of_the_floats(kind):
    source = make_source(kind)
    repeats = 50
    x_train, y_train, x_test, y_test = source.arrays
    many = [np.repeat(x_train, repeats, axis=0), np.repeat(y_train, repeats)]
    if kind == "cifar10":
        made = make_datasets.cifar10_members(*many, x_test, y_test)
        contents = [make_datasets.tar_gz(made)]
    elif kind == "mnist":
        contents = make_datasets.idx_files([*many, x_test, y_test])
    else:
        contents = [make_datasets.npz(*many, x_test, y_test)]
    tracemalloc.start()
    if source.base.convert:
        rows = source.base.convert(*contents)
        arrays = source.base.parse(rows, train_size=repeats * len(x_train))
    else:
        arrays = source.base.parse(*contents)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    floats = sum(array.nbytes for array in arrays)
    assert len(arrays[0]) == repeats * len(x_train)
    # The bytes are a quarter of the floats; their copies come and go.
    assert peak < 1.8 * floats


@pytest.mark.parametrize(
    "change",
    [
        {"train_size": 199},
        {"test_size": 101},
        {"shape": (28, 28, 3)},
        {"classes": 9},
        {"classes": 11},
    ],
)
def test_refuses_arrays_that_are_not_as_specified(
    change, source, refusing, load, tmp_path
):
    source.put(tmp_path / "cache")
    expected = f"{re.escape(source.base.title)} must have"
    with pytest.raises(datasets.DatasetError, match=expected):
        load(replace(source.spec(refusing), **change))


def test_default_cache(fashion_mnist, monkeypatch, tmp_path):
    monkeypatch.setitem(
        datasets.DATASETS, "fashion_mnist", fashion_mnist.spec("http://127.0.0.1:9")
    )
    monkeypatch.setattr(files, "_RETRIES", 0)
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
        fashion_mnist.put(folder)
        fashion_mnist.assert_loaded(datasets.load("fashion_mnist"))
        monkeypatch.delenv(variable)


def test_refuses_an_unknown_name():
    with pytest.raises(ValueError, match="digits, mnist, fashion_mnist") as caught:
        datasets.load("fashion")
    assert "`name`" in str(caught.value)
    assert "name='fashion'" in str(caught.value)


# Table 3 as printed, with K for a thousand: training and test images, classes, shape,
# images of a class.
TABLE_3 = {
    "mnist": ("60 K", "10 K", 10, (28, 28, 1), "6 K"),
    "fashion_mnist": ("60 K", "10 K", 10, (28, 28, 1), "6 K"),
    "cifar10": ("50 K", "10 K", 10, (32, 32, 3), "5 K"),
    "cifar100_coarse": ("50 K", "10 K", 20, (32, 32, 3), "2.5 K"),
    "cifar100_fine": ("50 K", "10 K", 100, (32, 32, 3), "500"),
}


def test_datasets_are_table_3s():
    assert list(datasets.DATASETS) == ["digits", *TABLE_3, "topics"]

    def number(printed):
        digits, *thousand = printed.split()
        return float(digits) * (1000 if thousand == ["K"] else 1)

    for name, (train, test, classes, shape, per_class) in TABLE_3.items():
        spec = datasets.DATASETS[name]
        assert (spec.train_size, spec.test_size) == (number(train), number(test))
        assert (spec.classes, spec.shape) == (classes, shape)
        assert spec.train_size / spec.classes == number(per_class)
        assert spec.data == "official"


# The beginnings of the checksums that `sha256sum` prints for the official files.
CHECKSUMS = {
    "mnist/train-images-idx3-ubyte.gz": "440fcabf73cc546f",
    "mnist/train-labels-idx1-ubyte.gz": "3552534a0a558bbe",
    "mnist/t10k-images-idx3-ubyte.gz": "8d422c7b0a1c1c79",
    "mnist/t10k-labels-idx1-ubyte.gz": "f7ae60f92e00ec6d",
    "fashion_mnist/train-images-idx3-ubyte.gz": "3aede38d61863908",
    "fashion_mnist/train-labels-idx1-ubyte.gz": "a04f17134ac03560",
    "fashion_mnist/t10k-images-idx3-ubyte.gz": "346e55b948d973a9",
    "fashion_mnist/t10k-labels-idx1-ubyte.gz": "67da17c76eaffca5",
    "cifar-10/cifar-10-python.tar.gz": "6d958be074577803",
    "cifar-100/cifar-100-python.tar.gz": "85cd44d02ba64377",
}
OFFICIAL_HOSTS = {
    "mnist": "storage.googleapis.com",
    "fashion_mnist": "fashion-mnist.s3-website.eu-central-1.amazonaws.com",
    "cifar-10": "www.cs.toronto.edu",
    "cifar-100": "www.cs.toronto.edu",
}


def test_every_file_has_two_hosts_and_its_checksum():
    files = {
        file.path: file for spec in datasets.DATASETS.values() for file in spec.files
    }
    assert list(files) == list(CHECKSUMS)
    for path, file in files.items():
        folder, name = path.split("/")
        hosts = [urlsplit(url).hostname for url in file.urls]
        assert hosts[0] == OFFICIAL_HOSTS[folder]
        assert len(set(hosts)) == len(hosts) == 2
        assert all(urlsplit(url).path.endswith(f"/{name}") for url in file.urls)
        assert len(file.sha256) == 64
        assert file.sha256.startswith(CHECKSUMS[path])


@pytest.mark.parametrize(
    ("module", "form"),
    [
        ("mnist", datasets.DATASETS["mnist"].alternative),
        ("cifar10", datasets.DATASETS["cifar10"]),
        ("cifar100", datasets.DATASETS["cifar100_fine"]),
    ],
)
def test_keras_has_the_same_file(module, form):
    keras = Path(importlib.util.find_spec("keras").origin).parent
    source = (keras / "src" / "datasets" / f"{module}.py").read_text()
    (file,) = form.files
    assert file.sha256 in source
    folder, name = file.urls[0].rsplit("/", 1)
    assert folder in source
    assert name in source


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
        assert files._fetch(alone, spec.title, spec.files, tmp_path) == official


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
        "import sys, gravity.experiments.datasets; "
        "sys.exit(bool({'keras', 'sklearn', 'tensorflow'} & set(sys.modules)))"
    )
    subprocess.run([sys.executable, "-c", script], check=True, cwd=ROOT)


def test_command_line_fetches_and_lists(source, server, monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("GRAVITY_DATA", str(tmp_path / "cache"))
    spec = source.spec(f"{server.url}/a")
    monkeypatch.setattr(
        datasets,
        "DATASETS",
        {
            "digits": datasets.DATASETS["digits"],
            "other": replace(spec, title="Other", files=(files.File("x", (), ""),)),
            "any": spec,
        },
    )

    def listed(*words):
        assert main(["data", *words]) == 0
        return [line.split() for line in capsys.readouterr().out.splitlines()]

    title = source.base.title.split()
    assert listed() == [
        ["digits", "Digits", "comes", "with", "a", "package"],
        ["other", "Other", "missing"],
        ["any", *title, "missing"],
    ]
    assert server.requests == []
    folder = str((tmp_path / "cache" / source.paths[0]).parent)
    assert listed("fetch", "any") == [["any", *title, folder]]
    assert cached(tmp_path) == source.files
    assert listed()[-1] == ["any", *title, folder]
    assert len(server.requests) == len(source.files)


def test_command_line_says_what_is_missing(refusing, monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("GRAVITY_DATA", str(tmp_path / "cache"))
    spec = make_source("cifar10").spec(refusing)
    monkeypatch.setitem(datasets.DATASETS, "cifar10", spec)
    assert main(["data", "fetch", "cifar10"]) == 1
    assert str(tmp_path / "cache" / spec.files[0].path) in capsys.readouterr().err
    assert main(["data", "fetch", "imagenet"]) == 1
    assert "`name` must be one of digits, mnist" in capsys.readouterr().err


@pytest.fixture(scope="module")
def manifest(tmp_path_factory):
    return make_datasets.write(tmp_path_factory.mktemp("generated"))


def generated(manifest):
    return datasets._with_generated(datasets.OFFICIAL_DATASETS, str(manifest))


def test_official_datasets_need_no_manifest():
    assert (
        datasets._with_generated(datasets.OFFICIAL_DATASETS, None)
        is datasets.OFFICIAL_DATASETS
    )
    assert (
        datasets._with_generated(datasets.OFFICIAL_DATASETS, "")
        is datasets.OFFICIAL_DATASETS
    )


def test_generated_datasets_load_and_say_so(manifest, monkeypatch, tmp_path):
    specs = generated(manifest)
    monkeypatch.setattr(datasets, "DATASETS", specs)
    assert list(specs) == list(datasets.OFFICIAL_DATASETS)
    assert specs["digits"] is datasets.OFFICIAL_DATASETS["digits"]
    before = sorted(manifest.parent.rglob("*"))
    for name in TABLE_3:
        official = datasets.OFFICIAL_DATASETS[name]
        dataset = datasets.load(name, cache=tmp_path / "cache")
        assert dataset.x_train.shape == (200, *official.shape)
        assert dataset.x_test.shape == (100, *official.shape)
        assert dataset.classes == official.classes
        assert specs[name].title == f"{official.title} (generated)"
        assert re.fullmatch("generated-[0-9a-f]{12}", specs[name].data)
    # They stay where they are, and nothing is asked of the network.
    assert not (tmp_path / "cache").exists()
    assert sorted(manifest.parent.rglob("*")) == before
    assert not any(file.urls for name in TABLE_3 for file in specs[name].files)
    assert not any(specs[name].alternative for name in TABLE_3)


def test_environment_names_the_manifest(manifest):
    script = (
        "from gravity.experiments import datasets;"
        "d = datasets.load('cifar100_coarse');"
        "print(datasets.DATASETS['cifar100_coarse'].title, len(d.x_train))"
    )
    environment = {**os.environ, "GRAVITY_DATA_MANIFEST": str(manifest)}
    printed = subprocess.run(
        [sys.executable, "-c", script],
        env=environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert printed == "CIFAR-100 (coarse) (generated) 200\n"


def test_generated_files_are_made_alike_and_differ_by_seed(manifest, tmp_path):
    again = make_datasets.write(tmp_path / "again")
    other = make_datasets.write(tmp_path / "other", seed=1)
    assert again.read_bytes() == manifest.read_bytes()
    for name in TABLE_3:
        assert generated(again)[name].data == generated(manifest)[name].data
        assert generated(other)[name].data != generated(manifest)[name].data


@pytest.mark.filterwarnings("ignore:.*damaged and not used:RuntimeWarning")
@pytest.mark.parametrize("damage", ["missing", "damaged"])
def test_generated_files_are_checked(damage, monkeypatch, tmp_path):
    manifest = make_datasets.write(tmp_path / "generated")
    file = manifest.parent / "cifar-10" / "cifar-10-python.tar.gz"
    file.unlink() if damage == "missing" else file.write_bytes(b"x")
    monkeypatch.setattr(datasets, "DATASETS", generated(manifest))
    with pytest.raises(datasets.DatasetError, match=f"{file} is {damage}. It is not"):
        datasets.load("cifar10", cache=tmp_path / "cache")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"datasets": []}',
        '{"datasets": {"imagenet": {}}}',
        '{"datasets": {"mnist": {}}}',
        '{"datasets": {"mnist": {"train_size": 1, "test_size": 1, "files": {}}}}',
    ],
)
def test_refuses_a_bad_manifest(text, tmp_path):
    path = tmp_path / "manifest.json"
    path.write_text(text)
    with pytest.raises(datasets.DatasetError, match=f"{path} can't be read as a"):
        generated(path)


def test_refuses_a_manifest_that_is_not_there(tmp_path):
    with pytest.raises(datasets.DatasetError, match="No such file"):
        generated(tmp_path / "manifest.json")
    with pytest.raises(datasets.DatasetError, match="must be an absolute path"):
        generated("manifest.json")


def test_topics_are_the_help_without_its_repetitions():
    from pydoc_data.topics import topics

    whole = text.topics_text()
    paragraphs = whole.split("\n\n")
    assert len(paragraphs) == len(set(paragraphs))
    everything = "\n\n".join(topics[name] for name in sorted(topics))
    assert set(paragraphs) == set(everything.split("\n\n"))
    assert everything.startswith(whole[:1000])


def test_topics_reassemble_to_the_text_without_overlap():
    dataset = datasets.load("topics")
    spec = datasets.DATASETS["topics"]
    assert dataset.x_train.shape == dataset.y_train.shape == (5000, 64)
    assert dataset.x_test.shape == dataset.y_test.shape == (600, 64)
    assert (dataset.classes, spec.classes) == (97, 97)
    parts = (dataset.x_train, dataset.y_train, dataset.x_test, dataset.y_test)
    assert {part.dtype for part in parts} == {np.dtype("int32")}
    for x, y in (parts[:2], parts[2:]):
        np.testing.assert_array_equal(x[:, 1:], y[:, :-1])
    # The first 64 characters of each block, then the one after them.
    joined = "".join(
        text.decode_text(x) + text.decode_text(y[-1:])
        for x, y in zip(
            np.concatenate(parts[::2]), np.concatenate(parts[1::2]), strict=True
        )
    )
    whole = text.topics_text()[: 5600 * 65]
    ascii_only = re.sub(r"[^\n -~]", "�", whole)
    assert "�" in joined
    assert joined == ascii_only


def test_topics_test_text_is_not_in_the_training_text():
    dataset = datasets.load("topics")
    train = {sequence.tobytes() for sequence in dataset.x_train}
    assert not any(sequence.tobytes() in train for sequence in dataset.x_test)
    split = 5000 * 65
    whole = text.topics_text()
    seen = set(whole[:split].split("\n\n"))
    # The paragraph at the split is in neither part as a whole.
    assert not seen & set(whole[split : 5600 * 65].split("\n\n")[1:-1])


def test_topics_fingerprint_is_that_of_the_text():
    digest = sha256(text.topics_text().encode())
    assert datasets.DATASETS["topics"].data == f"text-{digest[:12]}"


def test_characters_without_a_class_share_one():
    np.testing.assert_array_equal(text.encode_text("\n ~é€A"), [0, 1, 95, 96, 96, 34])
    assert text.decode_text(np.array([34, 96, 0])) == "A�\n"


def test_text_too_short_or_missing_is_refused(monkeypatch):
    import pydoc_data.topics

    monkeypatch.setattr(pydoc_data.topics, "topics", {"a": "b"})
    with pytest.raises(
        datasets.DatasetError, match=r"have 364,000 characters. Received: 1$"
    ):
        datasets.load("topics")
    monkeypatch.setitem(sys.modules, "pydoc_data.topics", None)
    with pytest.raises(
        datasets.DatasetError, match=r"lacks the module pydoc_data\.topics"
    ):
        datasets.load("topics")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x, y: (x[:-1], y), r"5000 training sequences of 64 .*\(4999, 64\)"),
        (lambda x, y: (x, y[:, 1:]), r"5000 training sequences of 64 .*\(5000, 63\)"),
        (lambda x, y: (x, np.where(y == 1, 97, y)), r"0 to 96\. .*values 0 to 97"),
        (lambda x, y: (x - 1, y), r"0 to 96\. .*values -1 to 96"),
    ],
)
def test_wrong_text_is_refused(monkeypatch, change, message):
    spec = datasets.DATASETS["topics"]

    def parse():
        x_train, y_train, *test = spec.parse()
        return *change(x_train, y_train), *test

    monkeypatch.setitem(datasets.DATASETS, "topics", replace(spec, parse=parse))
    with pytest.raises(datasets.DatasetError, match=message):
        datasets.load("topics")
