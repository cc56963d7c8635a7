"""Trains one experiment, or loads it when it is stored."""

import contextlib
import gc
import hashlib
import math
import os
import shlex
import signal
import sys
import threading
import time
import warnings
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from types import FrameType
from typing import TYPE_CHECKING, Any

import numpy as np

from gravity._shared import initial_velocity
from gravity.experiments import datasets, environment, models, programs
from gravity.experiments.checkpoints import Checkpoints, Progress
from gravity.experiments.experiment import Experiment
from gravity.experiments.optimizers import OPTIMIZERS
from gravity.experiments.runs import METRICS, Run, RunStore

if TYPE_CHECKING:
    import keras

_SETTINGS = ("GRAVITY_RUNS", "GRAVITY_DATA", "KERAS_BACKEND", *environment.THREADS)


def train(
    experiment: Experiment,
    store: RunStore | None = None,
    *,
    progress: bool = True,
    whole_epochs: bool | None = None,
) -> Run:
    """Return the run of `experiment`, training it first if it isn't stored.

    Every finished epoch is kept in `<root>/.unfinished` until the run is stored. A run
    that was stopped, by whatever, goes on after its last finished epoch. On one
    machine, with TensorFlow on a CPU and the same number of threads, its history and
    weights are then bit for bit those of a run that was never stopped. A process that
    finds another one training the same run waits for it.

    The provenance says how long the epochs took in all (`seconds`), how often the run
    was continued (`resumed`), what the final weights are (`weights_sha256`, of their
    bytes in Keras's order), the most memory that the process held until then
    (`peak_memory`, bytes; where the system tells), and the `environment`;
    `earlier_environments` are those of a run that was begun elsewhere.

    Args:
        experiment: what to run.
        store: where to look for the run and to keep it. Defaults to `RunStore()`.
        progress: whether to show a bar with one step an epoch. Defaults to `True`.
        whole_epochs: whether each epoch is one compiled program, as
            `gravity.experiments.programs` has it, rather than a step a call. Needs
            Keras on JAX. `None` (the default) does so where JAX has an accelerator.

    Raises:
        ValueError: the run isn't stored, and is one on other data than
            `gravity.experiments.datasets.load` gives here; or whole epochs are asked
            for where Keras's backend isn't JAX.
        RunStoreError: the store can't be written to; nothing was trained.
        CheckpointError: the run was begun with another backend or other versions.
    """
    if not {"keras", "tensorflow"} & set(sys.modules):
        environment.prepare()
    store = RunStore() if store is None else store
    if stored := store.find(experiment):
        return stored
    present = datasets.DATASETS[experiment.dataset].data
    if experiment.data != present:
        raise ValueError(
            f"Argument `experiment` must be one on the data that are loaded here, "
            f"{present}. Received: {experiment.run_id} with data={experiment.data!r}"
        )
    checkpoints = Checkpoints(store.roots[0], experiment)
    with checkpoints.lock():
        # Another process may have finished it while this one waited.
        if stored := store.find(experiment):
            return stored
        try:
            run = _train(experiment, store, checkpoints, progress, whole_epochs)
        except (KeyboardInterrupt, OSError):
            print(
                "\nStopped. Finished epochs are kept; the next ones are computed by\n"
                f"  {how_to_train(experiment, store)}",
                file=sys.stderr,
            )
            raise
        checkpoints.delete()
        # A network is part of a cycle; Python lets several pile up before it looks.
        gc.collect()
        return run


def how_to_train(experiment: Experiment, store: RunStore) -> str:
    """Return the shell command that trains or continues a run as this process would."""
    roots = os.pathsep.join(str(root.absolute()) for root in store.roots)
    settings = {name: os.environ[name] for name in _SETTINGS if name in os.environ} | (
        {} if store.roots == RunStore().roots else {"GRAVITY_RUNS": roots}
    )
    return shlex.join(
        [
            *(["env"] if settings else []),
            *(f"{name}={value}" for name, value in settings.items()),
            sys.executable,
            *experiment.command,
        ]
    )


def train_all(
    experiments: Iterable[Experiment],
    store: RunStore | None = None,
    *,
    progress: bool = True,
    whole_epochs: bool | None = None,
) -> list[Run]:
    """Return the runs of several experiments; see `train`."""
    store = RunStore() if store is None else store
    return [
        train(experiment, store, progress=progress, whole_epochs=whole_epochs)
        for experiment in experiments
    ]


def create_model(experiment: Experiment) -> "keras.Model":
    """Return the experiment's compiled network, initial weights drawn from its seed."""
    import keras

    keras.utils.set_random_seed(experiment.seed)
    dataset = datasets.DATASETS[experiment.dataset]
    model = models.build(
        experiment.architecture,
        dataset.shape,
        dataset.classes,
        experiment.width,
        experiment.initial_weights,
    )
    if experiment.weight_noise:
        # The numbers that Gravity's initial velocity would have: with noise of the
        # width of its push, a run starts where Gravity with the same seed is pushed.
        for index, variable in enumerate(model.trainable_variables):
            noise = initial_velocity(
                variable.shape, experiment.seed, index, experiment.weight_noise, 1
            )
            variable.assign_sub(noise)
    model.compile(
        optimizer=OPTIMIZERS[experiment.optimizer].create(
            experiment.arguments, experiment.seed
        ),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        steps_per_execution=_steps_together(experiment),
    )
    return model


