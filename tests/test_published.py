"""`gravity.published`: archives from a real server, and the authors' own histories."""

import csv
import hashlib
import io
import json
import os
import re
import socket
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from gravity import datasets, published
from gravity.experiment import (
    PAPER_LEARNING_RATES,
    PAPER_OPTIMIZERS,
    paper_arguments,
)
from gravity.published import SOURCES, PublishedError
from gravity.runs import METRICS

ROOT = Path(__file__).resolve().parents[1]
REAL = Path(os.environ.get("GRAVITY_PUBLISHED") or ROOT.parent / "shared" / "published")
needs_real = pytest.mark.skipif(
    not (REAL / "summary.csv").is_file(),
    reason="the authors' histories aren't here (GRAVITY_PUBLISHED names their folder)",
)

RUN = ("cifar100_fine", "vgg19", "gravity")
HISTORY = {
    "loss": [2.5, 0.30000000000000004],
    "accuracy": [0.1, 1.0],
    "val_loss": [2.25, 1e-05],
    "val_accuracy": [0.125, 0.5],
}
HISTORY_CSV = (
    "epochs,loss,accuracy,val_loss,val_accuracy\n"
    "1,2.5,0.1,2.25,0.125\n"
    "2,0.30000000000000004,1.0,1e-05,0.5\n"
)
# The authors' program turned the model into JSON twice.
MODEL = json.dumps(json.dumps({"layers": [{"units": 4096}, {"units": 20}]}), indent=4)
MEMBERS = {
    "history.csv": HISTORY_CSV,
    "dataset.txt": "CIFAR100 (Fine)",
    "model_config.json": MODEL,
    "optimizer_config.json": json.dumps({"name": "Gravity", "learning_rate": 0.1}),
}


def archive(members):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as written:
        for name, text in members.items():
            written.writestr(name, text)
    return file.getvalue()


class Handler(BaseHTTPRequestHandler):
    def log_message(self, *arguments):
        pass

    def do_GET(self):
        self.server.requests.append(self.path)
        content = self.server.content
        if "/corrupt/" in self.path:
            content = content[:-1] + b"x"
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


@pytest.fixture
def server(monkeypatch):
    """Serves one archive in place of the authors' of `RUN`."""
    monkeypatch.setattr(datasets, "_PAUSE_SECONDS", 0.0)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.delenv("GRAVITY_PUBLISHED", raising=False)
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        http.requests = []

        def serve(content, *mirrors):
            http.content = content
            base = f"http://127.0.0.1:{http.server_port}"
            urls = tuple(f"{base}/{mirror}/" for mirror in mirrors or ["good"])
            monkeypatch.setattr(published, "_URLS", urls)
            name, _ = SOURCES[RUN]
            digest = hashlib.sha256(content).hexdigest()
            monkeypatch.setitem(SOURCES, RUN, (name, digest))

        http.serve = serve
        thread = threading.Thread(target=http.serve_forever, args=(0.01,))
        thread.start()
        yield http
        http.shutdown()
        thread.join()


def test_reads_an_archive_as_the_authors_wrote_it(server, tmp_path):
    server.serve(archive(MEMBERS))
    for _ in range(2):
        run = published.load(*RUN, cache=tmp_path)
        assert (run.dataset, run.architecture, run.optimizer) == RUN
        assert run.history == HISTORY
        assert run.epochs == 2
        assert run.settings == {"name": "Gravity", "learning_rate": 0.1}
        assert run.output_units == 20
        assert run.declared_dataset == "CIFAR100 (Fine)"
        assert run.source.startswith("http://127.0.0.1")
    # Downloaded once, from the path that the repository has, and nothing unpacked.
    assert [unquote(path) for path in server.requests] == [
        "/good/results/gravity_benchmarks/vgg19/"
        "CIFAR100 (Fine)_vgg19_050099_Gravity_20201216_222052.zip"
    ]
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert files == [tmp_path / "published" / "cifar100_fine_vgg19_gravity.zip"]
    assert files[0].read_bytes() == server.content


