"""The ten optimizers of the paper's Table 1 as small NumPy functions, in one notation.

Each function makes one update, in the form that Keras computes. Where that isn't the
form of the cited paper, its docstring says so. All have the same shape:

    W, slots = step(W, G, t, slots)

`W` are the weights and `G` their gradient, of one shape. `t` is the number of the
update and starts at 1, as in the papers on Adam; optimizers that don't need it take it
all the same. `slots` is what the optimizer keeps between updates: tensors of the shape
of `W`, or numbers that stand for constant ones. Its default is what Keras starts with.
`V` averages gradients, `S` averages or adds up their squares. Every function works in
the precision that it is given, and leaves its arguments as they were.
"""

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from gravity.kinematics import Number

Slots: TypeAlias = tuple[Number, ...]
"""What an optimizer keeps between updates."""


def sgd(
    W: Number, G: Number, t: int, slots: Slots = (), learning_rate: float = 0.01
) -> tuple[Number, Slots]:
    """Stochastic gradient descent; keeps nothing.

    Args:
        W: the weights.
        G: their gradient.
        t: not used.
        slots: empty.
        learning_rate: the learning rate l. Defaults to 0.01, as in Keras.

    Robbins and Monro (1951) let the rate fall with t: the sum of the rates must be
    infinite, that of their squares finite. Keras keeps it constant.
    """
    return W - learning_rate * G, slots


def momentum(
    W: Number,
    G: Number,
    t: int,
    slots: Slots = (0.0,),
    learning_rate: float = 0.01,
    beta: float = 0.9,
) -> tuple[Number, Slots]:
    """SGD with momentum, the heavy ball; keeps its last step V.

    Args:
        W: the weights.
        G: their gradient.
        t: not used.
        slots: V, the change that the last update made.
        learning_rate: the learning rate l. Defaults to 0.01, as in Keras.
        beta: how much of the last step is made again. Defaults to 0.9.

    Polyak (1964) writes β(W_t - W_{t-1}) for βV. The two agree, since V is the step.
    """
    (V,) = slots
    V = beta * V - learning_rate * G
    return W + V, (V,)


def adagrad(
    W: Number,
    G: Number,
    t: int,
    slots: Slots = (0.1,),
    learning_rate: float = 0.001,
    epsilon: float = 1e-7,
) -> tuple[Number, Slots]:
    """AdaGrad; keeps the sum S of squared gradients.

    Args:
        W: the weights.
        G: their gradient.
        t: not used.
        slots: `S`. Begins at 0.1, as in Keras.
        learning_rate: the learning rate l. Defaults to 0.001, as in Keras.
        epsilon: ε, added under the root. Defaults to 1e-7, as in Keras.

    In Duchi, Hazan and Singer (2011) the sum starts at 0 and the small constant is
    added to the root, not under it.
    """
    (S,) = slots
    S = S + G**2
    return W - learning_rate * G / np.sqrt(S + epsilon), (S,)


def adadelta(
    W: Number,
    G: Number,
    t: int,
    slots: Slots = (0.0, 0.0),
    learning_rate: float = 0.001,
    rho: float = 0.95,
    epsilon: float = 1e-7,
) -> tuple[Number, Slots]:
    """AdaDelta; keeps averages of squared gradients, S, and of squared steps, D.

    Args:
        W: the weights.
        G: their gradient.
        t: not used.
        slots: S and D.
        learning_rate: the learning rate l. Defaults to 0.001, as in Keras.
        rho: ρ, how much of the old averages is kept. Defaults to 0.95.
        epsilon: ε, added under both roots. Defaults to 1e-7, as in Keras.

    Zeiler (2012) has no learning rate, which is l = 1 here, and ε = 1e-6.
    """
    S, D = slots
    S = rho * S + (1 - rho) * G**2
    step = -np.sqrt(D + epsilon) / np.sqrt(S + epsilon) * G
    D = rho * D + (1 - rho) * step**2
    return W + learning_rate * step, (S, D)


