"""`gravity.evidence.statistics` against counts, loops, simulation and known tables."""

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from gravity.evidence import statistics
from gravity.evidence.statistics import (
    deviation_interval,
    expected_best,
    interquartile_interval,
    interquartile_mean,
    performance_profile,
    power,
    seeds_needed,
)
from gravity.experiments.experiment import grid
from gravity.experiments.runs import METRICS, RunStore

OPTIMIZERS = ("gravity", "adam", "rmsprop", "sgd")


@pytest.fixture
def runs_of(tmp_path):
    """Stored runs whose last test losses are the rows of an array."""

    def make(losses, optimizers=OPTIMIZERS):
        store = RunStore(tmp_path / str(len(list(tmp_path.iterdir()))))
        for optimizer, row in zip(optimizers, losses, strict=True):
            for seed, loss in enumerate(row):
                (one,) = grid(
                    "digits",
                    "vgg16",
                    optimizers=[optimizer],
                    seeds=[seed],
                    epochs=2,
                )
                history = {metric: [9.0, 0.5] for metric in METRICS}
                store.save(one, history | {"val_loss": [3.0, loss]}, {})
        return list(store)

    return make


def sign_flips(differences):
    """The share of the signs' combinations that move the mean as far or farther."""
    means = [
        np.dot(signs, differences)
        for signs in itertools.product([1, -1], repeat=len(differences))
    ]
    return np.mean([abs(each) >= abs(means[0]) - 1e-12 for each in means])


def test_pairs_signs_and_correction_are_those_counted_by_hand(runs_of):
    losses = np.random.default_rng(1).normal(2, 0.3, (4, 6))
    found = statistics.compare(runs_of(losses))
    assert [each.optimizer for each in found] == ["adam", "rmsprop", "sgd"]
    p = [sign_flips(losses[0] - row) for row in losses[1:]]
    assert len(set(p)) == 3
    for each, row, exact in zip(found, losses[1:], p, strict=True):
        np.testing.assert_array_equal(each.differences, losses[0] - row)
        assert each.mean == pytest.approx(losses[0].mean() - row.mean())
        assert each.low < each.mean < each.high
        assert each.p == pytest.approx(exact)
    first, second, third = np.argsort(p)
    assert found[first].p_adjusted == pytest.approx(min(1, 3 * p[first]))
    expected = max(found[first].p_adjusted, min(1, 2 * p[second]))
    assert found[second].p_adjusted == pytest.approx(expected)
    assert found[third].p_adjusted == pytest.approx(max(expected, p[third]))


def test_five_seeds_say_no_more_than_one_in_sixteen(runs_of):
    losses = [[1.0, 1.1, 1.2, 1.3, 1.4], [2.0, 2.2, 2.4, 2.6, 2.8]]
    (found,) = statistics.compare(runs_of(losses, OPTIMIZERS[:2]))
    assert found.p == found.p_adjusted == pytest.approx(1 / 16)
    assert found.high < 0
    (opposite,) = statistics.compare(runs_of(losses, OPTIMIZERS[:2]), "adam")
    assert opposite.mean == pytest.approx(-found.mean)
    assert opposite.optimizer == "gravity"


def test_holm_on_a_worked_example():
    # R: p.adjust(c(0.01, 0.04, 0.03, 0.005), "holm") is 0.03 0.06 0.06 0.02.
    assert statistics.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx(
        [0.03, 0.06, 0.06, 0.02]
    )
    assert statistics.holm([0.6, 0.7]) == [1, 1]


@pytest.mark.parametrize(
    ("losses", "optimizers"),
    [
        ([[1, 2, 3, 4, 5]], ["gravity"]),
        ([[1, 2, 3, 4, 5], [2, 3, 4, 5]], ["gravity", "adam"]),
        ([[1, 2, 3, 4], [2, 3, 4, 6]], ["gravity", "adam"]),
        ([[1, 2, 3, 4, 5], [2, 3, 4, 5, 7]], ["sgd", "adam"]),
        ([[1, 2, 3, 4, 5], [2, 3, 4, 5, float("nan")]], ["gravity", "adam"]),
    ],
)
def test_runs_that_make_no_pairs_are_refused(runs_of, losses, optimizers):
    with pytest.raises(ValueError, match="`runs` must hold the same seeds"):
        statistics.compare(runs_of(losses, optimizers))


def test_two_runs_of_one_seed_are_refused(runs_of):
    runs = runs_of([[1.0, 2.0], [2.0, 3.0]], ["gravity", "adam"])
    with pytest.raises(ValueError, match=r"Received two of (gravity|adam), seed [01]"):
        statistics.compare([*runs, runs[-1]])


