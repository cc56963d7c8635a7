"""`models`: the paper's Table 4, and the same network written in PyTorch."""

import itertools
import math
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import torch
from torch.nn import functional

from gravity.experiments import models

ROOT = Path(__file__).resolve().parents[2]

DENSE_PART = [
    ("Flatten", (512,), 0),
    ("Dense", (4096,), 2_101_248),
    ("Dense", (4096,), 16_781_312),
    ("Dense", (10,), 40_970),
]
# Table 4: layer type, output size, number of parameters.
TABLE_4 = {
    "vgg16": [
        ("InputLayer", (32, 32, 3), 0),
        ("Conv2D", (32, 32, 64), 1_792),
        ("Conv2D", (32, 32, 64), 36_928),
        ("MaxPooling2D", (16, 16, 64), 0),
        ("Conv2D", (16, 16, 128), 73_856),
        ("Conv2D", (16, 16, 128), 147_584),
        ("MaxPooling2D", (8, 8, 128), 0),
        ("Conv2D", (8, 8, 256), 295_168),
        ("Conv2D", (8, 8, 256), 590_080),
        ("Conv2D", (8, 8, 256), 590_080),
        ("MaxPooling2D", (4, 4, 256), 0),
        ("Conv2D", (4, 4, 512), 1_180_160),
        ("Conv2D", (4, 4, 512), 2_359_808),
        ("Conv2D", (4, 4, 512), 2_359_808),
        ("MaxPooling2D", (2, 2, 512), 0),
        ("Conv2D", (2, 2, 512), 2_359_808),
        ("Conv2D", (2, 2, 512), 2_359_808),
        ("Conv2D", (2, 2, 512), 2_359_808),
        ("MaxPooling2D", (1, 1, 512), 0),
        *DENSE_PART,
    ],
    "vgg19": [
        ("InputLayer", (32, 32, 3), 0),
        ("Conv2D", (32, 32, 64), 1_792),
        ("Conv2D", (32, 32, 64), 36_928),
        ("MaxPooling2D", (16, 16, 64), 0),
        ("Conv2D", (16, 16, 128), 73_856),
        ("Conv2D", (16, 16, 128), 147_584),
        ("MaxPooling2D", (8, 8, 128), 0),
        ("Conv2D", (8, 8, 256), 295_168),
        ("Conv2D", (8, 8, 256), 590_080),
        ("Conv2D", (8, 8, 256), 590_080),
        ("Conv2D", (8, 8, 256), 590_080),
        ("MaxPooling2D", (4, 4, 256), 0),
        ("Conv2D", (4, 4, 512), 1_180_160),
        ("Conv2D", (4, 4, 512), 2_359_808),
        ("Conv2D", (4, 4, 512), 2_359_808),
        ("Conv2D", (4, 4, 512), 2_359_808),
        ("MaxPooling2D", (2, 2, 512), 0),
        ("Conv2D", (2, 2, 512), 2_359_808),
        ("Conv2D", (2, 2, 512), 2_359_808),
        ("Conv2D", (2, 2, 512), 2_359_808),
        ("Conv2D", (2, 2, 512), 2_359_808),
        ("MaxPooling2D", (1, 1, 512), 0),
        *DENSE_PART,
    ],
}
TOTALS = {"vgg16": 33_638_218, "vgg19": 38_947_914}


@pytest.mark.parametrize("architecture", TABLE_4)
def test_width_1_is_table_4(architecture):
    model = models.build(architecture, (32, 32, 3), 10)
    layers = [
        (type(layer).__name__, tuple(layer.output.shape[1:]), layer.count_params())
        for layer in model.layers
    ]
    assert layers == TABLE_4[architecture]
    assert model.count_params() == TOTALS[architecture]
    assert (
        sum(math.prod(w.shape) for w in model.trainable_variables)
        == (TOTALS[architecture])
    )


def test_architectures_are_the_papers():
    assert (*TABLE_4, "transformer") == models.ARCHITECTURES


@pytest.mark.parametrize(
    ("width", "expected"),
    [
        (0.125, [8, 8, 16, 16, *[32] * 3, *[64] * 6, 512, 512, 7]),
        (0.02, [1, 1, 3, 3, *[5] * 3, *[10] * 6, 82, 82, 7]),
        (1e-9, [*[1] * 15, 7]),
    ],
)
def test_width_scales_all_but_the_classes(width, expected):
    model = models.build("vgg16", (32, 32, 1), 7, width=width)
    assert [w.shape[-1] for w in model.weights if w.name == "kernel"] == expected


def test_weights_are_glorot_uniform_and_biases_zero():
    keras.utils.set_random_seed(0)
    model = models.build("vgg16", (32, 32, 3), 10, width=0.25)
    for weight in model.weights:
        values = keras.ops.convert_to_numpy(weight.value)
        if weight.name == "bias":
            assert not values.any()
            continue
        # Glorot and Bengio's normalised initialisation, their Eq. 16.
        field = math.prod(values.shape[:-2])
        limit = math.sqrt(6 / (field * (values.shape[-2] + values.shape[-1])))
        assert abs(values).max() <= limit
        assert values.std() == pytest.approx(limit / math.sqrt(3), rel=0.1)
        assert values.mean() == pytest.approx(0, abs=0.1 * limit)


