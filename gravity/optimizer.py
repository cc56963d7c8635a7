"""The Gravity optimizer for Keras 3, on any of its backends."""

import functools
import math
import random
import warnings
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import keras
from keras import ops

from gravity.shared import checked, initial_velocity

# The number of weights from which on a compiled update soon saves the seconds that it
# takes to compile it.
_WORTH_COMPILING = 2**19
# Up to this many elements, one thread finds the largest one as soon as several do.
_SMALL = 2**12
# From this many on, it is found sooner in a gradient that is folded; into how many
# layers, and how wide each is.
_LARGE, _LAYERS, _LANES = 2**18, 32, 16

LearningRate: TypeAlias = (
    float | keras.optimizers.schedules.LearningRateSchedule | Callable[[], float]
)


@keras.saving.register_keras_serializable(package="gravity")
class Gravity(keras.optimizers.Optimizer):
    r"""Optimizer that implements the Gravity algorithm.

    Gravity takes the loss for a height and lets every weight roll down its slope. Two
    things tell it from gradient descent with momentum. Steep gradients are bent back,
    the more so the larger the largest one of the tensor is, so that no step can blow
    up; and the moving average over the steps begins with a weight of one half and
    lengthens as there is more to average over. It keeps one further tensor for each
    variable, the velocity, which begins as noise.

    For every variable $W$ with gradient $G$, at update $t = 0, 1, 2, \dots$:

    $$\hat\beta = \frac{\beta t + 1}{t + 2}, \qquad
    \zeta = \frac{G}{1 + (G \max|G|)^2}, \qquad
    V \leftarrow \hat\beta V + (1 - \hat\beta) \zeta, \qquad
    W \leftarrow W - l V$$

    with $V_0 \sim \mathcal{N}(0, \alpha / l_0)$. The maximum goes over the whole
    tensor; a gradient of zero is no special case.

    The update is computed in float32, for float64 variables in float64. The velocity
    is kept in the variable's own type, as Keras keeps its optimizers' state. Where
    TensorFlow makes a graph of a step for a CPU, as in `fit`, XLA compiles the update
    of a network with half a million weights or more into one program, which gives the
    same result to the last bit. A model saved with this optimizer loads, and trains on
    as if it had never stopped, in any process that has imported this class before:
    `from gravity import Gravity`.

    Example:

    >>> import gravity, keras
    >>> variable = keras.Variable([1.0, -2.0])
    >>> optimizer = gravity.Gravity(learning_rate=0.1, alpha=0.0)
    >>> optimizer.apply([keras.ops.array([1.0, -2.0])], [variable])
    >>> print(variable.numpy().round(3))
    [ 0.99  -1.994]

    Args:
        learning_rate: The learning rate l, a positive float, a
            `keras.optimizers.schedules.LearningRateSchedule`, or a callable that takes
            no arguments and returns the value to use. Defaults to `0.1`.
        alpha: The scale of the first, random displacement: it is about half of this,
            whatever the learning rate is. A number, 0 or more; 0 starts without noise.
            Defaults to `0.01`.
        beta: What the parameter of the moving average grows to, from 0 to 1. The
            average goes over about 1 / (1 - beta) updates. Defaults to `0.9`.
        seed: What the initial velocities are drawn from, an integer, 0 or more. Each
            variable's follow from the seed and the variable's place among those that
            the optimizer is built with, and are the same on all backends and devices.
            Defaults to `None`, for the seed that Python's `random` would give next.
            It isn't taken from there, so no other random number changes;
            `keras.utils.set_random_seed` makes it reproducible, and two optimizers
            between which nothing is drawn share it. `get_config` has the seed in use.
        first_step: The t of the first update, 0 or 1. Defaults to `0`, as in the
            paper's Eq. 28 and Table 2 and in the authors' experiments; 1 is its
            Algorithm 1 as printed, where the first moving average keeps
            (beta + 1) / 3 of the initial velocity and not one half.
        initial_learning_rate: The learning rate l₀ that sets the width of the initial
            velocity, a number, 0 or more. Defaults to `None`, for the first value of
            `learning_rate` at the time the optimizer is made; assigning
            `optimizer.learning_rate` later doesn't change it. Where it is 0, as in a
            warm-up from 0, alpha / l₀ has no value and the velocity starts at 0: no
            noise could move a weight at this rate, and any would be magnified as the
            rate grows. A warning says so; start the warm-up above 0, or give the rate
            that it leads to here.
        weight_decay: As in every Keras optimizer, and so are `clipnorm`, `clipvalue`,
            `global_clipnorm`, `use_ema`, `ema_momentum`, `ema_overwrite_frequency`,
            `loss_scale_factor`, `gradient_accumulation_steps` and `name`. Loss scales
            are divided out before the update, which isn't proportional to the gradient,
            and t counts updates, not the batches accumulated for one.

    Raises:
        ValueError: An argument is not as said above. The message has its name, its
            value and what is accepted.

    References:
        - [Bahrami and Pouriyan Zadeh, Gravity Optimizer: a Kinematic Approach on
          Optimization in Deep Learning](https://arxiv.org/abs/2101.09192), Algorithm 1
          and Eq. 20, 22, 23, 26 and 27
    """

    def __init__(
        self,
        learning_rate: LearningRate = 0.1,
        alpha: float = 0.01,
        beta: float = 0.9,
        seed: int | None = None,
        first_step: int = 0,
        initial_learning_rate: float | None = None,
        weight_decay: float | None = None,
        clipnorm: float | None = None,
        clipvalue: float | None = None,
        global_clipnorm: float | None = None,
        use_ema: bool = False,
        ema_momentum: float = 0.99,
        ema_overwrite_frequency: int | None = None,
        loss_scale_factor: float | None = None,
        gradient_accumulation_steps: int | None = None,
        name: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            learning_rate=learning_rate,
            weight_decay=weight_decay,
            clipnorm=clipnorm,
            clipvalue=clipvalue,
            global_clipnorm=global_clipnorm,
            use_ema=use_ema,
            ema_momentum=ema_momentum,
            ema_overwrite_frequency=ema_overwrite_frequency,
            loss_scale_factor=loss_scale_factor,
            gradient_accumulation_steps=gradient_accumulation_steps,
            name=name,
            **kwargs,
        )
        self.alpha = checked(float, "alpha", alpha, "a finite number, 0 or more")
        self.beta = checked(float, "beta", beta, "a number from 0 to 1", most=1)
        if seed is None:
            seed = _next_seed()
        self.seed = checked(int, "seed", seed, "an integer, 0 or more, or None")
        self.first_step = checked(int, "first_step", first_step, "0 or 1", most=1)
        self.initial_learning_rate = self._checked_rate(
            learning_rate, initial_learning_rate
        )

    def _checked_rate(self, learning_rate: LearningRate, given: float | None) -> float:
        """Return what sets the initial velocity's width, having checked both rates."""
        constant = isinstance(learning_rate, float)
        value = learning_rate if constant else self.learning_rate
        first = float(ops.convert_to_numpy(value))
        # A stored optimizer's rate may have come down to 0.
        if not 0 <= first < math.inf or (first == 0 and constant and given is None):
            start = "" if constant else f", which starts at {first}"
            raise ValueError(
                "Argument `learning_rate` must be a positive finite float, or a "
                "schedule or callable that starts at a finite number, 0 or more. "
                f"Received: learning_rate={learning_rate!r}{start}"
            )
        if given is not None:
            accepted = "a finite number, 0 or more, or None"
            return checked(float, "initial_learning_rate", given, accepted)
        if first == 0 and self.alpha > 0:
            warnings.warn(
                "The learning rate starts at 0, so the velocity does too and `alpha` "
                f"has no effect. Received: learning_rate={learning_rate!r}, "
                f"alpha={self.alpha}. Start the warm-up above 0, or give "
                "`initial_learning_rate`.",
                stacklevel=3,
            )
        return first

    def build(self, variables: Sequence[keras.Variable]) -> None:
        """Draw the initial velocity of every variable."""
        if self.built:
            return
        super().build(variables)
        self.velocities = [
            self.add_optimizer_variables(
                [variable], "velocity", self._initial_velocity(index)
            )[0]
            for index, variable in enumerate(variables)
        ]

    def _initial_velocity(self, index: int) -> Callable[..., Any]:
        """Return the initializer of one variable's velocity."""

        # Not Keras's random numbers: they depend on the backend.
        def initializer(shape: Sequence[int], dtype: str) -> Any:
            noise = initial_velocity(
                shape, self.seed, index, self.alpha, self.initial_learning_rate
            )
            return ops.cast(noise, dtype)

        return initializer

    def apply(
        self,
        grads: Sequence[Any],
        trainable_variables: Sequence[keras.Variable] | None = None,
    ) -> None:
        """Update the variables with their gradients, as every Keras optimizer does."""
        variables = trainable_variables
        if variables is None:
            variables = self._trainable_variables
        # A sparse gradient may name a row several times. Clipping and max|G| need the
        # sum, and Keras can neither unscale nor accumulate TensorFlow's kind; only
        # reshaping makes that dense, and it costs a dense gradient nothing.
        if len(grads) == len(variables):  # Otherwise Keras says what is wrong.
            grads = [
                G
                if G is None
                else ops.convert_to_tensor(ops.reshape(G, W.shape), sparse=False)
                for G, W in zip(grads, variables, strict=True)
            ]
        super().apply(grads, trainable_variables)

    def update_step(
        self, gradient: Any, variable: keras.Variable, learning_rate: Any
    ) -> None:
        """Update one variable; the names are the paper's."""
        V = self.velocities[self._get_variable_index(variable)]
        dtype = "float64" if V.dtype == "float64" else "float32"
        G = ops.cast(gradient, dtype)
        beta_hat = self._beta_hat(dtype)
        zeta = G / (1 + ops.square(G * ops.max(ops.abs(G))))
        V_t = beta_hat * ops.cast(V, dtype) + (1 - beta_hat) * zeta
        step = ops.cast(learning_rate, dtype) * V_t
        self.assign(V, ops.cast(V_t, V.dtype))
        self.assign_sub(variable, ops.cast(step, variable.dtype))

    def _beta_hat(self, dtype: str) -> Any:
        t = ops.cast(self.iterations, dtype) + self.first_step
        return (self.beta * t + 1) / (t + 2)

    def _backend_update_step(
        self,
        grads: Sequence[Any],
        trainable_variables: Sequence[keras.Variable],
        learning_rate: Any,
    ) -> None:
        """Update the variables together where that is faster, else one by one.

        Keras calls this once clipping and weight decay are done.
        """
        together = self._compilable(trainable_variables)
        rest = []
        groups: dict[str, list[tuple[Any, ...]]] = {}
        for G, W in zip(grads, trainable_variables, strict=True):
            V = self.velocities[self._get_variable_index(W)]
            if together and V.dtype in ("float32", "float64"):
                value = W.value if isinstance(W, keras.Variable) else W
                groups.setdefault(V.dtype, []).append((value, V.value, G))
            else:
                # Of lower precision, XLA would leave roundings out.
                rest.append((G, W))
        for dtype, group in groups.items():
            rate = ops.cast(learning_rate, dtype)
            Ws, Vs, Gs = zip(*group, strict=True)
            _update_together(Ws, Vs, Gs, self._beta_hat(dtype), rate)
        if rest:
            super()._backend_update_step(*zip(*rest, strict=True), learning_rate)

    def _compilable(self, variables: Sequence[keras.Variable]) -> bool:
        """Return whether TensorFlow traces a step here that a compiled update fits."""
        if keras.backend.backend() != "tensorflow":
            return False
        import tensorflow as tf

        return (
            sum(math.prod(W.shape) for W in variables) >= _WORTH_COMPILING
            and not tf.executing_eagerly()
            and not tf.distribute.has_strategy()
            and not tf.config.list_physical_devices("GPU")
            and type(self).update_step is Gravity.update_step
        )

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that make this optimizer again."""
        return {
            **super().get_config(),
            "alpha": self.alpha,
            "beta": self.beta,
            "seed": self.seed,
            "first_step": self.first_step,
            "initial_learning_rate": self.initial_learning_rate,
        }


def _update_together(
    Ws: Sequence[Any], Vs: Sequence[Any], Gs: Sequence[Any], beta_hat: Any, rate: Any
) -> None:
    """Update TensorFlow variables of one type by one compiled program.

    Op by op, each of the dozen operations writes all its results to memory and the next
    one reads them again, which takes most of the time. XLA gives a reduction to one
    number one thread, so the maximum of a gradient that isn't small is TensorFlow's.
    """
    import tensorflow as tf

    large = [G for G in Gs if _is_large(G)]
    folded = iter(_compiled_fold()(large) if large else ())
    steepest = [
        tf.bitcast(tf.reduce_max(next(folded)), G.dtype)
        if _is_large(G)
        else tf.maximum(tf.reduce_max(G), -tf.reduce_min(G))
        for G in Gs
        if not _is_small(G)
    ]
    handles = [[variable.handle for variable in each] for each in (Ws, Vs)]
    minus_zero = tf.constant(-0.0, rate.dtype)
    _compiled_update()(*handles, Gs, steepest, beta_hat, 1 - beta_hat, rate, minus_zero)


def _is_small(G: Any) -> bool:
    return math.prod(G.shape) <= _SMALL


def _is_large(G: Any) -> bool:
    size = math.prod(G.shape)
    return size >= _LARGE and size % (_LAYERS * _LANES) == 0


def _magnitudes(G: Any) -> Any:
    """Return the bits of |G| as integers.

    They have the order of the numbers, with NaN above infinity, which XLA's maximum of
    numbers may lose, and take fewer instructions to compare.
    """
    import tensorflow as tf

    integer = tf.int64 if G.dtype == tf.float64 else tf.int32
    return tf.bitwise.bitwise_and(tf.bitcast(G, integer), integer.max)


@functools.cache
def _compiled_fold() -> Callable[..., Any]:
    """Return a TensorFlow function that keeps the largest |G| of every 32 elements.

    It reads a gradient once and on all threads, where TensorFlow's own operations would
    read it twice, for its largest and its smallest element.
    """
    import tensorflow as tf

    @tf.function(jit_compile=True, autograph=False)
    def fold(Gs: Sequence[Any]) -> list[Any]:
        folded = []
        for G in Gs:
            # Neighbours are compared, so that the memory is read in its order.
            layers = tf.unstack(tf.reshape(G, [-1, _LAYERS, _LANES]), axis=1)
            magnitudes = [_magnitudes(layer) for layer in layers]
            while len(magnitudes) > 1:
                pairs = zip(magnitudes[::2], magnitudes[1::2], strict=True)
                magnitudes = [tf.maximum(*pair) for pair in pairs]
            folded += magnitudes
        return folded

    return fold


@functools.cache
def _compiled_update() -> Callable[..., None]:
    """Return the update as a TensorFlow function that XLA compiles.

    It is one function for all optimizers, so that networks of equal shapes share what
    was compiled. It takes the variables' handles: TensorFlow would have a function that
    takes variables refuse all others once its first ones are gone.
    """
    import tensorflow as tf

    @tf.function(jit_compile=True, autograph=False)
    def update(
        Ws: Sequence[Any],
        Vs: Sequence[Any],
        Gs: Sequence[Any],
        steepest: Sequence[Any],
        beta_hat: Any,
        rest: Any,
        rate: Any,
        minus_zero: Any,
    ) -> None:
        # The processor would add to a product without rounding the product first, and
        # the last bits would not be those of the update op by op. To add -0 changes no
        # number, and takes its place: multiplying and adding is one instruction. XLA
        # can't leave it out, as it doesn't know its value.
        def rounded(product: Any) -> Any:
            return product + minus_zero

        largest = iter(steepest)
        for W, V, G in zip(Ws, Vs, Gs, strict=True):
            if _is_small(G):
                most = tf.bitcast(tf.reduce_max(_magnitudes(G)), G.dtype)
            else:
                most = next(largest)
            zeta = G / (1 + rounded(tf.square(G * most)))
            V_0 = tf.raw_ops.ReadVariableOp(resource=V, dtype=G.dtype)
            V_t = rounded(beta_hat * V_0) + rounded(rest * zeta)
            tf.raw_ops.AssignVariableOp(resource=V, value=V_t)
            step = rounded(rate * V_t)
            tf.raw_ops.AssignSubVariableOp(resource=W, value=step)

    return update


def _next_seed() -> int:
    """Return what Python's global random stream would give next, leaving it there."""
    stream = random.Random()
    stream.setstate(random.getstate())
    return stream.getrandbits(32)
