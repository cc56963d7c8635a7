"""What the optimizers of all frameworks share; it needs NumPy alone."""

import math
from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

N = TypeVar("N", int, float)

# From these on, the largest element of a gradient has a fourth power that overflows.
STEEPEST = {"float32": 4e9, "float64": 1e77}


def initial_velocity(
    shape: Sequence[int],
    seed: int,
    index: int = 0,
    alpha: float = 0.01,
    learning_rate: float = 0.1,
) -> NDArray[np.float32]:
    """Return the initial velocity of one variable, the same in every framework.

    Args:
        shape: the variable's shape.
        seed: what to draw from, an integer, 0 or more.
        index: the variable's place among those of its optimizer. Variables of one seed
            get different numbers. Defaults to 0, the first.
        alpha: α, the scale of the first, random displacement. Defaults to 0.01.
        learning_rate: l₀, the learning rate at the start, 0 or more. Defaults to 0.1.
            At 0 the velocity is 0: Eq. 27 has no value there.

    Returns:
        Normal numbers of mean 0 and standard deviation α / l₀ (Eq. 27), in float32.
    """
    sigma = alpha / learning_rate if learning_rate > 0 else 0.0
    # `spawn_key` keeps the streams of different seeds apart, which a list of seed and
    # index doesn't.
    stream = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(index,)))
    noise = np.asarray(stream.standard_normal(tuple(shape), np.float32))
    noise *= sigma
    return noise


def checked(
    kind: type[N], name: str, value: Any, accepted: str, most: float = math.inf
) -> N:
    """Return an argument as a number of Python's, having checked it.

    Args:
        kind: `int` or `float`; an integer passes for a float, a bool for neither.
        name: the argument's name, for the message.
        value: the argument.
        accepted: what is accepted, in words, for the message.
        most: the largest accepted value. Defaults to infinity, itself not accepted.

    Raises:
        ValueError: `value` isn't a number of that kind from 0 to `most`.
    """
    whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
    real = whole or (kind is float and isinstance(value, float | np.floating))
    if not real or not 0 <= value <= most or value == math.inf:
        raise ValueError(
            f"Argument `{name}` must be {accepted}. Received: {name}={value!r}"
        )
    return kind(value)
