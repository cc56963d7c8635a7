"""The paper's equations as small NumPy functions: the reference for everything else.

Each function computes one thing, named for what it is, and its docstring says which
equation of section 2 it comes from. They are written to be compared with the paper,
not to be fast; `gravity.Gravity` is tested against them.

Symbols are the paper's: `g` is the slope dL/dW of one weight and `G` the gradient of a
whole tensor, `m` the max-step gradient, `V` the velocity, `zeta` the gradient term. `t`
is a time in Eq. 5 to 17 and the number of the update in Eq. 25 and 26. Angles are in
radians. Every function takes numbers or arrays and works in the precision it is given.

References:
    - [Bahrami and Pouriyan Zadeh, Gravity Optimizer: a Kinematic Approach on
      Optimization in Deep Learning](https://arxiv.org/abs/2101.09192)
"""

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Number: TypeAlias = float | NDArray[Any]
"""A number, or an array of them."""


def slope_angle(g: Number, m: Number = 1.0) -> Number:
    """Return the angle of the plane that stands for a gradient: Eq. 1 and Eq. 15.

    Args:
        g: the gradient dL/dW.
        m: the max-step gradient, positive. Defaults to 1, which is Eq. 1.

    Returns:
        The angle, between -π/2 and π/2, negative where the loss falls with the weight.
    """
    return np.arctan(g / m)


def weight_shift(dx: Number, theta: Number) -> Number:
    """Return the part of a move along the plane that changes the weight: Eq. 2.

    Args:
        dx: the distance moved along the plane.
        theta: the plane's angle.
    """
    return dx * np.cos(theta)


def loss_shift(dx: Number, theta: Number) -> Number:
    """Return the part of a move along the plane that changes the loss: Eq. 3.

    Args:
        dx: the distance moved along the plane.
        theta: the plane's angle.
    """
    return dx * np.sin(theta)


def acceleration_along_plane(a_L: Number, theta: Number) -> Number:
    """Return what the plane leaves of the acceleration towards lower loss: Eq. 4.

    Args:
        a_L: the acceleration in the direction of the loss axis.
        theta: the plane's angle.
    """
    return -a_L * np.sin(theta)


def position(a_x: Number, t: Number, v_0: Number = 0.0, x_0: Number = 0.0) -> Number:
    """Return where a constant acceleration takes the ball: Eq. 5.

    Args:
        a_x: the acceleration along the plane.
        t: the time since the start.
        v_0: the velocity at the start. Defaults to 0: the ball is let go, as in Eq. 6.
        x_0: the position at the start. Defaults to 0, so that the result is the
            distance covered, as in Eq. 6.
    """
    return 0.5 * a_x * t**2 + v_0 * t + x_0


def inclined_plane_step(a_L: Number, t: Number, theta: Number) -> Number:
    """Return the change of the weight after a time on the plane: Eq. 8.

    Args:
        a_L: the acceleration in the direction of the loss axis.
        t: the time that the ball rolls.
        theta: the plane's angle.
    """
    return -0.5 * a_L * t**2 * np.cos(theta) * np.sin(theta)


def sine_of_arctangent(x: Number) -> Number:
    """Return sin(arctan x) without trigonometry: Eq. 9."""
    return x / np.sqrt(1 + x**2)


def cosine_of_arctangent(x: Number) -> Number:
    """Return cos(arctan x) without trigonometry: Eq. 10."""
    return 1 / np.sqrt(1 + x**2)


def rational_plane_step(a_L: Number, t: Number, g: Number, m: Number = 1.0) -> Number:
    """Return the change of the weight, from its gradient: Eq. 11 and Eq. 16.

    This is `inclined_plane_step` at the angle of the gradient, with the angle
    eliminated.

    Args:
        a_L: the acceleration in the direction of the loss axis.
        t: the time that the ball rolls.
        g: the gradient dL/dW.
        m: the max-step gradient, positive. Defaults to 1, which is Eq. 11.
    """
    return -0.5 * a_L * t**2 * (g / m) / (1 + (g / m) ** 2)


