"""`published`: archives from a real server, and the authors' own histories."""

import csv
import hashlib
import io
import json
import re
import socket
import threading
import zipfile
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

import numpy as np
import pytest

from gravity.__main__ import main
from gravity.evidence import published
from gravity.evidence.published import PublishedError
from gravity.experiments import datasets, files
from gravity.experiments.paper import (
    PAPER_LEARNING_RATES,
    PAPER_OPTIMIZERS,
    paper_arguments,
)
from gravity.experiments.runs import METRICS

ROOT = Path(__file__).resolve().parents[2]
REAL = ROOT.parent / "shared" / "published"
needs_real = pytest.mark.skipif(
    not (REAL / "summary.csv").is_file(),
    reason=f"the authors' histories as they were taken aren't there ({REAL})",
)

RUN = ("cifar100_fine", "vgg19", "gravity")
HISTORY = {
    "loss": [2.5, 0.30000001192092896],
    "accuracy": [0.1, 1.0],
    "val_loss": [2.25, 0.25],
    "val_accuracy": [0.125, 0.5],
}
HISTORY_CSV = (
    "epochs,loss,accuracy,val_loss,val_accuracy\n"
    "1,2.5,0.1,2.25,0.125\n"
    "2,0.30000001192092896,1.0,0.25,0.5\n"
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
        if self.server.corrupt in ("both", self.path.split("/")[1][:3]):
            content = content[:-1] + b"x"
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


@pytest.fixture
def server(monkeypatch):
    """Serves one archive in place of the authors' of `RUN`."""
    monkeypatch.setattr(files, "_RETRIES", 0)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        http.requests = []

        def serve(content, corrupt=""):
            http.content, http.corrupt = content, corrupt
            point_to(monkeypatch, f"http://127.0.0.1:{http.server_port}")
            return replace(
                published.load(*RUN), sha256=hashlib.sha256(content).hexdigest()
            )

        http.serve = serve
        thread = threading.Thread(target=http.serve_forever, args=(0.01,))
        thread.start()
        yield http
        http.shutdown()
        thread.join()


def point_to(monkeypatch, address):
    """Have another host stand for the authors' repository."""
    published.load_all()
    content = dict(published._content()) | {"source": address}
    monkeypatch.setattr(published, "_content", lambda: content)


def test_reads_an_archive_as_the_authors_wrote_it(server, tmp_path):
    served = server.serve(archive(MEMBERS))
    for _ in range(2):
        run = published.read_archive(served, cache=tmp_path)
        assert run.key == RUN
        assert run.history == HISTORY
        assert run.epochs == 2
        assert run.settings == {"name": "Gravity", "learning_rate": 0.1}
        assert run.output_units == 20
        assert run.declared_dataset == "CIFAR100 (Fine)"
    # Downloaded once, from the path that the repository has, and nothing unpacked.
    assert [unquote(path) for path in server.requests] == [
        "/9c12068752097a9336d74c89d841781188c8b9d6"
        "/results/gravity_benchmarks/vgg19/"
        "CIFAR100 (Fine)_vgg19_050099_Gravity_20201216_222052.zip"
    ]
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert files == [tmp_path / "published" / "cifar100_fine_vgg19_gravity.zip"]
    assert files[0].read_bytes() == server.content


def test_cache_is_that_of_the_datasets(server, tmp_path, monkeypatch):
    monkeypatch.setenv("GRAVITY_DATA", str(tmp_path / "named"))
    assert published.read_archive(server.serve(archive(MEMBERS))).history == HISTORY
    assert list((tmp_path / "named").iterdir()) == [tmp_path / "named" / "published"]


def test_needs_no_more_than_the_history(server, tmp_path):
    served = server.serve(
        archive({"a folder/": "", "a folder/history.csv": HISTORY_CSV})
    )
    run = published.read_archive(served, cache=tmp_path)
    assert run.history == HISTORY
    assert (run.settings, run.output_units, run.declared_dataset) == ({}, None, "")


def test_paths_in_an_archive_do_not_matter(server, tmp_path):
    outside = tmp_path / "outside.txt"
    hostile = {"../outside.txt": "x", str(outside): "x", "../../outside.txt": "x"}
    served = server.serve(archive(MEMBERS | hostile))
    cache = tmp_path / "a" / "cache"
    assert published.read_archive(served, cache=cache).history == HISTORY
    assert not outside.exists()
    assert len([path for path in tmp_path.rglob("*") if path.is_file()]) == 1


def test_takes_the_other_address_when_one_is_corrupted(server, tmp_path):
    served = server.serve(archive(MEMBERS), corrupt="9c1")
    assert published.read_archive(served, cache=tmp_path).history == HISTORY
    assert [path.split("/")[1][:3] for path in server.requests] == ["9c1", "raw"]


def test_refuses_a_corrupted_archive(server, tmp_path):
    served = server.serve(archive(MEMBERS), corrupt="both")
    with pytest.raises(PublishedError, match="wrong SHA-256"):
        published.read_archive(served, cache=tmp_path)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_unreachable_says_what_to_do(tmp_path, monkeypatch):
    run = published.load(*RUN)
    monkeypatch.setattr(files, "_RETRIES", 0)
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        point_to(monkeypatch, f"http://127.0.0.1:{closed.getsockname()[1]}")
        with pytest.raises(PublishedError) as caught:
            published.read_archive(run, cache=tmp_path)
    message = str(caught.value)
    path = tmp_path / "published" / "cifar100_fine_vgg19_gravity.zip"
    assert f"{path} is missing and could not be downloaded" in message
    assert "refused" in message
    assert run.sha256 in message


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
    served = server.serve(content)
    with pytest.raises(PublishedError, match=message):
        published.read_archive(served, cache=tmp_path)


def archive_of(run):
    """An archive as the authors' program would have written it for a run."""
    rows = zip(*(run.history[metric] for metric in METRICS), strict=True)
    lines = [",".join(map(repr, (n, *row))) for n, row in enumerate(rows, start=1)]
    return archive(
        {
            "history.csv": "\n".join([HISTORY_CSV.splitlines()[0], *lines]),
            "dataset.txt": run.declared_dataset,
            "model_config.json": json.dumps({"units": run.output_units}),
            "optimizer_config.json": json.dumps(dict(run.settings)),
        }
    )


def changed(run, metric):
    """The run with the smallest change that single precision has in one number."""
    values = list(run.history[metric])
    values[50] = float(np.nextafter(np.float32(values[50]), np.float32(9)))
    return replace(run, history={**run.history, metric: values})


@pytest.mark.parametrize(
    ("change", "differs"),
    [
        (lambda run: run, []),
        (lambda run: changed(run, "loss"), ["loss"]),
        (lambda run: changed(run, "val_accuracy"), ["val_accuracy"]),
        (lambda run: replace(run, settings={"learning_rate": 0.2}), ["learning_rate"]),
        (lambda run: replace(run, output_units=100), ["output_units"]),
        (lambda run: replace(run, declared_dataset="MNIST"), ["declared_dataset"]),
    ],
)
def test_verify_compares_every_number(
    change, differs, server, tmp_path, monkeypatch, capsys
):
    run = published.load(*RUN)
    served = server.serve(archive_of(change(run)))
    only = {RUN: replace(run, sha256=served.sha256)}
    monkeypatch.setattr(published, "_runs", lambda: only)
    monkeypatch.setenv("GRAVITY_DATA", str(tmp_path))
    assert main(["published", "--verify"]) == (1 if differs else 0)
    printed = capsys.readouterr()
    assert printed.out.split(maxsplit=1)[1].strip() == (
        ", ".join(differs) or "as published"
    )
    assert ("1 of 30 runs differ" in printed.err) == bool(differs)


def test_the_list_names_runs_and_source(capsys):
    assert main(["published"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 31
    assert lines[-1] == published.source()
    assert "/dariush-bahrami/gravity.optimizer/tree/9c12068" in lines[-1]


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


def test_they_are_the_papers_30_runs():
    runs = published.load_all()
    assert set(runs) == {
        (*pair, optimizer)
        for pair in PAPER_LEARNING_RATES
        for optimizer in PAPER_OPTIMIZERS
    }
    assert len({run.sha256 for run in runs.values()}) == 30
    odd = []
    for key, run in runs.items():
        assert re.fullmatch("[0-9a-f]{64}", run.sha256)
        for part in (f"/{key[1]}/", f"_{key[1]}_", f"/{key[2]}_", f"_{key[2]}_"):
            assert part in run.path.lower()
        assert run.epochs == 100
        assert set(run.history) == set(METRICS)
        assert run.settings["learning_rate"] == paper_arguments(*key)["learning_rate"]
        if run.output_units != datasets.DATASETS[run.dataset].classes:
            odd.append((*key, run.output_units))
    # The authors' run on 100 classes that has the outputs of the one on 20.
    assert odd == [("cifar100_fine", "vgg19", "gravity", 20)]


def test_accuracies_are_numbers_of_images():
    # A slip in a digit would make one that no number of images gives.
    for run in published.load_all().values():
        spec = datasets.OFFICIAL_DATASETS[run.dataset]
        for metric, size in (
            ("accuracy", spec.train_size),
            ("val_accuracy", spec.test_size),
        ):
            values = np.array(run.history[metric])
            images = np.round(values * size)
            np.testing.assert_allclose(values, images / size, rtol=0, atol=6e-8)


@needs_real
def test_numbers_are_those_that_were_taken_from_the_archives():
    with (REAL / "sources.csv").open(newline="") as file:
        sources = {row["file"]: row for row in csv.DictReader(file)}
    with (REAL / "summary.csv").open(newline="") as file:
        summary = list(csv.DictReader(file))
    assert len(sources) == len(summary) == 30
    for row in summary:
        key = row["dataset"], row["architecture"], row["optimizer"]
        name = f"{'_'.join(key)}.csv"
        run = published.load(*key)
        with (REAL / name).open(newline="") as file:
            rows = list(csv.DictReader(file))
        for metric in METRICS:
            assert run.history[metric] == [float(each[metric]) for each in rows]
            # The summary has four decimals.
            expected = pytest.approx(float(row[f"final_{metric}"]), abs=5.01e-5)
            assert run.history[metric][-1] == expected
        assert run.settings == {"learning_rate": float(row["learning_rate"])}
        assert run.output_units == int(row["output_units"])
        assert run.declared_dataset == row["declared_dataset"]
        assert run.sha256 == sources[name]["sha256"]
        assert run.path == sources[name]["path"]
        for url in published._file(run).urls:
            assert unquote(urlsplit(url).path).endswith(run.path)