@pytest.mark.parametrize(
    ("number", "digits", "expected"),
    [(1.25, 1, "+1.2"), (-0.354, 2, "−0.35"), (-1.2e-8, 1, "0.0"), (0.04, 1, "0.0")],
)
def test_signed_numbers_have_a_minus_and_no_signed_zero(number, digits, expected):
    assert statistics.signed(number, digits) == expected


def test_interquartile_mean_is_that_of_the_middle_half():
    assert interquartile_mean([1, 2, 3, 4, 5, 6, 7, 1000]) == (3 + 4 + 5 + 6) / 4
    # Of five scores one is cut off at either end.
    assert interquartile_mean([[9], [0], [2], [4], [3]]) == 3
    assert interquartile_mean([7]) == 7


@pytest.mark.parametrize("scores", [[], [1.0, math.nan], [1.0, math.inf]])
def test_interquartile_mean_refuses_what_has_none(scores):
    with pytest.raises(ValueError, match="`scores` must hold finite numbers"):
        interquartile_mean(scores)


def test_interval_draws_seeds_within_their_cell():
    """A loop of our own draws; a cell without spread must not get any from another."""
    rng = np.random.default_rng(3)
    scores = np.stack([rng.normal(0, 1, 6), rng.normal(3, 2, 6), np.full(6, 9.0)])
    found = interquartile_interval(scores)
    draws = []
    for _ in range(20000):
        drawn = [rng.choice(row, size=6) for row in scores]
        draws.append(np.sort(np.concatenate(drawn))[4:14].mean())
    assert found.estimate == pytest.approx(np.sort(scores.ravel())[4:14].mean())
    low, high = np.percentile(draws, [2.5, 97.5])
    assert found.low == pytest.approx(low, abs=0.03)
    assert found.high == pytest.approx(high, abs=0.03)


def test_interval_of_a_single_cell():
    scores = np.array([[1.0, 2.0, 3.0, 4.0, 5.0]])
    found = interquartile_interval(scores)
    # All 5^5 draws are equally likely, so the percentiles can be counted.
    means = [
        np.sort(drawn)[1:4].mean() for drawn in itertools.product(scores[0], repeat=5)
    ]
    low, high = np.percentile(means, [2.5, 97.5])
    assert (found.estimate, found.low, found.high) == (
        3,
        pytest.approx(low, abs=0.34),
        pytest.approx(high, abs=0.34),
    )


@pytest.mark.parametrize("shape", [(10, 1), (10, 4), (5,), (0, 0)])
def test_interval_needs_five_seeds(shape):
    with pytest.raises(ValueError, match=r"at least 5 seeds.*Received: shape"):
        interquartile_interval(np.ones(shape))


def test_profile_is_the_count_by_hand():
    costs = {
        "gravity": [2, 9, math.inf, math.inf],
        "adam": [4, 3, 5, math.inf],
    }
    found = performance_profile(costs, [1, 2, 3, 1e9])
    # Ratios: 1, 3, ∞ and a miss; 2, 1, 1 and a miss.
    np.testing.assert_array_equal(found["gravity"], [0.25, 0.25, 0.5, 0.5])
    np.testing.assert_array_equal(found["adam"], [0.5, 0.75, 0.75, 0.75])


def test_profile_is_that_of_a_loop():
    rng = np.random.default_rng(0)
    costs = {name: rng.uniform(1, 10, 7) for name in "abc"}
    factors = [1.0, 1.3, 2.5]
    found = performance_profile(costs, factors)
    for name, each in costs.items():
        for tau, share in zip(factors, found[name], strict=True):
            near = [
                each[cell] <= tau * min(other[cell] for other in costs.values())
                for cell in range(7)
            ]
            assert share == pytest.approx(sum(near) / 7)
    assert sum(each[0] for each in found.values()) == pytest.approx(1)


@pytest.mark.parametrize(
    ("costs", "factors", "message"),
    [
        ({"a": [1, 2], "b": [1]}, [1], "`costs` must hold as many positive"),
        ({"a": [1, 0], "b": [1, 1]}, [1], "`costs` must hold as many positive"),
        ({"a": [1, math.nan], "b": [1, 1]}, [1], "`costs` must hold"),
        ({}, [1], "`costs` must hold"),
        ({"a": [1]}, [0.5], "`factors` must hold numbers of at least 1"),
    ],
)
def test_profile_refuses_other_numbers(costs, factors, message):
    with pytest.raises(ValueError, match=message):
        performance_profile(costs, factors)