def rmsprop(
    W: Number,
    G: Number,
    t: int,
    slots: Slots = (0.0,),
    learning_rate: float = 0.001,
    rho: float = 0.9,
    epsilon: float = 1e-7,
) -> tuple[Number, Slots]:
    """RMSprop; keeps the moving average S of squared gradients.

    Args:
        W: the weights.
        G: their gradient.
        t: not used.
        slots: `S`.
        learning_rate: the learning rate l. Defaults to 0.001, as in Keras.
        rho: ρ, how much of the old average is kept. Defaults to 0.9.
        epsilon: ε, added under the root. Defaults to 1e-7, as in Keras.

    The lecture of Hinton, Srivastava and Swersky (2012) divides by the root of S alone.
    """
    (S,) = slots
    S = rho * S + (1 - rho) * G**2
    return W - learning_rate * G / np.sqrt(S + epsilon), (S,)


def nesterov(
    W: Number,
    G: Number,
    t: int,
    slots: Slots = (0.0,),
    learning_rate: float = 0.01,
    beta: float = 0.9,
) -> tuple[Number, Slots]:
    """SGD with Nesterov momentum; keeps the velocity V.

    Args:
        W: the weights, looked ahead: those of the paper plus βV.
        G: the gradient there.
        t: not used.
        slots: `V`.
        learning_rate: the learning rate l. Defaults to 0.01, as in Keras.
        beta: how much of the velocity is kept. Defaults to 0.9.

    Sutskever et al. (2013) keep the weights θ and ask for the gradient at θ + βV. Keras
    stores that point instead: W = θ + βV. The two make the same path for constant β.
    """
    (V,) = slots
    V = beta * V - learning_rate * G
    return W + beta * V - learning_rate * G, (V,)


def adam(
    W: Number,
    G: Number,
    t: int,
    slots: Slots = (0.0, 0.0),
    learning_rate: float = 0.001,
    beta_1: float = 0.9,
    beta_2: float = 0.999,
    epsilon: float = 1e-7,
) -> tuple[Number, Slots]:
    """Adam; keeps moving averages V of the gradient and S of its square.

    Args:
        W: the weights.
        G: their gradient.
        t: the number of the update, from 1.
        slots: V and S.
        learning_rate: the learning rate l. Defaults to 0.001.
        beta_1: β₁, how much of V is kept. Defaults to 0.9.
        beta_2: β₂, how much of S is kept. Defaults to 0.999.
        epsilon: ε, added to the root. Defaults to 1e-7, as in Keras.

    Algorithm 1 of Kingma and Ba (2015) adds ε = 1e-8 to the root of the corrected
    average. Keras adds it before the correction, which section 2 of that paper offers
    as the faster order: the same ε then weighs more in the first updates.
    """
    V, S = slots
    V = beta_1 * V + (1 - beta_1) * G
    S = beta_2 * S + (1 - beta_2) * G**2
    corrected = np.sqrt(1 - beta_2**t) / (1 - beta_1**t)
    return W - learning_rate * corrected * V / (np.sqrt(S) + epsilon), (V, S)


def adamax(
    W: Number,
    G: Number,
    t: int,
    slots: Slots = (0.0, 0.0),
    learning_rate: float = 0.001,
    beta_1: float = 0.9,
    beta_2: float = 0.999,
    epsilon: float = 1e-7,
) -> tuple[Number, Slots]:
    """AdaMax; keeps the moving average V and a decaying maximum U of the gradients.

    Args:
        W: the weights.
        G: their gradient.
        t: the number of the update, from 1.
        slots: V and U.
        learning_rate: the learning rate l. Defaults to 0.001, as in Keras.
        beta_1: β₁, how much of V is kept. Defaults to 0.9.
        beta_2: β₂, how much of U is kept. Defaults to 0.999.
        epsilon: ε, added to U. Defaults to 1e-7, as in Keras.

    Algorithm 2 of Kingma and Ba (2015) has no ε, and a default rate of 0.002.
    """
    V, U = slots
    V = beta_1 * V + (1 - beta_1) * G
    U = np.maximum(beta_2 * U, np.abs(G))
    return W - learning_rate / (1 - beta_1**t) * V / (U + epsilon), (V, U)


