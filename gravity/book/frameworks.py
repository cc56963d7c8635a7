"""Drives every implementation of Gravity through the same updates, to compare them.

A process has one Keras backend, and one precision of JAX. So each framework runs in a
process of its own:

    python -m gravity.book.frameworks NAME CASES RESULTS

reads cases from one file and writes what came out to another; `follow` calls it. A
complete run for the book is stored by `python -m gravity.book.frameworks --store FILE`.
"""

import argparse
import importlib.util
import json
import os
import pickle
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from gravity import kinematics
from gravity._shared import initial_velocity
from gravity.experiments.environment import code_version
from gravity.experiments.runs import default_roots

Array: TypeAlias = NDArray[Any]

NEEDS: Mapping[str, tuple[str, ...]] = {
    "NumPy": (),
    "Keras on TensorFlow": ("keras", "tensorflow"),
    "Keras on JAX": ("keras", "jax"),
    "Keras on PyTorch": ("keras", "torch"),
    "PyTorch": ("torch",),
    "optax": ("jax", "optax"),
}
"""The implementations, and the packages that each needs."""

BACKENDS = {"TensorFlow": "tensorflow", "JAX": "jax", "PyTorch": "torch"}


@dataclass(frozen=True)
class Case:
    """One variable, and what to update it with.

    Attributes:
        start: the weights at the start. Their type is the one to compute in.
        gradients: the gradient of each update, shape `(steps, *start.shape)`; or the
            number of updates down the slope of `rosenbrock_slope`, at the weights that
            the framework itself has come to.
        rates: the learning rate at the start and, by the number of the first update
            that it holds for, every later one. Keras keeps rates in float32: a
            comparison in float64 needs rates that float32 has exactly.
        alpha, beta, seed, first_step, weight_decay: as in `gravity.Gravity`.
    """

    start: Array
    gradients: Array | int
    rates: Mapping[int, float]
    alpha: float = 0.01
    beta: float = 0.9
    seed: int = 0
    first_step: int = 0
    weight_decay: float = 0.0

    @property
    def steps(self) -> int:
        """The number of updates."""
        return (
            self.gradients if isinstance(self.gradients, int) else len(self.gradients)
        )

    @property
    def V_0(self) -> Array:  # noqa: N802
        """The initial velocity."""
        noise = initial_velocity(
            self.start.shape, self.seed, 0, self.alpha, self.rates[0]
        )
        return noise.astype(self.start.dtype)

    def gradient(self, W: Array, step: int) -> Array:
        """Return the gradient of an update."""
        if isinstance(self.gradients, int):
            return rosenbrock_slope(W)
        return self.gradients[step]


def rosenbrock_slope(W: Array) -> Array:
    """Return the slope of Rosenbrock's function, over 50 as in `five_frameworks`.

    Args:
        W: a point, of shape `(2,)`. The minimum is at (1, 1).
    """
    x, y = W
    slope = np.array([2 * (x - 1) - 400 * x * (y - x**2), 200 * (y - x**2)]) / 50
    return slope.astype(W.dtype)


Trajectory: TypeAlias = tuple[Array, Array]
"""The weights and the velocity after each update, each `(steps, *shape)`."""


def _numpy(case: Case) -> Iterator[tuple[Array, Array]]:
    W, V = case.start.astype("float64"), case.V_0.astype("float64")
    rate = case.rates[0]
    for step in range(case.steps):
        rate = case.rates.get(step, rate)
        G = case.gradient(W, step).astype("float64")
        W = W - rate * case.weight_decay * W
        t = step + case.first_step
        W, V = (np.asarray(x) for x in kinematics.update(W, V, G, t, rate, case.beta))
        yield W, V


