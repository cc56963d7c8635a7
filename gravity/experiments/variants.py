"""Gravity with one part exchanged, to find out what that part does."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from gravity.experiments import checks
from gravity.optimizer import Gravity

BOUNDS = (
    "paper",
    "none",
    "max",
    "rms",
    "running_max",
    "running_rms",
    "clip",
)
"""What may bound a step; see `Variant`."""

SIZES = ("largest", "squares", "departure")
"""What `Recorder` keeps of each gradient."""

AVERAGES = ("paper", "constant")
"""The moving average's parameter: the paper's rising one, or a constant."""

# Of the running averages of max|G| and of the mean of G²; RMSprop's usual value.
_DECAY = 0.9


@keras.saving.register_keras_serializable(package="gravity")
class Variant(Gravity):
    r"""Gravity with another bound on the step, or another moving average.

    Where Gravity computes $\zeta = G / (1 + (G / m)^2)$ with $m = 1 / \max|G|$, this
    takes another m, with k for `factor`, by `bound`:

    - `paper`: m = 1 / (k max abs(G)); with k = 1 it is Gravity.
    - `none`: no bound, ζ = G.
    - `max`: m = k max abs(G).
    - `rms`: m = k times the root mean square of G.
    - `running_max`: m = k times a running average of max abs(G), of decay 0.9.
    - `running_rms`: m = k times the root of a running average of the mean of G².
    - `clip`: ζ = G, scaled down where its norm exceeds k.

    All but `paper` and `clip` are free of units: a loss in other units, with the
    learning rate to match, changes nothing.

    Args:
        learning_rate, alpha, beta, seed, first_step: as in `Gravity`.
        bound: one of `BOUNDS`. Defaults to `"paper"`.
        factor: k, a positive number. Defaults to `1.0`.
        average: one of `AVERAGES`. `"constant"` has beta in the place of the rising
            parameter. Defaults to `"paper"`.
        gradient_scale: measures the loss in other units: gradients are multiplied by
            this before the bound and divided by it afterwards. A positive number.
            Defaults to `1.0`.
        kwargs: further arguments of `Gravity`.

    Raises:
        ValueError: as `Gravity`, and if one of the four isn't as said above.

    References:
        Eq. 20 and 22 for m, and section 5 of the paper, which leaves other choices of m
        to future work.
    """

    def __init__(
        self,
        learning_rate: float = 0.1,
        alpha: float = 0.01,
        beta: float = 0.9,
        seed: int | None = None,
        first_step: int = 0,
        bound: str = "paper",
        factor: float = 1.0,
        average: str = "paper",
        gradient_scale: float = 1.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(learning_rate, alpha, beta, seed, first_step, **kwargs)
        self.bound = checks.choice("bound", bound, BOUNDS)
        self.factor = checks.positive("factor", factor)
        self.average = checks.choice("average", average, AVERAGES)
        self.gradient_scale = checks.positive("gradient_scale", gradient_scale)

    def build(self, variables: Sequence[keras.Variable]) -> None:
        """Draw the initial velocities, and make what the running averages need."""
        if self.built:
            return
        super().build(variables)
        self.sizes = [
            self.add_variable(shape=(), name=f"size_{index}", dtype="float32")
            for index, _ in enumerate(variables)
            if self.bound.startswith("running")
        ]

    def update_step(
        self, gradient: Any, variable: keras.Variable, learning_rate: Any
    ) -> None:
        """Update one variable."""
        index = self._get_variable_index(variable)
        V = self.velocities[index]
        G = ops.cast(gradient, V.dtype) * self.gradient_scale
        t = ops.cast(self.iterations, V.dtype) + self.first_step
        beta_hat = (self.beta * t + 1) / (t + 2)
        if self.average == "constant":
            beta_hat = ops.full_like(beta_hat, self.beta)
        zeta = self._bounded(G, index, t) / self.gradient_scale
        V_t = beta_hat * V + (1 - beta_hat) * zeta
        self.assign(V, V_t)
        self.assign_sub(variable, ops.cast(learning_rate, V.dtype) * V_t)

    def _bounded(self, G: Any, index: int, t: Any) -> Any:
        """Return ζ for a gradient."""
        if self.bound == "none":
            return G
        if self.bound == "clip":
            norm = ops.sqrt(ops.sum(ops.square(G)))
            return G * ops.minimum(1.0, self.factor / ops.maximum(norm, 1e-30))
        if self.bound == "paper":
            return G / (1 + ops.square(G * (self.factor * ops.max(ops.abs(G)))))
        if self.bound in ("max", "running_max"):
            size = ops.max(ops.abs(G))
        else:
            size = ops.mean(ops.square(G))
        if self.bound.startswith("running"):
            kept = self.sizes[index]
            # The first value counts in full, and not as an average with zero.
            first = ops.cast(t <= self.first_step, size.dtype)
            decay = _DECAY * (1 - first)
            size = decay * ops.cast(kept, size.dtype) + (1 - decay) * size
            self.assign(kept, ops.cast(size, kept.dtype))
        if self.bound.endswith("rms"):
            size = ops.sqrt(size)
        # Where all gradients are zero, so is ζ.
        return G / (1 + ops.square(G / ops.maximum(self.factor * size, 1e-30)))

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that make this optimizer again."""
        return {
            **super().get_config(),
            "bound": self.bound,
            "factor": self.factor,
            "average": self.average,
            "gradient_scale": self.gradient_scale,
        }


@keras.saving.register_keras_serializable(package="gravity")
class Recorder(Gravity):
    """Gravity that keeps how large the last gradient of every variable was.

    After each update `recorded` has a row for every variable and in it the `SIZES`: the
    largest abs(G), the sum of G², and the sum of (G - ζ)², by which the step departs
    from one that is proportional to the gradient.
    """

    def build(self, variables: Sequence[keras.Variable]) -> None:
        """Draw the initial velocities, and make what is kept."""
        if self.built:
            return
        super().build(variables)
        self.recorded = self.add_variable(
            shape=(len(variables), len(SIZES)), name="recorded", dtype="float32"
        )

    def update_step(
        self, gradient: Any, variable: keras.Variable, learning_rate: Any
    ) -> None:
        """Update one variable, and keep its gradient's sizes."""
        super().update_step(gradient, variable, learning_rate)
        G = ops.cast(gradient, "float32")
        largest = ops.max(ops.abs(G))
        bent = ops.square(G * largest)
        row = ops.stack(
            [
                largest,
                ops.sum(ops.square(G)),
                ops.sum(ops.square(G * bent / (1 + bent))),
            ]
        )
        index = self._get_variable_index(variable)
        kept = ops.convert_to_tensor(self.recorded)
        row = ops.expand_dims(row, 0)
        self.assign(self.recorded, ops.slice_update(kept, [index, 0], row))
