"""`comparison` against counts over all signs and a published example."""

import itertools

import numpy as np
import pytest

from gravity.evidence import comparison
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
    found = comparison.compare(runs_of(losses))
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
    (found,) = comparison.compare(runs_of(losses, OPTIMIZERS[:2]))
    assert found.p == found.p_adjusted == pytest.approx(1 / 16)
    assert found.high < 0
    (opposite,) = comparison.compare(runs_of(losses, OPTIMIZERS[:2]), "adam")
    assert opposite.mean == pytest.approx(-found.mean)
    assert opposite.optimizer == "gravity"


def test_holm_on_a_worked_example():
    # R: p.adjust(c(0.01, 0.04, 0.03, 0.005), "holm") is 0.03 0.06 0.06 0.02.
    assert comparison.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx(
        [0.03, 0.06, 0.06, 0.02]
    )
    assert comparison.holm([0.6, 0.7]) == [1, 1]


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
        comparison.compare(runs_of(losses, optimizers))


def test_two_runs_of_one_seed_are_refused(runs_of):
    runs = runs_of([[1.0, 2.0], [2.0, 3.0]], ["gravity", "adam"])
    with pytest.raises(ValueError, match=r"Received two of (gravity|adam), seed [01]"):
        comparison.compare([*runs, runs[-1]])


@pytest.mark.parametrize(
    ("number", "digits", "expected"),
    [(1.25, 1, "+1.2"), (-0.354, 2, "−0.35"), (-1.2e-8, 1, "0.0"), (0.04, 1, "0.0")],
)
def test_signed_numbers_have_a_minus_and_no_signed_zero(number, digits, expected):
    assert comparison.signed(number, digits) == expected
