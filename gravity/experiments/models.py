"""VGG16 and VGG19 as the paper trains them (Table 4), and a small Transformer."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gravity.experiments import checks

if TYPE_CHECKING:
    import keras

# Convolutions per block; 64, 128, 256, 512 and 512 channels at width 1.
_BLOCKS = {"vgg16": (2, 2, 3, 3, 3), "vgg19": (2, 2, 4, 4, 4)}
_CHANNELS = (64, 128, 256, 512, 512)
_UNITS = 4096
_SIDE = 32
_INITIALIZERS = {"glorot": "glorot_uniform", "he": "he_uniform"}

# The Transformer's blocks, heads, and units between them at width 1.
_LAYERS = 2
_HEADS = 4
_FEATURES = 64

TITLES: Mapping[str, str] = {
    "vgg16": "VGG16",
    "vgg19": "VGG19",
    "transformer": "Transformer",
}
"""The architectures' names as the book prints them."""

ARCHITECTURES = tuple(TITLES)
"""The accepted names."""

INITIAL_WEIGHTS = tuple(_INITIALIZERS)
"""What the initial weights may be drawn from: Glorot's uniform distribution, as in the
paper, or He's."""


def build(
    architecture: str,
    input_shape: tuple[int, ...],
    classes: int,
    width: float = 1.0,
    initial_weights: str = "glorot",
) -> "keras.Model":
    """Return an untrained network that maps images, or text, to logits.

    `vgg16` and `vgg19` take images and give one row of logits for each. `transformer`
    takes sequences of characters, as integers below `classes`, and gives a row for
    each character: logits of the next one, which depend on it and on those before it.
    It has two blocks of attention and a hidden layer, normalised before each part, and
    learns an embedding of every character and of every position.

    There is no dropout, batch normalisation or other regularisation. Weights are drawn
    with Keras's global seed, so call `keras.utils.set_random_seed` first for the same
    weights again; biases are zero. The Transformer's embeddings are drawn uniformly
    from -0.05 to 0.05, as Keras does.

    Args:
        architecture: one of `ARCHITECTURES`.
        input_shape: height, width and channels of an image. Images that are not 32 × 32
            are resized to it bilinearly, with the channels they have. For the
            Transformer the number of characters, `(length,)`.
        classes: number of logits.
        width: multiplies the channels of every convolution and the units of both
            hidden dense layers; rounded, at least 1. Defaults to 1, Table 4's network.
            For the Transformer it multiplies the 64 features of a character.
        initial_weights: the uniform distribution that the weights of a VGG are drawn
            from, `glorot` or `he`. Defaults to Glorot's, the paper's; the Transformer
            takes no other.

    Returns:
        A model from `(batch, *input_shape)` to `(batch, classes)`, for the Transformer
        to `(batch, length, classes)`.

    Raises:
        ValueError: an argument is not as said above.

    References:
        Table 4 and section 3.3 of the paper. The Transformer isn't the paper's: it is
        Vaswani et al., "Attention is all you need" (2017), with the normalisation
        where Xiong et al., "On layer normalization in the Transformer architecture"
        (2020), put it.
    """
    import keras
    from keras import layers

    checks.choice("architecture", architecture, ARCHITECTURES)
    text = takes_text(architecture)
    if (
        not isinstance(input_shape, tuple)
        or len(input_shape) != (1 if text else 3)
        or not all(type(size) is int and size >= 1 for size in input_shape)
    ):
        raise ValueError(
            "Argument `input_shape` must be a tuple of "
            f"{'one length' if text else 'height, width and channels'}, "
            f"each a positive integer. Received: input_shape={input_shape!r}"
        )
    checks.integer("classes", classes, 1)
    checks.positive("width", width)
    checks.choice(
        "initial_weights", initial_weights, ("glorot",) if text else _INITIALIZERS
    )

    if text:
        features = max(1, round(_FEATURES * width))
        return _transformer(input_shape[0], classes, features)
    initializer = _INITIALIZERS[initial_weights]
    inputs = x = keras.Input(input_shape)
    if input_shape[:2] != (_SIDE, _SIDE):
        x = layers.Resizing(_SIDE, _SIDE, interpolation="bilinear")(x)
    *hidden, last = vgg_layers(architecture, input_shape[-1], classes, width)
    for layer in hidden:
        options = {"activation": "relu", "kernel_initializer": initializer}
        if layer.side > 1:
            x = layers.Conv2D(layer.shape[-1], 3, padding="same", **options)(x)
        else:
            x = layers.Dense(layer.shape[-1], **options)(x)
        if layer.pooled:
            x = layers.MaxPooling2D()(x)
            if layer.side == 2:
                x = layers.Flatten()(x)
    outputs = layers.Dense(last.shape[-1], kernel_initializer=initializer)(x)
    return keras.Model(inputs, outputs, name=architecture)