def test_cache_is_that_of_the_datasets(server, tmp_path, monkeypatch):
    monkeypatch.setenv("GRAVITY_DATA", str(tmp_path / "named"))
    server.serve(archive(MEMBERS))
    assert published.load(*RUN).history == HISTORY
    assert list((tmp_path / "named").iterdir()) == [tmp_path / "named" / "published"]


def test_needs_no_more_than_the_history(server, tmp_path):
    server.serve(archive({"a folder/": "", "a folder/history.csv": HISTORY_CSV}))
    run = published.load(*RUN, cache=tmp_path)
    assert run.history == HISTORY
    assert (run.settings, run.output_units, run.declared_dataset) == ({}, None, "")


def test_paths_in_an_archive_do_not_matter(server, tmp_path):
    outside = tmp_path / "outside.txt"
    hostile = {"../outside.txt": "x", str(outside): "x", "../../outside.txt": "x"}
    server.serve(archive(MEMBERS | hostile))
    cache = tmp_path / "a" / "cache"
    assert published.load(*RUN, cache=cache).history == HISTORY
    assert not outside.exists()
    assert len([path for path in tmp_path.rglob("*") if path.is_file()]) == 1


def test_takes_the_other_address_when_one_is_corrupted(server, tmp_path):
    server.serve(archive(MEMBERS), "corrupt", "good")
    assert published.load(*RUN, cache=tmp_path).history == HISTORY
    assert [path.split("/")[1] for path in server.requests] == ["corrupt", "good"]


def test_refuses_a_corrupted_archive(server, tmp_path):
    server.serve(archive(MEMBERS), "corrupt")
    with pytest.raises(PublishedError, match="wrong SHA-256"):
        published.load(*RUN, cache=tmp_path)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_unreachable_says_what_to_do(server, tmp_path, monkeypatch):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        refusing = f"http://127.0.0.1:{closed.getsockname()[1]}/"
        monkeypatch.setattr(published, "_URLS", (refusing,))
        with pytest.raises(PublishedError) as caught:
            published.load(*RUN, cache=tmp_path)
    message = str(caught.value)
    path = tmp_path / "published" / "cifar100_fine_vgg19_gravity.zip"
    assert f"{path} is missing and could not be downloaded" in message
    assert "refused" in message
    assert SOURCES[RUN][1] in message
    assert "GRAVITY_PUBLISHED to a folder with cifar100_fine_vgg19_gravity" in message


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"text", "can't be read: File is not a zip file"),
        (archive({}), "must hold history.csv. Received: –"),
        (archive({"other.csv": HISTORY_CSV}), "Received: other.csv"),
        (archive({"history.csv": ""}), "one row for each epoch from 1"),
        (archive({"history.csv": "epochs,loss\n1,2\n"}), "columns epoch, loss.*'acc"),
        (archive({"history.csv": HISTORY_CSV + "3,a,1,1,1"}), "of numbers.*'a'"),
        (archive({"history.csv": HISTORY_CSV + "3,1,1"}), "of numbers"),
        (archive({"history.csv": HISTORY_CSV + "4,1,1,1,1"}), r"\[1, 2, 4\]"),
        (archive(MEMBERS | {"optimizer_config.json": "{"}), "optimizer_config.json of"),
    ],
)
def test_refuses_an_archive_that_holds_no_history(content, message, server, tmp_path):
    server.serve(content)
    with pytest.raises(PublishedError, match=message):
        published.load(*RUN, cache=tmp_path)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / f"{'_'.join(RUN)}.csv").write_text(
        HISTORY_CSV.replace("epochs", "epoch")
    )
    (tmp_path / "summary.csv").write_text(
        "dataset,architecture,optimizer,learning_rate,output_units,declared_dataset\n"
        "cifar100_fine,vgg16,gravity,0.2,100,CIFAR100 (Fine)\n"
        "cifar100_fine,vgg19,gravity,0.1,20,CIFAR100 (Fine)\n"
    )
    monkeypatch.setenv("GRAVITY_PUBLISHED", str(tmp_path))
    return tmp_path


