"""Computations that decide the paper's claims about the algorithm."""

import math
from collections.abc import Iterable

import numpy as np

from gravity import kinematics
from gravity.evidence.verdicts import Answer, Verdict, decided


def small_gradients_are_descent() -> Verdict:
    """Compare the steps of Eq. 13 and Eq. 14 at a small gradient."""
    g, rate = 1e-3, 0.1
    step = kinematics.gravity_step(g, rate)
    ratio = float(step / kinematics.gradient_descent_step(g, rate))
    return Verdict(
        decided(abs(ratio - 1) < 1e-5),
        f"at g = {g:g} the step is {ratio:.6f} of gradient descent's",
    )


def longest_step_is_at_one() -> Verdict:
    """Look for the gradient with the longest step of Eq. 13, for three rates."""
    g = np.linspace(0, 5, 50001)
    places = {
        rate: float(g[np.argmax(np.abs(kinematics.gravity_step(g, rate)))])
        for rate in (0.1, 0.25, 1.0)
    }
    found = ", ".join(f"{place:.3f} for l = {rate:g}" for rate, place in places.items())
    return Verdict(
        decided(all(abs(place - 1) < 1e-3 for place in places.values())),
        f"the longest step is at g = {found}",
    )


def _span(numbers: Iterable[float], form: str) -> str:
    ends = dict.fromkeys(format(end(numbers), form) for end in (min, max))
    return " to ".join(ends)


def steps_are_bounded() -> Verdict:
    """Compare the longest step of Eq. 18 over twelve decades with Eq. 19."""
    g, rate = np.logspace(-6, 6, 12001), 0.1
    shares = [
        float(
            np.max(np.abs(kinematics.gravity_step(g, rate, m)))
            / kinematics.largest_step(rate, m)
        )
        for m in (0.5, 1.25, 2.0)
    ]
    return Verdict(
        decided(all(0.9999 < share <= 1 + 1e-12 for share in shares)),
        f"the longest of {len(g):,} steps is {_span(shares, '.5f')} of l m / 2",
    )


def longest_step_is_at_m() -> Verdict:
    """Look for the gradient with the longest step of Eq. 18, for three m."""
    g = np.linspace(0, 10, 100001)
    ratios = [
        float(g[np.argmax(np.abs(kinematics.gravity_step(g, 0.1, m)))] / m)
        for m in (0.5, 1.25, 2.0)
    ]
    return Verdict(
        decided(all(abs(ratio - 1) < 1e-3 for ratio in ratios)),
        f"the longest step is at {_span(ratios, '.4f')} m",
    )


def larger_m_widens() -> Verdict:
    """Compare the linear region and the longest step of two m."""
    g, rate = np.linspace(1e-4, 5, 50000), 0.1
    descent = kinematics.gradient_descent_step(g, rate)
    widths, steps = [], []
    for m in (1.25, 2.0):
        kept = kinematics.gravity_step(g, rate, m) / descent
        widths.append(float(g[kept >= 0.9][-1]))
        steps.append(float(kinematics.largest_step(rate, m)))
    return Verdict(
        decided(widths[0] < widths[1] and steps[0] < steps[1]),
        f"from m = 1.25 to m = 2 the gradient up to which steps keep 90 % of gradient "
        f"descent's goes from {widths[0]:.3f} to {widths[1]:.3f}, the longest step for "
        f"l = {rate:g} from {steps[0]:g} to {steps[1]:g}",
    )


def descent_diverges_where_gravity_does_not() -> Verdict:
    """Roll down a parabola whose curvature is too large for the learning rate."""
    rate, curvature, updates = 0.1, 30.0, 200
    descent, gravity, farthest = 1.0, 1.0, 0.0
    for _ in range(updates):
        descent += float(kinematics.gradient_descent_step(curvature * descent, rate))
        gravity += float(kinematics.gravity_step(curvature * gravity, rate))
        farthest = max(farthest, abs(gravity))
    return Verdict(
        decided(abs(descent) > 1e6 and farthest <= 1),
        f"on a parabola with l times curvature = {rate * curvature:g}, from W = 1: "
        f"after {updates} steps gradient descent is at {descent:.1e}, and Gravity "
        f"never farther out than {farthest:.3f}",
    )


def own_m_limits_steep_weights() -> Verdict:
    """Compare the steepest weight's step under Eq. 20 with gradient descent's."""
    steepest = np.array([0.1, 1.0, 10.0, 100.0])
    shares = [
        float(
            kinematics.gravity_step(g, 0.1, kinematics.max_step_gradient(g))
            / kinematics.gradient_descent_step(g, 0.1)
        )
        for g in steepest
    ]
    lengths = shares * steepest
    found = ", ".join(f"{share:.2g}" for share in shares)
    return Verdict(
        decided((np.diff(lengths[1:]) < 0).all() and shares[1] <= 0.5),
        "for a largest gradient of 0.1, 1, 10 and 100 that weight's step is "
        f"{found} of gradient descent's: the limit acts on gradients above 1, and "
        "leaves smaller ones as they are",
    )