def _keras(case: Case) -> Iterator[tuple[Array, Array]]:
    import keras

    from gravity.optimizer import Gravity

    later = {step: rate for step, rate in case.rates.items() if step}
    schedule = keras.optimizers.schedules.PiecewiseConstantDecay(
        [step - 1 for step in later], [case.rates[0], *later.values()]
    )
    W = keras.Variable(case.start, dtype=str(case.start.dtype))
    optimizer = Gravity(
        schedule if later else case.rates[0],
        case.alpha,
        case.beta,
        case.seed,
        case.first_step,
        weight_decay=case.weight_decay or None,
    )
    optimizer.build([W])
    for step in range(case.steps):
        G = case.gradient(keras.ops.convert_to_numpy(W), step)
        # Keras takes a NumPy scalar for a Python number, and that for float32.
        optimizer.apply([keras.ops.convert_to_tensor(G, W.dtype)], [W])
        yield (
            np.array(keras.ops.convert_to_numpy(W)),
            np.array(keras.ops.convert_to_numpy(optimizer.velocities[0])),
        )


def _torch(case: Case) -> Iterator[tuple[Array, Array]]:
    import torch

    from gravity.torch import Gravity

    W = torch.nn.Parameter(torch.tensor(case.start))
    optimizer = Gravity(
        [W],
        case.rates[0],
        case.alpha,
        case.beta,
        case.weight_decay,
        seed=case.seed,
        first_step=case.first_step,
    )

    def factor(step: int) -> float:
        return case.rates[max(first for first in case.rates if first <= step)]

    scheduler = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: factor(step) / case.rates[0]
    )
    for step in range(case.steps):
        W.grad = torch.tensor(case.gradient(W.detach().numpy(), step))
        optimizer.step()
        scheduler.step()
        V = optimizer.state[W]["velocity"]
        yield W.detach().numpy().copy(), V.numpy().copy()


def _optax(case: Case) -> Iterator[tuple[Array, Array]]:
    import jax
    import jax.numpy as jnp
    import optax

    from gravity.optax import gravity

    rate: Any = case.rates[0]
    if len(case.rates) > 1:
        values = list(case.rates.values())
        factors = zip(values[1:], values, strict=False)
        rate = optax.piecewise_constant_schedule(
            rate,
            dict(zip(list(case.rates)[1:], (b / a for b, a in factors), strict=True)),
        )
    optimizer = gravity(
        rate,
        case.alpha,
        case.beta,
        key=case.seed,
        first_step=case.first_step,
        weight_decay=case.weight_decay,
    )
    W = jnp.asarray(case.start)
    # JAX draws other numbers; these are what the others start from.
    state = optax.tree.set(optimizer.init(W), velocity=jnp.asarray(case.V_0))
    update = jax.jit(optimizer.update)
    for step in range(case.steps):
        G = jnp.asarray(case.gradient(np.asarray(W), step))
        updates, state = update(G, state, W)
        W = optax.apply_updates(W, updates)
        yield np.asarray(W), np.asarray(optax.tree.get(state, "velocity"))


def _driver(name: str) -> Callable[[Case], Iterator[tuple[Array, Array]]]:
    drivers = {"NumPy": _numpy, "PyTorch": _torch, "optax": _optax}
    return drivers.get(name, _keras)


def missing(name: str) -> list[str]:
    """Return the packages that an implementation needs and this environment lacks."""
    return [need for need in NEEDS[name] if importlib.util.find_spec(need) is None]


def follow(name: str, cases: Sequence[Case]) -> list[Trajectory]:
    """Return the path that one implementation takes in each case.

    Args:
        name: one of `NEEDS`. NumPy computes in float64, whatever the case's type.
        cases: what to do; for JAX all in float32 or all in float64.

    Returns:
        For each case the weights and the velocity after each update, each of shape
        `(steps, *start.shape)`.

    Raises:
        RuntimeError: the implementation's process failed; its output is the message.
    """
    if name == "NumPy":
        return _follow_here(name, cases)
    double = any(case.start.dtype == "float64" for case in cases)
    environment = {
        **os.environ,
        "KERAS_BACKEND": BACKENDS.get(name.removeprefix("Keras on "), "tensorflow"),
        "JAX_ENABLE_X64": "1" if double else "0",
        "TF_CPP_MIN_LOG_LEVEL": "2",
    }
    with tempfile.TemporaryDirectory() as folder:
        files = given, found = Path(folder, "cases"), Path(folder, "results")
        given.write_bytes(pickle.dumps(list(cases)))
        command = [
            sys.executable,
            "-m",
            "gravity.book.frameworks",
            name,
            *map(str, files),
        ]
        run = subprocess.run(command, env=environment, capture_output=True, text=True)
        if run.returncode:
            raise RuntimeError(f"{name} failed: {run.stderr}")
        return pickle.loads(found.read_bytes())


