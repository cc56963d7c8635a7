"""`gravity.Gravity` on the backend that KERAS_BACKEND names.

The same tests run on TensorFlow, JAX and PyTorch. What they compare with is the NumPy
loop of `gravity.kinematics`, exact fractions, the paper's print, or what Keras expects
of its own optimizers.
"""

import doctest
import json
import math
import pickle
import random
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import ops

from gravity import kinematics
from gravity import optimizer as optimizer_module
from gravity.optimizer import Gravity

BACKEND = keras.backend.backend()
SCHEDULES = keras.optimizers.schedules

only_tensorflow = pytest.mark.skipif(
    BACKEND != "tensorflow", reason="concerns TensorFlow's own objects"
)
needs_float64 = pytest.mark.skipif(
    BACKEND == "jax", reason="JAX computes in float64 only when told so at its start"
)

# Table 2, β = 1, t = 0 to 15 as printed: some digits are rounded and some cut off.
TABLE_2 = [
    *(0.5, 0.6667, 0.75, 0.8, 0.8333, 0.8571, 0.875, 0.8889),
    *(0.9, 0.9090, 0.9166, 0.9230, 0.9285, 0.9333, 0.9375, 0.9411),
]


def variable(values, dtype="float32", name=None) -> keras.Variable:
    return keras.Variable(np.asarray(values, "float64"), dtype=dtype, name=name)


def tensor(values, dtype="float32"):
    return ops.convert_to_tensor(np.asarray(values, dtype))


def numpy(value, dtype="float64") -> np.ndarray:
    return np.asarray(ops.convert_to_numpy(ops.cast(value, dtype)))


def velocity_of(optimizer, index=0) -> np.ndarray:
    """The velocity as Keras stores it, among the optimizer's variables."""
    slots = [v for v in optimizer.variables if v.path.endswith("velocity")]
    return numpy(slots[index])


def state(optimizer) -> list[np.ndarray]:
    return [numpy(v) for v in optimizer.variables]


def gradients(shape, steps=50, seed=0) -> np.ndarray:
    """Random gradients whose size differs by orders of magnitude between steps."""
    stream = np.random.default_rng(seed)
    sizes = 10 ** stream.uniform(-3, 1.5, (steps,) + (1,) * len(shape))
    return (stream.normal(size=(steps, *shape)) * sizes).astype("float32")


def noise(seed, shape, index=0) -> np.ndarray:
    """The initial velocity of one variable, but for its width."""
    stream = np.random.SeedSequence(seed).spawn(index + 1)[index]
    numbers = np.random.default_rng(stream).standard_normal(shape, "float32")
    return numbers.astype("float64")


def assert_parity(actual, expected, tolerance=1e-6) -> None:
    """Equal up to `tolerance` times the largest number of the tensor."""
    assert np.max(np.abs(actual - expected)) <= tolerance * np.max(np.abs(expected))


def assert_path(actual, start, expected, tolerance=1e-6) -> None:
    """Equal after each step, up to `tolerance` times the largest number so far."""
    sizes = [np.max(np.abs(value)) for value in (start, *expected)]
    errors = [np.max(np.abs(a - e)) for a, e in zip(actual, expected, strict=True)]
    assert np.all(errors <= tolerance * np.maximum.accumulate(sizes)[1:])


def assert_same_state(one, other) -> None:
    for a, b in zip(state(one), state(other), strict=True):
        np.testing.assert_array_equal(a, b)


def apply(optimizer, tensors, variables) -> None:
    """One update; JAX's LossScaleOptimizer has only the stateless kind."""
    if BACKEND != "jax":
        optimizer.apply(tensors, variables)
        return
    if not optimizer.built:
        optimizer.build(variables)
    slots = [v.value for v in optimizer.variables]
    values = [v.value for v in variables]
    values, slots = optimizer.stateless_apply(slots, tensors, values)
    pairs = zip(variables + optimizer.variables, values + slots, strict=True)
    for old, new in pairs:
        old.assign(new)


def apply_all(optimizer, tensors, variables) -> None:
    for G in tensors:
        optimizer.apply([tensor(G)], variables)


# Against the NumPy loop.

SHAPES = [(), (1,), (7,), (3, 5), (3, 3, 2, 4)]


@pytest.mark.parametrize("first_step", [0, 1])
@pytest.mark.parametrize(
    "settings",
    [{}, {"learning_rate": 0.4, "alpha": 0.3, "beta": 0.35}, {"alpha": 0.0, "beta": 1}],
    ids=["defaults", "others", "extremes"],
)
def test_fifty_steps_are_the_numpy_loop(first_step, settings):
    stream = np.random.default_rng(1)
    start = [stream.normal(size=shape).astype("float32") for shape in SHAPES]
    variables = [variable(W) for W in start]
    optimizer = Gravity(seed=4, first_step=first_step, **settings)
    optimizer.build(variables)
    V_0 = [velocity_of(optimizer, i) for i in range(len(SHAPES))]
    G = [gradients(s, seed=i) for i, s in enumerate(SHAPES)]
    path = []
    for step in range(50):
        optimizer.apply([tensor(g[step]) for g in G], variables)
        after = [(numpy(W), velocity_of(optimizer, i)) for i, W in enumerate(variables)]
        path.append(after)
    for i, W in enumerate(start):
        weights, velocities = kinematics.trajectory(
            W.astype("float64"),
            V_0[i],
            G[i].astype("float64"),
            settings.get("learning_rate", 0.1),
            settings.get("beta", 0.9),
            first_step,
        )
        assert_path([after[i][0] for after in path], W, weights)
        assert_path([after[i][1] for after in path], V_0[i], velocities)


@needs_float64
def test_float64_variables_are_updated_in_float64():
    W = variable([0.3, -1.7, 2.2], "float64")
    # A rate that Keras's own float32 variable for it holds exactly.
    optimizer = Gravity(0.125, seed=2)
    optimizer.build([W])
    W_0, V_0 = numpy(W), velocity_of(optimizer)
    G = gradients((3,)).astype("float64")
    path = []
    for gradient in G:
        optimizer.apply([tensor(gradient, "float64")], [W])
        path.append((numpy(W), velocity_of(optimizer)))
    weights, velocities = kinematics.trajectory(W_0, V_0, G, 0.125)
    assert_path([W for W, _ in path], W_0, weights, 1e-14)
    assert_path([V for _, V in path], V_0, velocities, 1e-14)


def test_the_largest_gradient_is_taken_per_tensor():
    W = [variable([0.0, 0.0]), variable([0.0, 0.0])]
    optimizer = Gravity(1.0, alpha=0.0)
    optimizer.apply([tensor([1.0, 2.0]), tensor([1.0, -0.5])], W)
    # Half of ζ: 1/(1 + 4), 2/(1 + 16); 1/(1 + 1), -0.5/(1 + 0.25).
    np.testing.assert_allclose(numpy(W[0]), [-1 / 10, -1 / 17], rtol=1e-6)
    np.testing.assert_allclose(numpy(W[1]), [-1 / 4, 1 / 5], rtol=1e-6)


