"""The Gravity optimizer for JAX, as optax's gradient transformations."""

from __future__ import annotations

import functools
import math
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

try:
    import jax
    import optax
except ModuleNotFoundError as error:
    if error.name not in ("jax", "optax"):
        raise
    raise ImportError(
        f"gravity.optax needs {error.name}, which isn't installed. Install it with: "
        'pip install "gravity-optimizer[optax]"'
    ) from error

import jax.numpy as jnp
from jax.experimental.shard_alike import shard_alike
from jax.typing import ArrayLike, DTypeLike

from gravity._shared import STEEPEST, checked, initial_velocity

__all__ = ["ScaleByGravityState", "gravity", "initial_velocity", "scale_by_gravity"]

FINITE = "a finite number, 0 or more"


class ScaleByGravityState(NamedTuple):
    """State of the Gravity algorithm."""

    count: jax.Array  # type: ignore[assignment]  # a tuple's method, as in optax
    """The number of updates so far, an int32 of shape ()."""

    velocity: optax.Updates
    """V for every parameter, of its shape."""


def scale_by_gravity(
    sigma: ArrayLike = 0.1,
    beta: ArrayLike = 0.9,
    *,
    key: ArrayLike,
    first_step: ArrayLike = 0,
    velocity_dtype: DTypeLike | None = None,
) -> optax.GradientTransformation:
    r"""Replace gradients by the velocities of the Gravity algorithm.

    See `gravity` for the whole optimizer, and for the mathematics.

    Args:
        sigma: The standard deviation of the initial velocity, α / l₀ (the paper's
            Eq. 27), a number, 0 or more; 0 starts without noise. Defaults to `0.1`,
            which is the paper's 0.01 / 0.1.
        beta: As in `gravity`.
        key: As in `gravity`.
        first_step: As in `gravity`.
        velocity_dtype: As in `gravity`.

    Returns:
        The transformation, an `optax.GradientTransformation`.

    Raises:
        ValueError: An argument is not as said above, or, on `init`, a parameter is
            complex.
    """
    sigma = _checked(float, "sigma", sigma, FINITE)
    beta = _checked(float, "beta", beta, "a number from 0 to 1", most=1)
    first_step = _checked(int, "first_step", first_step, "0 or 1", most=1)
    key = _as_key(key)

    def init_fn(params: optax.Params) -> ScaleByGravityState:
        if any(map(jnp.iscomplexobj, jax.tree.leaves(params))):
            raise ValueError(
                "Argument `params` must hold real arrays: a complex gradient has no "
                "one size that Gravity could bend it by. Received a complex one."
            )
        leaves, structure = jax.tree.flatten(params)
        keys = jax.random.split(key, len(leaves))
        velocity = [
            (sigma * _noise_like(W, k)).astype(velocity_dtype or _float_type(W))
            for W, k in zip(leaves, keys, strict=True)
        ]
        return ScaleByGravityState(
            jnp.zeros([], jnp.int32), jax.tree.unflatten(structure, velocity)
        )

    def update_fn(
        updates: optax.Updates,
        state: ScaleByGravityState,
        params: optax.Params | None = None,
    ) -> tuple[optax.Updates, ScaleByGravityState]:
        del params

        def new_velocity(G: Any, V: Any) -> Any:
            if G is None:
                return None
            dtype = jnp.promote_types(_float_type(G), jnp.float32)
            G = jnp.asarray(G).astype(dtype)
            t = (state.count + first_step).astype(dtype)
            beta_hat = (beta * t + 1) / (t + 2)
            # max|G|: so written, XLA's update on a CPU takes two thirds of the time.
            steepest = jnp.maximum(jnp.max(G, initial=0), -jnp.min(G, initial=0))
            # No ζ exceeds 1 / (2 max|G|), which is nothing where the square overflows.
            kept = 1 - (steepest >= STEEPEST[dtype.name]).astype(dtype)
            zeta = G / (1 + jnp.square(G * (kept * steepest)))
            return beta_hat * V.astype(dtype) + kept * (1 - beta_hat) * zeta

        def by_leaf(function: Callable[..., Any], *trees: Any) -> Any:
            return jax.tree.map(function, *trees, is_leaf=lambda leaf: leaf is None)

        new = by_leaf(new_velocity, updates, state.velocity)
        velocity = by_leaf(
            lambda V_t, V: V if V_t is None else V_t.astype(V.dtype),
            new,
            state.velocity,
        )
        updates = by_leaf(
            lambda V_t, G: None if G is None else V_t.astype(_float_type(G)),
            new,
            updates,
        )
        count = optax.safe_increment(state.count)
        return updates, ScaleByGravityState(count, velocity)

    return optax.GradientTransformation(init_fn, update_fn)


