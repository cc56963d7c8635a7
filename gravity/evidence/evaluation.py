"""Sums up many runs: over cells, over targets, over tries, and how many seeds it takes.

A cell is one setting (a dataset and a network) in which several optimizers are compared
over the same seeds. `gravity.evidence.comparison` compares within one cell.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gravity.evidence.comparison import FEWEST_SEEDS, RESAMPLES


@dataclass(frozen=True)
class Interval:
    """An estimate with the ends of its confidence interval.

    Attributes:
        estimate: from all the data.
        low: the lower end.
        high: the upper end.
    """

    estimate: float
    low: float
    high: float


def interquartile_mean(scores: ArrayLike) -> float:
    """Return the mean of the middle half of all scores.

    A quarter of the scores, rounded down, is cut off at either end. So it is moved less
    than the mean by a run that failed, and less than the median by which runs happen to
    lie in the middle.

    Args:
        scores: finite numbers, of any shape; at least one.

    Raises:
        ValueError: a score isn't finite, or there is none.

    References:
        Agarwal et al., "Deep reinforcement learning at the edge of the statistical
        precipice" (2021).
    """
    from scipy import stats

    values = np.asarray(scores, dtype=float).ravel()
    if not values.size or not np.isfinite(values).all():
        raise ValueError(
            "Argument `scores` must hold finite numbers, at least one. "
            f"Received: scores={scores!r}"
        )
    return float(stats.trim_mean(values, 0.25))


def interquartile_interval(scores: ArrayLike, level: float = 0.95) -> Interval:
    """Return the interquartile mean over all cells and seeds, with its interval.

    The bootstrap draws seeds anew within each cell and keeps the cells, so the interval
    says what other seeds would change, and nothing about other cells. Its ends are the
    percentiles of 9,999 such draws.

    Args:
        scores: of shape `(cells, seeds)`, with at least five seeds; on a scale that
            means the same in all cells.
        level: the share of intervals that should hold the true value. Defaults to 95 %.

    Raises:
        ValueError: as `interquartile_mean`, or there are fewer than five seeds, or
            `scores` isn't of that shape.
    """
    from scipy import stats

    values = np.asarray(scores, dtype=float)
    if values.ndim != 2 or values.shape[1] < FEWEST_SEEDS:
        raise ValueError(
            "Argument `scores` must be of shape (cells, seeds) with at least "
            f"{FEWEST_SEEDS} seeds: fewer say too little for an interval. "
            f"Received: shape {values.shape}"
        )
    estimate = interquartile_mean(values)

    def of_draws(*cells: NDArray[Any], axis: int = -1) -> NDArray[Any]:
        middle: NDArray[Any] = stats.trim_mean(
            np.concatenate(cells, axis=axis), 0.25, axis=axis
        )
        return middle

    found = stats.bootstrap(
        tuple(values),
        of_draws,
        n_resamples=RESAMPLES,
        confidence_level=level,
        method="percentile",
        vectorized=True,
        random_state=0,
    ).confidence_interval
    return Interval(estimate, float(found.low), float(found.high))


def performance_profile(
    costs: Mapping[str, ArrayLike], factors: ArrayLike
) -> dict[str, NDArray[Any]]:
    """Return in which share of the cells each optimizer is nearly the best.

    For each cell a cost is divided by the smallest that any optimizer has there. The
    profile of an optimizer at τ is the share of cells in which this ratio is at most τ:
    at τ = 1 the share in which it is the best, for large τ the share in which it gets
    there at all.

    Args:
        costs: for each optimizer a cost for each cell, such as the number of epochs
            until a target; positive, infinite for a miss.
        factors: the values of τ, of shape `(factors,)`, at least 1.

    Returns:
        For each optimizer the shares, of shape `(factors,)`. A cell that everybody
        misses counts as a miss for all.

    Raises:
        ValueError: the optimizers have not the same number of cells, a cost isn't
            positive, or a factor is below 1.

    References:
        Dolan and Moré, "Benchmarking optimization software with performance profiles"
        (2002).
    """
    table = [np.atleast_1d(np.asarray(each, dtype=float)) for each in costs.values()]
    if len({each.shape for each in table}) != 1 or not all(
        each.size and (each > 0).all() for each in table
    ):
        raise ValueError(
            "Argument `costs` must hold as many positive numbers for each optimizer, "
            f"one a cell. Received: costs={costs!r}"
        )
    tau = np.atleast_1d(np.asarray(factors, dtype=float))
    if not (tau >= 1).all():
        raise ValueError(
            "Argument `factors` must hold numbers of at least 1. "
            f"Received: factors={factors!r}"
        )
    best = np.min(table, axis=0)
    return {
        name: np.mean(np.isfinite(each) & (each <= tau[:, None] * best), axis=1)
        for name, each in zip(costs, table, strict=True)
    }


def expected_best(losses: ArrayLike) -> NDArray[Any]:
    """Return the loss that the best of 1, 2, … tries is expected to have.

    The tries are drawn at random, without repetition, from those that were made. This
    sums up how sensitive an optimizer is: one that works with nearly any argument has a
    good value after one try, one that needs tuning falls slowly.

    Args:
        losses: of the tries, of shape `(tries,)`; infinite for one that diverged.

    Returns:
        The expectation for each budget from one to all tries, of shape `(tries,)`;
        infinite where a draw may hold diverged tries only.

    Raises:
        ValueError: there is no try, or a loss is NaN.

    References:
        Dodge et al., "Show your work: improved reporting of experimental results"
        (2019), with the unbiased estimate of Tang et al. (2020).
    """
    values = np.sort(np.asarray(losses, dtype=float).ravel())
    if not values.size or np.isnan(values).any():
        raise ValueError(
            "Argument `losses` must hold at least one number and no NaN. "
            f"Received: losses={losses!r}"
        )
    count = len(values)
    expected = []
    for budget in range(1, count + 1):
        # The draws whose smallest is the one at `rank`: all others come from above it.
        shares = [
            math.comb(count - 1 - rank, budget - 1) / math.comb(count, budget)
            for rank in range(count)
        ]
        expected.append(
            sum(
                share * value
                for share, value in zip(shares, values, strict=True)
                if share
            )
        )
    return np.array(expected)


def power(
    difference: float, deviation: float, seeds: int, significance: float = 0.05
) -> float:
    """Return how likely a paired comparison is to notice a difference.

    It is the power of the paired t-test, two-sided, for differences with a normal
    distribution: t has a noncentral t-distribution, so t² has a noncentral
    F-distribution, which SciPy has for large noncentralities too.

    Args:
        difference: the true mean difference, in any unit.
        deviation: the standard deviation of the differences between runs of the same
            seed, in that unit; positive.
        seeds: number of pairs, at least 2.
        significance: the p-value below which a difference counts as noticed. Defaults
            to 5 %.

    Raises:
        ValueError: an argument isn't as said above.
    """
    from scipy import stats

    _positive("deviation", deviation)
    if seeds < 2:
        raise ValueError(
            f"Argument `seeds` must be at least 2. Received: seeds={seeds!r}"
        )
    if not 0 < significance < 1:
        raise ValueError(
            "Argument `significance` must lie between 0 and 1. "
            f"Received: significance={significance!r}"
        )
    # SciPy's noncentral F is wrong at a noncentrality of 0, where the level is exact.
    if difference == 0:
        return significance
    freedom = seeds - 1
    noncentrality = (difference / deviation) ** 2 * seeds
    bound = stats.f.ppf(1 - significance, 1, freedom)
    return float(stats.ncf.sf(bound, 1, freedom, noncentrality))


def seeds_needed(
    difference: float,
    deviation: float,
    wanted: float = 0.8,
    significance: float = 0.05,
) -> int:
    """Return the smallest number of seeds with at least the wanted `power`.

    Args:
        difference, deviation, significance: as in `power`; the difference isn't 0.
        wanted: the power. Defaults to 80 %.

    Raises:
        ValueError: as `power`, or no number of seeds up to a million suffices.
    """
    _positive("difference", abs(difference))
    if not significance < wanted < 1:
        raise ValueError(
            "Argument `wanted` must lie between `significance` and 1. "
            f"Received: wanted={wanted!r}"
        )
    least, enough = 1, 2
    while power(difference, deviation, enough, significance) < wanted:
        least, enough = enough, 2 * enough
        if enough > 2**20:
            raise ValueError(
                "Arguments `difference` and `deviation` must be such that a million "
                f"seeds suffice. Received: difference={difference!r}, "
                f"deviation={deviation!r}"
            )
    while enough - least > 1:
        middle = (least + enough) // 2
        if power(difference, deviation, middle, significance) < wanted:
            least = middle
        else:
            enough = middle
    return enough


def deviation_interval(differences: ArrayLike, level: float = 0.95) -> Interval:
    """Return the standard deviation of paired differences, with its interval.

    The interval is the one from the χ²-distribution, for normal differences. With few
    seeds it is wide, and with it every plan for more seeds.

    Args:
        differences: of shape `(seeds,)`, at least five.
        level: the share of intervals that should hold the true value. Defaults to 95 %.

    Raises:
        ValueError: there are fewer than five differences, or one isn't finite.
    """
    from scipy import stats

    values = np.asarray(differences, dtype=float).ravel()
    if len(values) < FEWEST_SEEDS or not np.isfinite(values).all():
        raise ValueError(
            f"Argument `differences` must hold at least {FEWEST_SEEDS} finite numbers: "
            f"fewer say too little for an interval. Received: {values.tolist()}"
        )
    freedom = len(values) - 1
    deviation = float(values.std(ddof=1))
    low, high = (
        deviation * math.sqrt(freedom / stats.chi2.ppf(share, freedom))
        for share in ((1 + level) / 2, (1 - level) / 2)
    )
    return Interval(deviation, low, high)


def _positive(name: str, value: float) -> None:
    if not 0 < value < math.inf:
        raise ValueError(
            f"Argument `{name}` must be a positive finite number. "
            f"Received: {name}={value!r}"
        )