@pytest.mark.parametrize("compiled", [True, False], ids=["compiled", "eager"])
@pytest.mark.parametrize("seed", [0, 1])
def test_fit_is_the_numpy_loop(compiled, seed):
    """A linear model, whose gradient is known; `fit` builds the optimizer."""
    stream = np.random.default_rng(seed)
    x = stream.normal(size=(32, 3)).astype("float32")
    y = stream.normal(size=(32, 2)).astype("float32")
    keras.utils.set_random_seed(seed)
    model = keras.Sequential([keras.layers.Dense(2, use_bias=False)])
    optimizer = Gravity(0.3, alpha=0.2, seed=seed)
    model.compile(optimizer, "mse", run_eagerly=not compiled)
    model.build(x.shape)
    W = numpy(model.weights[0])
    model.fit(x, y, batch_size=8, epochs=3, shuffle=False, verbose=0)

    V = 0.2 / 0.3 * noise(seed, (3, 2))
    for step in range(12):
        rows = slice(8 * (step % 4), 8 * (step % 4) + 8)
        G = 2 * x[rows].T @ (x[rows] @ W - y[rows]) / y[rows].size
        W, V = kinematics.update(W, V, G, step, 0.3)
    assert int(optimizer.iterations) == 12
    assert_parity(numpy(model.weights[0]), W, 1e-5)
    assert_parity(velocity_of(optimizer), V, 1e-5)


@only_tensorflow
def test_the_first_step_may_be_inside_a_tf_function():
    import tensorflow as tf

    def two_steps(decorate):
        W = [keras.Variable([1.0, 2.0]), tf.Variable([[0.5]])]
        optimizer = Gravity(seed=3)

        @decorate
        def step():
            optimizer.apply([tf.constant([0.1, -0.2]), tf.constant([[3.0]])], W)

        step()
        step()
        return [*state(optimizer), *map(numpy, W)]

    inside, outside = two_steps(tf.function), two_steps(lambda function: function)
    for one, other in zip(inside, outside, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6)


@pytest.mark.skipif(BACKEND != "jax", reason="only JAX compiles a stateless apply")
def test_stateless_apply_is_apply():
    import jax

    G = gradients((3,), steps=3)
    W, same = variable([1.0, 2.0, 3.0]), variable([1.0, 2.0, 3.0])
    optimizer, stateless = Gravity(seed=1), Gravity(seed=1)
    stateless.build([same])
    values = [same.value], [v.value for v in stateless.variables]
    step = jax.jit(lambda W, slots, G: stateless.stateless_apply(slots, [G], W))
    for gradient in G:
        optimizer.apply([tensor(gradient)], [W])
        values = step(*values, gradient)
    np.testing.assert_allclose(numpy(W), values[0][0], rtol=1e-6)
    for slot, value in zip(optimizer.variables, values[1], strict=True):
        np.testing.assert_allclose(numpy(slot), value, rtol=1e-6)


# The moving average.


@pytest.mark.parametrize("first_step", [0, 1])
def test_velocity_shrinks_by_table_2(first_step):
    W = variable(np.zeros(5))
    optimizer = Gravity(1.0, alpha=1.0, beta=1.0, seed=0, first_step=first_step)
    optimizer.build([W])
    for printed in TABLE_2[first_step:]:
        before = velocity_of(optimizer)
        optimizer.apply([tensor(np.zeros(5))], [W])
        beta_hat = velocity_of(optimizer) / before
        assert np.all((beta_hat > printed - 6e-5) & (beta_hat < printed + 1e-4))


@pytest.mark.parametrize("first_step", [0, 1])
def test_noise_alone_carries_as_far_as_the_reference_says(first_step):
    W = variable(np.zeros(20_000))
    optimizer = Gravity(0.25, alpha=0.04, seed=8, first_step=first_step)
    apply_all(optimizer, [np.zeros(20_000)] * 80, [W])
    far = kinematics.noise_displacement_std(0.04, 80, 0.9, first_step)
    assert np.std(numpy(W)) == pytest.approx(far, rel=0.02)


def test_zero_gradients_give_finite_steps():
    W = variable([1.0, -2.0])
    optimizer = Gravity(0.1, alpha=0.5, seed=0)
    optimizer.build([W])
    V_0 = velocity_of(optimizer)
    optimizer.apply([tensor([0.0, 0.0])], [W])
    np.testing.assert_allclose(velocity_of(optimizer), V_0 / 2, rtol=1e-6)
    np.testing.assert_allclose(numpy(W), [1.0, -2.0] - 0.05 * V_0, rtol=1e-6)
    still = variable([1.0, -2.0])
    Gravity(alpha=0.0).apply([tensor([0.0, 0.0])], [still])
    np.testing.assert_array_equal(numpy(still), [1.0, -2.0])


@pytest.mark.parametrize("size", [1e-38, 1e-20, 1e-8, 1e4, 1e12, 1e25, 3e38])
def test_extreme_gradients_give_finite_steps(size):
    W = variable([1.0, 1.0])
    Gravity(1.0, alpha=0.0).apply([tensor([size, -size / 2])], [W])
    steepness = 1.0 if size < 1 else 0.0
    expected = 1 - 0.5 * steepness * np.array([size, -size / 2])
    np.testing.assert_allclose(numpy(W), expected, atol=1e-6)


# Where the fourth power of the largest gradient overflows, and just below it.
STEEP = [3.9e9, 4e9, 1e10, 1e19, 3e38]


def zeta_of(G) -> np.ndarray:
    W = variable(np.zeros(len(G)))
    optimizer = Gravity(1.0, alpha=0.0)
    optimizer.apply([tensor(G)], [W])
    return 2 * velocity_of(optimizer)


@pytest.mark.parametrize("size", STEEP)
def test_a_steep_gradient_bends_the_others_as_the_paper_says(size):
    G = np.array([size, -size / 3, 1.0, 1e-9, 1 / size, 0.0])
    np.testing.assert_allclose(zeta_of(G), G / (1 + (G * size) ** 2), atol=1.3e-10)


@pytest.mark.skipif(BACKEND != "jax", reason="concerns a setting of JAX")
@pytest.mark.parametrize("size", STEEP)
def test_nothing_overflows_that_debug_infs_would_stop_at(size):
    import jax

    with jax.debug_infs(True):
        with pytest.raises(FloatingPointError):
            ops.square(tensor([1e30]))
        zeta_of([size, 1.0, -2.0, 0.0])


