"""On JAX, a whole epoch as one compiled program, of one run or of many side by side.

Keras's `fit` calls a compiled step from Python for each batch, and carries the batch
over from the host. On an accelerator that costs as much time as a small network's
step. Here the images stay on the device as bytes, and a loop within the program
gathers each batch, scales it and takes the step. The order of the images is the one
that `fit` would be given, so the results agree with `fit`'s within rounding.

Runs that differ in numbers alone are one program as well: their weights and the
states of their optimizers are stacked, and `jax.vmap` does the rest.
"""

import contextlib
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from gravity.experiments.datasets import Dataset

if TYPE_CHECKING:
    import keras

State = tuple[list[Any], list[Any], list[Any]]
"""Trainable and other variables of a network, and the variables of its optimizer."""

NUMBERS = ("beta",)
"""Arguments of an optimizer that are read in every update and may differ within one
program. The learning rate may too, as it is among the optimizer's variables, and so
may what only makes the initial state: the seed, `alpha`, the initial weights and the
noise on them."""


def available() -> bool:
    """Return whether Keras computes with JAX on an accelerator."""
    import keras

    if keras.backend.backend() != "jax":
        return False
    import jax

    return jax.default_backend() != "cpu"


class Programs:
    """The epochs of one network, or of several alike, each as one program.

    Args:
        models: compiled networks whose optimizers are built; all of one architecture,
            optimizer and dataset. They are left where the last epoch ended.
        numbers: for each network, arguments of its optimizer that differ, of `NUMBERS`.
            Only read where there are several networks.
        data: the images, or text, with their labels. They are moved to the device once.
        held_out: which of them to measure on after each epoch: images and labels, and
            the indices of those that count.
        batch_size: images in a step. The last one of an epoch may have fewer.
    """

    def __init__(
        self,
        models: Sequence["keras.Model"],
        numbers: Sequence[Mapping[str, float]],
        data: Dataset,
        held_out: tuple[np.ndarray, np.ndarray, np.ndarray],
        batch_size: int,
    ) -> None:
        import jax

        self._models = models
        x, y, chosen = held_out
        train = _on_device(data.x_train), jax.device_put(data.y_train)
        test = train
        if x is not data.x_train:
            test = _on_device(x), jax.device_put(y)
        self._data = (*train, *test, jax.device_put(chosen))
        epoch: Callable[..., Any] = functools.partial(_epoch, models[0], batch_size)
        self._numbers: dict[str, Any] = {}
        if len(models) > 1:
            self._numbers = {
                name: np.array([each[name] for each in numbers], np.float32)
                for name in (numbers[0] if numbers else ())
            }
            epoch = jax.vmap(epoch, in_axes=(0, 0, 0, None))
        # The old state is given up, so that the device holds one and not two.
        self._program = jax.jit(epoch, donate_argnums=0)
        self._state = self._stacked([_state(model) for model in models])

    def _stacked(self, states: Sequence[State]) -> State:
        import jax

        if len(states) == 1:
            # A copy, because the program gives it up and the model still has it.
            return jax.tree.map(lambda value: value.copy(), states[0])
        return jax.tree.map(lambda *values: jax.numpy.stack(values), *states)

    def run(self, orders: Sequence[np.ndarray]) -> list[dict[str, float]]:
        """Train an epoch, and return each network's `METRICS` after it.

        Args:
            orders: for each network the indices of the training images, in the order
                in which the epoch takes them.
        """
        import jax

        order = np.stack(orders) if len(self._models) > 1 else orders[0]
        state, sums = self._program(self._state, self._numbers, order, self._data)
        self._state = state
        sums = {name: np.atleast_1d(value) for name, value in sums.items()}
        for index, model in enumerate(self._models):
            own = state
            if len(self._models) > 1:
                own = jax.tree.map(lambda value, n=index: value[n], state)
            else:
                own = jax.tree.map(lambda value: value.copy(), own)
            _assign(model, own)
        return [
            {name: float(value[index]) for name, value in sums.items()}
            for index in range(len(self._models))
        ]


def compiled_epoch(
    model: "keras.Model", batch_size: int, data: Dataset, size: int
) -> Any:
    """Return the program of an epoch, lowered for the default device and not run.

    Args:
        model: a compiled network whose optimizer is built.
        batch_size: images in a step.
        data: what it trains on; its test images are measured on.
        size: how many training images an epoch has.
    """
    import jax

    def shape(value: Any) -> Any:
        return jax.ShapeDtypeStruct(value.shape, value.dtype)

    images = np.uint8 if data.x_train.dtype == np.float32 else data.x_train.dtype
    parts = (
        jax.ShapeDtypeStruct(data.x_train.shape, images),
        shape(data.y_train),
        jax.ShapeDtypeStruct(data.x_test.shape, images),
        shape(data.y_test),
        jax.ShapeDtypeStruct((len(data.x_test),), np.int64),
    )
    program = jax.jit(functools.partial(_epoch, model, batch_size), donate_argnums=0)
    state = jax.tree.map(shape, _state(model))
    order = jax.ShapeDtypeStruct((size,), np.int64)
    return program.lower(state, {}, order, parts)


