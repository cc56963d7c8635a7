"""The update that TensorFlow compiles, against the same one op by op: bit for bit."""

import gc
import math
import weakref

import keras
import numpy as np
import pytest

from gravity import _compiled
from gravity.experiments import training
from gravity.experiments.experiment import Experiment
from gravity.optimizer import Gravity

tf = pytest.importorskip("tensorflow")
pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="only TensorFlow compiles it"
)

# A scalar, what is smaller than a vector register, what is shared among threads, and
# what is folded to find its largest element.
SHAPES = [(), (7,), (3, 3, 16, 32), (600, 512)]
SCHEDULES = keras.optimizers.schedules


@pytest.fixture
def compiled(monkeypatch):
    """Return a switch between the two ways, and count the compiled groups."""
    calls = []
    together = _compiled._update_together

    def counted(*arguments):
        calls.append(len(arguments[0]))
        return together(*arguments)

    def switch(on):
        calls.clear()
        least = 0 if on else math.inf
        monkeypatch.setattr(_compiled, "_WORTH_COMPILING", least)
        return calls

    monkeypatch.setattr(_compiled, "_update_together", counted)
    return switch


def gradients(steps, dtypes, seed=1):
    """Random gradients whose size differs by orders of magnitude between steps."""
    stream = np.random.default_rng(seed)
    for _ in range(steps):
        size = 10 ** stream.uniform(-3, 1.5)
        yield [
            tf.cast(size * stream.standard_normal(shape), dtype)
            for shape, dtype in zip(SHAPES, dtypes, strict=True)
        ]


def trained(arguments, all_gradients, dtypes, *, run=None, jit_compile=None):
    """Return weights and the optimizer's state after a step for each gradient."""
    stream = np.random.default_rng(0)
    variables = [
        keras.Variable(stream.standard_normal(shape), dtype=dtype)
        for shape, dtype in zip(SHAPES, dtypes, strict=True)
    ]
    optimizer = Gravity(**{"learning_rate": 0.1, "seed": 3} | arguments)
    optimizer.build(variables)
    run = run or (lambda function: function())

    @tf.function(jit_compile=jit_compile)
    def step(grads):
        run(lambda: optimizer.apply(grads, variables))

    for grads in all_gradients:
        step(grads)
    return [keras.ops.convert_to_numpy(v) for v in (*variables, *optimizer.variables)]


def assert_same_bits(one, other):
    for a, b in zip(one, other, strict=True):
        assert a.dtype == b.dtype
        assert a.tobytes() == b.tobytes()


FLOAT32 = ("float32",) * 4
KINDS = {
    "plain": {},
    "algorithm-1": {"first_step": 1, "beta": 0.99, "alpha": 0.0},
    "schedule": {"learning_rate": SCHEDULES.ExponentialDecay(0.3, 2, 0.5)},
    "callable": {"learning_rate": lambda: 0.07},
    "weight-decay": {"weight_decay": 0.01},
    "clipnorm": {"clipnorm": 0.5},
    "global-clipnorm": {"global_clipnorm": 0.5},
    "clipvalue": {"clipvalue": 0.2},
    "ema": {"use_ema": True, "ema_overwrite_frequency": 3},
    "accumulation": {"gradient_accumulation_steps": 2},
    "loss-scale": {"loss_scale_factor": 0.3},
}


@pytest.mark.parametrize("arguments", KINDS.values(), ids=KINDS)
def test_it_is_the_update_op_by_op(compiled, arguments):
    def run():
        return trained(arguments, gradients(6, FLOAT32), FLOAT32)

    assert compiled(False) == []
    expected = run()
    calls = compiled(True)
    actual = run()
    assert calls == [4]
    assert_same_bits(actual, expected)


