"""VGG16 and VGG19 as the paper trains them (Table 4), at any width."""

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import keras

# Convolutions per block; 64, 128, 256, 512 and 512 channels at width 1.
_BLOCKS = {"vgg16": (2, 2, 3, 3, 3), "vgg19": (2, 2, 4, 4, 4)}
_CHANNELS = (64, 128, 256, 512, 512)
_UNITS = 4096
_SIDE = 32

ARCHITECTURES = tuple(_BLOCKS)
"""The accepted names."""


def build(
    architecture: str,
    input_shape: tuple[int, int, int],
    classes: int,
    width: float = 1.0,
) -> "keras.Model":
    """Return an untrained network that maps images to logits.

    There is no dropout, batch normalisation or other regularisation. Weights are drawn
    from Glorot's uniform distribution with Keras's global seed, so call
    `keras.utils.set_random_seed` first for the same weights again; biases are zero.

    Args:
        architecture: one of `ARCHITECTURES`.
        input_shape: height, width and channels of an image. Images that are not 32 × 32
            are resized to it bilinearly, with the channels they have.
        classes: number of logits.
        width: multiplies the channels of every convolution and the units of both
            hidden dense layers; rounded, at least 1. Defaults to 1, Table 4's network.

    Returns:
        A model from `(batch, *input_shape)` to `(batch, classes)`.

    Raises:
        ValueError: an argument is not as said above.

    References:
        Table 4 and section 3.3 of the paper.
    """
    import keras
    from keras import layers

    if architecture not in ARCHITECTURES:
        raise ValueError(
            f"Argument `architecture` must be one of {', '.join(ARCHITECTURES)}. "
            f"Received: architecture={architecture!r}"
        )
    if (
        not isinstance(input_shape, tuple)
        or len(input_shape) != 3
        or not all(map(_is_count, input_shape))
    ):
        raise ValueError(
            "Argument `input_shape` must be a tuple of height, width and channels, "
            f"each a positive integer. Received: input_shape={input_shape!r}"
        )
    if not _is_count(classes):
        raise ValueError(
            "Argument `classes` must be a positive integer. "
            f"Received: classes={classes!r}"
        )
    if (
        isinstance(width, bool)
        or not isinstance(width, int | float)
        or not 0 < width < math.inf
    ):
        raise ValueError(
            "Argument `width` must be a positive finite number. "
            f"Received: width={width!r}"
        )

    def scaled(size: int) -> int:
        return max(1, round(size * width))

    inputs = x = keras.Input(input_shape)
    if input_shape[:2] != (_SIDE, _SIDE):
        x = layers.Resizing(_SIDE, _SIDE, interpolation="bilinear")(x)
    for convolutions, channels in zip(_BLOCKS[architecture], _CHANNELS, strict=True):
        for _ in range(convolutions):
            x = layers.Conv2D(scaled(channels), 3, padding="same", activation="relu")(x)
        x = layers.MaxPooling2D()(x)
    x = layers.Flatten()(x)
    for _ in range(2):
        x = layers.Dense(scaled(_UNITS), activation="relu")(x)
    outputs = layers.Dense(classes)(x)
    return keras.Model(inputs, outputs, name=architecture)


def operations(
    architecture: str, input_shape: tuple[int, int, int], classes: int, width: float
) -> int:
    """Return the floating-point operations that training takes for one image.

    Two for each multiply-add of a convolution or dense layer; once forwards, and twice
    backwards, for the gradients of weights and inputs. Activations, pooling, resizing
    and the optimizer are left out.

    Args:
        architecture, input_shape, classes, width: as in `build`.
    """
    side, inputs, count = _SIDE, input_shape[-1], 0
    for convolutions, channels in zip(_BLOCKS[architecture], _CHANNELS, strict=True):
        outputs = max(1, round(channels * width))
        for _ in range(convolutions):
            count += side * side * 9 * inputs * outputs
            inputs = outputs
        side //= 2
    for units in (_UNITS, _UNITS):
        outputs = max(1, round(units * width))
        count += inputs * outputs
        inputs = outputs
    return 3 * 2 * (count + inputs * classes)


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1