def test_weights_are_he_uniform_where_asked():
    keras.utils.set_random_seed(0)
    model = models.build("vgg16", (32, 32, 3), 10, 0.25, initial_weights="he")
    for weight in model.weights:
        values = keras.ops.convert_to_numpy(weight.value)
        if weight.name == "kernel":
            # He et al.'s standard deviation, their Eq. 10: a gain of √2.
            inputs = math.prod(values.shape[:-1])
            assert values.std() == pytest.approx(math.sqrt(2 / inputs), rel=0.1)
            assert abs(values).max() <= math.sqrt(6 / inputs)
        else:
            assert not values.any()


def test_keras_seed_decides_the_weights():
    def weights(seed):
        keras.utils.set_random_seed(seed)
        return models.build("vgg16", (8, 8, 1), 10, width=0.02).get_weights()

    first, again, other = weights(1), weights(1), weights(2)
    for one, same, different in zip(first, again, other, strict=True):
        np.testing.assert_array_equal(one, same)
        if one.any():
            assert not np.array_equal(one, different)
    # Layers of one shape start differently: the third and fourth block's kernels.
    assert first[18].shape == first[22].shape
    assert not np.array_equal(first[18], first[22])


def test_nothing_but_the_loss_is_optimised():
    model = models.build("vgg19", (28, 28, 1), 10, width=0.02)
    assert model.losses == []
    for layer in model.layers:
        for name in ("kernel_regularizer", "bias_regularizer", "kernel_constraint"):
            assert getattr(layer, name, None) is None


BATCH, CLASSES, RATE = 3, 5, 0.5


def torch_network(weights, images, architecture):
    """The network of Table 4 on 32 × 32 images, and its resizing of others."""
    pool_after = {"vgg16": (2, 4, 7, 10, 13), "vgg19": (2, 4, 8, 12, 16)}[architecture]
    x = images.permute(0, 3, 1, 2)
    if x.shape[-2:] != (32, 32):
        x = functional.interpolate(x, (32, 32), mode="bilinear", align_corners=False)
    for layer in range(pool_after[-1]):
        kernel, bias = weights[2 * layer : 2 * layer + 2]
        x = functional.conv2d(x, kernel.permute(3, 2, 0, 1), bias, padding=1).relu()
        if layer + 1 in pool_after:
            x = functional.max_pool2d(x, 2)
    x = x.flatten(1)
    for layer in range(pool_after[-1], pool_after[-1] + 3):
        kernel, bias = weights[2 * layer : 2 * layer + 2]
        x = x @ kernel + bias
        if layer < pool_after[-1] + 2:
            x = x.relu()
    return x


BACKEND_STEP = """
import sys
import numpy as np
import keras
from gravity.experiments import models
assert keras.backend.backend() == "{backend}"
data = np.load("{folder}/in.npz")
model = models.build("{architecture}", {shape}, {classes}, width=0.05)
model.set_weights([data[str(i)] for i in range(len(model.weights))])
logits = model.predict(data["x"], verbose=0)
model.compile(
    keras.optimizers.SGD({rate}),
    keras.losses.SparseCategoricalCrossentropy(from_logits=True),
)
model.train_on_batch(data["x"], data["y"])
np.savez("{folder}/out.npz", *model.get_weights(), logits=logits)
# A TPU's runtime has JAX and no TensorFlow.
assert keras.backend.backend() != "jax" or "tensorflow" not in sys.modules
"""


