"""`gravity.optax`: what optax expects of its own optimizers.

That it follows the NumPy loop and the other frameworks is tested in test_parity.py.
"""

import doctest
import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gravity.optax
from gravity import kinematics
from gravity.optax import ScaleByGravityState, scale_by_gravity
from gravity.optax import gravity as gravity_optimizer


def make(*args, key=0, **arguments):
    return gravity_optimizer(*args, key=key, **arguments)


def parameters(dtype=jnp.float32):
    stream = np.random.default_rng(0)
    return {
        "kernel": jnp.asarray(stream.normal(size=(4, 3)), dtype),
        "biases": [jnp.asarray(stream.normal(size=3), dtype), jnp.asarray(0.5, dtype)],
    }


def gradients(params, steps=6):
    stream = np.random.default_rng(1)
    return [
        jax.tree.map(
            lambda W, size=size: jnp.asarray(
                stream.normal(size=W.shape) * size, W.dtype
            ),
            params,
        )
        for size in 10 ** stream.uniform(-3, 1.5, steps)
    ]


def run(optimizer, params, grads, jitted=True):
    state = optimizer.init(params)
    update = jax.jit(optimizer.update) if jitted else optimizer.update
    for G in grads:
        updates, state = update(G, state, params)
        params = optax.apply_updates(params, updates)
    return params, state


def assert_close(one, other, rtol=1e-6):
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=rtol, atol=1e-7), one, other
    )


def velocity_of(state):
    return optax.tree.get(state, "velocity")


def test_single_step():
    W = jnp.array([1.0, 2.0, 3.0, 4.0])
    G = jnp.array([1.0, 6.0, 7.0, 2.0])
    after, _ = run(make(0.5, alpha=0.0), W, [G])
    # W - ½ · ½ · G / (1 + (7 G)²)
    expected = [199 / 200, 7057 / 3530, 28817 / 9608, 1575 / 394]
    np.testing.assert_allclose(after, expected, rtol=1e-7)


@pytest.mark.parametrize("size", [1e-20, 1e-8, 1e4, 1e12, 1e25, 3e38])
def test_extreme_gradients_give_finite_steps(size):
    G = jnp.array([size, -size / 2, 0.0])
    after, _ = run(make(1.0, alpha=0.0), jnp.ones(3), [G])
    steepness = 1.0 if size < 1 else 0.0
    np.testing.assert_allclose(after, 1 - 0.5 * steepness * np.array(G), atol=1e-6)


# Where the fourth power of the largest gradient overflows, and just below it.
STEEP = [3.9e9, 4e9, 1e10, 1e19, 3e38]


@pytest.mark.parametrize("jitted", [True, False])
@pytest.mark.parametrize("size", STEEP)
def test_nothing_overflows_that_debug_infs_would_stop_at(size, jitted):
    G = np.array([size, -size / 3, 1.0, 1e-9, 1 / size, 0.0])
    with jax.debug_infs(True):
        with pytest.raises(FloatingPointError):
            jnp.square(jnp.array(1e30))
        _, state = run(make(alpha=0.0), jnp.zeros(6), [jnp.array(G)], jitted)
    zeta = 2 * velocity_of(state)
    np.testing.assert_allclose(zeta, G / (1 + (G * size) ** 2), atol=1.3e-10)


@pytest.mark.parametrize("jitted", [True, False])
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_one_gradient_that_is_not_finite_takes_its_whole_array_along(value, jitted):
    params = {"W": jnp.ones(3), "other": jnp.ones(1)}
    G = {"W": jnp.array([0.1, value, 0.0]), "other": jnp.ones(1)}
    after, _ = run(make(), params, [G], jitted)
    assert jnp.all(jnp.isnan(after["W"]))
    assert jnp.all(jnp.isfinite(after["other"]))


