"""`gravity.kinematics`: against SymPy, the paper's tables and figures worked by hand.

The expected values come from the physics (SymPy derives or solves them), from the
paper's print, or from exact fractions, never from the module itself.
"""

import math
from fractions import Fraction

import numpy as np
import pytest
import sympy as sp

from gravity import kinematics

# Irregular, so that no two factors or terms can be exchanged unnoticed.
GRADIENTS = np.array([-37.0, -2.3, -1.0, -0.41, 0.0, 1e-6, 0.17, 0.9, 1.7, 5.3, 260.0])
MAX_STEPS = [0.23, 0.9, 1.0, 1.9, 7.1]
MOTIONS = [(0.7, 0.3), (1.9, 1.3), (11.0, 2.1)]
RATES = [0.013, 0.1, 0.61, 2.3]

# Table 2 as printed: some digits are rounded and some cut off.
TABLE_2 = """
0 0.5 2 | 1 0.6667 3 | 2 0.75 4 | 3 0.8 5 | 4 0.8333 6 | 5 0.8571 7 | 6 0.875 8
| 7 0.8889 9 | 8 0.9 10 | 9 0.9090 11 | 10 0.9166 12 | 11 0.9230 13 | 12 0.9285 14
| 13 0.9333 15 | 14 0.9375 16 | 15 0.9411 17
"""
TABLE_2_ROWS = [
    (int(t), beta_hat, int(count))
    for t, beta_hat, count in (row.split() for row in TABLE_2.split("|"))
]

a, t, g, m, x, v0, x0 = sp.symbols("a_L t g m x v_0 x_0", real=True)
theta = sp.Symbol("theta", real=True)


def close(actual: object, expected: object, tolerance: float = 1e-13) -> None:
    np.testing.assert_allclose(actual, expected, rtol=tolerance, atol=1e-300)


def derived_step() -> sp.Expr:
    """The change of the weight, from Newton's law along the plane to Eq. 16."""
    time = sp.Symbol("tau")
    along = sp.integrate(-a * sp.sin(theta) * time, (time, 0, t))
    return sp.simplify((along * sp.cos(theta)).subs(theta, sp.atan(g / m)))


# The motion: Eq. 1 to 16.


def test_slope_angle_is_the_angle_whose_tangent_is_the_gradient():
    close(np.tan(kinematics.slope_angle(GRADIENTS)), GRADIENTS, 1e-11)
    close(kinematics.slope_angle(1.0), math.pi / 4)
    close(kinematics.slope_angle(-math.sqrt(3)), -math.pi / 3)


@pytest.mark.parametrize("m_value", MAX_STEPS)
def test_slope_angle_is_45_degrees_at_the_max_step_gradient(m_value):
    close(kinematics.slope_angle(m_value, m_value), math.pi / 4)
    close(
        np.tan(kinematics.slope_angle(GRADIENTS, m_value)), GRADIENTS / m_value, 1e-11
    )


def test_projections_by_hand():
    # The 3-4-5 triangle, and one at 30°.
    close(kinematics.weight_shift(5.0, math.atan2(3, 4)), 4.0)
    close(kinematics.loss_shift(5.0, math.atan2(3, 4)), 3.0)
    close(kinematics.weight_shift(-0.7, math.pi / 6), -0.35 * math.sqrt(3))
    close(kinematics.loss_shift(-0.7, math.pi / 6), -0.35)


def test_acceleration_along_plane_by_hand():
    close(kinematics.acceleration_along_plane(9.81, math.pi / 6), -4.905)
    close(kinematics.acceleration_along_plane(1.3, -math.pi / 2), 1.3)


@pytest.mark.parametrize(("acceleration", "time"), MOTIONS)
def test_position_solves_the_equation_of_motion(acceleration, time):
    path = sp.Function("path")
    start, speed = 0.37, -1.21
    solution = sp.dsolve(
        path(t).diff(t, 2) - x,
        path(t),
        ics={path(0): x0, path(t).diff(t).subs(t, 0): v0},
    ).rhs
    expected = solution.subs({x: acceleration, t: time, v0: speed, x0: start})
    close(kinematics.position(acceleration, time, speed, start), float(expected))
    rest = solution.subs({x: acceleration, t: time, v0: 0, x0: 0})
    close(kinematics.position(acceleration, time), float(rest))


