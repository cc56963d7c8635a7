"""Trains one experiment, or loads it when it is stored."""

import contextlib
import os
import platform
import sys
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from importlib import metadata
from typing import TYPE_CHECKING, Any

import numpy as np

from gravity import datasets, models
from gravity.experiment import OPTIMIZERS, Experiment
from gravity.runs import METRICS, Run, RunStore, code_version

if TYPE_CHECKING:
    import keras

# Off by default on AMD processors, where it makes training VGG about four times faster;
# TensorFlow reads it once, on import.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")


def train(
    experiment: Experiment, store: RunStore | None = None, *, progress: bool = True
) -> Run:
    """Return the run of `experiment`, training it first if it isn't stored.

    Args:
        experiment: what to run.
        store: where to look for the run and to keep it. Defaults to `RunStore()`.
        progress: whether to show a bar with one step an epoch. Defaults to `True`.

    Raises:
        ValueError: the run isn't stored, and is one on other data than
            `gravity.datasets.load` gives here.
    """
    store = RunStore() if store is None else store
    if stored := store.find(experiment):
        return stored
    present = datasets.DATASETS[experiment.dataset].data
    if experiment.data != present:
        raise ValueError(
            f"Argument `experiment` must be one on the data that are loaded here, "
            f"{present}. Received: {experiment.run_id} with data={experiment.data!r}"
        )
    data = datasets.load(experiment.dataset)
    started = datetime.now(UTC)
    clock = time.perf_counter()
    history = _fit(experiment, data, progress)
    provenance = {
        "started": started.isoformat(timespec="seconds"),
        "seconds": round(time.perf_counter() - clock, 1),
        **environment(),
    }
    return store.save(experiment, history, provenance)


def train_all(
    experiments: Iterable[Experiment],
    store: RunStore | None = None,
    *,
    progress: bool = True,
) -> list[Run]:
    """Return the runs of several experiments; see `train`."""
    store = RunStore() if store is None else store
    return [train(experiment, store, progress=progress) for experiment in experiments]


def environment() -> dict[str, Any]:
    """Return code, libraries, backend and device that a run made now would have."""
    import keras

    backend = keras.backend.backend()
    packages = ("keras", backend, "numpy")
    return {
        **code_version(),
        "versions": {
            "python": platform.python_version(),
            **{package: metadata.version(package) for package in packages},
        },
        "backend": backend,
        "device": f"{', '.join(keras.distribution.list_devices())} ({_processor()})",
        "cores": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
        "system": platform.platform(),
    }


def create_optimizer(experiment: Experiment) -> "keras.optimizers.Optimizer":
    """Return the experiment's optimizer, Gravity with the experiment's seed."""
    import keras

    from gravity.optimizer import Gravity

    arguments: dict[str, Any] = dict(experiment.arguments)
    if experiment.optimizer == "gravity":
        return Gravity(**arguments, seed=experiment.seed)
    classes = {"adam": keras.optimizers.Adam, "rmsprop": keras.optimizers.RMSprop}
    return classes[experiment.optimizer](**arguments)


def create_model(experiment: Experiment) -> "keras.Model":
    """Return the experiment's compiled network, initial weights drawn from its seed."""
    import keras

    keras.utils.set_random_seed(experiment.seed)
    dataset = datasets.DATASETS[experiment.dataset]
    model = models.build(
        experiment.architecture, dataset.shape, dataset.classes, experiment.width
    )
    model.compile(
        optimizer=create_optimizer(experiment),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    return model


def training_subset(experiment: Experiment, available: int) -> np.ndarray:
    """Return the indices of the training images used, the same for every seed."""
    order = np.random.default_rng(0).permutation(available)
    return np.sort(order[: experiment.train_size])


def epoch_order(experiment: Experiment, epoch: int, size: int) -> np.ndarray:
    """Return the order in which epoch `epoch` (from 0) visits `size` images.

    It follows from seed and epoch alone, so that training can start at any epoch, and
    is the same for every optimizer.
    """
    return np.random.default_rng([experiment.seed, epoch]).permutation(size)


def _fit(
    experiment: Experiment, data: datasets.Dataset, progress: bool
) -> dict[str, list[float]]:
    import keras

    model = create_model(experiment)
    subset = training_subset(experiment, len(data.x_train))
    history: dict[str, list[float]] = {metric: [] for metric in METRICS}
    if progress:
        print(describe(experiment), file=sys.stderr)
        bar = keras.utils.Progbar(
            experiment.epochs, unit_name="epoch", stateful_metrics=METRICS
        )
    for epoch in range(experiment.epochs):
        order = subset[epoch_order(experiment, epoch, len(subset))]
        logs = model.fit(
            data.x_train[order],
            data.y_train[order],
            batch_size=experiment.batch_size,
            shuffle=False,
            initial_epoch=epoch,
            epochs=epoch + 1,
            validation_data=(data.x_test, data.y_test),
            verbose=0,
        ).history
        for metric in METRICS:
            history[metric].append(float(logs[metric][0]))
        if progress:
            bar.update(epoch + 1, [(m, history[m][-1]) for m in METRICS])
    return history


def describe(experiment: Experiment) -> str:
    """Return one line that tells a reader what is being trained."""
    defaults = OPTIMIZERS[experiment.optimizer]
    arguments = ", ".join(
        f"{name}={value:g}"
        for name, value in experiment.arguments.items()
        if name == "learning_rate" or value != defaults[name]
    )
    images = experiment.train_size or datasets.DATASETS[experiment.dataset].train_size
    return (
        f"{experiment.title} ({arguments}), width {experiment.width:g}, "
        f"{experiment.epochs} epochs of {images:,} images in batches of "
        f"{experiment.batch_size}, seed {experiment.seed}"
    )


def _processor() -> str:
    with contextlib.suppress(OSError), open("/proc/cpuinfo") as file:
        for line in file:
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()