def test_gravity_is_a_chain_of_its_parts():
    params = parameters()
    parts = optax.chain(
        scale_by_gravity(0.02 / 0.4, 0.7, key=3, first_step=1),
        optax.add_decayed_weights(0.1),
        optax.scale_by_learning_rate(0.4),
    )
    whole = make(0.4, 0.02, 0.7, key=3, first_step=1, weight_decay=0.1)
    one, other = (run(each, params, gradients(params)) for each in (parts, whole))
    assert_close(one[0], other[0])
    assert isinstance(other[1][0], ScaleByGravityState)
    assert int(other[1][0].count) == 6


def test_update_needs_no_parameters_without_weight_decay():
    G = jnp.ones(3)
    optimizer = make()
    optimizer.update(G, optimizer.init(G))


# The initial velocity.


def test_initial_velocity_is_normal_with_width_alpha_over_l():
    W = [jnp.zeros((100, 400)), jnp.zeros((100, 400))]
    one, other = velocity_of(make(0.2, 0.03, key=11).init(W))
    for V_0 in (one, other):
        V_0 = V_0 / (0.03 / 0.2)
        assert np.mean(V_0) == pytest.approx(0, abs=0.02)
        assert np.std(V_0) == pytest.approx(1, abs=0.02)
    assert abs(np.corrcoef(one.ravel(), other.ravel())[0, 1]) < 0.02


def test_initial_velocity_is_what_optax_draws():
    params = parameters()
    noise = optax.tree.random_like(jax.random.key(3), params)
    expected = jax.tree.map(lambda n: 0.03 / 0.2 * n, noise)
    assert_close(velocity_of(make(0.2, 0.03, key=3).init(params)), expected, rtol=0)
    jitted = jax.jit(make(0.2, 0.03, key=3).init)(params)
    assert_close(velocity_of(jitted), expected)


@pytest.mark.parametrize("key", [7, jax.random.key(7), jax.random.PRNGKey(7)])
def test_initial_velocity_follows_from_the_key_of_any_kind(key):
    params = parameters()
    expected = velocity_of(make(key=jax.random.key(7)).init(params))
    assert_close(velocity_of(make(key=key).init(params)), expected, rtol=0)
    other = velocity_of(make(key=8).init(params))
    assert not np.intersect1d(other["kernel"], expected["kernel"]).size


def test_initial_learning_rate_sets_the_width():
    params = parameters()
    wide, narrow = (
        velocity_of(make(0.1, initial_learning_rate=l_0).init(params))
        for l_0 in (None, 0.5)
    )
    assert_close(wide, jax.tree.map(lambda V: 5 * V, narrow))
    still = make(0.0, initial_learning_rate=0.0).init(params)
    assert not any(map(np.any, jax.tree.leaves(velocity_of(still))))


def test_another_initial_velocity_can_be_put_in_its_place():
    optimizer, W = make(0.25), jnp.zeros(2)
    V_0 = jnp.array([1.0, -2.0])
    state = optax.tree.set(optimizer.init(W), velocity=V_0)
    updates, _ = optimizer.update(jnp.zeros(2), state)
    np.testing.assert_allclose(updates, -0.25 * V_0 / 2)


# Schedules.


def test_a_schedule_gives_the_rate_of_each_step_and_the_first_gives_the_width():
    schedule = optax.piecewise_constant_schedule(0.5, {2: 0.2, 4: 0.2})
    W = jnp.array([1.0, -1.0, 0.3])
    G = [g["biases"][0] for g in gradients(parameters())]
    optimizer = make(schedule, key=6)
    V_0 = velocity_of(optimizer.init(W))
    assert_close(V_0, velocity_of(make(0.5, key=6).init(W)))
    rates = [0.5, 0.5, 0.1, 0.1, 0.02, 0.02]
    weights, _ = kinematics.trajectory(
        np.array(W, "float64"), np.array(V_0, "float64"), np.array(G, "float64"), rates
    )
    np.testing.assert_allclose(run(optimizer, W, G)[0], weights[-1], rtol=1e-6)