CHECKED = f"""
import numpy as np, tensorflow as tf
from keras import Variable
from gravity import Gravity
tf.debugging.enable_check_numerics()
try:
    tf.square(tf.constant(1e30))
    raise SystemExit("nothing is checked")
except tf.errors.InvalidArgumentError:
    pass
for size in {STEEP}:
    # The larger one is compiled where nothing is checked.
    for shape in ((4,), (1024, 512)):
        W = Variable(np.zeros(shape, "float32"))
        G = np.full(shape, -1.0, "float32")
        G.flat[0] = size
        optimizer = Gravity(1.0, alpha=0.0)
        optimizer.build([W])
        step = lambda: optimizer.apply([tf.constant(G)], [W])
        step()
        tf.function(step)()
        assert np.abs(W.numpy()).max() < 1e-9
"""


@only_tensorflow
def test_nothing_overflows_that_check_numerics_would_stop_at():
    # It changes what every later function of its process is made of.
    run = subprocess.run(
        [sys.executable, "-c", CHECKED], capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_one_gradient_that_is_not_finite_takes_its_whole_variable_along(value):
    W, other = variable([1.0, 2.0, 3.0]), variable([1.0])
    optimizer = Gravity(seed=0)
    optimizer.apply([tensor([0.1, value, 0.0]), tensor([0.1])], [W, other])
    assert np.all(np.isnan(numpy(W)))
    assert np.all(np.isfinite(numpy(other)))


# The initial velocity.


def test_initial_velocity_is_normal_with_width_alpha_over_l():
    optimizer = Gravity(0.2, alpha=0.03, seed=11)
    optimizer.build([variable(np.zeros((100, 400)))])
    V_0 = velocity_of(optimizer) / (0.03 / 0.2)
    assert np.mean(V_0) == pytest.approx(0, abs=0.02)
    assert np.std(V_0) == pytest.approx(1, abs=0.02)
    for widths, share in [(1, 0.6827), (2, 0.9545), (3, 0.9973)]:
        assert np.mean(np.abs(V_0) < widths) == pytest.approx(share, abs=0.01)


def test_initial_velocity_is_the_same_on_every_backend():
    optimizer = Gravity(seed=7)
    optimizer.build([variable(np.zeros(2)), variable(np.zeros((3, 2)))])
    for index, shape in enumerate([(2,), (3, 2)]):
        V_0 = velocity_of(optimizer, index)
        np.testing.assert_allclose(V_0, 0.1 * noise(7, shape, index), rtol=1e-6)


def test_variables_of_one_shape_start_differently():
    optimizer = Gravity(seed=0)
    optimizer.build([variable(np.zeros(500)) for _ in range(3)])
    draws = [velocity_of(optimizer, i) for i in range(3)]
    for i, j in [(0, 1), (0, 2), (1, 2)]:
        assert abs(np.corrcoef(draws[i], draws[j])[0, 1]) < 0.2


def initial_velocity(**arguments) -> np.ndarray:
    optimizer = Gravity(**arguments)
    optimizer.build([variable(np.zeros(50)), variable(np.zeros(50))])
    return np.concatenate([velocity_of(optimizer, 0), velocity_of(optimizer, 1)])


def test_initial_velocity_follows_from_the_seed():
    np.testing.assert_array_equal(initial_velocity(seed=5), initial_velocity(seed=5))
    # 2³² + 5 is 5 and 1 to a generator that is seeded with 32-bit words.
    for other in (0, 6, 2**32 + 5):
        other_draw = initial_velocity(seed=other)
        assert not np.intersect1d(initial_velocity(seed=5), other_draw).size


def test_without_a_seed_noise_is_drawn_and_keras_global_seed_reproduces_it():
    draws = []
    for seed in (1, 1, 2):
        keras.utils.set_random_seed(seed)
        draws.append([initial_velocity(), initial_velocity()])
    np.testing.assert_array_equal(draws[0], draws[1])
    # Two optimizers differ, and so do two global seeds.
    different = [*draws[0], *draws[2]]
    for index, one in enumerate(different):
        for other in different[index + 1 :]:
            assert not np.intersect1d(one, other).size


def test_no_global_random_stream_is_disturbed_where_a_seed_is_given():
    def draw():
        return [
            random.random(),
            np.random.rand(),
            numpy(keras.random.normal((2,))),
            # Initializers and dropout take their default seeds from Python's stream.
            numpy(keras.initializers.RandomNormal()((2,))),
            numpy(keras.layers.Dropout(0.5)(np.ones(20), training=True)),
        ]

    keras.utils.set_random_seed(12)
    undisturbed = draw()
    keras.utils.set_random_seed(12)
    W = variable(np.zeros(10))
    optimizer = Gravity(seed=3)
    optimizer.apply([tensor(np.ones(10))], [W])
    # A copy has its seed.
    Gravity.from_config(optimizer.get_config())
    for one, other in zip(undisturbed, draw(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_width_is_fixed_when_the_optimizer_is_made():
    before = Gravity(0.1, seed=0)
    before.learning_rate = 0.7
    W = variable(np.zeros(50))
    before.build([W])
    np.testing.assert_allclose(velocity_of(before), 0.1 * noise(0, (50,)), rtol=1e-6)
    before.learning_rate = 0.2
    V_0 = velocity_of(before)
    before.apply([tensor(np.zeros(50))], [W])
    np.testing.assert_allclose(numpy(W), -0.2 * V_0 / 2, rtol=1e-6)


def test_initial_learning_rate_sets_the_width():
    np.testing.assert_allclose(
        initial_velocity(learning_rate=0.1, seed=0),
        5 * initial_velocity(learning_rate=0.1, seed=0, initial_learning_rate=0.5),
        rtol=1e-6,
    )


# Schedules.


def test_a_schedule_gives_the_rate_of_each_step_and_the_first_gives_the_width():
    schedule = SCHEDULES.PiecewiseConstantDecay([2, 5], [0.5, 0.1, 0.02])
    W = variable([1.0, -1.0, 0.3])
    optimizer = Gravity(schedule, seed=6)
    optimizer.build([W])
    V_0, G = velocity_of(optimizer), gradients((3,), steps=9)
    np.testing.assert_allclose(V_0, 0.01 / 0.5 * noise(6, (3,)), rtol=1e-6)
    rates = [0.5] * 3 + [0.1] * 3 + [0.02] * 3
    weights, _ = kinematics.trajectory(numpy(W), V_0, G.astype("float64"), rates)
    for gradient, expected in zip(G, weights, strict=True):
        optimizer.apply([tensor(gradient)], [W])
        assert_parity(numpy(W), expected)


def warm_up(start=0.0) -> SCHEDULES.LearningRateSchedule:
    return SCHEDULES.PolynomialDecay(start, 4, end_learning_rate=0.4)


def test_a_warm_up_from_zero_starts_without_noise_and_says_so():
    W = variable([1.0, -1.0])
    with pytest.warns(UserWarning, match="`alpha` has no effect") as caught:
        optimizer = Gravity(warm_up())
    assert __file__ in [warning.filename for warning in caught]
    optimizer.build([W])
    np.testing.assert_array_equal(velocity_of(optimizer), [0, 0])
    G = np.array([[0.5, -0.25]] * 5)
    weights, _ = kinematics.trajectory(
        np.array([1.0, -1.0]), np.zeros(2), G, [0.0, 0.1, 0.2, 0.3, 0.4]
    )
    apply_all(optimizer, G, [W])
    assert_parity(numpy(W), weights[-1])


@pytest.mark.parametrize(
    "arguments",
    [
        {"learning_rate": warm_up(1e-3)},
        {"learning_rate": warm_up(), "alpha": 0.0},
        {"learning_rate": warm_up(), "initial_learning_rate": 0.4},
    ],
    ids=["above zero", "no noise wanted", "rate given"],
)
def test_a_warm_up_that_is_meant_warns_of_nothing(arguments, recwarn):
    V_0 = initial_velocity(seed=1, **arguments)
    assert np.any(V_0 != 0) == (arguments.get("alpha") is None)
    assert not [w for w in recwarn if "alpha" in str(w.message)]


def test_a_callable_learning_rate():
    W = variable([0.0, 0.0])
    optimizer = Gravity(lambda: 0.3, alpha=0.2, seed=1)
    optimizer.apply([tensor([0.0, 0.0])], [W])
    V_1 = 0.2 / 0.3 * noise(1, (2,)) / 2
    np.testing.assert_allclose(velocity_of(optimizer), V_1, rtol=1e-6)
    np.testing.assert_allclose(numpy(W), -0.3 * V_1, rtol=1e-6)


@pytest.mark.parametrize("given", [None, 0.5])
@pytest.mark.parametrize("build_in_step", [True, False])
def test_a_callable_learning_rate_may_read_the_optimizers_iterations(
    given, build_in_step
):
    W = variable([1.0, -1.0])
    optimizer = Gravity(
        lambda: 0.25 / (1 + ops.cast(optimizer.iterations, "float32")),
        seed=6,
        initial_learning_rate=given,
    )
    assert optimizer.get_config()["initial_learning_rate"] == given
    if not build_in_step:
        optimizer.build([W])
    G = gradients((2,), steps=4)
    V_0 = 0.01 / (given or 0.25) * noise(6, (2,))
    rates = [0.25, 0.25 / 2, 0.25 / 3, 0.25 / 4]
    weights, _ = kinematics.trajectory(numpy(W), V_0, G.astype("float64"), rates)

    def step(gradient):
        optimizer.apply([gradient], [W])

    if BACKEND == "tensorflow":
        import tensorflow as tf

        step = tf.function(step)
    for gradient in G:
        step(tensor(gradient))
    assert_parity(numpy(W), weights[-1])
    assert optimizer.get_config()["initial_learning_rate"] == (given or 0.25)


# What Keras expects of its own optimizers.

FULL = {
    "learning_rate": 0.25,
    "alpha": 0.03,
    "beta": 0.7,
    "seed": 9,
    "first_step": 1,
    "initial_learning_rate": 0.5,
    "weight_decay": 0.004,
    "clipnorm": 2.0,
    "use_ema": True,
    "ema_momentum": 0.8,
    "ema_overwrite_frequency": 3,
    "loss_scale_factor": 8.0,
    "gradient_accumulation_steps": 2,
    "name": "falling",
}
KINDS = [
    {},
    FULL,
    {"learning_rate": SCHEDULES.ExponentialDecay(0.5, 10, 0.9)},
    {"learning_rate": SCHEDULES.CosineDecay(0.0, 10, warmup_target=0.1), "alpha": 0},
    {"clipvalue": 0.5},
    {"global_clipnorm": 0.5},
    {
        "alpha": np.float32(0.5),
        "beta": 1,
        "seed": np.int64(3),
        "first_step": np.int8(1),
    },
]


@pytest.mark.parametrize("arguments", KINDS)
def test_config_makes_the_same_optimizer_again(arguments):
    optimizer = Gravity(**arguments)
    config = optimizer.get_config()
    for name in FULL:
        if name in arguments and name != "learning_rate":
            assert config[name] == arguments[name]
    stored = json.loads(json.dumps(keras.optimizers.serialize(optimizer)))
    again = keras.optimizers.deserialize(stored)
    assert type(again) is Gravity
    assert again.get_config() == config
    assert Gravity(**{**config, "learning_rate": 0.1}).seed == config["seed"]
    for one in (optimizer, again):
        W = variable([[1.0, -2.0]])
        apply_all(one, gradients((1, 2), steps=6), [W])
    assert_same_state(optimizer, again)


def test_config_keeps_the_width_when_the_rate_has_changed():
    optimizer = Gravity(0.1, seed=1)
    # Where a decay ends: as a rate to start with, 0 would be refused.
    optimizer.learning_rate = 0.0
    again = Gravity.from_config(optimizer.get_config())
    assert float(again.learning_rate) == 0.0
    for one in (optimizer, again):
        one.build([variable(np.zeros(5))])
    np.testing.assert_array_equal(velocity_of(optimizer), velocity_of(again))


@pytest.mark.parametrize("arguments", KINDS)
def test_pickle_keeps_the_config(arguments):
    optimizer = Gravity(**arguments)
    again = pickle.loads(pickle.dumps(optimizer))
    assert again.get_config() == optimizer.get_config()


def small_model(optimizer) -> keras.Model:
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((3,)),
            keras.layers.Dense(4, activation="tanh"),
            keras.layers.Dense(1),
        ]
    )
    model.compile(optimizer, "mse")
    return model


def small_data() -> tuple[np.ndarray, np.ndarray]:
    x = np.random.default_rng(0).normal(size=(32, 3)).astype("float32")
    return x, x.sum(axis=1, keepdims=True)


def train(model, epochs=1) -> list[float]:
    x, y = small_data()
    fit = model.fit(x, y, batch_size=8, epochs=epochs, shuffle=False, verbose=0)
    return fit.history["loss"]


def loss_scaled() -> keras.optimizers.Optimizer:
    return keras.optimizers.LossScaleOptimizer(Gravity(seed=1), initial_scale=4.0)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Gravity(),
        lambda: Gravity(**{**FULL, "use_ema": False}),
        pytest.param(
            lambda: Gravity(**FULL),
            marks=pytest.mark.skipif(
                BACKEND == "jax",
                reason="on JAX, Keras fits no optimizer twice with use_ema",
            ),
        ),
        lambda: Gravity(SCHEDULES.ExponentialDecay(0.5, 2, 0.9), seed=3),
        loss_scaled,
    ],
    ids=["defaults", "many arguments", "averaged weights", "schedule", "loss scale"],
)
def test_saved_models_continue_bit_for_bit(make, tmp_path):
    model = small_model(make())
    train(model)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    assert_same_state(model.optimizer, again.optimizer)
    assert int(again.optimizer.iterations) > 0
    assert train(model, 2) == train(again, 2)
    assert_same_state(model.optimizer, again.optimizer)
    for one, other in zip(model.weights, again.weights, strict=True):
        np.testing.assert_array_equal(numpy(one), numpy(other))