@pytest.mark.parametrize(
    ("backend", "architecture", "shape"),
    [
        ("tensorflow", "vgg16", (28, 28, 1)),
        ("jax", "vgg16", (8, 8, 1)),
        ("torch", "vgg19", (28, 28, 1)),
        ("jax", "vgg19", (32, 32, 3)),
    ],
)
def test_logits_and_gradients_are_those_of_the_same_network_in_torch(
    backend, architecture, shape, tmp_path
):
    """Each backend predicts and makes one step of plain gradient descent."""
    rng = np.random.default_rng(0)
    x = rng.random((BATCH, *shape), dtype="float32")
    y = rng.integers(0, CLASSES, BATCH, dtype="int32")
    model = models.build(architecture, shape, CLASSES, width=0.05)
    # He's scale keeps the signal alive through nineteen narrow layers, and biases that
    # aren't zero show in the result.
    weights = [
        rng.normal(
            0, 0.1 if len(w.shape) == 1 else np.sqrt(2 / np.prod(w.shape[:-1])), w.shape
        )
        for w in model.weights
    ]
    np.savez(
        tmp_path / "in.npz", x=x, y=y, **{str(i): w for i, w in enumerate(weights)}
    )
    script = BACKEND_STEP.format(
        backend=backend,
        folder=tmp_path,
        architecture=architecture,
        shape=shape,
        classes=CLASSES,
        rate=RATE,
    )
    environment = {**os.environ, "KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "2"}
    subprocess.run(
        [sys.executable, "-c", script], check=True, env=environment, cwd=ROOT
    )

    tensors = [torch.tensor(w, requires_grad=True) for w in weights]
    logits = torch_network(tensors, torch.tensor(x, dtype=torch.float64), architecture)
    functional.cross_entropy(logits, torch.tensor(y, dtype=torch.int64)).backward()
    with np.load(tmp_path / "out.npz") as out:
        expected = logits.detach().numpy()
        assert expected.std() > 0.01
        np.testing.assert_allclose(out["logits"], expected, rtol=1e-3, atol=1e-4)
        for i, tensor in enumerate(tensors):
            step = RATE * tensor.grad.numpy()
            np.testing.assert_allclose(
                weights[i] - out[f"arr_{i}"],
                step,
                rtol=1e-2,
                atol=1e-2 * abs(step).max() + 1e-6,
            )


@pytest.mark.parametrize(
    ("name", "value", "accepted"),
    [
        ("architecture", "vgg13", "vgg16, vgg19"),
        ("architecture", ["vgg16"], "vgg16, vgg19"),
        ("input_shape", (32, 32), "height, width and channels"),
        ("input_shape", (32, 32, 0), "positive integer"),
        ("input_shape", (32, 32, 3.0), "positive integer"),
        ("input_shape", [32, 32, 3], "tuple"),
        ("input_shape", None, "tuple"),
        ("classes", 0, "an integer, at least 1"),
        ("classes", 10.0, "an integer, at least 1"),
        ("classes", True, "an integer, at least 1"),
        ("width", 0, "positive finite number"),
        ("width", -1.0, "positive finite number"),
        ("width", math.nan, "positive finite number"),
        ("width", math.inf, "positive finite number"),
        ("width", True, "positive finite number"),
        ("width", "1", "positive finite number"),
    ],
)
def test_refuses_bad_arguments(name, value, accepted):
    arguments = {"architecture": "vgg16", "input_shape": (32, 32, 3), "classes": 10}
    with pytest.raises(ValueError, match=f"`{name}`") as caught:
        models.build(**{**arguments, name: value})
    assert accepted in str(caught.value)
    assert f"Received: {name}={value!r}" in str(caught.value)


def test_import_is_light():
    script = (
        "import sys, gravity.experiments.models; "
        "sys.exit(bool({'keras', 'tensorflow', 'jax', 'torch'} & set(sys.modules)))"
    )
    subprocess.run([sys.executable, "-c", script], check=True, cwd=ROOT)


@pytest.mark.parametrize("architecture", ["vgg16", "vgg19"])
@pytest.mark.parametrize(("shape", "width"), [((32, 32, 3), 1.0), ((28, 28, 1), 0.2)])
def test_operations_are_those_of_the_built_layers(architecture, shape, width):
    model = models.build(architecture, shape, 20, width)
    multiplications = 0
    for layer in model.layers:
        if layer.weights:
            places = math.prod(layer.output.shape[1:-1])
            multiplications += places * math.prod(layer.kernel.shape)
    counted = models.operations(architecture, shape, 20, width)
    assert counted == 6 * multiplications


def transformer_weights(length, classes, features):
    """Number of weights, part by part."""
    normal = 2 * features
    attention = 4 * (features * features + features)
    hidden = features * 4 * features + 4 * features + 4 * features * features + features
    block = 2 * normal + attention + hidden
    embeddings = (length + classes) * features
    return embeddings + 2 * block + normal + features * classes + classes


@pytest.mark.parametrize("width", [1, 0.5])
def test_transformer_has_the_weights_counted_by_hand(width):
    model = models.build("transformer", (64,), 97, width=width)
    assert model.output_shape == (None, 64, 97)
    # All of them are trained, the positions' embedding too.
    count = sum(math.prod(w.shape) for w in model.trainable_variables)
    assert count == model.count_params()
    assert count == transformer_weights(64, 97, round(64 * width))


def test_transformer_does_not_look_ahead():
    keras.utils.set_random_seed(0)
    model = models.build("transformer", (16,), 11, width=0.25)
    text = np.random.default_rng(0).integers(0, 11, (1, 16))
    before = keras.ops.convert_to_numpy(model(text))
    for place in (0, 7, 15):
        other = text.copy()
        other[0, place] = (other[0, place] + 1) % 11
        after = keras.ops.convert_to_numpy(model(other))
        np.testing.assert_allclose(after[0, :place], before[0, :place], atol=1e-6)
        assert np.abs(after[0, place:] - before[0, place:]).max(axis=1).min() > 1e-5


def test_transformer_knows_where_in_the_text_it_is():
    keras.utils.set_random_seed(0)
    model = models.build("transformer", (4,), 5)
    # Of one character over and over, nothing but the position differs.
    (rows,) = keras.ops.convert_to_numpy(model(np.full((1, 4), 2)))
    for one, two in itertools.combinations(rows, 2):
        assert np.abs(one - two).max() > 1e-4


@pytest.mark.parametrize("shape", [(8, 8, 1), (), (0,), 64])
def test_transformer_takes_one_length(shape):
    with pytest.raises(ValueError, match="`input_shape` must be a tuple of one length"):
        models.build("transformer", shape, 10)
