"""`gravity.initialization` against signals sent through random layers."""

import math

import keras
import numpy as np
import pytest

from gravity.experiments import models
from gravity.initialization import gains, suggest_alpha

SHAPES = [(400, 300), (300, 500), (500, 500), (500, 400)]


@pytest.mark.parametrize("noise", [0.0, 0.05])
@pytest.mark.parametrize("start", ["glorot", "he"])
def test_gains_are_those_of_signals_through_random_layers(start, noise):
    stream = np.random.default_rng(0)
    x = sums = stream.standard_normal((200, 400))
    for layer, (shape, gain) in enumerate(
        zip(SHAPES, gains(SHAPES, start, noise), strict=True)
    ):
        before = np.mean(sums**2)
        inputs = x if layer == 0 else np.maximum(sums, 0)
        spread = 2 / (sum(shape) if start == "glorot" else shape[0])
        limit = math.sqrt(3 * spread)
        weights = stream.uniform(-limit, limit, shape)
        weights += noise * stream.standard_normal(shape)
        sums = inputs @ weights
        assert np.mean(sums**2) / before == pytest.approx(gain, rel=0.25)


def test_convolutions_count_their_field():
    # By hand: 9 * 64 inputs, 9 * 128 outputs, and half of what comes out of a ReLU.
    first, second = gains([(3, 3, 3, 64), (3, 3, 64, 128)])
    assert first == pytest.approx(27 * 2 / (27 + 9 * 64))
    assert second == pytest.approx(9 * 64 * 2 / (9 * 64 + 9 * 128) / 2)


def test_he_keeps_the_signal():
    np.testing.assert_allclose(gains(SHAPES, "he")[1:], 1)


def test_unknown_start_is_named():
    with pytest.raises(ValueError, match=r"`start` must be glorot or he.*'zeros'"):
        gains(SHAPES, "zeros")


@pytest.mark.parametrize("width", [1, 0.125])
def test_suggested_alpha_brings_the_signal_through(width):
    shapes = models.weight_shapes("vgg19", 1, 10, width)
    alpha = suggest_alpha(shapes)
    # The standard deviation that the push adds, from its closed form.
    push = alpha * (0.1 ** (-1 / 0.9) - 10 - 1)
    log = np.log(gains(shapes[:-1], noise=push)).sum()
    # PUSH is rounded, to a quarter of a percent.
    assert log == pytest.approx(0, abs=0.1)
    assert np.log(gains(shapes[:-1])).sum() < -14


def test_equal_layers_have_the_closed_form():
    """n (2 / 2n + s²) / 2 = 1 gives s² = 1 / n; the first layer passes all as it is."""
    alpha = suggest_alpha([(1, 1), *[(256, 256)] * 2000, (256, 10)])
    assert alpha == pytest.approx(1 / math.sqrt(256) / 1.92, rel=0.01)


def test_model_and_its_shapes_are_given_the_same_alpha():
    model = models.build("vgg16", (32, 32, 3), 100, 0.0625)
    assert isinstance(model, keras.Model)
    shapes = models.weight_shapes("vgg16", 3, 100, 0.0625)
    assert suggest_alpha(model) == suggest_alpha(shapes)


def test_shapes_are_those_of_the_built_network():
    model = models.build("vgg19", (28, 28, 1), 20, 0.125)
    built = [v.shape for v in model.trainable_variables if len(v.shape) > 1]
    assert built == models.weight_shapes("vgg19", 1, 20, 0.125)


def test_network_that_lets_the_signal_through_needs_no_push():
    assert suggest_alpha([(1000, 4), (4, 1), (1, 1)]) == 0.0


def test_model_without_layers_is_refused():
    with pytest.raises(ValueError, match=r"at least two layers.*Received"):
        suggest_alpha([(3, 3)])