def test_a_rate_that_came_down_to_zero_can_be_loaded(tmp_path):
    model = small_model(Gravity(seed=0))
    train(model)
    model.optimizer.learning_rate = 0.0
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    assert_same_state(model.optimizer, again.optimizer)


def test_another_process_loads_a_model_once_it_has_imported_the_class(tmp_path):
    model = small_model(Gravity(seed=0))
    train(model)
    path = tmp_path / "model.keras"
    model.save(path)
    code = (
        "from gravity import Gravity; import keras; "
        f"optimizer = keras.models.load_model({str(path)!r}).optimizer; "
        "assert type(optimizer) is Gravity; print(int(optimizer.iterations))"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert run.stdout.strip() == "4"


# Made on TensorFlow by gravity at commit e675653, after three epochs.
SAVED = Path(__file__).parent / "saved"


def saved_data() -> tuple[np.ndarray, np.ndarray]:
    x = (np.arange(24).reshape(8, 3) % 7 - 3).astype("float32") / 4
    y = (np.arange(16).reshape(8, 2) % 5 - 2).astype("float32") / 4
    return x, y


def test_a_model_that_an_earlier_version_saved_trains_on():
    """Its file names the class's place in the package, which may have changed."""
    model = keras.models.load_model(SAVED / "gravity.keras")
    optimizer = model.optimizer
    assert type(optimizer) is Gravity
    settings = {
        "learning_rate": 0.25,
        "alpha": 0.03,
        "beta": 0.7,
        "seed": 9,
        "first_step": 1,
        "initial_learning_rate": 0.5,
        "weight_decay": 0.004,
    }
    assert optimizer.get_config().items() >= settings.items()
    assert int(optimizer.iterations) == 6
    x, y = saved_data()
    W, V = np.zeros((3, 2)), 0.03 / 0.5 * noise(9, (3, 2))
    for step in range(10):
        if step == 6:
            assert_parity(numpy(model.weights[0]), W, 1e-5)
            assert_parity(velocity_of(optimizer), V, 1e-5)
            model.fit(x, y, batch_size=4, epochs=2, shuffle=False, verbose=0)
        rows = slice(4 * (step % 2), 4 * (step % 2) + 4)
        G = 2 * x[rows].T @ (x[rows] @ W - y[rows]) / y[rows].size
        W = W - 0.25 * 0.004 * W
        W, V = kinematics.update(W, V, G, step + 1, 0.25, 0.7)
    assert_parity(numpy(model.weights[0]), W, 1e-5)
    assert_parity(velocity_of(optimizer), V, 1e-5)


def test_a_variant_that_an_earlier_version_saved_is_loaded():
    from gravity.experiments.variants import Variant

    model = keras.models.load_model(SAVED / "variant.keras")
    assert type(model.optimizer) is Variant
    settings = {
        "bound": "running_rms",
        "factor": 0.5,
        "average": "constant",
        "gradient_scale": 2.0,
        "seed": 9,
    }
    assert model.optimizer.get_config().items() >= settings.items()
    # The iteration, the rate, the velocity, and the average of G².
    iteration, _, velocity, size = state(model.optimizer)
    assert iteration == 6
    assert velocity[0, 0] == pytest.approx(-0.01833817, rel=1e-6)
    assert size == pytest.approx(0.05360094, rel=1e-6)


def test_set_weights_carries_the_state_over():
    W = variable([1.0, 2.0])
    optimizer, other = Gravity(seed=0), Gravity(seed=1)
    optimizer.apply([tensor([0.5, -0.5])], [W])
    other.build([W])
    other.set_weights(state(optimizer))
    assert_same_state(optimizer, other)


@only_tensorflow
def test_tf_checkpoint_restores_the_slots(tmp_path):
    import tensorflow as tf

    model = small_model(Gravity(seed=0))
    train(model)
    before = state(model.optimizer)
    checkpoint = tf.train.Checkpoint(model, optimizer=model.optimizer)
    path = checkpoint.save(tmp_path / "checkpoint")
    train(model)
    assert not np.array_equal(state(model.optimizer)[2], before[2])
    checkpoint.restore(path).assert_consumed()
    for one, other in zip(state(model.optimizer), before, strict=True):
        np.testing.assert_array_equal(one, other)


def test_single_step():
    W = variable([1.0, 2.0, 3.0, 4.0])
    Gravity(0.5, alpha=0.0).apply([tensor([1.0, 6.0, 7.0, 2.0])], [W])
    # W - ½ · ½ · G / (1 + (7 G)²)
    expected = [199 / 200, 7057 / 3530, 28817 / 9608, 1575 / 394]
    np.testing.assert_allclose(numpy(W), expected, rtol=1e-7)


# From W = (1, 1, 1) and V = (1, -½, ¼), with the gradient 0.01 everywhere and then
# four times (0.1, -0.5, 2), by exact fractions.
GOLDEN = {
    0: [
        [0.94950000, 1.02450000, 0.98700000],
        [0.91399103, 1.04918333, 0.97445294],
        [0.88625013, 1.07396167, 0.96214059],
        [0.86322186, 1.09879763, 0.94997062],
        [0.84332327, 1.12367187, 0.93789522],
    ],
    1: [
        [0.93630000, 1.03130000, 0.98380000],
        [0.88882538, 1.06071000, 0.96893059],
        [0.85119417, 1.08897340, 0.95486840],
        [0.82009998, 1.11647534, 0.94134229],
        [0.79360839, 1.14344115, 0.92819363],
    ],
}


@pytest.mark.parametrize("first_step", [0, 1])
def test_five_golden_steps(first_step):
    W = variable([1.0, 1.0, 1.0])
    optimizer = Gravity(first_step=first_step)
    optimizer.build([W])
    count, rate, _ = state(optimizer)
    optimizer.set_weights([count, rate, np.array([1.0, -0.5, 0.25])])
    for step, golden in enumerate(GOLDEN[first_step]):
        optimizer.apply([tensor([0.1, -0.5, 2.0] if step else [0.01] * 3)], [W])
        np.testing.assert_allclose(numpy(W), golden, rtol=2e-7)


def test_weight_decay_and_what_is_excluded_from_it():
    zero = tensor(0.0)
    for exclude in ({"var_names": ["bias"]}, {"var_list": []}):
        W, bias = variable(2.0, name="kernel"), variable(2.0, name="bias")
        if "var_list" in exclude:
            exclude["var_list"].append(bias)
        optimizer = Gravity(1.0, alpha=0.0, weight_decay=0.004)
        optimizer.exclude_from_weight_decay(**exclude)
        optimizer.apply([zero, zero], [W, bias])
        assert float(numpy(W)) == pytest.approx(2 * (1 - 0.004), rel=1e-7)
        assert float(numpy(bias)) == 2.0


def test_weight_decay_leaves_the_velocity_alone():
    W, same = variable([3.0, -1.0]), variable([3.0, -1.0])
    decaying, plain = Gravity(0.5, seed=0, weight_decay=0.1), Gravity(0.5, seed=0)
    decaying.apply([tensor([0.2, 0.4])], [W])
    plain.apply([tensor([0.2, 0.4])], [same])
    np.testing.assert_array_equal(velocity_of(decaying), velocity_of(plain))
    shrunk = np.array([3.0, -1.0]) * 0.1 * 0.5
    np.testing.assert_allclose(numpy(W), numpy(same) - shrunk, rtol=1e-6)


@pytest.mark.parametrize(
    ("clip", "clipped"),
    [
        ({"clipnorm": 1.0}, [[0.6, -0.8], [5 / 13, 12 / 13]]),
        ({"clipvalue": 1.0}, [[1.0, -1.0], [1.0, 1.0]]),
        (
            {"global_clipnorm": 1.0},
            np.array([[30, -40], [5, 12]]) / math.sqrt(2500 + 169),
        ),
        ({"clipnorm": 100.0}, [[30.0, -40.0], [5.0, 12.0]]),
    ],
    ids=["norm", "value", "global norm", "nothing to clip"],
)
def test_clipping_comes_before_the_update(clip, clipped):
    W, same = [[variable([0.0, 0.0]) for _ in range(2)] for _ in range(2)]
    settings = {"learning_rate": 1.0, "alpha": 0.0}
    Gravity(**settings, **clip).apply([tensor([30, -40]), tensor([5, 12])], W)
    Gravity(**settings).apply([tensor(G) for G in clipped], same)
    for one, other in zip(W, same, strict=True):
        np.testing.assert_allclose(numpy(one), numpy(other), rtol=1e-5)


def test_ema_averages_the_weights_and_overwrites_them():
    W = variable([3.0, -4.0])
    optimizer = Gravity(
        seed=0, use_ema=True, ema_momentum=0.9, ema_overwrite_frequency=3
    )
    optimizer.build([W])
    expected, V, average = numpy(W), velocity_of(optimizer), None
    for step, G in enumerate(gradients((2,), steps=7)):
        optimizer.apply([tensor(G)], [W])
        expected, V = kinematics.update(expected, V, G.astype("float64"), step)
        average = expected if step == 0 else 0.9 * average + 0.1 * expected
        if step % 3 == 2:
            expected = average
        assert_parity(numpy(W), expected)


def test_ema_is_in_the_weights_after_fit():
    averaged = small_model(Gravity(seed=0, use_ema=True, ema_momentum=0.5))
    train(averaged)
    plain = small_model(Gravity(seed=0))
    x, y = small_data()
    expected = None
    for first in range(0, len(x), 8):
        plain.train_on_batch(x[first : first + 8], y[first : first + 8])
        W = numpy(plain.weights[0])
        expected = W if expected is None else 0.5 * expected + 0.5 * W
    np.testing.assert_allclose(numpy(averaged.weights[0]), expected, rtol=1e-4)


@pytest.mark.parametrize("first_step", [0, 1])
def test_accumulation_counts_updates_and_takes_the_mean(first_step):
    settings = {"seed": 0, "first_step": first_step, "weight_decay": 0.05}
    every = Gravity(**settings)
    third = Gravity(**settings, gradient_accumulation_steps=3)
    W, accumulated = variable([[0.9], [0.5]]), variable([[0.9], [0.5]])
    for update, G in enumerate(gradients((3, 2, 1), steps=8)):
        every.apply([tensor(G.mean(axis=0))], [W])
        for batch in G:
            assert int(third.iterations) == update
            third.apply([tensor(batch)], [accumulated])
        assert_parity(numpy(accumulated), numpy(W))
        assert_parity(velocity_of(third), velocity_of(every))


def test_iterations_count_updates():
    W, optimizer = variable([1.0]), Gravity()
    for count in range(3):
        assert int(optimizer.iterations) == count
        optimizer.apply_gradients([(tensor([1.0]), W)])


def test_variables_without_a_gradient_stay_as_they_are():
    W = [variable([1.0]), variable([2.0])]
    optimizer = Gravity(seed=0)
    optimizer.build(W)
    V_0 = velocity_of(optimizer, 0)
    with pytest.warns(UserWarning, match="Gradients do not exist"):
        optimizer.apply([None, tensor([1.0])], W)
    np.testing.assert_array_equal(numpy(W[0]), [1.0])
    np.testing.assert_array_equal(velocity_of(optimizer, 0), V_0)
    assert numpy(W[1]) != 2.0
    with pytest.raises(ValueError, match="No gradients provided"):
        optimizer.apply([None, None], W)


@pytest.mark.parametrize(
    "arguments", [{}, {"clipnorm": 1.0}, {"global_clipnorm": 1.0}], ids=str
)
def test_empty_variables_are_left_alone(arguments):
    empty, W = variable(np.zeros((0, 3))), variable([1.0, -2.0])
    same = variable([1.0, -2.0])
    optimizer, alone = Gravity(alpha=0.0, **arguments), Gravity(alpha=0.0, **arguments)
    nothing = tensor(np.zeros((0, 3)))
    for G in gradients((2,), steps=3):
        optimizer.apply([nothing, tensor(G)], [empty, W])
        alone.apply([tensor(G)], [same])
    np.testing.assert_array_equal(numpy(W), numpy(same))
    only = Gravity()
    only.apply([nothing], [variable(np.zeros((0, 3)))])
    assert int(only.iterations) == 1


@pytest.mark.parametrize("dtype", ["complex64", "int32"])
def test_variables_that_are_not_real_numbers_are_refused(dtype):
    W = keras.Variable(np.ones(2), dtype=dtype, trainable=False, name="phase")
    with pytest.raises(ValueError, match="real floating-point") as caught:
        Gravity().build([variable([1.0]), W])
    assert str(caught.value).endswith(f"Received: 'phase' of dtype {dtype}")


@pytest.mark.parametrize(
    "G",
    [
        np.float32(0.5),
        [0.5, -2.0],
        np.array([0.5, -2.0]),
        np.array([0.5, -2.0], "float16"),
        np.array([1, -2]),
        np.array([0.5], "float32"),
        0.5,
    ],
    ids=repr,
)
def test_gradients_are_what_adam_takes(G):
    """Another type, or a shape that broadcasts to the variable's."""
    W, same = variable([1.0, -2.0]), variable([1.0, -2.0])
    Gravity(seed=0).apply([G], [W])
    dense = np.broadcast_to(np.asarray(G, "float32"), (2,))
    Gravity(seed=0).apply([tensor(dense)], [same])
    np.testing.assert_array_equal(numpy(W), numpy(same))


@pytest.mark.parametrize("kind", [list, tuple, iter])
def test_variables_may_be_any_iterable(kind):
    W = [variable([1.0]), variable([2.0])]
    optimizer = Gravity(alpha=0.0)
    for _ in range(2):
        optimizer.apply([tensor([1.0]), tensor([1.0])], kind(W))
    # ζ = ½, V = ¼ and then β̂ = 1.9 / 3.
    V_2 = 1.9 / 3 / 4 + 1.1 / 3 / 2
    np.testing.assert_allclose(numpy(W[1]), 2 - 0.1 * (0.25 + V_2), rtol=1e-6)


@pytest.mark.parametrize("shape", [(4,), (4, 1), (2, 3), (1, 2, 2)])
def test_a_gradient_of_another_shape_is_refused(shape):
    W = variable(np.zeros((2, 2)))
    error = "(?i)shape|size|broadcast"
    with pytest.raises(Exception, match=error):  # each backend has its own
        Gravity().apply([tensor(np.ones(shape))], [W])
    np.testing.assert_array_equal(numpy(W), np.zeros((2, 2)))


def test_variables_that_their_gradient_overwrites_have_no_velocity():
    scale, W = variable([1.0]), variable([2.0])
    scale.overwrite_with_gradient = True
    optimizer = Gravity(1.0, alpha=0.0)
    optimizer.apply([tensor([5.0]), tensor([1.0])], [scale, W])
    assert numpy(scale) == 5.0
    assert numpy(W) == pytest.approx(2 - 1 / 4)


# Loss scales and low precision.


@pytest.mark.parametrize("scale", [1024.0, 0.3])
def test_a_loss_scale_factor_is_divided_out(scale):
    W, same = variable([1.0, 2.0]), variable([1.0, 2.0])
    scaled, plain = Gravity(seed=0, loss_scale_factor=scale), Gravity(seed=0)
    assert float(scaled.scale_loss(2.0)) == 2 * scale
    for G in gradients((2,), steps=5):
        scaled.apply([tensor(G * np.float32(scale))], [W])
        plain.apply([tensor(G)], [same])
    assert_parity(numpy(W), numpy(same))


def test_a_loss_scale_optimizer_divides_it_out():
    scaled, plain = small_model(loss_scaled()), small_model(Gravity(seed=1))
    np.testing.assert_allclose(train(scaled, 2), train(plain, 2), rtol=1e-5)
    np.testing.assert_allclose(
        numpy(scaled.weights[0]), numpy(plain.weights[0]), rtol=1e-4, atol=1e-6
    )


def test_an_overflow_is_no_step():
    W = variable([1.0, 2.0])
    inner = Gravity(seed=0)
    optimizer = keras.optimizers.LossScaleOptimizer(inner, initial_scale=4.0)
    optimizer.build([W])
    before = state(inner)
    apply(optimizer, [tensor([np.inf, 1.0])], [W])
    np.testing.assert_array_equal(numpy(W), [1.0, 2.0])
    for one, other in zip(state(inner), before, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_low_precision_is_computed_in_float32(dtype):
    shape = (2000,)
    stream = np.random.default_rng(0)
    W = variable(stream.normal(size=shape), dtype)
    optimizer = Gravity(0.5, alpha=0.5, beta=1.0, seed=0)
    optimizer.build([W])
    assert optimizer.velocities[0].dtype == dtype
    # Beyond what float16 holds, and uneven where bfloat16 is.
    t = 70_001
    optimizer.iterations.assign(t)
    G = ops.cast(tensor(stream.normal(size=shape) * 100), dtype)
    weights, velocity = kinematics.update(
        numpy(W), velocity_of(optimizer), numpy(G), t, 0.5, 1.0
    )
    optimizer.apply([G], [W])
    rounded = numpy(ops.cast(tensor(velocity), dtype))
    assert np.mean(velocity_of(optimizer) == rounded) > 0.99
    np.testing.assert_allclose(numpy(W), weights, rtol=0.01, atol=0.01)
    # The squares that ζ needs overflow float16; its terms vanish in bfloat16.
    small = variable([1.0, 1.0, 1.0], dtype)
    optimizer = Gravity(1.0, alpha=0.0)
    G = [100.0, 5.0, 0.01]
    optimizer.apply([ops.cast(tensor(G), dtype)], [small])
    zeta = [100 / (1 + 1e8), 5 / (1 + 25e4), 0.01 / 2]
    np.testing.assert_allclose(
        velocity_of(optimizer), np.array(zeta) / 2, rtol=0.01, atol=1e-7
    )


@pytest.mark.parametrize(
    "policy", ["float16", "bfloat16", "mixed_float16", "mixed_bfloat16"]
)
def test_low_precision_models_learn(policy):
    usual = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        model = small_model(Gravity(0.3, seed=0))
    finally:
        keras.config.set_dtype_policy(usual)
    scaled = isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)
    assert scaled == (policy == "mixed_float16")
    losses = train(model, 30)
    assert np.all(np.isfinite(losses))
    assert losses[-1] < 0.1 * losses[0]


# Sparse gradients.

ROWS = [1, 4, 1, 0, 1]
ROW_GRADIENTS = np.array(
    [[0.5, -2.0], [1.0, 0.1], [-0.4, -1.5], [0.0, 0.3], [3.0, 0.2]], "float32"
)


def sparse_gradient():
    """Rows of a 6 × 2 table, one of them three times."""
    if BACKEND == "tensorflow":
        import tensorflow as tf

        return tf.IndexedSlices(ROW_GRADIENTS, ROWS, dense_shape=(6, 2))
    from jax.experimental.sparse import BCOO

    return BCOO((ops.array(ROW_GRADIENTS), np.array(ROWS)[:, None]), shape=(6, 2))


@pytest.mark.skipif(BACKEND == "torch", reason="Keras makes none on PyTorch")
@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"clipnorm": 1.0},
        {"clipvalue": 1.0},
        {"global_clipnorm": 1.0},
        {"loss_scale_factor": 4.0},
        {"gradient_accumulation_steps": 2},
        {"weight_decay": 0.1, "use_ema": True},
    ],
    ids=lambda arguments: " ".join(arguments) or "defaults",
)
@pytest.mark.parametrize("scaled", [False, True], ids=["", "in LossScaleOptimizer"])
def test_a_sparse_gradient_is_its_dense_one(arguments, scaled):
    dense = np.zeros((6, 2), "float32")
    np.add.at(dense, ROWS, ROW_GRADIENTS)
    results = []
    for G in (sparse_gradient(), tensor(dense)):
        table = variable(np.arange(12).reshape(6, 2) / 10)
        optimizer = Gravity(seed=0, **arguments)
        if scaled:
            optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
        for _ in range(4):
            apply(optimizer, [G], [table])
        results.append([numpy(table), *state(optimizer)])
    for one, other in zip(*results, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6)