@pytest.mark.parametrize(("acceleration", "time"), MOTIONS)
@pytest.mark.parametrize("angle", [-1.2, -0.3, 0.0, 0.4, 1.0])
def test_inclined_plane_step_is_the_projected_roll(acceleration, time, angle):
    # cos θ sin θ is half of sin 2θ.
    expected = -acceleration * time**2 * math.sin(2 * angle) / 4
    close(kinematics.inclined_plane_step(acceleration, time, angle), expected)


@pytest.mark.parametrize("value", [-260.0, -1.0, -0.2, 0.0, 0.7, 1.9, 33.0])
def test_sine_and_cosine_of_arctangent(value):
    close(kinematics.sine_of_arctangent(value), math.sin(math.atan(value)))
    close(kinematics.cosine_of_arctangent(value), math.cos(math.atan(value)))


@pytest.mark.parametrize(("acceleration", "time"), MOTIONS)
@pytest.mark.parametrize("m_value", MAX_STEPS)
def test_rational_plane_step_is_what_the_mechanics_derive(acceleration, time, m_value):
    mechanics = sp.lambdify((a, t, g, m), derived_step(), "numpy")
    actual = kinematics.rational_plane_step(acceleration, time, GRADIENTS, m_value)
    close(actual, mechanics(acceleration, time, GRADIENTS, m_value))
    if m_value == 1.0:
        close(
            kinematics.rational_plane_step(acceleration, time, GRADIENTS),
            mechanics(acceleration, time, GRADIENTS, 1.0),
        )


def test_steps_of_the_derivation_agree():
    # On the 3-4-5 triangle the ball is pulled by -10 · 3/5, rolls -6 · 2²/2 and moves
    # the weight by -12 · 4/5.
    theta_345 = math.atan2(3, 4)
    pull = kinematics.acceleration_along_plane(10.0, theta_345)
    rolled = kinematics.position(pull, 2.0)
    close([pull, rolled], [-6.0, -12.0])
    close(kinematics.weight_shift(rolled, theta_345), -9.6)
    close(kinematics.inclined_plane_step(10.0, 2.0, theta_345), -9.6)
    close(kinematics.rational_plane_step(10.0, 2.0, 0.75), -9.6)


# The hyper-parameters: Eq. 12 to 20.


@pytest.mark.parametrize(("acceleration", "time"), MOTIONS)
@pytest.mark.parametrize("m_value", MAX_STEPS)
def test_equivalent_learning_rate_turns_the_mechanics_into_eq_18(
    acceleration, time, m_value
):
    # For small gradients the step is -l g, so l is minus its slope at g = 0.
    slope = sp.limit(sp.diff(derived_step(), g), g, 0)
    expected = float(-slope.subs({a: acceleration, t: time, m: m_value}))
    close(kinematics.equivalent_learning_rate(acceleration, time, m_value), expected)
    if m_value == 1.0:
        close(kinematics.equivalent_learning_rate(acceleration, time), expected)
    mechanics = sp.lambdify((a, t, g, m), derived_step(), "numpy")
    close(
        kinematics.gravity_step(GRADIENTS, expected, m_value),
        mechanics(acceleration, time, GRADIENTS, m_value),
    )


@pytest.mark.parametrize("rate", RATES)
def test_gravity_step_by_fractions(rate):
    for gradient, m_value in [(3, 1), (-2, 1), (5, 4), (1, 3)]:
        bent = Fraction(gradient) / (1 + Fraction(gradient, m_value) ** 2)
        close(kinematics.gravity_step(gradient, rate, m_value), -rate * float(bent))
        if m_value == 1:
            close(kinematics.gravity_step(gradient, rate), -rate * float(bent))


@pytest.mark.parametrize("rate", RATES)
def test_gradient_descent_step(rate):
    close(kinematics.gradient_descent_step(GRADIENTS, rate), GRADIENTS * -rate)
    # Fig. 3: for small gradients Gravity is gradient descent.
    close(
        kinematics.gravity_step(1e-5, rate),
        kinematics.gradient_descent_step(1e-5, rate),
        1e-9,
    )


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("m_value", MAX_STEPS)
def test_largest_step_is_the_extremum_and_lies_at_m(rate, m_value):
    steps = np.abs(kinematics.gravity_step(np.linspace(0, 40, 400_001), rate, m_value))
    close(kinematics.largest_step(rate, m_value), steps.max(), 1e-7)
    close(abs(kinematics.gravity_step(m_value, rate, m_value)), steps.max(), 1e-7)
    close(kinematics.largest_step(rate), rate * 0.5)


