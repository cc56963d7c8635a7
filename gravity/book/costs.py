"""What Gravity and the book cost: what `make bench` measured, counts and bounds."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from gravity.experiments import models
from gravity.experiments.datasets import DATASETS, OFFICIAL_DATASETS
from gravity.experiments.experiment import Experiment

UPDATE_OPERATIONS = 11
"""Floating-point operations of one weight's update by Eq. 20 to 27: two for max|G|,
four for ζ, three for V and two for W."""
UPDATE_BYTES = 24
"""Bytes that one float32 weight's update moves at least: G is read twice, as max|G| has
to be known first, and V and W are read and written."""


def stored() -> dict[str, Any]:
    """Return what `make bench` measured last.

    Returns:
        A dictionary with `about` (processor, versions, date) and `parts`, whose values
        have the `state` and the `results` of a part; times are in seconds.
    """
    measured: dict[str, Any] = json.loads(
        files("gravity.book").joinpath("costs.json").read_text()
    )
    return measured


def seconds(times: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """Return the smallest time of each name, without the number of turns."""
    return {name: value["seconds"] for name, value in times.items()}


def step_bytes(width: float, batch: int = 128) -> int:
    """Return the bytes that a training step of VGG16 on CIFAR-10 moves at least.

    Every layer multiplies three times: forwards, and for the gradients of its weights
    and its inputs. Each time its inputs, outputs and weights, or their gradients, pass
    through memory once, in float32. Gravity's update comes on top. Activations and
    pooling are left out, as if they cost nothing.

    Args:
        width: as in `gravity.experiments.models.build`.
        batch: images a step. Defaults to 128, the paper's.
    """
    moved = weights = 0
    for layer in models.vgg_layers("vgg16", channels=3, classes=10, width=width):
        kernel = math.prod(layer.shape)
        tensors = layer.side**2 * sum(layer.shape[-2:])
        moved += 3 * 4 * (batch * tensors + kernel)
        weights += kernel
    return moved + UPDATE_BYTES * weights


def operations(experiment: Experiment) -> float:
    """Return the floating-point operations of a run, with those on test images.

    Args:
        experiment: one with a VGG.
    """
    spec = DATASETS[experiment.dataset]
    each = models.operations(
        experiment.architecture, spec.shape, spec.classes, experiment.width
    )
    # A test image goes forwards only, a third of the operations.
    images = (experiment.train_size or spec.train_size) + spec.test_size / 3
    return experiment.epochs * each * images


@dataclass(frozen=True)
class Chip:
    """What a chip does at most.

    Attributes:
        operations: floating-point operations a second.
        bandwidth: bytes a second between the chip and its memory.
    """

    operations: float
    bandwidth: float


V5E = Chip(operations=197e12, bandwidth=819e9)
"""Google's figures for a TPU of the kind v5e, the operations in bfloat16."""


@dataclass(frozen=True)
class Bounds:
    """Seconds on a chip.

    Attributes:
        computing: what the operations take.
        least: what no program can beat: the operations, or reading weights, optimizer
            and images once and writing the new ones, whichever takes longer.
        counted: the same with all bytes that the compiler counts.
    """

    computing: float
    least: float
    counted: float


def compiled() -> dict[str, Any]:
    """Return what the compiler for TPUs says of the benchmark's training steps.

    Returns:
        A dictionary with `provenance` and `steps`, whose keys are a dataset, a network
        and an optimizer, as in `cifar10-vgg16-gravity`.
    """
    stored: dict[str, Any] = json.loads(
        files("gravity.book").joinpath("tpu.json").read_text()
    )
    return stored


def step_bounds(step: Mapping[str, Any], chip: Chip = V5E) -> Bounds:
    """Return how long a compiled step takes on a chip.

    Args:
        step: one of `compiled()["steps"]`.
        chip: Defaults to a v5e.
    """
    computing = step["flops"] / chip.operations
    once = (step["argument_bytes"] + step["output_bytes"]) / chip.bandwidth
    counted = step["bytes_accessed"] / chip.bandwidth
    return Bounds(computing, max(computing, once), max(computing, counted))


def run_bounds(
    dataset: str,
    architecture: str,
    optimizer: str,
    epochs: int = 100,
    chip: Chip = V5E,
) -> Bounds:
    """Return how long a run at the paper's scale takes on a chip.

    Counted are full steps only, without a smaller last one and without test images.
    MNIST's step stands for all images of its shape, CIFAR-10's for all others.

    Args:
        dataset, architecture, optimizer: as in `gravity.experiments.Experiment`.
        epochs: Defaults to 100, the paper's.
        chip: Defaults to a v5e.
    """
    steps, spec = compiled()["steps"], OFFICIAL_DATASETS[dataset]
    alike = "mnist" if spec.shape == OFFICIAL_DATASETS["mnist"].shape else "cifar10"
    step = steps[f"{alike}-{architecture}-{optimizer}"]
    count = epochs * (spec.train_size // step["batch_size"])
    one = step_bounds(step, chip)
    return Bounds(count * one.computing, count * one.least, count * one.counted)