def equivalent_learning_rate(a_L: Number, t: Number, m: Number = 1.0) -> Number:
    """Return the learning rate that stands for acceleration and time: Eq. 12, 17.

    Args:
        a_L: the acceleration in the direction of the loss axis.
        t: the time that the ball rolls.
        m: the max-step gradient, positive. Defaults to 1, which is Eq. 12.
    """
    return a_L * t**2 / (2 * m)


def gravity_step(g: Number, learning_rate: Number, m: Number = 1.0) -> Number:
    """Return the change of the weight in a step without memory: Eq. 13 and Eq. 18.

    Args:
        g: the gradient dL/dW.
        learning_rate: the learning rate l.
        m: the max-step gradient, positive. Defaults to 1, which is Eq. 13.
    """
    return -learning_rate * g / (1 + (g / m) ** 2)


def gradient_descent_step(g: Number, learning_rate: Number) -> Number:
    """Return the change of the weight in plain gradient descent: Eq. 14.

    Args:
        g: the gradient dL/dW.
        learning_rate: the learning rate l.
    """
    return -learning_rate * g


def largest_step(learning_rate: Number, m: Number = 1.0) -> Number:
    """Return the size of the longest step there is, the one at g = m: Eq. 19.

    Args:
        learning_rate: the learning rate l.
        m: the max-step gradient, positive. Defaults to 1.
    """
    return learning_rate * m / 2


def max_step_gradient(G: Number) -> Number:
    """Return the m that the paper chooses for a gradient tensor: Eq. 20.

    Args:
        G: the gradient of one weight tensor, of any shape.

    Returns:
        1 / max|G|, one number for the tensor; infinite where all of G is zero.
    """
    with np.errstate(divide="ignore"):
        return 1 / np.max(np.abs(G))


def gradient_term(G: Number, m: Number) -> Number:
    """Return ζ, the gradient bent back where it is steeper than m: Eq. 21.

    Args:
        G: the gradient, of any shape.
        m: the max-step gradient, positive; infinite leaves the gradient as it is.
    """
    return G / (1 + (G / m) ** 2)


def moving_average(V: Number, zeta: Number, beta: Number) -> Number:
    """Return the velocity after taking in a new gradient term: Eq. 22.

    Args:
        V: the velocity before.
        zeta: the gradient term, of the same shape.
        beta: how much of the old velocity is kept, from 0 to 1.
    """
    return beta * V + (1 - beta) * zeta


def velocity_step(V: Number, learning_rate: Number) -> Number:
    """Return the change of the weight that a velocity makes: Eq. 23.

    Args:
        V: the velocity.
        learning_rate: the learning rate l.
    """
    return -learning_rate * V


def averaged_count(beta: Number) -> Number:
    """Return over about how many values a moving average goes: Eq. 24.

    Args:
        beta: the average's parameter, from 0 up to but not including 1.
    """
    return 1 / (1 - beta)


def bias_corrected_average(V: Number, zeta: Number, beta: Number, t: Number) -> Number:
    """Return the velocity with its start corrected, which Gravity does not use: Eq. 25.

    As printed, the equation takes in the corrected velocity again at the next step.
    The correction then multiplies up, and overflows when β is near 1; Adam's
    correction, which keeps the uncorrected average, does not.

    Args:
        V: the velocity before.
        zeta: the gradient term, of the same shape.
        beta: how much of the old velocity is kept, from 0 up to but not including 1.
        t: the number of the update, from 1.
    """
    return moving_average(V, zeta, beta) / (1 - beta**t)


def effective_beta(t: Number, beta: Number = 0.9) -> Number:
    """Return β̂, the paper's alternative to a constant β: Eq. 26 and Table 2.

    Args:
        t: the number of the update. Eq. 28 and Table 2 start at 0.
        beta: the value that β̂ goes to. Defaults to 0.9, the paper's.

    Returns:
        ½ at t = 0, and nearer to β the larger t is.
    """
    return (beta * t + 1) / (t + 2)


def velocity_std(alpha: Number, learning_rate: Number) -> Number:
    """Return σ, the standard deviation of the initial velocity: Eq. 27.

    Args:
        alpha: α, the scale of the first, random displacement.
        learning_rate: the learning rate l, positive.
    """
    return alpha / learning_rate


