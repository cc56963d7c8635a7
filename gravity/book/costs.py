"""What Gravity and the book cost: the stored measurements of `make bench`."""

import json
from collections.abc import Iterator, Mapping
from importlib.resources import files
from typing import Any

from gravity.experiments import models

FILE = "costs.json"
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
        files("gravity.book").joinpath(FILE).read_text()
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
    for inputs, outputs, kernel in _vgg16_layers(width):
        moved += 3 * 4 * (batch * (inputs + outputs) + kernel)
        weights += kernel
    return moved + UPDATE_BYTES * weights


def _vgg16_layers(width: float) -> Iterator[tuple[int, int, int]]:
    """Yield the numbers of inputs, outputs and weights, without biases, of each layer.

    As in `gravity.experiments.models.operations`, whose layers these are.
    """
    side, channels = models._SIDE, 3
    for count, filters in zip(models._BLOCKS["vgg16"], models._CHANNELS, strict=True):
        scaled = max(1, round(filters * width))
        for _ in range(count):
            positions = side * side
            yield positions * channels, positions * scaled, 9 * channels * scaled
            channels = scaled
        side //= 2
    hidden = max(1, round(models._UNITS * width))
    for units in (hidden, hidden, 10):
        yield channels, units, channels * units
        channels = units
