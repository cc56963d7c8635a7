"""The Gravity optimizer for Keras 3, on any of its backends."""

import math
import random
import warnings
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeAlias

import keras
from keras import ops

from gravity import _compiled
from gravity._shared import STEEPEST, checked, initial_velocity

LearningRate: TypeAlias = (
    float | keras.optimizers.schedules.LearningRateSchedule | Callable[[], float]
)


_RATES = (
    "Argument `learning_rate` must be a positive finite float, or a schedule or "
    "callable that starts at a finite number, 0 or more."
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
    tensor; a gradient of zero is no special case. No ζ exceeds 1 / (2 max|G|), so it
    counts as 0 where max|G| is 4e9 or more (1e77 in float64), whose fourth power
    overflows. One NaN or infinity in a gradient makes the whole variable NaN, because
    the maximum takes it to every element; Adam would lose that element alone. (Only
    where XLA compiles TensorFlow's whole step, its maximum may skip a NaN.)
    `keras.optimizers.LossScaleOptimizer` skips a step with such a gradient.

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
            Defaults to `None`, for one drawn from Python's `random`, as Keras's layers
            draw theirs: two optimizers start with different noise, and
            `keras.utils.set_random_seed` makes both reproducible. `get_config` has the
            seed in use.
        first_step: The t of the first update, 0 or 1. Defaults to `0`, as in the
            paper's Eq. 28 and Table 2 and in the authors' experiments; 1 is its
            Algorithm 1 as printed, where the first moving average keeps
            (beta + 1) / 3 of the initial velocity and not one half.
        initial_learning_rate: The learning rate l₀ that sets the width of the initial
            velocity, a number, 0 or more. Defaults to `None`, for the first value of
            `learning_rate`: a float's or a schedule's when the optimizer is made, a
            callable's when it is built. Assigning `optimizer.learning_rate` later
            doesn't change it. Where it is 0, as in a
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
        ValueError: An argument is not as said above, or, on `build`, a variable isn't
            of real floating-point numbers: a complex gradient has no one size that the
            paper's Eq. 21 could bend it by. The message has the argument's name, its
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
            seed = random.getrandbits(32)
        self.seed = checked(int, "seed", seed, "an integer, 0 or more, or None")
        self.first_step = checked(int, "first_step", first_step, "0 or 1", most=1)
        given = initial_learning_rate
        if given is not None:
            accepted = "a finite number, 0 or more, or None"
            given = checked(float, "initial_learning_rate", given, accepted)
        if isinstance(learning_rate, float):
            # A stored optimizer's rate may have come down to 0.
            stored = learning_rate == 0 and given is not None
            if not (0 < learning_rate < math.inf or stored):
                raise ValueError(f"{_RATES} Received: learning_rate={learning_rate!r}")
            given = learning_rate if given is None else given
        elif given is None and isinstance(
            learning_rate, keras.optimizers.schedules.LearningRateSchedule
        ):
            given = self._first_rate()
        # A callable may read what isn't there yet, such as this very optimizer. So
        # `build` asks it.
        self.initial_learning_rate = given

    def _first_rate(self) -> float:
        """Return what a schedule or a callable starts at, having checked it."""
        first = _compiled.number(lambda: self.learning_rate)
        if not 0 <= first < math.inf:
            raise ValueError(
                f"{_RATES} Received: learning_rate={self._learning_rate!r}, "
                f"which starts at {first}"
            )
        if first == 0 and self.alpha > 0:
            warnings.warn(
                "The learning rate starts at 0, so the velocity does too and `alpha` "
                f"has no effect. Received: learning_rate={self._learning_rate!r}, "
                f"alpha={self.alpha}. Start the warm-up above 0, or give "
                "`initial_learning_rate`.",
                stacklevel=3,
            )
        return first

    def build(self, variables: Sequence[keras.Variable]) -> None:
        """Draw the initial velocity of every variable."""
        if self.built:
            return
        for variable in variables:
            dtype = keras.backend.standardize_dtype(variable.dtype)
            overwritten = getattr(variable, "overwrite_with_gradient", False)
            if not (overwritten or keras.backend.is_float_dtype(dtype)):
                raise ValueError(
                    "Argument `variables` must hold real floating-point variables; "
                    "train a complex one as two, its real and its imaginary part. "
                    f"Received: {variable.name!r} of dtype {dtype}"
                )
        if self.initial_learning_rate is None:
            self.initial_learning_rate = self._first_rate()
        super().build(variables)
        self.velocities = [
            self.add_optimizer_variables(
                [variable],
                "velocity",
                self._initial_velocity(index, self.initial_learning_rate),
            )[0]
            for index, variable in enumerate(variables)
        ]

    def _initial_velocity(self, index: int, rate: float) -> Callable[..., Any]:
        """Return the initializer of one variable's velocity."""

        # Not Keras's random numbers: they depend on the backend.
        def initializer(shape: Sequence[int], dtype: str) -> Any:
            noise = initial_velocity(shape, self.seed, index, self.alpha, rate)
            return ops.cast(noise, dtype)

        return initializer

    def apply(
        self,
        grads: Sequence[Any],
        trainable_variables: Iterable[keras.Variable] | None = None,
    ) -> None:
        """Update the variables with their gradients, as every Keras optimizer does."""
        if trainable_variables is not None:
            trainable_variables = list(trainable_variables)
        variables = trainable_variables or self._trainable_variables
        # A sparse gradient may name a row several times. Clipping and max|G| need the
        # sum, and Keras can neither unscale nor accumulate TensorFlow's kind; only a
        # broadcast makes that dense, and it costs a dense gradient nothing.
        if len(grads) == len(variables):  # Otherwise Keras says what is wrong.
            grads = [
                G
                if G is None
                else ops.broadcast_to(ops.convert_to_tensor(G, sparse=False), W.shape)
                for G, W in zip(grads, variables, strict=True)
            ]
        super().apply(grads, trainable_variables)

    @_compiled.compilable
    def update_step(
        self, gradient: Any, variable: keras.Variable, learning_rate: Any
    ) -> None:
        """Update one variable; the names are the paper's."""
        V = self.velocities[self._get_variable_index(variable)]
        dtype = "float64" if V.dtype == "float64" else "float32"
        G = ops.cast(gradient, dtype)
        beta_hat = self._beta_hat(dtype)
        steepest = ops.max(abs(G))
        # No ζ exceeds 1 / (2 max|G|), which is nothing where the square overflows.
        kept = 1 - ops.cast(steepest >= STEEPEST[dtype], dtype)
        bent = G * (kept * steepest)
        zeta = G / (1 + bent * bent)
        V_t = beta_hat * ops.cast(V, dtype) + kept * (1 - beta_hat) * zeta
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
        """Update the variables: together where that is faster, else one by one.

        Keras calls this once clipping and weight decay are done.
        """
        # Nothing is the largest element of an empty gradient.
        pairs = [
            (G, W)
            for G, W in zip(grads, trainable_variables, strict=True)
            if 0 not in W.shape
        ]
        left = _compiled.update(self, pairs, learning_rate)
        if left:
            super()._backend_update_step(*zip(*left, strict=True), learning_rate)

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
