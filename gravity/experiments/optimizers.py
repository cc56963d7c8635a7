"""The optimizers that a run can be trained with: each is one entry of `OPTIMIZERS`."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import keras

Argument = float | int | bool | str
"""An optimizer's argument."""

Factory = Callable[[Mapping[str, Argument], int], "keras.optimizers.Optimizer"]
"""Makes an optimizer from its arguments and the run's seed."""


@dataclass(frozen=True)
class Optimizer:
    """What the book knows of an optimizer.

    Attributes:
        title: the name as the book prints it.
        defaults: all its arguments with their defaults.
        create: makes the Keras optimizer.
        color: of its lines, in every figure.
        linestyle: Matplotlib's, so that greyscale tells the lines apart.
        marker: Matplotlib's, for single points.
        slots: how many tensors of the size of a weight it keeps for each.
    """

    title: str
    defaults: Mapping[str, Argument]
    create: Factory
    color: str
    linestyle: str | tuple[int, tuple[int, ...]]
    marker: str
    slots: int

    @property
    def style(self) -> dict[str, Any]:
        """The colour and dashes of its lines, as arguments of Matplotlib's `plot`."""
        return {"color": self.color, "linestyle": self.linestyle}

    def argument(self, name: str, value: object) -> Argument:
        """Return a value of an argument as the type of its default.

        Raises:
            ValueError: the value is of another type.
        """
        default = self.defaults[name]
        if isinstance(default, bool) and isinstance(value, bool):
            return value
        # The optimizer itself knows which words it takes.
        if isinstance(default, str) and isinstance(value, str):
            return value
        if (
            isinstance(value, int | float)
            and not isinstance(value, bool)
            and math.isfinite(value)
        ):
            if isinstance(default, float):
                return float(value)
            if type(default) is int and value == int(value):
                return int(value)
        raise ValueError(
            f"Argument `{name}` of {self.title} must be of type "
            f"{type(default).__name__}. Received: {name}={value!r}"
        )


def _gravity(arguments: Mapping[str, Any], seed: int) -> "keras.optimizers.Optimizer":
    from gravity.optimizer import Gravity

    return Gravity(**arguments, seed=seed)


def _variant(arguments: Mapping[str, Any], seed: int) -> "keras.optimizers.Optimizer":
    from gravity.experiments.variants import Variant

    return Variant(**arguments, seed=seed)


def _of_keras(name: str) -> Factory:
    """Return a factory of one of Keras's optimizers, which draw no numbers."""

    def create(
        arguments: Mapping[str, Argument], seed: int
    ) -> "keras.optimizers.Optimizer":
        import keras

        return getattr(keras.optimizers, name)(**arguments)

    return create


_GRAVITY: Mapping[str, Argument] = {
    "learning_rate": 0.1,
    "alpha": 0.01,
    "beta": 0.9,
    "first_step": 0,
}

OPTIMIZERS: Mapping[str, Optimizer] = {
    "gravity": Optimizer(
        title="Gravity",
        defaults=_GRAVITY,
        create=_gravity,
        color="#D55E00",
        linestyle="-",
        marker="o",
        slots=1,
    ),
    "adam": Optimizer(
        title="Adam",
        defaults={
            "learning_rate": 1e-3,
            "beta_1": 0.9,
            "beta_2": 0.999,
            "epsilon": 1e-7,
        },
        create=_of_keras("Adam"),
        color="#0072B2",
        linestyle="--",
        marker="s",
        slots=2,
    ),
    "rmsprop": Optimizer(
        title="RMSprop",
        defaults={
            "learning_rate": 1e-3,
            "rho": 0.9,
            "momentum": 0.0,
            "epsilon": 1e-7,
            "centered": False,
        },
        create=_of_keras("RMSprop"),
        color="#009E73",
        linestyle="-.",
        marker="^",
        slots=1,
    ),
    "sgd": Optimizer(
        title="SGD with momentum",
        defaults={"learning_rate": 0.01, "momentum": 0.9},
        create=_of_keras("SGD"),
        color="#CC79A7",
        linestyle=(0, (1, 1)),
        marker="D",
        slots=1,
    ),
    "variant": Optimizer(
        title="Gravity's variant",
        defaults={
            **_GRAVITY,
            "bound": "paper",
            "factor": 1.0,
            "average": "paper",
            "gradient_scale": 1.0,
        },
        create=_variant,
        color="#E69F00",
        linestyle=(0, (6, 1)),
        marker="v",
        slots=1,
    ),
}
"""Every optimizer by the name that an experiment has for it.

The defaults are those of section 3.3, but for the learning rates of Adam and RMSprop,
which are Keras's where Table 5 gives none. Gradient descent isn't in the paper; its
learning rate is Keras's, its momentum the usual one. The variant is
`gravity.experiments.variants.Variant`, Gravity with a part exchanged. The colours are
Okabe and Ito's, which are safe for colour-blind readers."""

TITLES: Mapping[str, str] = {name: each.title for name, each in OPTIMIZERS.items()}
"""The optimizers' names as the book prints them."""