def gravity(
    learning_rate: optax.ScalarOrSchedule = 0.1,
    alpha: ArrayLike = 0.01,
    beta: ArrayLike = 0.9,
    *,
    key: ArrayLike,
    first_step: ArrayLike = 0,
    initial_learning_rate: ArrayLike | None = None,
    velocity_dtype: DTypeLike | None = None,
    weight_decay: optax.ScalarOrSchedule = 0.0,
    mask: Any | Callable[[optax.Params], Any] | None = None,
) -> optax.GradientTransformationExtraArgs:
    r"""The Gravity optimizer.

    For every parameter $W$ with gradient $G$, at update $t = 0, 1, 2, \dots$:

    $$\hat\beta = \frac{\beta t + 1}{t + 2}, \qquad
    \zeta = \frac{G}{1 + (G \max|G|)^2}, \qquad
    V \leftarrow \hat\beta V + (1 - \hat\beta) \zeta, \qquad
    W \leftarrow W - l V$$

    with $V_0 \sim \mathcal{N}(0, \alpha / l_0)$. The maximum goes over the whole
    array; a gradient of zero is no special case. No ζ exceeds 1 / (2 max|G|), so it
    counts as 0 where max|G| is 4e9 or more (1e77 in float64), whose fourth power
    overflows. One NaN or infinity in a gradient makes the whole array NaN, because the
    maximum takes it to every element; Adam would lose that element alone.
    `optax.apply_if_finite` skips such an update.

    Example:

    >>> import jax, jax.numpy as jnp, optax
    >>> from gravity.optax import gravity
    >>> def f(W): return jnp.sum(W ** 2) / 2
    >>> solver = gravity(learning_rate=0.1, alpha=0.0, key=0)
    >>> W = jnp.array([1.0, -2.0])
    >>> state = solver.init(W)
    >>> updates, state = solver.update(jax.grad(f)(W), state, W)
    >>> print(optax.apply_updates(W, updates))
    [ 0.99      -1.9941176]

    Args:
        learning_rate: The learning rate l, a positive number or a schedule.
            Defaults to `0.1`.
        alpha: The scale of the first, random displacement: it is about half of this,
            whatever the learning rate is. A number, 0 or more; 0 starts without noise.
            Defaults to `0.01`.
        beta: What the parameter of the moving average grows to, from 0 to 1. The
            average goes over about 1 / (1 - beta) updates. Defaults to `0.9`.
        key: What the initial velocities are drawn from, a key of `jax.random` or an
            integer, 0 or more, for `jax.random.key`. It has no default, as JAX has no
            global generator: two optimizers of one key share their noise. The numbers
            are JAX's: for those that `gravity.Gravity` and `gravity.torch.Gravity`
            draw, put the arrays of `initial_velocity` in their place with
            `optax.tree.set(state, velocity=arrays)`.
        first_step: The t of the first update, 0 or 1. Defaults to `0`, as in the
            paper's Eq. 28 and Table 2 and in the authors' experiments; 1 is its
            Algorithm 1 as printed.
        initial_learning_rate: The learning rate l₀ that sets the width of the initial
            velocity, a number, 0 or more. Defaults to `None`, for the first value of
            `learning_rate`. Where that is 0, as in a warm-up from 0, the velocity
            starts at 0, and a warning says so.
        velocity_dtype: The type in which the velocity is kept. Defaults to `None`, for
            the parameter's own.
        weight_decay: How much of each weight, times the learning rate, an update takes
            off, a number, 0 or more, or a schedule. It is decoupled from the gradient,
            as in `optax.adamw`. Defaults to `0.0`; any other needs `params` on
            `update`.
        mask: Which parameters decay, as in `optax.add_decayed_weights`. Defaults to
            `None`, for all.

    Returns:
        The optimizer, an `optax.GradientTransformationExtraArgs`.

    Raises:
        ValueError: An argument is not as said above, or, on `init`, a parameter is
            complex. The message has the argument's name, its value and what is
            accepted. Arrays, in which `optax.inject_hyperparams` holds its values,
            are not checked: under `jax.jit` their values aren't known.

    The update is computed in float32, for float64 gradients in float64, and returned
    in the gradients' type, or in float32 where that is an integer's. t counts the
    updates. Each velocity lies where its parameter lies, on whatever mesh that is.
    Within `jax.shard_map` an array is the piece that one device has, here as
    everywhere: `init` draws the same noise on all devices, and the maximum goes over
    the piece. Call `init` and `update` outside of it for those of the whole array.

    References:
        - [Bahrami and Pouriyan Zadeh, Gravity Optimizer: a Kinematic Approach on
          Optimization in Deep Learning](https://arxiv.org/abs/2101.09192), Algorithm 1
          and Eq. 20, 22, 23, 26 and 27
    """
    alpha = _checked(float, "alpha", alpha, FINITE)
    l_0 = _first_rate(learning_rate, initial_learning_rate, alpha)
    # Where l₀ is 0, Eq. 27 has no value.
    sigma: Any
    if isinstance(l_0, jax.Array):
        sigma = jnp.where(l_0 > 0, alpha / jnp.where(l_0 > 0, l_0, 1), 0)
    else:
        sigma = alpha / l_0 if l_0 > 0 else 0.0
    parts = [
        scale_by_gravity(
            sigma,
            beta,
            key=key,
            first_step=first_step,
            velocity_dtype=velocity_dtype,
        )
    ]
    if not callable(weight_decay):
        weight_decay = _checked(float, "weight_decay", weight_decay, FINITE)
    if not (isinstance(weight_decay, float) and weight_decay == 0):
        parts.append(optax.add_decayed_weights(weight_decay, mask))
    return optax.chain(*parts, optax.scale_by_learning_rate(learning_rate))


