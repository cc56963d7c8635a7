"""Training steps of VGG16 in several frameworks, each in a process of its own.

`compare` starts a worker for each, on as many cores as asked for, and has them train in
turns. A worker reads the number of steps from its input, trains that many batches and
answers with the seconds that one took.
"""

import importlib.util
import json
import math
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

BATCH = 128
TURNS = 7
# A step that takes longer than this is timed once and doesn't hold up the others.
LONGEST = 8.0
# Seconds after which a worker that doesn't answer is given up.
PATIENCE = 240.0

NEEDS = {
    "train": "tensorflow",
    "Gravity's update": "tensorflow",
    "Keras on TensorFlow": "tensorflow",
    "Keras on JAX": "jax",
    "torch": "torch",
    "torch, channels last": "torch",
    "limit": "torch",
}


def compare(
    width: float, threads: int, put: Callable[[str, Any], None], seconds: float
) -> None:
    """Put the time of a step for each peer, or why there is none.

    Args:
        width: of the network.
        threads: the number of cores that a worker may use.
        put: takes a peer's name and what was measured.
        seconds: after which no turn begins.
    """
    deadline = time.perf_counter() + seconds
    workers: dict[str, subprocess.Popen[str]] = {}
    for name, package in NEEDS.items():
        if importlib.util.find_spec(package) is None:
            put(name, f"{package} isn't installed")
        elif threads > (os.cpu_count() or 1):
            put(name, "the machine has fewer cores")
        elif name == "Keras on JAX" and threads == 1:
            # Its client waits for a second thread of its own for ever.
            put(name, "JAX doesn't run on one core alone")
        else:
            workers[name] = _start(name, width, threads)
    times: dict[str, list[float]] = {name: [] for name in workers}
    counts: dict[str, int] = {}
    try:
        # One after the other, so that none compiles while another is timed.
        for name in list(workers):
            again = _ask(workers[name], 1)
            if again is not None and again <= LONGEST:
                # The first also has what is done only once.
                again = _ask(workers[name], 1)
            if again is None:
                put(name, "its process ended or didn't answer")
                workers.pop(name)
            elif again > LONGEST:
                put(name, {"seconds": again, "turns": 1})
                _stop(workers.pop(name))
            else:
                # About a third of a second a turn.
                counts[name] = max(1, min(20, round(0.3 / again)))
        for turn in range(TURNS):
            for name in list(workers):
                if turn and time.perf_counter() > deadline:
                    return
                taken = _ask(workers[name], counts[name])
                if taken is None:
                    put(name, "its process ended or didn't answer")
                    workers.pop(name)
                    continue
                times[name].append(taken)
                value = {"seconds": min(times[name]), "turns": len(times[name])}
                put(name, value)
    finally:
        for worker in workers.values():
            _stop(worker)


def side_by_side(width: float, put: Callable[[str, Any], None], seconds: float) -> None:
    """Put the time of a step of each of two runs, trained in two ways.

    One after the other, a run has two threads. Side by side, each has one, on a core of
    its own. So that both can be compared, the time is that of two steps, one of each.

    Args:
        width: of the networks.
        put: takes a way and what was measured.
        seconds: after which no turn begins.
    """
    deadline = time.perf_counter() + seconds
    alone = _start("train", width, 2)
    pair = [_start("train", width, 1, core) for core in (0, 1)]
    times: dict[str, list[float]] = {"one after the other": [], "side by side": []}
    try:
        with ThreadPoolExecutor() as pool:
            again, *_ = pool.map(_ask, (alone, *pair), (1, 1, 1))
            if again is None:
                return
            count = max(8, round(0.5 / again))
            for turn in range(TURNS):
                if turn and time.perf_counter() > deadline:
                    return
                one = _ask(alone, count)
                both = list(pool.map(_ask, pair, (count, count)))
                if one is None or None in both:
                    return
                times["one after the other"].append(2 * one)
                times["side by side"].append(max(filter(None, both)))
                for way, taken in times.items():
                    put(way, {"seconds": min(taken), "turns": len(taken)})
    finally:
        for worker in (alone, *pair):
            _stop(worker)