def test_an_embedding_trains_like_a_dense_layer_on_one_hot_vectors():
    words = np.array([[1], [4], [1], [2], [1], [5], [2], [1]])
    y = np.random.default_rng(0).normal(size=(8, 3)).astype("float32")
    table = np.random.default_rng(1).normal(size=(6, 3)).astype("float32")
    results = []
    for layer, x in [
        (keras.layers.Embedding(6, 3), words),
        (keras.layers.Dense(3, use_bias=False), np.eye(6)[words]),
    ]:
        model = keras.Sequential([layer, keras.layers.Reshape((3,))])
        model.build(x.shape)
        layer.set_weights([table])
        model.compile(Gravity(0.2, alpha=0.1, seed=0), "mse")
        model.fit(x, y, batch_size=4, epochs=4, shuffle=False, verbose=0)
        results.append([numpy(layer.weights[0]), velocity_of(model.optimizer)])
    for one, other in zip(*results, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


# Arguments.


def starts_at(value):
    return SCHEDULES.ExponentialDecay(value, 10, 0.9)


NUMBERS = [-1.0, math.nan, math.inf, "0.1", [0.1], True, 1j]


@pytest.mark.parametrize(
    ("name", "accepted", "value"),
    [
        *[("alpha", "a finite number, 0 or more", v) for v in [*NUMBERS, None]],
        *[("beta", "a number from 0 to 1", v) for v in [*NUMBERS, None, 1.001, -1e-9]],
        *[("seed", "an integer, 0 or more, or None", v) for v in [*NUMBERS, 1.0, -1]],
        *[("first_step", "0 or 1", v) for v in [*NUMBERS, None, 2, -1, 0.0]],
        *[
            ("initial_learning_rate", "a finite number, 0 or more, or None", v)
            for v in NUMBERS
        ],
    ],
)
def test_bad_arguments_are_named(name, accepted, value):
    with pytest.raises(ValueError, match="Received") as caught:
        Gravity(**{name: value})
    received = f"Received: {name}={value!r}"
    assert str(caught.value) == f"Argument `{name}` must be {accepted}. {received}"


@pytest.mark.parametrize("value", [*NUMBERS, None, 0.0, 1])
def test_bad_learning_rates_are_named(value):
    # Keras itself checks that it is a float.
    accepted = "should be float" if type(value) is not float else "must be a positive"
    with pytest.raises(ValueError, match=f"Argument `learning_rate` {accepted}") as e:
        Gravity(value)
    assert str(e.value).endswith(f"learning_rate={value}")


@pytest.mark.parametrize("value", [-0.1, math.nan, math.inf])
@pytest.mark.parametrize("kind", [starts_at, lambda value: lambda: value])
def test_what_bad_schedules_start_at_is_named(kind, value):
    # A callable isn't asked before.
    with pytest.raises(ValueError, match="`learning_rate` must be") as caught:
        Gravity(kind(value)).build([variable([1.0])])
    start = float(str(caught.value).rsplit("which starts at ")[-1])
    assert start == pytest.approx(value, nan_ok=True)


@pytest.mark.parametrize("rate", [-0.1, math.nan, math.inf])
def test_a_stored_rate_is_checked_too(rate):
    with pytest.raises(ValueError, match="`learning_rate` must be"):
        Gravity(rate, initial_learning_rate=0.1)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"clipnorm": 1.0, "clipvalue": 1.0}, "clipvalue=1.0"),
        ({"use_ema": True, "ema_momentum": 1.5}, "ema_momentum=1.5"),
        (
            {"use_ema": True, "ema_overwrite_frequency": -1},
            "ema_overwrite_frequency=-1",
        ),
        ({"gradient_accumulation_steps": 1}, "gradient_accumulation_steps=1"),
        ({"momentum": 0.9}, "momentum"),
    ],
)
def test_keras_checks_its_own_arguments(arguments, named):
    with pytest.raises(ValueError, match=named):
        Gravity(**arguments)


