"""Compiles the paper's training steps for a TPU, on a machine that has none.

The compiler for TPUs comes as a package and needs no TPU to run. This has it compile
the step that Keras runs on JAX, `Model.train_step` with the state donated, for one v5e
chip, and keeps what the compiler says of the result: operations, bytes and memory.
Nothing is executed.

    python -m venv tpu-env
    tpu-env/bin/pip install . jax libtpu
    tpu-env/bin/python benchmarks/tpu.py gravity/book/tpu.json

A step takes the compiler minutes. Each is written when it is compiled, and steps that
the file holds already are not compiled again.
"""

import argparse
import json
import math
import os
import platform
import sys
import time
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

# All of it is read when JAX or Keras is imported. JAX itself runs on the CPU; without
# the rest, the compiler's library would look for the chip's host.
os.environ.update(
    JAX_PLATFORMS="cpu",
    KERAS_BACKEND="jax",
    TPU_ACCELERATOR_TYPE="v5litepod-1",
    TPU_SKIP_MDS_QUERY="1",
    TPU_WORKER_HOSTNAMES="localhost",
)
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import jax
import numpy as np
from jax.experimental import topologies

from gravity.experiments import datasets, training
from gravity.experiments.environment import code_version
from gravity.experiments.experiment import Experiment, paper_experiment

TOPOLOGY = "v5e:1x1"
# One for each shape of an image. Fashion-MNIST has MNIST's shape and classes;
# CIFAR-100 differs from CIFAR-10 in the last layer's width alone.
DATASETS = ("cifar10", "mnist")
PACKAGES = ("jax", "jaxlib", "libtpu", "keras", "numpy")


def experiments() -> dict[str, Experiment]:
    """Return the runs whose steps are compiled, by the name of the step."""
    return {
        f"{dataset}-{architecture}-{optimizer}": paper_experiment(
            dataset, architecture, optimizer
        )
        for dataset in DATASETS
        for architecture in ("vgg16", "vgg19")
        for optimizer in ("gravity", "adam", "rmsprop")
    }


def chip() -> Any:
    """Return the chip to compile for."""
    topology = topologies.get_topology_desc(
        TOPOLOGY, platform="tpu", chips_per_host_bounds=(1, 1, 1)
    )
    (device,) = topology.devices
    return device


def compile_step(experiment: Experiment, device: Any) -> jax.stages.Compiled:
    """Return one training step, compiled for `device` as `Model.fit` has it compiled.

    The step goes from the state (weights, optimizer, metrics) and a batch to metrics
    and the next state, which takes the place of the former.
    """
    spec = datasets.DATASETS[experiment.dataset]
    images = np.zeros((experiment.batch_size, *spec.shape), np.float32)
    labels = np.zeros(experiment.batch_size, np.int32)
    model = training.create_model(experiment)
    # What `fit` does before its first step: it creates the metrics' variables.
    model._symbolic_build(data_batch=(images, labels))
    model.optimizer.build(model.trainable_variables)
    sharding = jax.sharding.SingleDeviceSharding(device)

    def described(array: Any) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(array.shape, array.dtype, sharding=sharding)

    state = (
        model.trainable_variables,
        model.non_trainable_variables,
        model.optimizer.variables,
        model.metrics_variables,
    )
    arguments = (
        tuple([described(variable) for variable in group] for group in state),
        (described(images), described(labels)),
    )
    return jax.jit(model.train_step, donate_argnums=0).lower(*arguments).compile()


def record(experiment: Experiment, compiled: jax.stages.Compiled) -> dict[str, Any]:
    """Return what the compiler says of a step; sizes are in bytes."""
    cost, memory = compiled.cost_analysis(), compiled.memory_analysis()
    spec = datasets.DATASETS[experiment.dataset]
    return {
        "dataset": experiment.dataset,
        "architecture": experiment.architecture,
        "optimizer": experiment.optimizer,
        "shape": list(spec.shape),
        "classes": spec.classes,
        "batch_size": experiment.batch_size,
        "flops": cost["flops"],
        "bytes_accessed": cost["bytes accessed"],
        "argument_bytes": memory.argument_size_in_bytes,
        "output_bytes": memory.output_size_in_bytes,
        "alias_bytes": memory.alias_size_in_bytes,
        "temporary_bytes": memory.temp_size_in_bytes,
        "code_bytes": memory.generated_code_size_in_bytes,
    }


def provenance(device: Any) -> dict[str, Any]:
    """Return with what the steps are compiled."""
    return {
        **code_version(),
        "command": "python benchmarks/tpu.py gravity/book/tpu.json",
        "topology": TOPOLOGY,
        "device": device.device_kind,
        "precision": jax.config.jax_default_matmul_precision or "default",
        "versions": {
            "python": platform.python_version(),
            **{package: metadata.version(package) for package in PACKAGES},
        },
    }


def write(path: Path, content: dict[str, Any]) -> None:
    draft = path.with_name(f".{path.name}")
    draft.write_text(json.dumps(content, indent=2) + "\n")
    os.replace(draft, path)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("output", type=Path, help="the JSON file to write or complete")
    parser.add_argument(
        "step", nargs="*", metavar="STEP", help="as cifar10-vgg16-gravity; default: all"
    )
    options = parser.parse_args()
    known = experiments()
    for name in options.step:
        if name not in known:
            parser.error(f"STEP must be one of {', '.join(known)}. Received: {name}")
    device = chip()
    made = provenance(device)
    steps: dict[str, Any] = {}
    if options.output.exists():
        before = json.loads(options.output.read_text())
        for key in ("topology", "precision", "versions"):
            if before["provenance"][key] != made[key]:
                parser.error(
                    f"{options.output} was made with {key} "
                    f"{before['provenance'][key]}, and this is {made[key]}. Delete it."
                )
        steps = before["steps"]
    for name in options.step or known:
        if name in steps:
            continue
        clock = time.perf_counter()
        steps[name] = record(known[name], compile_step(known[name], device))
        made["compiled"] = datetime.now(UTC).isoformat(timespec="seconds")
        write(options.output, {"provenance": made, "steps": steps})
        seconds = math.ceil(time.perf_counter() - clock)
        print(
            f"{name}: {steps[name]['flops']:.4g} operations ({seconds} s)", flush=True
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