def test_a_warm_up_from_zero_starts_without_noise_and_says_so():
    with pytest.warns(UserWarning, match="`alpha` has no effect") as caught:
        optimizer = make(optax.linear_schedule(0.0, 0.4, 4))
    assert __file__ in [warning.filename for warning in caught]
    assert not np.any(velocity_of(optimizer.init(jnp.ones(3))))


@pytest.mark.parametrize(
    "arguments", [{"alpha": 0.0}, {"initial_learning_rate": 0.4}], ids=" ".join
)
def test_a_warm_up_that_is_meant_warns_of_nothing(arguments, recwarn):
    make(optax.linear_schedule(0.0, 0.4, 4), **arguments)
    assert not recwarn.list


# What optax offers around an optimizer.


@pytest.mark.parametrize("key", [3, jax.random.key(3)])
def test_inject_hyperparams(key):
    params, injected = parameters(), optax.inject_hyperparams(gravity_optimizer)
    plain = run(make(0.2, 0.03, key=key), params, gradients(params))
    for jitted in (True, False):
        optimizer = injected(learning_rate=0.2, alpha=0.03, key=key)
        after, state = run(optimizer, params, gradients(params), jitted)
        assert_close(after, plain[0])
        assert_close(velocity_of(state), velocity_of(plain[1]))
    # A rate may come down to 0 while training.
    state.hyperparams["learning_rate"] = jnp.array(0.0)
    updates, _ = optimizer.update(gradients(params)[0], state, params)
    assert not any(map(np.any, jax.tree.leaves(updates)))


def test_inject_hyperparams_with_a_schedule():
    params = parameters()
    schedule = optax.linear_schedule(0.5, 0.1, 4)
    optimizer = optax.inject_hyperparams(gravity_optimizer)(schedule, key=0)
    after, _ = run(optimizer, params, gradients(params))
    assert_close(after, run(make(schedule), params, gradients(params))[0])


def test_multi_steps_takes_the_mean_and_counts_updates():
    params = parameters()
    G = gradients(params)
    mean = jax.tree.map(lambda a, b: (a + b) / 2, G[0], G[1])
    after, state = run(optax.MultiSteps(make(), 2), params, G[:2])
    expected, _ = run(make(), params, [mean])
    assert_close(after, expected, rtol=1e-5)
    assert int(optax.tree.get(state.inner_opt_state, "count")) == 1


def test_masked_and_multi_transform():
    params = parameters()
    mask = {"kernel": True, "biases": [False, False]}
    after, _ = run(optax.masked(make(alpha=0.0), mask), params, gradients(params)[:1])
    G = gradients(params)[0]
    # `masked` passes the gradients of the others through.
    assert_close(after["biases"][1], params["biases"][1] + G["biases"][1])
    alone, _ = run(make(alpha=0.0), params["kernel"], [G["kernel"]])
    assert_close(after["kernel"], alone)
    labels = {"kernel": "gravity", "biases": ["still", "still"]}
    parts = {"gravity": make(alpha=0.0), "still": optax.set_to_zero()}
    after, _ = run(optax.partition(parts, labels), params, [G])
    assert_close(after["kernel"], alone)
    assert_close(after["biases"], params["biases"])


def test_weight_decay_can_be_masked():
    params = {"W": jnp.array(2.0), "bias": jnp.array(2.0)}
    optimizer = make(0.5, alpha=0.0, weight_decay=0.1, mask={"W": True, "bias": False})
    after, _ = run(optimizer, params, [jax.tree.map(jnp.zeros_like, params)])
    assert after["W"] == pytest.approx(2 * (1 - 0.05))
    assert after["bias"] == 2.0


def test_state_can_be_mapped_over():
    params = parameters()
    optimizer = make()
    state = optimizer.init(params)
    doubled = optax.tree.map_params(optimizer, lambda V: 2 * V, state)
    assert_close(
        velocity_of(doubled), jax.tree.map(lambda V: 2 * V, velocity_of(state))
    )
    assert doubled[0].count == 0