def test_gradients_and_variables_must_match():
    optimizer = Gravity()
    with pytest.raises(ValueError, match="must already be built"):
        optimizer.apply([tensor([1.0])])
    optimizer.build([variable([1.0]), variable([2.0])])
    with pytest.raises(ValueError, match="must match"):
        optimizer.apply([tensor([1.0])])
    with pytest.raises(ValueError, match="Unknown variable"):
        optimizer.apply([tensor([1.0])], [variable([1.0])])
    optimizer.apply([])
    assert int(optimizer.iterations) == 0


def test_the_docstrings_example_runs():
    failed, attempted = doctest.testmod(optimizer_module)
    assert attempted > 0
    assert failed == 0


# Convergence. Both functions are scaled so that their slopes at the start are about 1,
# as far as Gravity follows a slope before it bends it back.


def parabola(point):
    return 0.2 * (point - [1.0, -1.0, 1.0])


def rosenbrock(point):
    x, y = point
    return np.array([2 * (x - 1) - 400 * x * (y - x**2), 200 * (y - x**2)]) / 50


@pytest.mark.parametrize(
    ("slope", "start", "minimum", "rate", "steps", "distance"),
    [
        (parabola, [-1.0, 10.0, 1.0], [1.0, -1.0, 1.0], 0.5, 500, 1e-5),
        (parabola, [0.0, 0.0, 0.0], [1.0, -1.0, 1.0], 0.1, 1000, 1e-5),
        (rosenbrock, [-1.2, 1.0], [1.0, 1.0], 0.5, 2000, 1e-3),
    ],
    ids=["parabola", "parabola with the default rate", "Rosenbrock"],
)
def test_convergence(slope, start, minimum, rate, steps, distance):
    W, optimizer = variable(start), Gravity(rate, seed=0)
    for _ in range(steps):
        optimizer.apply([tensor(slope(numpy(W)))], [W])
    np.testing.assert_allclose(numpy(W), minimum, atol=distance)