def own_m_is_the_complementary_angle() -> Verdict:
    """Compare Eq. 20 with the tangent of the steepest angle's complement."""
    G = np.array([0.02, -3.0, 1.5])
    steepest = np.max(np.abs(kinematics.slope_angle(G)))
    geometric = math.tan(math.pi / 2 - steepest)
    m = float(kinematics.max_step_gradient(G))
    return Verdict(
        decided(math.isclose(m, geometric, rel_tol=1e-12)),
        f"for a largest gradient of 3 both are {m:.6f} and {geometric:.6f}",
    )


def averages_reach_back() -> Verdict:
    """Compare Eq. 24 with the time in which a value's weight falls to 1/e."""
    found, close = [], []
    for beta in (0.9, 0.99):
        count = float(kinematics.averaged_count(beta))
        decay = -1 / math.log(beta)
        close.append(abs(decay / count - 1) < 0.1)
        found.append(f"{decay:.1f} updates for β = {beta:g}, where 1/(1−β) = {count:g}")
    return Verdict(decided(all(close)), f"it falls to 1/e in {', '.join(found)}")


def beta_hat_weighs_all_alike() -> Verdict:
    """Find the weight that each value has in the average with β = 1, Table 2."""
    updates = 16
    values = np.eye(updates + 1)
    V = values[0]
    for t in range(updates):
        beta = kinematics.effective_beta(t, 1.0)
        V = np.asarray(kinematics.moving_average(V, values[t + 1], beta))
    return Verdict(
        decided(np.allclose(V, 1 / (updates + 1), rtol=1e-12)),
        f"after {updates} updates each of the {updates + 1} values has a weight of "
        f"{_span(V, '.5f')}; 1/{updates + 1} is {1 / (updates + 1):.5f}",
    )


def beta_hat_tends_to_beta() -> Verdict:
    """Follow Eq. 26 with β = 0.9."""
    near = next(t for t in range(10**6) if kinematics.effective_beta(t) > 0.89)
    late = float(kinematics.effective_beta(10**6))
    return Verdict(
        decided(abs(late - 0.9) < 1e-5),
        f"for β = 0.9 it starts at {kinematics.effective_beta(0):g}, passes 0.89 at "
        f"t = {near} and is {late:.6f} at t = 1,000,000",
    )


def beta_hat_starts_sooner() -> Verdict:
    """Count the updates until the average of ones has reached 0.9."""
    counts = []
    for varies in (False, True):
        V, t = 0.0, 0
        while V < 0.9:
            beta = float(kinematics.effective_beta(t)) if varies else 0.9
            V = float(kinematics.moving_average(V, 1.0, beta))
            t += 1
        counts.append(t)
    return Verdict(
        decided(counts[1] < counts[0]),
        "with equal gradient terms and no initial velocity, the velocity is at 90 % "
        f"after {counts[0]} updates with β = 0.9 and after {counts[1]} with β̂",
    )


def printed_correction_overflows() -> Verdict:
    """Iterate Eq. 25 as printed, in single precision."""
    found = {}
    one: kinematics.Number = np.ones((), dtype=np.float32)
    for beta in (0.9, 0.99, 0.999):
        V, peak = 0 * one, 0.0
        with np.errstate(over="ignore"):
            for t in range(1, 1001):
                V = kinematics.bias_corrected_average(V, one, beta, t)
                peak = max(peak, float(V))
        found[beta] = peak
    words = ", ".join(
        f"{beta:g}: {peak:.2g}" if math.isfinite(peak) else f"{beta:g}: overflow"
        for beta, peak in found.items()
    )
    return Verdict(
        decided(math.isinf(found[0.999])),
        f"averaging ones in single precision, the largest value for each β is {words}. "
        "It comes of putting the corrected velocity into the next step; with the "
        "uncorrected one, as in Adam, the average stays at 1",
    )


def first_update_weighs_alike() -> Verdict:
    """Compare the weights of V₀ in Eq. 28 and in Algorithm 1 as printed."""
    equation, algorithm = (float(kinematics.effective_beta(t)) for t in (0, 1))
    evidence = (
        f"the initial velocity has a weight of {equation:.3f} where counting starts at "
        f"0, as in Eq. 28 and Table 2, and of {algorithm:.3f} where it starts at 1, as "
        "Algorithm 1 is printed"
    )
    if math.isclose(equation, algorithm):
        return Verdict(decided(math.isclose(equation, 0.5)), evidence)
    return Verdict(Answer.CANT_TELL, f"the paper has two versions: {evidence}")


def alpha_sets_the_first_step() -> Verdict:
    """Find the share of weights that the initial velocity moves by less than α/2."""
    alpha, rate = 0.01, 0.1
    sigma = float(kinematics.velocity_std(alpha, rate))
    bound = abs(float(kinematics.first_step_parts(sigma, 0.0, rate)[0]))
    share = math.erf(bound / (rate * sigma / 2) / math.sqrt(2))
    whole = float(kinematics.noise_displacement_std(1.0, 100_000))
    return Verdict(
        decided(math.isclose(bound, alpha / 2) and abs(share - 0.68) < 0.005),
        f"{100 * share:.1f} % stay below {bound:g} = α/2; all updates together move "
        f"them by a standard deviation of {whole:.2f} α",
    )