def _follow_here(name: str, cases: Sequence[Case]) -> list[Trajectory]:
    paths = []
    for case in cases:
        weights, velocities = zip(*_driver(name)(case), strict=True)
        paths.append((np.array(weights), np.array(velocities)))
    return paths


def difference(path: Array, reference: Array, start: Array) -> Array:
    """Return how far a path is from another after each update.

    Args:
        path: the values after each update, shape `(steps, *shape)`.
        reference: the values to compare with, of the same shape.
        start: the value before the first update.

    Returns:
        The largest difference in the tensor, relative to the largest number that was
        in the reference so far; shape `(steps,)`.
    """

    def largest(values: Array) -> Array:
        return np.abs(values).reshape(len(values), -1).max(axis=1)

    sizes = largest(np.concatenate([start[None], reference]).astype("float64"))
    return largest(path - reference) / np.maximum.accumulate(sizes)[1:]


STORED = "five_frameworks.json"


def store(file: str | os.PathLike[str]) -> None:
    """Run the book's case in every implementation, and write what came out.

    Args:
        file: the JSON file to write.

    Raises:
        RuntimeError: a package is missing.
    """
    lacking = {need for name in NEEDS for need in missing(name)}
    if lacking:
        raise RuntimeError(f"A complete run needs {', '.join(sorted(lacking))}.")
    case = book_case()
    record = {
        "case": _described(case),
        "weights": {name: follow(name, [case])[0][0].tolist() for name in NEEDS},
        "made": f"{datetime.now(UTC):%Y-%m-%d}",
        "versions": {
            package: version(package)
            for package in ("numpy", "keras", "tensorflow", "jax", "torch", "optax")
        },
        **code_version(),
    }
    Path(file).write_text(json.dumps(record) + "\n")


def stored(case: Case) -> dict[str, Any] | None:
    """Return the book's complete run of a case, or None where it is of another case.

    Returns:
        A dictionary with `weights` (by implementation, the point after each update),
        `made` (the date), `versions` and `commit`.
    """
    for root in default_roots():
        if (root / STORED).is_file():
            record = json.loads((root / STORED).read_text())
            if record["case"] == _described(case):
                return record
    return None


def book_case(steps: int = 200, rate: float = 0.5, seed: int = 0) -> Case:
    """Return the chapter's case: down Rosenbrock's valley in float32.

    Args:
        steps: number of updates. Defaults to 200.
        rate: the learning rate. Defaults to 0.5.
        seed: of the initial velocity. Defaults to 0.
    """
    return Case(np.array([-1.2, 1.0], "float32"), steps, {0: rate}, seed=seed)


def _described(case: Case) -> dict[str, Any]:
    described = asdict(case) | {"start": case.start.tolist()}
    described["rates"] = {str(step): rate for step, rate in case.rates.items()}
    return described


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--store", metavar="FILE", help="store the book's complete run")
    parser.add_argument("words", nargs="*", metavar="NAME CASES RESULTS")
    arguments = parser.parse_args()
    if arguments.store:
        store(arguments.store)
        return
    name, cases, results = arguments.words
    # The cases come from `follow`, the parent process.
    paths = _follow_here(name, pickle.loads(Path(cases).read_bytes()))
    Path(results).write_bytes(pickle.dumps(paths))


if __name__ == "__main__":
    main()