def test_reads_a_folder(folder):
    run = published.load(*RUN)
    assert run.history == HISTORY
    assert run.settings == {"learning_rate": 0.1}
    assert (run.output_units, run.declared_dataset) == (20, "CIFAR100 (Fine)")
    assert run.source == str(folder / "cifar100_fine_vgg19_gravity.csv")


def test_says_what_a_folder_lacks(folder):
    with pytest.raises(PublishedError, match=r"mnist_vgg16_adam\.csv and summary"):
        published.load("mnist", "vgg16", "adam")
    (folder / "mnist_vgg16_adam.csv").write_text(HISTORY_CSV)
    with pytest.raises(PublishedError, match=r"one row of mnist_vgg16_adam.*: 0"):
        published.load("mnist", "vgg16", "adam")
    (folder / "summary.csv").unlink()
    with pytest.raises(PublishedError, match="or be unset for a download"):
        published.load(*RUN)


@pytest.mark.parametrize(
    "run",
    [
        ("digits", "vgg16", "adam"),
        ("mnist", "vgg11", "adam"),
        ("mnist", "vgg16", "sgd"),
    ],
)
def test_refuses_a_run_that_the_paper_does_not_have(run):
    with pytest.raises(
        ValueError, match=r"mnist or fashion_mnist or.*vgg16 or"
    ) as caught:
        published.load(*run)
    assert ", ".join(map(repr, run)) in str(caught.value)


def test_sources_are_the_papers_30_runs():
    assert set(SOURCES) == {
        (*pair, optimizer)
        for pair in PAPER_LEARNING_RATES
        for optimizer in PAPER_OPTIMIZERS
    }
    assert len({digest for _, digest in SOURCES.values()}) == 30
    assert all(re.fullmatch("[0-9a-f]{64}", digest) for _, digest in SOURCES.values())
    for _, architecture, optimizer in SOURCES:
        run = next(run for run in SOURCES if run[1:] == (architecture, optimizer))
        name = SOURCES[run][0].lower()
        assert f"_{architecture}_" in name
        assert f"_{optimizer}_" in name


@needs_real
def test_sources_are_the_recorded_ones():
    with (REAL / "sources.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 30
    for row in rows:
        run = tuple(row["file"].removesuffix(".csv").rsplit("_", 2))
        file = published._file(run)
        assert file.sha256 == row["sha256"]
        for url in file.urls:
            path = unquote(urlsplit(url).path)
            assert path.endswith(f"/{published.COMMIT}/{row['path']}")


@needs_real
def test_all_real_histories_end_as_their_summary_says(monkeypatch):
    monkeypatch.setenv("GRAVITY_PUBLISHED", str(REAL))
    with (REAL / "summary.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 30
    odd = []
    for row in rows:
        name = row["dataset"], row["architecture"], row["optimizer"]
        run = published.load(*name)
        assert run.epochs == 100
        for metric in METRICS:
            assert len(run.history[metric]) == 100
            # The summary has four decimals.
            expected = pytest.approx(float(row[f"final_{metric}"]), abs=5.01e-5)
            assert run.history[metric][-1] == expected
        best = max(run.history["val_accuracy"])
        assert best == pytest.approx(float(row["best_val_accuracy"]), abs=5.01e-5)
        assert run.settings["learning_rate"] == paper_arguments(*name)["learning_rate"]
        if run.output_units != datasets.DATASETS[run.dataset].classes:
            odd.append((*name, run.output_units))
    # The authors' run on 100 classes that has the outputs of the one on 20.
    assert odd == [("cifar100_fine", "vgg19", "gravity", 20)]