@pytest.mark.parametrize(
    ("dtypes", "groups"),
    [
        (("float64",) * 4, [4]),
        (("float64", "float32", "float32", "float64"), [2, 2]),
        (("float32", "bfloat16", "float16", "float32"), [2]),
        (("bfloat16",) * 4, []),
    ],
    ids=["double", "both", "some-low", "all-low"],
)
def test_variables_of_every_type_are_updated(compiled, dtypes, groups):
    def run():
        return trained({}, gradients(4, dtypes), dtypes)

    compiled(False)
    expected = run()
    calls = compiled(True)
    assert_same_bits(run(), expected)
    assert calls == groups


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64", "int32"])
def test_gradients_of_every_type_are_taken(compiled, dtype):
    def run():
        return trained({}, gradients(4, (dtype,) * 4), FLOAT32)

    compiled(False)
    expected = run()
    calls = compiled(True)
    assert_same_bits(run(), expected)
    assert calls == [4]


def test_one_number_may_be_the_gradient_of_every_weight(compiled):
    def run():
        return trained({}, [[tf.constant(0.3)] * 4] * 3, FLOAT32)

    compiled(False)
    expected = run()
    compiled(True)
    assert_same_bits(run(), expected)


def test_empty_variables_are_left_out(compiled):
    def run():
        variables = [keras.Variable(np.ones(s, "float32")) for s in ((0, 3), (4, 5))]
        optimizer = Gravity(seed=0)
        optimizer.build(variables)
        grads = [tf.ones(W.shape) for W in variables]
        tf.function(lambda: optimizer.apply(grads, variables))()
        return [W.numpy() for W in variables]

    compiled(False)
    expected = run()
    calls = compiled(True)
    assert_same_bits(run(), expected)
    assert calls == [1]


@pytest.mark.parametrize(
    "value",
    [
        0.0,
        -0.0,
        1e-42,
        1e-38,
        1e-20,
        3.9e9,
        4e9,
        1e12,
        3e38,
        math.inf,
        -math.inf,
        math.nan,
    ],
)
def test_extreme_gradients_are_treated_alike(compiled, value):
    def run():
        for size in (value, 1.0):
            grads = [np.full(shape, size, "float32") for shape in SHAPES]
            for G in grads[1:]:
                G.flat[1::3] = 0.5 * size
                G.flat[2::5] = -1e-3
            all_gradients.append([tf.constant(G) for G in grads])
        return trained({}, all_gradients, FLOAT32)

    all_gradients = []
    compiled(False)
    expected = run()
    all_gradients.clear()
    compiled(True)
    for actual, wanted in zip(run(), expected, strict=True):
        np.testing.assert_array_equal(actual, wanted)


def test_a_velocity_that_dies_away_does_so_alike(compiled):
    """V halves in every step until float32 has no smaller number."""

    def run():
        zeros = [tf.zeros(shape) for shape in SHAPES]
        arguments = {"beta": 0.0, "learning_rate": 1e-30}
        return trained(arguments, [zeros] * 40, FLOAT32)

    compiled(False)
    expected = run()
    compiled(True)
    assert_same_bits(run(), expected)


# Neither a constant rate nor one that a wrapper changes may be baked in.
def test_a_new_learning_rate_counts(compiled):
    def run():
        (variable,) = [keras.Variable(np.ones((40, 30), "float32"))]
        optimizer = Gravity(0.1, seed=0)
        optimizer.build([variable])
        step = tf.function(lambda G: optimizer.apply([G], [variable]))
        for rate in (0.1, 0.05):
            optimizer.learning_rate = rate
            step(tf.fill((40, 30), 0.3))
        return [variable.numpy()]

    compiled(False)
    expected = run()
    compiled(True)
    assert_same_bits(run(), expected)


EXPERIMENT = Experiment(
    dataset="digits",
    architecture="vgg16",
    optimizer="gravity",
    width=0.0625,
    epochs=2,
    batch_size=24,
    train_size=80,  # The last batch of an epoch is smaller.
)


