"""`runs`: what a reader finds, and what a crash can't leave behind."""

import dataclasses
import json
import math
import multiprocessing
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from gravity.experiments import environment, runs
from gravity.experiments.experiment import Experiment
from gravity.experiments.runs import METRICS, RunStore, RunStoreError

EXPERIMENT = Experiment(
    dataset="digits", architecture="vgg16", optimizer="gravity", epochs=2
)
RESULTS = Path(__file__).resolve().parents[2] / "book/results"
HISTORY = {
    "loss": [2.302585092994046, math.nan],
    "accuracy": [0.1, 0.30000000000000004],
    "val_loss": [math.inf, 1e-300],
    "val_accuracy": [0.0, 1.0],
}


@pytest.fixture
def store(tmp_path):
    return RunStore(tmp_path / "runs")


def test_saved_run_is_found_as_it_was(store):
    assert store.find(EXPERIMENT) is None
    store.save(EXPERIMENT, HISTORY, {"seconds": 1.5})
    run = RunStore(store.roots[0]).find(EXPERIMENT)
    assert run.experiment == EXPERIMENT
    assert run.provenance["seconds"] == 1.5
    for metric in METRICS:
        for read, written in zip(run.history[metric], HISTORY[metric], strict=True):
            assert read == written or (math.isnan(read) and math.isnan(written))


def test_store_holds_one_folder_a_run_and_nothing_else(store):
    run = store.save(EXPERIMENT, HISTORY, {})
    assert os.listdir(store.roots[0]) == [EXPERIMENT.run_id]
    assert sorted(os.listdir(run.path)) == ["history.csv", "run.json"]
    record = json.loads((run.path / "run.json").read_text())
    assert record["schema"] == runs.SCHEMA
    header = (run.path / "history.csv").read_text().splitlines()[0]
    assert header == "epoch,loss,accuracy,val_loss,val_accuracy"


def test_second_save_leaves_the_first(store):
    store.save(EXPERIMENT, HISTORY, {"seconds": 1})
    again = store.save(EXPERIMENT, HISTORY, {"seconds": 2})
    assert again.provenance["seconds"] == 1
    assert os.listdir(store.roots[0]) == [EXPERIMENT.run_id]


def test_runs_are_written_to_the_first_root_and_read_from_all(tmp_path):
    other = RunStore(tmp_path / "b")
    other.save(EXPERIMENT, HISTORY, {})
    both = RunStore(tmp_path / "a", tmp_path / "b")
    assert both.find(EXPERIMENT).path.parent == tmp_path / "b"
    second = dataclasses.replace(EXPERIMENT, seed=1)
    assert both.save(second, HISTORY, {}).path.parent == tmp_path / "a"
    assert [run.experiment.seed for run in runs.in_order(both)] == [0, 1]


def test_listing_many_runs_reads_no_history(store):
    for seed in range(20):
        run = store.save(dataclasses.replace(EXPERIMENT, seed=seed), HISTORY, {})
        (run.path / "history.csv").unlink()
    assert sorted(run.experiment.seed for run in store) == list(range(20))


@pytest.mark.parametrize("metric", METRICS)
def test_incomplete_history_is_refused(store, metric):
    with pytest.raises(ValueError, match=f"2 values of {metric}.*Received: 1"):
        store.save(EXPERIMENT, HISTORY | {metric: [0.5]}, {})
    assert store.find(EXPERIMENT) is None


def test_changed_history_is_refused(store):
    path = store.save(EXPERIMENT, HISTORY, {}).path / "history.csv"
    path.write_text(path.read_text().replace("0.1", "0.9"))
    with pytest.raises(RunStoreError, match=r"history\.csv.* it has SHA-256"):
        _ = store.find(EXPERIMENT).history


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text[: len(text) // 2],
        lambda text: text.replace('"epochs": 2', '"epochs": 3'),
        lambda text: text.replace('"schema": 1', '"schema": 99'),
        lambda text: text.replace('"dataset": "digits"', '"dataset": "unheard-of"'),
        lambda text: "[]",
    ],
)
def test_damaged_record_is_refused_by_name(store, change):
    path = store.save(EXPERIMENT, HISTORY, {}).path / "run.json"
    path.write_text(change(path.read_text()))
    with pytest.raises(RunStoreError, match=f"{EXPERIMENT.run_id}.*run.json"):
        store.find(EXPERIMENT)


def test_run_renamed_by_hand_is_refused(store):
    path = store.save(EXPERIMENT, HISTORY, {}).path
    other = dataclasses.replace(EXPERIMENT, seed=5)
    shutil.move(path, path.with_name(other.run_id))
    with pytest.raises(RunStoreError, match=EXPERIMENT.run_id):
        store.find(other)


def test_failure_while_writing_leaves_nothing(store, monkeypatch):
    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        store.save(EXPERIMENT, HISTORY, {})
    assert os.listdir(store.roots[0]) == []


def test_finding_some_runs_does_not_read_the_others(store):
    wanted = [dataclasses.replace(EXPERIMENT, seed=seed) for seed in range(3)]
    others = [dataclasses.replace(EXPERIMENT, seed=seed) for seed in range(3, 9)]
    for experiment in (*wanted, *others):
        store.save(experiment, HISTORY, {})
    for experiment in others:
        (store.roots[0] / experiment.run_id / "run.json").write_text("not JSON")
    found = store.find_all(wanted)
    assert [run.experiment for run in found] == wanted
    with pytest.raises(RunStoreError):
        list(store)


def _save_many(root, count):
    store = RunStore(root)
    for seed in range(count):
        store.save(dataclasses.replace(EXPERIMENT, seed=seed), HISTORY, {})


def test_reader_never_sees_half_a_run(tmp_path):
    context = multiprocessing.get_context("spawn")
    writers = [
        context.Process(target=_save_many, args=(tmp_path, 150)) for _ in range(2)
    ]
    for writer in writers:
        writer.start()
    seen = 0
    while any(writer.is_alive() for writer in writers):
        found = list(RunStore(tmp_path))
        assert all(len(run.history["loss"]) == 2 for run in found)
        assert len(found) >= seen
        seen = len(found)
    assert [writer.exitcode for writer in writers] == [0, 0]
    assert len(list(RunStore(tmp_path))) == 150
    assert len(os.listdir(tmp_path)) == 150


def test_code_version_is_the_checkouts():
    version = environment.code_version()
    assert version["gravity"] == __import__("gravity").__version__
    head = subprocess.run(
        ["git", "rev-parse", "HEAD"],
        cwd=os.path.dirname(runs.__file__),
        capture_output=True,
        text=True,
        check=True,
    )
    assert version["commit"] == head.stdout.strip()


def test_roots_from_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("GRAVITY_RUNS", f"{tmp_path / 'a'}{os.pathsep}{tmp_path / 'b'}")
    assert RunStore().roots == [tmp_path / "a", tmp_path / "b"]
    monkeypatch.delenv("GRAVITY_RUNS")
    assert [root.parts[-2:] for root in RunStore().roots] == [
        ("_build", "runs"),
        ("book", "results"),
    ]


def test_every_stored_run_has_the_name_that_follows_from_its_description():
    folders = sorted(path.parent for path in RESULTS.glob("*/run.json"))
    assert len(folders) > 600
    for folder in folders:
        run = runs.read_run(folder)
        assert run.experiment.run_id == folder.name
        assert len(run.history["val_loss"]) == run.experiment.epochs
