"""`gravity.experiments.variants` against Gravity itself, and against NumPy."""

import keras
import numpy as np
import pytest

from gravity import Gravity
from gravity.experiments.variants import AVERAGES, BOUNDS, Recorder, Variant

RNG = np.random.default_rng(0)
WEIGHTS = [RNG.normal(size=(4, 3)), RNG.normal(size=3)]
# Sizes as they come in training, and larger ones that the bounds bend.
GRADIENTS = [
    [scale * RNG.normal(size=w.shape) for w in WEIGHTS] for scale in (0.1, 1, 3, 0.5)
]


def train(optimizer, gradients=GRADIENTS):
    variables = [keras.Variable(w, dtype="float32") for w in WEIGHTS]
    for step in gradients:
        optimizer.apply([keras.ops.array(g, "float32") for g in step], variables)
    return [np.asarray(v) for v in variables]


def reference(bound, factor=1.0, average="paper", scale=1.0, alpha=0.02):
    """What the docstring of `Variant` says, in plain NumPy."""
    from gravity._shared import initial_velocity

    weights = [w.copy() for w in WEIGHTS]
    for index, w in enumerate(weights):
        v = initial_velocity(w.shape, 5, index, alpha, 0.1).astype(float)
        kept = None
        for t, step in enumerate(GRADIENTS):
            g = step[index] * scale
            now = {
                "max": np.abs(g).max(),
                "rms": (g**2).mean(),
            }.get(bound.removeprefix("running_"))
            if bound.startswith("running"):
                kept = now if kept is None else 0.9 * kept + 0.1 * now
                now = kept
            if bound.endswith("rms"):
                now = np.sqrt(now)
            if bound == "none":
                zeta = g
            elif bound == "clip":
                zeta = g * min(1, factor / np.linalg.norm(g))
            elif bound == "paper":
                zeta = g / (1 + (g * factor * np.abs(g).max()) ** 2)
            else:
                zeta = g / (1 + (g / (factor * now)) ** 2)
            b = (0.9 * t + 1) / (t + 2) if average == "paper" else 0.9
            v = b * v + (1 - b) * zeta / scale
            w -= 0.1 * v
    return weights


def test_unchanged_it_is_gravity():
    ours = train(Variant(alpha=0.02, seed=5))
    gravity = train(Gravity(alpha=0.02, seed=5))
    for one, other in zip(ours, gravity, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("average", AVERAGES)
@pytest.mark.parametrize("bound", BOUNDS)
def test_each_bound_is_what_the_docstring_says(bound, average):
    settings = {"factor": 1.5, "average": average}
    ours = train(
        Variant(alpha=0.02, seed=5, bound=bound, gradient_scale=2.0, **settings)
    )
    for one, other in zip(ours, reference(bound, scale=2.0, **settings), strict=True):
        np.testing.assert_allclose(one, other, rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize("bound", BOUNDS)
def test_units_matter_to_the_papers_bound_and_to_clipping_alone(bound):
    plain, scaled = (
        train(Variant(seed=5, bound=bound, gradient_scale=scale))
        for scale in (1.0, 1024.0)
    )
    same = all(
        np.allclose(one, other, rtol=1e-5)
        for one, other in zip(plain, scaled, strict=True)
    )
    assert same == (bound not in ("paper", "clip"))


@pytest.mark.parametrize("bound", BOUNDS)
def test_no_gradient_is_no_step(bound):
    nothing = [[np.zeros_like(w) for w in WEIGHTS]] * 3
    for one, other in zip(
        train(Variant(alpha=0, bound=bound), nothing), WEIGHTS, strict=True
    ):
        np.testing.assert_array_equal(one, other.astype("float32"))


def test_without_bound_and_with_constant_beta_it_is_momentum():
    """Gradient descent with the rate l (1 - beta) and momentum beta, Keras's own."""
    ours = train(Variant(alpha=0, bound="none", average="constant"))
    descent = train(keras.optimizers.SGD(0.01, momentum=0.9))
    for one, other in zip(ours, descent, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5)


def test_configuration_makes_it_again():
    optimizer = Variant(0.2, 0.03, 0.8, 7, 1, "rms", 3.0, "constant", 10.0)
    again = Variant.from_config(optimizer.get_config())
    assert again.get_config() == optimizer.get_config()
    assert (again.bound, again.factor, again.average) == ("rms", 3.0, "constant")


@pytest.mark.parametrize(
    ("name", "value", "accepted"),
    [
        ("bound", "l1", "paper, none, max"),
        ("average", "rising", "paper, constant"),
        ("factor", 0.0, "a positive finite number"),
        ("gradient_scale", float("nan"), "a positive finite number"),
    ],
)
def test_bad_argument_is_named(name, value, accepted):
    with pytest.raises(ValueError, match=f"`{name}`.*{accepted}.*Received: {name}="):
        Variant(**{name: value})


def test_recorder_trains_as_gravity_and_keeps_the_sizes():
    optimizer = Recorder(alpha=0.02, seed=5)
    for one, other in zip(
        train(optimizer), train(Gravity(alpha=0.02, seed=5)), strict=True
    ):
        np.testing.assert_array_equal(one, other)
    for row, g in zip(np.asarray(optimizer.recorded), GRADIENTS[-1], strict=True):
        zeta = g / (1 + (g * np.abs(g).max()) ** 2)
        expected = [np.abs(g).max(), (g**2).sum(), ((g - zeta) ** 2).sum()]
        np.testing.assert_allclose(row, expected, rtol=1e-5)