def _state(model: "keras.Model") -> State:
    return (
        [variable.value for variable in model.trainable_variables],
        [variable.value for variable in model.non_trainable_variables],
        [variable.value for variable in model.optimizer.variables],
    )


def _assign(model: "keras.Model", state: State) -> None:
    variables = (
        model.trainable_variables,
        model.non_trainable_variables,
        model.optimizer.variables,
    )
    for each, values in zip(variables, state, strict=True):
        for variable, value in zip(each, values, strict=True):
            variable.assign(value)


def _on_device(values: np.ndarray) -> Any:
    """Return images on the device, as bytes where that loses nothing."""
    import jax

    if values.dtype == np.float32:
        whole = np.rint(values * 255).astype(np.uint8)
        if np.array_equal(np.divide(whole, 255, dtype=np.float32), values):
            values = whole
    return jax.device_put(values)


def _scaled(values: Any) -> Any:
    """Return a batch as the network takes it."""
    import jax.numpy as jnp

    return values.astype(jnp.float32) / 255 if values.dtype == jnp.uint8 else values


@contextlib.contextmanager
def _with_numbers(optimizer: Any, numbers: Mapping[str, Any]) -> Iterator[None]:
    """Have an optimizer's update read other numbers while it is traced."""
    before = {name: getattr(optimizer, name) for name in numbers}
    for name, value in numbers.items():
        setattr(optimizer, name, value)
    try:
        yield
    finally:
        for name, value in before.items():
            setattr(optimizer, name, value)


def _epoch(
    model: "keras.Model",
    batch_size: int,
    state: State,
    numbers: Mapping[str, Any],
    order: Any,
    data: tuple[Any, ...],
) -> tuple[State, dict[str, Any]]:
    """Train one epoch, measure after it, and return state and `METRICS`."""
    import jax
    import jax.numpy as jnp

    x_train, y_train, x_test, y_test, chosen = data

    def judged(trainable: Any, other: Any, x: Any, y: Any, training: bool) -> Any:
        logits, other = model.stateless_call(trainable, other, x, training=training)
        loss = model.loss(y, logits)
        right = jnp.mean((jnp.argmax(logits, axis=-1) == y).astype(jnp.float32))
        return loss, (right, other)

    def step(carry: Any, batch: Any) -> tuple[Any, None]:
        (trainable, other, slots), (loss_sum, right_sum) = carry
        x, y = _scaled(x_train[batch]), y_train[batch]
        gradient = jax.value_and_grad(judged, has_aux=True)
        (loss, (right, other)), grads = gradient(trainable, other, x, y, True)
        with _with_numbers(model.optimizer, numbers):
            trainable, slots = model.optimizer.stateless_apply(slots, grads, trainable)
        # As in `fit`, every image counts alike, those of a smaller batch too.
        sums = loss_sum + loss * len(batch), right_sum + right * len(batch)
        return ((trainable, other, slots), sums), None

    def measure(carry: Any, batch: Any) -> tuple[Any, None]:
        x, y = _scaled(x_test[batch]), y_test[batch]
        loss, (right, _) = judged(state[0], state[1], x, y, False)
        return (carry[0] + loss * len(batch), carry[1] + right * len(batch)), None

    zero = jnp.zeros((), jnp.float32), jnp.zeros((), jnp.float32)
    state, (loss, right) = _over_batches(step, (state, zero), order, batch_size)
    test_loss, test_right = _over_batches(measure, zero, chosen, batch_size)
    return state, {
        "loss": loss / len(order),
        "accuracy": right / len(order),
        "val_loss": test_loss / len(chosen),
        "val_accuracy": test_right / len(chosen),
    }


def _over_batches(step: Any, carry: Any, order: Any, batch_size: int) -> Any:
    """Carry something through an order's batches, the last of which may be small."""
    import jax

    whole = len(order) // batch_size * batch_size
    if whole:
        batches = order[:whole].reshape(-1, batch_size)
        carry, _ = jax.lax.scan(step, carry, batches)
    if whole < len(order):
        carry, _ = step(carry, order[whole:])
    return carry
