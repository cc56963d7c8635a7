"""Importing `gravity.experiments` changes nothing and loads little."""

import os
import subprocess
import sys
from pathlib import Path

import make_datasets

ROOT = Path(__file__).resolve().parents[2]
# `variants` is a Keras optimizer, and so needs Keras.
MODULES = sorted(
    path.stem
    for path in (ROOT / "gravity/experiments").glob("[!_]*.py")
    if path.stem != "variants"
)


def run(code, **settings):
    """What a fresh process prints whose environment TensorFlow's settings aren't in."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("TF_", "KERAS_", "GRAVITY_"))
    }
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=kept | settings,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_importing_sets_hashes_and_loads_nothing():
    code = f"""
import importlib, os, sys
before = dict(os.environ)
for name in {MODULES}:
    importlib.import_module("gravity.experiments." + name)
from gravity.experiments import datasets, text
assert dict(os.environ) == before
assert "data" not in vars(datasets.DATASETS)
assert text.fingerprint.cache_info().misses == 0
assert not {{"keras", "tensorflow", "jax", "torch", "pooch"}} & set(sys.modules)
"""
    run(code)


def test_manifest_is_read_when_a_dataset_is_first_asked_for(tmp_path):
    manifest = make_datasets.write(tmp_path)
    code = f"""
import os
from gravity.experiments import datasets
os.environ["GRAVITY_DATA_MANIFEST"] = {str(manifest)!r}
print(datasets.DATASETS["mnist"].title)
del os.environ["GRAVITY_DATA_MANIFEST"]
print(datasets.DATASETS["mnist"].title)
"""
    assert run(code) == 2 * "MNIST (generated)\n"


def test_package_offers_what_stays_and_loads_it_when_it_is_used():
    code = """
import sys
import gravity.experiments as offered
assert [name for name in sys.modules if name.startswith("gravity.experiments.")] == []
for name in offered.__all__:
    print(getattr(offered, name).__module__)
from gravity.experiments import Experiment, RunStore, grid, load, train, train_all
"""
    modules = run(code).split()
    assert modules == [
        f"gravity.experiments.{name}"
        for name in (
            *("experiment", "runs", "experiment", "datasets"),
            *("training", "training"),
        )
    ]


def test_prepare_keeps_what_is_set():
    code = """
import os
from gravity.experiments import environment
environment.prepare()
print(os.environ["TF_ENABLE_ONEDNN_OPTS"], os.environ["TF_CPP_MIN_LOG_LEVEL"])
"""
    assert run(code) == "1 2\n"
    assert run(code, TF_ENABLE_ONEDNN_OPTS="0", TF_CPP_MIN_LOG_LEVEL="0") == "0 0\n"


def test_training_prepares_where_keras_is_not_imported_yet(tmp_path):
    code = """
import os
from gravity.experiments import Experiment, train
train(
    Experiment(
        dataset="digits", architecture="vgg16", optimizer="gravity", width=0.0625,
        epochs=1, batch_size=16, train_size=16,
    ),
    progress=False,
)
print(os.environ["TF_ENABLE_ONEDNN_OPTS"])
"""
    assert run(code, GRAVITY_RUNS=str(tmp_path)) == "1\n"