def _start(
    name: str, width: float, threads: int, core: int = 0
) -> "subprocess.Popen[str]":
    settings = {
        **os.environ,
        "OMP_NUM_THREADS": str(threads),
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "KERAS_BACKEND": "jax" if name == "Keras on JAX" else "tensorflow",
    }
    # Plain Keras has what TensorFlow does of itself.
    settings.pop("TF_ENABLE_ONEDNN_OPTS", None)
    return subprocess.Popen(
        [sys.executable, __file__, name, str(width), str(threads), str(core)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=settings,
    )


def _ask(worker: "subprocess.Popen[str]", steps: int) -> float | None:
    assert worker.stdin
    assert worker.stdout
    # Killed, it answers with the end of its output.
    timer = threading.Timer(PATIENCE, worker.kill)
    timer.start()
    try:
        worker.stdin.write(f"{steps}\n")
        worker.stdin.flush()
        # Libraries may write there too.
        for line in worker.stdout:
            if line.startswith("seconds "):
                return float(line.split()[1])
    except BrokenPipeError:
        pass
    finally:
        timer.cancel()
    return None


def _stop(worker: "subprocess.Popen[str]") -> None:
    worker.kill()
    worker.wait()


def _experiment(width: float) -> Any:
    from gravity.experiments.experiment import paper_experiment

    return type(paper_experiment("cifar10", "vgg16", "gravity"))(
        dataset="cifar10", architecture="vgg16", optimizer="gravity", width=width
    )


def _batches(count: int) -> tuple[Any, Any]:
    import numpy as np

    stream = np.random.default_rng(0)
    images = stream.random((count * BATCH, 32, 32, 3), "float32")
    return images, stream.integers(0, 10, count * BATCH, "int32")


def _keras(name: str, width: float) -> Callable[[int], float]:
    ours = name == "train"
    if ours:
        from gravity.experiments import environment, training

        environment.prepare()
    else:
        from gravity.experiments import models
    import keras
    import numpy as np

    class Clock(keras.callbacks.Callback):
        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            self.ends.append((batch, time.perf_counter()))

    clock = Clock()
    settings = {"shuffle": False, "verbose": 0, "callbacks": [clock]}
    if ours:
        model = training.create_model(_experiment(width))
    else:
        model = models.build("vgg16", (32, 32, 3), 10, width)
        model.compile(
            optimizer=keras.optimizers.Adam(),
            loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            metrics=["accuracy"],
        )

    def train(steps: int) -> float:
        # From the end of the first batches to the end of the last: `fit` itself takes
        # time too. A callback hears of several steps that are taken at a call as one.
        together = model.steps_per_execution
        count = (math.ceil(steps / together) + 1) * together
        images, labels = _batches(count)
        clock.ends = []
        if ours:
            order = np.arange(len(images))
            batches = training._batches(images, labels, order, BATCH)
            model.fit(batches, **settings)
        else:
            model.fit(images, labels, batch_size=BATCH, **settings)
        (first, begun), *_, (last, ended) = clock.ends
        return (ended - begun) / (last - first)

    return train


def _gravitys_update(width: float) -> Callable[[int], float]:
    from gravity.experiments import environment, training

    environment.prepare()
    model = training.create_model(_experiment(width))
    import tensorflow as tf

    optimizer = model.optimizer
    variables = model.trainable_variables
    optimizer.build(variables)
    gradients = [tf.random.normal(W.shape, stddev=0.01) for W in variables]
    update = tf.function(lambda *grads: optimizer.apply(list(grads), variables))
    nothing = tf.function(lambda *grads: tf.identity(grads[-1]))

    def seconds(call: Callable[..., object], steps: int) -> float:
        call(*gradients)
        clock = time.perf_counter()
        for _ in range(steps):
            call(*gradients)
        return (time.perf_counter() - clock) / steps

    def train(steps: int) -> float:
        # Within a step, nothing has to hand TensorFlow the gradients one by one.
        return seconds(update, steps) - seconds(nothing, steps)

    return train


def _torch(width: float, last: bool, threads: int) -> Callable[[int], float]:
    import torch
    from torch import nn

    from gravity.experiments import models

    torch.set_num_threads(threads)
    layers: list[nn.Module] = []
    for layer in models.vgg_layers("vgg16", channels=3, classes=10, width=width):
        inputs, outputs = layer.shape[-2:]
        if layer.side > 1:
            layers += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU(True)]
        else:
            layers += [nn.Linear(inputs, outputs), nn.ReLU(True)]
        if layer.pooled:
            layers.append(nn.MaxPool2d(2))
            if layer.side == 2:
                layers.append(nn.Flatten())
    # The last layer gives logits.
    layers.pop()
    order = torch.channels_last if last else torch.contiguous_format
    network = nn.Sequential(*layers).to(memory_format=order)
    optimizer = torch.optim.Adam(network.parameters(), fused=True)

    def train(steps: int) -> float:
        images, labels = _batches(1)
        x = torch.from_numpy(images).permute(0, 3, 1, 2).contiguous(memory_format=order)
        y = torch.from_numpy(labels).long()
        clock = time.perf_counter()
        for _ in range(steps):
            optimizer.zero_grad()
            nn.functional.cross_entropy(network(x), y).backward()
            optimizer.step()
        return (time.perf_counter() - clock) / steps

    return train


def _limit(width: float, threads: int) -> Callable[[int], float]:
    """The step's multiplications at the speed of multiplying two large matrices."""
    import torch

    from gravity.experiments import models

    torch.set_num_threads(threads)
    side = 2048
    a, b = torch.randn(side, side), torch.randn(side, side)
    c = torch.empty(side, side)
    operations = BATCH * models.operations("vgg16", (32, 32, 3), 10, width)

    def train(steps: int) -> float:
        times = []
        for _ in range(3):
            clock = time.perf_counter()
            torch.mm(a, b, out=c)
            times.append(time.perf_counter() - clock)
        return operations * min(times) / (2 * side**3)

    return train


def worker(name: str, width: float, threads: int, core: int) -> None:
    if hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))[core : core + threads]
        os.sched_setaffinity(0, cores)
    train: Callable[[int], float]
    if name == "limit":
        train = _limit(width, threads)
    elif name.startswith("torch"):
        train = _torch(width, name != "torch", threads)
    elif name == "Gravity's update":
        train = _gravitys_update(width)
    else:
        train = _keras(name, width)
    for line in sys.stdin:
        print(f"seconds {train(int(line))}", flush=True)


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    if len(sys.argv) == 5:
        worker(sys.argv[1], float(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
    else:
        measured: dict[str, Any] = {}
        compare(0.125, 1, measured.__setitem__, 60)
        print(json.dumps(measured, indent=1))