def initial_scale(sigma: Number, learning_rate: Number) -> Number:
    """Return α, given the initial velocity's standard deviation: Eq. 30.

    Args:
        sigma: the standard deviation of the initial velocity.
        learning_rate: the learning rate l.
    """
    return learning_rate * sigma


def first_step_parts(
    V_0: Number, zeta_0: Number, learning_rate: Number
) -> tuple[Number, Number]:
    """Return the two parts of the step at t = 0: Eq. 28 and Eq. 29.

    Args:
        V_0: the initial velocity.
        zeta_0: the first gradient term, of the same shape.
        learning_rate: the learning rate l.

    Returns:
        The part that the initial velocity makes and the part that the gradient makes.
        Their sum is the step.
    """
    return -learning_rate * 0.5 * V_0, -learning_rate * 0.5 * zeta_0


def noise_displacement_std(
    alpha: Number, steps: int, beta: float = 0.9, first_step: int = 0
) -> Number:
    """Return how far the initial velocity alone carries a weight.

    With every gradient zero the velocity only shrinks: after update t it is V₀ times
    the product of all β̂ up to t. The displacements add up, and the learning rate in
    Eq. 23 cancels the one in Eq. 27. With β = 0.9 the sum goes to 1.92 α when updates
    count from 0, and to 2.83 α when they count from 1.

    Args:
        alpha: α, the scale of the first, random displacement.
        steps: number of updates.
        beta: the moving average's parameter. Defaults to 0.9, the paper's.
        first_step: the number of the first update, 0 or 1. Defaults to 0.

    Returns:
        The standard deviation of the weights' displacement, in units of the weights.
    """
    t = np.arange(first_step, first_step + steps)
    return alpha * np.cumprod(effective_beta(t, beta)).sum()


def update(
    W: Number,
    V: Number,
    G: Number,
    t: int,
    learning_rate: float = 0.1,
    beta: float = 0.9,
) -> tuple[Number, Number]:
    """Update one weight tensor once: the inner loop of Algorithm 1.

    Args:
        W: the weights, of any shape.
        V: their velocity, of the same shape.
        G: the gradient of the loss with respect to them, of the same shape.
        t: the number of the update, see `trajectory`.
        learning_rate: the learning rate l. Defaults to 0.1, the paper's.
        beta: the moving average's parameter. Defaults to 0.9, the paper's.

    Returns:
        The new weights and the new velocity. The arguments are left as they were.
    """
    beta_hat = effective_beta(t, beta)
    m = max_step_gradient(G)
    zeta = gradient_term(G, m)
    V = moving_average(V, zeta, beta_hat)
    W = W + velocity_step(V, learning_rate)
    return W, V


def trajectory(
    W: Number,
    V: Number,
    gradients: Sequence[Number] | NDArray[Any],
    learning_rate: float | Sequence[float] = 0.1,
    beta: float = 0.9,
    first_step: int = 0,
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Update one weight tensor with one gradient after the other: Algorithm 1.

    Args:
        W: the weights at the start, of any shape.
        V: the initial velocity, of the same shape.
        gradients: the gradient of each update, all of the same shape.
        learning_rate: the learning rate l, or one for each gradient. Defaults to 0.1,
            the paper's.
        beta: the moving average's parameter. Defaults to 0.9, the paper's.
        first_step: the t of the first update. Defaults to 0, as in Eq. 28 and Table 2;
            Algorithm 1 as printed counts before it updates, which makes it 1.

    Returns:
        The weights and the velocity after each update, both of shape
        `(updates, *W.shape)`.

    Raises:
        ValueError: there are not as many learning rates as gradients.
    """
    rates = np.asarray(learning_rate, dtype=float)
    if rates.ndim and len(rates) != len(gradients):
        raise ValueError(
            "Argument `learning_rate` must be one number or one for each of the "
            f"{len(gradients)} gradients. Received {len(rates)}: "
            f"learning_rate={learning_rate!r}"
        )
    each_rate = np.broadcast_to(rates, len(gradients)).tolist()
    weights, velocities = [], []
    for t, (G, rate) in enumerate(zip(gradients, each_rate, strict=True), first_step):
        W, V = update(W, V, G, t, rate, beta)
        weights.append(W)
        velocities.append(V)
    return np.array(weights), np.array(velocities)