def test_gradient_descent_diverges_where_gravity_stays_bounded():
    # Fig. 6 in numbers: on the parabola 3/2 W² a learning rate of 1 throws gradient
    # descent to -2 times where it was, each time. No step of Gravity is above 1/2.
    descent = bent = 1.0
    for step in range(1, 30):
        descent += kinematics.gradient_descent_step(3 * descent, 1.0)
        close(descent, (-2.0) ** step)
        moved = kinematics.gravity_step(3 * bent, 1.0)
        assert abs(moved) <= 0.5
        bent += moved
        assert abs(bent) <= 1


def test_max_step_gradient_is_the_tangent_of_the_complementary_angle():
    G = np.array([[0.3, -1.7], [1.2, 0.0]])
    close(kinematics.max_step_gradient(G), math.tan(math.pi / 2 - math.atan(1.7)))
    close(kinematics.max_step_gradient(-3 * G), 1 / 5.1)
    close(kinematics.max_step_gradient(np.float64(-0.25)), 4.0)


def test_max_step_gradient_of_nothing_is_infinite():
    with np.errstate(all="raise"):
        assert kinematics.max_step_gradient(np.zeros((2, 3))) == math.inf
        np.testing.assert_array_equal(
            kinematics.gradient_term(np.zeros(3), math.inf), np.zeros(3)
        )


# The moving average: Eq. 21 to 26.


@pytest.mark.parametrize("m_value", MAX_STEPS)
def test_gradient_term_is_the_step_without_the_learning_rate(m_value):
    expected = sp.lambdify(g, g * m_value**2 / (m_value**2 + g**2), "numpy")
    close(kinematics.gradient_term(GRADIENTS, m_value), expected(GRADIENTS))


def test_gradient_term_with_the_papers_m():
    # max|G| is 2: 0.5 / (1 + 1), -2 / (1 + 16), 1 / (1 + 4).
    G = np.array([0.5, -2.0, 1.0])
    bent = kinematics.gradient_term(G, kinematics.max_step_gradient(G))
    close(bent, [1 / 4, -2 / 17, 1 / 5])


@pytest.mark.parametrize("beta", [0.0, 0.3, 0.9, 1.0])
def test_moving_average_is_the_weighted_mean(beta):
    V, zeta = np.array([0.7, -1.9]), np.array([-0.2, 5.3])
    expected = np.average([V, zeta], axis=0, weights=[beta, 1 - beta])
    close(kinematics.moving_average(V, zeta, beta), expected, 1e-12)


@pytest.mark.parametrize("beta", [0.0, 0.5, 0.9, 0.99])
def test_a_larger_beta_delays_the_velocity(beta):
    # Fig. 7's cause: from V = 0 and with ζ = 1, the velocity is 1 - βⁿ after n updates.
    V = 0.0
    for count in range(1, 20):
        V = kinematics.moving_average(V, 1.0, beta)
        close(V, 1 - beta**count, 1e-12)


@pytest.mark.parametrize("rate", RATES)
def test_velocity_step(rate):
    close(
        kinematics.velocity_step(np.array([2.5, -0.3]), rate), [-2.5 * rate, 0.3 * rate]
    )


@pytest.mark.parametrize(
    ("beta", "count"), [(0.0, 1), (0.5, 2), (0.75, 4), (0.9, 10), (0.98, 50)]
)
def test_averaged_count(beta, count):
    close(kinematics.averaged_count(beta), count, 1e-12)


def test_bias_corrected_average_by_fractions():
    # β = 3/4, t = 2: (3/4 · 2 + 1/4 · 6) / (1 - 9/16) = 3 / (7/16).
    close(kinematics.bias_corrected_average(2.0, 6.0, 0.75, 2), 48 / 7)
    # In the first update from V = 0 the correction leaves ζ itself.
    close(kinematics.bias_corrected_average(0.0, -1.3, 0.9, 1), -1.3)


def test_bias_corrected_average_as_printed_multiplies_up():
    # Section 2.4 reports an overflow for large β; in float32 it is there by update 50.
    V = np.float32(0)
    with np.errstate(over="ignore"):
        for step in range(1, 51):
            V = kinematics.bias_corrected_average(V, np.float32(1), 0.999, step)
    assert np.isinf(V)