def nadam(
    W: Number,
    G: Number,
    t: int,
    slots: Slots = (0.0, 0.0),
    learning_rate: float = 0.001,
    beta_1: float = 0.9,
    beta_2: float = 0.999,
    epsilon: float = 1e-7,
) -> tuple[Number, Slots]:
    """Nadam, Adam with Nesterov momentum; keeps V and S as Adam does.

    Args:
        W: the weights.
        G: their gradient.
        t: the number of the update, from 1.
        slots: V and S.
        learning_rate: the learning rate l. Defaults to 0.001, as in Keras.
        beta_1: β₁, how much of V is kept, and what the factors μ grow to. Defaults to
            0.9.
        beta_2: β₂, how much of S is kept. Defaults to 0.999.
        epsilon: ε, added to the root. Defaults to 1e-7, as in Keras.

    Dozat (2016) averages the gradient with the changing μ; Keras averages it with the
    constant β₁ and uses μ for the correction and the look ahead alone. Keras's μ also
    grows 250 times as fast as in Dozat's experiments: 0.96 to the power t, not t/250.
    """
    V, S = slots
    mu = beta_1 * (1 - 0.96 ** np.arange(1, t + 2) / 2)
    V = beta_1 * V + (1 - beta_1) * G
    S = beta_2 * S + (1 - beta_2) * G**2
    ahead = mu[t] * V / (1 - np.prod(mu))
    now = (1 - mu[t - 1]) * G / (1 - np.prod(mu[:t]))
    scale = np.sqrt(S / (1 - beta_2**t)) + epsilon
    return W - learning_rate * (ahead + now) / scale, (V, S)


def amsgrad(
    W: Number,
    G: Number,
    t: int,
    slots: Slots = (0.0, 0.0, 0.0),
    learning_rate: float = 0.001,
    beta_1: float = 0.9,
    beta_2: float = 0.999,
    epsilon: float = 1e-7,
) -> tuple[Number, Slots]:
    """AMSGrad, Adam with a scale that never shrinks; keeps V, S and S's maximum.

    Args:
        W: the weights.
        G: their gradient.
        t: the number of the update, from 1.
        slots: V, S and the largest S so far.
        learning_rate: the learning rate l. Defaults to 0.001.
        beta_1: β₁, how much of V is kept. Defaults to 0.9.
        beta_2: β₂, how much of S is kept. Defaults to 0.999.
        epsilon: ε, added to the root. Defaults to 1e-7, as in Keras.

    Algorithm 2 of Reddi, Kale and Kumar (2018) has neither a correction of the start
    nor ε, and its learning rate may change with t. Keras keeps Adam's correction.
    """
    V, S, largest = slots
    V = beta_1 * V + (1 - beta_1) * G
    S = beta_2 * S + (1 - beta_2) * G**2
    largest = np.maximum(largest, S)
    corrected = np.sqrt(1 - beta_2**t) / (1 - beta_1**t)
    W = W - learning_rate * corrected * V / (np.sqrt(largest) + epsilon)
    return W, (V, S, largest)


def trajectory(
    step: Callable[..., tuple[Number, Slots]],
    W: Number,
    gradients: Sequence[Number] | NDArray[Any],
    **arguments: Any,
) -> NDArray[Any]:
    """Update weights with one gradient after the other.

    Args:
        step: a function of this module.
        W: the weights at the start, of any shape.
        gradients: the gradient of each update, all of the shape of `W`.
        **arguments: of `step`, such as `learning_rate`; `slots` are the first ones.

    Returns:
        The weights after each update, of shape `(updates, *W.shape)`.
    """
    weights: list[Number] = []
    for t, G in enumerate(gradients, start=1):
        W, slots = step(W, G, t, **arguments)
        arguments["slots"] = slots
        weights.append(W)
    return np.array(weights)