def _steps_together(experiment: Experiment) -> int:
    """Return how many steps TensorFlow takes at a call; the results are the same.

    A small network's step is short: to call for each takes up to a tenth of the time.
    With a large one there's nothing to gain, and Ctrl-C would have to wait.
    """
    import keras

    small = experiment.width <= 0.25
    return 8 if small and keras.backend.backend() == "tensorflow" else 1


def training_subset(experiment: Experiment, available: int) -> np.ndarray:
    """Return the indices of the training images used, the same for every seed."""
    order = np.random.default_rng(0).permutation(available)
    rest = available - (experiment.validation_size or 0)
    return np.sort(order[:rest][: experiment.train_size])


def validation_subset(experiment: Experiment, available: int) -> np.ndarray:
    """Return the indices of the training images held out, the same for every seed."""
    order = np.random.default_rng(0).permutation(available)
    return np.sort(order[available - (experiment.validation_size or 0) :])


def epoch_order(experiment: Experiment, epoch: int, size: int) -> np.ndarray:
    """Return the order in which epoch `epoch` (from 0) visits `size` images.

    It follows from seed and epoch alone, so that training can start at any epoch, and
    is the same for every optimizer.
    """
    return np.random.default_rng([experiment.seed, epoch]).permutation(size)


def _train(
    experiment: Experiment,
    store: RunStore,
    checkpoints: Checkpoints,
    show: bool,
    whole_epochs: bool | None,
) -> Run:
    here = environment.current()
    if whole_epochs and here["backend"] != "jax":
        raise ValueError(
            "Argument `whole_epochs` must be False or None unless Keras's backend is "
            f"JAX. Received: whole_epochs={whole_epochs} on {here['backend']}"
        )
    if programs.available() if whole_epochs is None else whole_epochs:
        here["whole_epochs"] = True
    data = datasets.load(experiment.dataset)
    model = create_model(experiment)
    # Keras would build it in the first step; what it holds is needed before that.
    model.optimizer.build(model.trainable_variables)
    progress = Progress(datetime.now(UTC).isoformat(timespec="seconds"), [here])
    if kept := checkpoints.load(here):
        progress = _restore(model, here, *kept)
    _fit(model, experiment, data, progress, checkpoints, show)
    weights = hashlib.sha256(b"".join(w.tobytes() for w in _values(model.weights)))
    *earlier, latest = progress.environments
    provenance = {
        "started": progress.started,
        "seconds": round(progress.seconds, 1),
        "resumed": progress.resumed,
        **latest,
        **({"earlier_environments": earlier} if earlier else {}),
        "weights_sha256": weights.hexdigest(),
        **_peak_memory(),
    }
    return store.save(experiment, progress.history, provenance)


def _restore(
    model: "keras.Model",
    here: dict[str, Any],
    progress: Progress,
    values: Sequence[np.ndarray],
) -> Progress:
    """Put a model where a checkpoint was taken, and return the progress from there."""
    variables = [*model.weights, *model.optimizer.variables]
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)
    before = progress.environments[-1]
    for name in ("device", "cores", "threads"):
        if before[name] != here[name]:
            warnings.warn(
                f"The run was begun with {name} {before[name]} and goes on with "
                f"{here[name]}: its last digits will not be those of a run on either",
                RuntimeWarning,
                stacklevel=5,
            )
    if before != here:
        progress.environments.append(here)
    progress.resumed += 1
    return progress


def _values(variables: Iterable["keras.Variable"]) -> list[np.ndarray]:
    import keras

    return [keras.ops.convert_to_numpy(variable) for variable in variables]