def fitted(settings, tmp_path=None):
    """Return history and state after two epochs, between which the model is saved."""
    stream = np.random.default_rng(0)
    images = stream.random((80, 8, 8, 1), "float32")
    labels = stream.integers(0, 10, 80)
    model = training.create_model(EXPERIMENT)
    optimizer = model.optimizer
    if settings.pop("loss_scale", False):
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer, initial_scale=64.0)
    model.compile(
        optimizer=optimizer,
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        **settings,
    )
    losses = []
    for _ in range(2):
        logs = model.fit(images, labels, batch_size=24, shuffle=False, verbose=0)
        losses += logs.history["loss"]
        if tmp_path is not None:
            model.save(tmp_path / "model.keras")
            model = keras.models.load_model(tmp_path / "model.keras")
    state = [*model.weights, *model.optimizer.variables]
    return losses, [keras.ops.convert_to_numpy(v) for v in state]


@pytest.mark.parametrize(
    "settings",
    [{}, {"steps_per_execution": 3}, {"loss_scale": True}],
    ids=["plain", "steps", "loss-scale"],
)
def test_fit_is_the_same(compiled, settings, tmp_path):
    folder = None if settings else tmp_path
    compiled(False)
    losses, expected = fitted(dict(settings), folder)
    calls = compiled(True)
    again, actual = fitted(dict(settings), folder)
    assert calls
    assert again == losses
    assert_same_bits(actual, expected)


def test_a_step_that_is_compiled_itself_may_hold_it(compiled):
    def run():
        return trained({}, gradients(4, FLOAT32), FLOAT32, jit_compile=True)

    compiled(False)
    expected = run()
    calls = compiled(True)
    # The compiler of the step is free to leave roundings out, in either.
    for actual, wanted in zip(run(), expected, strict=True):
        np.testing.assert_allclose(actual, wanted, rtol=1e-5, atol=1e-6)
    assert calls == [4]


def test_replicas_and_eager_steps_are_updated_op_by_op(compiled):
    calls = compiled(True)
    all_gradients = list(gradients(4, FLOAT32))
    expected = trained({}, all_gradients, FLOAT32)
    assert calls == [4]
    strategy = tf.distribute.MirroredStrategy(["CPU:0"])
    calls = compiled(True)
    with strategy.scope():
        actual = trained({}, all_gradients, FLOAT32, run=strategy.run)
    assert_same_bits(actual, expected)
    tf.config.run_functions_eagerly(True)
    try:
        actual = trained({}, all_gradients, FLOAT32)
    finally:
        tf.config.run_functions_eagerly(False)
    assert_same_bits(actual, expected)
    assert calls == []


def test_a_subclass_with_its_own_update_is_asked(compiled):
    class Doubled(Gravity):
        def update_step(self, gradient, variable, learning_rate):
            super().update_step(gradient, variable, 2 * learning_rate)

    calls = compiled(True)
    variable = keras.Variable(np.ones((4, 5), "float32"))
    optimizer = Doubled(0.1, alpha=0.0)
    optimizer.build([variable])
    tf.function(lambda: optimizer.apply([tf.ones((4, 5))], [variable]))()
    # ζ = ½ and V = ¼ after the first update.
    np.testing.assert_allclose(variable.numpy(), 1 - 2 * 0.1 / 4, rtol=1e-6)
    assert calls == []


def test_small_networks_are_updated_op_by_op():
    assert _compiled._WORTH_COMPILING == 2**19


def test_what_was_compiled_keeps_no_variable(compiled):
    def run():
        variable = keras.Variable(np.ones((4, 5), "float32"))
        optimizer = Gravity()
        optimizer.build([variable])
        tf.function(lambda: optimizer.apply([tf.ones((4, 5))], [variable]))()
        return weakref.ref(variable.value), weakref.ref(optimizer)

    compiled(True)
    references = run()
    gc.collect()
    assert [reference() for reference in references] == [None, None]