def test_best_of_tries_is_the_mean_over_all_draws():
    losses = [0.7, 0.2, 0.9, 0.4, 0.4]
    expected = [
        np.mean([min(drawn) for drawn in itertools.combinations(losses, budget)])
        for budget in range(1, 6)
    ]
    np.testing.assert_allclose(expected_best(losses), expected)


def test_best_of_tries_is_infinite_while_a_draw_may_hold_none():
    found = expected_best([math.inf, 0.5, math.inf, 0.1])
    assert np.isinf(found[:2]).all()
    # Of the four draws of three, three hold the 0.1 and one the 0.5 alone.
    np.testing.assert_allclose(found[2:], [(3 * 0.1 + 0.5) / 4, 0.1])


@pytest.mark.parametrize("losses", [[], [0.1, math.nan]])
def test_best_of_tries_refuses_other_numbers(losses):
    with pytest.raises(ValueError, match="at least one number and no NaN"):
        expected_best(losses)


@pytest.mark.parametrize(
    ("effect", "wanted", "seeds"),
    # The t-test for matched pairs, two-tailed at 5 %, in G*Power 3.1's tables.
    [(0.2, 0.8, 199), (0.5, 0.8, 34), (0.8, 0.8, 15), (0.5, 0.95, 54)],
)
def test_seeds_needed_are_the_tabled_ones(effect, wanted, seeds):
    assert seeds_needed(3 * effect, 3, wanted) == seeds
    assert seeds_needed(-effect, 1, wanted) == seeds
    assert power(effect, 1, seeds) >= wanted > power(effect, 1, seeds - 1)


def test_power_is_that_of_the_noncentral_t_distribution():
    for seeds, effect in itertools.product((2, 5, 30), (0.0, 1e-5, 0.3, 0.8)):
        bound = stats.t.ppf(0.99, seeds - 1)
        center = effect * math.sqrt(seeds)
        tails = stats.nct.sf(bound, seeds - 1, center)
        tails += stats.nct.cdf(-bound, seeds - 1, center)
        assert power(effect, 1, seeds, 0.02) == pytest.approx(tails)


def test_power_of_the_plainest_difference_is_one():
    found = [power(effect, 1, 20) for effect in (2, 5, 20, 1000)]
    assert found == pytest.approx([1, 1, 1, 1], abs=1e-6)
    assert seeds_needed(1000, 1) == 2


def test_power_is_the_share_of_simulated_comparisons_that_notice():
    rng = np.random.default_rng(5)
    for difference, deviation, seeds in ((1.0, 0.8, 5), (0.0, 2.0, 7), (0.5, 1.0, 20)):
        pairs = rng.normal(difference, deviation, (20000, seeds))
        noticed = np.mean(stats.ttest_1samp(pairs, 0, axis=1).pvalue < 0.05)
        assert power(difference, deviation, seeds) == pytest.approx(noticed, abs=0.012)


@pytest.mark.parametrize(
    ("function", "arguments", "message"),
    [
        (power, (1, 0, 5), "`deviation` must be a positive"),
        (power, (1, 1, 1), "`seeds` must be at least 2"),
        (power, (1, 1, 5, 1.5), "`significance` must lie between 0 and 1"),
        (seeds_needed, (0, 1), "`difference` must be a positive"),
        (seeds_needed, (1, 1, 1.0), "`wanted` must lie between"),
        (seeds_needed, (1e-9, 1), "a million seeds suffice"),
    ],
)
def test_power_refuses_other_numbers(function, arguments, message):
    with pytest.raises(ValueError, match=message):
        function(*arguments)


def test_deviation_has_the_interval_that_covers_it():
    rng = np.random.default_rng(2)
    pairs = rng.normal(1, 3, (4000, 5))
    found = [deviation_interval(each) for each in pairs]
    assert found[0].estimate == pytest.approx(np.std(pairs[0], ddof=1))
    covered = np.mean([each.low <= 3 <= each.high for each in found])
    assert covered == pytest.approx(0.95, abs=0.012)
    # Tables of χ² with 4 degrees of freedom: 0.4844 and 11.143.
    assert found[0].high / found[0].estimate == pytest.approx(
        math.sqrt(4 / 0.4844), 1e-3
    )
    assert found[0].low / found[0].estimate == pytest.approx(
        math.sqrt(4 / 11.143), 1e-3
    )
    with pytest.raises(ValueError, match="at least 5 finite numbers"):
        deviation_interval([1, 2, 3, 4])


def test_the_least_number_of_seeds_is_everywhere_the_same():
    assert statistics.FEWEST_SEEDS == 5
