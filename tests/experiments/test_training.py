"""`gravity.experiments.training` and the command line, on the real digits."""

import dataclasses
import gc
import io
import json
import os
import signal
import subprocess
import sys

import keras
import numpy as np
import pytest

from gravity.__main__ import main
from gravity.experiments import datasets, training
from gravity.experiments.experiment import Experiment
from gravity.experiments.optimizers import OPTIMIZERS
from gravity.experiments.runs import METRICS, RunStore

SMALL = Experiment(
    dataset="digits",
    architecture="vgg16",
    optimizer="gravity",
    width=0.0625,
    epochs=2,
    batch_size=16,
    train_size=64,
)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return RunStore(tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module")
def run(store):
    return training.train(SMALL, store, progress=False)


def test_history_is_what_keras_measures_on_the_same_steps(run):
    """The same training, written out with train_on_batch and evaluate."""
    data = datasets.load("digits")
    model = training.create_model(SMALL)
    subset = np.sort(np.random.default_rng(0).permutation(len(data.x_train))[:64])
    for epoch in range(2):
        order = subset[np.random.default_rng([0, epoch]).permutation(64)]
        steps = []
        for batch in np.split(order, 4):
            # What it returns is of all steps since the last reset in some versions of
            # Keras and of this step in others.
            model.reset_metrics()
            steps.append(model.train_on_batch(data.x_train[batch], data.y_train[batch]))
        loss, accuracy = np.mean(steps, axis=0)
        assert run.history["loss"][epoch] == pytest.approx(loss, rel=1e-5)
        assert run.history["accuracy"][epoch] == pytest.approx(accuracy)
        model.reset_metrics()
        logs = model.evaluate(data.x_test, data.y_test, verbose=0, return_dict=True)
        assert run.history["val_loss"][epoch] == pytest.approx(logs["loss"], rel=1e-5)
        assert run.history["val_accuracy"][epoch] == pytest.approx(logs["accuracy"])
        model.reset_metrics()


def test_steps_taken_at_one_call_are_those_taken_one_by_one(tmp_path, monkeypatch):
    # Two full calls, and one of two batches, of which the last isn't full.
    several = dataclasses.replace(SMALL, train_size=283)
    together = training.train(several, RunStore(tmp_path / "8"), progress=False)
    monkeypatch.setattr(training, "_steps_together", lambda experiment: 1)
    alone = training.train(several, RunStore(tmp_path / "1"), progress=False)
    assert together.history == alone.history
    name = "weights_sha256"
    assert together.provenance[name] == alone.provenance[name]


def test_run_says_with_what_it_was_made(run):
    made = run.provenance
    assert made["versions"]["keras"] == keras.__version__
    assert made["backend"] == keras.backend.backend()
    assert "cpu" in made["device"].lower()
    assert made["seconds"] > 0
    assert made["started"].endswith("+00:00")
    assert {"gravity", "commit", "dirty"} <= made.keys()


def test_device_is_named_on_torch_too():
    code = (
        "from gravity.experiments import environment;"
        "print(environment.current()['device'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"KERAS_BACKEND": "torch"},
        check=True,
        capture_output=True,
        text=True,
    )
    assert done.stdout.startswith("cpu (")


def test_stored_run_is_loaded_not_trained(run, store):
    again = training.train(SMALL, store, progress=False)
    assert again.provenance == run.provenance


def test_stored_run_is_loaded_without_a_backend(run, store):
    code = (
        "import sys; from gravity.experiments import training;"
        "from gravity.experiments.runs import RunStore;"
        "from gravity.experiments.experiment import Experiment;"
        f"training.train({SMALL!r}, RunStore({str(store.roots[0])!r}));"
        "assert not {'keras', 'tensorflow', 'jax', 'torch'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_seed_decides_weights_velocity_and_order(store):
    other = dataclasses.replace(SMALL, seed=1)
    first, again, second = (
        training.create_model(experiment) for experiment in (SMALL, SMALL, other)
    )
    for model in (first, again, second):
        model.optimizer.build(model.trainable_variables)
    values = [
        [np.asarray(v) for v in (*model.weights, *model.optimizer.variables)]
        for model in (first, again, second)
    ]
    for a, b in zip(values[0], values[1], strict=True):
        np.testing.assert_array_equal(a, b)
    kernels = [v for v in values[0] if v.ndim > 1]
    others = [v for v in values[2] if v.ndim > 1]
    assert not any(np.array_equal(a, b) for a, b in zip(kernels, others, strict=True))
    orders = [
        training.epoch_order(e, epoch, 64) for e in (SMALL, other) for epoch in (0, 1)
    ]
    assert all(sorted(order) == list(range(64)) for order in orders)
    assert len({tuple(order) for order in orders}) == 4


def test_noise_on_the_weights_is_gravitys_own_push():
    """Gravity's noise, with the width asked for, and taken off as Gravity takes it."""
    noisy = dataclasses.replace(SMALL, weight_noise=0.05)
    plain = training.create_model(SMALL).get_weights()
    optimizer = keras.optimizers.deserialize(
        {
            "class_name": "gravity>Gravity",
            "config": {"alpha": 0.05, "learning_rate": 1.0, "seed": 0},
        }
    )
    model = training.create_model(noisy)
    optimizer.build(model.trainable_variables)
    for before, after, velocity in zip(
        plain, model.get_weights(), optimizer.velocities, strict=True
    ):
        np.testing.assert_allclose(before - after, np.asarray(velocity), atol=1e-6)


def test_held_out_images_are_measured_and_not_trained_on(tmp_path):
    """With the network's own `evaluate`; the two sets share no image."""
    experiment = dataclasses.replace(SMALL, epochs=1, validation_size=100)
    run = training.train(experiment, RunStore(tmp_path), progress=False)
    data = datasets.load("digits")
    order = np.random.default_rng(0).permutation(len(data.x_train))
    held_out, rest = order[-100:], np.sort(order[:64])
    assert not set(held_out) & set(rest)
    model = training.create_model(experiment)
    first = rest[np.random.default_rng([0, 0]).permutation(64)]
    for batch in np.split(first, 4):
        model.train_on_batch(data.x_train[batch], data.y_train[batch])
    loss, _ = model.evaluate(data.x_train[held_out], data.y_train[held_out], verbose=0)
    assert run.history["val_loss"] == pytest.approx([loss], rel=1e-5)


@pytest.mark.parametrize(
    ("optimizer", "kind"),
    [
        ("adam", keras.optimizers.Adam),
        ("rmsprop", keras.optimizers.RMSprop),
        ("sgd", keras.optimizers.SGD),
    ],
)
def test_peers_are_keras_own_with_the_given_arguments(optimizer, kind):
    experiment = dataclasses.replace(
        SMALL, optimizer=optimizer, arguments={"learning_rate": 0.0125}
    )
    created = OPTIMIZERS[optimizer].create(experiment.arguments, experiment.seed)
    assert type(created) is kind
    config = created.get_config()
    for name, value in experiment.arguments.items():
        assert config[name] == pytest.approx(value)


def test_a_trained_network_is_not_held(tmp_path):
    def networks():
        return sum(isinstance(each, keras.Model) for each in gc.get_objects())

    gc.collect()
    before = networks()
    # The collections that Python may or may not make by itself don't help.
    gc.disable()
    try:
        small = dataclasses.replace(SMALL, epochs=1)
        training.train(small, RunStore(tmp_path), progress=False)
        assert networks() == before
    finally:
        gc.enable()


class Lost:
    """Ctrl-C while an object is deleted, which Python reports and forgets."""

    def __del__(self):
        signal.raise_signal(signal.SIGINT)


def delete():
    Lost()


def collect():
    def called_back(phase, info):
        if phase == "start":
            signal.raise_signal(signal.SIGINT)

    gc.callbacks.append(called_back)
    try:
        gc.collect()
    finally:
        gc.callbacks.remove(called_back)


class LosesCtrlC(io.StringIO):
    def __init__(self, lose, at="1/2"):
        super().__init__()
        self.lose = lose
        self.at = at

    def write(self, text):
        if self.at in text:
            self.lose()
        return super().write(text)


@pytest.mark.parametrize("lose", [delete, collect])
@pytest.mark.filterwarnings("error::pytest.PytestUnraisableExceptionWarning")
def test_an_interrupt_that_python_forgets_stops_training(lose, tmp_path, monkeypatch):
    store = RunStore(tmp_path)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with monkeypatch.context() as patch:
            patch.setattr(sys, "stdout", LosesCtrlC(lose))
            with pytest.raises(KeyboardInterrupt):
                training.train(SMALL, store)
        assert store.find(SMALL) is None
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
        assert training.train(SMALL, store).provenance["resumed"] == 1
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_second_ctrl_c_stops_at_once(tmp_path, monkeypatch):
    told = []

    def press_twice():
        signal.raise_signal(signal.SIGINT)
        told.append("still training")
        signal.raise_signal(signal.SIGINT)
        told.append("forgotten")

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with monkeypatch.context() as patch:
            patch.setattr(sys, "stdout", LosesCtrlC(press_twice))
            with pytest.raises(KeyboardInterrupt):
                training.train(SMALL, RunStore(tmp_path))
    finally:
        signal.signal(signal.SIGINT, before)
    assert told == ["still training"]


def test_ctrl_c_after_the_last_batch_stops_what_comes_next(tmp_path, monkeypatch):
    store = RunStore(tmp_path)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with monkeypatch.context() as patch:
            last = LosesCtrlC(lambda: signal.raise_signal(signal.SIGINT), "2/2")
            patch.setattr(sys, "stdout", last)
            with pytest.raises(KeyboardInterrupt):
                training.train(SMALL, store)
        assert store.find(SMALL) is None
        assert training.train(SMALL, store).provenance["resumed"] == 1
    finally:
        signal.signal(signal.SIGINT, before)


def test_diverged_training_is_kept_as_an_outcome(tmp_path):
    wild = dataclasses.replace(
        SMALL, optimizer="rmsprop", arguments={"learning_rate": 1e20}
    )
    run = training.train(wild, RunStore(tmp_path), progress=False)
    assert not np.isfinite(run.history["loss"][-1])
    assert RunStore(tmp_path).find(wild).history.keys() == set(METRICS)


def test_trains_on_no_other_data_than_described(tmp_path):
    other = dataclasses.replace(SMALL, data="generated-000000000000")
    with pytest.raises(ValueError, match=r"loaded here, official.*='generated-0"):
        training.train(other, RunStore(tmp_path), progress=False)
    assert not list(tmp_path.iterdir())


def test_command_line_trains_lists_and_finds(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("GRAVITY_RUNS", str(tmp_path))
    command = (
        "train --dataset digits --architecture vgg16 --optimizer variant "
        "--argument alpha=0.04 --argument bound=max --width 0.0625 --epochs 1 "
        "--batch-size 16 --train-size 32 --seed 3 --validation-size 10 "
        "--initial-weights he --weight-noise 0.01"
    )
    assert main(command.split()) == 0
    experiment = dataclasses.replace(
        SMALL,
        optimizer="variant",
        arguments={"alpha": 0.04, "bound": "max"},
        epochs=1,
        train_size=32,
        seed=3,
        validation_size=10,
        initial_weights="he",
        weight_noise=0.01,
    )
    record = json.loads((tmp_path / experiment.run_id / "run.json").read_text())
    assert record["experiment"]["arguments"]["alpha"] == 0.04
    capsys.readouterr()
    assert main(["runs"]) == 0
    assert capsys.readouterr().out.startswith(experiment.run_id)


def test_every_field_of_an_experiment_is_an_option(capsys):
    with pytest.raises(SystemExit):
        main(["train", "--help"])
    shown = capsys.readouterr().out
    for field in dataclasses.fields(Experiment):
        option = f"--{field.name.replace('_', '-').removesuffix('s')}"
        offered = f"{option} " in shown or f"{option}s " in shown
        assert offered == (field.name != "data"), field.name
    assert "standard deviation of normal noise" in shown
    assert "vgg16, vgg19, transformer" in shown


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("--dataset imagenet", "`dataset` must be one of"),
        ("--optimizer lion", "`optimizer` must be one of gravity, adam, rmsprop"),
        ("--argument momentum=0.9", "alpha, beta, first_step"),
        ("--argument alpha=wide", "`alpha` of Gravity must be of type float"),
        ("--epochs 0", "`epochs` must be an integer, at least 1"),
    ],
)
def test_command_line_names_what_is_wrong(change, message, capsys):
    command = "train --dataset digits --architecture vgg16 --optimizer gravity"
    assert main([*command.split(), *change.split()]) == 1
    assert message in capsys.readouterr().err


def test_importing_gravity_loads_no_backend():
    code = (
        "import sys; from gravity.experiments import runs, experiment, training;"
        "assert not {'keras', 'tensorflow', 'jax', 'torch'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


MEMORY = """
import resource
import sys
from pathlib import Path

import numpy as np

from gravity.experiments import datasets, environment, training
from gravity.experiments.checkpoints import Checkpoints, Progress
from gravity.experiments.experiment import Experiment

experiment = Experiment(
    dataset="cifar10", architecture="vgg16", optimizer="gravity", width=0.015625,
    epochs=1, batch_size=500,
)
model = training.create_model(experiment)
model.optimizer.build(model.trainable_variables)


def peak():
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


# The first, small one has everything loaded and compiled.
for count in (1000, 10_000):
    x = np.ones((count, 32, 32, 3), "float32")
    y = np.zeros(count, "int32")
    data = datasets.Dataset("cifar10", x, y, x[:500], y[:500], 10)
    before = peak()
    checkpoints = Checkpoints(Path(sys.argv[1]), experiment)
    progress = Progress("", [environment.current()])
    training._fit(model, experiment, data, progress, checkpoints, False)
print((peak() - before) / x.nbytes)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="measures memory as Linux does")
def test_training_holds_its_images_once(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", MEMORY, str(tmp_path)],
        check=True,
        capture_output=True,
        text=True,
    )
    # A second copy of the images, in the order of the epoch say, would make it 1.
    assert float(done.stdout.split()[-1]) < 0.5


def test_whole_epochs_need_jax(tmp_path):
    store = RunStore(tmp_path)
    with pytest.raises(ValueError, match=r"`whole_epochs` must be .* on tensorflow"):
        training.train(SMALL, store, progress=False, whole_epochs=True)
    assert list(store) == []