def _float_type(x: Any) -> Any:
    """Return the type of an array or a Python number, float32 for an integer's."""
    dtype = jnp.result_type(x)
    return dtype if jnp.issubdtype(dtype, jnp.floating) else jnp.dtype("float32")


def _noise_like(W: Any, key: Any) -> Any:
    """Draw normal numbers in float32, of the shape of W and where W is."""
    shape = jnp.shape(W)
    if isinstance(W, jax.Array) and not isinstance(W, jax.core.Tracer) and W.committed:
        return _normal_at(W.sharding)(key, shape, jnp.float32)
    noise = jax.random.normal(key, shape, jnp.float32)
    if isinstance(W, jax.core.Tracer):
        # The zeros have the places that W's type tells, and the compiler finds others.
        return shard_alike(W, jnp.zeros_like(W, jnp.float32) + noise)[1]
    return noise


@functools.cache
def _normal_at(sharding: jax.sharding.Sharding) -> Callable[..., jax.Array]:
    """Return `jax.random.normal` for numbers that no device holds all of."""
    return jax.jit(jax.random.normal, static_argnums=(1, 2), out_shardings=sharding)


def _checked(
    kind: type, name: str, value: Any, accepted: str, most: float = math.inf
) -> Any:
    if isinstance(value, jax.Array):
        return value
    return checked(kind, name, value, accepted, most)


def _as_key(key: Any) -> Any:
    """Return the key itself, or the one that an integer stands for."""
    if not isinstance(key, jax.Array):
        key = checked(int, "key", key, "a jax.random key or an integer, 0 or more")
    elif jnp.issubdtype(key.dtype, jax.dtypes.prng_key) or key.ndim:
        return key
    return jax.random.key(key)


def _first_rate(learning_rate: Any, given: Any, alpha: Any) -> Any:
    """Return what sets the initial velocity's width, having checked both rates."""
    schedule = callable(learning_rate)
    first = learning_rate(jnp.zeros([], jnp.int32)) if schedule else learning_rate
    if schedule and not isinstance(first, jax.core.Tracer):
        first = float(first)
    if not isinstance(first, jax.Array):
        try:
            checked(float, "learning_rate", first, "")
            bad = first == 0 and given is None and not schedule
        except ValueError:
            bad = True
        if bad:
            start = f", which starts at {first}" if schedule else ""
            raise ValueError(
                "Argument `learning_rate` must be a positive finite number, or a "
                "schedule that starts at a finite number, 0 or more. "
                f"Received: learning_rate={learning_rate!r}{start}"
            )
    if given is not None:
        return _checked(float, "initial_learning_rate", given, f"{FINITE}, or None")
    noise = isinstance(alpha, float) and alpha > 0
    if schedule and isinstance(first, float) and first == 0 and noise:
        warnings.warn(
            "The learning rate starts at 0, so the velocity does too and `alpha` has "
            f"no effect. Received: learning_rate={learning_rate!r}, alpha={alpha}. "
            "Start the warm-up above 0, or give `initial_learning_rate`.",
            stacklevel=3,
        )
    return first
