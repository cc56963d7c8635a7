"""One run on several devices, by the programs that the book shows."""

import json
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from gravity.experiments.experiment import Experiment
from gravity.experiments.runs import RunStore

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "book/howto/devices.md").read_text()
SMALL = Experiment(
    dataset="digits",
    architecture="vgg16",
    optimizer="gravity",
    width=0.0625,
    epochs=2,
    batch_size=16,
    train_size=64,
)
# Rounding alone: sums are taken in another order.
TOLERANCE = 1e-5

# Appended to a program: the initial velocity and the trained weights on every device.
JAX_CHECK = """
import numpy as np

model = training.create_model(run.experiment)
model.optimizer.build(model.trainable_variables)
for variable in model.optimizer.velocities:
    first, second = (np.asarray(s.data) for s in variable.value.addressable_shards)
    assert first.shape == variable.shape
    np.testing.assert_array_equal(first, second)
    print("V0", float(np.abs(first).sum(dtype="float64")))
"""
MIRRORED_CHECK = """
import numpy as np

with tf.distribute.MirroredStrategy(["GPU:0", "GPU:1"]).scope():
    model = training.create_model(run.experiment)
    model.optimizer.build(model.trainable_variables)
for variable in model.optimizer.velocities:
    first, second = (copy.numpy() for copy in variable.value.values)
    np.testing.assert_array_equal(first, second)
    print("V0", float(np.abs(first).sum(dtype="float64")))
"""
WORKER_CHECK = """
import hashlib

import numpy as np


def digest(variables):
    (values,) = zip(*(variable.value.values for variable in variables))
    return hashlib.sha256(b"".join(value.numpy().tobytes() for value in values))


print("weights", digest(model.trainable_variables).hexdigest())
with strategy.scope():
    model = training.create_model(described)
    model.optimizer.build(model.trainable_variables)
print("velocities", digest(model.optimizer.velocities).hexdigest())
for variable in model.optimizer.velocities:
    print("V0", float(np.abs(variable.value.values[0].numpy()).sum(dtype="float64")))
"""
ONE_DEVICE = """
import keras, numpy as np
from gravity.experiments import experiment, training

run = training.train(experiment.Experiment(**{description}))
model = training.create_model(run.experiment)
model.optimizer.build(model.trainable_variables)
for variable in model.optimizer.velocities:
    value = keras.ops.convert_to_numpy(variable)
    print("V0", float(np.abs(value).sum(dtype="float64")))
"""
TWO_CPUS = """
import tensorflow as tf

tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0],
    2 * [tf.config.LogicalDeviceConfiguration()],
)
"""


def program(heading):
    """The program under one of the page's headings."""
    section = PAGE.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    (code,) = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    return code


def start(code, folder, **settings):
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("GRAVITY_", "KERAS_", "XLA_", "TF_"))
    }
    folder.mkdir()
    return subprocess.Popen(
        [sys.executable, "-c", code],
        env=kept | {"GRAVITY_RUNS": str(folder), "PYTHONPATH": str(ROOT), **settings},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def printed(process, word):
    """What a program printed after `word`, once it ended well."""
    if not hasattr(process, "text"):
        process.text, errors = process.communicate()
        assert process.returncode == 0, errors[-4000:]
    return re.findall(rf"^{word} (.*)$", process.text, re.MULTILINE)


def one_device(folder, backend):
    """A run on one device; its history and the sums of |V0|."""
    description = SMALL.describe()
    del description["training_rules"]
    process = start(
        ONE_DEVICE.replace("{description}", repr(description)),
        folder,
        KERAS_BACKEND=backend,
    )
    velocities = printed(process, "V0")
    return RunStore(folder).find(SMALL).history, velocities


def assert_same(run, alone):
    assert "0, " in run.provenance["device"], "there was one device"
    for metric, values in run.history.items():
        assert values == pytest.approx(alone[metric], rel=TOLERANCE), metric


def test_jax_on_two_devices_gives_the_losses_of_one(tmp_path):
    two = start(
        program("Several GPUs or TPU chips, on JAX") + JAX_CHECK,
        tmp_path / "two",
        KERAS_BACKEND="jax",
        XLA_FLAGS="--xla_force_host_platform_device_count=2",
    )
    velocities = printed(two, "V0")
    alone, expected = one_device(tmp_path / "one", "jax")
    assert velocities == expected
    assert_same(RunStore(tmp_path / "two").find(SMALL), alone)


@pytest.mark.slow
def test_mirrored_tensorflow_gives_the_losses_of_one_device(tmp_path):
    code = program("Several GPUs, on TensorFlow") + MIRRORED_CHECK
    two = start(
        TWO_CPUS + code.replace("GPU:", "CPU:"),
        tmp_path / "two",
        KERAS_BACKEND="tensorflow",
    )
    velocities = printed(two, "V0")
    alone, expected = one_device(tmp_path / "one", "tensorflow")
    assert velocities == expected
    assert_same(RunStore(tmp_path / "two").find(SMALL), alone)


@pytest.mark.slow
def test_two_tensorflow_workers_give_the_losses_of_one_device(tmp_path):
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
    workers = [f"127.0.0.1:{each.getsockname()[1]}" for each in sockets]
    for each in sockets:
        each.close()
    code = program("Several hosts, on TensorFlow") + WORKER_CHECK
    processes = [
        start(
            code,
            tmp_path / f"worker{index}",
            KERAS_BACKEND="tensorflow",
            TF_CONFIG=json.dumps(
                {
                    "cluster": {"worker": workers},
                    "task": {"type": "worker", "index": index},
                }
            ),
        )
        for index in range(2)
    ]
    try:
        for word in ("weights", "velocities", "V0", "loss"):
            first, second = (printed(process, word) for process in processes)
            assert first
            assert first == second
        losses = [float(loss) for loss in printed(processes[0], "loss")]
    finally:
        for process in processes:
            process.kill()
    alone, expected = one_device(tmp_path / "one", "tensorflow")
    assert printed(processes[0], "V0") == expected
    assert losses == pytest.approx(alone["loss"], rel=TOLERANCE)
