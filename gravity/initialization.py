"""What initial weights do to a signal, and the α that suits them."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import keras

PUSH = 1.92
"""In units of α, the standard deviation of the displacement that the initial velocity
adds up to, at β = 0.9 and from t = 0 (1.9155, rounded)."""

Shape = tuple[int, ...]
"""Of a layer's weights: the receptive field, if any, then inputs and outputs."""


def gains(
    shapes: Sequence[Shape], start: str = "glorot", noise: float = 0.0
) -> NDArray[np.float64]:
    """Return the factor by which each layer multiplies the mean square of its inputs.

    For independent weights of mean 0 and inputs that come out of a ReLU, half of whose
    mean square is lost, the factor is n σ² / 2 with n inputs to a unit and weights of
    variance σ². The first layer's inputs come out of no ReLU, so its factor is n σ².
    Padding and pooling are left out.

    Args:
        shapes: the shapes of the weights, in the order of the layers.
        start: the distribution of the weights, `glorot` or `he`, of variance
            2 / (n + outputs) and 2 / n. Defaults to Glorot's.
        noise: standard deviation of further noise on the weights. Defaults to 0.

    Returns:
        One factor for each layer.

    Raises:
        ValueError: `start` isn't as said above.

    References:
        Glorot and Bengio (2010), Eq. 16; He et al. (2015), Eq. 10.
    """
    if start not in ("glorot", "he"):
        raise ValueError(
            f"Argument `start` must be glorot or he. Received: start={start!r}"
        )
    factors = []
    for layer, shape in enumerate(shapes):
        field = math.prod(shape[:-2])
        inputs = field * shape[-2]
        others = field * shape[-1] if start == "glorot" else 0
        variance = 2 / (inputs + others) + noise**2
        factors.append(inputs * variance / (2 if layer else 1))
    return np.array(factors)


def suggest_alpha(model: "keras.Model | Sequence[Shape]") -> float:
    r"""Return the α whose push makes up for what Glorot's weights take from the signal.

    A network of ReLUs that starts from Glorot's weights halves the mean square of a
    signal in every layer or so; a deep one lets nothing through. The push of Gravity's
    initial velocity adds noise of standard deviation 1.92 α to every weight. This is
    the α with which the factors of all layers but the last multiply to 1.

    It is for networks without normalisation that start from Glorot's weights. With
    normalisation or He's weights the signal gets through, and the push is only noise.

    Args:
        model: a built Keras model, or the shapes of its weights in order.

    Raises:
        ValueError: there are fewer than two layers with weights.
    """
    from scipy import optimize

    if isinstance(model, Sequence):
        shapes = list(model)
    else:
        shapes = [
            tuple(variable.shape)
            for variable in model.trainable_variables
            if len(variable.shape) > 1
        ]
    if len(shapes) < 2:
        raise ValueError(
            "Argument `model` must have at least two layers with weights. "
            f"Received: weights of the shapes {shapes}"
        )

    def excess(alpha: float) -> float:
        return float(np.log(gains(shapes[:-1], noise=PUSH * alpha)).sum())

    if excess(0.0) >= 0:
        return 0.0
    return float(optimize.brentq(excess, 0.0, 10.0))