def test_a_jitted_step_is_compiled_once():
    params = parameters()
    optimizer = make(optax.linear_schedule(0.5, 0.1, 4), weight_decay=0.1)

    @jax.jit
    def step(params, state, G):
        updates, state = optimizer.update(G, state, params)
        return optax.apply_updates(params, updates), state

    state = jax.jit(optimizer.init)(params)
    for G in gradients(params):
        params, state = step(params, state, G)
    assert step._cache_size() == 1


def test_parameters_without_a_gradient_stay_as_they_are():
    params = {"W": jnp.ones(2), "still": jnp.ones(2)}
    optimizer = make()
    state = optimizer.init(params)
    updates, new = optimizer.update({"W": jnp.ones(2), "still": None}, state)
    assert updates["still"] is None
    assert_close(velocity_of(new)["still"], velocity_of(state)["still"])
    assert np.all(velocity_of(new)["W"] != velocity_of(state)["W"])


@pytest.mark.parametrize("jitted", [True, False])
@pytest.mark.parametrize("kind", [float, int, np.float32, np.float64, np.array])
def test_parameters_and_gradients_may_be_numbers(kind, jitted, recwarn):
    given = {"W": kind(2), "list": [kind(3), kind(-1)]}
    G = {"W": kind(1), "list": [kind(-2), kind(5)]}
    arrays, slopes = (
        jax.tree.map(lambda x: jnp.asarray(x, "float32"), tree) for tree in (given, G)
    )
    optimizer = make(0.3)
    expected, state = optimizer.update(slopes, optimizer.init(arrays))
    update = jax.jit(optimizer.update) if jitted else optimizer.update
    updates, found = update(G, optimizer.init(given), given)
    assert_close(updates, expected)
    assert_close(velocity_of(found), velocity_of(state))
    assert all(u.dtype == "float32" for u in jax.tree.leaves(updates))
    assert not recwarn.list


def test_a_number_is_trained_in_a_scan():
    optimizer = make(alpha=0.0)

    def step(held, _):
        W, state = held
        updates, state = optimizer.update(W, state, W)
        return (optax.apply_updates(W, updates), state), None

    start = 1.0, optimizer.init(1.0)
    (W, _), _ = jax.lax.scan(step, start, None, length=3)
    expected, V = 1.0, 0.0
    for t in range(3):
        expected, V = kinematics.update(expected, V, expected, t, 0.1)
    assert float(W) == pytest.approx(float(expected), rel=1e-6)


def test_shapes_can_be_found_without_values():
    params = jax.eval_shape(parameters)
    state = jax.eval_shape(make().init, params)
    assert jax.tree.map(jnp.shape, velocity_of(state)) == jax.tree.map(
        jnp.shape, params
    )


def test_buffers_can_be_given_away():
    params = parameters()
    optimizer = make(alpha=0.0)
    expected, _ = run(optimizer, params, gradients(params)[:2])

    def step(params, state, G):
        updates, state = optimizer.update(G, state, params)
        return optax.apply_updates(params, updates), state

    step = jax.jit(step, donate_argnums=(0, 1))
    params, state = jax.tree.map(jnp.copy, params), optimizer.init(params)
    for G in gradients(parameters())[:2]:
        params, state = step(params, state, G)
    assert_close(params, expected)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32"])
@pytest.mark.parametrize("velocity_dtype", [None, "bfloat16", "float32"])
def test_dtypes(dtype, velocity_dtype):
    W = jnp.ones(3, dtype)
    G = jnp.array([100.0, 5.0, 0.01], dtype)
    optimizer = make(1.0, alpha=0.0, velocity_dtype=velocity_dtype)
    state = optimizer.init(W)
    updates, state = jax.jit(optimizer.update)(G, state)
    assert velocity_of(state).dtype == (velocity_dtype or dtype)
    assert updates.dtype == dtype
    # The squares that ζ needs overflow float16.
    zeta = [100 / (1 + 1e8), 5 / (1 + 25e4), 0.01 / 2]
    V = np.array(velocity_of(state), "float32")
    np.testing.assert_allclose(V, np.array(zeta) / 2, rtol=0.01, atol=1e-7)


