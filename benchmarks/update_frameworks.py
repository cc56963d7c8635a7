"""Times one update of Gravity in PyTorch and optax beside their own optimizers.

    python benchmarks/update_frameworks.py torch.json --framework torch
    python benchmarks/update_frameworks.py optax.json --framework optax

What is updated has the shapes of VGG16's 32 variables for CIFAR-10, 33.6 million
numbers in float32. The optimizers take turns, so that a slow moment of the machine hits
all of them, and the smallest time of each counts. It needs `pip install
pytorch_optimizer` for the Gravity of that package, and leaves it out without.
"""

import argparse
import importlib.util
import json
import os
import time
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path

import numpy as np

from gravity.experiments import models
from gravity.experiments.environment import processor


def vgg16_shapes() -> Iterator[tuple[int, ...]]:
    """Give the shapes of VGG16's kernels and biases: Table 4 of the paper."""
    for shape in models.weight_shapes("vgg16", channels=3, classes=10, width=1.0):
        yield from [shape, shape[-1:]]


def arrays(scale: float, seed: int) -> list[np.ndarray]:
    stream = np.random.default_rng(seed)
    return [
        scale * stream.standard_normal(shape, np.float32) for shape in vgg16_shapes()
    ]


def torch_steps() -> dict[str, Callable[[], object]]:
    """Return the optimizers' steps, each on parameters of its own."""
    import torch

    from gravity.torch import Gravity

    weights, gradients = arrays(0.05, 0), arrays(0.01, 1)

    def optimizer(kind: Callable, **arguments: object) -> torch.optim.Optimizer:
        params = [torch.nn.Parameter(torch.tensor(W)) for W in weights]
        for W, G in zip(params, gradients, strict=True):
            W.grad = torch.tensor(G)
        return kind(params, **arguments)

    steps = {
        "Adam, foreach": optimizer(torch.optim.Adam, foreach=True).step,
        "Gravity, foreach": optimizer(Gravity, seed=0, foreach=True).step,
        "Gravity, for-loop": optimizer(Gravity, seed=0, foreach=False).step,
        "Gravity, compiled": torch.compile(optimizer(Gravity, seed=0).step),
    }
    if importlib.util.find_spec("pytorch_optimizer"):
        from pytorch_optimizer import Gravity as Other

        other = optimizer(Other, lr=0.1, foreach=True)
        steps["pytorch_optimizer's Gravity, foreach"] = other.step
    return steps


def optax_steps() -> dict[str, Callable[[], object]]:
    """Return the optimizers' jitted updates, each on parameters of its own."""
    import jax
    import jax.numpy as jnp
    import optax

    from gravity.optax import gravity

    gradients = [jnp.array(G) for G in arrays(0.01, 1)]

    def step(optimizer: optax.GradientTransformation) -> Callable[[], object]:
        def update(params: list, state: object) -> tuple[list, object]:
            updates, state = optimizer.update(gradients_in[0], state, params)
            return optax.apply_updates(params, updates), state

        gradients_in = [gradients]
        params = [jnp.array(W) for W in arrays(0.05, 0)]
        held = [params, optimizer.init(params)]

        # The old weights and state give their memory to the new, as in training.
        def jitted(params: list, state: object, grads: list) -> tuple[list, object]:
            gradients_in[0] = grads
            return update(params, state)

        compiled = jax.jit(jitted, donate_argnums=(0, 1))

        def one() -> None:
            held[:] = compiled(*held, gradients)
            jax.block_until_ready(held)

        return one

    return {"Adam": step(optax.adam(1e-3)), "Gravity": step(gravity(0.1, key=0))}


def smallest_times(
    steps: dict[str, Callable[[], object]], rounds: int
) -> dict[str, float]:
    """Return each step's smallest time in seconds; the steps take turns."""
    for step in steps.values():
        step()  # Compiles, and draws the initial state.
        step()
    times: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(rounds):
        for name, step in steps.items():
            start = time.perf_counter()
            step()
            times[name].append(time.perf_counter() - start)
    return {name: min(values) for name, values in times.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("output", type=Path, help="the JSON file to write")
    parser.add_argument("--framework", choices=["torch", "optax"], required=True)
    parser.add_argument("--rounds", type=int, default=7, help="turns; 7 at least")
    arguments = parser.parse_args()
    steps = torch_steps() if arguments.framework == "torch" else optax_steps()
    times = smallest_times(steps, max(arguments.rounds, 7))
    reference = next(iter(times))
    print(f"{processor()}, {os.cpu_count()} cores; load {os.getloadavg()[0]:.1f}")
    for name, seconds in times.items():
        ratio = seconds / times[reference]
        print(f"{name:38} {1000 * seconds:8.1f} ms {ratio:6.2f} × {reference}")
    report = {
        "processor": processor(),
        "cores": os.cpu_count(),
        "load": os.getloadavg()[0],
        "rounds": max(arguments.rounds, 7),
        "versions": {
            name: version(name)
            for name in ("torch", "jax", "optax", "pytorch_optimizer")
            if importlib.util.find_spec(name)
        },
        "seconds": times,
    }
    arguments.output.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
