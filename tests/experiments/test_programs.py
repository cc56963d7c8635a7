"""`gravity.experiments.programs`: an epoch as one program gives what `fit` gives.

JAX must be Keras's backend: KERAS_BACKEND=jax.
"""

import keras
import numpy as np
import pytest

from gravity.experiments import datasets, training
from gravity.experiments.experiment import Experiment
from gravity.experiments.runs import METRICS, RunStore

if keras.backend.backend() != "jax":
    pytest.skip("Keras's backend isn't JAX", allow_module_level=True)

from gravity.experiments import programs

# Rounding alone: the compiler fuses and orders sums in another way.
TOLERANCE = 2e-5
DIGITS = {"dataset": "digits", "architecture": "vgg16", "width": 0.03125}
SCALE = {"epochs": 3, "batch_size": 16, "train_size": 56, "seed": 1}
EXPERIMENTS = {
    "gravity": {"optimizer": "gravity"},
    "adam": {"optimizer": "adam"},
    "rmsprop": {"optimizer": "rmsprop"},
    "sgd": {"optimizer": "sgd"},
    "variant": {
        "optimizer": "variant",
        "arguments": {"bound": "none", "average": "constant"},
    },
    # The last batch is as large as the others.
    "no rest": {"optimizer": "gravity", "train_size": 48},
    # One batch, smaller than asked for.
    "all in one": {"optimizer": "gravity", "batch_size": 100},
    "held out": {"optimizer": "gravity", "validation_size": 50},
    "text": {
        "optimizer": "gravity",
        "dataset": "topics",
        "architecture": "transformer",
        "width": 0.25,
    },
}


def described(**changes):
    return Experiment(**{**DIGITS, **SCALE, **changes})


def model_of(experiment):
    model = training.create_model(experiment)
    model.optimizer.build(model.trainable_variables)
    return model


def held_out(experiment, data):
    if experiment.validation_size is None:
        return data.x_test, data.y_test, np.arange(100)
    chosen = training.validation_subset(experiment, len(data.x_train))
    return data.x_train, data.y_train, chosen


def orders(experiment, data):
    subset = training.training_subset(experiment, len(data.x_train))
    return [
        subset[training.epoch_order(experiment, epoch, len(subset))]
        for epoch in range(experiment.epochs)
    ]


def by_programs(experiments, numbers=()):
    """Each epoch's metrics of each run, and the networks."""
    data = datasets.load(experiments[0].dataset)
    models = [model_of(each) for each in experiments]
    made = programs.Programs(
        models,
        numbers,
        data,
        held_out(experiments[0], data),
        experiments[0].batch_size,
    )
    epochs = zip(*(orders(each, data) for each in experiments), strict=True)
    return [made.run(each) for each in epochs], models


def by_fit(experiment):
    """Each epoch's metrics, and the network, as Keras trains it."""
    data = datasets.load(experiment.dataset)
    model, size = model_of(experiment), experiment.batch_size
    found = []
    for order in orders(experiment, data):
        logs = model.fit(
            data.x_train[order],
            data.y_train[order],
            batch_size=size,
            shuffle=False,
            validation_data=tuple(
                part[held_out(experiment, data)[2]]
                for part in held_out(experiment, data)[:2]
            ),
            validation_batch_size=size,
            verbose=0,
        ).history
        found.append({metric: logs[metric][0] for metric in METRICS})
    return found, model


def assert_alike(found, expected):
    for one, other in zip(found, expected, strict=True):
        for metric in METRICS:
            assert one[metric] == pytest.approx(other[metric], rel=TOLERANCE), metric


def assert_same_network(one, other):
    for a, b in zip(
        [*one.weights, *one.optimizer.variables],
        [*other.weights, *other.optimizer.variables],
        strict=True,
    ):
        np.testing.assert_allclose(a, b, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("changes", EXPERIMENTS.values(), ids=EXPERIMENTS)
def test_one_program_gives_what_fit_gives(changes):
    experiment = described(**changes)
    expected, reference = by_fit(experiment)
    found, (model,) = by_programs([experiment])
    assert_alike([each[0] for each in found], expected)
    # Metrics could agree while nothing was learned.
    assert expected[-1]["loss"] != pytest.approx(expected[0]["loss"], rel=1e-3)
    assert_same_network(model, reference)
    assert int(model.optimizer.iterations) == int(reference.optimizer.iterations)


def test_many_runs_in_one_program_are_each_as_alone():
    experiments = [
        described(optimizer="gravity"),
        described(optimizer="gravity", seed=2),
        described(optimizer="gravity", arguments={"learning_rate": 0.05}),
        described(optimizer="gravity", arguments={"alpha": 0.05, "beta": 0.5}),
        described(optimizer="gravity", initial_weights="he", weight_noise=0.01),
    ]
    numbers = [{"beta": each.arguments["beta"]} for each in experiments]
    found, models = by_programs(experiments, numbers)
    for index, experiment in enumerate(experiments):
        expected, (model,) = by_programs([experiment])
        assert_alike([each[index] for each in found], [each[0] for each in expected])
        assert_same_network(models[index], model)
    losses = [each["loss"] for each in found[-1]]
    assert len(set(losses)) == len(experiments)
    # What is traced into the program is not left in the optimizer.
    assert [model.optimizer.beta for model in models] == [0.9, 0.9, 0.9, 0.5, 0.9]


def test_a_stopped_run_ends_as_one_that_was_not(tmp_path, monkeypatch):
    experiment = described(optimizer="gravity")
    straight = training.train(
        experiment, RunStore(tmp_path / "straight"), progress=False, whole_epochs=True
    )
    assert straight.provenance["whole_epochs"] is True
    store, run, calls = RunStore(tmp_path / "stopped"), programs.Programs.run, []

    def stop_in_the_second(self, orders):
        calls.append(orders)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return run(self, orders)

    monkeypatch.setattr(programs.Programs, "run", stop_in_the_second)
    with pytest.raises(KeyboardInterrupt):
        training.train(experiment, store, progress=False, whole_epochs=True)
    continued = training.train(experiment, store, progress=False, whole_epochs=True)
    assert continued.provenance["resumed"] == 1
    assert continued.history == straight.history
    for one in (straight, continued):
        assert len(one.provenance["weights_sha256"]) == 64
    digests = {one.provenance["weights_sha256"] for one in (straight, continued)}
    assert len(digests) == 1


def test_on_a_processor_steps_are_calls_unless_asked_for(tmp_path):
    experiment = described(optimizer="gravity", epochs=1)
    run = training.train(experiment, RunStore(tmp_path), progress=False)
    assert "whole_epochs" not in run.provenance


def test_images_are_kept_as_bytes_where_that_loses_nothing():
    whole = np.arange(256, dtype=np.float32).reshape(1, 16, 16, 1) / np.float32(255)
    kept = programs._on_device(whole)
    assert kept.dtype == np.uint8
    np.testing.assert_allclose(programs._scaled(kept), whole, rtol=0, atol=6e-8)
    digits = datasets.load("digits").x_test
    assert programs._on_device(digits).dtype == np.float32


def test_a_program_is_lowered_without_the_data():
    experiment = described(optimizer="gravity")
    data = datasets.load("digits")
    model = model_of(experiment)
    text = programs.compiled_epoch(model, 16, data, size=56).as_text()
    # Three whole batches are a loop, and a fourth is smaller.
    assert "while" in text
    assert "tensor<16x32x32x" in text
    assert "tensor<8x32x32x" in text