@pytest.mark.parametrize(("step", "printed", "count"), TABLE_2_ROWS)
def test_effective_beta_is_table_2(step, printed, count):
    beta_hat = kinematics.effective_beta(step, beta=1)
    decimals = len(printed.split(".")[1])
    cut = math.floor(beta_hat * 10**decimals + 1e-9) / 10**decimals
    assert float(printed) in (round(beta_hat, decimals), cut)
    close(kinematics.averaged_count(beta_hat), count, 1e-12)


def test_effective_beta_by_fractions():
    for step, beta in [(0, 0.3), (1, 0.9), (7, 0.9), (12, 0.0), (100, 0.99)]:
        expected = (Fraction(beta) * step + 1) / (step + 2)
        close(kinematics.effective_beta(step, beta), float(expected))
    close(kinematics.effective_beta(3), 3.7 / 5)
    close(kinematics.effective_beta(np.array([0, 8])), [0.5, 0.82])


@pytest.mark.parametrize("beta", [0.0, 0.5, 0.9, 1.0])
def test_effective_beta_goes_from_one_half_to_beta(beta):
    assert kinematics.effective_beta(0, beta) == 0.5
    assert kinematics.effective_beta(10**9, beta) == pytest.approx(beta, abs=2e-9)


# The initial velocity: Eq. 27 to 30.


def test_velocity_std_and_its_inverse():
    close(kinematics.velocity_std(0.01, 0.1), 0.1)
    close(kinematics.velocity_std(0.03, 0.4), 0.075)
    close(kinematics.initial_scale(0.075, 0.4), 0.03)


def test_first_step_parts_are_the_first_update():
    V_0, zeta_0 = np.array([0.3, -1.1]), np.array([-0.7, 0.2])
    noise, gradient = kinematics.first_step_parts(V_0, zeta_0, 0.3)
    close(noise, [-0.045, 0.165])
    close(gradient, [0.105, -0.03])


def test_first_displacements_follow_the_68_95_997_rule():
    # Fig. 9 and the inequality before Eq. 30: 68 % stay below lσ/2 = α/2.
    rate, alpha = 0.37, 0.02
    sigma = kinematics.velocity_std(alpha, rate)
    V_0 = np.random.default_rng(5).normal(0, sigma, 200_000)
    noise, _ = kinematics.first_step_parts(V_0, np.zeros_like(V_0), rate)
    for widths, share in [(1, 0.6827), (2, 0.9545), (3, 0.9973)]:
        within = np.mean(np.abs(noise) < widths * alpha / 2)
        assert within == pytest.approx(share, abs=0.004)


def test_noise_displacement_has_known_sums():
    # β = ½ makes every β̂ one half, and the sum geometric.
    close(kinematics.noise_displacement_std(0.3, 4, 0.5), 0.3 * 15 / 16)
    close(kinematics.noise_displacement_std(0.3, 4, 0.5, 1), 0.3 * 15 / 16)
    # β = 0 makes the products 1/(n + 2)!, and 2/(n + 3)! from t = 1.
    close(kinematics.noise_displacement_std(1.0, 40, 0.0), math.e - 2)
    close(kinematics.noise_displacement_std(1.0, 40, 0.0, 1), 2 * (math.e - 2.5), 1e-12)
    # β = 1: 1/2 + 1/3 + 1/4, and 2/3 + 2/4 + 2/5 from t = 1.
    close(kinematics.noise_displacement_std(2.0, 3, 1.0), 2 * 13 / 12)
    close(kinematics.noise_displacement_std(2.0, 3, 1.0, 1), 2 * 47 / 30)
    close(kinematics.noise_displacement_std(0.7, 1), 0.35)


def test_noise_displacement_with_the_papers_beta():
    far = kinematics.noise_displacement_std(0.01, 2000)
    assert far == pytest.approx(1.92 * 0.01, abs=5e-5)
    far = kinematics.noise_displacement_std(0.01, 2000, first_step=1)
    assert far == pytest.approx(2.83 * 0.01, abs=5e-5)


def test_noise_displacement_is_what_the_updates_do():
    rate, alpha, steps = 0.23, 0.04, 60
    sigma = kinematics.velocity_std(alpha, rate)
    V = np.random.default_rng(0).normal(0, sigma, 50_000)
    for first_step in (0, 1):
        W, _ = kinematics.trajectory(
            np.zeros_like(V), V, [np.zeros_like(V)] * steps, rate, 0.9, first_step
        )
        expected = kinematics.noise_displacement_std(alpha, steps, 0.9, first_step)
        assert np.std(W[-1]) == pytest.approx(expected, rel=0.01)


