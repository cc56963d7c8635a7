"""The update as one program that XLA compiles, for TensorFlow on a CPU.

Op by op, each of the dozen operations of an update writes its result to memory and the
next one reads it again, which takes most of the time. Compiled, the numbers are read
and written once. The result is the same to the last bit.
"""

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import keras
from keras import ops

from gravity._shared import STEEPEST

# The number of weights from which on a compiled update soon saves the seconds that it
# takes to compile it.
_WORTH_COMPILING = 2**19
# Up to this many elements, one thread finds the largest one as soon as several do.
_SMALL = 2**12
# From this many on, it is found sooner in a gradient that is folded; into how many
# layers, and how wide each is.
_LARGE, _LAYERS, _LANES = 2**18, 32, 16

Method = TypeVar("Method", bound=Callable[..., None])


def compilable(update_step: Method) -> Method:
    """Mark an `update_step` as the one that this module has a compiled form of.

    A subclass with an `update_step` of its own has one without the mark, so Keras calls
    it for each variable as for any optimizer.
    """
    update_step.compilable = True  # type: ignore[attr-defined]
    return update_step


def update(
    optimizer: Any, pairs: Sequence[tuple[Any, Any]], learning_rate: Any
) -> list[tuple[Any, Any]]:
    """Update the variables that a compiled form fits, and return what is left.

    Args:
        optimizer: a `gravity.Gravity` that is built.
        pairs: the variables' gradients, each with its variable.
        learning_rate: the learning rate of this update.

    Returns:
        The pairs that must be updated one by one.
    """
    if not _fits(optimizer, [W for _, W in pairs]):
        return list(pairs)
    left = []
    groups: dict[str, list[tuple[Any, ...]]] = {}
    for G, W in pairs:
        V = optimizer.velocities[optimizer._get_variable_index(W)]
        if V.dtype in ("float32", "float64"):
            value = W.value if isinstance(W, keras.Variable) else W
            G = ops.cast(G, V.dtype)
            groups.setdefault(V.dtype, []).append((value, V.value, G))
        else:
            # Of lower precision, XLA would leave roundings out.
            left.append((G, W))
    for dtype, group in groups.items():
        rate = ops.cast(learning_rate, dtype)
        Ws, Vs, Gs = zip(*group, strict=True)
        _update_together(Ws, Vs, Gs, optimizer._beta_hat(dtype), rate)
    return left


def number(function: Callable[[], Any]) -> float:
    """Return the number that a function gives, also while TensorFlow makes a graph."""
    if keras.backend.backend() != "tensorflow":
        return float(ops.convert_to_numpy(function()))
    import tensorflow as tf

    with tf.init_scope():
        return float(ops.convert_to_numpy(function()))


def _fits(optimizer: Any, variables: Sequence[Any]) -> bool:
    """Return whether TensorFlow traces a step here that a compiled update fits."""
    if keras.backend.backend() != "tensorflow":
        return False
    import tensorflow as tf
    from tensorflow.python.framework import op_callbacks

    return (
        getattr(optimizer.update_step, "compilable", False)
        and sum(math.prod(W.shape) for W in variables) >= _WORTH_COMPILING
        and not tf.executing_eagerly()
        and not tf.distribute.has_strategy()
        and not tf.config.list_physical_devices("GPU")
        # `tf.debugging.enable_check_numerics` adds operations that XLA doesn't have.
        and not op_callbacks.should_invoke_op_callbacks()
    )


def _update_together(
    Ws: Sequence[Any], Vs: Sequence[Any], Gs: Sequence[Any], beta_hat: Any, rate: Any
) -> None:
    """Update TensorFlow variables of one type by one compiled program.

    XLA gives a reduction to one number one thread, so the maximum of a gradient that
    isn't small is TensorFlow's.
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
            kept = 1 - tf.cast(most >= STEEPEST[G.dtype.name], G.dtype)
            zeta = G / (1 + rounded(tf.square(G * (kept * most))))
            V_0 = tf.raw_ops.ReadVariableOp(resource=V, dtype=G.dtype)
            V_t = rounded(beta_hat * V_0) + rounded(kept * rest * zeta)
            tf.raw_ops.AssignVariableOp(resource=V, value=V_t)
            step = rounded(rate * V_t)
            tf.raw_ops.AssignSubVariableOp(resource=W, value=step)

    return update