def test_a_flax_model_trains():
    from flax import linen as nn
    from flax.training.train_state import TrainState

    x = np.random.default_rng(0).normal(size=(32, 3)).astype("float32")
    y = x.sum(axis=1, keepdims=True)
    model = nn.Sequential([nn.Dense(4), nn.tanh, nn.Dense(1)])
    state = TrainState.create(
        apply_fn=model.apply,
        params=model.init(jax.random.key(0), x),
        tx=make(0.3),
    )

    def loss(params):
        return jnp.mean((state.apply_fn(params, x) - y) ** 2)

    @jax.jit
    def step(state):
        value, G = jax.value_and_grad(loss)(state.params)
        return state.apply_gradients(grads=G), value

    losses = []
    for _ in range(150):
        state, value = step(state)
        losses.append(float(value))
    assert losses[-1] < 0.05 * losses[0]


# Arguments.

NUMBERS = [-1.0, math.nan, math.inf, "0.1", [0.1], True, 1j]


@pytest.mark.parametrize(
    ("name", "accepted", "values"),
    [
        ("alpha", "a finite number, 0 or more", [*NUMBERS, None]),
        ("beta", "a number from 0 to 1", [*NUMBERS, None, 1.001]),
        ("first_step", "0 or 1", [*NUMBERS, None, 2, 0.0]),
        ("weight_decay", "a finite number, 0 or more", [*NUMBERS, None]),
        ("key", "a jax.random key or an integer, 0 or more", [*NUMBERS, None, 0.5]),
        ("initial_learning_rate", "a finite number, 0 or more, or None", NUMBERS),
    ],
)
def test_bad_arguments_are_named(name, accepted, values):
    for value in values:
        with pytest.raises(ValueError, match="Received") as caught:
            make(**{name: value})
        received = f"Received: {name}={value!r}"
        assert str(caught.value) == f"Argument `{name}` must be {accepted}. {received}"


@pytest.mark.parametrize("rate", [*NUMBERS, None, 0.0])
def test_bad_learning_rates_are_named(rate):
    with pytest.raises(ValueError, match="Argument `learning_rate` must be a positive"):
        make(rate)


def test_what_a_bad_schedule_starts_at_is_named():
    with pytest.raises(ValueError, match=r"starts at -0\.5"):
        make(optax.constant_schedule(-0.5))


def test_complex_parameters_are_refused():
    with pytest.raises(ValueError, match="`params` must hold real arrays"):
        make().init(jnp.zeros(2, "complex64"))


def test_the_docstrings_example_runs():
    failed, attempted = doctest.testmod(gravity.optax)
    assert attempted > 0
    assert failed == 0


# Convergence, on functions scaled so that their slopes at the start are about 1, as far
# as Gravity follows a slope before it bends it back.


def parabola(W):
    return 0.1 * jnp.sum((W - jnp.array([1.0, -1.0, 1.0])) ** 2)


def rosenbrock(W):
    return ((1 - W[0]) ** 2 + 100 * (W[1] - W[0] ** 2) ** 2) / 50


@pytest.mark.parametrize(
    ("height", "start", "minimum", "rate", "steps", "distance"),
    [
        (parabola, [-1.0, 10.0, 1.0], [1.0, -1.0, 1.0], 0.5, 500, 1e-5),
        (rosenbrock, [-1.2, 1.0], [1.0, 1.0], 0.5, 2000, 1e-3),
    ],
)
def test_convergence(height, start, minimum, rate, steps, distance):
    optimizer, W = make(rate), jnp.array(start)

    def step(_, held):
        W, state = held
        updates, state = optimizer.update(jax.grad(height)(W), state, W)
        return optax.apply_updates(W, updates), state

    W, _ = jax.lax.fori_loop(0, steps, step, (W, optimizer.init(W)))
    np.testing.assert_allclose(W, minimum, atol=distance)