@dataclass(frozen=True)
class Layer:
    """A layer of a VGG that has weights.

    Attributes:
        shape: of its weights: height and width of a convolution's kernel, inputs and
            outputs; of a dense layer's inputs and outputs.
        side: of the square of positions that a convolution is computed at; 1 for a
            dense layer.
        pooled: whether pooling follows, which halves the side.
    """

    shape: tuple[int, ...]
    side: int
    pooled: bool = False


def vgg_layers(
    architecture: str, channels: int, classes: int, width: float
) -> Iterator[Layer]:
    """Yield the layers of Table 4 that have weights, from the image to the logits.

    Args:
        architecture: `vgg16` or `vgg19`.
        channels: of an image.
        classes, width: as in `build`.
    """
    side = _SIDE
    for convolutions, size in zip(_BLOCKS[architecture], _CHANNELS, strict=True):
        outputs = max(1, round(size * width))
        for number in range(1, convolutions + 1):
            shape = (3, 3, channels, outputs)
            yield Layer(shape, side, pooled=number == convolutions)
            channels = outputs
        side //= 2
    units = max(1, round(_UNITS * width))
    for outputs in (units, units, classes):
        yield Layer((channels, outputs), side)
        channels = outputs


def operations(
    architecture: str, input_shape: tuple[int, ...], classes: int, width: float
) -> int:
    """Return the floating-point operations that training takes for one image.

    Two for each multiply-add of a convolution or dense layer; once forwards, and twice
    backwards, for the gradients of weights and inputs. Activations, pooling, resizing
    and the optimizer are left out.

    Args:
        architecture: `vgg16` or `vgg19`.
        input_shape, classes, width: as in `build`.
    """
    layers = vgg_layers(architecture, input_shape[-1], classes, width)
    return sum(3 * 2 * layer.side**2 * math.prod(layer.shape) for layer in layers)


def weight_shapes(
    architecture: str, channels: int, classes: int, width: float
) -> list[tuple[int, ...]]:
    """Return the shapes of a VGG's weights, without its biases and without building it.

    Args:
        architecture: `vgg16` or `vgg19`.
        channels: of an image.
        classes, width: as in `build`.
    """
    return [layer.shape for layer in vgg_layers(architecture, channels, classes, width)]


def takes_text(architecture: str) -> bool:
    """Return whether a network reads characters rather than images."""
    return architecture not in _BLOCKS


def _transformer(length: int, classes: int, features: int) -> "keras.Model":
    import keras
    from keras import layers, ops

    inputs = keras.Input((length,), dtype="int32")
    # Made from the input, so that the model knows the layer that embeds them.
    positions = ops.cumsum(ops.ones_like(inputs), axis=1) - 1
    x = layers.Embedding(classes, features)(inputs)
    x = x + layers.Embedding(length, features)(positions)
    for _ in range(_LAYERS):
        normal = layers.LayerNormalization()(x)
        attention = layers.MultiHeadAttention(_HEADS, max(1, features // _HEADS))
        x = x + attention(normal, normal, use_causal_mask=True)
        hidden = layers.Dense(4 * features, activation="relu")(
            layers.LayerNormalization()(x)
        )
        x = x + layers.Dense(features)(hidden)
    outputs = layers.Dense(classes)(layers.LayerNormalization()(x))
    return keras.Model(inputs, outputs, name="transformer")