def _fit(
    model: "keras.Model",
    experiment: Experiment,
    data: datasets.Dataset,
    progress: Progress,
    checkpoints: Checkpoints,
    show: bool,
) -> None:
    """Train the epochs that are missing, and keep each when it is finished."""
    import keras

    subset = training_subset(experiment, len(data.x_train))
    x, y, held_out = data.x_test, data.y_test, np.arange(len(data.x_test))
    if experiment.validation_size is not None:
        x, y = data.x_train, data.y_train
        held_out = validation_subset(experiment, len(x))
    if progress.environments[-1].get("whole_epochs"):
        program = programs.Programs(
            [model], [], data, (x, y, held_out), experiment.batch_size
        )
    else:
        program = None
        validation = _batches(x, y, held_out, experiment.batch_size)
    done = kept = progress.epochs
    if show:
        device = progress.environments[-1]["device"]
        print(f"{describe(experiment)}, on {device}", file=sys.stderr)
        if done:
            print(f"Continuing after epoch {done}", file=sys.stderr)
        bar = keras.utils.Progbar(
            experiment.epochs - done, unit_name="epoch", stateful_metrics=METRICS
        )
    with _interruptible() as stops:
        for epoch in range(done, experiment.epochs):
            clock = time.perf_counter()
            order = subset[epoch_order(experiment, epoch, len(subset))]
            if program:
                stops.check()
                (logs,) = program.run([order])
            else:
                history = model.fit(
                    _batches(data.x_train, data.y_train, order, experiment.batch_size),
                    shuffle=False,
                    initial_epoch=epoch,
                    epochs=epoch + 1,
                    validation_data=validation,
                    verbose=0,
                    callbacks=[stops],
                ).history
                logs = {metric: history[metric][0] for metric in METRICS}
            for metric in METRICS:
                progress.history[metric].append(float(logs[metric]))
            progress.seconds += time.perf_counter() - clock
            try:
                checkpoints.save(
                    progress, _values([*model.weights, *model.optimizer.variables])
                )
                kept = progress.epochs
            except OSError as error:
                # To stop would lose this epoch; to go on may lose none.
                warnings.warn(
                    f"Epoch {epoch + 1} of {experiment.epochs} could not be kept: "
                    f"{error}. Training goes on; were it stopped now, it would "
                    f"continue after epoch {kept}. Make room in {checkpoints.folder}",
                    RuntimeWarning,
                    stacklevel=5,
                )
            if show:
                values = [(m, progress.history[m][-1]) for m in METRICS]
                bar.update(epoch + 1 - done, values)


@contextlib.contextmanager
def _interruptible() -> Iterator[Any]:
    """Yield a callback that raises `KeyboardInterrupt` once Ctrl-C was pressed.

    It does so after each batch, and when its method `check` is called.

    Python only reports what is raised while it deletes an object or calls back from
    its garbage collector. TensorFlow's objects take long to delete, and every epoch
    leaves some. So the signal is noted, and the callback looks after each batch. A
    second Ctrl-C stops at once.
    """
    import keras

    pressed = False
    usual = signal.default_int_handler

    def press(number: int, frame: FrameType | None) -> None:
        nonlocal pressed
        pressed = True
        signal.signal(signal.SIGINT, usual)

    class Stops(keras.callbacks.Callback):
        # Without this, Keras would wait for every step's result on a TPU.
        async_safe = True

        def check(self) -> None:
            if pressed:
                raise KeyboardInterrupt

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            self.check()

        def on_test_batch_end(self, batch: int, logs: Any = None) -> None:
            self.check()

    stops = Stops()
    if (
        threading.current_thread() is not threading.main_thread()
        or signal.getsignal(signal.SIGINT) is not usual
    ):
        yield stops
        return
    signal.signal(signal.SIGINT, press)
    try:
        yield stops
    finally:
        signal.signal(signal.SIGINT, usual)
    # Pressed after the last batch, it still is to stop what comes next.
    stops.check()


def _batches(x: np.ndarray, y: np.ndarray, order: np.ndarray, size: int) -> Any:
    """Return what Keras reads images and labels from in an order, a batch at a time.

    To put all of them into the order first would hold them in memory twice.
    """
    import keras

    def fetch(chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return x[chosen], y[chosen]

    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        # Keras would make a generator in Python of the class below, which takes up to a
        # twentieth of a step's time from the step.
        def batch(chosen: Any) -> tuple[Any, Any]:
            types = tf.as_dtype(x.dtype), tf.as_dtype(y.dtype)
            images, labels = tf.numpy_function(fetch, [chosen], types, stateful=False)
            images.set_shape([None, *x.shape[1:]])
            labels.set_shape([None, *y.shape[1:]])
            return images, labels

        dataset = tf.data.Dataset.from_tensor_slices(order)
        return dataset.batch(size).map(batch).prefetch(1)

    class Batches(keras.utils.PyDataset):
        def __len__(self) -> int:
            return math.ceil(len(order) / size)

        def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
            return fetch(order[index * size : (index + 1) * size])

    return Batches()


def describe(experiment: Experiment) -> str:
    """Return one line that tells a reader what is being trained."""
    defaults = OPTIMIZERS[experiment.optimizer].defaults
    arguments = ", ".join(
        f"{name}={value if isinstance(value, str) else f'{value:g}'}"
        for name, value in experiment.arguments.items()
        if name == "learning_rate" or value != defaults[name]
    )
    dataset = datasets.DATASETS[experiment.dataset]
    start = "from He's weights, " if experiment.initial_weights == "he" else ""
    if experiment.weight_noise:
        start += f"with noise of {experiment.weight_noise:g} on them, "
    return (
        f"{experiment.title} ({arguments}), {start}width {experiment.width:g}, "
        f"{experiment.epochs} epochs of "
        f"{experiment.train_size or dataset.train_size:,} {dataset.unit} in batches of "
        f"{experiment.batch_size}, seed {experiment.seed}"
    )


def _peak_memory() -> dict[str, int]:
    with contextlib.suppress(ImportError):  # Windows doesn't have it.
        import resource

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return {"peak_memory": peak if sys.platform == "darwin" else peak * 1024}
    return {}
