"""The chapter "Beyond images": its network learns, and its runs are all stored."""

from pathlib import Path

import keras
import nbformat
import numpy as np
import pytest

from gravity.book import cards
from gravity.evidence import learning, statistics
from gravity.experiments import datasets, training
from gravity.experiments.experiment import Experiment, grid
from gravity.experiments.optimizers import OPTIMIZERS
from gravity.experiments.runs import RunStore

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def parameters():
    """The values in the chapter's parameters cell."""
    path = ROOT / "notebooks/frameworks/characters.ipynb"
    (cell,) = (
        cell.source
        for cell in nbformat.read(path, as_version=4).cells
        if "parameters" in cell.metadata.get("tags", [])
    )
    values: dict = {}
    exec(cell, values)
    return values


def planned(parameters, optimizer, rate, seeds):
    return grid(
        "topics",
        "transformer",
        optimizers=[optimizer],
        arguments={optimizer: {"learning_rate": rate}},
        seeds=seeds,
        width=parameters["WIDTH"],
        epochs=parameters["EPOCHS"],
        batch_size=parameters["BATCH_SIZE"],
        train_size=parameters["TRAIN_SIZE"],
        data=parameters["TEXT"],
    )


def test_all_runs_of_the_study_are_stored(parameters):
    store = RunStore(ROOT / "book/results")
    seeds = parameters["SEEDS"]
    assert len(set(seeds)) >= 5
    assert parameters["TUNING_SEED"] not in seeds
    tuning, final = [], []
    for optimizer in set(OPTIMIZERS) - {"variant"}:
        rates = parameters[f"{optimizer.upper()}_RATES"]
        assert len(set(rates)) == 6
        tries = [
            store.find(one)
            for rate in rates
            for one in planned(parameters, optimizer, rate, [parameters["TUNING_SEED"]])
        ]
        assert None not in tries, optimizer
        losses = np.array([run.history["loss"][-1] for run in tries])
        best = rates[np.nanargmin(losses)]
        (chosen,) = learning.best_runs(tries).values()
        assert chosen.experiment.arguments["learning_rate"] == best
        runs = store.find_all(planned(parameters, optimizer, best, seeds))
        assert len(runs) == len(seeds), optimizer
        tuning += tries
        final += runs
    assert len({run.provenance["commit"] for run in tuning + final}) == 1
    assert not any(run.provenance["dirty"] for run in tuning + final)
    # No two runs are one run under two names.
    assert len({run.provenance["weights_sha256"] for run in final}) == len(final)
    for each in statistics.compare(final):
        assert len(each.differences) == len(seeds)
        assert each.p >= 2 / 2 ** len(seeds)


def test_losses_are_means_over_characters():
    experiment = Experiment(
        dataset="topics", architecture="transformer", optimizer="sgd", width=0.125
    )
    model = training.create_model(experiment)
    data = datasets.load("topics")
    x, y = data.x_test[:16], data.y_test[:16]
    logits = keras.ops.convert_to_numpy(model(x)).astype(np.float64)
    chances = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
    picked = np.take_along_axis(chances, y[..., np.newaxis], axis=-1)
    loss, accuracy = model.evaluate(x, y, verbose=0)
    assert loss == pytest.approx(-np.log(picked).mean(), rel=1e-5)
    assert accuracy == pytest.approx((logits.argmax(axis=-1) == y).mean())


def test_run_on_text_says_so(tmp_path):
    experiment = Experiment(
        dataset="topics",
        architecture="transformer",
        optimizer="sgd",
        width=0.125,
        epochs=3,
        batch_size=8,
        train_size=32,
    )
    assert "3 epochs of 32 sequences of 64 characters" in training.describe(experiment)
    run = RunStore(tmp_path).save(
        experiment,
        dict.fromkeys(("loss", "accuracy", "val_loss", "val_accuracy"), [1.0] * 3),
        {},
    )
    card = cards.run_card([run]).data
    assert "32 of 5,000 training sequences of 64 characters" in card
    assert "Transformer, width 0.125" in card
    assert "SGD with momentum" in card
    assert "images" not in card


def test_gravity_learns_characters(tmp_path):
    experiment = Experiment(
        dataset="topics",
        architecture="transformer",
        optimizer="gravity",
        arguments={"learning_rate": 3.0},
        width=0.125,
        epochs=2,
        batch_size=8,
        train_size=256,
    )
    run = training.train(experiment, RunStore(tmp_path), progress=False)
    guessing = np.log(datasets.DATASETS["topics"].classes)
    assert run.history["val_loss"][-1] < 0.85 * guessing