# Algorithm 1.


def exact_updates(W, V, gradients, rates, beta, first_step):
    """Algorithm 1 in exact fractions, weight by weight."""
    W, V = [Fraction(w) for w in W], [Fraction(v) for v in V]
    path = []
    for step, (G, rate) in enumerate(zip(gradients, rates, strict=True)):
        G = [Fraction(value) for value in G]
        beta_hat = (Fraction(beta) * (step + first_step) + 1) / (step + first_step + 2)
        steepest = max(abs(value) for value in G)
        for i, value in enumerate(G):
            zeta = value / (1 + (value * steepest) ** 2)
            V[i] = beta_hat * V[i] + (1 - beta_hat) * zeta
            W[i] = W[i] - Fraction(rate) * V[i]
        path.append(([float(w) for w in W], [float(v) for v in V]))
    return path


@pytest.mark.parametrize("first_step", [0, 1])
@pytest.mark.parametrize("beta", [0.9, 0.4, 1.0])
def test_trajectory_is_algorithm_1_in_fractions(first_step, beta):
    stream = np.random.default_rng(3)
    scales = np.array([[0.1], [3.0], [1.0], [0.0], [40.0], [0.5]])
    gradients = stream.normal(size=(6, 4)) * scales
    W, V = stream.normal(size=4), stream.normal(size=4)
    rates = [0.1, 0.03, 0.7, 0.2, 0.2, 0.4]
    expected = exact_updates(W, V, gradients, rates, beta, first_step)
    weights, velocities = kinematics.trajectory(
        W, V, gradients, rates, beta, first_step
    )
    assert weights.shape == velocities.shape == (6, 4)
    close(weights, [w for w, _ in expected], 1e-11)
    close(velocities, [v for _, v in expected], 1e-11)


def test_trajectory_and_update_default_to_the_papers_settings():
    W, V, G = np.array([1.0, -2.0]), np.array([0.3, 0.1]), np.array([0.8, -0.5])
    expected = exact_updates(W, V, [G, G, G], [0.1] * 3, 0.9, 0)
    weights, velocities = kinematics.trajectory(W, V, [G, G, G])
    close(weights, [w for w, _ in expected])
    close(velocities, [v for _, v in expected])
    third, velocity = kinematics.update(weights[1], velocities[1], G, 2)
    close(third, expected[2][0])
    close(velocity, expected[2][1])


def test_update_leaves_its_arguments_as_they_were():
    W, V, G = np.ones(3), np.full(3, 0.5), np.array([1.0, 2.0, 3.0])
    kinematics.update(W, V, G, 4, 0.2, 0.8)
    np.testing.assert_array_equal(W, np.ones(3))
    np.testing.assert_array_equal(V, np.full(3, 0.5))
    np.testing.assert_array_equal(G, [1.0, 2.0, 3.0])


@pytest.mark.parametrize("shape", [(), (1,), (2, 3), (2, 1, 3, 2)])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_updates_keep_shape_and_precision(shape, dtype):
    stream = np.random.default_rng(1)
    W, V, G = (np.asarray(stream.normal(size=shape), dtype) for _ in range(3))
    W_1, V_1 = kinematics.update(W, V, G, 0)
    assert np.shape(W_1) == np.shape(V_1) == shape
    assert W_1.dtype == V_1.dtype == dtype
    weights, velocities = kinematics.trajectory(W, V, [G, G], [0.1, 0.2])
    assert weights.shape == velocities.shape == (2, *shape)
    assert weights.dtype == velocities.dtype == dtype


def test_a_zero_gradient_leaves_only_the_shrinking_velocity():
    V = np.array([0.4, -0.2])
    W, V_1 = kinematics.update(np.zeros(2), V, np.zeros(2), 0, 0.5, 0.9)
    close(V_1, V / 2)
    close(W, -V / 4)


@pytest.mark.parametrize("rates", [[0.1], [0.1, 0.2, 0.3], []])
def test_trajectory_wants_a_learning_rate_for_each_gradient(rates):
    with pytest.raises(
        ValueError,
        match=r"^Argument `learning_rate` must be one .* each of the 2 gradients\. ",
    ):
        kinematics.trajectory(np.zeros(2), np.zeros(2), np.ones((2, 2)), rates)
